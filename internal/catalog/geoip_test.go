package catalog_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

func TestCountry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "country.mmdb")
	if err := os.WriteFile(path, countryFile("DE", netip.MustParsePrefix("192.0.2.0/24")), 0o600); err != nil {
		t.Fatal(err)
	}
	geoip, err := catalog.OpenGeoIP(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { geoip.Close() })
	c, err := catalog.Options{GeoIP: geoip}.Parse("catalog.yaml", []byte("networks: {office: [192.0.2.0/25]}"))
	if err != nil {
		t.Fatal(err)
	}
	in := func(address, country string, zones int) {
		t.Helper()
		gotZones, got := c.Zones(netip.MustParseAddr(address))
		if got != country || len(gotZones) != zones {
			t.Errorf("Zones(%s) = %v, %q, want %d and %q", address, gotZones, got, zones, country)
		}
	}
	in("192.0.2.1", "DE", 1)
	in("192.0.2.200", "DE", 0)
	in("::ffff:192.0.2.200", "DE", 0)
	in("192.0.3.1", "", 0)
	in("2001:db8::1", "", 0) // the file has no IPv6
}

// countryFile returns a MaxMind DB file in which one IPv4 prefix has a country.
func countryFile(code string, p netip.Prefix) []byte {
	text := func(s string) []byte { return append([]byte{2<<5 | byte(len(s))}, s...) }
	number := func(kind byte, n uint16) []byte { return []byte{kind<<5 | 2, byte(n >> 8), byte(n)} }
	object := func(members ...[]byte) []byte {
		return append([]byte{7<<5 | byte(len(members)/2)}, bytes.Join(members, nil)...)
	}

	// The tree is a chain of nodes, one for each bit of the prefix. A record is the next node, the
	// number of nodes for "nothing", or beyond that a place in the data.
	var b bytes.Buffer
	nodes := p.Bits()
	address := p.Addr().As4()
	for i := range nodes {
		next := uint32(i + 1)
		if i == nodes-1 {
			next = uint32(nodes) + 16
		}
		record := [2]uint32{uint32(nodes), uint32(nodes)}
		record[address[i/8]>>(7-i%8)&1] = next
		for _, r := range record {
			b.Write(binary.BigEndian.AppendUint32(nil, r)[1:])
		}
	}
	b.Write(make([]byte, 16))
	b.Write(object(text("country"), object(text("iso_code"), text(code))))
	b.WriteString("\xab\xcd\xefMaxMind.com")
	b.Write(object(
		text("binary_format_major_version"), number(5, 2),
		text("binary_format_minor_version"), number(5, 0),
		text("build_epoch"), []byte{2, 2, 0x12, 0x34},
		text("database_type"), text("Test"),
		text("description"), object(text("en"), text("Test")),
		text("ip_version"), number(5, 4),
		text("languages"), []byte{1, 4, 2<<5 | 2, 'e', 'n'},
		text("node_count"), number(6, uint16(nodes)),
		text("record_size"), number(5, 24),
	))
	return b.Bytes()
}
