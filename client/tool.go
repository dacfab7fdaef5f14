package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/safeconduct/safeconduct/authz"
)

// Tool returns act as a function that asks before every call: what a framework of agents is given in place of act. The
// question is asked about the same input with which act is then called, and act must not change what is said of it in
// between. A refusal is a *RefusedError; its text is for the agent.
func Tool[In, Out any](e *Enforcer, question func(context.Context, In) (Question, error), act func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		var none Out
		q, err := questionOf(ctx, in, question)
		if err != nil {
			return none, err
		}
		p, err := e.Permit(ctx, q, false)
		if err != nil {
			return none, err
		}
		return Run(ctx, p, func(ctx context.Context) (Out, error) { return act(ctx, in) })
	}
}

func questionOf[In any](ctx context.Context, in In, question func(context.Context, In) (Question, error)) (q Question, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("asking panicked: %.200v", v)
		}
	}()
	if question == nil {
		return q, errors.New("nobody says what is to be asked")
	}
	return question(ctx, in)
}

// Claim returns v as what is claimed of a subject, an action or a resource: the JSON object that encoding/json makes of
// it. authz.ErrInvalid: it makes none.
func Claim(v any) (authz.Claimed, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "writing what is claimed: %w", err)
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, authz.Errorf(authz.ErrInvalid, "what is claimed is no JSON object but begins %.8q", text)
	}
	return text, nil
}

// RemoteAddress returns the address of the connection by which a request came, for authz.Observed; invalid if it has
// none. What headers such as X-Forwarded-For say does not count: whoever stands before the server may not be
// who wrote them.
func RemoteAddress(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}
