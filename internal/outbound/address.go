package outbound

import (
	"context"
	"net/netip"
	"syscall"

	"github.com/safeconduct/safeconduct/authz"
)

// control is called with every address that a connection is about to be made to.
func (c *Client) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return authz.Errorf(authz.ErrForbidden, "no address that may be reached")
	}
	if c.permits(ap.Addr()) {
		return nil
	}
	// The address itself is not named: it would tell whoever reads the error how our names resolve.
	return authz.Errorf(authz.ErrForbidden, "the address is not a public one")
}

// reserved are the IPv4 networks that are not public: the special-purpose registry of IANA
// (RFC 6890) as far as it is not globally reachable, and multicast.
var reserved = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
	"169.254.0.0/16", // link-local: where clouds keep their metadata services
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)

// reserved6 are those of IPv6 within 2000::/3, outside of which nothing is public but NAT64.
var reserved6 = prefixes(
	"2001::/23",     // protocol assignments: Teredo, ORCHID, benchmarking
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4: holds an IPv4 address, and is not in use any more (RFC 7526)
	"3fff::/20",     // documentation
)

var (
	global = netip.MustParsePrefix("2000::/3")
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052; the last four bytes are an IPv4 address
)

// Public reports whether an address is one that everybody can reach. IPv4 addresses inside of IPv6
// ones count as what they are.
func Public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	switch {
	case a.Is4():
		return !within(reserved, a)
	case nat64.Contains(a):
		b := a.As16()
		return Public(netip.AddrFrom4([4]byte(b[12:])))
	case !global.Contains(a) || within(reserved6, a):
		return false
	}
	return true
}

func within(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func prefixes(texts ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		ps[i] = netip.MustParsePrefix(t)
	}
	return ps
}
