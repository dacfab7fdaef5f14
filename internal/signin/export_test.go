package signin

import "time"

// Stamped returns the value of a session's cookie in which somebody was there at that time.
func (d *Door) Stamped(token string, seen time.Time) string {
	value, err := d.stamped(token, seen)
	if err != nil {
		panic(err)
	}
	return value
}
