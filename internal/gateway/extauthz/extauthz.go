// Package extauthz answers Envoy's external authorization filter (envoy.service.auth.v3, gRPC): Envoy asks before it
// passes a request on, and the routes of package route say which act the request is.
//
// It judges what Envoy says it saw, and believes it: whoever reaches this service decides what was seen. What Envoy
// has cut off, a body that is larger than its buffer, is refused, and so is a request that could be read in two ways.
//
// It sees no response. An obligation that would change one is one that nobody here can meet, and refuses; what came
// of an act is not known here and not reported.
package extauthz

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// Headers of what passes.
const (
	DecisionHeader = "safeconduct-decision" // of the request that is passed on, and of the response: the id of the decision
	TriedHeader    = "safeconduct-tried"    // of the response: ?1 if the act was tried and not done
	ApprovalHeader = "safeconduct-approval" // of the request that an agent sends: the id of an approval that was given before
)

// A Gate says who comes, and with which credential requests are passed on. Of returns that of a gateway.
type Gate interface {
	// Verify returns who sent r. A *gateway.Challenge is the answer to who did not say so.
	Verify(r *http.Request) (*gateway.Who, error)
	// Ask returns the question whether w may do all of reqs.
	Ask(w *gateway.Who, reqs ...authz.Request) client.Question
	// Apply puts the named credential into r; see gateway.Credentials.
	Apply(ctx context.Context, name string, w *gateway.Who, r *http.Request) error
	// Unavailable reports whether an act of the route may happen although no decision could be had.
	Unavailable(route string, err error) (allow bool)
}

// Config is what a Server needs.
type Config struct {
	Gate     Gate
	Enforcer *client.Enforcer // see Handlers
	Table    *route.Table
	Logger   *slog.Logger // slog.Default() by default
	Realm    client.Realm // of challenges
}

// Handlers returns those of h that can be met here: none that changes a result.
func Handlers(h client.Handlers) client.Handlers {
	out := client.Handlers{}
	for name, f := range h {
		if name != "mask" {
			out[name] = f
		}
	}
	return out
}

// A Server answers Envoy.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	cfg Config
	log *slog.Logger
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Server{cfg: cfg, log: cfg.Logger}
}

// A check is one request of Envoy's on its way.
type check struct {
	s       *Server
	http    *authv3.AttributeContext_HttpRequest
	r       *http.Request
	header  http.Header // of r, as it is decided about and passed on
	host    string      // without port
	path    string      // as it was sent
	query   string
	body    []byte
	follows bool // a body follows that Envoy does not send, or may
	match   *route.Match
	who     *gateway.Who
}

// Check answers one request. It never fails: an error would leave it to Envoy's failure_mode_allow.
func (s *Server) Check(ctx context.Context, in *authv3.CheckRequest) (out *authv3.CheckResponse, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.ErrorContext(ctx, "panic, refused", "panic", fmt.Sprintf("%.200v", v), "stack", string(debug.Stack()))
			out, err = deny(problem(http.StatusInternalServerError, client.CodeInternal, "It could not be judged.")), nil
		}
	}()
	c := &check{s: s, http: in.GetAttributes().GetRequest().GetHttp()}
	if c.http == nil {
		return deny(problem(http.StatusBadRequest, authz.CodeInvalid, "This is no HTTP request.")), nil
	}
	if refusal := c.read(ctx, in.GetAttributes()); refusal != nil {
		return deny(refusal), nil
	}
	return c.decide(ctx), nil
}

// problem returns a refusal that is none of a decision.
func problem(code int, name, detail string) *client.HTTPRefusal {
	text := `{"type":"about:blank","title":` + strconv.Quote(http.StatusText(code)) + `,"status":` + strconv.Itoa(code) +
		`,"detail":` + strconv.Quote(detail) + `,"code":` + strconv.Quote(name) + "}\n"
	return &client.HTTPRefusal{Status: code, Body: []byte(text), Header: http.Header{
		"Cache-Control": {"no-store"}, "Content-Type": {"application/problem+json"},
	}}
}

// read makes of what Envoy says a request, with its route and who sent it.
func (c *check) read(ctx context.Context, a *authv3.AttributeContext) *client.HTTPRefusal {
	h := c.http
	target, query, _ := strings.Cut(h.GetPath(), "?")
	header, ok := headerOf(h)
	if !ok {
		return problem(http.StatusBadRequest, authz.CodeInvalid, "The header has a field that no header has.")
	}
	if err := route.Check(h.GetMethod(), h.GetHost(), target, query, header); err != nil {
		c.s.log.InfoContext(ctx, "request refused", "why", err.Error())
		return problem(http.StatusBadRequest, authz.CodeInvalid, err.Error())
	}
	c.path, c.query, c.header = target, query, route.Forwarded(header)
	u := &url.URL{Scheme: h.GetScheme(), Host: h.GetHost(), RawQuery: query}
	var err error
	if u.Path, err = url.PathUnescape(target); err != nil {
		return problem(http.StatusBadRequest, authz.CodeInvalid, "The path can be read in more than one way.")
	}
	u.RawPath = target
	c.r = (&http.Request{Method: h.GetMethod(), URL: u, Host: h.GetHost(), Header: header, Proto: h.GetProtocol(), RemoteAddr: remote(a.GetSource()), RequestURI: h.GetPath()}).WithContext(ctx)
	if cert := certificate(a.GetSource().GetCertificate()); cert != nil {
		c.r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{cert}}
	}
	if c.host, err = route.HostName(h.GetHost()); err != nil {
		return problem(http.StatusBadRequest, authz.CodeInvalid, err.Error())
	}
	if c.match, ok = c.s.cfg.Table.Match(h.GetMethod(), c.host, target); !ok {
		c.s.log.WarnContext(ctx, "no route", "method", h.GetMethod(), "host", c.host, "path", target)
		return problem(http.StatusForbidden, "no_route", "Nothing is declared about requests like this one, so it is refused.")
	}
	if up := header["Upgrade"]; len(up) > 0 && (len(up) > 1 || !strings.EqualFold(up[0], "websocket") || !c.match.Route.WebSocket) {
		return problem(http.StatusForbidden, "no_websocket", "The route opens no WebSocket, and nothing else that takes a connection over.")
	}
	c.body = h.GetRawBody()
	if c.body == nil {
		c.body = []byte(h.GetBody())
	}
	return c.whole(ctx, header)
}

// whole refuses a body that has not come whole, if the route needs it.
func (c *check) whole(ctx context.Context, header http.Header) *client.HTTPRefusal {
	h, r := c.http, c.match.Route
	if r.MaxBody > 0 && int64(len(c.body)) > r.MaxBody {
		return problem(http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than it may be.")
	}
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil && r.MaxBody > 0 && n > r.MaxBody {
		return problem(http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than it may be.")
	}
	// Envoy says whether it sends all of a body. A second one of these is somebody else's word.
	length, partial := header.Get("Content-Length"), strings.Join(header.Values("X-Envoy-Auth-Partial-Body"), ",")
	if !r.NeedsBody {
		switch c.follows = partial == "true" || len(c.body) > 0; {
		case partial == "false" || length == "0":
		case length != "" || header["Transfer-Encoding"] != nil:
			c.follows = true
		case !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete}, h.GetMethod()):
			c.follows = true // HTTP/2 does not say
		}
		return nil
	}
	switch {
	case partial == "false":
	case partial == "" && length == "0" && len(c.body) == 0: // of which Envoy says nothing
		return nil
	case strings.Contains(partial, "true"):
		return problem(http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than what can be looked at.")
	case partial != "":
		return problem(http.StatusBadRequest, authz.CodeInvalid, "The header X-Envoy-Auth-Partial-Body is Envoy's to write.")
	default:
		c.s.log.ErrorContext(ctx, "the route needs the body, and Envoy does not send it: set with_request_body", "route", r.Name)
		return problem(http.StatusServiceUnavailable, authz.CodeUnavailable, "No decision could be had.")
	}
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil && n != int64(len(c.body)) {
		return problem(http.StatusBadRequest, authz.CodeInvalid, "The body is not as long as its header says.")
	}
	return nil
}

// headerOf returns the header as Envoy sends it, in one of two forms.
func headerOf(h *authv3.AttributeContext_HttpRequest) (http.Header, bool) {
	out := http.Header{}
	add := func(name, value string) bool {
		if strings.HasPrefix(name, ":") {
			return true
		}
		if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ':' || c == ',' }) || strings.ContainsAny(value, "\r\n\x00") {
			return false
		}
		out[http.CanonicalHeaderKey(name)] = append(out[http.CanonicalHeaderKey(name)], value)
		return true
	}
	for name, value := range h.GetHeaders() {
		if !add(name, value) {
			return nil, false
		}
	}
	for _, v := range h.GetHeaderMap().GetHeaders() {
		value := string(v.GetRawValue())
		if v.GetRawValue() == nil {
			value = v.GetValue()
		}
		if !add(v.GetKey(), value) {
			return nil, false
		}
	}
	return out, true
}

// remote returns the address from which the request came, as net/http has it.
func remote(p *authv3.AttributeContext_Peer) string {
	a := p.GetAddress().GetSocketAddress()
	if a == nil {
		return ""
	}
	return net.JoinHostPort(a.GetAddress(), strconv.FormatUint(uint64(a.GetPortValue()), 10))
}

// certificate returns the client's certificate, which Envoy sends as escaped PEM if include_peer_certificate is set.
func certificate(escaped string) *x509.Certificate {
	if escaped == "" {
		return nil
	}
	text, err := url.QueryUnescape(strings.ReplaceAll(escaped, "+", "%2B"))
	if err != nil {
		return nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

// decide asks, and answers what came of it.
func (c *check) decide(ctx context.Context) *authv3.CheckResponse {
	var err error
	if c.who, err = c.s.cfg.Gate.Verify(c.r); err != nil {
		if challenge, ok := errors.AsType[*gateway.Challenge](err); ok {
			refusal := problem(challenge.Status, challenge.Code, challenge.Message)
			for name, values := range challenge.Header() {
				refusal.Header[name] = values
			}
			return deny(refusal)
		}
		return deny(client.RefuseHTTP(err, c.s.cfg.Realm))
	}
	req, err := c.match.Request(&route.Input{
		Method: c.http.GetMethod(), Host: c.host, Path: c.path, RawQuery: c.query, Header: c.header, Body: c.body, Follows: c.follows, Claims: c.who.Claims,
	})
	if err != nil {
		code := http.StatusBadRequest
		if e, ok := errors.AsType[*route.Error](err); ok {
			code = e.Status
		}
		return deny(problem(code, authz.CodeInvalid, err.Error()))
	}
	switch ids := c.r.Header.Values(ApprovalHeader); {
	case len(ids) == 0:
	case len(ids) > 1 || ids[0] == "" || len(ids[0]) > 128 || strings.ContainsFunc(ids[0], func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
		return deny(problem(http.StatusBadRequest, authz.CodeInvalid, "The header "+ApprovalHeader+" is the id of one approval."))
	default:
		req.Approval = &authz.ApprovalRef{ID: ids[0]}
	}
	r := c.match.Route
	canTry := r.DryRun != nil && r.DryRun.Header != ""
	permit, err := c.s.cfg.Enforcer.Permit(ctx, c.s.cfg.Gate.Ask(c.who, req), canTry)
	if err == nil && permit.Whole() {
		c.s.log.WarnContext(ctx, "refused: the result would have to be changed", "route", r.Name, "decisions", permit.Decisions())
		return deny(problem(http.StatusForbidden, client.CodeUnmet, "It is allowed only with obligations that cannot be met here."))
	}
	if r.OnUnavailable == "allow" && gateway.Undecided(err) && c.s.cfg.Gate.Unavailable(r.Name, err) {
		return c.allow(ctx, nil)
	}
	if err == nil {
		var end context.CancelFunc
		if _, end, err = permit.Begin(ctx); err == nil {
			end()
			return c.allow(ctx, permit)
		}
	}
	refusal := client.RefuseHTTP(err, c.s.cfg.Realm)
	out := deny(refusal)
	if refused, ok := errors.AsType[*client.RefusedError](err); ok && refused.Answer != nil {
		if refused.Cause != nil {
			c.s.log.WarnContext(ctx, "refused", "route", r.Name, "err", refused.Cause)
		}
		if id := refused.Answer.DecisionID(); id != "" {
			out.GetDeniedResponse().Headers = append(out.GetDeniedResponse().Headers, set(DecisionHeader, id))
			out.DynamicMetadata = c.metadata([]string{id}, refused.Answer.Code, nil, false)
		}
	}
	return out
}

// envoys are headers of the connection, which Envoy itself writes for its own to the server.
var envoys = []string{"Connection", "Content-Length", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// allow passes the request on. permit is nil if nothing was decided.
func (c *check) allow(ctx context.Context, permit *client.Permit) *authv3.CheckResponse {
	ok := &authv3.OkHttpResponse{}
	// What the agent shows itself with is for us and not for who is behind us, and nobody writes our headers but we.
	gone := map[string]bool{"authorization": true, "dpop": true, "proxy-authorization": true, TriedHeader: true, DecisionHeader: true, ApprovalHeader: true, "x-envoy-auth-partial-body": true}
	sent := c.r.Clone(ctx)
	sent.Header = c.header.Clone()
	if name := c.match.Route.Upstream; name == "" {
		gateway.Strip(sent.Header)
	} else if err := c.s.cfg.Gate.Apply(ctx, name, c.who, sent); err != nil {
		c.s.log.ErrorContext(ctx, "no credential", "credential", name, "route", c.match.Route.Name, "err", err)
		return deny(problem(http.StatusServiceUnavailable, authz.CodeUnavailable, "The server behind cannot be reached with a credential."))
	}
	for key := range c.r.Header {
		if _, kept := sent.Header[key]; !kept && !slices.Contains(envoys, key) {
			gone[strings.ToLower(key)] = true
		}
	}
	for key, values := range sent.Header {
		if slices.Equal(values, c.r.Header[key]) || len(values) == 0 {
			continue
		}
		ok.Headers = append(ok.Headers, set(strings.ToLower(key), values[0]))
		delete(gone, strings.ToLower(key))
	}
	var ids []string
	tried := false
	if permit != nil {
		ids, tried = permit.Decisions(), permit.Tried()
	}
	if tried {
		name, value, _ := strings.Cut(c.match.Route.DryRun.Header, ":")
		ok.Headers = append(ok.Headers, set(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)))
		delete(gone, strings.ToLower(strings.TrimSpace(name)))
		ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, set(TriedHeader, "?1"))
	}
	if len(ids) > 0 && ids[0] != "" {
		ok.Headers = append(ok.Headers, set(DecisionHeader, ids[0]))
		ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, set(DecisionHeader, ids[0]))
		delete(gone, DecisionHeader)
	}
	for name := range gone {
		ok.HeadersToRemove = append(ok.HeadersToRemove, name)
	}
	slices.Sort(ok.HeadersToRemove)
	out := &authv3.CheckResponse{Status: &status.Status{Code: int32(codes.OK)}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok}}
	code := authz.CodeAllowed
	if permit == nil {
		code = authz.CodeUnavailable
	}
	var met []string
	if permit != nil {
		met = permit.Met()
	}
	out.DynamicMetadata = c.metadata(ids, code, met, tried)
	return out
}

// metadata is what other filters and the access log can read, under the filter's name.
func (c *check) metadata(ids []string, code string, met []string, tried bool) *structpb.Struct {
	list := func(all []string) []any {
		out := []any{}
		for _, s := range all {
			if s != "" {
				out = append(out, s)
			}
		}
		return out
	}
	m := map[string]any{"route": c.match.Route.Name, "action": c.match.Route.Action, "code": code, "decisions": list(ids), "obligations": list(met), "tried": tried}
	if len(ids) > 0 {
		m["decision_id"] = ids[0]
	}
	if !c.who.Subject.IsZero() {
		m["subject"] = c.who.Subject.String()
	}
	s, err := structpb.NewStruct(m)
	if err != nil { // a name that is no UTF-8
		return nil
	}
	return s
}

// set returns a header that takes the place of every other of its name.
func set(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}
}

// deny answers with a refusal.
func deny(h *client.HTTPRefusal) *authv3.CheckResponse {
	code := codes.PermissionDenied
	switch h.Status {
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		code = codes.InvalidArgument
	}
	d := &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(h.Status)}, Body: string(h.Body)}
	for _, name := range slices.Sorted(maps.Keys(h.Header)) {
		for i, v := range h.Header[name] {
			one := set(strings.ToLower(name), v)
			if i > 0 {
				one.AppendAction = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
			}
			d.Headers = append(d.Headers, one)
		}
	}
	return &authv3.CheckResponse{Status: &status.Status{Code: int32(code)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: d}}
}
