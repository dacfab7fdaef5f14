package server

import (
	"context"
	"fmt"
	"sync"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// pastCatalogs are the catalogs of versions that are not active any more, as far as somebody asked for them
// of late: what was asked of persons under a version is judged by it to the end. A published version never
// changes.
type pastCatalogs struct {
	mu     sync.Mutex
	newest []pastCatalog // the one that was asked for last comes first
}

type pastCatalog struct {
	version int64
	catalog *catalog.Catalog
}

// maxPast is how many are kept.
const maxPast = 4

// of returns the catalog of a version, if it is kept.
func (p *pastCatalogs) of(version int64) *catalog.Catalog {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.newest {
		if c.version == version {
			copy(p.newest[1:i+1], p.newest[:i])
			p.newest[0] = c
			return c.catalog
		}
	}
	return nil
}

func (p *pastCatalogs) keep(version int64, c *catalog.Catalog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.newest) < maxPast {
		p.newest = append(p.newest, pastCatalog{})
	}
	copy(p.newest[1:], p.newest)
	p.newest[0] = pastCatalog{version, c}
}

// catalogOf returns the catalog of a published version.
func (s *Server) catalogOf(ctx context.Context, version int64) (*catalog.Catalog, error) {
	if set := s.library.Active(); set != nil && set.Version() == version {
		return set.Catalog(), nil
	}
	if c := s.past.of(version); c != nil {
		return c, nil
	}
	t, err := s.library.Version(ctx, version)
	if err != nil {
		return nil, err
	}
	c, err := catalog.Options{GeoIP: s.geoip}.Parse(fmt.Sprintf("version %d", version), []byte(t.Catalog))
	if err == nil {
		s.past.keep(version, c)
	}
	return c, err
}
