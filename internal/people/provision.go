package people

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// provisioned begins the id of every person whom the identity provider brought, and no administrator.
const provisioned = "sso-"

// Bounds of the names by which the identity provider knows a person.
const (
	MaxNames = 16 // of one sign-in
	maxNames = 32 // that are remembered of a person
)

// Provision makes a person of somebody whom the identity provider knows as p, without an id, and by those
// names; if there is one of that account, it returns them. The id follows from the account, so that whoever
// does it at the same time makes the same one. It returns authz.ErrInvalid, authz.ErrConflict if there are
// MaxPeople, and authz.ErrForbidden if somebody else is known by one of the names or by the e-mail address:
// one human being would be two persons.
func (r *Registry) Provision(ctx context.Context, p Profile, names []string) (*Person, error) {
	h := sha256.Sum256([]byte(p.Issuer + "\x00" + p.Subject))
	p.ID = provisioned + hex.EncodeToString(h[:10])
	c := &personChange{Profile: p, Names: names, Why: "signed in with the identity provider for the first time"}
	made, err := r.commit(ctx, audit.PersonPut, "safeconduct", c)
	if errors.Is(err, authz.ErrConflict) { // with whoever was first, it may be
		if first, unknown := r.ByIdentity(p.Issuer, p.Subject); unknown == nil {
			return first, nil
		}
	}
	return made, err
}

// Known returns the names by which records may know the person besides the id: the e-mail address, and what
// the identity provider said, verified or not. They may keep a person from something. They never let one.
func (p *Person) Known() []string {
	if p.Email == "" {
		return slices.Clone(p.Names)
	}
	return append([]string{p.Email}, p.Names...)
}

// is returns the index of the first of the names by which the person is known, in whatever case, or -1.
func (p *Person) is(names []string) int {
	return slices.IndexFunc(names, func(name string) bool {
		return strings.EqualFold(p.ID, name) || strings.EqualFold(p.Email, name) || holds(p.Names, name)
	})
}

// provisioned reports whether no administrator put the person.
func (p *Person) provisioned() bool { return strings.HasPrefix(p.ID, provisioned) }

// namesake returns who else than the person of that id is known by one of the names, the first by id of those
// that count, and by which; nil if nobody is.
func (r *Registry) namesake(id string, names []string, counts func(*Person) bool) (first *Person, by string) {
	for other, a := range r.byID {
		if other == id || first != nil && first.ID < other || !counts(&a.Person) {
			continue
		}
		if i := a.Person.is(names); i >= 0 {
			first, by = &a.Person, names[i]
		}
	}
	return first, by
}

// holds reports whether one of the names is name, in whatever case.
func holds(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// alone returns authz.ErrForbidden if the person, whom no administrator put, would be known by one of the
// names as well as somebody else. Who that is, a stranger need not know.
func (r *Registry) alone(p *Person, names []string) error {
	anybody := func(*Person) bool { return true }
	if other, by := r.namesake(p.ID, names, anybody); other != nil {
		return authz.Errorf(authz.ErrForbidden, "somebody is known as %q here already: if that is you, have an administrator link your account, "+
			"with safeconduct person put ID --issuer %s --subject %q", by, p.Issuer, p.Subject)
	}
	return nil
}

// remember returns the names that are known after those of another sign-in: the newest first.
func remember(known, said []string) []string {
	var names []string
	for _, name := range slices.Concat(said, known) {
		if len(names) < maxNames && !holds(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// checkNames returns authz.ErrInvalid unless names are few and plain.
func checkNames(names []string) error {
	if len(names) > MaxNames || slices.ContainsFunc(names, func(s string) bool { return !PlainClaim(s) }) {
		return authz.Errorf(authz.ErrInvalid, "the identity provider knows a person by at most %d names, each 1 to %d bytes of printable text", MaxNames, maxValue)
	}
	return nil
}
