package streamable

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A reply is what goes back for one POST: one JSON text or, once anything goes before the answer, a stream of events.
type reply struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	modern bool
	patience,
	beat time.Duration

	mu     sync.Mutex
	stream bool   // the header of a stream of events was sent
	part   bool   // the answer comes in pieces
	sent   bool   // some of it was sent
	first  []byte // what of it was not sent yet
	done   bool
	pulse  *time.Timer
	failed error
}

var errAnswered = errors.New("the request was answered already")

func newReply(w http.ResponseWriter, modern bool, cfg *Config) *reply {
	return &reply{w: w, rc: http.NewResponseController(w), modern: modern, patience: cfg.WriteTime, beat: cfg.Beat}
}

// open makes the answer a stream of events.
func (r *reply) open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened()
}

func (r *reply) opened() error {
	if r.done {
		return errAnswered
	}
	if r.stream {
		return r.failed
	}
	r.stream = true
	h := r.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	r.wait()
	r.w.WriteHeader(http.StatusOK)
	r.pulse = time.AfterFunc(r.beat, r.keepAlive)
	return r.fail(r.rc.Flush())
}

// keepAlive sends a comment, so that nobody between takes the silence for the end.
func (r *reply) keepAlive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done || r.failed != nil {
		return
	}
	if !r.part {
		r.wait()
		_, err := r.w.Write([]byte(":\n\n"))
		if err == nil {
			err = r.rc.Flush()
		}
		if r.fail(err) != nil {
			return
		}
	}
	r.pulse.Reset(r.beat)
}

func (r *reply) wait() {
	if r.patience > 0 {
		_ = r.rc.SetWriteDeadline(time.Now().Add(r.patience))
	}
}

func (r *reply) fail(err error) error {
	if r.failed == nil {
		r.failed = err
	}
	return r.failed
}

// notify sends a message before the answer. What comes while the answer is on its way is dropped.
func (r *reply) notify(f *mcp.Frame) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.part {
		return nil
	}
	if err := r.opened(); err != nil {
		return err
	}
	r.wait()
	return r.fail(r.event(f))
}

func (r *reply) event(f *mcp.Frame) error {
	b := f.Append([]byte("event: message\ndata: "))
	if _, err := r.w.Write(append(b, "\n\n"...)); err != nil {
		return err
	}
	return r.rc.Flush()
}

// begin says that the answer is sent in pieces, by Write, until end.
func (r *reply) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done || r.part {
		return errAnswered
	}
	r.part = true
	if r.stream {
		r.first = append(r.first, "event: message\ndata: "...)
	}
	return nil
}

// firstPiece is how much of an answer is kept before any of it is sent: most answers are sent at once, or not at all if
// something is wrong with them.
const firstPiece = 16 << 10

// Write sends a piece of the answer.
func (r *reply) Write(b []byte) (int, error) {
	if !r.sent && len(r.first)+len(b) <= firstPiece {
		r.first = append(r.first, b...)
		return len(b), nil
	}
	r.wait()
	if !r.sent {
		r.sent = true
		if !r.stream {
			r.w.Header().Set("Content-Type", "application/json")
		}
		if _, err := r.w.Write(r.first); err != nil {
			return 0, err
		}
		r.first = nil
	}
	return r.w.Write(b)
}

// retract takes back what was begun. False: some of it was sent.
func (r *reply) retract() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent || r.done {
		return false
	}
	r.part, r.first = false, nil
	return true
}

// end says that the answer was sent.
func (r *reply) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	if r.stream {
		r.first = append(r.first, "\n\n"...)
	}
	if !r.sent {
		r.wait()
		if !r.stream {
			r.w.Header().Set("Content-Type", "application/json")
			r.w.Header().Set("Content-Length", strconv.Itoa(len(r.first)))
		}
	}
	if len(r.first) > 0 {
		if _, err := r.w.Write(r.first); err != nil {
			return err
		}
	}
	if !r.stream {
		return nil
	}
	return r.rc.Flush()
}

// close says that nothing more will be sent.
func (r *reply) close() {
	r.done = true
	if r.pulse != nil {
		r.pulse.Stop()
	}
}

// stop ends the reply if nothing ended it. No goroutine uses it afterwards.
func (r *reply) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
}

// answer sends the whole answer.
func (r *reply) answer(f *mcp.Frame) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done || r.part {
		return errAnswered
	}
	defer r.close()
	r.wait()
	if r.stream {
		return r.event(f)
	}
	r.w.Header().Set("Content-Type", "application/json")
	b := f.Append(nil)
	r.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	r.w.WriteHeader(r.status(f))
	_, err := r.w.Write(b)
	return err
}

// status is that of an answer (2026-07-28, Streamable HTTP: protocol version header, server validation).
func (r *reply) status(f *mcp.Frame) int {
	if f.Error == nil || !r.modern {
		return http.StatusOK
	}
	switch f.Error.Code {
	case codeMethod:
		return http.StatusNotFound
	case codeParse, codeRequest, codeHeader, codeCapability, codeVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// Codes of errors: JSON-RPC 2.0 section 5.1; MCP 2026-07-28, error codes.
const (
	codeParse      = -32700
	codeRequest    = -32600
	codeMethod     = -32601
	codeParams     = -32602
	codeInternal   = -32603
	codeHeader     = -32020
	codeCapability = -32021
	codeVersion    = -32022
)

func errorFrame(id json.RawMessage, code int, message string) *mcp.Frame {
	if id == nil {
		id = json.RawMessage("null")
	}
	return &mcp.Frame{ID: id, Error: &mcp.Error{Code: code, Message: message}}
}

// refuse answers a POST that is no request, or was none that could be read, with a status and an error without an id.
func refuse(w http.ResponseWriter, status, code int, message string) {
	b := errorFrame(nil, code, message).Append(nil)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
