package grpcguard

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/safeconduct/safeconduct/client"
)

// StreamServer is a grpc.StreamServerInterceptor. The stream is asked about before its handler runs, and with
// Messages each message when it is received.
func (g *Guard) StreamServer(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx := ss.Context()
	md, _ := metadata.FromIncomingContext(ctx)
	call := Call{Method: info.FullMethod, Metadata: md}
	p, inner, cancel, err := g.begin(ctx, &call)
	if err != nil {
		return err
	}
	defer cancel()
	s := &serverStream{ServerStream: ss, g: g, call: call, ctx: inner}
	s.begin(p)
	o := client.Outcome{Fault: client.FaultTool} // of one that panics
	defer func() { g.done(ctx, p, o) }()
	err = handler(srv, s)
	o = client.Outcome{Fault: fault(err), Size: s.sent.Load()}
	if refused := s.failed(); refused != nil { // also if the handler went on as if nothing had been
		return refused
	}
	if err != nil && s.whole() {
		return withheld(err)
	}
	return err
}

// permits are those of a stream and its messages. What is to be hidden by one is hidden from then on: who knows of
// what received message a sent one tells?
type permits struct {
	mu      sync.Mutex       // guards what follows
	stream  *client.Permit   // of the stream as a whole, which is reported at its end
	shapes  []*client.Permit // those by which messages are changed, of alike ones one
	refused error            // the status of a message that was refused, or withheld
}

// maxShapes is in how many ways the messages of one stream are changed at most: each message goes through all of them.
const maxShapes = 16

// failed returns why the stream is at its end, nil if it is not.
func (s *permits) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *permits) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = err
	}
	return s.refused
}

// begin is for the stream as a whole.
func (s *permits) begin(p *client.Permit) {
	s.stream = p
	_ = s.keep(p) // it is the first
}

// keep has further messages changed as p says.
func (s *permits) keep(p *client.Permit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !p.Whole() || slices.ContainsFunc(s.shapes, p.SameShape):
	case len(s.shapes) == maxShapes:
		return status.Errorf(codes.ResourceExhausted, "the messages of this stream are to be changed in more than %d ways", maxShapes)
	default:
		s.shapes = append(s.shapes, p)
	}
	return nil
}

func (s *permits) list() []*client.Permit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shapes[:len(s.shapes):len(s.shapes)]
}

func (s *permits) whole() bool { return len(s.list()) > 0 }

// shape returns a message as it may be seen.
func (s *permits) shape(m any) (any, error) {
	for _, p := range s.list() {
		var err error
		if m, err = shape(p, m); err != nil {
			return nil, withheld(err)
		}
	}
	return m, nil
}

// message reports a message that is dealt with, and remembers what it demands of those that follow.
func (s *permits) message(ctx context.Context, g *Guard, p *client.Permit, m any) error {
	g.done(ctx, p, client.Outcome{Size: size(m)})
	return s.keep(p)
}

type serverStream struct {
	grpc.ServerStream
	permits
	g    *Guard
	call Call
	ctx  context.Context
	sent atomic.Int64
}

func (s *serverStream) Context() context.Context { return s.ctx }

// RecvMsg receives a message, and gives it away only if that is permitted.
func (s *serverStream) RecvMsg(m any) error {
	if err := s.failed(); err != nil {
		return err
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if err := s.ServerStream.RecvMsg(m); err != nil || !s.g.Messages {
		return err
	}
	c := s.call
	c.Message = m
	p, _, cancel, err := s.g.begin(s.ctx, &c)
	if err != nil {
		return s.fail(err)
	}
	cancel() // the message is received: what it brings about goes on with the stream
	if err := s.message(s.ctx, s.g, p, m); err != nil {
		return s.fail(err)
	}
	return nil
}

// SendMsg sends what may be seen of a message.
func (s *serverStream) SendMsg(m any) error {
	if err := s.failed(); err != nil {
		return err
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	m, err := s.shape(m)
	if err != nil {
		return s.fail(err)
	}
	if err := s.ServerStream.SendMsg(m); err != nil {
		return err
	}
	s.sent.Add(size(m))
	return nil
}

// StreamClient is a grpc.StreamClientInterceptor. The stream is asked about before it begins, and with Messages each
// message before it is sent.
func (g *Guard) StreamClient(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	call := Call{Method: method, Metadata: md, Client: true}
	p, inner, cancel, err := g.begin(ctx, &call)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	inner, stop := context.WithCancel(inner)
	cs, err := streamer(inner, desc, cc, method, opts...)
	if err != nil {
		stop()
		cancel()
		g.done(ctx, p, client.Outcome{Latency: time.Since(began), Fault: fault(err)})
		if p.Whole() {
			err = withheld(err)
		}
		return nil, err
	}
	s := &clientStream{ClientStream: cs, g: g, call: call, ctx: ctx, began: began, single: !desc.ServerStreams}
	s.begin(p)
	s.stop = func() { stop(); cancel() }
	// A stream that nobody reads to its end is over when its context is.
	context.AfterFunc(inner, func() { s.end(inner.Err()) })
	return s, nil
}

type clientStream struct {
	grpc.ClientStream
	permits
	g      *Guard
	call   Call
	ctx    context.Context
	began  time.Time
	single bool // one message comes back
	stop   func()

	once sync.Once
	size atomic.Int64
}

// SendMsg sends a message if that is permitted. One that is refused ends the stream.
func (s *clientStream) SendMsg(m any) error {
	if err := s.failed(); err != nil {
		return err
	}
	if s.g.Messages {
		c := s.call
		c.Message = m
		p, _, cancel, err := s.g.begin(s.ctx, &c)
		if err != nil {
			s.end(s.fail(err))
			return err
		}
		cancel()
		if err := s.message(s.ctx, s.g, p, m); err != nil {
			s.end(s.fail(err))
			return err
		}
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg receives what may be seen of a message.
func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		if s.whole() && !errors.Is(err, io.EOF) {
			err = withheld(err)
		}
		s.end(err)
		return err
	}
	s.size.Add(size(m))
	if s.whole() {
		shown, err := s.shape(m)
		if err = replace(m, shown, err); err != nil {
			s.end(s.fail(err))
			return err
		}
	}
	if s.single {
		s.end(nil)
	}
	return nil
}

// end reports the outcome, once, and lets go of the call.
func (s *clientStream) end(err error) {
	s.once.Do(func() {
		o := client.Outcome{Latency: time.Since(s.began), Size: s.size.Load()}
		if !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
			o.Fault = fault(err)
		}
		s.g.done(context.WithoutCancel(s.ctx), s.stream, o)
		s.stop()
	})
}
