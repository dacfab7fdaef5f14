package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/people"
)

// AskReader reads what persons are asked. *approval.Desk is one.
type AskReader interface {
	// Get returns the ask of that id, also an ended one, or authz.ErrNotFound.
	Get(ctx context.Context, id string) (*approval.Ask, error)
	// List returns asks, newest first.
	List(ctx context.Context, f approval.Filter) ([]*approval.Ask, error)
	// Similar returns up to limit ended asks of the same agent, action and type of resource, newest first.
	Similar(ctx context.Context, a *approval.Ask, limit int) ([]*approval.Ask, error)
	// Standing returns what the person may do with an ask.
	Standing(ctx context.Context, a *approval.Ask, p approval.Person) (approval.Standing, error)
	// Stats returns the numbers of the last while.
	Stats(window time.Duration) approval.Stats
}

// AskAnswerer takes what persons say of asks. *approval.Desk is one. Its methods return authz.ErrForbidden to
// those who may not say it, and authz.ErrConflict if the ask has ended.
type AskAnswerer interface {
	View(ctx context.Context, p approval.Person, id string) (approval.View, error)
	Answer(ctx context.Context, p approval.Person, id string, r approval.Reply) (*approval.Ask, error)
	BreakGlass(ctx context.Context, p approval.Person, id, reason string, r approval.Reply) (*approval.Ask, error)
	Review(ctx context.Context, p approval.Person, id string, justified bool, comment string) (*approval.Ask, error)
}

// AskKeeper looks after asks, and after who is away. *approval.Desk is one.
type AskKeeper interface {
	Cancel(ctx context.Context, actor, id, reason, comment string) (*approval.Ask, error)
	Revoke(ctx context.Context, actor, id, why string) (*approval.Ask, error)
	PutAway(ctx context.Context, actor string, a approval.Away) error
	Aways() []approval.Away
}

// A Door knows the persons who are signed in by a browser, and verifies what they sign. *signin.Door is one.
type Door interface {
	// Person returns who is signed in, or authz.ErrUnauthenticated. It refuses what another site's page sent.
	// If the request shows that somebody is there, it tells the browser so, by a cookie that w sets; w may be nil.
	Person(w http.ResponseWriter, r *http.Request) (*people.Session, error)
	// VerifyAssertion verifies a passkey assertion of the person over a digest, and returns what proves it
	// to others; authz.ErrForbidden if it does not hold.
	VerifyAssertion(person *people.Person, digest [32]byte, assertion json.RawMessage) (evidence json.RawMessage, err error)
}

// Persons knows who signs in, whatever they may do. *people.Registry is one.
type Persons interface {
	// Person returns the person of that id, or authz.ErrNotFound.
	Person(id string) (*people.Person, error)
}

// Who may call the routes of asks.
var (
	approvers = []caller.Role{caller.Approver}
	lookers   = []caller.Role{caller.Administrator, caller.Auditor, caller.Approver}
	minders   = []caller.Role{caller.Administrator, caller.Approver}

	readersAndApprovers = append([]caller.Role{caller.Approver}, readers...)
)

// asking makes a route of f about asks, for persons and for those who look after what they are asked.
func asking[In, Out any](s *Server, method, path string, roles []caller.Role, summary string, f func(*http.Request, *call, In) (Out, error)) route {
	limit := int64(0)
	if method != http.MethodGet {
		limit = 128 << 10
	}
	return serving(method, path, roles, summary, limit, func(r *http.Request, c *call, in In) (out Out, err error) {
		if s.Approvals == nil {
			return out, authz.Errorf(authz.ErrUnavailable, "nobody can be asked here")
		}
		return f(r, c, in)
	}, nil)
}

// approvalRoutes are those of asks: the inbox of persons, and what looks after it.
func (s *Server) approvalRoutes() []route {
	return []route{
		asking(s, "GET", "/v1/approvals", lookers, "List asks, newest first: a person's inbox, or all of them", s.listAsks),
		asking(s, "GET", "/v1/approvals/stats", readersAndApprovers, "Count asks, answers and how long they took", s.askStats),
		asking(s, "GET", "/v1/approvals/counts", lookers, "Count the asks that the caller may see", s.countAsks),
		asking(s, "GET", "/v1/approvals/away", lookers, "List who is away, and who answers instead", s.listAways),
		asking(s, "PUT", "/v1/approvals/away", minders, "Say that a person is away and who answers instead, or is back", s.putAway),
		asking(s, "POST", "/v1/approvals/answers", approvers, "Answer several asks for the very same", s.answerAsks),
		asking(s, "GET", "/v1/approvals/{id}", lookers, "Read one ask: everything needed to judge it", s.readAsk),
		asking(s, "GET", "/v1/approvals/{id}/story", lookers, "Tell everything that came of an ask, by the log", s.askStory),
		asking(s, "POST", "/v1/approvals/{id}/view", approvers, "Record that a person looks at an ask: an answer needs it", s.viewAsk),
		asking(s, "POST", "/v1/approvals/{id}/challenge", approvers, "Make the digest that a passkey signs for an answer", s.challengeAsk),
		asking(s, "POST", "/v1/approvals/{id}/answer", approvers, "Say yes or no", s.answerAsk),
		asking(s, "POST", "/v1/approvals/{id}/break-glass", approvers, "Approve alone and at once, with a reason and a review afterwards", s.breakGlass),
		asking(s, "POST", "/v1/approvals/{id}/review", approvers, "Say whether breaking the glass was justified", s.reviewAsk),
		asking(s, "POST", "/v1/approvals/{id}/cancel", admins, "End an ask that waits", s.cancelAsk),
		asking(s, "POST", "/v1/approvals/{id}/revoke", minders, "Take the approvals of an ask back", s.revokeAsk),
	}
}

// sessionHeader is what a page sends with everything but GET, so that a form of another site is told apart:
// no page of another origin can send it without being asked first (CORS).
const sessionHeader = "X-Safeconduct-Request"

// admitPerson finds out who calls, if it is a person: by session, if there is no bearer token. It returns
// whether somebody was found.
func (s *Server) admitPerson(w http.ResponseWriter, r *http.Request, c *call) (bool, error) {
	if s.Door == nil || len(r.Header["Authorization"]) > 0 || len(r.Header["Cookie"]) == 0 {
		return false, nil
	}
	session, err := s.Door.Person(w, r)
	if err != nil {
		s.Metrics.AuthFailed()
		return false, err
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if r.Header.Get(sessionHeader) != "1" || site != "" && site != "same-origin" {
			return false, authz.Errorf(authz.ErrForbidden, "a signed-in person changes things from our own pages only, with the header %s: 1", sessionHeader)
		}
	} else if site != "" && site != "same-origin" && site != "none" {
		return false, authz.Errorf(authz.ErrForbidden, "a signed-in person reads from our own pages only")
	}
	c.session = session
	roles := make([]caller.Role, len(session.Roles))
	for i, r := range session.Roles {
		roles[i] = caller.Role(r)
	}
	c.is(caller.Person(session.Person.ID, roles))
	return true, nil
}

// personOf makes the holder of a token of the role approver the person who the token is for, as long as they
// are an approver: a token goes on when the role is taken away.
func (s *Server) personOf(c *call) error {
	if s.Persons == nil {
		return authz.Errorf(authz.ErrUnavailable, "no persons are known here")
	}
	p, err := s.Persons.Person(c.who.Name)
	if err != nil || !p.Answers() {
		return authz.Errorf(authz.ErrForbidden, "the token is for the person %.64q, who may not answer", c.who.Name)
	}
	c.session = &people.Session{Person: p, Claims: p.Claims, Method: "token"}
	return nil
}

// person returns who answers, or authz.ErrForbidden: whoever looks after asks answers none, unless it is a
// person who is an approver as well.
func (c *call) person() (approval.Person, error) {
	if c.session == nil || !c.who.Can(caller.Approver) {
		return approval.Person{}, authz.Errorf(authz.ErrForbidden, "only persons answer, as themselves: sign in, or use a token of the role approver")
	}
	return approverOf(c.session.Person, c.session.Claims), nil
}

// approverOf is how the desk knows a person with those claims.
func approverOf(p *people.Person, claims map[string][]string) approval.Person {
	return approval.Person{ID: p.ID, Claims: claims, Names: p.Known()}
}

// standing returns what the person who calls may do with an ask, and whether it concerns them; nil if whoever calls is
// no person who answers.
func (s *Server) standing(ctx context.Context, c *call, a *approval.Ask) (*approval.Standing, bool, error) {
	p, notPerson := c.person()
	if notPerson != nil {
		return nil, false, nil
	}
	st, err := s.Approvals.Standing(ctx, a, p)
	if err != nil {
		return nil, false, err
	}
	concerned := concerns(a, &st, p.ID)
	if !concerned && a.Status != approval.Pending {
		// It has ended, and nobody may answer any more: those who might have still may know how.
		was, err := s.Approvals.Standing(ctx, reopened(a, s.Now()), p)
		if err != nil {
			return nil, false, err
		}
		concerned = concerns(a, &was, p.ID)
	}
	return &st, concerned, nil
}

// concerns reports whether an ask is a person's business: who may answer or review it, has answered, or
// has been shown it.
func concerns(a *approval.Ask, st *approval.Standing, person string) bool {
	if len(st.Routes) > 0 || st.Refuse || st.BreakGlass || st.Review || a.Person == person {
		return true
	}
	for i := range a.Answers {
		if a.Answers[i].By == "person:"+person || a.Answers[i].For == person {
			return true
		}
	}
	return slices.ContainsFunc(a.Views, func(v approval.Viewed) bool { return v.By == "person:"+person })
}

// reopened returns an ended ask as if it had just been asked, to see whom it would concern.
func reopened(a *approval.Ask, now time.Time) *approval.Ask {
	r := *a
	r.Status, r.ClosedAt, r.ExpiresAt, r.Answers = approval.Pending, time.Time{}, now.Add(time.Hour), nil
	r.Items = slices.Clone(a.Items)
	for i := range r.Items {
		r.Items[i].Status, r.Items[i].Approval = approval.Pending, nil
	}
	return &r
}
