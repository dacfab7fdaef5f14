package api

import (
	"context"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// CallerAdmin knows and changes who may call. *caller.Registry is one.
type CallerAdmin interface {
	Callers() []caller.Caller
	Create(ctx context.Context, actor, why, name string, role caller.Role) (caller.Caller, string, error)
	Revoke(ctx context.Context, actor, why, id string) (caller.Caller, error)
}

func (s *Server) listCallers(*http.Request, *caller.Identity, none) (List[caller.Caller], error) {
	return List[caller.Caller]{Items: s.Callers.Callers()}, nil
}

type createCaller struct {
	Name string      `json:"name" doc:"1 to 100 characters, no spaces and no colon; unique in its role"`
	Role caller.Role `json:"role"`
	reason
}

// A CreatedCaller is a new caller with its token, which is never shown again.
type CreatedCaller struct {
	caller.Caller
	Token string `json:"token"`
}

// createCaller makes a token. A token outlives the session of whoever makes it: by a session nobody makes one that can do
// all they can, nor one that answers as themselves.
func (s *Server) createCaller(r *http.Request, who *caller.Identity, in createCaller) (CreatedCaller, error) {
	switch {
	case !who.IsPerson():
	case in.Role == caller.Administrator:
		return CreatedCaller{}, authz.Errorf(authz.ErrForbidden, "a signed-in person makes no token of the role administrator: it takes an administrator's token")
	case in.Role == caller.Approver && in.Name == who.Name:
		return CreatedCaller{}, authz.Errorf(authz.ErrForbidden, "nobody makes a token that answers as themselves: another administrator does")
	}
	c, token, err := s.Callers.Create(r.Context(), who.Actor(), in.Why, in.Name, in.Role)
	if err != nil {
		return CreatedCaller{}, err
	}
	return CreatedCaller{c, token}, nil
}

type revokeCaller struct {
	ID string `path:"id" json:"-"`
	reason
}

func (s *Server) revokeCaller(r *http.Request, who *caller.Identity, in revokeCaller) (caller.Caller, error) {
	return s.Callers.Revoke(r.Context(), who.Actor(), in.Why, in.ID)
}
