package catalog

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

func (r *reader) types(n ast.Node) {
	r.each(n, "types", func(name string, at, v ast.Node) {
		if !r.keyName(name, at, "type") {
			return
		}
		t := &Type{Name: name}
		r.object(v, "type "+name, fields{
			"class": func(n ast.Node) {
				if c := r.class(n); c != nil {
					t.Class, t.hasClass = *c, true
				}
			},
			"labels":             func(n ast.Node) { t.Labels = r.names(n, "labels", nil) },
			"jurisdiction":       func(n ast.Node) { t.Jurisdiction = r.text(n, "jurisdiction") },
			"request_properties": func(n ast.Node) { t.RequestProperties = r.texts(n, "request_properties") },
		})
		r.c.types[name] = t
	})
}

func (r *reader) classify(n ast.Node) (rules []*rule) {
	r.list(n, "classify", func(v ast.Node) {
		q := &rule{}
		r.object(v, "a rule", fields{
			"type": func(n ast.Node) { q.typ = r.ident(n, "type") },
			"id":   func(n ast.Node) { q.id = r.text(n, "id") },
			"properties": func(n ast.Node) {
				r.each(n, "properties", func(name string, _, v ast.Node) {
					q.properties = append(q.properties, condition{name, r.scalars(v, name)})
				})
			},
			"class":        func(n ast.Node) { q.class = r.class(n) },
			"labels":       func(n ast.Node) { q.labels = r.names(n, "labels", nil) },
			"jurisdiction": func(n ast.Node) { q.jurisdiction = r.text(n, "jurisdiction") },
		})
		if q.typ == "" && q.id == "" && q.properties == nil {
			r.at(v, "the rule matches everything: name a type, an id or properties, or use default_class")
		}
		if q.class == nil && q.labels == nil && q.jurisdiction == "" {
			r.at(v, "the rule says nothing: give it a class, labels or a jurisdiction")
		}
		rules = append(rules, q)
	})
	return rules
}

// scalars reads one text, number or truth value, or a list of them.
func (r *reader) scalars(n ast.Node, name string) (all []scalar) {
	one := func(v ast.Node) {
		switch r.value(v).(type) {
		case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			all = append(all, newScalar(r.json(nil, v, name)))
		default:
			r.at(v, "%s must be a text, a number, true or false, or a list of them, not %s", name, kind(r.value(v)))
		}
	}
	if _, ok := r.value(n).(*ast.SequenceNode); ok {
		r.list(n, name, one)
	} else {
		one(n)
	}
	return all
}

// setFallback keeps the class of what nothing classifies.
func (k *classifier) setFallback(c *authz.DataClass) {
	if c != nil {
		k.fallback = *c
	}
}

// compile sorts the rules by the types they concern.
func (k *classifier) compile(types map[string]*Type, rules []*rule) {
	k.byType = map[string]*typeRules{}
	k.other = typeRules{class: k.fallback, labels: []string{}}
	for _, t := range types {
		tr := &typeRules{class: k.fallback, labels: join(t.Labels, nil), jurisdiction: t.Jurisdiction, claimable: t.RequestProperties}
		if tr.labels == nil {
			tr.labels = []string{}
		}
		if t.hasClass {
			tr.class = t.Class
		} else {
			t.Class = k.fallback
		}
		k.byType[t.Name] = tr
	}
	for _, q := range rules {
		if q.typ != "" && k.byType[q.typ] == nil {
			k.byType[q.typ] = &typeRules{class: k.fallback, labels: []string{}}
		}
	}
	for _, q := range rules {
		if q.typ != "" {
			k.byType[q.typ].rules = append(k.byType[q.typ].rules, q)
			continue
		}
		k.other.rules = append(k.other.rules, q)
		for _, tr := range k.byType {
			tr.rules = append(tr.rules, q)
		}
	}
}

func (r *reader) schedules(n ast.Node) {
	r.each(n, "schedules", func(name string, at, v ast.Node) {
		if !r.keyName(name, at, "schedule") {
			return
		}
		s := &schedule{name: name, holidays: map[int]bool{}}
		r.object(v, "schedule "+name, fields{
			"zone": func(n ast.Node) { s.zone = r.location(n) },
			"windows": func(n ast.Node) {
				r.list(n, "windows", func(v ast.Node) { s.windows = append(s.windows, r.window(v)) })
			},
			"holidays": func(n ast.Node) {
				r.list(n, "holidays", func(v ast.Node) {
					day, ok := r.date(v, "a holiday")
					if ok && s.holidays[day] {
						r.at(v, "the holiday is listed twice")
					}
					if ok {
						s.holidays[day] = true
					}
				})
			},
		})
		if len(s.windows) == 0 {
			r.at(at, "schedule %s has no windows, so it would never open", name)
		}
		r.c.schedules.all = append(r.c.schedules.all, s)
	})
	slices.SortFunc(r.c.schedules.all, func(a, b *schedule) int { return cmp.Compare(a.name, b.name) })
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (r *reader) window(n ast.Node) window {
	w := window{days: [7]bool{true, true, true, true, true, true, true}, to: minutesOfDay, first: earliestDay, last: latestDay}
	from, to := false, false
	r.object(n, "a window", fields{
		"days": func(n ast.Node) {
			w.days = [7]bool{}
			if _, ok := r.value(n).(*ast.SequenceNode); !ok {
				r.days(n, &w.days)
				return
			}
			r.list(n, "days", func(v ast.Node) { r.days(v, &w.days) })
			if w.days == [7]bool{} {
				r.at(n, "days is empty, so the window would never open")
			}
		},
		"from":  func(n ast.Node) { w.from, from = r.clock(n, "from", minutesOfDay-1), true },
		"to":    func(n ast.Node) { w.to, to = r.clock(n, "to", minutesOfDay), true },
		"first": func(n ast.Node) { w.first = r.dateOr(n, "first", earliestDay) },
		"last":  func(n ast.Node) { w.last = r.dateOr(n, "last", latestDay) },
	})
	if from != to {
		r.at(n, "a window has both from and to, or neither, which is the whole day")
	} else if w.from == w.to && w.from >= 0 {
		r.at(n, "the window opens and closes at the same minute: for the whole day leave out both")
	}
	if w.first > w.last {
		r.at(n, "the window's last day is before its first")
	}
	return w
}

// days adds a day, or a range such as mon-fri.
func (r *reader) days(n ast.Node, days *[7]bool) {
	s := r.text(n, "days")
	if s == "" {
		return
	}
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	i, j := slices.Index(dayNames, a), slices.Index(dayNames, b)
	if i < 0 || j < 0 {
		r.at(n, "%q is not a day: one of mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri", s)
		return
	}
	for ; ; i = (i + 1) % 7 {
		days[i] = true
		if i == j {
			return
		}
	}
}

// clock reads HH:MM, up to the given minute of the day. It returns -1 if there is a problem.
func (r *reader) clock(n ast.Node, what string, most int) int {
	s := r.text(n, what)
	if s == "" {
		return -1
	}
	if len(s) == 5 && s[2] == ':' {
		digits, ok := 0, true
		for _, i := range []int{0, 1, 3, 4} {
			ok = ok && s[i] >= '0' && s[i] <= '9'
			digits = digits*10 + int(s[i]-'0')
		}
		if m := digits/100*60 + digits%100; ok && digits%100 < 60 && m <= most {
			return m
		}
	}
	r.at(n, "%s %q is not a time of day: write it as \"09:30\", the end of the day as \"24:00\"", what, s)
	return -1
}

// date reads a day of the calendar.
func (r *reader) date(n ast.Node, what string) (int, bool) {
	s := r.text(n, what)
	if s == "" {
		return 0, false
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		r.at(n, "%s %q is not a date: write it as 2026-12-24", what, s)
		return 0, false
	}
	return dayOf(t.Date()), true
}

func (r *reader) dateOr(n ast.Node, what string, otherwise int) int {
	if day, ok := r.date(n, what); ok {
		return day
	}
	return otherwise
}

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

func (r *reader) entities(n ast.Node) {
	lines := map[authz.Ref]int{}
	places := map[authz.Ref]ast.Node{}
	r.list(n, "entities", func(v ast.Node) {
		e := &Stored{}
		var parents []ast.Node
		r.object(v, "an entity", fields{
			"type":       func(n ast.Node) { e.Type = r.ident(n, "type") },
			"id":         func(n ast.Node) { e.ID = r.entityID(n) },
			"properties": func(n ast.Node) { e.Properties = r.document.properties(n, "properties") },
			"parents": func(n ast.Node) {
				r.list(n, "parents", func(v ast.Node) {
					p := r.ref(v)
					if p.Type == "" || p.ID == "" {
						return
					}
					if len(e.Parents) == maxParents {
						r.at(v, "%s has more than %d parents", e.Ref, maxParents)
						return
					}
					if slices.Contains(e.Parents, p) {
						r.at(v, "parent %s is listed twice", p)
						return
					}
					e.Parents, parents = append(e.Parents, p), append(parents, v)
				})
			},
		})
		if e.Type == "" || e.ID == "" {
			r.at(v, "an entity has a type and an id")
			return
		}
		if strings.EqualFold(e.Type, authz.AgentType) {
			r.at(v, "agents are registered, not declared: remove %s", e.Ref)
			return
		}
		if line, twice := lines[e.Ref]; twice {
			r.at(v, "%s is declared twice; first in line %d", e.Ref, line)
			return
		}
		if t := first(r.value(v)); t != nil {
			lines[e.Ref] = t.Position.Line
		}
		places[e.Ref] = v
		r.c.entities[e.Ref] = e
		r.c.byType[e.Type] = append(r.c.byType[e.Type], e)
		r.later = append(r.later, func() {
			for i, p := range e.Parents {
				if r.c.entities[p] == nil {
					r.at(parents[i], "%s: parent %s is not declared", e.Ref, p)
				}
			}
		})
	})
	r.later = append(r.later, func() { r.acyclic(places) })
}

func (r *reader) entityID(n ast.Node) string {
	s := r.text(n, "id")
	if len(s) > 4*maxName {
		r.at(n, "id is longer than %d bytes", 4*maxName)
		return ""
	}
	return s
}

func (r *reader) ref(n ast.Node) (ref authz.Ref) {
	r.object(n, "a reference", fields{
		"type": func(n ast.Node) { ref.Type = r.ident(n, "type") },
		"id":   func(n ast.Node) { ref.ID = r.entityID(n) },
	})
	if ref.Type == "" || ref.ID == "" {
		r.at(n, "a reference has a type and an id")
	}
	return ref
}

// acyclic complains of entities that are above themselves. It takes away, again and again, those
// that have no parent left.
func (r *reader) acyclic(places map[authz.Ref]ast.Node) {
	left := map[authz.Ref]int{}
	children := map[authz.Ref][]authz.Ref{}
	var free []authz.Ref
	for ref, e := range r.c.entities {
		for _, p := range e.Parents {
			if r.c.entities[p] != nil {
				left[ref]++
				children[p] = append(children[p], ref)
			}
		}
		if left[ref] == 0 {
			free = append(free, ref)
		}
	}
	for len(free) > 0 {
		ref := free[len(free)-1]
		free = free[:len(free)-1]
		delete(left, ref)
		for _, child := range children[ref] {
			if left[child]--; left[child] == 0 {
				free = append(free, child)
			}
		}
	}
	if len(left) == 0 {
		return
	}
	// What is left is on a circle or below one, so that whoever goes up from it comes round.
	at := slices.MinFunc(slices.Collect(maps.Keys(left)), compareRefs)
	for seen := map[authz.Ref]bool{}; !seen[at]; {
		seen[at] = true
		for _, p := range r.c.entities[at].Parents {
			if left[p] > 0 {
				at = p
				break
			}
		}
	}
	r.at(places[at], "%s is its own ancestor", at)
}

func compareRefs(a, b authz.Ref) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
}

func enumerate(words []string) string { return strings.Join(words, ", ") }
