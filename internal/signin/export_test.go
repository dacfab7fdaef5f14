package signin

import "time"

// Leads is leads.
func Leads(to string) bool { return leads(to) }

// Stamped returns the value of a session's cookie in which somebody was there at that time.
func (d *Door) Stamped(token string, seen time.Time) string {
	value, err := d.stamped(token, seen)
	if err != nil {
		panic(err)
	}
	return value
}
