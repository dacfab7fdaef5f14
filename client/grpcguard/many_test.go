package grpcguard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/client/grpcguard"
)

// masks obliges each question to hide a field, and notes what was reported.
type masks struct {
	field func(n int) string
	asked int
	told  []string
}

func (m *masks) Answer(context.Context, *client.Question) ([]*client.Answer, error) {
	m.asked++
	d := authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: []authz.Obligation{
		{ID: "m", Type: "custom", Properties: json.RawMessage(`{"obligation":"mask","fields":["` + m.field(m.asked) + `"]}`)},
	}}
	return []*client.Answer{{Decision: d, ID: fmt.Sprint("e", m.asked)}}, nil
}

func (m *masks) Outcome(_ context.Context, id string, _ client.Outcome) error {
	m.told = append(m.told, id)
	return nil
}

// endless is a stream that has always another message.
type endless struct {
	grpc.ServerStream
	ctx  context.Context
	sent []any
}

func (s *endless) Context() context.Context { return s.ctx }
func (s *endless) RecvMsg(any) error        { return nil }
func (s *endless) SendMsg(m any) error      { s.sent = append(s.sent, m); return nil }

// A long stream costs no more for each message than a short one, and is reported as it goes.
func TestLongStreams(t *testing.T) {
	m, err := structpb.NewStruct(map[string]any{"iban": "DE", "a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	stream := func(d *masks, handle func(s grpc.ServerStream) error) error {
		g := &grpcguard.Guard{Messages: true, Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: d}, Handlers: client.BuiltIn(nil)},
			Question: func(context.Context, *grpcguard.Call) (client.Question, error) {
				return client.Question{Requests: []authz.Request{{Action: authz.Action{Name: "a"}}}}, nil
			}}
		return g.StreamServer(nil, &endless{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: "/a/b"}, func(_ any, s grpc.ServerStream) error { return handle(s) })
	}
	const messages = 4000
	d := &masks{field: func(int) string { return "iban" }}
	err = stream(d, func(s grpc.ServerStream) error {
		cost := func() float64 { return testing.AllocsPerRun(1, func() { _ = s.SendMsg(m) }) }
		first := cost()
		for range messages {
			if err := s.RecvMsg(m); err != nil {
				return err
			}
		}
		if last := cost(); last > 2*first {
			t.Errorf("sending a message takes %v allocations after %d others, and %v before", last, messages, first)
		}
		if len(d.told) != messages {
			t.Errorf("%d outcomes are reported after %d messages", len(d.told), messages)
		}
		return nil
	})
	if err != nil || len(d.told) != messages+1 {
		t.Errorf("%v; %d outcomes, want one for each message and the stream", err, len(d.told))
	}

	received := 0
	err = stream(&masks{field: func(n int) string { return fmt.Sprint("f", n) }}, func(s grpc.ServerStream) error {
		for ; received < 100; received++ {
			if err := s.RecvMsg(m); err != nil {
				return err
			}
		}
		return nil
	})
	if status.Code(err) != codes.ResourceExhausted || received != 15 {
		t.Errorf("a stream that is to be changed in more and more ways: %v, after %d messages", err, received)
	}
}
