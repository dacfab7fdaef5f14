package api

import (
	"net/netip"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// A sight is what an enforcement point says it saw, by members of the AuthZEN context:
//
//   - "observed": {"ip", "listing", "session", "task", "provenance": {"prompt", "operator", "untrusted", "unknown"},
//     "supported_obligations", "passport": {"token", "proof", "method", "url", "certificate", "audience", "shown_at"}}
//   - "supported_obligations", where the obligations profile puts it: types, of which those count that
//     the metadata names; in "observed" there may be the catalog's ids as well
//   - "on_behalf_of": for whom the agent acts, [{"type", "id"}], nearest first
//
// Unknown members of observed are refused: an observation that we would drop is one that the
// enforcement point relies on.
type sight struct {
	observed authz.Observed
	onBehalf []authz.Ref

	presented *authz.Presented // the agent's token; nil if there is none
	verified  bool             // whether the following are set
	bearer    authz.Bearer
	refusal   error
}

// context reads the AuthZEN context. What the caller says of the moment stays Claimed; what an
// enforcement point saw is taken out of it and comes back as a sight, nil if there is none, and so is
// the approval that the request refers to.
func (p *parser) context() (claimed authz.Claimed, seen *sight, ref *authz.ApprovalRef, err error) {
	switch p.dec.PeekKind() {
	case 'n':
		return nil, nil, nil, p.skip()
	case '{', 0:
	default:
		return nil, nil, nil, invalid("context must be a JSON object")
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return nil, nil, nil, p.syntax(err)
	}
	start := int(p.dec.InputOffset()) - 1

	type span struct{ begin, end int }
	var few [16]span
	kept := few[:0] // the members that stay
	taken := false  // whether others do not
	for p.dec.PeekKind() != '}' {
		quoted, err := p.raw()
		if err != nil {
			return nil, nil, nil, err
		}
		begin := int(p.dec.InputOffset()) - len(quoted)
		name, err := unquote(quoted)
		if err != nil {
			return nil, nil, nil, err
		}
		switch string(name) {
		case "observed", "supported_obligations", "on_behalf_of":
			if seen == nil {
				seen = new(sight)
			}
			taken, err = true, p.sight(string(name), seen)
		case "approval":
			taken = true
			ref, err = p.approval()
		default:
			if err = p.skip(); err == nil {
				kept = append(kept, span{begin, int(p.dec.InputOffset())})
			}
		}
		if err != nil {
			return nil, nil, nil, err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return nil, nil, nil, p.syntax(err)
	}
	end := int(p.dec.InputOffset())

	switch {
	case len(kept) == 0:
		return nil, seen, ref, nil
	case !taken:
		claimed = authz.Claimed(p.text[start:end:end])
	default:
		claimed = append(make(authz.Claimed, 0, end-start), '{')
		for i, m := range kept {
			if i > 0 {
				claimed = append(claimed, ',')
			}
			claimed = append(claimed, p.text[m.begin:m.end]...)
		}
		claimed = append(claimed, '}')
	}
	if len(claimed) > p.lim.Object {
		return nil, nil, nil, invalid("context has more than %d bytes", p.lim.Object)
	}
	return claimed, seen, ref, nil
}

// approval reads the reference to an approval that was given before, in the form in which it was given
// out (ARAP, Completion Semantics). What else it says, such as its times, is for the enforcement point.
func (p *parser) approval() (*authz.ApprovalRef, error) {
	const what = "context.approval"
	if p.dec.PeekKind() == 'n' {
		return nil, p.skip()
	}
	ref := new(authz.ApprovalRef)
	err := p.object(what, func(name []byte) (err error) {
		switch string(name) {
		case "id":
			ref.ID, err = p.str(what, ".id", maxApproval)
		case "state":
			if p.dec.PeekKind() == 'n' {
				return p.skip()
			}
			if ref.State, err = p.raw(); err == nil && len(ref.State) > maxApprovalState {
				err = invalid("%s.state has more than %d bytes", what, maxApprovalState)
			}
		default:
			err = p.skip()
		}
		return err
	})
	if err == nil && ref.ID == "" {
		err = invalid("%s.id is missing", what)
	}
	return ref, err
}

// sight reads one of the members that say what an enforcement point saw.
func (p *parser) sight(member string, s *sight) (err error) {
	switch member {
	case "supported_obligations":
		list, err := p.names("context.supported_obligations")
		s.supports(slices.DeleteFunc(list, func(typ string) bool { return !slices.Contains(obligationTypes, typ) }))
		return err
	case "on_behalf_of":
		s.onBehalf, err = p.persons()
		return err
	}
	o := &s.observed
	return p.object("context.observed", func(name []byte) (err error) {
		switch string(name) {
		case "ip":
			var text string
			if text, err = p.str("context.observed", ".ip", 64); err != nil {
				return err
			}
			if o.Address, err = netip.ParseAddr(text); err != nil {
				return invalid("context.observed.ip is not an IP address: %.64q", text)
			}
			o.Address = o.Address.Unmap().WithZone("")
		case "listing":
			o.Listing, err = p.bool("context.observed.listing")
		case "session":
			o.Session, err = p.str("context.observed", ".session", maxSession)
		case "task":
			if o.Task, err = p.str("context.observed", ".task", maxTask); err == nil && checkPlain(o.Task) != nil {
				err = invalid("context.observed.task has characters that cannot be printed")
			}
		case "supported_obligations":
			var list []string
			list, err = p.names("context.observed.supported_obligations")
			s.supports(list)
		case "provenance":
			o.Provenance, err = p.provenance()
		case "passport":
			s.presented, err = p.passport()
		default:
			return invalid("context.observed has no member %.64q: one of ip, listing, passport, provenance, session, supported_obligations, task", name)
		}
		return err
	})
}

// supports adds to what the enforcement point can meet. From then on it has said something, even if
// that is nothing.
func (s *sight) supports(list []string) {
	if s.observed.Obligations == nil {
		s.observed.Obligations = []string{}
	}
	for _, o := range list {
		if !slices.Contains(s.observed.Obligations, o) {
			s.observed.Obligations = append(s.observed.Obligations, o)
		}
	}
}

func (p *parser) provenance() (*authz.Provenance, error) {
	if p.dec.PeekKind() == 'n' {
		return nil, p.skip()
	}
	v := new(authz.Provenance)
	err := p.object("context.observed.provenance", func(name []byte) (err error) {
		switch string(name) {
		case "prompt":
			v.Prompt, err = p.names("context.observed.provenance.prompt")
		case "operator":
			v.Operator, err = p.names("context.observed.provenance.operator")
		case "untrusted":
			v.Untrusted, err = p.names("context.observed.provenance.untrusted")
		case "unknown":
			v.Unknown, err = p.names("context.observed.provenance.unknown")
		default:
			return invalid("context.observed.provenance has no member %.64q: one of prompt, operator, untrusted, unknown", name)
		}
		return err
	})
	return v, err
}

// names reads an array of strings, which is not nil even if it is empty: an enforcement point that
// can meet no obligation says something else than one that does not say.
func (p *parser) names(what string) ([]string, error) {
	out := []string{}
	err := p.array(what, func() error {
		if len(out) == maxNames {
			return invalid("%s has more than %d elements", what, maxNames)
		}
		s, err := p.str("an element of ", what, maxName)
		out = append(out, s)
		return err
	})
	return out, err
}

func (p *parser) persons() ([]authz.Ref, error) {
	var out []authz.Ref
	err := p.array("context.on_behalf_of", func() error {
		if len(out) == maxPersons {
			return invalid("context.on_behalf_of has more than %d elements", maxPersons)
		}
		e, err := p.entity("an element of context.on_behalf_of")
		if err != nil {
			return err
		}
		if e.Type == "" || e.ID == "" {
			return invalid("an element of context.on_behalf_of needs a type and an id")
		}
		out = append(out, e.Ref)
		return nil
	})
	return out, err
}
