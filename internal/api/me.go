package api

import (
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/internal/caller"
)

// Me is who calls, as they may know it.
type Me struct {
	ID       string        `json:"id" doc:"of the person, or of the token"`
	Name     string        `json:"name"`
	Kind     string        `json:"kind" doc:"person or token"`
	Actor    string        `json:"actor" doc:"the name in the log"`
	Roles    []caller.Role `json:"roles" doc:"what may be called: each operation of /openapi.json names the roles that may, in x-roles"`
	Method   string        `json:"method" doc:"how a person signed in: passkey, oidc or link; token of everybody else"`
	Passkeys int           `json:"passkeys" doc:"how many passkeys of the person count"`

	SignedInAt    time.Time `json:"signed_in_at,omitzero"`
	ExpiresAt     time.Time `json:"expires_at,omitzero" doc:"of the session, at the latest"`
	IdleExpiresAt time.Time `json:"idle_expires_at,omitzero" doc:"when the session ends if nobody is there; a request with the header X-Safeconduct-Background: 1 does not count"`
}

// readMe tells who calls. It is open to everybody who is somebody.
func (s *Server) readMe(_ *http.Request, c *call, _ none) (Me, error) {
	who := c.who
	me := Me{ID: who.ID, Name: who.Name, Kind: "token", Actor: who.Actor(), Roles: who.Roles, Method: "token"}
	if c.session == nil {
		return me, nil
	}
	p := c.session.Person
	me.Name = p.Name
	for i := range p.Passkeys {
		if p.Passkeys[i].Active() {
			me.Passkeys++
		}
	}
	if who.IsPerson() {
		me.Kind, me.Method = "person", c.session.Method
		me.SignedInAt, me.ExpiresAt, me.IdleExpiresAt = c.session.At, c.session.ExpiresAt, c.session.IdleAt
	}
	return me, nil
}

// meRoute is open to every role, and to persons.
func (s *Server) meRoute() route {
	rt := serving("GET", "/v1/me", everybody, "Read who calls", 0, s.readMe, nil)
	rt.everybody = true
	return rt
}
