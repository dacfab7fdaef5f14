package api

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A Decider answers requests and records its answers. *pdp.PDP is one.
type Decider interface {
	// Decide answers req. The Decision can always be used: with an error it refuses.
	// authz.ErrUnavailable: no answer could be made or recorded.
	Decide(ctx context.Context, req authz.Request) (authz.Decision, error)

	// DecideAll answers items until the semantics end the batch, one Decision an answered item.
	DecideAll(ctx context.Context, items []pdp.Item, sem pdp.Semantics) ([]authz.Decision, error)
}

// buffers holds the memory of answers between requests.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// answer writes what f appends, as JSON and with status 200.
func answer(w http.ResponseWriter, f func([]byte) []byte) {
	buf := buffers.Get().(*[]byte)
	*buf = f((*buf)[:0])
	writeBody(w, http.StatusOK, *buf)
	if cap(*buf) <= 64<<10 {
		buffers.Put(buf)
	}
}

// ask parses a body and returns its question.
func (s *Server) ask(c *call, f form) (question, error) {
	if err := checkText(c.body, s.limits.Depth); err != nil {
		return question{}, err
	}
	p := newParser(c.body, s.limits)
	defer p.free()
	q, err := p.question(f)
	if err == nil {
		err = p.end()
	}
	return q, err
}

// evaluation is the Access Evaluation API (AuthZEN 1.0, section 6).
func (s *Server) evaluation(w http.ResponseWriter, r *http.Request, c *call) error {
	q, err := s.ask(c, single)
	if err != nil {
		return err
	}
	return s.decide(w, r, c, &q)
}

// evaluations is the Access Evaluations API (AuthZEN 1.0, section 7).
func (s *Server) evaluations(w http.ResponseWriter, r *http.Request, c *call) error {
	q, err := s.ask(c, batch)
	if err != nil {
		return err
	}
	if len(q.items) == 0 { // "behaves in a backwards-compatible manner"
		return s.decide(w, r, c, &q)
	}
	if err := q.mayLook(c.who); err != nil {
		return err
	}
	for i := range q.items {
		it, sub := &q.items[i], &q.questions[i]
		if it.Err != nil {
			continue
		}
		if err := sub.mayLook(c.who); err != nil {
			return err
		}
		sub.inherit(&q)
		if it.Request, it.Err = s.request(r, c, sub); it.Err != nil && !errors.Is(it.Err, authz.ErrInvalid) && !sub.isRefusal(it.Err) {
			return it.Err
		}
	}
	start := s.Now()
	decisions, err := s.PDP.DecideAll(r.Context(), q.items, q.semantics)
	s.Metrics.Asked(s.Now().Sub(start), len(q.items))
	for i := range decisions {
		s.Metrics.Decided(decisions[i].Effect, decisions[i].Code)
	}
	if err != nil {
		return err
	}
	said := s.approvals(r.Context(), c, q.items, decisions)
	answer(w, func(b []byte) []byte {
		b = append(b, `{"evaluations":[`...)
		for i := range decisions {
			b = comma(b, i)
			switch d := &decisions[i]; {
			case q.questions[i].isRefusal(q.items[i].Err):
				b = appendItemError(b, authz.CodePassportInvalid, http.StatusUnauthorized, q.items[i].Err.Error())
			case q.items[i].Err != nil:
				b = appendItemError(b, authz.CodeInvalid, http.StatusBadRequest, q.items[i].Err.Error())
			case d.Code == authz.CodeInvalid || d.Code == authz.CodeTypeUnknown: // alone it would be 400
				b = appendItemError(b, d.Code, http.StatusBadRequest, d.Detail)
			default:
				b = appendDecision(b, d, said[i])
			}
		}
		return append(b, `]}`...)
	})
	return nil
}

// decide answers one question.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, c *call, q *question) error {
	req, err := s.request(r, c, q)
	if q.isRefusal(err) {
		s.Metrics.Decided(authz.Deny, authz.CodePassportInvalid)
		answer(w, func(b []byte) []byte {
			return appendItemError(b, authz.CodePassportInvalid, http.StatusUnauthorized, err.Error())
		})
		return nil
	}
	if err != nil {
		return err
	}
	start := s.Now()
	d, err := s.PDP.Decide(r.Context(), req)
	s.Metrics.Asked(s.Now().Sub(start), 0)
	s.Metrics.Decided(d.Effect, d.Code)
	if err != nil {
		return err
	}
	said := s.approval(r.Context(), c, &req, &d)
	answer(w, func(b []byte) []byte { return appendDecision(b, &d, said) })
	return nil
}
