package approval

import "github.com/safeconduct/safeconduct/authz"

// Keyed returns the retained ask of that Key, whatever became of it, or authz.ErrNotFound. It touches memory
// only, sets Key and Print to those of the submission, and serves clients that repeat a submission whose answer they lost.
func (d *Desk) Keyed(key string) (*Ask, error) {
	now := d.cfg.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r := d.records[d.keys[key]]; key != "" && r != nil && r.ask.retained(now) {
		a := *r.ask.at(now)
		a.Print, _ = a.print(key)
		a.Key = key
		return &a, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no ask was submitted by that key")
}
