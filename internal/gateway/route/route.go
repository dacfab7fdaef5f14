// Package route tells from an HTTP request which act it is: which route it takes, and what is asked before it may.
//
// A request that takes no route is no act that anybody declared, and has no question. What is matched is the path as
// it is forwarded: where two readers could disagree about a path, a query or a body, the request is refused rather than
// read in one of the ways.
//
// It knows no connection and no proxy: doors hand it what they have read.
package route

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Table is all routes of one door. It is immutable and safe for concurrent use.
type Table struct {
	routes []*Route
	exact  map[string]*node // by host
	wild   map[string]*node // by what follows "*"
	any    *node
	slash  bool // a template ends in a slash
}

// A Route is one kind of act. Routes are immutable; what they hold belongs to the table.
type Route struct {
	Name    string
	Methods []string // sorted; nil: anyMethods. GET answers HEAD too
	Host    string   // "", a name, or "*." and a name, for one label more
	Path    string   // the template
	Origin  string   // where it is declared: routes[2], or an operation of an OpenAPI document

	Action    string
	Resource  Resource
	Arguments map[string]Source
	Context   map[string]Source
	Closed    bool
	Task      string

	Upstream      string
	OnUnavailable string // refuse or allow
	NeedsBody     bool   // the request's body has to be read before anything is asked
	MaxBody       int64  // bytes: of every body, whether it is read here or passed on; 0: no bound
	Timeout       time.Duration
	Approval      Approval
	NoMask        bool  // results cannot be changed here: an act that must be masked is refused before it happens
	MaxResult     int64 // bytes of a result that is held because it has to be changed
	WebSocket     bool
	Recheck       time.Duration // of a WebSocket that is open
	DryRun        *DryRun       // nil: acts cannot be tried

	template template
	want     *want // in the body
	query    bool  // whether something depends on the query
	form     bool
	folded   map[string]bool // names of mapped parameters, folded
	headers  []string        // mapped, canonical
}

// Routes returns all routes in the order in which they were declared. The caller must not change it.
func (t *Table) Routes() []*Route { return t.routes }

// A Match is a route that a request takes.
type Match struct {
	Route *Route
	Path  map[string]string // path parameters, decoded
}

// Match returns the route of a request, false if it takes none. The host has no port; the path is as it was sent, not
// decoded, and takes no route if CheckPath refuses it. Neither does one that takes another route with a slash more or
// less at its end than it takes as it is: a server that does not mind would do another act than was decided about.
func (t *Table) Match(method, host, path string) (*Match, bool) {
	segments, err := split(path)
	if err != nil {
		return nil, false
	}
	host = strings.ToLower(host)
	r := t.find(method, host, segments)
	if r == nil {
		return nil, false
	}
	last := len(segments) - 1
	switch {
	case segments[last] != "":
		if !t.slash {
			break
		}
		with := t.find(method, host, append(slices.Clip(segments), ""))
		if with != nil && with != r && with.template.slash() && !with.template.slashOf(r.template) {
			return nil, false
		}
	case last > 0:
		if without := t.find(method, host, segments[:last]); without != nil && without != r && !r.template.slashOf(without.template) {
			return nil, false
		}
	}
	return &Match{Route: r, Path: r.template.parameters(segments)}, true
}

// find returns the route of a path in segments, nil if there is none.
func (t *Table) find(method, host string, segments []string) *Route {
	trees := [3]*node{t.exact[host], nil, t.any}
	if i := strings.IndexByte(host, '.'); i > 0 {
		trees[1] = t.wild[host[i:]]
	}
	for _, n := range trees {
		if n == nil {
			continue
		}
		if r, stop := n.find(segments, method); r != nil || stop {
			return r
		}
	}
	return nil
}

// accepts reports whether the route has the method.
func (r *Route) accepts(method string) bool {
	if r.Methods == nil {
		return slices.Contains(anyMethods, method)
	}
	return slices.Contains(r.Methods, method) || method == http.MethodHead && slices.Contains(r.Methods, http.MethodGet)
}

// A node is a place in a tree of path segments.
type node struct {
	literal map[string]*node
	folded  map[string]bool // literals, folded
	param   *node
	rest    []*Route // templates whose last segment takes all that follows
	ends    []*Route // templates that end here, the one with the fewest methods first
}

// insert adds a route below n.
func (n *node) insert(t template, r *Route) {
	for _, s := range t {
		switch s.kind {
		case rest:
			n.rest = byMethods(append(n.rest, r))
			return
		case param:
			if n.param == nil {
				n.param = new(node)
			}
			n = n.param
		default:
			if n.literal == nil {
				n.literal, n.folded = map[string]*node{}, map[string]bool{}
			}
			if n.literal[s.text] == nil {
				n.literal[s.text] = new(node)
				n.folded[fold(s.text)] = true
			}
			n = n.literal[s.text]
		}
	}
	n.ends = byMethods(append(n.ends, r))
}

func byMethods(all []*Route) []*Route {
	width := func(r *Route) int {
		if r.Methods == nil {
			return math.MaxInt
		}
		return len(r.methodSet())
	}
	slices.SortStableFunc(all, func(a, b *Route) int { return cmp.Compare(width(a), width(b)) })
	return all
}

// find returns the most specific route. Stop is whether the search is over although there is none: a segment differs
// from a literal one only in case, and a server that does not tell them apart would read another path.
func (n *node) find(segments []string, method string) (r *Route, stop bool) {
	if len(segments) == 0 {
		return pick(n.ends, method), false
	}
	s := segments[0]
	if below := n.literal[s]; below != nil {
		if r, stop := below.find(segments[1:], method); r != nil || stop {
			return r, stop
		}
	} else if n.folded[fold(s)] {
		return nil, true
	}
	if n.param != nil && s != "" {
		if r, stop := n.param.find(segments[1:], method); r != nil || stop {
			return r, stop
		}
	}
	return pick(n.rest, method), false
}

func pick(all []*Route, method string) *Route {
	for _, r := range all {
		if r.accepts(method) {
			return r
		}
	}
	return nil
}
