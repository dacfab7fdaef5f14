package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// Guarded is an http.RoundTripper for programs of agents: it asks before each request goes out, also one that a
// redirect leads to, and sends it only with a Permit. A refusal is the *RefusedError that errors.AsType finds in the
// error of http.Client.
//
// What obligations are to change of a response is held, as Enforcer.Handler does; another response streams. The
// outcome is reported at the end of the response, or when its body is closed. An act that may only be
// tried is refused.
type Guarded struct {
	Enforcer *Enforcer
	// Question returns what is asked about a request. It must not change it, and reads a body by GetBody only.
	Question func(*http.Request) (Question, error)
	// Base sends what may be sent: http.DefaultTransport by default, or a Transport that shows a passport.
	Base http.RoundTripper
	// MaxMasked is how many bytes of a response are held to be changed, 1 MiB by default.
	MaxMasked int64
	// Unreported is told of outcomes that could not be reported; nil tells nobody.
	Unreported func(error)
}

// RoundTrip sends a request that may be sent.
func (g *Guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	p, err := g.Enforcer.permitRequest(req, g.Question, false)
	var ctx context.Context
	var cancel context.CancelFunc
	if err == nil {
		ctx, cancel, err = p.Begin(req.Context())
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	out := req.WithContext(ctx)
	if p.Whole() {
		out = req.Clone(ctx)
		if out.Header == nil {
			out.Header = http.Header{}
		}
		out.Header.Set("Accept-Encoding", "identity")
		out.Header.Del("Range")
	}
	base := g.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(out)
	if err != nil {
		g.done(ctx, p, Outcome{Fault: faultOf(err)})
		cancel()
		if p.Whole() {
			err = &WithheldError{err}
		}
		return nil, err
	}
	end := &guardedBody{ReadCloser: resp.Body, end: func(n int64, failed bool) {
		o := Outcome{Size: n, Fault: FaultOfStatus(resp.StatusCode)}
		if failed {
			o.Fault = FaultTool
		}
		g.done(ctx, p, o)
		cancel()
	}}
	if !p.Whole() {
		if resp.StatusCode == http.StatusSwitchingProtocols {
			end.finish(false) // the body is the connection, which is its user's
			return resp, nil
		}
		resp.Body = end
		return resp, nil
	}
	if err := g.hold(resp, end, p); err != nil {
		return nil, err
	}
	return resp, nil
}

// hold changes the body of a response to what may be seen of it.
func (g *Guarded) hold(resp *http.Response, body *guardedBody, p *Permit) error {
	most := g.MaxMasked
	if most <= 0 {
		most = maxMasked
	}
	text, err := io.ReadAll(io.LimitReader(body.ReadCloser, most+1))
	body.size = int64(len(text))
	defer body.finish(err != nil) // after what can be seen is known
	defer body.ReadCloser.Close()
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return p.withholdAll(errors.New("the connection goes on in another protocol"))
	case err != nil:
		return p.withholdAll(err)
	case int64(len(text)) > most:
		return p.withholdAll(errTooLong)
	}
	if text, err = shapeBody(p, resp.StatusCode, resp.Header, text); err != nil {
		return err
	}
	resp.Body, resp.ContentLength, resp.Trailer, resp.Uncompressed = io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil, false
	return nil
}

func (g *Guarded) done(ctx context.Context, p *Permit, o Outcome) {
	if err := p.Done(ctx, o); err != nil && g.Unreported != nil {
		g.Unreported(err)
	}
}

// A guardedBody tells its end once: when it was read, failed, or was closed.
type guardedBody struct {
	io.ReadCloser
	size int64
	once sync.Once
	end  func(size int64, failed bool)
}

func (b *guardedBody) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	b.size += int64(n)
	if err != nil {
		b.finish(!errors.Is(err, io.EOF))
	}
	return n, err
}

func (b *guardedBody) Close() error {
	err := b.ReadCloser.Close()
	b.finish(false)
	return err
}

func (b *guardedBody) finish(failed bool) { b.once.Do(func() { b.end(b.size, failed) }) }
