package approval

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// More bounds of an ask.
const (
	maxBody     = 512 << 10 // bytes of an entry's body
	maxClient   = 64 << 10  // bytes of what the requester says for itself
	maxRoutes   = 16        // of an item
	maxBehalf   = 32
	maxLabels   = 64
	maxOwners   = 4 * maxBehalf
	maxEvidence = 16 << 10
)

// How long a person is waited for who authorizes a token, unless said otherwise.
const (
	cibaPending = 5 * time.Minute
	maxCIBA     = time.Hour
)

// check returns authz.ErrInvalid and what is wrong with an ask, whatever the catalog.
func (a *Ask) check() error {
	if !isID("arq_", a.ID) {
		return authz.Errorf(authz.ErrInvalid, "%.64q is no ask's id", a.ID)
	}
	switch a.Kind {
	case Access:
		if a.Person != "" || a.Message != "" || len(a.Details) > 0 || a.Passkey {
			return authz.Errorf(authz.ErrInvalid, "an ask for access names no person, message, details or passkey")
		}
	case CIBA:
		if err := checkName("the person of the ask", a.Person); err != nil {
			return err
		}
	default:
		return authz.Errorf(authz.ErrInvalid, "%.32q is no kind of ask: access or ciba", a.Kind)
	}
	if n := len(a.Items); n < 1 || n > MaxItems || n > 1 && !a.Bulk {
		return authz.Errorf(authz.ErrInvalid, "an ask has 1 to %d acts, one if it is not in bulk: %d", MaxItems, n)
	}
	if err := a.checkNames(); err != nil {
		return err
	}
	for _, t := range []struct{ what, text string }{
		{"justification", a.Justification}, {"message", a.Message},
	} {
		if err := checkText(t.what, t.text); err != nil {
			return err
		}
	}
	for i := range a.Items {
		if err := a.Items[i].check(a.Kind); err != nil {
			return err
		}
	}
	if len(a.Bound.Members) > token.MaxMembers || !slices.IsSorted(a.Bound.Members) {
		return authz.Errorf(authz.ErrInvalid, "the members that count are not sorted, or more than %d", token.MaxMembers)
	}
	if n := a.weight(); n > MaxAsk {
		return authz.Errorf(authz.ErrInvalid, "the acts of an ask and what goes with them have at most %d bytes: %d", MaxAsk, n)
	}
	if len(a.Client) > maxClient {
		return authz.Errorf(authz.ErrInvalid, "what the requester says for itself has at most %d bytes: %d", maxClient, len(a.Client))
	}
	if c := a.Callback; c != nil && (len(c.Endpoint) > MaxText || len(c.State) > maxClient || len(c.Events) > 16) {
		return authz.Errorf(authz.ErrInvalid, "the callback is too long")
	}
	return nil
}

// checkNames checks whom the ask names.
func (a *Ask) checkNames() error {
	if err := checkName("the requester", a.Requester); err != nil {
		return err
	}
	if err := checkName("the type of the subject", a.Bound.Subject.Type); err != nil {
		return err
	}
	if a.Bound.Subject.ID == "" || len(a.Bound.Subject.ID) > MaxText {
		return authz.Errorf(authz.ErrInvalid, "the subject has an id of at most %d bytes", MaxText)
	}
	if a.Agent != "" && a.Bound.Subject.Type == authz.AgentType && string(a.Agent) != a.Bound.Subject.ID {
		return authz.Errorf(authz.ErrInvalid, "the agent %.64q is not the subject", a.Agent)
	}
	if len(a.Key) > maxName || len(a.Print) > maxName {
		return authz.Errorf(authz.ErrInvalid, "the key and the print of a submission have at most %d bytes", maxName)
	}
	for _, s := range []string{string(a.Agent), a.Owner, a.Creator, a.Session, a.PEP} {
		if len(s) > MaxText {
			return authz.Errorf(authz.ErrInvalid, "%.64q... is too long", s)
		}
	}
	if !slices.IsSorted(a.Owners) || len(a.Owners) > maxOwners {
		return authz.Errorf(authz.ErrInvalid, "the owners of the agents for which the agent acts are not sorted, or more than %d", maxOwners)
	}
	for _, s := range a.Owners {
		if s == "" || len(s) > MaxText {
			return authz.Errorf(authz.ErrInvalid, "an owner has 1 to %d bytes", MaxText)
		}
	}
	if len(a.Bound.OnBehalf) > maxBehalf {
		return authz.Errorf(authz.ErrInvalid, "the agent acts for more than %d", maxBehalf)
	}
	return nil
}

func (it *Item) check(kind Kind) error {
	if it.Action.Name == "" || len(it.Action.Name) > MaxText || it.Resource.Type == "" || len(it.Resource.Type) > MaxText || len(it.Resource.ID) > 2*MaxText {
		return authz.Errorf(authz.ErrInvalid, "an act has an action and a resource, of at most %d bytes each", MaxText)
	}
	if kind == Access && len(it.Routes) == 0 || len(it.Routes) > maxRoutes {
		return authz.Errorf(authz.ErrInvalid, "an act goes by 1 to %d routes: %d", maxRoutes, len(it.Routes))
	}
	if len(it.Labels) > maxLabels || it.Decision < 0 {
		return authz.Errorf(authz.ErrInvalid, "an act has at most %d labels, and the number of a decision", maxLabels)
	}
	return nil
}

// weight is how many bytes of the ask are what others said.
func (a *Ask) weight() int {
	n := len(a.Bound.Subject.Properties) + len(a.Bound.Context) + len(a.Justification) + len(a.Client) + len(a.Details)
	for i := range a.Items {
		it := &a.Items[i]
		n += len(it.Action.Name) + len(it.Action.Properties) + len(it.Resource.ID) + len(it.Resource.Properties)
	}
	return n
}

// expiry returns until when an answer is waited for, or authz.ErrInvalid: a route is not declared.
func (a *Ask) expiry(c *catalog.Catalog, at time.Time) (time.Time, error) {
	wait := time.Duration(0)
	for i := range a.Items {
		for _, id := range a.Items[i].Routes {
			r, ok := c.Route(id)
			if !ok {
				return time.Time{}, authz.Errorf(authz.ErrInvalid, "no approval route %.64q is declared", id)
			}
			if wait == 0 || r.Pending < wait {
				wait = r.Pending
			}
		}
	}
	switch {
	case a.Kind == CIBA && !a.ExpiresAt.IsZero():
		wait = maxCIBA
	case a.Kind == CIBA:
		wait = cibaPending
	case wait <= 0:
		wait = time.Hour
	}
	end := at.Add(wait)
	for _, t := range []time.Time{a.ExpiresAt, a.RequestedUntil} {
		if t.IsZero() {
			continue
		}
		if !t.After(at) {
			return time.Time{}, authz.Errorf(authz.ErrInvalid, "what is asked for would be over before it is answered")
		}
		if t.Before(end) {
			end = t.UTC().Truncate(time.Microsecond)
		}
	}
	return end, nil
}

// checkEvidence returns authz.ErrInvalid if the evidence of an answer is too long or no JSON object.
func checkEvidence(e json.RawMessage) error {
	if len(e) > maxEvidence || len(e) > 0 && (!json.Valid(e) || e[0] != '{') {
		return authz.Errorf(authz.ErrInvalid, "the evidence of an answer is a JSON object of at most %d bytes", maxEvidence)
	}
	return nil
}
