package conduct

import (
	"hash/maphash"
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
)

// An EventReader reads events from the bodies of decision.made entries: in one pass, and of members that
// it does not know, only that they are JSON. It remembers strings that it has seen lately; what it
// reads does not depend on them. It is not safe for concurrent use.
type EventReader struct {
	scan       scan
	pool       pool
	provenance authz.Provenance
}

// NewEventReader returns an EventReader.
func NewEventReader() *EventReader { return &EventReader{pool: pool{seed: maphash.MakeSeed()}} }

// Read reads the body of a decision.made entry into ev, whose slices it uses again. It reports whether
// the decision is about an act, not what may be shown, of a registered agent that is not retired; if not, ev means nothing. It sets
// all but Seq, At, Hour and Weekday. The strings of ev can be kept; Args and Says are part of the body.
//
// It returns authz.ErrInvalid if the body is damaged: not JSON, a member of another type than it
// should have or of a name that is unknown where names are few, or one that comes twice.
func (r *EventReader) Read(body []byte, ev *Event) (bool, error) {
	*ev = Event{
		OnBehalf: ev.OnBehalf[:0], Behalf: ev.Behalf[:0], Obligations: ev.Obligations[:0], Reasons: ev.Reasons[:0], Within: ev.Within[:0],
		Exceeded: ev.Exceeded[:0], Labels: ev.Labels[:0], Zones: ev.Zones[:0],
		Class: Write, Confidence: -1, Risk: (authz.Risk{}).Rank(),
	}
	s := &r.scan
	*s = scan{text: body, room: s.room}
	var state string
	listing := false
	s.members(func(name []byte) int {
		switch string(name) {
		case "listing":
			listing = s.isTrue()
			return 4
		case "request":
			r.request(ev)
			return 0
		case "facts":
			state = r.facts(ev)
			return 1
		case "decision":
			r.decision(ev)
			return 2
		case "edge":
			r.edge(ev)
			return 3
		}
		return other
	})
	if !s.done() {
		return false, errDamaged
	}
	ev.Issuing = ev.Action == authz.ActionIssue || ev.Action == authz.ActionRegister
	return ev.Agent != "" && state != string(authz.AgentRetired) && !listing, nil
}

func (r *EventReader) edge(ev *Event) {
	r.scan.members(func(name []byte) int {
		switch string(name) {
		case "journal":
			ev.Journal = r.text()
			return 0
		case "number":
			ev.Number = r.integer()
			return 1
		}
		return other
	})
}

// text reads a string, or null, which is none.
func (r *EventReader) text() string {
	if r.scan.null() {
		return ""
	}
	return r.pool.string(r.scan.string())
}

// texts reads a list of strings, or null.
func (r *EventReader) texts(list []string) []string {
	list = list[:0]
	r.scan.elements(func() { list = append(list, r.text()) })
	return list
}

func (r *EventReader) request(ev *Event) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "action":
			r.action(ev)
			return 0
		case "resource":
			ev.Resource, ev.Says = r.entity()
			return 1
		case "context":
			r.context(ev)
			return 2
		case "observed":
			r.observed(ev)
			return 3
		case "on_behalf":
			s.elements(func() {
				ref, _ := r.entity()
				ev.OnBehalf = append(ev.OnBehalf, ref)
			})
			return 4
		}
		return other
	})
}

func (r *EventReader) action(ev *Event) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "name":
			ev.Action = r.text()
			return 0
		case "properties":
			ev.Args = s.object()
			return 1
		}
		return other
	})
}

func (r *EventReader) entity() (ref authz.Ref, properties []byte) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "type":
			ref.Type = r.text()
			return 0
		case "id":
			ref.ID = r.text()
			return 1
		case "properties":
			properties = s.object()
			return 2
		}
		return other
	})
	return ref, properties
}

// context reads what the caller says of the moment: of it, the agent's confidence in its act. It is
// claimed: what is no number, written as one or as a string, is none.
func (r *EventReader) context(ev *Event) {
	s := &r.scan
	s.members(func(name []byte) int {
		if string(name) != "confidence" {
			return other
		}
		switch c := s.space(); {
		case c == '"':
			ev.Confidence = confidence(s.string())
		case c == '-' || c-'0' <= 9:
			ev.Confidence = confidence(s.number())
		default:
			s.skip(0)
		}
		return 0
	})
}

// confidence returns the number that text is, as the decision point reads it: without an exponent, and no less
// than 0 and no more than 1, so that who exaggerates is judged by it; -1 if text is none.
func confidence(text []byte) float64 {
	for _, c := range text {
		if c != '-' && c != '.' && c-'0' > 9 {
			return -1
		}
	}
	if x, err := strconv.ParseFloat(string(text), 64); err == nil {
		return max(0, min(x, 1))
	}
	return -1
}

func (r *EventReader) observed(ev *Event) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "session":
			ev.Session = r.text()
			return 0
		case "task":
			ev.Task = r.text()
			return 1
		case "pep":
			ev.PEP = r.text()
			return 2
		case "provenance":
			r.readProvenance(ev)
			return 3
		}
		return other
	})
}

func (r *EventReader) readProvenance(ev *Event) {
	if r.scan.space() != '{' {
		r.scan.open('{') // null, or a fault
		return
	}
	p := &r.provenance
	*p = authz.Provenance{Prompt: p.Prompt[:0], Operator: p.Operator[:0], Untrusted: p.Untrusted[:0], Unknown: p.Unknown[:0]}
	ev.Provenance = p
	r.scan.members(func(name []byte) int {
		switch string(name) {
		case "prompt":
			p.Prompt = r.texts(p.Prompt)
			return 0
		case "operator":
			p.Operator = r.texts(p.Operator)
			return 1
		case "untrusted":
			p.Untrusted = r.texts(p.Untrusted)
			return 2
		case "unknown":
			p.Unknown = r.texts(p.Unknown)
			return 3
		}
		return other
	})
}

func (r *EventReader) facts(ev *Event) (state string) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "zones":
			ev.Zones = r.texts(ev.Zones)
			return 0
		case "country":
			ev.Country = r.text()
			return 1
		case "class":
			ev.Data = r.dataClass()
			return 2
		case "labels":
			ev.Labels = r.texts(ev.Labels)
			return 3
		case "region":
			ev.Region = r.text()
			return 4
		case "agent":
			state = r.agent(ev)
			return 5
		case "grant":
			var class string
			class, ev.Within, ev.Exceeded = r.grant(ev.Within, ev.Exceeded)
			if c, ok := ParseClass(class); ok {
				ev.Class, ev.Classed = c, true
			}
			return 6
		case "risk":
			r.risk(ev)
			return 7
		case "behalf":
			r.behalf(ev)
			return 8
		}
		return other
	})
	return state
}

func (r *EventReader) dataClass() (c authz.DataClass) {
	if r.scan.null() {
		return c
	}
	switch string(r.scan.string()) {
	case "restricted":
		return authz.Restricted
	case "confidential":
		return authz.Confidential
	case "internal":
		return authz.Internal
	case "public":
		return authz.Public
	}
	r.scan.fail()
	return c
}

func (r *EventReader) agent(ev *Event) (state string) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "id":
			ev.Agent = authz.AgentID(r.text())
			return 0
		case "owner":
			ev.Owner = r.text()
			return 1
		case "purpose":
			ev.Purpose = r.text()
			return 2
		case "version":
			ev.Version = r.text()
			return 3
		case "creator":
			ev.Creator = r.text()
			return 4
		case "state":
			state = r.text()
			return 5
		case "revision":
			ev.Revision = r.integer()
			return 6
		}
		return other
	})
	return state
}

// integer reads a whole number of 64 bits, or null.
func (r *EventReader) integer() int64 {
	s := &r.scan
	if s.null() {
		return 0
	}
	text := s.number()
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		s.fail()
	}
	return n
}

func (r *EventReader) grant(within, exceeded []string) (class string, _, _ []string) {
	s := &r.scan
	within, exceeded = within[:0], exceeded[:0]
	s.members(func(name []byte) int {
		switch string(name) {
		case "within":
			within = r.texts(within)
			return 0
		case "exceeded":
			exceeded = r.texts(exceeded)
			return 1
		case "class":
			class = r.text()
			return 2
		}
		return other
	})
	return class, within, exceeded
}

func (r *EventReader) risk(ev *Event) {
	r.scan.members(func(name []byte) int {
		if string(name) != "level" {
			return other
		}
		ev.Risk = (authz.Risk{Level: r.text()}).Rank()
		return 0
	})
}

func (r *EventReader) behalf(ev *Event) {
	s := &r.scan
	s.elements(func() {
		n := len(ev.Behalf)
		if n < cap(ev.Behalf) {
			ev.Behalf = ev.Behalf[:n+1]
		} else {
			ev.Behalf = append(ev.Behalf, Behalf{})
		}
		b := &ev.Behalf[n]
		b.Agent, b.Within = "", b.Within[:0]
		s.members(func(name []byte) int {
			switch string(name) {
			case "agent":
				b.Agent = authz.AgentID(r.identity())
				return 0
			case "grant":
				_, b.Within, _ = r.grant(b.Within, nil)
				return 1
			}
			return other
		})
	})
}

// identity reads an agent of whom only the id matters.
func (r *EventReader) identity() string {
	ref, _ := r.entity()
	return ref.ID
}

// reason reads a reason of which only the code matters.
func (r *EventReader) reason() (code string) {
	r.scan.members(func(name []byte) int {
		if string(name) != "code" {
			return other
		}
		code = r.text()
		return 0
	})
	return code
}

func (r *EventReader) decision(ev *Event) {
	s := &r.scan
	s.members(func(name []byte) int {
		switch string(name) {
		case "effect":
			if s.null() {
				return 0
			}
			if err := ev.Effect.UnmarshalText(s.string()); err != nil {
				s.fail()
			}
			return 0
		case "code":
			ev.Code = r.text()
			return 1
		case "reasons":
			s.elements(func() { ev.Reasons = append(ev.Reasons, r.reason()) })
			return 3
		case "obligations":
			s.elements(func() { ev.Obligations = append(ev.Obligations, r.identity()) })
			return 2
		}
		return other
	})
}
