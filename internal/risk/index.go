package risk

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/safeconduct/safeconduct/authz"
)

// An index finds the indicators that match a request without looking at the others. The zero index
// is empty.
type index struct {
	addresses bart.Table[[]*Indicator]
	values    map[indicatorKey][]*Indicator // of all types but ip
	counts    map[IndicatorType]int
}

type indicatorKey struct {
	typ   IndicatorType
	value string
}

func (x *index) add(i *Indicator) {
	if x.counts == nil {
		x.counts, x.values = map[IndicatorType]int{}, map[indicatorKey][]*Indicator{}
	}
	x.counts[i.Type]++
	if i.Type == IndicatorIP {
		if p, err := parsePrefix(i.Value); err == nil {
			x.addresses.Modify(p, func(l []*Indicator, _ bool) ([]*Indicator, bool) { return append(slices.Clip(l), i), false })
		}
		return
	}
	k := indicatorKey{i.Type, i.Value}
	x.values[k] = append(x.values[k], i)
}

func (x *index) remove(i *Indicator) {
	x.counts[i.Type]--
	without := func(l []*Indicator) []*Indicator {
		return slices.DeleteFunc(slices.Clone(l), func(o *Indicator) bool { return o.ID == i.ID })
	}
	if i.Type == IndicatorIP {
		if p, err := parsePrefix(i.Value); err == nil {
			x.addresses.Modify(p, func(l []*Indicator, _ bool) ([]*Indicator, bool) {
				l = without(l)
				return l, len(l) == 0
			})
		}
		return
	}
	k := indicatorKey{i.Type, i.Value}
	if l := without(x.values[k]); len(l) > 0 {
		x.values[k] = l
	} else {
		delete(x.values, k)
	}
}

// match calls f with every indicator that matches the request, expired ones too.
func (x *index) match(req *authz.Request, f func(*Indicator)) {
	each := func(typ IndicatorType, value string) {
		if value == "" {
			return
		}
		for _, i := range x.values[indicatorKey{typ, value}] {
			f(i)
		}
	}
	if a := req.Observed.Address; x.counts[IndicatorIP] > 0 && a.IsValid() {
		a = a.Unmap().WithZone("")
		for _, l := range x.addresses.Supernets(netip.PrefixFrom(a, a.BitLen())) {
			for _, i := range l {
				f(i)
			}
		}
	}
	if x.counts[IndicatorAgent] > 0 {
		each(IndicatorAgent, string(req.Agent()))
		for _, ref := range req.OnBehalf {
			if ref.Type == authz.AgentType && ref.ID != string(req.Agent()) {
				each(IndicatorAgent, ref.ID)
			}
		}
	}
	id := req.Resource.ID
	if x.counts[IndicatorResource] > 0 {
		each(IndicatorResource, id)
	}
	if x.counts[IndicatorSHA256] > 0 {
		each(IndicatorSHA256, strings.TrimPrefix(strings.ToLower(id), "sha256:"))
	}
	if x.counts[IndicatorDomain] > 0 {
		for host := host(id); host != ""; {
			each(IndicatorDomain, host)
			_, host, _ = strings.Cut(host, ".")
		}
	}
}

// host returns the name of the host that a resource's id is, or has as a URL or as an address of
// mail, in lower case.
func host(id string) string {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		id = rest
	}
	if i := strings.IndexAny(id, "/?#\\"); i >= 0 {
		id = id[:i]
	}
	id = id[strings.LastIndexByte(id, '@')+1:]
	if i := strings.IndexByte(id, ':'); i >= 0 {
		id = id[:i]
	}
	if len(id) > 253 || !strings.Contains(id, ".") {
		return ""
	}
	return strings.Trim(strings.ToLower(id), ".")
}
