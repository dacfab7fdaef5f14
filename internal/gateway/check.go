package gateway

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// Kinds of authorization and of credentials.
const (
	authOAuth = "oauth"
	authNone  = "none"

	credNone     = "none"
	credHeader   = "header"
	credClient   = "client_credentials"
	credExchange = "token_exchange"
)

// Ways to authenticate at a token endpoint (RFC 6749 section 2.3, OpenID Connect Core section 9, RFC 8705).
const (
	byBasic = "basic"
	byPost  = "post"
	byKey   = "private_key_jwt"
	byTLS   = "mtls"
	byNone  = "none"
)

const (
	decideRemote = "remote"
	decideLocal  = "local"
)

// common makes Common found in whatever embeds it.
func (c *Common) common() *Common { return c }

// fill sets what was left out.
func (c *Common) fill() {
	if c.Name == "" {
		c.Name, _ = os.Hostname()
		c.Name = cmp.Or(c.Name, "gateway")
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	if c.PublicURL == "" && c.Listen != "" {
		if host, port, err := net.SplitHostPort(c.Listen); err == nil && loopback(host) && port != "0" {
			c.PublicURL = c.scheme() + "://" + net.JoinHostPort(host, port)
		}
	}
	c.Decide = cmp.Or(c.Decide, decideRemote)
	c.MaxStale = cmp.Or(c.MaxStale, time.Minute)
	c.Service.URL = strings.TrimRight(cmp.Or(c.Service.URL, os.Getenv(URLVariable), defaultURL), "/")
	a := &c.Authorization
	a.Type = cmp.Or(a.Type, authOAuth)
	a.Skew = cmp.Or(a.Skew, 30*time.Second)
	for i := range a.Servers {
		s := &a.Servers[i]
		if len(s.Types) == 0 {
			s.Types = []string{"at+jwt"}
		}
		s.Subject.Type, s.Subject.Claim = cmp.Or(s.Subject.Type, authz.AgentType), cmp.Or(s.Subject.Claim, "client_id")
		s.OnBehalf.Type, s.OnBehalf.Claim = cmp.Or(s.OnBehalf.Type, "user"), cmp.Or(s.OnBehalf.Claim, "sub")
	}
	for name, cred := range c.Credentials {
		cred.fill(c)
		c.Credentials[name] = cred
	}
	c.Secrets.fill()
	l := &c.Limits
	l.Header = cmp.Or(l.Header, 64<<10)
	l.HeaderTime = cmp.Or(l.HeaderTime, 10*time.Second)
	l.BodyTime = cmp.Or(l.BodyTime, 2*time.Minute)
	l.WriteTime = cmp.Or(l.WriteTime, time.Minute)
	l.IdleTime = cmp.Or(l.IdleTime, 2*time.Minute)
	l.Stop = cmp.Or(l.Stop, 10*time.Second)
	l.Connections = cmp.Or(l.Connections, 20_000)
	l.PerAddress = cmp.Or(l.PerAddress, min(max(l.Connections/4, 64), l.Connections))
	l.TokenTime = cmp.Or(l.TokenTime, 10*time.Second)
	l.Tokens = cmp.Or(l.Tokens, 10_000)
	l.Proofs = cmp.Or(l.Proofs, 1<<20)
}

func (cr *Credential) fill(c *Common) {
	cr.Type = cmp.Or(cr.Type, credNone)
	if cr.Type == credHeader {
		cr.Header = cmp.Or(cr.Header, "Authorization")
		if cr.Prefix == nil {
			prefix := ""
			if strings.EqualFold(cr.Header, "Authorization") {
				prefix = "Bearer "
			}
			cr.Prefix = &prefix
		}
	}
	if cr.Type == credExchange && len(cr.SubjectIssuers) == 0 {
		switch {
		case cr.Agent != "":
			cr.SubjectIssuers = []string{c.issuer()}
		case cr.Issuer != "":
			cr.SubjectIssuers = []string{cr.Issuer}
		}
	}
	if cr.Type == credClient || cr.Type == credExchange {
		switch {
		case cr.Auth != "" || cr.Agent != "":
		case cr.Secret != "":
			cr.Auth = byBasic
		case c.Client.Key != "":
			cr.Auth = byKey
		}
	}
}

// issuer returns what the service calls itself in passports.
func (c *Common) issuer() string { return cmp.Or(c.Service.Issuer, c.Service.URL) }

// accepts reports whether tokens of an issuer are accepted.
func (c *Common) accepts(issuer string) bool {
	a := &c.Authorization
	return !a.NoPassports && issuer == c.issuer() || slices.ContainsFunc(a.Servers, func(s AuthServer) bool { return s.Issuer == issuer })
}

func (c *Common) scheme() string {
	if c.TLS.Cert != "" {
		return "https"
	}
	return "http"
}

// check adds everything that is wrong with c.
func (c *Common) check(ps *Problems) {
	host, _, listenErr := net.SplitHostPort(c.Listen)
	a := &c.Authorization
	for _, p := range []struct {
		bad  bool
		path string
		msg  string
	}{
		{len(c.Name) > 100 || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r > '~' }), "name", "must have at most 100 characters of ASCII, and no blanks"},
		{c.Listen != "" && !validListen(c.Listen), "listen", "must be HOST:PORT or :PORT"},
		{c.PublicURL != "" && !validURL(c.PublicURL), "public_url", "must be an absolute https URL without query or fragment (http only on loopback)"},
		{c.Listen != "" && listenErr == nil && !loopback(host) && c.PublicURL == "", "public_url", "is needed: agents reach this from elsewhere, and their tokens name it"},
		{(c.TLS.Cert == "") != (c.TLS.Key == ""), "tls", "needs both cert and key"},
		{c.TLS.ClientCertificates && c.TLS.Cert == "", "tls.client_certificates", "needs tls.cert and tls.key: without TLS there are no client certificates"},
		{!validURL(c.Service.URL), "service.url", "must be an absolute https URL without query or fragment (http only on loopback)"},
		{c.Service.Issuer != "" && !validURL(c.Service.Issuer), "service.issuer", "must be an absolute https URL without query or fragment (http only on loopback)"},
		{c.Decide != decideRemote && c.Decide != decideLocal, "decide", "must be remote or local"},
		{c.Decide == decideLocal && c.Journal == "", "journal", "is needed to decide here: what was decided is written there first"},
		{c.MaxStale < time.Second || c.MaxStale > time.Hour, "max_stale", "must be from 1s to 1h"},
		{a.Type != authOAuth && a.Type != authNone, "authorization.type", "must be oauth or none"},
		{a.Type == authNone && (a.Subject.Type == "" || a.Subject.ID == ""), "authorization.subject", "is needed where nobody says who comes: type and id"},
		{a.Type == authNone && c.Listen != "" && !loopback(host), "authorization.type", "none is for loopback and standard input only: whoever reaches this address would be the subject"},
		{a.Type == authNone && c.Listen != "" && c.PublicURL != "" && !loopbackURL(c.PublicURL), "authorization.type", "none is for loopback and standard input only: public_url says that others come, and each of them would be the subject"},
		{a.Type == authNone && len(a.Servers) > 0, "authorization.servers", "says nothing where no token is asked for"},
		{a.Type == authOAuth && a.Subject != (authz.Ref{}), "authorization.subject", "says nothing where tokens say who comes (type: oauth)"},
		{a.Type == authOAuth && a.NoPassports && len(a.Servers) == 0, "authorization.no_passports", "leaves nobody whose tokens are accepted"},
		{a.Skew < 0 || a.Skew > 5*time.Minute, "authorization.skew", "must be at most 5m"},
		{slices.ContainsFunc(a.Scopes, notScope), "authorization.scopes", "must be words without blanks, quotes and backslashes"},
		{c.Health.Listen != "" && !validListen(c.Health.Listen), "health.listen", "must be HOST:PORT or :PORT"},
		{c.Client.Metadata && c.Client.Key == "", "client.key", "is needed beside client.metadata: the document says by which key the gateway authenticates"},
		{c.Client.Metadata && !strings.HasPrefix(c.PublicURL, "https://") && !c.Client.AllowLoopback, "client.metadata", "needs a public_url that is https: the document's URL is the client_id"},
		{c.Limits.Header < 1<<10 || c.Limits.Header > 1<<20, "limits.header", "must be from 1024 to 1048576"},
		{c.Limits.HeaderTime < time.Second || c.Limits.HeaderTime > time.Minute, "limits.header_time", "must be from 1s to 1m"},
		{c.Limits.BodyTime < time.Second || c.Limits.BodyTime > 24*time.Hour, "limits.body_time", "must be from 1s to 24h"},
		{c.Limits.WriteTime < time.Second || c.Limits.WriteTime > time.Hour, "limits.write_time", "must be from 1s to 1h"},
		{c.Limits.IdleTime < time.Second || c.Limits.IdleTime > time.Hour, "limits.idle_time", "must be from 1s to 1h"},
		{c.Limits.Stop < 0 || c.Limits.Stop > time.Hour, "limits.stop", "must be at most 1h"},
		{c.Limits.Connections < 1 || c.Limits.Connections > 1<<20, "limits.connections", "must be from 1 to 1048576"},
		{c.Limits.PerAddress < 1 || c.Limits.PerAddress > c.Limits.Connections, "limits.per_address", "must be from 1 to limits.connections"},
		{c.Limits.TokenTime < time.Second || c.Limits.TokenTime > time.Minute, "limits.token_time", "must be from 1s to 1m"},
		{c.Limits.Tokens < 1 || c.Limits.Tokens > 1<<20, "limits.tokens", "must be from 1 to 1048576"},
		{c.Limits.Proofs < 1000 || c.Limits.Proofs > 1<<24, "limits.proofs", "must be from 1000 to 16777216"},
	} {
		if p.bad {
			ps.Add(p.path, "%s", p.msg)
		}
	}
	seen := map[string]bool{c.issuer(): !a.NoPassports}
	for i, s := range a.Servers {
		at := func(member string) string { return "authorization.servers[" + strconv.Itoa(i) + "]" + member }
		s.check(ps, at)
		if seen[s.Issuer] {
			ps.Add(at(".issuer"), "is there already (passports of the service are accepted without being named)")
		}
		seen[s.Issuer] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Credentials)) {
		cred := c.Credentials[name]
		if !validName(name) {
			ps.Add("credentials", "has a name that is none: %.40q (letters, digits, - _ and ., at most 64)", name)
			continue
		}
		cred.check(ps, "credentials."+name, c)
	}
}

func (s *AuthServer) check(ps *Problems, at func(string) string) {
	for _, p := range []struct {
		bad  bool
		path string
		msg  string
	}{
		{!validURL(s.Issuer), ".issuer", "must be an absolute https URL without query or fragment (http only on loopback), letter for letter as tokens have it"},
		{s.KeySet != "" && !validEndpoint(s.KeySet), ".jwks_uri", "must be an https URL (http only on loopback)"},
		{slices.Contains(s.Types, ""), ".types", "must be values of the header typ"},
		{s.OnBehalf.Claim == "-" && s.OnBehalf.Prefix != "", ".on_behalf", "is nobody (claim -), so nothing else can be said of it"},
		{slices.ContainsFunc(s.Scopes, notScope), ".scopes", "must be words without blanks, quotes and backslashes"},
	} {
		if p.bad {
			ps.Add(at(p.path), "%s", p.msg)
		}
	}
}

func (cr *Credential) check(ps *Problems, at string, c *Common) {
	tokens := cr.Type == credClient || cr.Type == credExchange
	byAgent := cr.Agent != ""
	endpoint := cr.Issuer != "" || cr.TokenURL != ""
	for _, p := range []struct {
		bad  bool
		path string
		msg  string
	}{
		{!slices.Contains([]string{credNone, credHeader, credClient, credExchange}, cr.Type), ".type", "must be none, header, client_credentials or token_exchange"},
		{cr.Type == credHeader && !validHeader(cr.Header), ".header", "must be the name of a header that no connection is steered by"},
		{cr.Type == credHeader && !isSecret(cr.Value), ".value", "must be secret:NAME; put the value there with `safeconduct secret put NAME`"},
		{cr.Type != credHeader && (cr.Header != "" || cr.Value != "" || cr.Prefix != nil), "", "has header, prefix or value, which only the type header has"},
		{tokens && byAgent && (endpoint || cr.Auth != "" || cr.Secret != "" || cr.ClientID != "" || cr.Actor != "" || cr.Audience != ""), "", "has an agent's key file, which says where tokens are got and how; leave issuer, token_url, client_id, auth, secret, audience and actor out"},
		{tokens && !byAgent && (cr.Issuer == "") == (cr.TokenURL == ""), "", "needs issuer or token_url, and not both"},
		{cr.Issuer != "" && !validURL(cr.Issuer), ".issuer", "must be an absolute https URL without query or fragment (http only on loopback)"},
		{cr.TokenURL != "" && !validEndpoint(cr.TokenURL), ".token_url", "must be an https URL (http only on loopback)"},
		{tokens && cr.Resource == "" && cr.Audience == "", "", "needs resource or audience: a token that is for everybody is for the wrong one, too"},
		{cr.Resource != "" && !validEndpoint(cr.Resource), ".resource", "must be an https URL (http only on loopback)"},
		{tokens && !byAgent && !slices.Contains([]string{byBasic, byPost, byKey, byTLS, byNone}, cr.Auth), ".auth", "must be basic, post, private_key_jwt, mtls or none"},
		{(cr.Auth == byBasic || cr.Auth == byPost) && !isSecret(cr.Secret), ".secret", "must be secret:NAME; put it there with `safeconduct secret put NAME`"},
		{cr.Auth == byKey && c.Client.Key == "", ".auth", "private_key_jwt needs client.key"},
		{cr.Auth == byTLS && cr.Cert == "", ".auth", "mtls needs cert and key"},
		{tokens && !byAgent && cr.ClientID == "" && !c.Client.Metadata, ".client_id", "is needed, unless the gateway has a metadata document (client.metadata)"},
		{!tokens && (endpoint || byAgent || cr.Auth != "" || cr.Secret != "" || cr.ClientID != "" || cr.Resource != "" || cr.Audience != "" || len(cr.Scopes) > 0), "", "says how tokens are got, which only client_credentials and token_exchange do"},
		{cr.Type == credExchange && len(cr.SubjectIssuers) == 0, ".subject_issuers", "is needed beside token_url: the issuers whose tokens are sent there"},
		{cr.Type != credExchange && len(cr.SubjectIssuers) > 0, ".subject_issuers", "is only of token_exchange"},
		{byAgent && slices.ContainsFunc(cr.SubjectIssuers, func(i string) bool { return i != c.issuer() }), ".subject_issuers", "can only be the service, where the agent's key is: it exchanges its own passports"},
		{cr.Type == credExchange && c.Authorization.Type == authOAuth && !slices.ContainsFunc(cr.SubjectIssuers, c.accepts), ".subject_issuers", "names nobody whose tokens are accepted here, so that nothing could be exchanged (without it, it is the issuer): " + strings.Join(cr.SubjectIssuers, " ")},
		{cr.Actor != "" && cr.Type != credExchange, ".actor", "is only of token_exchange"},
		{cr.Type == credExchange && c.Authorization.Type == authNone, ".type", "token_exchange exchanges the agent's token, and here no agent shows one (authorization: none)"},
		{(cr.Cert == "") != (cr.Key == ""), "", "needs both cert and key"},
		{slices.ContainsFunc(cr.Scopes, notScope), ".scopes", "must be words without blanks, quotes and backslashes"},
		{slices.ContainsFunc(cr.Keep, func(h string) bool { return !keepable(h) }), ".keep", "can only keep Cookie, Forwarded, Via, X-Real-Ip, X-Forwarded-* and X-Forwarded-NAME: what an agent authenticates by is never passed on"},
	} {
		if p.bad {
			ps.Add(at+p.path, "%s", p.msg)
		}
	}
}

const secretPrefix = "secret:"

func isSecret(s string) bool {
	name, ok := strings.CutPrefix(s, secretPrefix)
	return ok && secret.ValidName(name)
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// notScope reports whether s is no scope token (RFC 6749 section 3.3).
func notScope(s string) bool {
	return s == "" || len(s) > 256 || strings.ContainsFunc(s, func(c rune) bool { return c < '!' || c > '~' || c == '"' || c == '\\' })
}

func validListen(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}

// validURL reports whether s identifies a server: what is said to it stays between us and it.
func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.RawQuery == "" && !u.ForceQuery && validEndpoint(s)
}

func validEndpoint(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || strings.Contains(s, "#") || len(s) > 2048 {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopbackURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && loopback(u.Hostname())
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
