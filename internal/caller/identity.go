package caller

import (
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A Role is what somebody may do. The holder of a token has exactly one; a person can have several.
type Role string

const (
	Viewer        Role = "viewer"        // reads what is needed to watch: agents, decisions, findings, alerts, policies
	Auditor       Role = "auditor"       // reads everything, changes nothing, decides nothing
	Operator      Role = "operator"      // a viewer who stops and restores agents, sets trust, judges findings, raises and clears alerts
	Author        Role = "author"        // a viewer who checks, publishes and rolls back policies and catalogs
	Administrator Role = "administrator" // everything, but for answering asks, and what only an enforcement point can say
	Approver      Role = "approver"      // answers asks: as itself, if it is a person, and by a token as the person whose id its name is
	PEP           Role = "pep"           // asks for decisions, and says what it observed
	Edge          Role = "edge"          // a PEP that decides by itself: it reads what decisions are made by, and uploads what it decided
)

// roles are those that tokens can have. A prefix begins the tokens of a role, so that a token found in the
// wrong place can be told.
var roles = map[Role]struct {
	prefix string
	alone  []Role // the role, shared by all who have it alone
}{
	Viewer:        {"sc_view_", []Role{Viewer}},
	Auditor:       {"sc_audit_", []Role{Auditor}},
	Operator:      {"sc_oper_", []Role{Operator}},
	Author:        {"sc_auth_", []Role{Author}},
	Administrator: {"sc_admin_", []Role{Administrator}},
	Approver:      {"sc_appr_", []Role{Approver}},
	PEP:           {"sc_pep_", []Role{PEP}},
	Edge:          {"sc_edge_", []Role{Edge}},
}

// Roles returns all roles, in the order in which they are told.
func Roles() []Role {
	return []Role{Administrator, Auditor, Operator, Author, Viewer, Approver, PEP, Edge}
}

// ParseRole returns the role of that name, or authz.ErrInvalid.
func ParseRole(s string) (Role, error) {
	if _, ok := roles[Role(s)]; !ok {
		names := make([]string, 0, len(roles))
		for _, r := range Roles() {
			names = append(names, string(r))
		}
		return "", authz.Errorf(authz.ErrInvalid, "unknown role %.64q: one of %s", s, strings.Join(names, ", "))
	}
	return Role(s), nil
}

// An Identity is who calls: the holder of a token, or a person who is signed in. It has no other rights than
// those of its roles; the zero Identity has none.
type Identity struct {
	ID    string // of the token, or of the person
	Name  string // of the token, or the person's id
	Roles []Role

	person bool
}

// Identity returns who calls with the caller's token.
func (c *Caller) Identity() Identity {
	return Identity{ID: c.ID, Name: c.Name, Roles: roles[c.Role].alone}
}

// Person returns who calls when the person of that id is signed in.
func Person(id string, roles []Role) Identity {
	return Identity{ID: id, Name: id, Roles: roles, person: true}
}

// IsPerson reports whether it is a person who is signed in, and no token.
func (i *Identity) IsPerson() bool { return i.person }

// Can reports whether the caller has one of the roles.
func (i *Identity) Can(as ...Role) bool {
	for _, r := range i.Roles {
		if slices.Contains(as, r) {
			return true
		}
	}
	return false
}

// Actor is the caller's name in the audit log.
func (i *Identity) Actor() string {
	switch {
	case i.person, i.Can(Approver):
		return "person:" + i.Name
	case len(i.Roles) == 0:
		return "nobody:" + i.Name
	case i.Can(Administrator):
		return "admin:" + i.Name
	}
	return string(i.Roles[0]) + ":" + i.Name
}

// Enforces reports whether the caller is an enforcement point, which says what it observed.
func (i *Identity) Enforces() bool { return i.Can(PEP, Edge) }

// Point is what decisions that the caller asks for are recorded under (authz.Observed.PEP). No name holds a
// colon, so that nobody else is taken for an enforcement point of the role pep.
func (i *Identity) Point() string {
	if i.Can(PEP) {
		return i.Name
	}
	return i.Actor()
}
