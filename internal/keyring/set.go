package keyring

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"
)

// Set returns the JWK set (RFC 7517) of all keys whose signatures count now, those of every use, and
// its entity tag. The bytes are shared: do not change them.
func (r *Ring) Set() (doc []byte, etag string) {
	v, now := r.view.Load(), r.cfg.Now()
	if now.Before(v.until) {
		return v.set, v.etag
	}
	next := *v // a period has ended and no entry says so yet
	next.render(now)
	r.view.CompareAndSwap(v, &next)
	return next.set, next.etag
}

// render writes the key set as of a moment, and notes until when it stays so: the active keys first,
// for those who take the first that fits.
func (v *view) render(now time.Time) {
	rank := map[State]int{Active: 0, Published: 1, VerifyOnly: 2}
	var in []*Record
	v.until = now.Add(365 * 24 * time.Hour)
	for _, k := range v.keys {
		if !k.verifies(now) {
			continue
		}
		in = append(in, k)
		for _, end := range []time.Time{k.ActiveUntil, k.VerifyUntil} {
			if end.After(now) && end.Before(v.until) {
				v.until = end
			}
		}
	}
	slices.SortStableFunc(in, func(a, b *Record) int { return cmp.Compare(rank[a.StateAt(now)], rank[b.StateAt(now)]) })
	doc := []byte(`{"keys":[`)
	for i, k := range in {
		if i > 0 {
			doc = append(doc, ',')
		}
		doc = append(doc, k.key.JWK()...)
	}
	v.set = append(doc, `]}`...)
	sum := sha256.Sum256(v.set)
	v.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}
