package client

import (
	"context"

	"github.com/safeconduct/safeconduct/authz"
)

// A Question is what is asked before one act. The act may happen only if every request may.
type Question struct {
	// Requests are what is asked, at least one; most acts need one.
	Requests []authz.Request
	// Presented is the passport that came with the act: its bearer is the subject of every request, which may
	// leave it out. nil if the requests say who asks.
	Presented *authz.Presented
	// Approval is what persons approved before, if the question is asked again; nil if nothing.
	Approval *Approval
}

// A Decider answers questions: a Client, which asks a service, or an edge.Point, which decides in this process.
type Decider interface {
	// Answer returns one Answer for each request, none of them nil, in order. They can always be used: with an
	// error all of them refuse. authz.ErrInvalid: a request could not be understood.
	Answer(ctx context.Context, q *Question) ([]*Answer, error)
	// Outcome reports what came of a decision, as Client.Outcome does.
	Outcome(ctx context.Context, decisionID string, o Outcome) error
}
