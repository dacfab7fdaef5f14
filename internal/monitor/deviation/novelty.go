package deviation

import (
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

// A Thing is a kind of thing that can be new in an act.
type Thing uint8

// Things. A destination is where an act that leaves the organisation goes: the resource, and what looks
// like an address among the arguments.
const (
	Tool Thing = iota
	Destination
	Resource
	Pair // of an action and a resource

	things = 4
	place  = Thing(things) // a network zone or a country; not part of a score
	kinds  = things + 1    // of a set
)

// String returns what the thing is called in a sentence.
func (t Thing) String() string {
	return [...]string{"tool", "destination", "resource", "act on a resource", "place"}[min(t, place)]
}

// Bounds of sets, in things of each kind.
const (
	ownSeen    = 16
	sharedSeen = 1024
	thingsMost = 4 + addressesMost
)

// A thing is one that an act has to do with.
type thing struct {
	kind Thing
	id   uint64
	new  bool // to the agent
}

// A share is how many of some were new. Of a full count both halves are forgotten.
type share struct{ new, all uint16 }

func (s *share) add(new bool) {
	if s.all == 1<<16-1 {
		s.new, s.all = (s.new+1)/2, s.all/2
	}
	s.all++
	if new {
		s.new++
	}
}

// bits returns how rarely something was new.
func (s *share) bits() float64 { return sequence.Bits(float64(s.new+1) / float64(uint32(s.all)+2)) }

// newness says how rarely something is as new as the newest thing in an act. What is known to the purpose counts
// for less. An agent for which something is always new does not become unremarkable by it unless it is so for its purpose.
func (s *State) newness(p *purpose, r *catalog.DeviationRules, ev *conduct.Event, x *Features) {
	day, remember := dayOf(ev), int(days(r))
	ref := conduct.Hash(ev.Resource.Type, ev.Resource.ID)
	x.add(Tool, x.action)
	x.add(Resource, ref)
	x.add(Pair, x.action^ref*3)
	if ev.Class == conduct.Egress || ev.Class == conduct.Money {
		x.add(Destination, ref)
		var found [addressesMost]uint64
		for _, a := range found[:addresses(ev.Args, &found)] {
			x.add(Destination, a)
		}
	}
	for i := range x.things[:x.n] {
		t := &x.things[i]
		if _, ok := s.seen.Age(int(t.kind), kinds, t.id, day, remember); ok {
			continue
		}
		t.new = true
		b := s.fresh[t.kind].bits()
		if _, ok := p.seen.Age(int(t.kind), kinds, t.id, day, remember); ok {
			b = min(b, 2)
		} else {
			b = max(b, p.fresh[t.kind].bits())
		}
		if b > x.Novelty {
			x.Novelty, x.New = b, t.kind
		}
	}
}

func (x *Features) add(kind Thing, id uint64) {
	x.things[x.n] = thing{kind: kind, id: id}
	x.n++
}

// days returns how long what was seen counts as seen, in days.
func days(r *catalog.DeviationRules) uint16 {
	return uint16(max(1, min(1024, r.Remember.Hours()/24)))
}

const (
	addressesMost = 4
	scanMost      = 4096 // bytes of arguments that are looked at
)

// addresses finds what looks like an address in arguments: e-mail addresses, the hosts of URLs, account
// numbers (IBAN, ISO 13616). It returns how many it put into found, hashes in lower case.
func addresses(args []byte, found *[addressesMost]uint64) (n int) {
	args = args[:min(len(args), scanMost)]
	for i := 0; i < len(args) && n < len(found); {
		if !inAddress(args[i]) {
			i++
			continue
		}
		j, at, scheme := i, false, -1
		for ; j < len(args) && inAddress(args[j]); j++ {
			switch {
			case args[j] == '@':
				at = at || j > i
			case args[j] == ':' && scheme < 0 && j+2 < len(args) && args[j+1] == '/' && args[j+2] == '/':
				scheme = j + 3
			}
		}
		word := args[i:j]
		i = j
		switch {
		case scheme >= 0:
			word = host(args[scheme:j])
		case at:
		case len(word) > 4 && lower(word[0]) == 'w' && lower(word[1]) == 'w' && lower(word[2]) == 'w' && word[3] == '.':
			word = host(word)
		case account(word):
		default:
			continue
		}
		found[n] = hashLower(word)
		n++
	}
	return n
}

func inAddress(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '@' || c == '.' || c == '-' || c == '_' || c == '+' || c == ':' || c == '/' || c == '%'
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// host cuts off a URL what follows the host.
func host(b []byte) []byte {
	for i, c := range b {
		if c == '/' || c == ':' && i > 0 {
			return b[:i]
		}
	}
	return b
}

// account reports whether a word looks like an account number: two letters, two digits, 10 to 30 more of both.
func account(b []byte) bool {
	if len(b) < 14 || len(b) > 34 {
		return false
	}
	for i, c := range b {
		digit := '0' <= c && c <= '9'
		letter := 'a' <= lower(c) && lower(c) <= 'z'
		if i < 2 && !letter || (i == 2 || i == 3) && !digit || !digit && !letter {
			return false
		}
	}
	return true
}

func hashLower(b []byte) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range b {
		h = (h ^ uint64(lower(c))) * 1099511628211
	}
	return h
}
