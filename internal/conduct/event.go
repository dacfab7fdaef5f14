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
// the decision is about an act of a registered agent that is not retired; if not, ev means nothing. It sets
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
	var seen uint32
	if s.open('{') {
		for first := true; ; {
			name, ok := s.member(&first)
			if !ok {
				break
			}
			switch string(name) {
			case "request":
				s.once(&seen, 0)
				r.request(ev)
			case "facts":
				s.once(&seen, 1)
				state = r.facts(ev)
			case "decision":
				s.once(&seen, 2)
				r.decision(ev)
			default:
				s.skip(0)
			}
		}
	}
	if !s.done() {
		return false, errDamaged
	}
	ev.Issuing = ev.Action == authz.ActionIssue || ev.Action == authz.ActionRegister
	return ev.Agent != "" && state != string(authz.AgentRetired), nil
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
	if r.scan.open('[') {
		for first := true; r.scan.more(&first, ']'); {
			list = append(list, r.text())
		}
	}
	return list
}

func (r *EventReader) request(ev *Event) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		switch string(name) {
		case "action":
			s.once(&seen, 0)
			r.action(ev)
		case "resource":
			s.once(&seen, 1)
			ev.Resource, ev.Says = r.entity()
		case "context":
			s.once(&seen, 2)
			r.context(ev)
		case "observed":
			s.once(&seen, 3)
			r.observed(ev)
		case "on_behalf":
			s.once(&seen, 4)
			if s.open('[') {
				for first := true; s.more(&first, ']'); {
					ref, _ := r.entity()
					ev.OnBehalf = append(ev.OnBehalf, ref)
				}
			}
		default: // the subject: who it is, the facts say
			s.skip(0)
		}
	}
}

func (r *EventReader) action(ev *Event) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		switch string(name) {
		case "name":
			s.once(&seen, 0)
			ev.Action = r.text()
		case "properties":
			s.once(&seen, 1)
			ev.Args = s.object()
		default:
			s.skip(0)
		}
	}
}

func (r *EventReader) entity() (ref authz.Ref, properties []byte) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return ref, nil
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return ref, properties
		}
		switch string(name) {
		case "type":
			s.once(&seen, 0)
			ref.Type = r.text()
		case "id":
			s.once(&seen, 1)
			ref.ID = r.text()
		case "properties":
			s.once(&seen, 2)
			properties = s.object()
		default:
			s.skip(0)
		}
	}
}

// context reads what the caller says of the moment: of it, the agent's confidence in its act. It is
// claimed: what is no number, written as one or as a string, is none.
func (r *EventReader) context(ev *Event) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		if string(name) != "confidence" {
			s.skip(0)
			continue
		}
		s.once(&seen, 0)
		switch c := s.space(); {
		case c == '"':
			ev.Confidence = confidence(s.string())
		case c == '-' || c-'0' <= 9:
			ev.Confidence = confidence(s.number())
		default:
			s.skip(0)
		}
	}
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
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		switch string(name) {
		case "session":
			s.once(&seen, 0)
			ev.Session = r.text()
		case "task":
			s.once(&seen, 1)
			ev.Task = r.text()
		case "pep":
			s.once(&seen, 2)
			ev.PEP = r.text()
		case "provenance":
			s.once(&seen, 3)
			r.readProvenance(ev)
		default:
			s.skip(0)
		}
	}
}

func (r *EventReader) readProvenance(ev *Event) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	p := &r.provenance
	*p = authz.Provenance{Prompt: p.Prompt[:0], Operator: p.Operator[:0], Untrusted: p.Untrusted[:0], Unknown: p.Unknown[:0]}
	ev.Provenance = p
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		switch string(name) {
		case "prompt":
			s.once(&seen, 0)
			p.Prompt = r.texts(p.Prompt)
		case "operator":
			s.once(&seen, 1)
			p.Operator = r.texts(p.Operator)
		case "untrusted":
			s.once(&seen, 2)
			p.Untrusted = r.texts(p.Untrusted)
		case "unknown":
			s.once(&seen, 3)
			p.Unknown = r.texts(p.Unknown)
		default:
			s.skip(0)
		}
	}
}

func (r *EventReader) facts(ev *Event) (state string) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return ""
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return state
		}
		switch string(name) {
		case "zones":
			s.once(&seen, 0)
			ev.Zones = r.texts(ev.Zones)
		case "country":
			s.once(&seen, 1)
			ev.Country = r.text()
		case "class":
			s.once(&seen, 2)
			ev.Data = r.dataClass()
		case "labels":
			s.once(&seen, 3)
			ev.Labels = r.texts(ev.Labels)
		case "region":
			s.once(&seen, 4)
			ev.Region = r.text()
		case "agent":
			s.once(&seen, 5)
			state = r.agent(ev)
		case "grant":
			s.once(&seen, 6)
			var class string
			class, ev.Within, ev.Exceeded = r.grant(ev.Within, ev.Exceeded)
			if c, ok := ParseClass(class); ok {
				ev.Class, ev.Classed = c, true
			}
		case "risk":
			s.once(&seen, 7)
			r.risk(ev)
		case "behalf":
			s.once(&seen, 8)
			r.behalf(ev)
		default:
			s.skip(0)
		}
	}
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
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return ""
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return state
		}
		switch string(name) {
		case "id":
			s.once(&seen, 0)
			ev.Agent = authz.AgentID(r.text())
		case "owner":
			s.once(&seen, 1)
			ev.Owner = r.text()
		case "purpose":
			s.once(&seen, 2)
			ev.Purpose = r.text()
		case "version":
			s.once(&seen, 3)
			ev.Version = r.text()
		case "creator":
			s.once(&seen, 4)
			ev.Creator = r.text()
		case "state":
			s.once(&seen, 5)
			state = r.text()
		case "revision":
			s.once(&seen, 6)
			ev.Revision = r.integer()
		default:
			s.skip(0)
		}
	}
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
	s, seen := &r.scan, uint32(0)
	within, exceeded = within[:0], exceeded[:0]
	if !s.open('{') {
		return "", within, exceeded
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return class, within, exceeded
		}
		switch string(name) {
		case "within":
			s.once(&seen, 0)
			within = r.texts(within)
		case "exceeded":
			s.once(&seen, 1)
			exceeded = r.texts(exceeded)
		case "class":
			s.once(&seen, 2)
			class = r.text()
		default:
			s.skip(0)
		}
	}
}

func (r *EventReader) risk(ev *Event) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		if string(name) != "level" {
			s.skip(0)
			continue
		}
		s.once(&seen, 0)
		ev.Risk = (authz.Risk{Level: r.text()}).Rank()
	}
}

func (r *EventReader) behalf(ev *Event) {
	s := &r.scan
	if !s.open('[') {
		return
	}
	for first := true; s.more(&first, ']'); {
		n := len(ev.Behalf)
		if n < cap(ev.Behalf) {
			ev.Behalf = ev.Behalf[:n+1]
		} else {
			ev.Behalf = append(ev.Behalf, Behalf{})
		}
		b := &ev.Behalf[n]
		b.Agent, b.Within = "", b.Within[:0]
		if !s.open('{') {
			continue
		}
		seen := uint32(0)
		for first := true; ; {
			name, ok := s.member(&first)
			if !ok {
				break
			}
			switch string(name) {
			case "agent":
				s.once(&seen, 0)
				ref := r.identity()
				b.Agent = authz.AgentID(ref)
			case "grant":
				s.once(&seen, 1)
				_, b.Within, _ = r.grant(b.Within, nil)
			default:
				s.skip(0)
			}
		}
	}
}

// identity reads an agent of whom only the id matters.
func (r *EventReader) identity() string {
	ref, _ := r.entity()
	return ref.ID
}

// reason reads a reason of which only the code matters.
func (r *EventReader) reason() (code string) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return ""
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return code
		}
		if string(name) != "code" {
			s.skip(0)
			continue
		}
		s.once(&seen, 0)
		code = r.text()
	}
}

func (r *EventReader) decision(ev *Event) {
	s, seen := &r.scan, uint32(0)
	if !s.open('{') {
		return
	}
	for first := true; ; {
		name, ok := s.member(&first)
		if !ok {
			return
		}
		switch string(name) {
		case "effect":
			s.once(&seen, 0)
			if s.null() {
				continue
			}
			if err := ev.Effect.UnmarshalText(s.string()); err != nil {
				s.fail()
			}
		case "code":
			s.once(&seen, 1)
			ev.Code = r.text()
		case "reasons":
			s.once(&seen, 3)
			if s.open('[') {
				for first := true; s.more(&first, ']'); {
					ev.Reasons = append(ev.Reasons, r.reason())
				}
			}
		case "obligations":
			s.once(&seen, 2)
			if s.open('[') {
				for first := true; s.more(&first, ']'); {
					ev.Obligations = append(ev.Obligations, r.identity())
				}
			}
		default:
			s.skip(0)
		}
	}
}
