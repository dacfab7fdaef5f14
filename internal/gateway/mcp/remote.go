package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A remote is a server that is reached by streamable HTTP.
type remote struct {
	url    string
	header http.Header
	http   *http.Client
	max    int

	ctx    context.Context
	cancel context.CancelFunc
	frames chan []byte
	wait   sync.WaitGroup
	slots  chan struct{}

	mu      sync.Mutex
	session string
	version string // since initialize
}

// Dial returns a Link to a server at an HTTP URL. The header goes with every request, and to that origin alone: no
// redirect is followed. Plain http is for this host only. authz.ErrInvalid: the URL cannot be used. Nothing is sent yet.
func Dial(rawURL string, header http.Header) (Link, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, authz.Errorf(authz.ErrInvalid, "%.200q is no URL of an MCP server", rawURL)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, authz.Errorf(authz.ErrInvalid, "%.200q is not https, and not on this host: what is sent there could be read on the way", rawURL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 10 * time.Minute
	r := &remote{url: u.String(), header: header, max: defaultMaxAnswer, frames: make(chan []byte, 64), slots: make(chan struct{}, maxFlights),
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return host == "localhost"
}

// Send posts one frame. What comes of it is received.
func (r *remote) Send(frame []byte) error {
	f, err := ParseFrame(frame, len(frame))
	if err != nil { // it is our own
		return err
	}
	if r.ctx.Err() != nil {
		return net.ErrClosed
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return errors.New("too many requests are under way")
	}
	r.wait.Go(func() {
		defer func() { <-r.slots }()
		if err := r.post(f, frame); err != nil && f.Request() {
			r.deliver((&Frame{ID: f.ID, Error: &Error{Code: codeClosed, Message: "The server cannot be reached: " + printable(err.Error(), 200)}}).Append(nil))
		}
	})
	return nil
}

func (r *remote) deliver(b []byte) {
	select {
	case r.frames <- b:
	case <-r.ctx.Done():
	}
}

func (r *remote) request(method string, body []byte, f *Frame) (*http.Request, error) {
	req, err := http.NewRequestWithContext(r.ctx, method, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	r.mu.Lock()
	session, version := r.session, r.version
	r.mu.Unlock()
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	if f != nil {
		params, _ := readObject(f.Params)
		meta, _ := readObject(params.get("_meta"))
		if v, ok := text(meta.get(metaVersion)); ok { // 2026-07-28: headers repeat what the body says
			version = v
			req.Header.Set("Mcp-Method", f.Method)
			for _, member := range []string{"name", "uri"} {
				if name, ok := text(params.get(member)); ok && checkName(name) == nil {
					req.Header.Set("Mcp-Name", name)
				}
			}
		}
	}
	if version != "" && checkName(version) == nil {
		req.Header.Set("Mcp-Protocol-Version", version)
	}
	return req, nil
}

// post sends a frame and delivers what comes back.
func (r *remote) post(f *Frame, frame []byte) error {
	req, err := r.request(http.MethodPost, frame, f)
	if err != nil {
		return err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	typ, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case (resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusNoContent) && f.Request():
		return errors.New("it accepts the request, and does not answer it")
	case resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusNoContent:
		return nil
	case resp.StatusCode == http.StatusOK && typ == "text/event-stream":
		return r.events(resp.Body, f, resp.Header)
	case typ != "application/json":
		return fmt.Errorf("it answers with status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(r.max)+1))
	if err != nil || len(body) > r.max {
		return errors.New("its answer is too long, or cut off")
	}
	answer, err := ParseFrame(body, r.max)
	if err != nil || !answer.Response() || answer.Key() != f.Key() {
		return fmt.Errorf("it answers with status %d, and not with the answer", resp.StatusCode)
	}
	r.greeted(f, answer, resp.Header)
	r.deliver(body)
	return nil
}

// greeted remembers what initialize agreed on, and begins to listen.
func (r *remote) greeted(f, answer *Frame, h http.Header) {
	if f.Method != "initialize" || answer.Result == nil {
		return
	}
	result, err := readObject(answer.Result)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.version, _ = text(result.get("protocolVersion"))
	if s := h.Get("Mcp-Session-Id"); s != "" && checkName(s) == nil {
		r.session = s
	}
	r.mu.Unlock()
	r.wait.Go(r.listen)
}

// listen receives what the server sends of itself (2025-11-25), if it does.
func (r *remote) listen() {
	req, err := r.request(http.MethodGet, nil, nil)
	if err != nil {
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := r.http.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if typ, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode == http.StatusOK && typ == "text/event-stream" {
		_ = r.events(resp.Body, nil, nil)
	}
}

// events delivers the frames of an event stream. One that was to bring an answer and does not is an error.
func (r *remote) events(body io.Reader, f *Frame, h http.Header) error {
	in := bufio.NewReaderSize(body, 64<<10)
	var data []byte
	answered := f == nil || !f.Request()
	for {
		line, err := readLine(in, r.max)
		switch {
		case errors.Is(err, ErrTooLong):
			return errors.New("its answer is too long")
		case err != nil && answered:
			return nil
		case err != nil:
			return errors.New("its answer was cut off")
		}
		if v, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if len(data)+len(v) > r.max {
				return errors.New("its answer is too long")
			}
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(v, []byte(" "))...)
			continue
		}
		if len(line) > 0 || len(data) == 0 { // another field, a comment, or an event without data
			continue
		}
		if got, err := ParseFrame(data, r.max); err != nil {
			if !answered {
				return errors.New("its answer cannot be read")
			}
		} else {
			if got.Response() && f != nil && got.Key() == f.Key() {
				answered = true
				r.greeted(f, got, h)
			}
			r.deliver(data)
		}
		data = nil
	}
}

// Receive returns the next frame.
func (r *remote) Receive(int) ([]byte, error) {
	select {
	case b := <-r.frames:
		return b, nil
	case <-r.ctx.Done():
		return nil, io.EOF
	}
}

// Close ends the session, if there is one, and everything under way.
func (r *remote) Close(ctx context.Context) error {
	r.mu.Lock()
	session := r.session
	r.mu.Unlock()
	if session != "" {
		if req, err := r.request(http.MethodDelete, nil, nil); err == nil {
			if resp, err := r.http.Do(req.WithContext(ctx)); err == nil {
				resp.Body.Close()
			}
		}
	}
	r.cancel()
	r.wait.Wait()
	return nil
}

// Header reads one header of a server, NAME=VALUE, in whose value secret:NAME stands for a secret.
func Header(h http.Header, line string, secret func(name string) (string, error)) error {
	name, value, ok := strings.Cut(line, "=")
	if !ok || name == "" {
		return authz.Errorf(authz.ErrInvalid, "%.64q is no header: NAME=VALUE", name)
	}
	scheme, ref, ok := strings.Cut(value, "secret:")
	if ok {
		v, err := secret(ref)
		if err != nil {
			return err
		}
		value = scheme + v
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return authz.Errorf(authz.ErrInvalid, "the header %.64q has characters that no header has", name)
	}
	h.Add(name, value)
	return nil
}
