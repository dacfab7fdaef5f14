package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
)

// Rules are what a published version of the catalog says.
type rules struct {
	version int64
	source  int64 // the version whose catalog says so: version, unless its own cannot be read
	conduct catalog.Conduct
	zone    *time.Location
	routes  asking.Routes
}

// published returns the rules that a policy.publish entry brings into effect, nil if it does not. It
// judges the entry as policy.Library does.
func (c *core) published(ctx context.Context, e *audit.Entry) (*rules, error) {
	var body struct {
		Version   int64 `json:"version"`
		IfVersion int64 `json:"if_version"`
		Restores  int64 `json:"restores"`
	}
	have := c.rules.Load().version
	if json.Unmarshal(e.Body, &body) != nil || body.IfVersion != have || body.Version != have+1 || body.Restores < 0 || body.Restores > have {
		return nil, nil // the library says so to whoever asked for it
	}
	return c.rulesOf(ctx, body.Version)
}

// rulesOf returns the rules of a version. If its catalog cannot be had for good, they are those before
// it, under the new number.
func (c *core) rulesOf(ctx context.Context, version int64) (*rules, error) {
	cat, err := c.catalogs(ctx, version)
	switch {
	case errors.Is(err, authz.ErrNotFound):
		return nil, nil
	case errors.Is(err, authz.ErrInvalid):
		r := *c.rules.Load()
		r.version = version
		return &r, nil
	case err != nil:
		return nil, err
	}
	r := &rules{version: version, source: version, conduct: *cat.Conduct(), zone: cat.Zone(), routes: asking.RoutesOf(cat)}
	if c.other != nil {
		r.conduct = *c.other
	}
	if r.zone == nil {
		r.zone = time.UTC
	}
	return r, nil
}

// follow makes r the rules. Levels may change by them: every agent is looked at soon.
func (c *core) follow(r *rules) {
	c.rules.Store(r)
	for i := range c.due.agents {
		a := c.due.agents[i]
		c.change(a, func() {
			a.next = c.at.UnixMicro()
			c.fadesAt(a)
			a.due = a.comesDue()
		})
	}
	c.due.sort()
	c.out.changed()
}
