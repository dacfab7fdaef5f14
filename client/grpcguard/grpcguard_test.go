package grpcguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/client/grpcguard"
)

// A judge decides by the action's name: what is in allowed is.
type judge struct {
	mu          sync.Mutex
	refuse      map[string]client.Answer // by action, what is not simply allowed
	err         error
	asked, told []string
}

func (j *judge) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	name := q.Requests[0].Action.Name
	j.asked = append(j.asked, name)
	if j.err != nil {
		return nil, j.err
	}
	a, ok := j.refuse[name]
	if !ok {
		a.Effect, a.Code = authz.Allow, authz.CodeAllowed
	}
	if a.ID == "" {
		a.ID = "e" + fmt.Sprint(len(j.asked))
	}
	return []*client.Answer{&a}, nil
}

func (j *judge) Outcome(_ context.Context, id string, o client.Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told = append(j.told, strings.Join(append([]string{id, o.Fault}, o.Met...), "|"))
	return nil
}

func (j *judge) outcomes() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.told, " ")
}

func (j *judge) questions() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.asked, " ")
}

// guardOf asks for the last part of the method, and for "say:VALUE" of a message.
func guardOf(j *judge, messages bool) *grpcguard.Guard {
	return &grpcguard.Guard{
		Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: j}, Handlers: client.Handlers{"mask": client.MeetMask}},
		Messages: messages,
		Question: func(_ context.Context, c *grpcguard.Call) (client.Question, error) {
			name := c.Method[strings.LastIndex(c.Method, "/")+1:]
			if m, ok := c.Message.(*structpb.Struct); ok && messages {
				name = "say:" + m.Fields["say"].GetStringValue()
			}
			switch c.Metadata.Get("question") {
			case nil:
			default:
				switch c.Metadata.Get("question")[0] {
				case "none":
					return client.Question{}, authz.Errorf(authz.ErrUnauthenticated, "nobody calls")
				case "invalid":
					return client.Question{}, authz.Errorf(authz.ErrInvalid, "no such invoice")
				case "panic":
					panic("no")
				case "broken":
					return client.Question{}, errors.New("the database is away")
				}
			}
			return client.Question{Requests: []authz.Request{{Action: authz.Action{Name: name}}}}, nil
		},
	}
}

// An echo is the service: it answers what it is told, and notes it.
type echo struct {
	mu   sync.Mutex
	done []string
	deaf bool // it goes on whatever RecvMsg says
}

func (e *echo) note(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done = append(e.done, s)
}

func (e *echo) did() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.done, " ")
}

var service = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(srv any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
		req := new(structpb.Struct)
		if err := dec(req); err != nil {
			return nil, err
		}
		do := func(ctx context.Context, req any) (any, error) {
			m := req.(*structpb.Struct)
			srv.(*echo).note(m.Fields["say"].GetStringValue())
			switch m.Fields["say"].GetStringValue() {
			case "fail":
				return nil, status.Error(codes.Internal, "the secret is DE1")
			case "panic":
				panic("no")
			}
			return m, nil
		}
		if in == nil {
			return do(ctx, req)
		}
		return in(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.Echo/Say"}, do)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(srv any, ss grpc.ServerStream) error {
		e := srv.(*echo)
		for {
			m := new(structpb.Struct)
			err := ss.RecvMsg(m)
			if errors.Is(err, io.EOF) || err != nil && e.deaf {
				return nil
			}
			if err != nil {
				return err
			}
			e.note(m.Fields["say"].GetStringValue())
			if err := ss.SendMsg(m); err != nil && !e.deaf {
				return err
			}
		}
	}}},
}

// serve runs the service on loopback and returns a connection to it.
func serve(t *testing.T, e *echo, server, guarded *grpcguard.Guard) *grpc.ClientConn {
	t.Helper()
	var so []grpc.ServerOption
	if server != nil {
		so = append(so,
			grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (_ any, err error) {
				defer func() {
					if v := recover(); v != nil {
						err = status.Error(codes.Internal, "panicked")
					}
				}()
				return server.UnaryServer(ctx, req, info, h)
			}),
			grpc.StreamInterceptor(server.StreamServer))
	}
	s := grpc.NewServer(so...)
	s.RegisterService(&service, e)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := s.Serve(l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(s.Stop)
	co := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if guarded != nil {
		co = append(co, grpc.WithUnaryInterceptor(guarded.UnaryClient), grpc.WithStreamInterceptor(guarded.StreamClient))
	}
	cc, err := grpc.NewClient(l.Addr().String(), co...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func msg(t *testing.T, fields map[string]any) *structpb.Struct {
	t.Helper()
	m, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mask(id string) client.Answer {
	return client.Answer{ID: id, Decision: authz.Decision{Effect: authz.Allow, Obligations: []authz.Obligation{
		{ID: "hide", Type: "custom", Properties: json.RawMessage(`{"obligation":"mask","fields":["iban"]}`)}}}}
}

func refused(code string, more ...authz.Obligation) client.Answer {
	return client.Answer{ID: "e7", Decision: authz.Decision{Code: code, Reasons: []authz.Reason{{Code: code, Message: "Not today."}}, Obligations: more}}
}

// eventually waits for a condition that another goroutine makes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// Both sides, one call: what may happen does, what may not does not reach the other side.
func TestUnary(t *testing.T) {
	for _, side := range []string{"server", "client"} {
		t.Run(side, func(t *testing.T) {
			j, e := &judge{}, &echo{}
			var cc *grpc.ClientConn
			if side == "server" {
				cc = serve(t, e, guardOf(j, false), nil)
			} else {
				cc = serve(t, e, nil, guardOf(j, false))
			}
			say := func(word string) (*structpb.Struct, error) {
				out := new(structpb.Struct)
				return out, cc.Invoke(t.Context(), "/test.Echo/Say", msg(t, map[string]any{"say": word, "iban": "DE1", "n": 1}), out)
			}
			out, err := say("hello")
			if err != nil || out.Fields["iban"].GetStringValue() != "DE1" || e.did() != "hello" {
				t.Fatalf("allowed: %v, %v, did %s", out, err, e.did())
			}
			eventually(t, "the outcome is reported", func() bool { return j.outcomes() == "e1|" })

			j.refuse = map[string]client.Answer{"Say": refused(authz.CodeNoPermit)}
			_, err = say("no")
			if status.Code(err) != codes.PermissionDenied || e.did() != "hello" || status.Convert(err).Message() != "Not today." {
				t.Errorf("refused: %v, did %s", err, e.did())
			}
			info := infoOf(t, err)
			if info.Reason != "NO_PERMIT" || info.Domain != grpcguard.Domain || info.Metadata["evaluation_id"] != "e7" || info.Metadata["next_action"] != "none" {
				t.Errorf("details %v", info)
			}

			j.refuse = map[string]client.Answer{"Say": mask("e8")}
			if out, err = say("masked"); err != nil || out.Fields["iban"].GetStringValue() != "***" || out.Fields["n"].GetNumberValue() != 1 {
				t.Errorf("masked: %v, %v", out, err)
			}
			eventually(t, "what was met is reported", func() bool { return strings.HasSuffix(j.outcomes(), "e8||hide") })
			if out, err = say("fail"); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "DE1") || len(out.Fields) != 0 {
				t.Errorf("a failure that would tell: %v, %v", out, err)
			}
			eventually(t, "the fault is reported", func() bool { return strings.HasSuffix(j.outcomes(), "e8|tool|hide") })
			if side == "server" {
				if _, err = say("panic"); status.Code(err) != codes.Internal {
					t.Errorf("a panic: %v", err)
				}
			}
			j.refuse = map[string]client.Answer{"Say": {Decision: authz.Decision{Effect: authz.Allow, Obligations: []authz.Obligation{{ID: "x", Type: "dance", Properties: json.RawMessage(`{}`)}}}}}
			before := e.did()
			if _, err = say("dance"); status.Code(err) != codes.PermissionDenied || e.did() != before || infoOf(t, err).Reason != "OBLIGATION_UNMET" {
				t.Errorf("an obligation that nobody meets: %v, did %s", err, e.did())
			}
			j.err = authz.ErrUnavailable
			if _, err = say("down"); status.Code(err) != codes.Unavailable || e.did() != before {
				t.Errorf("no decision: %v, did %s", err, e.did())
			}
		})
	}
}

func infoOf(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i
		}
	}
	t.Fatalf("%v has no ErrorInfo", err)
	return nil
}

func TestStatus(t *testing.T) {
	stepUp := authz.Obligation{ID: "s", Type: "step-up", Properties: json.RawMessage(`{"acr_value":"phr"}`)}
	for _, tt := range []struct {
		refuse client.Answer
		asks   string // metadata "question"
		code   codes.Code
		reason string
	}{
		{refused(authz.CodePassportInvalid), "", codes.Unauthenticated, "PASSPORT_INVALID"},
		{refused(authz.CodePassport), "", codes.PermissionDenied, "PASSPORT_INSUFFICIENT"},
		{refused(authz.CodeTypeUnknown), "", codes.InvalidArgument, "TYPE_UNKNOWN"},
		{refused(authz.CodeApprovalRequired), "", codes.PermissionDenied, "APPROVAL_REQUIRED"},
		{refused(authz.CodeStepUpRequired, stepUp), "", codes.Unauthenticated, "STEP_UP_REQUIRED"},
		{client.Answer{}, "none", codes.Unauthenticated, "UNAUTHENTICATED"},
		{client.Answer{}, "invalid", codes.InvalidArgument, "INVALID_REQUEST"},
		{client.Answer{}, "panic", codes.Internal, "INTERNAL"},
		{client.Answer{}, "broken", codes.Internal, "INTERNAL"},
	} {
		j, e := &judge{refuse: map[string]client.Answer{"Say": tt.refuse}}, &echo{}
		cc := serve(t, e, guardOf(j, false), nil)
		ctx := t.Context()
		if tt.asks != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "question", tt.asks)
		}
		err := cc.Invoke(ctx, "/test.Echo/Say", msg(t, nil), new(structpb.Struct))
		if got := status.Code(err); got != tt.code || infoOf(t, err).Reason != tt.reason || e.did() != "" || strings.Contains(err.Error(), "database") {
			t.Errorf("%s%s: %v, did %q, want %v %s", tt.refuse.Code, tt.asks, err, e.did(), tt.code, tt.reason)
		}
		if tt.refuse.Code == authz.CodeStepUpRequired && infoOf(t, err).Metadata["acr_values"] != "phr" {
			t.Errorf("step-up: %v", infoOf(t, err))
		}
	}
	for name, g := range map[string]*grpcguard.Guard{"an empty guard": {}, "no enforcer": {Question: func(context.Context, *grpcguard.Call) (client.Question, error) {
		return client.Question{Requests: []authz.Request{{}}}, nil
	}}} {
		e := &echo{}
		if err := serve(t, e, g, nil).Invoke(t.Context(), "/test.Echo/Say", msg(t, nil), new(structpb.Struct)); err == nil || e.did() != "" {
			t.Errorf("%s: %v, did %q", name, err, e.did())
		}
	}
}

// Streams: as a whole, and message by message.
func TestStream(t *testing.T) {
	talk := func(t *testing.T, cc *grpc.ClientConn, words ...string) (heard []string, err error) {
		s, err := cc.NewStream(t.Context(), &grpc.StreamDesc{StreamName: "Talk", ServerStreams: true, ClientStreams: true}, "/test.Echo/Talk")
		if err != nil {
			return nil, err
		}
		for _, w := range words {
			if err := s.SendMsg(msg(t, map[string]any{"say": w, "iban": "DE1"})); err != nil && !errors.Is(err, io.EOF) {
				return heard, err
			}
			m := new(structpb.Struct)
			if err := s.RecvMsg(m); err != nil {
				return heard, err
			}
			heard = append(heard, m.Fields["say"].GetStringValue()+m.Fields["iban"].GetStringValue())
		}
		if err := s.CloseSend(); err != nil {
			return heard, err
		}
		if err := s.RecvMsg(new(structpb.Struct)); !errors.Is(err, io.EOF) {
			return heard, err
		}
		return heard, nil
	}
	for _, side := range []string{"server", "client"} {
		conn := func(t *testing.T, j *judge, e *echo, messages bool) *grpc.ClientConn {
			if side == "server" {
				return serve(t, e, guardOf(j, messages), nil)
			}
			return serve(t, e, nil, guardOf(j, messages))
		}
		t.Run(side, func(t *testing.T) {
			j, e := &judge{}, &echo{}
			heard, err := talk(t, conn(t, j, e, false), "a", "b")
			if err != nil || fmt.Sprint(heard) != "[aDE1 bDE1]" || j.questions() != "Talk" {
				t.Errorf("allowed: %s, %v, asked %s", heard, err, j.questions())
			}
			eventually(t, "the outcome is reported", func() bool { return j.outcomes() == "e1|" })

			j, e = &judge{refuse: map[string]client.Answer{"Talk": refused(authz.CodeNoPermit)}}, &echo{}
			if heard, err := talk(t, conn(t, j, e, false), "a"); status.Code(err) != codes.PermissionDenied || heard != nil || e.did() != "" {
				t.Errorf("refused: %s, %v, did %s", heard, err, e.did())
			}

			j, e = &judge{refuse: map[string]client.Answer{"Talk": mask("e5")}}, &echo{}
			if heard, err := talk(t, conn(t, j, e, false), "a", "b"); err != nil || fmt.Sprint(heard) != "[a*** b***]" {
				t.Errorf("masked: %s, %v", heard, err)
			}
			eventually(t, "what was met is reported", func() bool { return j.outcomes() == "e5||hide" })

			for _, deaf := range []bool{false, true} {
				j, e = &judge{refuse: map[string]client.Answer{"say:bad": refused(authz.CodeNoPermit)}}, &echo{deaf: deaf}
				heard, err = talk(t, conn(t, j, e, true), "a", "bad", "c")
				if status.Code(err) != codes.PermissionDenied || fmt.Sprint(heard) != "[aDE1]" || e.did() != "a" || j.questions() != "Talk say:a say:bad" {
					t.Errorf("the second message, deaf %v: %s, %v, did %s, asked %s", deaf, heard, err, e.did(), j.questions())
				}
			}

			j, e = &judge{refuse: map[string]client.Answer{"say:a": mask("e6")}}, &echo{}
			if heard, err := talk(t, conn(t, j, e, true), "z", "a", "b"); err != nil || fmt.Sprint(heard) != "[zDE1 a*** b***]" {
				t.Errorf("a message that obliges: %s, %v", heard, err)
			}
		})
	}
}

// A client that hangs up has its stream reported and leaves nothing behind.
func TestClientStreamIsLeft(t *testing.T) {
	j := &judge{}
	cc := serve(t, &echo{}, nil, guardOf(j, false))
	ctx, cancel := context.WithCancel(t.Context())
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{StreamName: "Talk", ServerStreams: true, ClientStreams: true}, "/test.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, "the outcome is reported", func() bool { return j.outcomes() == "e1|" })
	if err := s.RecvMsg(new(structpb.Struct)); err == nil {
		t.Error("it received something")
	}
}

// Fields have two names, and what is to be hidden is hidden by either; what cannot be hidden is withheld.
func TestNamesOfFields(t *testing.T) {
	for field, want := range map[string]string{"type_name": "", "typeName": "", "/type_name": "", "/typeName": "", "number": "withheld"} {
		text, err := json.Marshal(map[string]any{"obligation": "mask", "fields": []string{field}})
		if err != nil {
			t.Fatal(err)
		}
		a := client.Answer{Decision: authz.Decision{Effect: authz.Allow, Obligations: []authz.Obligation{{ID: "hide", Type: "custom", Properties: text}}}}
		g := guardOf(&judge{refuse: map[string]client.Answer{"Say": a}}, false)
		got, err := g.UnaryServer(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/test.Echo/Say"}, func(context.Context, any) (any, error) {
			return &descriptorpb.FieldDescriptorProto{Name: proto.String("n"), TypeName: proto.String("secret"), Number: proto.Int32(7)}, nil
		})
		if want == "withheld" {
			if got != nil || infoOf(t, err).Reason != "RESULT_WITHHELD" {
				t.Errorf("%s: %v, %v", field, got, err)
			}
			continue
		}
		if err != nil || got.(*descriptorpb.FieldDescriptorProto).GetTypeName() != "***" || got.(*descriptorpb.FieldDescriptorProto).GetNumber() != 7 {
			t.Errorf("%s: %v, %v", field, got, err)
		}
		got, err = g.UnaryServer(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/test.Echo/Say"}, func(context.Context, any) (any, error) { return "secret", nil })
		if got != nil || err == nil || infoOf(t, err).Reason != "RESULT_WITHHELD" {
			t.Errorf("%s, of what is no message: %v, %v", field, got, err)
		}
	}
}
