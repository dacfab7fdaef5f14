package httpproxy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// maxAsks is how many access requests of ours are remembered.
const maxAsks = 10_000

// asks remembers which persons were asked, so that the same act is not asked about twice, and an approval can be
// presented. An access request belongs to who wanted the act: nobody else is told of it.
type asks struct {
	mu  sync.Mutex
	all map[askKey]*client.Task
	old []askKey // in the order in which they came

	asking [64]sync.Mutex // one asks about an act at a time
}

type askKey [sha256.Size]byte

func newAsks() *asks { return &asks{all: map[askKey]*client.Task{}} }

// keyOf names an act of a caller.
func keyOf(s *passage, req *authz.Request) askKey {
	text, err := json.Marshal([]any{s.who.Key, s.match.Route.Name, req.Action, req.Resource})
	if err != nil { // what was read as JSON is JSON
		return askKey{}
	}
	return sha256.Sum256(text)
}

func (a *asks) task(k askKey) *client.Task {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[k]
}

func (a *asks) put(k askKey, t *client.Task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.all[k]; !there {
		if len(a.old) >= maxAsks {
			delete(a.all, a.old[0])
			a.old = a.old[1:]
		}
		a.old = append(a.old, k)
	}
	a.all[k] = t
}

func (a *asks) drop(k askKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, k)
	a.old = slices.DeleteFunc(a.old, func(o askKey) bool { return o == k })
}

// present reads which approval the request refers to. It answers if it returns false.
func (s *passage) present(req *authz.Request) bool {
	switch id := s.r.Header[ApprovalHeader]; {
	case len(id) == 0:
		return true
	case len(id) > 1 || !isID(id[0]):
		s.problem(http.StatusBadRequest, "malformed_request", "The header "+ApprovalHeader+" is the id of one approval.")
		return false
	default:
		req.Approval = &authz.ApprovalRef{ID: id[0]}
		return true
	}
}

// isID reports whether s can be the id of an approval.
func isID(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= 256
}

// find puts an approval into the question if persons have approved the act since we asked them.
func (a *asks) find(s *passage, req authz.Request) {
	mode := s.match.Route.Approval.Mode
	if s.p.cfg.Client == nil || mode != "ask" && mode != "wait" {
		return
	}
	req.Approval = nil
	s.act = keyOf(s, &req)
	t := a.task(s.act)
	if t == nil {
		return
	}
	if !t.Done() {
		ctx, cancel := context.WithTimeout(s.r.Context(), 5*time.Second)
		defer cancel()
		if newer, err := s.p.cfg.Client.Task(ctx, t); err == nil {
			t = newer
			a.put(s.act, t)
		}
	}
	s.task = t
	if ap := t.Approval(0); ap.Usable(time.Now()) && (len(s.r.Header[ApprovalHeader]) == 0 || s.r.Header.Get(ApprovalHeader) == ap.ID) {
		s.asked.Approval = ap
	} else if t.Done() && (ap != nil || time.Now().After(t.ExpiresAt)) {
		a.drop(s.act) // it is over, and persons can be asked again
		s.task = nil
	}
}

// persons has persons asked about a refusal that they can lift, if the route says so, and waits for them if it says
// that. It returns nil once the act is permitted.
func (s *passage) persons(ctx context.Context, err error) error {
	ap := s.match.Route.Approval
	var refused *client.RefusedError
	if ap.Mode != "ask" && ap.Mode != "wait" || s.p.cfg.Client == nil ||
		!errors.As(err, &refused) || refused.Cause != nil || refused.Answer.Next() != client.NextRequest || len(refused.Requests) != 1 {
		return err
	}
	if s.asked.Approval != nil { // it was presented, and does not help: it is used up, or over
		s.p.asks.drop(s.act)
		s.task, s.asked.Approval = nil, nil
	}
	if asking := s.p.asks.submit(ctx, s, refused); asking != nil {
		s.p.log.WarnContext(ctx, "persons not asked", "route", s.match.Route.Name, "err", asking)
		return err
	}
	if ap.Mode != "wait" {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, ap.Wait)
	defer cancel()
	if t, waited := s.p.cfg.Client.AwaitApproval(waiting, s.task); t != nil {
		s.task = t
		s.p.asks.put(s.act, t)
		if waited != nil && ctx.Err() == nil && waiting.Err() == nil {
			s.p.log.WarnContext(ctx, "waiting for persons", "route", s.match.Route.Name, "err", waited)
		}
	}
	approval := s.task.Approval(0)
	if !approval.Usable(time.Now()) {
		return err
	}
	s.asked.Approval = approval
	// The passport is the same, and says when it was shown: its proof counts as of then. Once the passport has ended this
	// is refused, and the agent is told to send the request again.
	s.permit, err = s.p.cfg.Enforcer.Permit(ctx, s.asked, s.match.Route.DryRun != nil)
	return err
}

// submit asks persons, unless they have been.
func (a *asks) submit(ctx context.Context, s *passage, refused *client.RefusedError) error {
	lock := &a.asking[int(s.act[0])%len(a.asking)]
	lock.Lock()
	defer lock.Unlock()
	if t := a.task(s.act); t != nil {
		s.task = t
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req := refused.Requests[0]
	if req.Subject.IsZero() { // the passport says who
		req.Subject.Ref = authz.Ref{Type: authz.AgentType, ID: actor(s.who.Claims)}
	}
	t, err := s.p.cfg.Client.RequestAccess(ctx, client.AccessRequest{
		Acts:          []client.Refused{{Request: req, Offer: refused.Answer.Offer}},
		Justification: s.match.Route.Approval.Justification,
	})
	if err != nil {
		return err
	}
	s.task = t
	a.put(s.act, t)
	return nil
}

// actor returns who acts by a passport: the outermost actor (RFC 8693, section 4.1), or the subject.
func actor(claims map[string]any) string {
	if act, ok := claims["act"].(map[string]any); ok {
		claims = act
	}
	id, _ := claims["sub"].(string)
	return id
}

// tell returns what is said of the persons who were asked, as JSON; "" if nobody was.
func (a *asks) tell(s *passage) string {
	t := s.task
	if t == nil {
		return ""
	}
	w := struct {
		Task    string `json:"task"`
		Status  string `json:"status"`
		Expires string `json:"expires_at,omitempty"`
		Ticket  string `json:"ticket,omitempty"`
		ID      string `json:"id,omitempty"`
		Hint    string `json:"hint"`
	}{Task: t.ID, Status: t.Status, Ticket: t.Ticket, Hint: "Persons have been asked. Send the same request again when they have answered."}
	if !t.ExpiresAt.IsZero() {
		w.Expires = t.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if ap := t.Approval(0); ap != nil {
		w.ID = ap.ID
		w.Hint = "It is approved. Send the same request again, with a new proof of possession if the token is bound to a key."
	} else if t.Done() {
		w.Hint = "Persons have answered, and not approved it."
	}
	text, err := json.Marshal(w)
	if err != nil { // texts always encode
		return ""
	}
	return string(text)
}
