package signin

import (
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

// A Grant gives a role to whoever signs in with the identity provider, if its ID token has a claim of that value.
// Only what is configured gives any: there is no value that does by itself.
type Grant struct {
	Role         people.Role
	Claim, Value string
}

// ParseGrant reads a grant from ROLE/CLAIM=VALUE, such as operator/groups=agent-operations. It returns
// authz.ErrInvalid.
func ParseGrant(text string) (g Grant, err error) {
	role, rest, ok := strings.Cut(text, "/")
	if !ok {
		return g, authz.Errorf(authz.ErrInvalid, "%.100q is not ROLE/CLAIM=VALUE", text)
	}
	if g.Role, err = people.ParseRole(role); err != nil {
		return Grant{}, err
	}
	if g.Claim, g.Value, ok = strings.Cut(rest, "="); !ok || g.Claim == "" || len(g.Claim) > maxGrant || !people.PlainClaim(g.Claim) || !people.PlainClaim(g.Value) {
		return Grant{}, authz.Errorf(authz.ErrInvalid, "%.100q is not ROLE/CLAIM=VALUE", text)
	}
	return g, nil
}

// maxGrant bounds the name of a claim, in bytes.
const maxGrant = 128

// granted returns the roles that the claims of an ID token give. An e-mail address that is not verified gives none.
func (p *provider) granted(said map[string]any) (roles []people.Role) {
	verified, _ := said["email_verified"].(bool)
	for _, g := range p.Roles {
		if g.Claim == "email" && !verified {
			continue
		}
		if !slices.Contains(roles, g.Role) && slices.Contains(texts(said[g.Claim]), g.Value) {
			roles = append(roles, g.Role)
		}
	}
	return roles
}
