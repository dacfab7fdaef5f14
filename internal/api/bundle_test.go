package api_test

import (
	"context"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// selecting is a log that notes what is to be exported.
type selecting struct {
	*inbox
	manifest audit.Manifest
}

func (s *selecting) Bundle(_ context.Context, m audit.Manifest) (*audit.Bundle, error) {
	s.manifest = m
	return nil, authz.Errorf(authz.ErrNotFound, "enough was seen")
}

// What is exported of a search has no more bodies than a bundle can have, and it is said where to go on.
func TestBundleOfSearchIsBounded(t *testing.T) {
	const n = audit.MaxBundleBytes / audit.MaxBody
	s := &selecting{inbox: &inbox{}}
	body := append([]byte("{"), make([]byte, audit.MaxBody-1)...)
	for i := range n + 3 {
		s.entries = append(s.entries, audit.Entry{Seq: int64(i + 1), Kind: "x.y", Actor: "admin:eve", Body: body})
	}
	d := openDoor(t, func(c *api.Config) { c.Callers, c.Log, c.Index = inboxCallers{}, s, s })
	for _, c := range []struct {
		in     string
		count  int
		before int64
	}{
		{`{"search":{"kind":"x.y"},"why":"all"}`, n, 4},
		{`{"search":{"kind":"x.y"},"limit":16,"why":"as many"}`, n, 4},
		{`{"search":{"kind":"x.y"},"limit":3,"why":"some"}`, 3, n + 1},
		{`{"search":{"kind":"x.y","before":4},"why":"the rest"}`, 3, 0},
	} {
		if r := d.send("POST", "/v1/audit/bundle", c.in, "Authorization", "Bearer audit-token"); r.StatusCode != 404 {
			t.Fatalf("%s: status %d: %s", c.in, r.StatusCode, text(t, r))
		}
		if m := s.manifest; len(m.Entries) != c.count || m.Before != c.before {
			t.Errorf("%s: %d entries, the rest before %d, want %d and %d", c.in, len(m.Entries), m.Before, c.count, c.before)
		}
	}
}
