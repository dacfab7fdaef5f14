package people

import (
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A Role says what a person may do. What it opens, internal/api knows.
type Role string

// The roles that a person can have. Those of enforcement points are none of them.
const (
	Viewer        Role = "viewer"
	Approver      Role = "approver"
	Operator      Role = "operator"
	Author        Role = "author"
	Auditor       Role = "auditor"
	Administrator Role = "administrator"
)

// Roles returns all of them, in the order in which they are told.
func Roles() []Role { return []Role{Administrator, Auditor, Operator, Author, Viewer, Approver} }

// ParseRole returns the role of that name, or authz.ErrInvalid.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	names := make([]string, 0, len(Roles()))
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return "", authz.Errorf(authz.ErrInvalid, "%.64q is no role of a person: one of %s", s, strings.Join(names, ", "))
}

// Granted returns what the person may do whenever they are signed in: the roles that an administrator set, or
// to answer if none is set, which is what a person was for before there were roles.
func (p *Person) Granted() []Role {
	if len(p.Roles) == 0 {
		return []Role{Approver}
	}
	return p.Roles
}

// Answers reports whether the person may answer asks whenever they are signed in.
func (p *Person) Answers() bool { return !p.Disabled && slices.Contains(p.Granted(), Approver) }

// ranked reports whether the person may do what an administrator has said.
func (p *Person) ranked() bool { return !p.Disabled && len(p.Roles) > 0 }

// checkRoles returns authz.ErrInvalid unless roles are roles, each named once.
func checkRoles(roles []Role) error {
	for i, r := range roles {
		if _, err := ParseRole(string(r)); err != nil {
			return err
		}
		if slices.Contains(roles[:i], r) {
			return authz.Errorf(authz.ErrInvalid, "the role %s is named twice", r)
		}
	}
	return nil
}

// withRoles returns the roles of both, each once.
func withRoles(a, b []Role) []Role {
	out := slices.Clone(a)
	for _, r := range b {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// notSelf returns authz.ErrForbidden if the actor is the person whom a change is about: whoever may administer
// persons does not administer themselves, so that it takes a second name in the record. It does not bind an administrator, who
// can make that second one.
func notSelf(actor, id string) error {
	if actor == "person:"+id {
		return authz.Errorf(authz.ErrForbidden, "nobody changes what is kept of themselves, or makes a link for themselves: another administrator does")
	}
	return nil
}
