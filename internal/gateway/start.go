package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// startTime is how long the service may take to say whether it takes the token, when the gateway starts.
const startTime = 3 * time.Second

// Start finds out what would keep the gateway from serving, before anybody is told that it serves: the addresses of the document are
// taken, which Serve then serves (none over standard input), and the service is asked whether it takes the gateway's token. If it
// cannot be reached, that is logged, and the gateway goes on. Doors call Start before Run. Its errors are authz.ErrInvalid.
func (g *Gateway) Start(ctx context.Context) error {
	if !g.opts.Stdio {
		if err := g.bind(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err := g.ask(ctx)
	if refused := g.tokenRefused(err); refused != nil {
		g.bound.close()
		return refused
	}
	if errors.Is(err, authz.ErrUnavailable) {
		g.Logger.WarnContext(ctx, "the service does not answer: nothing is decided there until it does", "url", g.common.Service.URL, "err", clip(err.Error(), 200))
	}
	return nil // and Run asks again at once
}

// bound is what Serve serves on.
type bound struct {
	door, health net.Listener // health is nil if it has no address of its own
	cert         *certificateFile
}

func (b *bound) close() {
	for _, l := range []net.Listener{b.door, b.health} {
		if l != nil {
			l.Close()
		}
	}
	*b = bound{}
}

// bind takes the addresses of the document, unless that was done.
func (g *Gateway) bind(ctx context.Context) (err error) {
	c, b := g.common, &g.bound
	if b.door != nil {
		return nil
	}
	if c.Listen == "" {
		return authz.Errorf(authz.ErrInvalid, "%s names no address to listen on", c.file)
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if c.TLS.Cert != "" {
		if b.cert, err = newCertificateFile(g); err != nil {
			return err
		}
	}
	if b.door, err = listen(ctx, "", c.Listen); err != nil {
		return err
	}
	if c.Health.Listen != "" {
		if b.health, err = listen(ctx, "health.", c.Health.Listen); err != nil {
			return err
		}
	}
	if g.PublicURL() == "" {
		g.setPublic(c.scheme() + "://" + b.door.Addr().String())
	}
	return nil
}

// listen takes the address of the setting listen in a part of the document.
func listen(ctx context.Context, part, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, advise(authz.Errorf(authz.ErrInvalid, "listening (%slisten): %w", part, err),
			"another program listens there, perhaps this gateway already; name another port in the document: "+part+"listen")
	case err != nil:
		return nil, authz.Errorf(authz.ErrInvalid, "listening (%slisten): %w", part, err)
	}
	return l, nil
}

// askToken does what ask does, and takes note of the answer.
func (g *Gateway) askToken(ctx context.Context) error {
	err := g.ask(ctx)
	g.health.token(g, err)
	return err
}

// ask asks the service whether it takes the gateway's token. Nothing is recorded there. The error counts only if tokenRefused makes
// something of it, or if it is authz.ErrUnavailable.
func (g *Gateway) ask(ctx context.Context) error {
	var err error
	if g.point != nil { // of the role edge; there is no such version
		err = g.Client.Do(ctx, http.MethodGet, "/v1/edge/policies/0", nil, nil)
	} else { // a report that says nothing is no report
		err = g.Client.Do(ctx, http.MethodPost, "/v1/enforcement/reports", struct{}{}, nil)
	}
	if ctx.Err() != nil {
		err = authz.Errorf(authz.ErrUnavailable, "the service does not answer")
	}
	return err
}

// tokenRefused returns what is wrong with the gateway's token, if that is what the service's answer says; nil else.
func (g *Gateway) tokenRefused(err error) error {
	why := ""
	switch {
	case errors.Is(err, authz.ErrUnauthenticated):
		why = "it does not know it"
	case errors.Is(err, authz.ErrForbidden):
		why = "it is not of the role " + g.role()
	default:
		return nil
	}
	return advise(authz.Errorf(authz.ErrInvalid, "the service refuses the gateway's token in %s: %s", g.tokenPlace(), why), g.tokenHint())
}

// tokenPlace says where the token was read.
func (g *Gateway) tokenPlace() string {
	if g.common.Service.TokenFile != "" {
		return g.common.Path(g.common.Service.TokenFile)
	}
	return TokenVariable
}

// tokenHint says how to get a token that the service takes.
func (g *Gateway) tokenHint() string {
	hint := "make one with `safeconduct caller create NAME --role " + g.role() + " --why REASON`, and put what it prints into " + g.tokenPlace()
	if g.common.Service.TokenFile == "" {
		hint += ", or into a file that service.token_file names"
	}
	return hint
}

// role returns which role the service must know the gateway by.
func (g *Gateway) role() string {
	if g.common.Decide == decideLocal {
		return "edge"
	}
	return "pep"
}

// advise returns err with what to do about it, which a method Hint() string returns.
func advise(err error, hint string) error { return &advised{err, hint} }

type advised struct {
	error
	hint string
}

func (e *advised) Hint() string  { return e.hint }
func (e *advised) Unwrap() error { return e.error }
