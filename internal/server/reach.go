package server

import (
	"context"
	"slices"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A reach says to operators whom the routes of a new version name and this process cannot tell or ask. It
// stands behind the library among those who follow the log.
type reach struct{ s *Server }

// Apply looks at the version that an entry has published. What it finds changes nothing.
func (r reach) Apply(ctx context.Context, e audit.Entry) error {
	if e.Kind == audit.PolicyPublish && r.s.state.Load().(state) == serving { // at a start begin looks, once
		r.look(ctx)
	}
	return nil
}

func (r reach) look(ctx context.Context) {
	set := r.s.library.Active()
	if set == nil {
		return
	}
	for _, name := range r.s.unreached(set.Catalog()) {
		r.s.logger.WarnContext(ctx, "the catalog names somebody who cannot be reached: name it in the file of notify.channels", "version", set.Version(), "missing", name)
	}
}

// unreached returns the channels and evaluators that the routes of a catalog name and the configuration does
// not, sorted.
func (s *Server) unreached(c *catalog.Catalog) (names []string) {
	for _, q := range c.Routes() {
		for _, id := range q.Notify {
			if _, ok := s.channels.Channels[id]; !ok {
				names = append(names, "channel "+id+" of route "+q.ID)
			}
		}
		if _, ok := s.channels.Evaluators[q.Evaluator]; q.Evaluator != "" && !ok {
			names = append(names, "evaluator "+q.Evaluator+" of route "+q.ID)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
