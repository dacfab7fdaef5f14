package oauth

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/outbound"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A TrustDomain is a SPIFFE trust domain whose workloads may authenticate with their SVIDs: with a
// JWT-SVID made for our issuer as its only audience, or with an X.509-SVID in the TLS handshake.
//
// A JWT-SVID is a bearer token, and is not used up: whoever steals it can be the agent until it
// expires, 5 minutes by SPIRE's default. Prefer X.509-SVIDs.
type TrustDomain struct {
	Name string // example.org

	// BundleFile is a file with the domain's bundle in SPIFFE's format. It is read again when it has changed.
	BundleFile string

	// BundleURL is the domain's federation endpoint. By default its certificate must be one that
	// browsers trust (profile https_web); if EndpointID is set it must be the X.509-SVID of that id
	// (profile https_spiffe), and BundleFile must hold the bundle to begin with.
	BundleURL  string
	EndpointID string

	// Fetch fetches the bundle with the profile https_web: by default ClientConfig.Fetch. With the
	// profile https_spiffe, AllowPrivate lets the endpoint be in a private network.
	Fetch        *outbound.Client
	AllowPrivate bool

	// Paths say which agents its SPIFFE IDs are. The first that fits counts.
	Paths []SPIFFEPath

	// MaxLifetime is how far ahead a JWT-SVID may expire: an hour by default, at most 24.
	MaxLifetime time.Duration
}

// A SPIFFEPath maps paths of SPIFFE IDs to agents. A segment of Path that is * stands for any one
// segment, and one that is {agent} for the agent's id, which Agent then leaves out.
type SPIFFEPath struct {
	Path  string // /ns/payments/sa/reconciler, or /agent/{agent}
	Agent authz.AgentID
}

const segmentAgent = "{agent}"

// check returns authz.ErrInvalid and what is wrong with a mapping.
func (p *SPIFFEPath) check() error {
	segments := strings.Split(p.Path, "/")
	if len(segments) < 2 || segments[0] != "" || slices.Contains(segments[1:], "") {
		return authz.Errorf(authz.ErrInvalid, "path %q: want /segment/segment", p.Path)
	}
	n := 0
	for _, s := range segments {
		if s == segmentAgent {
			n++
		}
	}
	if n > 1 || (n == 1) == (p.Agent != "") {
		return authz.Errorf(authz.ErrInvalid, "path %q: want either an agent or one segment %s", p.Path, segmentAgent)
	}
	return nil
}

// agent returns the agent that a path is.
func (p *SPIFFEPath) agent(path string) (authz.AgentID, bool) {
	who := p.Agent
	want, have := strings.Split(p.Path, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return "", false
	}
	for i, w := range want {
		switch {
		case w == segmentAgent:
			who = authz.AgentID(have[i])
		case w != "*" && w != have[i]:
			return "", false
		}
	}
	return who, true
}

// A trustDomain is a TrustDomain at work.
type trustDomain struct {
	TrustDomain
	name   spiffeid.TrustDomain
	bundle bundleSource
}

const defaultSVID = time.Hour

func newTrustDomain(d TrustDomain, cfg Config) (*trustDomain, error) {
	bad := func(err error) (*trustDomain, error) {
		return nil, fmt.Errorf("trust domain %q: %w", d.Name, err)
	}
	name, err := spiffeid.TrustDomainFromString(d.Name)
	if err != nil || name.Name() != d.Name {
		return bad(authz.Errorf(authz.ErrInvalid, "want a name such as example.org"))
	}
	if d.MaxLifetime == 0 {
		d.MaxLifetime = defaultSVID
	}
	if d.MaxLifetime < 0 || d.MaxLifetime > maxWorkload {
		return bad(authz.Errorf(authz.ErrInvalid, "lifetime of JWT-SVIDs: want at most %v, got %v", maxWorkload, d.MaxLifetime))
	}
	if len(d.Paths) == 0 {
		return bad(authz.Errorf(authz.ErrInvalid, "no path says which agents its SPIFFE IDs are"))
	}
	for i := range d.Paths {
		if err := d.Paths[i].check(); err != nil {
			return bad(err)
		}
	}
	td := &trustDomain{TrustDomain: d, name: name}
	if err := td.bundle.init(name, d, cfg); err != nil {
		return bad(err)
	}
	return td, nil
}

// who returns the active agent that a SPIFFE ID is, whom the client must not contradict.
func (td *trustDomain) who(c *clients, sid spiffeid.ID, id string) *authz.Agent {
	for i := range td.Paths {
		if who, ok := td.Paths[i].agent(sid.Path()); ok {
			if id != "" && id != string(who) && id != sid.String() {
				return nil
			}
			return c.active(who)
		}
	}
	return nil
}

// svid authenticates by a JWT-SVID (draft-ietf-oauth-spiffe-client-auth; JWT-SVID, sections 2 to 5).
func (c *clients) svid(ctx context.Context, text, id string) (*Client, error) {
	if len(text) > token.MaxToken {
		return nil, errUnreadable
	}
	claimed, err := jwtsvid.ParseInsecure(text, []string{c.cfg.Issuer})
	if err != nil {
		return nil, badClient("the JWT-SVID cannot be read, has expired, or is not for " + c.cfg.Issuer)
	}
	td := c.domains[claimed.ID.TrustDomain()]
	now := c.cfg.Now()
	switch {
	case td == nil:
		return nil, badClient("the JWT-SVID's trust domain is not trusted")
	case len(claimed.Audience) != 1:
		return nil, badClient("aud of the JWT-SVID must be " + c.cfg.Issuer + " and nothing else")
	case !now.Before(claimed.Expiry):
		return nil, badClient("the JWT-SVID has expired")
	case claimed.Expiry.After(now.Add(td.MaxLifetime + c.cfg.Skew)):
		return nil, badClient("the JWT-SVID expires too far ahead: the most is " + td.MaxLifetime.String())
	}
	bundle, err := td.bundle.get(ctx, false)
	if err != nil {
		return nil, err
	}
	svid, err := jwtsvid.ParseAndValidate(text, bundle, []string{c.cfg.Issuer})
	if err != nil { // the domain may have rotated its keys
		if bundle, err = td.bundle.get(ctx, true); err != nil {
			return nil, err
		}
		if svid, err = jwtsvid.ParseAndValidate(text, bundle, []string{c.cfg.Issuer}); err != nil {
			return nil, noClient(err.Error())
		}
	}
	agent := td.who(c, svid.ID, id)
	if agent == nil {
		return nil, noClient("the SPIFFE ID " + svid.ID.String() + " is no active agent")
	}
	return &Client{Agent: agent, ID: string(agent.ID), Method: methodSPIFFEJWT}, nil
}

// x509SVID authenticates by an X.509-SVID (X509-SVID, section 5).
func (c *clients) x509SVID(ctx context.Context, chain []*x509.Certificate, id string) (*Client, error) {
	sid, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return nil, noClient(err.Error())
	}
	td := c.domains[sid.TrustDomain()] // is one of ours: that is how we came here
	bundle, err := td.bundle.get(ctx, false)
	if err != nil {
		return nil, err
	}
	at := x509svid.WithTime(c.cfg.Now())
	if _, _, err := x509svid.Verify(chain, bundle, at); err != nil {
		if bundle, err = td.bundle.get(ctx, true); err != nil {
			return nil, err
		}
		if _, _, err := x509svid.Verify(chain, bundle, at); err != nil {
			return nil, noClient(err.Error())
		}
	}
	agent := td.who(c, sid, id)
	if agent == nil {
		return nil, noClient("the SPIFFE ID " + sid.String() + " is no active agent")
	}
	return &Client{Agent: agent, ID: string(agent.ID), Method: methodSPIFFEX509, Certificate: chain[0]}, nil
}
