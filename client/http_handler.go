package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// HandlerOptions are what Enforcer.Handler can be told. The zero value is of use.
type HandlerOptions struct {
	// Realm is how the handler names itself in challenges.
	Realm Realm
	// Try answers as the handler would, and has no effect. If it is nil requests cannot be tried, and the obligation
	// dry-run refuses them.
	Try http.Handler
	// MaxMasked is how many bytes of a response are held to be changed by obligations, 1 MiB by default. What is
	// longer is withheld.
	MaxMasked int64
	// Refuse answers in place of the problem that tells of a refusal; it is called with err and how it would be told.
	Refuse func(w http.ResponseWriter, r *http.Request, err error, told *HTTPRefusal)
	// Logger is told what went wrong inside, and of outcomes that could not be reported; nil tells nobody.
	Logger *slog.Logger
}

const maxMasked = 1 << 20

// Handler returns a handler that asks before next runs, by the question that a request is, and lets next run only
// with a Permit. A refusal is told by an HTTPRefusal. What obligations are to change of the response is JSON of at
// most MaxMasked bytes: it is held until next has returned, and withheld if it cannot be changed. Any other response goes
// out as next writes it; http.ResponseController works on it. The outcome that is reported is what the
// status says.
//
// Errors of question are told by their kind: authz.ErrUnauthenticated is 401, authz.ErrInvalid 400, with their texts.
// A panic in it is 500. Proofs that a Door reads in it, with the request that it was given, are given back unless the passport
// was found good (HoldProofs). The context of next ends when the approval does on which the permission stands.
func (e *Enforcer) Handler(next http.Handler, question func(*http.Request) (Question, error), o HandlerOptions) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := e.permitRequest(r, question, o.Try != nil)
		var ctx context.Context
		var cancel context.CancelFunc
		if err == nil {
			ctx, cancel, err = p.Begin(r.Context())
		}
		if err != nil {
			o.refuse(w, r, err)
			return
		}
		defer cancel()
		do := next
		if p.Tried() {
			do = o.Try
		}
		if !p.Whole() {
			watched := &watchedWriter{ResponseWriter: w}
			serve(watched, r.WithContext(ctx), do, func(status int, finished bool) { o.done(r, p, status, watched.size, finished) })
			return
		}
		held := &heldWriter{header: http.Header{}, most: o.MaxMasked}
		if held.most <= 0 {
			held.most = maxMasked
		}
		inner := r.Clone(ctx)
		inner.Header.Set("Accept-Encoding", "identity") // what is compressed cannot be changed, nor a part of a whole
		for _, name := range []string{"Range", "If-Range", "Upgrade"} {
			inner.Header.Del(name)
		}
		serve(held, inner, do, func(status int, finished bool) {
			if finished {
				if err := held.release(w, p); err != nil {
					o.refuse(w, r, err)
				}
			}
			o.done(r, p, status, held.size, finished)
		})
	})
}

// permitRequest asks about a request.
func (e *Enforcer) permitRequest(r *http.Request, question func(*http.Request) (Question, error), canTry bool) (*Permit, error) {
	ctx, settle := HoldProofs(r.Context())
	q, err := ask(r.WithContext(ctx), question)
	var p *Permit
	if err == nil {
		p, err = e.Permit(r.Context(), q, canTry)
	}
	settle(err)
	return p, err
}

// ask returns the question that a request is.
func ask(r *http.Request, question func(*http.Request) (Question, error)) (q Question, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("asking panicked: %.200v", v)
		}
	}()
	if question == nil {
		return q, errors.New("nobody says what is to be asked")
	}
	return question(r)
}

// refuse tells of err.
func (o *HandlerOptions) refuse(w http.ResponseWriter, r *http.Request, err error) {
	told := RefuseHTTP(err, o.Realm)
	if o.Logger != nil && told.Status >= 500 {
		o.Logger.WarnContext(r.Context(), "request not let through", "method", r.Method, "status", told.Status, "err", err)
	}
	if o.Refuse != nil {
		o.Refuse(w, r, err, told)
		return
	}
	told.WriteTo(w)
}

// done reports what came of a request.
func (o *HandlerOptions) done(r *http.Request, p *Permit, status int, size int64, finished bool) {
	out := Outcome{Size: size, Fault: FaultOfStatus(status)}
	if !finished {
		out.Fault = FaultTool
	}
	if err := p.Done(r.Context(), out); err != nil && o.Logger != nil {
		o.Logger.WarnContext(r.Context(), "outcome not reported", "decisions", p.Decisions(), "err", err)
	}
}

// FaultOfStatus returns the Fault of an Outcome that an HTTP status stands for, "" of one that stands for none.
func FaultOfStatus(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return FaultSchema
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return FaultTimeout
	}
	if status >= 500 {
		return FaultTool
	}
	return ""
}

// serve runs h and tells after the status and whether it came to its end, also if it panics, which goes on.
func serve(w interface {
	http.ResponseWriter
	code() int
}, r *http.Request, h http.Handler, after func(status int, finished bool)) {
	finished := false
	defer func() { after(w.code(), finished) }()
	h.ServeHTTP(w, r)
	finished = true
}

// A watchedWriter passes everything on, and knows the status and the size.
type watchedWriter struct {
	http.ResponseWriter
	status int
	size   int64
}

func (w *watchedWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.size += int64(n)
	return n, err
}

// ReadFrom lets the server copy in its own way.
func (w *watchedWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.size += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is for those who know no http.ResponseController.
func (w *watchedWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *watchedWriter) code() int { return w.status }

// A heldWriter holds a response.
type heldWriter struct {
	header http.Header
	sent   http.Header // as it was when the response began; what was set later would be trailers
	status int
	body   bytes.Buffer
	most   int64
	size   int64 // of what was written, also if it was too much
}

func (w *heldWriter) Header() http.Header { return w.header }

func (w *heldWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

var errTooLong = errors.New("the result is too long to be changed")

func (w *heldWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.size += int64(len(b))
	if w.size > w.most {
		return 0, errTooLong
	}
	return w.body.Write(b)
}

func (w *heldWriter) code() int { return w.status }

// release shows the response as it may be seen, or returns why it may not.
func (w *heldWriter) release(to http.ResponseWriter, p *Permit) error {
	if w.size > w.most {
		return p.withholdAll(errTooLong)
	}
	w.WriteHeader(http.StatusOK)
	dropTrailers(w.sent)
	body, err := shapeBody(p, w.status, w.sent, w.body.Bytes())
	if err != nil {
		return err
	}
	for name, values := range w.sent {
		to.Header()[name] = values
	}
	if len(body) > 0 {
		to.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	to.WriteHeader(w.status)
	_, _ = to.Write(body) // whoever asked may have gone
	return nil
}

// dropTrailers takes trailers out of a header: they tell of the body as it was, and nothing changes them.
func dropTrailers(h http.Header) {
	for _, declared := range h["Trailer"] {
		for name := range strings.SplitSeq(declared, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
}

// shapeBody returns the body of a response as it may be seen, and takes out of its header what tells of the body as it was.
func shapeBody(p *Permit, status int, h http.Header, body []byte) ([]byte, error) {
	for _, name := range []string{"Content-Length", "Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges", "Trailer"} {
		h.Del(name)
	}
	if len(body) == 0 {
		return nil, nil
	}
	typ, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case status == http.StatusPartialContent:
		return nil, p.withholdAll(errors.New("the result is a part, and only the whole can be changed"))
	case h.Get("Content-Encoding") != "" && !strings.EqualFold(h.Get("Content-Encoding"), "identity"):
		return nil, p.withholdAll(errors.New("the result is compressed, and cannot be changed"))
	case h.Get("Content-Type") == "":
		h.Set("Content-Type", "application/json")
	case err != nil || typ != "application/json" && !strings.HasSuffix(typ, "+json"):
		return nil, p.withholdAll(fmt.Errorf("the result is %.64q and no JSON, and cannot be changed", typ))
	}
	return p.Shape(body)
}

// withholdAll notes that no obligation about the result is met.
func (p *Permit) withholdAll(cause error) error {
	if !p.holds() {
		return &WithheldError{errNoPermit}
	}
	p.withhold(0)
	return &WithheldError{cause}
}

// ErrNoToken is that a request presents no token. It is authz.ErrUnauthenticated.
var ErrNoToken = authz.Errorf(authz.ErrUnauthenticated, "the request presents no token")
