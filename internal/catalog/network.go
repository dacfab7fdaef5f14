package catalog

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/safeconduct/safeconduct/authz"
)

// networks are the named zones of addresses. Every prefix in the table has with it the names of all
// zones that hold it, so that one lookup of the longest prefix answers.
type networks struct {
	names  []string // sorted
	ranges map[string][]netip.Prefix
	table  bart.Table[[]string]
	geoip  *GeoIP
}

// A prefix is one line of a zone.
type prefix struct {
	zone string
	at   netip.Prefix
}

// set fills the table.
func (n *networks) set(names []string, all []prefix) {
	n.names, n.ranges = names, make(map[string][]netip.Prefix, len(names))
	var own bart.Table[[]string]
	for _, p := range all {
		n.ranges[p.zone] = append(n.ranges[p.zone], p.at)
		own.Modify(p.at, func(zones []string, ok bool) ([]string, bool) {
			return append(slices.Clip(zones), p.zone), false
		})
	}
	for p := range own.All() {
		var zones []string
		for _, z := range own.Supernets(p) {
			zones = append(zones, z...)
		}
		slices.Sort(zones)
		n.table.Insert(p, slices.Compact(zones))
	}
}

// Zones returns the names of the network zones that hold an address, sorted, and its country as
// ISO 3166-1 alpha-2, or "" if that is not known. The slice is shared: do not modify it.
func (c *Catalog) Zones(a netip.Addr) (zones []string, country string) {
	if !a.IsValid() {
		return []string{}, ""
	}
	a = a.Unmap().WithZone("")
	zones, ok := c.networks.table.Lookup(a)
	if !ok {
		zones = []string{}
	}
	return zones, c.networks.geoip.Country(a)
}

// Networks returns the names of the declared zones, sorted. The slice is shared: do not modify it.
func (c *Catalog) Networks() []string { return c.networks.names }

// A GeoIP finds the country of an address in a MaxMind DB file. A nil GeoIP knows none.
type GeoIP struct{ db *maxminddb.Reader }

// OpenGeoIP opens a MaxMind DB file that has countries. It stays mapped until Close.
func OpenGeoIP(path string) (*GeoIP, error) {
	db, err := maxminddb.Open(path)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "opening GeoIP file: %w", err)
	}
	if err := db.Verify(); err != nil {
		db.Close()
		return nil, authz.Errorf(authz.ErrInvalid, "checking GeoIP file %s: %w", path, err)
	}
	return &GeoIP{db}, nil
}

// Country returns the country of an address as ISO 3166-1 alpha-2, or "" if it is not known.
func (g *GeoIP) Country(a netip.Addr) string {
	if g == nil {
		return ""
	}
	var code string
	if err := g.db.Lookup(a).DecodePath(&code, "country", "iso_code"); err != nil || len(code) != 2 {
		return ""
	}
	return code
}

// Close releases the file. No catalog that was given g may be used afterwards.
func (g *GeoIP) Close() error {
	if err := g.db.Close(); err != nil {
		return fmt.Errorf("closing GeoIP file: %w", err)
	}
	return nil
}
