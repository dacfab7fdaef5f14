package people

import (
	"context"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Bounds of a person's record, in bytes where they are of texts.
const (
	MaxID        = 64
	MaxName      = 100
	maxEmail     = 254
	maxIdentity  = 512
	maxClaims    = 16
	maxClaimName = 128
	maxValues    = 200
	maxValue     = 256
	maxAllClaims = 16 << 10
	maxWhy       = 1000
)

// ValidID reports whether s can name a person: letters, digits and . _ @ + - of ASCII, beginning with a
// letter or digit, at most 64 of them.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '@' || c == '+' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// A Profile is what an administrator says of a person.
type Profile struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	Email    string              `json:"email,omitempty"`
	Issuer   string              `json:"issuer,omitempty"`
	Subject  string              `json:"subject,omitempty"`
	Claims   map[string][]string `json:"claims,omitempty"`
	Roles    []Role              `json:"roles,omitempty"`
	Disabled bool                `json:"disabled,omitempty"`
}

// Profile returns what can be changed of a person.
func (p *Person) Profile() Profile {
	return Profile{ID: p.ID, Name: p.Name, Email: p.Email, Issuer: p.Issuer, Subject: p.Subject, Claims: p.Claims, Roles: p.Roles, Disabled: p.Disabled}
}

// Put makes a person, if ifAsOf is 0, or changes the one whose AsOf it is. Disabling somebody ends their
// sessions and withdraws the links that wait; so does giving them another account of the identity
// provider. It returns authz.ErrInvalid, authz.ErrForbidden to the person themselves, authz.ErrNotFound, or authz.ErrConflict if the person was made
// or changed meanwhile, if another one has the account, if the e-mail address is that of another one and the
// identity provider brought one of the two, or if there are MaxPeople.
func (r *Registry) Put(ctx context.Context, actor, why string, p Profile, ifAsOf int64) (*Person, error) {
	if err := notSelf(actor, p.ID); err != nil {
		return nil, err
	}
	return r.commit(ctx, audit.PersonPut, actor, &personChange{Profile: p, IfAsOf: ifAsOf, Why: why})
}

// personChange is the body of a person.put entry.
type personChange struct {
	Profile
	Names  []string `json:"names,omitempty"` // of whom the identity provider brings
	IfAsOf int64    `json:"if_as_of"`        // AsOf of the person that it replaces, 0 if there is to be none
	Why    string   `json:"why"`
}

func (c *personChange) person() string { return c.ID }

func (c *personChange) check() error {
	switch {
	case !ValidID(c.ID):
		return authz.Errorf(authz.ErrInvalid, "%.80q is no person's id: use letters, digits and . _ @ + -, beginning with a letter or digit, at most %d of them", c.ID, MaxID)
	case c.Name == "" || len(c.Name) > MaxName || !printable(c.Name):
		return authz.Errorf(authz.ErrInvalid, "a person's name is 1 to %d bytes of printable text: %.120q", MaxName, c.Name)
	case c.Email != "" && !validEmail(c.Email):
		return authz.Errorf(authz.ErrInvalid, "%.256q is no e-mail address", c.Email)
	case (c.Issuer == "") != (c.Subject == ""):
		return authz.Errorf(authz.ErrInvalid, "issuer and subject name an account of the identity provider together")
	case c.Issuer != "" && !validIssuer(c.Issuer):
		return authz.Errorf(authz.ErrInvalid, "%.256q is no issuer: an absolute URL without query and fragment", c.Issuer)
	case len(c.Subject) > maxIdentity || !printable(c.Subject):
		return authz.Errorf(authz.ErrInvalid, "a subject has at most %d bytes of printable text", maxIdentity)
	case c.IfAsOf < 0:
		return authz.Errorf(authz.ErrInvalid, "if_as_of is below 0")
	case len(c.Names) > 0 && (c.IfAsOf != 0 || c.Subject == ""):
		return authz.Errorf(authz.ErrInvalid, "names are of somebody whom the identity provider brings")
	}
	if err := checkNames(c.Names); err != nil {
		return err
	}
	if err := checkClaims(c.Claims); err != nil {
		return err
	}
	if err := checkRoles(c.Roles); err != nil {
		return err
	}
	return checkWhy(c.Why)
}

func (c *personChange) alter(r *Registry, a *Account, _ time.Time, seq int64) (bool, error) {
	p := &a.Person
	switch {
	case p.ID == "" && c.IfAsOf != 0:
		return false, authz.Errorf(authz.ErrNotFound, "no person %.64q", c.ID)
	case p.ID != "" && c.IfAsOf == 0:
		return false, authz.Errorf(authz.ErrConflict, "there is a person %q already, as of entry %d", p.ID, p.AsOf)
	case c.IfAsOf != p.AsOf:
		return false, authz.Errorf(authz.ErrConflict, "person %q was changed by entry %d, after entry %d", p.ID, p.AsOf, c.IfAsOf)
	case p.ID == "" && len(r.byID) >= MaxPeople:
		return false, authz.Errorf(authz.ErrConflict, "there are %d persons, which is the most", MaxPeople)
	}
	if holder := r.accounts[identity{c.Issuer, c.Subject}]; c.Subject != "" && holder != "" && holder != c.ID {
		return false, authz.Errorf(authz.ErrConflict, "person %q has that account of the identity provider", holder)
	}
	if err := c.apart(r, p); err != nil {
		return false, err
	}
	other := p.Issuer != c.Issuer || p.Subject != c.Subject
	if c.Disabled || other {
		a.Sessions, a.Enrolment, a.Link = nil, nil, nil
	}
	if other {
		p.Names = c.Names
	}
	p.ID, p.Name, p.Email, p.Issuer, p.Subject = c.ID, c.Name, c.Email, c.Issuer, c.Subject
	p.Claims, p.Roles, p.Disabled, p.AsOf = c.Claims, c.Roles, c.Disabled, seq
	return true, nil
}

// apart returns why the change would make two persons of one human being: authz.ErrForbidden if the identity
// provider brings somebody who is known here, and authz.ErrConflict if an administrator makes or changes
// somebody whom it has brought. Two persons whom administrators put may share a mailbox.
func (c *personChange) apart(r *Registry, before *Person) error {
	p := Person{ID: c.ID, Email: c.Email, Names: c.Names, Issuer: c.Issuer, Subject: c.Subject}
	if before.ID == "" && p.provisioned() {
		return r.alone(&p, p.Known())
	}
	if c.Email == "" || strings.EqualFold(c.Email, before.Email) {
		return nil
	}
	brought := func(q *Person) bool { return p.provisioned() || q.provisioned() }
	if other, _ := r.namesake(c.ID, []string{c.Email}, brought); other != nil {
		return authz.Errorf(authz.ErrConflict, "person %q has that e-mail address, too, and the identity provider brought one of the two: to make one of them, "+
			"take the account and the address away from the one (safeconduct person put ID --issuer '' --subject '' --email '') and give them to the other", other.ID)
	}
	return nil
}

// checkClaims returns authz.ErrInvalid unless claims are few and plain.
func checkClaims(claims map[string][]string) error {
	if len(claims) > maxClaims {
		return authz.Errorf(authz.ErrInvalid, "a person has at most %d claims", maxClaims)
	}
	size := 0
	for name, values := range claims {
		if name == "" || len(name) > maxClaimName || !printable(name) {
			return authz.Errorf(authz.ErrInvalid, "%.140q is no name of a claim", name)
		}
		if len(values) > maxValues {
			return authz.Errorf(authz.ErrInvalid, "claim %q has more than %d values", name, maxValues)
		}
		for _, v := range values {
			if v == "" || len(v) > maxValue || !printable(v) {
				return authz.Errorf(authz.ErrInvalid, "a value of claim %q is not 1 to %d bytes of printable text", name, maxValue)
			}
			size += len(v)
		}
		size += len(name)
	}
	if size > maxAllClaims {
		return authz.Errorf(authz.ErrInvalid, "the claims have more than %d bytes", maxAllClaims)
	}
	return nil
}

func checkWhy(why string) error {
	if why == "" || len(why) > maxWhy || !printable(why) {
		return authz.Errorf(authz.ErrInvalid, "say why, in 1 to %d bytes of printable text", maxWhy)
	}
	return nil
}

// merged returns the claims of both, each value once, in the order of a and then b.
func merged(a, b map[string][]string) map[string][]string {
	if len(b) == 0 {
		return a
	}
	out := make(map[string][]string, len(a)+len(b))
	for _, m := range []map[string][]string{a, b} {
		for name, values := range m {
			for _, v := range values {
				if !slices.Contains(out[name], v) {
					out[name] = append(out[name][:len(out[name]):len(out[name])], v)
				}
			}
		}
	}
	return out
}

func validEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && len(s) <= maxEmail && printable(s)
}

func validIssuer(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxIdentity && printable(s) && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// printable refuses invalid UTF-8, control characters and invisible ones, such as those that turn the
// direction of a text.
func printable(s string) bool {
	for _, c := range s {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// PlainClaim reports whether s can be the value of a claim: 1 to 256 bytes of printable text.
func PlainClaim(s string) bool { return s != "" && len(s) <= maxValue && printable(s) }

// PlainEmail returns s if it is an e-mail address that a person can have, else "".
func PlainEmail(s string) string {
	if !validEmail(s) {
		return ""
	}
	return s
}
