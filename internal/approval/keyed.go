package approval

import "github.com/safeconduct/safeconduct/authz"

// Keyed returns the retained ask of that Key, whatever became of it, or authz.ErrNotFound. It touches memory
// only, and serves clients that repeat a submission whose answer they lost.
func (d *Desk) Keyed(key string) (*Ask, error) {
	now := d.cfg.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r := d.records[d.keys[key]]; key != "" && r != nil && r.ask.retained(now) {
		return r.ask.at(now), nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no ask was submitted by that key")
}
