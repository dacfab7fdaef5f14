package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// maxBulk is how many asks can be answered at once.
const maxBulk = 50

type answerAsks struct {
	Asks    []bulkAsk      `json:"asks" doc:"2 to 50 asks for the very same"`
	Yes     *bool          `json:"yes" doc:"true approves, false refuses"`
	Scope   approval.Scope `json:"scope,omitzero" doc:"how far a yes goes"`
	Comment string         `json:"comment,omitempty"`
}

type bulkAsk struct {
	ID   string `json:"id"`
	View int64  `json:"view" doc:"number of the entry by which the person looked at it"`
}

// A BulkAnswer says what became of each ask, in the order they were named.
type BulkAnswer struct {
	Results []BulkResult `json:"results"`
}

// A BulkResult is what became of one ask.
type BulkResult struct {
	ID     string          `json:"id"`
	Status approval.Status `json:"status,omitempty"`
	Error  *ErrorDetail    `json:"error,omitempty" doc:"why it was not answered"`
}

// answerAsks answers asks that differ in nothing a person would judge: one look serves for all, and each is
// answered for itself. Where a passkey is wanted there is nothing to be had in bulk: it signs one act.
func (s *Server) answerAsks(r *http.Request, c *call, in answerAsks) (BulkAnswer, error) {
	p, err := c.person()
	if err != nil {
		return BulkAnswer{}, err
	}
	if len(in.Asks) < 2 || len(in.Asks) > maxBulk {
		return BulkAnswer{}, invalid("asks names 2 to %d of them", maxBulk)
	}
	form := answerForm{Yes: in.Yes, Scope: in.Scope, Comment: in.Comment}
	asks := make([]*approval.Ask, len(in.Asks))
	for i, b := range in.Asks {
		if slices.ContainsFunc(in.Asks[:i], func(o bulkAsk) bool { return o.ID == b.ID }) {
			return BulkAnswer{}, invalid("asks names %.64q twice", b.ID)
		}
		if asks[i], err = s.askOf(r.Context(), c, b.ID); err != nil {
			return BulkAnswer{}, err
		}
		if i > 0 && !identical(asks[0], asks[i]) {
			return BulkAnswer{}, invalid("%.64q asks for something else than %.64q: action, type of resource, arguments and routes must be the same", b.ID, in.Asks[0].ID)
		}
		if err := form.check(asks[i]); err != nil {
			return BulkAnswer{}, err
		}
	}
	out := BulkAnswer{Results: make([]BulkResult, len(in.Asks))}
	for i, b := range in.Asks {
		form.View = b.View
		out.Results[i] = s.answerOne(r.Context(), c, p, b.ID, form.reply())
	}
	return out, nil
}

func (s *Server) answerOne(ctx context.Context, c *call, p approval.Person, id string, reply approval.Reply) BulkResult {
	a, err := s.Approvals.Answer(ctx, p, id, reply)
	if err != nil {
		_, d := describe(err, c.id)
		if d.Code == "internal" {
			s.Logger.ErrorContext(ctx, "answer failed", "ask", id, "request_id", c.id, "err", err)
		}
		return BulkResult{ID: id, Error: &d}
	}
	return BulkResult{ID: id, Status: statusAt(a, s.Now())}
}

// identical reports whether two asks are for the very same: kind, actions, types of resources, arguments,
// data classes and routes. Who acts, and on which resource of the type, may differ.
func identical(a, b *approval.Ask) bool {
	return a.Kind == approval.Access && b.Kind == approval.Access && slices.EqualFunc(a.Items, b.Items, func(x, y approval.Item) bool {
		return x.Action.Name == y.Action.Name && x.Resource.Type == y.Resource.Type && x.Data == y.Data &&
			slices.Equal(x.Routes, y.Routes) && sameObject(x.Action.Properties, y.Action.Properties)
	})
}

// sameObject reports whether two claims say the same, however they are written.
func sameObject(a, b authz.Claimed) bool {
	canonical := func(c authz.Claimed) (string, bool) {
		v := jsontext.Value(c)
		if len(v) == 0 {
			v = jsontext.Value("{}")
		}
		v = v.Clone()
		err := v.Format(jsontext.ReorderRawObjects(true)) // and numbers as they are written: JCS would round them
		return string(v), err == nil
	}
	x, ok := canonical(a)
	y, ok2 := canonical(b)
	if !ok || !ok2 {
		return false
	}
	return x == y
}
