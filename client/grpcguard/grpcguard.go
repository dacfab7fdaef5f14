// Package grpcguard stands before gRPC calls, on the side of the server and on that of the client: a call, and if
// wanted each message of a stream, happens only with a client.Permit, that is after it was decided and the
// obligations of the decision were met.
//
//	guard := &grpcguard.Guard{
//		Enforcer: enforcer,
//		Question: func(ctx context.Context, c *grpcguard.Call) (client.Question, error) {
//			p, err := grpcguard.Presented(ctx, door, c.Method) // who calls
//			return client.Question{Presented: p, Requests: []authz.Request{{
//				Action:   authz.Action{Name: "pay"},
//				Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: c.Message.(*pb.Payment).Invoice}},
//			}}}, err
//		},
//	}
//	grpc.NewServer(grpc.UnaryInterceptor(guard.UnaryServer), grpc.StreamInterceptor(guard.StreamServer))
//
// A refusal is PermissionDenied; Unauthenticated if another token or a stronger authentication would help,
// InvalidArgument if the question was not understood, Unavailable if nothing could be decided. The details of
// the status are a google.rpc.ErrorInfo of the domain "safeconduct", whose reason is the code in upper case, and a
// google.rpc.RetryInfo where it helps to wait.
//
// What obligations are to change of a message is changed as protojson writes it, by the names of the fields in the
// .proto file and by those of JSON. What cannot be written so, or does not fit the type of the message when it was
// changed, such as *** in a number or in bytes, is withheld: Internal. Header and trailer metadata is not changed.
//
// Not solved: what a client streams to a server is decided where the server receives it, not before it arrives.
package grpcguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A Guard makes interceptors. It is safe for concurrent use; its fields are set before.
type Guard struct {
	// Enforcer asks, and meets obligations. Without one everything is refused.
	Enforcer *client.Enforcer

	// Question returns what is asked about a call. Its errors are told by their kind, with their text:
	// authz.ErrUnauthenticated, authz.ErrInvalid, authz.ErrForbidden, authz.ErrUnavailable; of others nothing is told.
	// Proofs that Presented reads with its ctx are given back unless the passport was found good (client.HoldProofs).
	Question func(ctx context.Context, c *Call) (client.Question, error)

	// Messages is whether every message that goes into a stream is asked about for itself, when the server receives it
	// or before the client sends it, besides the stream as a whole, whose Call has no Message. A message that is refused
	// ends the stream. Each is reported when it was dealt with. What one obliges to hide is hidden from all that follow;
	// a stream whose messages oblige to more than 16 different things ends with ResourceExhausted.
	Messages bool

	// Logger is told what went wrong inside, and of outcomes that could not be reported; nil tells nobody.
	Logger *slog.Logger
}

// A Call is what is asked about.
type Call struct {
	Method   string      // /package.Service/Method
	Message  any         // the request of a unary call, or a message of a stream; nil of a stream as a whole
	Metadata metadata.MD // of the call: incoming for a server, outgoing for a client. Not to be changed
	Client   bool        // the call goes out
}

// permit asks about a call.
func (g *Guard) permit(ctx context.Context, c *Call) (p *client.Permit, err error) {
	held, settle := client.HoldProofs(ctx)
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("asking panicked: %.200v", v)
		}
		settle(err)
	}()
	if g.Question == nil {
		return nil, errors.New("nobody says what is to be asked")
	}
	q, err := g.Question(held, c)
	if err != nil {
		return nil, err
	}
	return g.Enforcer.Permit(ctx, q, false)
}

// begin asks about a call and returns the context in which it may happen, or a status.
func (g *Guard) begin(ctx context.Context, c *Call) (*client.Permit, context.Context, context.CancelFunc, error) {
	p, err := g.permit(ctx, c)
	if err == nil {
		var inner context.Context
		var cancel context.CancelFunc
		if inner, cancel, err = p.Begin(ctx); err == nil {
			return p, inner, cancel, nil
		}
	}
	s := Status(err)
	if g.Logger != nil && (s.Code() == codes.Unavailable || s.Code() == codes.Internal) {
		g.Logger.WarnContext(ctx, "call not let through", "method", c.Method, "code", s.Code().String(), "err", err)
	}
	return nil, nil, nil, s.Err()
}

// done reports what came of a call.
func (g *Guard) done(ctx context.Context, p *client.Permit, o client.Outcome) {
	if err := p.Done(ctx, o); err != nil && g.Logger != nil {
		g.Logger.WarnContext(ctx, "outcome not reported", "decisions", p.Decisions(), "err", err)
	}
}

// fault returns the Fault of an outcome that an error of a call stands for.
func fault(err error) string {
	switch status.Code(err) {
	case codes.OK:
		return ""
	case codes.InvalidArgument, codes.OutOfRange:
		return client.FaultSchema
	case codes.DeadlineExceeded:
		return client.FaultTimeout
	case codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated, codes.Canceled, codes.Aborted:
		return "" // it is an answer, not a failure
	}
	return client.FaultTool
}

// withheld is the status of what must not be seen.
func withheld(err error) error {
	if _, ok := errors.AsType[*client.WithheldError](err); !ok {
		err = &client.WithheldError{Cause: err}
	}
	return Status(err).Err()
}

// UnaryServer is a grpc.UnaryServerInterceptor.
func (g *Guard) UnaryServer(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	p, inner, cancel, err := g.begin(ctx, &Call{Method: info.FullMethod, Message: req, Metadata: md})
	if err != nil {
		return nil, err
	}
	defer cancel()
	return g.unary(ctx, p, func() (any, error) { return handler(inner, req) })
}

// unary does a unary call, changes its reply, and reports.
func (g *Guard) unary(ctx context.Context, p *client.Permit, do func() (any, error)) (reply any, err error) {
	began := time.Now()
	o := client.Outcome{Fault: client.FaultTool} // of one that panics
	defer func() { g.done(ctx, p, o) }()
	reply, err = do()
	o = client.Outcome{Latency: time.Since(began), Fault: fault(err), Size: size(reply)}
	if !p.Whole() {
		return reply, err
	}
	if err != nil {
		return nil, withheld(err)
	}
	if reply, err = shape(p, reply); err != nil {
		return nil, withheld(err)
	}
	return reply, nil
}

// UnaryClient is a grpc.UnaryClientInterceptor.
func (g *Guard) UnaryClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	p, inner, cancel, err := g.begin(ctx, &Call{Method: method, Message: req, Metadata: md, Client: true})
	if err != nil {
		return err
	}
	defer cancel()
	shown, err := g.unary(ctx, p, func() (any, error) { return reply, invoker(inner, method, req, reply, cc, opts...) })
	if p.Whole() {
		return replace(reply, shown, err)
	}
	return err
}

// Status returns the status by which err is told: a *client.RefusedError, a *client.WithheldError, or one of the kinds
// of package authz. What went wrong inside is not told.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	refused, isRefusal := errors.AsType[*client.RefusedError](err)
	if _, ok := errors.AsType[*client.WithheldError](err); ok {
		return detailed(codes.Internal, client.CodeWithheld, "What came of it cannot be shown.", nil, 0)
	}
	if isRefusal && refused.Answer != nil {
		return refusal(refused)
	}
	for _, k := range [...]struct {
		kind error
		code codes.Code
		name string
	}{
		{authz.ErrUnavailable, codes.Unavailable, authz.CodeUnavailable},
		{authz.ErrInvalid, codes.InvalidArgument, authz.CodeInvalid},
		{authz.ErrUnauthenticated, codes.Unauthenticated, "unauthenticated"},
		{authz.ErrNotFound, codes.NotFound, "not_found"},
		{authz.ErrConflict, codes.Aborted, "conflict"},
		{authz.ErrForbidden, codes.PermissionDenied, authz.CodeForbidden},
	} {
		if errors.Is(err, k.kind) {
			text, wait := err.Error(), time.Duration(0)
			if k.code == codes.Unavailable {
				text, wait = "No decision could be had.", time.Second
			}
			return detailed(k.code, k.name, text, nil, wait)
		}
	}
	return detailed(codes.Internal, client.CodeInternal, "internal error", nil, 0)
}

// refusal returns the status of a refusal.
func refusal(e *client.RefusedError) *status.Status {
	a := e.Answer
	if a.Allowed() {
		code := codes.PermissionDenied
		if errors.Is(e.Cause, authz.ErrUnavailable) {
			code = codes.Unavailable
		}
		return detailed(code, client.CodeUnmet, "It is allowed only with obligations that cannot be met here.", map[string]string{"evaluation_id": a.DecisionID()}, 0)
	}
	code, wait := codes.PermissionDenied, a.RetryAfter
	about := map[string]string{"evaluation_id": a.DecisionID(), "reason": a.Reason, "next_action": a.Next()}
	switch a.Code {
	case authz.CodeInvalid, authz.CodeTypeUnknown:
		code = codes.InvalidArgument
	case authz.CodeUnavailable:
		code, wait = codes.Unavailable, max(wait, time.Second)
	case authz.CodePassportInvalid:
		code = codes.Unauthenticated
	case authz.CodeStepUpRequired:
		code = codes.Unauthenticated
		about["acr_values"] = a.ACR()
	}
	text := "Refused."
	if len(a.Reasons) > 0 {
		text = a.Reasons[0].Message
	}
	return detailed(code, a.Code, text, about, wait)
}
