package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A WorkloadIssuer makes tokens for workloads: a Kubernetes cluster for its service accounts, a CI
// system for its jobs, a cloud for its machines. A workload authenticates with such a token, made for
// our issuer as its only audience, as its client assertion or as the assertion of a JWT bearer grant.
//
// A token of that kind is a bearer token: whoever steals it before it expires can be the agent. Let
// them live short, and set SingleUse where the issuer makes one for each request.
type WorkloadIssuer struct {
	// Issuer is the iss of its tokens, exactly.
	Issuer string

	// Keys is its key set, if it is known beforehand. KeysURL is where its key set is. By default it
	// is found by discovery (OpenID Connect Discovery, RFC 8414).
	Keys    []byte
	KeysURL string

	// Fetch fetches its documents: by default ClientConfig.Fetch, which reaches public addresses only.
	Fetch *outbound.Client

	// Rules say which agents its tokens speak of. If a token meets rules of several agents the client
	// must name one of them as client_id.
	Rules []Rule

	// MaxLifetime is how far ahead a token may expire: 2 hours by default, at most 24.
	MaxLifetime time.Duration

	// SingleUse accepts a token once. It must then have a jti and expire within 5 minutes.
	SingleUse bool
}

// Bounds of workloads' tokens.
const (
	defaultWorkload = 2 * time.Hour
	maxWorkload     = 24 * time.Hour
)

// A workloadIssuer is a WorkloadIssuer at work.
type workloadIssuer struct {
	WorkloadIssuer
	fixed  []*token.Key // nil: by source
	source keySource
}

func newWorkloadIssuer(w WorkloadIssuer, cfg Config) (*workloadIssuer, error) {
	if w.Fetch == nil {
		w.Fetch = cfg.Clients.Fetch
	}
	if w.MaxLifetime == 0 {
		w.MaxLifetime = defaultWorkload
	}
	bad := func(err error) (*workloadIssuer, error) {
		return nil, fmt.Errorf("workload issuer %q: %w", w.Issuer, err)
	}
	if w.Issuer == "" || w.Issuer == cfg.Issuer {
		return bad(authz.Errorf(authz.ErrInvalid, "want the iss of another's tokens"))
	}
	if w.MaxLifetime < 0 || w.MaxLifetime > maxWorkload {
		return bad(authz.Errorf(authz.ErrInvalid, "lifetime of tokens: want at most %v, got %v", maxWorkload, w.MaxLifetime))
	}
	if len(w.Rules) == 0 {
		return bad(authz.Errorf(authz.ErrInvalid, "no rule says which agents its tokens speak of"))
	}
	for i := range w.Rules {
		if err := w.Rules[i].check(); err != nil {
			return bad(err)
		}
	}
	out := &workloadIssuer{WorkloadIssuer: w}
	out.source = keySource{fetch: w.Fetch, now: cfg.Now, issuer: w.Issuer, keysURL: w.KeysURL}
	var err error
	switch {
	case w.Keys != nil:
		if out.fixed, err = token.ParseKeySet(w.Keys); err == nil && len(out.fixed) == 0 {
			err = authz.Errorf(authz.ErrInvalid, "its key set has no key that can be used")
		}
	case w.KeysURL != "":
		err = w.Fetch.Check(w.KeysURL)
	default:
		err = w.Fetch.Check(w.Issuer)
	}
	if err != nil {
		return bad(err)
	}
	return out, nil
}

// authenticate returns the agent that a token speaks of. id is the client_id, "" if the client named none.
func (w *workloadIssuer) authenticate(ctx context.Context, c *clients, jws *token.JWS, a *token.Assertion, id string) (*Client, error) {
	now := c.cfg.Now()
	if err := w.check(c, jws, a, now); err != nil {
		return nil, err
	}
	key, err := w.key(ctx, jws)
	if errors.Is(err, authz.ErrUnauthenticated) {
		return nil, noClient(err.Error())
	} else if err != nil {
		return nil, err // the issuer cannot be asked, which is nobody's secret
	}
	if err := jws.Verify(key); err != nil {
		return nil, noClient("the workload's token: " + err.Error())
	}
	who, ok := w.agent(jsontext.Value(a.Claims), id)
	agent := c.active(who)
	if !ok || agent == nil {
		return nil, noClient("the workload's token meets the rules of no active agent, or of several")
	}
	cl := &Client{Agent: agent, ID: string(agent.ID), Method: methodWorkload, Key: key.ID}
	if w.SingleUse {
		cl.Use = &Use{Hash: UseOf(a.Issuer, a.ID), Until: a.Expires}
	}
	return cl, nil
}

// check checks what a token says of itself. Its typ is the issuer's affair, unless it is one of ours.
func (w *workloadIssuer) check(c *clients, jws *token.JWS, a *token.Assertion, now time.Time) error {
	most, skew := w.MaxLifetime, c.cfg.Skew
	if w.SingleUse {
		most = maxAssertion
	}
	switch {
	case jws.JWK != nil:
		return badClient("the workload's token must not bring its key along")
	case jws.Is(token.ProofType) || jws.Is(keyProofType):
		return badClient("typ of the workload's token is another's")
	case len(a.Audience) != 1 || a.Audience[0] != c.cfg.Issuer:
		return badClient("aud of the workload's token must be " + c.cfg.Issuer + " and nothing else")
	case !now.Before(a.Expires):
		return badClient("the workload's token has expired")
	case a.Expires.After(now.Add(most + skew)):
		return badClient("the workload's token expires too far ahead: the most is " + most.String())
	case a.NotBefore.After(now.Add(skew)) || a.IssuedAt.After(now.Add(skew)):
		return badClient("the workload's token is not valid yet")
	case w.SingleUse && (a.ID == "" || len(a.ID) > maxJTI):
		return badClient("jti of the workload's token must have 1 to 256 characters")
	}
	return nil
}

// key returns the key that must have made a signature.
func (w *workloadIssuer) key(ctx context.Context, jws *token.JWS) (*token.Key, error) {
	if w.fixed == nil {
		return w.source.key(ctx, jws)
	}
	if k := pick(w.fixed, jws); k != nil {
		return k, nil
	}
	return nil, authz.Errorf(authz.ErrUnauthenticated, "the issuer has no key %.100q that fits", jws.KeyID)
}

// agent returns the one agent whose rules claims meet, or the one of them that the client names.
func (w *workloadIssuer) agent(claims jsontext.Value, id string) (who authz.AgentID, ok bool) {
	for i := range w.Rules {
		r := &w.Rules[i]
		if id != "" && string(r.Agent) != id || !r.met(claims) {
			continue
		}
		if ok && r.Agent != who {
			return "", false
		}
		who, ok = r.Agent, true
	}
	return who, ok
}
