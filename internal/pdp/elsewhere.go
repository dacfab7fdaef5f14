package pdp

import (
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// An Edge says of a decision that it was made by a decision point elsewhere, which wrote it into a journal of its own.
type Edge struct {
	Journal  string   `json:"journal"`
	Number   int64    `json:"number"`             // in the journal, from 1
	Late     bool     `json:"late,omitempty"`     // the time at which it was made, as it says itself, is not near that of the entry
	Restated []Stated `json:"restated,omitempty"` // agents that stand here as they were registered when it was recorded, not as it was made by
	Cut      []string `json:"cut,omitempty"`      // members that are left out, since the log does not take them
}

// Stated says by which revision of an agent a decision was made, as the decision point says.
type Stated struct {
	Agent    authz.AgentID `json:"agent"`
	Revision int64         `json:"revision"`
}

func (e *Edge) append(b []byte) []byte {
	b = append(b, `{"journal":`...)
	b = appendString(b, e.Journal)
	b = append(b, `,"number":`...)
	b = strconv.AppendInt(b, e.Number, 10)
	if e.Late {
		b = append(b, `,"late":true`...)
	}
	if len(e.Restated) > 0 {
		b = append(b, `,"restated":[`...)
		for i, s := range e.Restated {
			b = append(comma(b, i), `{"agent":`...)
			b = append(appendString(b, string(s.Agent)), `,"revision":`...)
			b = append(strconv.AppendInt(b, s.Revision, 10), '}')
		}
		b = append(b, ']')
	}
	if len(e.Cut) > 0 {
		b = appendStrings(append(b, `,"cut":`...), e.Cut)
	}
	return append(b, '}')
}

// ReadElsewhere reads a decision that was made elsewhere, strictly: it returns authz.ErrInvalid for members that
// are unknown or come twice, for text that is not UTF-8, and for what no decision point but this one can say of a decision: that it
// stands on an approval, of which a use is drawn here. That its request named one is no more than what was asked.
func ReadElsewhere(body []byte) (*Record, error) {
	rec := new(Record)
	bad := func(format string, args ...any) (*Record, error) {
		return nil, authz.Errorf(authz.ErrInvalid, format, args...)
	}
	if err := json.Unmarshal(body, rec, json.RejectUnknownMembers(true)); err != nil {
		return bad("it is no record of a decision: %.200s", err.Error())
	}
	rec.Request.Observed.Listing = rec.Listing
	d, f := &rec.Decision, &rec.Facts
	switch {
	case rec.Edge != nil:
		return bad("where it was made is not for the record to say")
	case f.Approval != nil || d.Approval != nil || d.Lifted:
		return bad("it stands on an approval, whose uses are drawn by the service")
	case rec.Request.Action.Name == "" || rec.Request.Subject.Type == "" || rec.Request.Resource.Type == "":
		return bad("its request has no subject, action or resource")
	case d.At.IsZero() || !d.At.Equal(f.At):
		return bad("it was made at no moment, or at two")
	case d.Code == "" || d.PolicySet <= 0:
		return bad("it says no code, or no version of the policies")
	case rec.Request.Agent() != "" && f.Agent != nil && f.Agent.ID != rec.Request.Agent():
		return bad("its facts are about agent %.128q, and its request about another", f.Agent.ID)
	case rec.Request.Agent() == "" && f.Agent != nil:
		return bad("its facts are about an agent, and its request about none")
	case d.Effect == authz.Allow && rec.Request.Agent() != "" && f.Agent == nil:
		return bad("it allows, to an agent that it does not know")
	}
	for i := range f.Behalf {
		if f.Behalf[i].Agent == nil {
			return bad("an agent on whose behalf it was made is missing")
		}
	}
	return rec, nil
}

// Elsewhere returns the entry that records a decision made elsewhere.
func (rec *Record) Elsewhere(e Edge) audit.Draft {
	made := *rec
	made.Edge = &e
	return made.draft(nil)
}
