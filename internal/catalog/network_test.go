package catalog_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

func TestZones(t *testing.T) {
	c := parse(t, `
networks:
  office: [10.0.0.0/8, "2001:db8::/32"]
  laboratory: [10.20.0.0/16, "2001:db8:7::/48"]
  printer: [10.20.30.40]
  mapped: ["::ffff:192.0.2.0/120"]
  anywhere-v6: ["::/0"]
`)
	in := func(address string, want ...string) {
		t.Helper()
		got, country := c.Zones(netip.MustParseAddr(address))
		if diff := cmp.Diff(append([]string{}, want...), got); diff != "" || country != "" {
			t.Errorf("Zones(%s) = %v, %q, want %v and no country", address, got, country, want)
		}
	}
	in("10.1.2.3", "office")
	in("10.20.0.1", "laboratory", "office")
	in("10.20.30.40", "laboratory", "office", "printer")
	in("::ffff:10.20.30.40", "laboratory", "office", "printer")
	in("192.0.2.9", "mapped")
	in("192.0.3.9")
	in("2001:db8::1", "anywhere-v6", "office")
	in("2001:db8:7::1", "anywhere-v6", "laboratory", "office")
	in("fe80::1%eth0", "anywhere-v6")
	if got, _ := c.Zones(netip.Addr{}); len(got) != 0 || got == nil {
		t.Errorf("Zones of no address = %#v, want none", got)
	}
	a := netip.MustParseAddr("::ffff:10.20.30.40")
	if n := testing.AllocsPerRun(100, func() { c.Zones(a) }); n != 0 {
		t.Errorf("Zones allocates %v times, want 0", n)
	}
}

// The table answers as asking every prefix does.
func TestZonesAgainstPrefixes(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) netip.Addr {
		// Few distinct bits, so that prefixes hold each other and addresses.
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 128, 255}), 4, 4).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte(b))
		}
		return netip.AddrFrom16([16]byte{0x20, b[0], b[1], b[2], 15: b[3]})
	})
	rapid.Check(t, func(t *rapid.T) {
		zones := map[string][]netip.Prefix{}
		for i := range rapid.IntRange(1, 8).Draw(t, "zones") {
			name := fmt.Sprintf("z%d", i)
			for range rapid.IntRange(1, 4).Draw(t, "prefixes") {
				a := address.Draw(t, "address")
				p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
				if !slices.Contains(zones[name], p) {
					zones[name] = append(zones[name], p)
				}
			}
		}
		var b strings.Builder
		b.WriteString("networks:\n")
		for name, prefixes := range zones {
			fmt.Fprintf(&b, "  %s:\n", name)
			for _, p := range prefixes {
				fmt.Fprintf(&b, "    - %q\n", p)
			}
		}
		c := parse(t, b.String())
		a := address.Draw(t, "asked")
		want := []string{}
		for name, prefixes := range zones {
			if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if got, _ := c.Zones(a); !slices.Equal(got, want) {
			t.Fatalf("Zones(%v) = %v, want %v, with\n%s", a, got, want, b.String())
		}
	})
}

func TestOpenGeoIPRefuses(t *testing.T) {
	if _, err := catalog.OpenGeoIP(filepath.Join(t.TempDir(), "none.mmdb")); err == nil {
		t.Error("OpenGeoIP opens a file that does not exist")
	}
	if _, err := catalog.OpenGeoIP("testdata/broken.yaml"); err == nil {
		t.Error("OpenGeoIP opens a file that is no MaxMind DB")
	}
}
