package risk

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Bounds of the book and of what is in it.
const (
	maxAlerts     = 1000
	maxIndicators = 200_000
	maxPage       = 1000
	maxName       = 128
	maxValue      = 512
	maxMessage    = 1024
	maxLife       = 366 * 24 * time.Hour
)

// A Severity is low, medium, high or critical.
type Severity string

// rank is the index of the severity in catalog.Severities. An unknown one is the gravest.
func (s Severity) rank() int {
	if i := slices.Index(catalog.Severities, string(s)); i >= 0 {
		return i
	}
	return len(catalog.Severities) - 1
}

// An Alert says that something is going on. It concerns every request in its Scope until it is
// cleared or expires.
type Alert struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"` // a name that policies can read: "ransomware", "leaver"
	Severity  Severity  `json:"severity"`
	Scope     Scope     `json:"scope"`
	Message   string    `json:"message,omitempty"` // for operators
	ExpiresAt time.Time `json:"expires_at"`
	Cleared   bool      `json:"cleared,omitempty"`
	RaisedBy  string    `json:"raised_by"`
	RaisedAt  time.Time `json:"raised_at"` // or last changed
	AsOf      int64     `json:"as_of"`     // number of the log entry that made this version
}

// A Scope is what an alert concerns: requests for which all that is set holds. The zero Scope is
// everything.
type Scope struct {
	Agent        authz.AgentID `json:"agent,omitempty"`
	Purpose      string        `json:"purpose,omitempty"`       // of the agent
	ResourceType string        `json:"resource_type,omitempty"` // AuthZEN's
	Zone         string        `json:"zone,omitempty"`          // network zone of the address
}

// concerns reports whether a request is in the scope. What concerns an agent concerns also what another
// does for it.
func (s *Scope) concerns(req *authz.Request, f *authz.Facts) bool {
	return (s.Agent == "" || s.Agent == req.Agent() || slices.ContainsFunc(f.Behalf, func(d authz.Delegator) bool { return d.Agent.ID == s.Agent })) &&
		(s.Purpose == "" || f.Agent != nil && f.Agent.Purpose == s.Purpose ||
			slices.ContainsFunc(f.Behalf, func(d authz.Delegator) bool { return d.Agent.Purpose == s.Purpose })) &&
		(s.ResourceType == "" || req.Resource.Type == s.ResourceType) &&
		(s.Zone == "" || slices.Contains(f.Zones, s.Zone))
}

// Concerns reports whether a request is in the scope.
func (s *Scope) Concerns(req *authz.Request, f *authz.Facts) bool { return s.concerns(req, f) }

// About reports whether an agent can be in the scope: some of its requests, or all.
func (s *Scope) About(a *authz.Agent) bool {
	return (s.Agent == "" || s.Agent == a.ID) && (s.Purpose == "" || s.Purpose == a.Purpose)
}

// Check returns authz.ErrInvalid, and everything that is wrong with an alert, but for its end.
func (a *Alert) Check() error {
	if problems := a.problems(); len(problems) > 0 {
		return authz.Errorf(authz.ErrInvalid, "alert %.128q: %s", a.ID, strings.Join(problems, "; "))
	}
	return nil
}

// An IndicatorType says what the value of a threat indicator is and what it is compared with.
type IndicatorType string

const (
	IndicatorIP       IndicatorType = "ip"       // address or CIDR prefix: the observed address
	IndicatorDomain   IndicatorType = "domain"   // the host that the resource's id is or has, or one above it
	IndicatorAgent    IndicatorType = "agent"    // the acting agent's id
	IndicatorResource IndicatorType = "resource" // the resource's id
	IndicatorSHA256   IndicatorType = "sha256"   // the resource's id, with or without "sha256:"
)

// An Indicator is a sign of a threat: an address, a name, a digest that is known to be bad.
type Indicator struct {
	ID        string        `json:"id"`
	Type      IndicatorType `json:"type"`
	Value     string        `json:"value"`
	Severity  Severity      `json:"severity"`
	Source    string        `json:"source,omitempty"` // the feed or the person it is from
	ExpiresAt time.Time     `json:"expires_at"`
	Cleared   bool          `json:"cleared,omitempty"`
	RaisedBy  string        `json:"raised_by"`
	RaisedAt  time.Time     `json:"raised_at"`
	AsOf      int64         `json:"as_of"`
}

// normalise writes the value the way it is compared.
func (i *Indicator) normalise() {
	switch i.Type {
	case IndicatorIP:
		if p, err := parsePrefix(i.Value); err == nil {
			i.Value = p.String()
		}
	case IndicatorDomain:
		i.Value = strings.Trim(strings.ToLower(i.Value), ".")
	case IndicatorSHA256:
		i.Value = strings.TrimPrefix(strings.ToLower(i.Value), "sha256:")
	}
}

// parsePrefix reads a CIDR prefix or one address; IPv4 that is mapped into IPv6 is taken as IPv4.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%.64q is not an address or a CIDR prefix", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%.64q mixes IPv4 and IPv6", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// problems returns everything that is wrong with an alert.
func (a *Alert) problems() (all []string) {
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	named(bad, "id", a.ID)
	named(bad, "kind", a.Kind)
	severe(bad, a.Severity)
	for _, f := range []struct{ name, value string }{
		{"agent", string(a.Scope.Agent)}, {"purpose", a.Scope.Purpose},
		{"resource_type", a.Scope.ResourceType}, {"zone", a.Scope.Zone},
	} {
		if len(f.value) > maxValue || !printable(f.value) {
			bad("%s of the scope is not printable text, or too long", f.name)
		}
	}
	if len(a.Message) > maxMessage || !printable(a.Message) {
		bad("message is not printable text, or too long")
	}
	return all
}

// problems returns everything that is wrong with an indicator.
func (i *Indicator) problems() (all []string) {
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	named(bad, "id", i.ID)
	severe(bad, i.Severity)
	if i.Value == "" || len(i.Value) > maxValue || !printable(i.Value) {
		bad("value is missing, not printable text, or too long")
	}
	if len(i.Source) > maxMessage || !printable(i.Source) {
		bad("source is not printable text, or too long")
	}
	switch i.Type {
	case IndicatorIP:
		if _, err := parsePrefix(i.Value); err != nil {
			bad("value %s", err)
		}
	case IndicatorDomain:
		if !strings.Contains(i.Value, ".") || strings.ContainsAny(i.Value, "/:@ ") {
			bad("value %.64q is not a domain name of two parts at least", i.Value)
		}
	case IndicatorSHA256:
		if len(i.Value) != 64 || strings.Trim(i.Value, "0123456789abcdef") != "" {
			bad("value %.80q is not a SHA-256 in hex", i.Value)
		}
	case IndicatorAgent, IndicatorResource:
	default:
		bad("type %.32q is not known: one of ip, domain, agent, resource, sha256", i.Type)
	}
	return all
}

func named(bad func(string, ...any), what, s string) {
	ok := s != "" && len(s) <= maxName
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte("._:-", c) >= 0
	}
	if !ok {
		bad("%s %.128q is not a name: use letters, digits and . _ : -, beginning with a letter or digit, at most %d of them", what, s, maxName)
	}
}

func severe(bad func(string, ...any), s Severity) {
	if !slices.Contains(catalog.Severities, string(s)) {
		bad("severity %.32q is not known: one of %s", s, strings.Join(catalog.Severities, ", "))
	}
}

// expiry returns what is wrong with a time of expiry.
func expiry(at, now time.Time) []string {
	switch {
	case at.IsZero():
		return []string{"expires_at is missing: everything expires"}
	case !at.After(now):
		return []string{"expires_at is past"}
	case at.Sub(now) > maxLife:
		return []string{"expires_at is more than a year ahead"}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
