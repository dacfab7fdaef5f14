package streamable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// An upstream is a server behind the gateway.
type upstream struct {
	Upstream
	url  *url.URL // nil of a child
	http http.RoundTripper

	answers atomic.Int64 // to requests of the server's own, under way

	mu      sync.Mutex
	facts   [2]*facts // by the client's era: legacy, modern
	failed  error     // nil if it last answered
	since   time.Time
	tarried time.Time // when it last took too long for a list
	listed  *listed   // nil if nothing is remembered
	turn    int       // counts how often it said that its tools have changed
}

// facts are what a server says of itself.
type facts struct {
	modern       bool // it is spoken to by 2026-07-28
	version      string
	capabilities json.RawMessage
	info         json.RawMessage
	instructions string
	at           time.Time
	by           string // Who.Key of whoever was told so
}

// A fault is why a server did not answer. Its text may be shown to the client.
type fault struct {
	text  string
	cause error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.cause }

var (
	errOtherEra = errors.New("the server speaks other revisions of the protocol")
	errLost     = errors.New("the server has forgotten the session")
)

const (
	factsKept = 5 * time.Minute
	downKept  = 2 * time.Second
	maxError  = 64 << 10
)

func era(modern bool) int {
	if modern {
		return 1
	}
	return 0
}

// known returns what is known of a server, nil if nothing is.
func (u *upstream) known(modern bool, now time.Time) *facts {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.facts[era(modern)]
	if f == nil || now.Sub(f.at) > factsKept {
		return nil
	}
	return f
}

func (u *upstream) learn(modern bool, f *facts) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.facts[era(modern)] = f
}

// forget is called when a server turns out to be another than was known.
func (u *upstream) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.facts = [2]*facts{}
}

// state notes whether the server answers, and reports whether that is news.
func (u *upstream) state(err error, now time.Time) (news bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	news = (u.failed == nil) != (err == nil) || u.since.IsZero() && err != nil
	if news || u.since.IsZero() {
		u.since = now
	}
	u.failed = err
	return news
}

// down returns the error with which the server just failed, nil if it is worth asking it.
func (u *upstream) down(now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed == nil || now.Sub(u.since) >= downKept {
		return nil
	}
	if f := (*fault)(nil); errors.As(u.failed, &f) {
		return u.failed
	}
	return &fault{fmt.Sprintf("server %q does not answer", u.Name), u.failed}
}

// tarry notes that the server took too long for a list.
func (u *upstream) tarry(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tarried = now
}

// late returns an error if the server has just taken too long for a list.
func (u *upstream) late(now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.tarried.IsZero() && now.Sub(u.tarried) < lateKept {
		return &fault{fmt.Sprintf("server %q takes too long to list what it has", u.Name), context.DeadlineExceeded}
	}
	return nil
}

// last returns what the server listed last, nil if it is not known, and the turn for list.
func (u *upstream) last() (*listed, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.listed, u.turn
}

// list remembers what the server listed, unless it has said since that its tools have changed.
func (u *upstream) list(l *listed, turn int) {
	size := 0
	for _, item := range l.items {
		size += len(item)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.turn == turn {
		u.listed = nil
		if size <= maxListed {
			u.listed = l
		}
	}
}

// changed forgets what the server listed.
func (u *upstream) changed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.listed = nil
	u.turn++
}

// send sends an HTTP request to a server, with the gateway's credential in the place of what the agent showed.
// The error is a *fault.
func (d *Door) send(ctx context.Context, u *upstream, who *gateway.Who, method string, h http.Header, body []byte) (*http.Response, error) {
	for again := true; ; again = false {
		r := &http.Request{Method: method, URL: u.url, Host: u.url.Host, Header: h.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = int64(len(body))
			r.GetBody = func() (io.ReadCloser, error) { return newBody(body), nil }
			r.Body = newBody(body)
		}
		r.Header.Set("User-Agent", "safeconduct-gateway")
		r = r.WithContext(ctx)
		if err := d.cfg.Apply(ctx, u.Credential, who, r); err != nil {
			if errors.Is(err, authz.ErrForbidden) {
				return nil, &fault{fmt.Sprintf("no credential for server %q: its issuer refused", u.Name), err}
			}
			return nil, &fault{fmt.Sprintf("no credential for server %q can be had now", u.Name), err}
		}
		resp, err := u.http.RoundTrip(r)
		if err != nil {
			if ctx.Err() != nil {
				return nil, &fault{"the request was cancelled", context.Cause(ctx)}
			}
			d.failed(ctx, u, err)
			return nil, &fault{fmt.Sprintf("server %q cannot be reached", u.Name), err}
		}
		if resp.StatusCode == http.StatusUnauthorized && again && d.cfg.Refused != nil && d.cfg.Refused(u.Credential, who, resp) {
			drain(resp.Body)
			continue
		}
		if resp.StatusCode < 500 {
			d.failed(ctx, u, nil)
		}
		return resp, nil
	}
}

// failed notes and logs whether a server answers.
func (d *Door) failed(ctx context.Context, u *upstream, err error) {
	if !u.state(err, d.cfg.Now()) {
		return
	}
	if err != nil {
		d.cfg.Logger.WarnContext(ctx, "a server behind the gateway does not answer", "server", u.Name, "error", err)
		return
	}
	d.cfg.Logger.InfoContext(ctx, "a server behind the gateway answers again", "server", u.Name)
}

// unexpected returns what an answer other than 2xx means: the error that the server put into it, or a fault. It closes the body.
func (d *Door) unexpected(u *upstream, resp *http.Response) (*mcp.Frame, error) {
	defer drain(resp.Body)
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err == nil && len(b) > 0 && b[0] == '{' {
		if f, err := mcp.ParseFrame(b, maxError); err == nil && f.Error != nil {
			return f, nil
		}
	}
	switch c := resp.StatusCode; {
	case c == http.StatusUnauthorized || c == http.StatusForbidden:
		return nil, &fault{fmt.Sprintf("server %q refused the gateway's credential", u.Name), fmt.Errorf("status %d", c)}
	case c == http.StatusNotFound:
		return nil, &fault{fmt.Sprintf("server %q answered with status %d", u.Name, c), errLost}
	case c >= 300 && c < 400:
		return nil, &fault{fmt.Sprintf("server %q redirects, which is not followed", u.Name), fmt.Errorf("status %d", c)}
	case c >= 500 || c == http.StatusTooManyRequests:
		return nil, &fault{fmt.Sprintf("server %q answered with status %d", u.Name, c), fmt.Errorf("status %d", c)}
	default:
		return nil, &fault{fmt.Sprintf("server %q answered with status %d", u.Name, c), errOtherEra}
	}
}

// drain reads a little of what is left, so that the connection can be used again, and closes it.
func drain(b io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, b, 16<<10)
	_ = b.Close()
}

// probe asks a server whether it speaks 2026-07-28.
func (d *Door) probe(ctx context.Context, u *upstream, who *gateway.Who) (*facts, error) {
	f := &mcp.Frame{ID: json.RawMessage("1"), Method: "server/discover", Params: d.modernParams(nil)}
	in, stop := context.WithTimeout(ctx, d.cfg.HelloTime)
	defer stop()
	got, err := d.whole(in, &modernLeg{d: d, u: u}, &call{who: who, frame: f, method: f.Method})
	if err != nil {
		if in.Err() != nil && ctx.Err() == nil {
			err = &fault{fmt.Sprintf("server %q does not introduce itself", u.Name), err}
		}
		return nil, err
	}
	if got.Error != nil {
		return nil, &fault{fmt.Sprintf("server %q does not speak %s", u.Name, v2026), errOtherEra}
	}
	return discovered(u, got, d.cfg.Now())
}

// discovered reads the answer to server/discover.
func discovered(u *upstream, got *mcp.Frame, now time.Time) (*facts, error) {
	out := &facts{modern: true, version: v2026, at: now}
	ok := false
	each(got.Result, func(name string, v json.RawMessage) {
		switch name {
		case "supportedVersions":
			var versions []string
			if json.Unmarshal(v, &versions) == nil {
				for _, s := range versions {
					ok = ok || s == v2026
				}
			}
		case "capabilities":
			out.capabilities = v
		case "instructions":
			out.instructions = unquote(v)
		case "_meta":
			each(v, func(name string, v json.RawMessage) {
				if name == metaServer {
					out.info = v
				}
			})
		}
	})
	if !ok {
		return nil, &fault{fmt.Sprintf("server %q does not speak %s", u.Name, v2026), errOtherEra}
	}
	return out, nil
}

// modernParams returns params with the _meta of a request of the gateway's own: no capabilities of a client.
func (d *Door) modernParams(params json.RawMessage) json.RawMessage {
	var meta json.RawMessage
	each(params, func(name string, v json.RawMessage) {
		if name == "_meta" {
			meta = v
		}
	})
	meta = set(meta, metaVersion, quote(v2026))
	meta = set(meta, metaCaps, json.RawMessage("{}"))
	meta = set(meta, metaInfo, d.info)
	return set(params, "_meta", meta)
}

// legacyParams returns params without what 2026-07-28 puts into _meta.
func legacyParams(params json.RawMessage) json.RawMessage {
	return edit(params, func(meta json.RawMessage) json.RawMessage {
		out := []byte{'{'}
		each(meta, func(name string, v json.RawMessage) {
			switch name {
			case metaVersion, metaCaps, metaInfo, "io.modelcontextprotocol/logLevel":
				return
			}
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(append(append(out, quote(name)...), ':'), v...)
		})
		return append(out, '}')
	}, "_meta")
}
