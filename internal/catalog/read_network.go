package catalog

import (
	"net/netip"

	"github.com/goccy/go-yaml/ast"
)

func (r *reader) networks(n ast.Node) {
	names := map[string]bool{}
	var all []prefix
	r.each(n, "networks", func(name string, at, v ast.Node) {
		if !r.keyName(name, at, "network") {
			return
		}
		names[name] = true
		seen := map[netip.Prefix]bool{}
		r.list(v, "network "+name, func(v ast.Node) {
			p, ok := r.prefix(v)
			if ok && seen[p] {
				r.at(v, "network %s lists %s twice", name, p)
			} else if ok {
				seen[p] = true
				all = append(all, prefix{name, p})
			}
		})
		if len(seen) == 0 {
			r.at(at, "network %s holds no addresses", name)
		}
	})
	r.c.networks.set(sortedKeys(names), all)
}

// prefix reads a CIDR prefix or one address. Addresses of IPv4 that are mapped into IPv6 are taken
// for what they are.
func (r *reader) prefix(n ast.Node) (netip.Prefix, bool) {
	s := r.text(n, "an address range")
	if s == "" {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			r.at(n, "%q is not an address range: write it as 10.0.0.0/8 or 2001:db8::/32", s)
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			r.at(n, "%s mixes IPv4 and IPv6: write two ranges", s)
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		r.at(n, "%s has bits set beyond its length: did you mean %s, or %s?", s, m, p.Addr())
		return netip.Prefix{}, false
	}
	return p, true
}
