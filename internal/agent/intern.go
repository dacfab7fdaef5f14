package agent

import (
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// maxInterned bounds an interner, so that agents which share nothing do not fill it.
const maxInterned = 1 << 16

// An interner lets agents share what is equal: owners, purposes, versions, lists of capabilities.
// The zero interner is ready for use.
type interner struct {
	texts map[string]string
	lists map[string][]string
}

// agent returns a copy of a that shares what it can with others.
func (in *interner) agent(a authz.Agent) *authz.Agent {
	if in.texts == nil {
		in.texts, in.lists = map[string]string{}, map[string][]string{}
	}
	a.ID = authz.AgentID(strings.Clone(string(a.ID)))
	for _, s := range []*string{&a.Owner, &a.Purpose, &a.Version, &a.Creator, &a.StateReason} {
		*s = in.text(*s)
	}
	a.State = authz.AgentState(in.text(string(a.State)))
	a.Capabilities = in.list(a.Capabilities)
	if len(a.Labels) > 0 {
		labels := make(map[string]string, len(a.Labels))
		for k, v := range a.Labels {
			labels[in.text(k)] = in.text(v)
		}
		a.Labels = labels
	} else {
		a.Labels = nil
	}
	return &a
}

// credential returns a copy of c that shares what it can with others and its key.
func (in *interner) credential(c Credential) *Credential {
	if in.texts == nil {
		in.texts, in.lists = map[string]string{}, map[string][]string{}
	}
	c.Why = in.text(c.Why)
	c.Replaces = strings.Clone(c.Replaces)
	switch c.Kind {
	case KindKey:
		c.Kind = KindKey
	case KindDocument:
		c.Kind, c.ID = KindDocument, strings.Clone(c.ID)
	case kindRegistration:
		c.Kind, c.ID = kindRegistration, strings.Clone(c.ID)
	}
	return &c
}

func (in *interner) text(s string) string {
	if t, ok := in.texts[s]; ok {
		return t
	}
	s = strings.Clone(s)
	if len(in.texts) < maxInterned {
		in.texts[s] = s
	}
	return s
}

// list never returns nil, so that a list is written as one.
func (in *interner) list(l []string) []string {
	key := strings.Join(l, "\x00")
	if shared, ok := in.lists[key]; ok {
		return shared
	}
	own := make([]string, len(l))
	for i, s := range l {
		own[i] = in.text(s)
	}
	if len(in.lists) < maxInterned {
		in.lists[key] = own
	}
	return own
}
