package oauth

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A CertificateAuthority signs certificates by which agents authenticate in the TLS handshake
// (tls_client_auth: RFC 8705, section 2.1). Whoever can have a certificate of the authority with an
// agent's name in it is that agent: take an authority of your own, never one that browsers trust.
//
// Nobody asks whether a certificate was revoked, by list or by OCSP. Let certificates live short, which
// MaxLifetime sees to; what stops an agent at once is its state.
type CertificateAuthority struct {
	Name string // in messages: the file that its certificates were read from, say

	// Roots are the authority's certificates. Those between them and an agent's come with the handshake.
	Roots *x509.CertPool

	// Rules say which agents the names in its certificates are.
	Rules []CertificateRule

	// MaxLifetime is how long a certificate may be valid, from its first second to its last. By
	// default as long as the authority sees fit.
	MaxLifetime time.Duration
}

// A CertificateRule maps certificates to an agent: those that hold one name. Exactly one of DNS, URI,
// Email, IP and Subject must be set, as the metadata of RFC 8705, section 2.1.2, have it. Names are
// compared whole: a wildcard in a certificate stands for nothing but itself, and a rule has none.
type CertificateRule struct {
	Agent authz.AgentID

	DNS     string // a host name, in any case
	URI     string // exactly
	Email   string // exactly before the @, in any case behind it
	IP      string // in any notation
	Subject string // the whole subject as RFC 4514 writes it, the last part first, without spaces around commas: CN=ledger,O=Example
}

// A certName is a name in a certificate, in the form in which names are compared.
type certName struct{ kind, text string }

const (
	nameDNS     = "dns"
	nameURI     = "uri"
	nameEmail   = "email"
	nameIP      = "ip"
	nameSubject = "subject"
)

// name returns the name that a rule asks for, or authz.ErrInvalid and what is wrong with it.
func (r *CertificateRule) name() (certName, error) {
	bad := func(format string, args ...any) (certName, error) {
		return certName{}, authz.Errorf(authz.ErrInvalid, "rule for agent %q: "+format, append([]any{r.Agent}, args...)...)
	}
	if r.Agent == "" {
		return certName{}, authz.Errorf(authz.ErrInvalid, "a rule names no agent")
	}
	var n certName
	for _, of := range []certName{{nameDNS, r.DNS}, {nameURI, r.URI}, {nameEmail, r.Email}, {nameIP, r.IP}, {nameSubject, r.Subject}} {
		if of.text != "" {
			if n.text != "" {
				return bad("want one of dns, uri, email, ip and subject")
			}
			n = of
		}
	}
	switch n.kind {
	case nameDNS:
		if !isHost(n.text) {
			return bad("dns %q: want a whole host name such as ledger.example.com, without wildcards", n.text)
		}
		n = dnsName(n.text)
	case nameURI:
		u, err := url.Parse(n.text)
		if err != nil || !u.IsAbs() || uriName(u) != n {
			return bad("uri %q: want an absolute URI such as urn:example:ledger", n.text)
		}
	case nameEmail:
		local, host, _ := strings.Cut(n.text, "@")
		if local == "" || !isHost(host) || strings.ContainsFunc(local, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return bad("email %q: want an address such as ledger@example.com", n.text)
		}
		n = emailName(n.text)
	case nameIP:
		ip, err := netip.ParseAddr(n.text)
		if err != nil || ip.Zone() != "" {
			return bad("ip %q: want an address such as 192.0.2.1", n.text)
		}
		n = certName{nameIP, ip.Unmap().String()}
	case nameSubject:
		var err error
		if n.text, err = parseSubject(n.text); err != nil {
			return bad("subject %q: %w", r.Subject, err)
		}
	default:
		return bad("want one of dns, uri, email, ip and subject")
	}
	return n, nil
}

// isHost reports whether text is a host name, and not the beginning of one (RFC 1123, section 2.1,
// with the underscore that some systems use).
func isHost(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(c rune) bool {
				return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
			}) {
			return false
		}
	}
	return len(text) <= 253
}

// Names of hosts are compared in any case (RFC 5280, sections 7.2 and 7.5). They are ASCII: neither
// crypto/x509 nor isHost lets another through.
func dnsName(host string) certName { return certName{nameDNS, strings.ToLower(host)} }

func emailName(address string) certName {
	i := strings.LastIndexByte(address, '@') + 1
	return certName{nameEmail, address[:i] + strings.ToLower(address[i:])}
}

func uriName(u *url.URL) certName { return certName{nameURI, u.String()} }

func ipName(ip net.IP) certName {
	a, _ := netip.AddrFromSlice(ip)
	return certName{nameIP, a.Unmap().String()}
}

// namesOf returns the names in a certificate.
func namesOf(cert *x509.Certificate) (names []certName) {
	for _, host := range cert.DNSNames {
		names = append(names, dnsName(host))
	}
	for _, u := range cert.URIs {
		names = append(names, uriName(u))
	}
	for _, address := range cert.EmailAddresses {
		names = append(names, emailName(address))
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ipName(ip))
	}
	if subject, ok := subjectOf(cert.RawSubject); ok {
		names = append(names, certName{nameSubject, subject})
	}
	return names
}

// An authority is a CertificateAuthority at work.
type authority struct {
	roots  *x509.CertPool
	agents map[certName]authz.AgentID
	most   time.Duration // 0: no limit
}

func newAuthority(a CertificateAuthority) (*authority, error) {
	bad := func(err error) (*authority, error) {
		return nil, fmt.Errorf("certificate authority %q: %w", a.Name, err)
	}
	if a.Roots == nil || a.Roots.Equal(x509.NewCertPool()) { // x509 would take the system's
		return bad(authz.Errorf(authz.ErrInvalid, "it has no certificates"))
	}
	if a.MaxLifetime < 0 {
		return bad(authz.Errorf(authz.ErrInvalid, "lifetime of certificates: want none or a positive one, got %v", a.MaxLifetime))
	}
	if len(a.Rules) == 0 {
		return bad(authz.Errorf(authz.ErrInvalid, "no rule says which agents its certificates are of"))
	}
	out := &authority{roots: a.Roots, agents: make(map[certName]authz.AgentID, len(a.Rules)), most: a.MaxLifetime}
	for i := range a.Rules {
		n, err := a.Rules[i].name()
		if err != nil {
			return bad(err)
		}
		if _, twice := out.agents[n]; twice {
			return bad(authz.Errorf(authz.ErrInvalid, "rule for agent %q: another rule has that %s", a.Rules[i].Agent, n.kind))
		}
		out.agents[n] = a.Rules[i].Agent
	}
	return out, nil
}

// maxChain bounds the certificates that a client may show, and with them what there is to verify.
const maxChain = 8

// verify returns why a chain is not one of the authority's.
func (a *authority) verify(chain []*x509.Certificate, now time.Time) error {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	switch key, ok := leaf.PublicKey.(*rsa.PublicKey); {
	case err != nil:
		return err
	case leaf.IsCA:
		return errors.New("the certificate is an authority's")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth): // x509 is content if it says nothing
		return errors.New("the certificate is not for authenticating clients")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0: // RFC 5280, section 4.2.1.3
		return errors.New("the certificate's key is not for signatures")
	case ok && key.N.BitLen() < 2048:
		return errors.New("the certificate's key is too short")
	case a.most > 0 && leaf.NotAfter.Sub(leaf.NotBefore) > a.most:
		return errors.New("the certificate lives longer than " + a.most.String())
	}
	return nil
}

// named returns the agent that an authority says a certificate is of, or why there is none. Names that
// are of several agents are of none: which of them the client claims to be changes nothing.
func (c *clients) named(chain []*x509.Certificate, now time.Time) (who authz.AgentID, err error) {
	if len(chain) > maxChain {
		return "", errors.New("too many certificates")
	}
	err = errors.New("no authority's certificates count")
	names := namesOf(chain[0])
	for _, a := range c.authorities {
		if e := a.verify(chain, now); e != nil {
			if who == "" {
				err = e
			}
			continue
		}
		for _, n := range names {
			switch agent, ok := a.agents[n]; {
			case ok && who != "" && who != agent:
				return "", errors.New("the certificate's names are of several agents")
			case ok:
				who, err = agent, nil
			case who == "":
				err = errors.New("the certificate's names are of no agent")
			}
		}
	}
	return who, err
}
