package client

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/safeconduct/safeconduct/authz"
)

// A Transport is an http.RoundTripper that shows a resource server the agent's token: each request
// carries it, and a DPoP proof for this one request (RFC 9449 section 7). It learns the server's nonces.
// Once a request it answers a demand for a nonce, and once the refusal of a token with a fresh one.
//
// The token goes to one origin and to no other: requests that lead elsewhere, also by a redirect, are
// refused. A body is not kept: a request is sent again only if it has none, or can give it again by
// GetBody, as http.NewRequest sets it for bytes and text; otherwise the server's 401 is the answer.
type Transport struct {
	// Base does the requests. Its default keeps connections to the one server open.
	Base http.RoundTripper

	tokens *Tokens
	origin string
	nonce  atomic.Pointer[string] // the newest of the resource server
}

// NewTransport returns a Transport for the origin, an https URL that is nothing but scheme and host
// (http only on loopback), with tokens of the source.
func NewTransport(origin string, tokens *Tokens) (*Transport, error) {
	u, err := url.Parse(origin)
	if err != nil || !safe(u) || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, authz.Errorf(authz.ErrInvalid, "%.200q is no origin: an https URL of scheme and host (http only on loopback)", origin)
	}
	return &Transport{Base: newHTTP().Transport, tokens: tokens, origin: originOf(u)}, nil
}

// originOf returns scheme, host and port, written in one way.
func originOf(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" || port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		port = ""
	} else {
		port = ":" + port
	}
	return u.Scheme + "://" + host + port
}

// isOrigin reports whether u leads to the origin. Mostly it is written in the one way already.
func (t *Transport) isOrigin(u *url.URL) bool {
	if n := len(u.Scheme); len(t.origin) == n+3+len(u.Host) && t.origin[:n] == u.Scheme && t.origin[n+3:] == u.Host {
		return true
	}
	return originOf(u) == t.origin
}

// RoundTrip sends the request with the token.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if !t.isOrigin(req.URL) || req.URL.User != nil {
		closeBody(req)
		return nil, authz.Errorf(authz.ErrForbidden, "a request to %s is refused: the token is for %s", originOf(req.URL), t.origin)
	}
	token, err := t.tokens.Token(ctx)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	target := *req.URL
	target.RawQuery, target.ForceQuery, target.Fragment, target.RawFragment = "", false, "", ""
	htu := target.String()

	body := req.Body
	for nonced, renewed := false, false; ; {
		sent := ""
		if n := t.nonce.Load(); n != nil {
			sent = *n
		}
		proof, err := token.proof(req.Method, htu, sent)
		if err != nil {
			if body != nil {
				body.Close()
			}
			return nil, err
		}
		r := req.WithContext(ctx) // a copy: a RoundTripper does not change the request it is given
		r.Body = body
		r.Header = req.Header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header["Authorization"] = []string{token.Type + " " + token.Value}
		r.Header["Dpop"] = []string{proof}
		resp, err := t.Base.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		remember(&t.nonce, resp.Header)
		if resp.StatusCode != http.StatusUnauthorized || !again(req) {
			return resp, nil
		}
		switch challenge(resp.Header) {
		case CodeUseNonce:
			if n := t.nonce.Load(); nonced || n == nil || *n == sent {
				return resp, nil
			}
			nonced = true
		case CodeInvalidToken, "":
			if renewed {
				return resp, nil
			}
			fresh, err := t.tokens.Renew(ctx, token)
			if err != nil || fresh == token {
				return resp, nil // what the server said counts
			}
			token, renewed = fresh, true
		default:
			return resp, nil
		}
		if body, err = bodyAgain(req); err != nil {
			return resp, nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		resp.Body.Close()
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// again reports whether the request can be sent again.
func again(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

func bodyAgain(req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("the body cannot be had again")
	}
	return req.GetBody()
}

// challenge returns the error of the first challenge of the scheme DPoP (RFC 9449 section 7.1, RFC 9110
// section 11.6.1), "" if it names none, and "none" if there is no such challenge.
func challenge(h http.Header) string {
	for _, line := range h.Values("WWW-Authenticate") {
		if code, ok := challengeError(line); ok {
			return code
		}
	}
	return "none"
}

// challengeError reads one header line. Schemes and parameters follow each other in it, with commas
// between all of them: a name that = follows is a parameter, another one begins a challenge.
func challengeError(line string) (code string, ok bool) {
	in := false // the challenge of DPoP
	for line != "" {
		line = strings.TrimLeft(line, " \t,")
		n := strings.IndexFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == '=' || c == '"' })
		if n < 0 {
			n = len(line)
		}
		name, rest := line[:n], strings.TrimLeft(line[n:], " \t")
		if name == "" && !strings.HasPrefix(rest, "=") {
			if rest == "" {
				break
			}
			line = rest[1:] // a stray quote
			continue
		}
		value, isParam := strings.CutPrefix(rest, "=")
		if !isParam {
			if in {
				return "", true // the next challenge begins: ours has no error
			}
			in, line = strings.EqualFold(name, "DPoP"), rest
			continue
		}
		value, line = paramValue(strings.TrimLeft(value, " \t"))
		if in && strings.EqualFold(name, "error") {
			return value, true
		}
	}
	return "", in
}

// paramValue returns the token or quoted string at the beginning of s, and what follows.
func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		n := strings.IndexAny(s, " \t,")
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}
