package mcp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// StdioConfig is what a Stdio needs.
type StdioConfig struct {
	// Config is that of its Gate; Server and Fetch are the Stdio's.
	Config
	// Name is what decisions call the server.
	Name string
	// Who says who the client is, for each request: whoever started this process.
	Who func(ctx context.Context) (*gateway.Who, error)

	// In and Out are the client's: one frame a line. Reading In must end when the client goes.
	In  io.Reader
	Out io.Writer
	// Link leads to the server.
	Link Link

	// MaxRequest and MaxAnswer bound frames of the client (4 MiB by default) and of the server (64 MiB).
	MaxRequest, MaxAnswer int
}

// A Link leads to one server.
type Link interface {
	// Send sends one frame. It may be called by many.
	Send(frame []byte) error
	// Receive returns the next frame, of at most max bytes. io.EOF: there is none any more. errTooLong: there
	// was one that is longer, and it was passed over. It is called by one.
	Receive(max int) ([]byte, error)
	// Close ends the server, at the latest soon after ctx has ended, and returns how it ended.
	Close(ctx context.Context) error
}

// Bounds of the door.
const (
	defaultMaxRequest = 4 << 20
	defaultMaxAnswer  = 64 << 20
	maxFlights        = 256 // requests under way, each way
	settleTime        = 5 * time.Second
)

// ErrTooLong is returned by a Link that has passed over a frame.
var ErrTooLong = errors.New("the frame is too long")

// A Stdio is the door before one server, for one client on standard input and output. Many requests may be under way,
// and are answered in any order.
type Stdio struct {
	cfg     StdioConfig
	gate    *Gate
	log     *slog.Logger
	session string

	out sync.Mutex // guards cfg.Out

	mu      sync.Mutex
	version string
	flights map[string]*flight // the client's requests, by Frame.Key
	sent    map[string]*flight // what the server was asked, by Frame.Key of the id that it knows
	count   int64              // of ids that the server knows
	asked   map[string]bool    // the server's requests that the client has not answered
	closed  bool
	handled sync.WaitGroup
}

// A flight is a request on its way to the server and back. The server knows it by an id that no other request had: it may answer
// one that the client has taken back, and whose id the client uses again.
type flight struct {
	id     json.RawMessage // of the client's
	as     json.RawMessage // as the server knows it; nil while it is judged
	cancel context.CancelFunc
	pa     *Passage    // nil while it is judged
	own    chan *Frame // the answer to a request of ours
	order  sync.Mutex  // held while the request is sent: nothing about it is sent before
	over   chan struct{}
}

// end ends a flight of the client's.
func (s *Stdio) end(fl *flight) {
	fl.cancel()
	close(fl.over)
	s.handled.Done()
}

// NewStdio returns the door.
func NewStdio(cfg StdioConfig) (*Stdio, error) {
	if cfg.MaxRequest == 0 {
		cfg.MaxRequest = defaultMaxRequest
	}
	if cfg.MaxAnswer == 0 {
		cfg.MaxAnswer = defaultMaxAnswer
	}
	s := &Stdio{cfg: cfg, session: "mcp-" + rand.Text(),
		flights: map[string]*flight{}, sent: map[string]*flight{}, asked: map[string]bool{}}
	cfg.Config.Server = func(string, string) string { return cfg.Name }
	cfg.Config.Fetch = s.fetch
	var err error
	if s.gate, err = NewGate(cfg.Config); err != nil {
		return nil, err
	}
	s.log = s.gate.log
	return s, nil
}

// Run serves until the client or the server goes, or ctx ends. It returns nil if the client went.
func (s *Stdio) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, server := make(chan error, 1), make(chan error, 1)
	go func() { client <- s.fromClient(ctx) }()
	go func() { server <- s.fromServer(ctx) }()
	var err error
	serverGone := false
	select {
	case err = <-client:
		s.settle(server) // what was asked before is answered
	case err = <-server:
		serverGone = true
		if err == nil {
			err = errors.New("the server has ended")
		}
		s.abandon()
	case <-ctx.Done():
	}
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer done()
	cancel()
	if serverGone {
		s.settle(nil)
	}
	ended := s.cfg.Link.Close(closing)
	if serverGone && ended != nil {
		err = fmt.Errorf("the server has ended: %w", ended)
	}
	s.gate.Wait()
	return err
}

// settle waits for the answers to what is under way, but not for long, nor for a server that has gone.
func (s *Stdio) settle(server <-chan error) {
	done := make(chan struct{})
	go func() { s.handled.Wait(); close(done) }()
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-server:
	}
}

// abandon answers what is under way: the server will not.
func (s *Stdio) abandon() {
	s.mu.Lock()
	s.closed = true
	flights, sent := s.flights, s.sent
	s.flights, s.sent = map[string]*flight{}, map[string]*flight{}
	s.mu.Unlock()
	for _, fl := range sent {
		if fl.own != nil {
			fl.own <- &Frame{ID: fl.as, Error: &Error{Code: codeClosed, Message: "The server has ended"}}
		}
	}
	for _, fl := range flights {
		gone := &Frame{ID: fl.id, Error: &Error{Code: codeClosed, Message: "The server has ended"}}
		switch {
		case fl.pa != nil:
			s.toClient(fl.pa.Result(context.Background(), gone))
			s.end(fl)
		default: // it is judged: handle sees that it is here no more
			s.toClient(gone)
		}
	}
}

// fromClient reads the client's frames.
func (s *Stdio) fromClient(ctx context.Context) error {
	in := bufio.NewReaderSize(s.cfg.In, 64<<10)
	for ctx.Err() == nil {
		line, err := readLine(in, s.cfg.MaxRequest)
		switch {
		case errors.Is(err, ErrTooLong):
			s.toClient((&FrameError{code: codeRequest, err: authz.Errorf(authz.ErrInvalid, "the frame has more than %d bytes", s.cfg.MaxRequest)}).Frame())
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading from the client: %w", err)
		case len(line) == 0:
			continue
		}
		f, err := ParseFrame(line, s.cfg.MaxRequest)
		var bad *FrameError
		if errors.As(err, &bad) {
			s.log.WarnContext(ctx, "a frame of the client was refused", "why", err)
			s.toClient(bad.Frame())
			continue
		}
		switch {
		case f.Request():
			s.take(ctx, f)
		case f.Notification():
			s.notified(ctx, f)
		default:
			s.answered(ctx, f)
		}
	}
	return nil
}

// take takes a request of the client.
func (s *Stdio) take(ctx context.Context, f *Frame) {
	ctx, cancel := context.WithCancel(ctx)
	fl := &flight{id: f.ID, cancel: cancel, over: make(chan struct{})}
	s.mu.Lock()
	used, full, closed := s.flights[f.Key()] != nil, len(s.flights) >= maxFlights, s.closed
	if !used && !full && !closed {
		s.flights[f.Key()] = fl
		s.handled.Add(1)
	}
	s.mu.Unlock()
	switch {
	case used: // an answer by this id would be taken for that to the other request
		cancel()
		s.log.WarnContext(ctx, "a request of the client was refused: its id is in use", "method", f.Method)
		s.toClient(&Frame{ID: json.RawMessage("null"), Error: &Error{Code: codeRequest, Message: "Invalid request: the id is that of another request under way"}})
	case full, closed:
		cancel()
		s.toClient(&Frame{ID: f.ID, Error: &Error{Code: codeClosed, Message: "Too many requests are under way, or the server has ended"}})
	default:
		go s.handle(ctx, f, fl)
		if f.Method == "initialize" { // before it is answered nothing else is of use to the server
			select {
			case <-fl.over:
			case <-time.After(fetchTime):
			case <-ctx.Done():
			}
		}
	}
}

// handle judges a request and passes it on.
func (s *Stdio) handle(ctx context.Context, f *Frame, fl *flight) {
	who, err := s.cfg.Who(ctx)
	var pa *Passage
	if err != nil {
		s.log.ErrorContext(ctx, "who asks cannot be shown", "error", err)
		pa = &Passage{Answer: unavailable().frame(f.ID)}
	} else {
		peer := s.peer(who)
		if pa = s.gate.Admit(ctx, peer, f); pa.Forward != nil && f.Method == "subscriptions/listen" {
			s.subscribe(ctx, peer, pa)
		}
	}
	s.mu.Lock()
	here := s.flights[f.Key()] == fl
	if here && pa.Answer == nil {
		fl.pa = pa
		s.send(fl)
		fl.order.Lock()
	} else if here {
		delete(s.flights, f.Key())
	}
	s.mu.Unlock()
	switch {
	case !here: // cancelled, or the server has gone
		if pa.Answer == nil {
			pa.Streamed(0, context.Canceled)
		}
	case pa.Answer != nil:
		s.toClient(pa.Answer)
	default:
		forward := *pa.Forward
		forward.ID = fl.as
		limited, stop := pa.Limit(ctx)
		context.AfterFunc(limited, func() {
			stop()
			if errors.Is(limited.Err(), context.DeadlineExceeded) {
				s.expired(ctx, fl)
			}
		})
		err := s.cfg.Link.Send(forward.Append(nil))
		fl.order.Unlock()
		if err != nil {
			s.log.ErrorContext(ctx, "the server cannot be reached", "error", err)
			s.back(ctx, &Frame{ID: fl.as, Error: &Error{Code: codeClosed, Message: "The server cannot be reached"}})
		}
		return
	}
	s.end(fl)
}

// maxSubscribed is how many resources one request can subscribe to.
const maxSubscribed = 100

// subscribe takes out of a request for a subscription the resources to which the client may not subscribe: each is decided about
// as resources/subscribe.
func (s *Stdio) subscribe(ctx context.Context, p *Peer, pa *Passage) {
	bad := func() {
		pa.Streamed(0, errUnsent)
		pa.refuse(&refusal{code: codeParams, message: fmt.Sprintf("Invalid params: resourceSubscriptions is a list of at most %d URIs", maxSubscribed)})
	}
	params, err := readObject(pa.Forward.Params)
	if err != nil {
		bad()
		return
	}
	wanted, err := readObject(params.get("notifications"))
	if err != nil {
		bad()
		return
	}
	list := wanted.get("resourceSubscriptions")
	if list == nil {
		return
	}
	uris, err := readArray(list, maxSubscribed)
	if err != nil {
		bad()
		return
	}
	var allowed []json.RawMessage
	for _, uri := range uris {
		one := object{{"uri", uri}}
		if meta := params.get("_meta"); meta != nil {
			one.set("_meta", meta)
		}
		of := s.gate.Admit(ctx, p, &Frame{ID: pa.id, Method: "resources/subscribe", Params: one.json()})
		if of.Forward != nil {
			of.Streamed(0, nil)
			allowed = append(allowed, uri)
		}
	}
	wanted.set("resourceSubscriptions", arrayJSON(allowed))
	params.set("notifications", wanted.json())
	pa.Forward = &Frame{ID: pa.Forward.ID, Method: pa.Forward.Method, Params: params.json()}
}

var errUnsent = errors.New("the request was not sent")

// expired breaks a request off that stands on nothing any more: the server is told, and the client.
func (s *Stdio) expired(ctx context.Context, fl *flight) {
	s.mu.Lock()
	here := s.sent[(&Frame{ID: fl.as}).Key()] == fl
	s.mu.Unlock()
	if !here {
		return
	}
	fl.order.Lock()
	params := object{{"requestId", fl.as}, {"reason", encode("the approval has ended")}}
	if err := s.cfg.Link.Send((&Frame{Method: "notifications/cancelled", Params: params.json()}).Append(nil)); err != nil {
		s.log.ErrorContext(ctx, "the server cannot be reached", "error", err)
	}
	fl.order.Unlock()
	s.back(ctx, &Frame{ID: fl.as, Error: &Error{Code: codeDenied, Message: "Access denied: the approval ended while the call was under way. What came of it is not known"}})
}

// send gives a flight the id by which the server knows it. s.mu is held.
func (s *Stdio) send(fl *flight) {
	s.count++
	fl.as = json.RawMessage(strconv.FormatInt(s.count, 10))
	s.sent[(&Frame{ID: fl.as}).Key()] = fl
}

// landed forgets a flight. s.mu is held.
func (s *Stdio) landed(fl *flight) {
	if fl.as != nil {
		delete(s.sent, (&Frame{ID: fl.as}).Key())
	}
	if fl.own == nil {
		delete(s.flights, (&Frame{ID: fl.id}).Key())
	}
}

func (s *Stdio) peer(who *gateway.Who) *Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Peer{Who: who, Session: s.session, Version: s.version, Again: s.cfg.Who,
		Notify: func(f *Frame) error { return s.toClient(f) }}
}

// clientSays are the notifications that MCP has clients send.
var clientSays = map[string]bool{
	"notifications/cancelled": true, "notifications/initialized": true, "notifications/progress": true,
	"notifications/roots/list_changed": true, "notifications/tasks/status": true,
}

// notified passes a notification of the client on.
func (s *Stdio) notified(ctx context.Context, f *Frame) {
	params, err := readObject(f.Params)
	if err != nil {
		return
	}
	if !clientSays[f.Method] {
		// A server may do what a request without an id says, and nobody would have been asked.
		s.log.WarnContext(ctx, "a notification of the client was dropped: MCP has none of that method", "method", f.Method)
		return
	}
	if f.Method == "notifications/cancelled" {
		of := &Frame{ID: params.get("requestId")}
		s.mu.Lock()
		fl := s.flights[of.Key()]
		if fl == nil { // it is answered
			s.mu.Unlock()
			return
		}
		judged := fl.pa != nil
		s.landed(fl)
		s.mu.Unlock()
		fl.cancel()
		if !judged {
			return // handle sees it; the server has heard nothing of the request
		}
		fl.pa.Streamed(0, context.Canceled)
		s.end(fl)
		params.set("requestId", fl.as)
		fl.order.Lock()
		defer fl.order.Unlock()
	}
	withoutOurs(&params)
	f = &Frame{Method: f.Method, Params: params.json()}
	if err := s.cfg.Link.Send(f.Append(nil)); err != nil {
		s.log.ErrorContext(ctx, "the server cannot be reached", "error", err)
	}
}

// answered passes an answer of the client on, to a request that the server has made.
func (s *Stdio) answered(ctx context.Context, f *Frame) {
	s.mu.Lock()
	asked := s.asked[f.Key()]
	delete(s.asked, f.Key())
	s.mu.Unlock()
	if !asked {
		s.log.WarnContext(ctx, "an answer of the client was dropped: nobody has asked")
		return
	}
	if err := s.cfg.Link.Send(f.Append(nil)); err != nil {
		s.log.ErrorContext(ctx, "the server cannot be reached", "error", err)
	}
}

// fromServer reads the server's frames.
func (s *Stdio) fromServer(ctx context.Context) error {
	for ctx.Err() == nil {
		line, err := s.cfg.Link.Receive(s.cfg.MaxAnswer)
		switch {
		case errors.Is(err, ErrTooLong):
			s.log.ErrorContext(ctx, "a frame of the server was dropped: it is too long", "most", s.cfg.MaxAnswer)
			s.unreadable(ctx, line)
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading from the server: %w", err)
		case len(line) == 0:
			continue
		}
		f, err := ParseFrame(line, s.cfg.MaxAnswer)
		if err != nil {
			s.log.ErrorContext(ctx, "a frame of the server was refused", "why", err)
			s.unreadable(ctx, line)
			continue
		}
		switch {
		case f.Response():
			s.back(ctx, f)
		case f.Request():
			s.asks(ctx, f)
		default:
			if f.Method == "notifications/tools/list_changed" {
				s.gate.Stale()
			}
			if f = s.beside(f); f != nil {
				s.passBack(ctx, f)
			}
		}
	}
	return nil
}

// beside takes out of a notification what could carry something past a mask: nobody can tell which of the calls under way it is of.
func (s *Stdio) beside(f *Frame) *Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fl := range s.sent {
		if f != nil && fl.pa != nil {
			f = fl.pa.Beside(f)
		}
	}
	return f
}

// passBack passes a request or notification of the server on, without what only we say.
func (s *Stdio) passBack(ctx context.Context, f *Frame) {
	params, err := readObject(f.Params)
	if err != nil {
		return
	}
	ours := withoutOurs(&params)
	if ours {
		s.log.WarnContext(ctx, "what only the gateway says was taken out of what a server sent", "method", f.Method)
	}
	if s.subscribed(&params) || ours {
		f = &Frame{ID: f.ID, Method: f.Method, Params: params.json()}
	}
	_ = s.toClient(f)
}

// subscribed puts the client's id in place of the one by which the server knows a request for a subscription (2026-07-28,
// subscriptions). It reports whether there was one.
func (s *Stdio) subscribed(o *object) bool {
	meta, err := readObject(o.get("_meta"))
	if err != nil {
		return false
	}
	id := meta.get(metaSubscription)
	if id == nil || checkID(id) != nil {
		return false
	}
	s.mu.Lock()
	fl := s.sent[(&Frame{ID: id}).Key()]
	s.mu.Unlock()
	if fl == nil || fl.own != nil {
		return false
	}
	meta.set(metaSubscription, fl.id)
	o.set("_meta", meta.json())
	return true
}

// asks passes a request of the server on.
func (s *Stdio) asks(ctx context.Context, f *Frame) {
	s.mu.Lock()
	used := s.asked[f.Key()] || len(s.asked) >= maxFlights
	if !used {
		s.asked[f.Key()] = true
	}
	s.mu.Unlock()
	if used {
		s.log.WarnContext(ctx, "a request of the server was dropped: its id is in use, or too many are under way", "method", f.Method)
		return
	}
	s.passBack(ctx, f)
}

// back takes an answer of the server to the client.
func (s *Stdio) back(ctx context.Context, f *Frame) {
	s.mu.Lock()
	fl := s.sent[f.Key()]
	s.mu.Unlock()
	if fl != nil && fl.own == nil && f.Result != nil {
		if result, err := readObject(f.Result); err == nil && s.subscribed(&result) {
			f = &Frame{ID: f.ID, Result: result.json()}
		}
	}
	s.mu.Lock()
	if fl = s.sent[f.Key()]; fl != nil {
		s.landed(fl)
	}
	s.mu.Unlock()
	switch {
	case fl == nil:
		s.log.WarnContext(ctx, "an answer of the server was dropped: nobody has asked")
	case fl.own != nil:
		fl.own <- f
	default:
		go func() { // which may ask about a list, and must not hold up other answers
			defer s.end(fl)
			if fl.pa.Forward.Method == "initialize" {
				s.learnVersion(f)
			}
			s.toClient(fl.pa.Result(ctx, f))
		}()
	}
}

func (s *Stdio) learnVersion(f *Frame) {
	var w struct {
		Version string `json:"protocolVersion"`
	}
	if f.Result == nil || json.Unmarshal(f.Result, &w) != nil || len(w.Version) > 32 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = w.Version
}

// unreadable answers the request to which something that cannot be read seems to be the answer.
func (s *Stdio) unreadable(ctx context.Context, line []byte) {
	var w struct {
		ID     json.RawMessage `json:"id"`
		Method *string         `json:"method"`
	}
	if i := bytes.Index(line, []byte(`"id":`)); i >= 0 && json.Unmarshal(line, &w) != nil {
		rest := bytes.TrimLeft(line[i+len(`"id":`):], " ")
		_ = json.NewDecoder(bytes.NewReader(rest)).Decode(&w.ID) // cut off: the id may stand before
	}
	if w.ID == nil || w.Method != nil || checkID(w.ID) != nil {
		return
	}
	f := &Frame{ID: w.ID, Error: &Error{Code: codeInternal, Message: "The server's answer cannot be read, or is too long"}}
	s.mu.Lock()
	known := s.sent[f.Key()] != nil
	s.mu.Unlock()
	if known {
		s.back(ctx, f)
	}
}

// fetch asks the server something on our own behalf.
func (s *Stdio) fetch(ctx context.Context, _ *Peer, f *Frame) (*Frame, error) {
	fl := &flight{own: make(chan *Frame, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, authz.Errorf(authz.ErrUnavailable, "the server has ended")
	}
	s.send(fl)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.landed(fl)
	}()
	f = &Frame{ID: fl.as, Method: f.Method, Params: f.Params}
	if err := s.cfg.Link.Send(f.Append(nil)); err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "asking the server: %w", err)
	}
	select {
	case answer := <-fl.own:
		return answer, nil
	case <-ctx.Done():
		return nil, authz.Errorf(authz.ErrUnavailable, "waiting for the server: %w", ctx.Err())
	}
}

// toClient writes one frame.
func (s *Stdio) toClient(f *Frame) error {
	line := append(f.Append(nil), '\n')
	s.out.Lock()
	defer s.out.Unlock()
	_, err := s.cfg.Out.Write(line)
	return err
}

// readLine returns the next line without its end. Of one that is longer than max it returns ErrTooLong and the
// beginning, and passes over the rest. A last line without an end counts.
func readLine(r *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > max+1 {
			line = append(line, part[:min(len(part), 1024)]...)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			return line[:min(len(line), 1024)], ErrTooLong
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return bytes.TrimRight(line, "\r\n"), nil
		case err != nil:
			return nil, err
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}
