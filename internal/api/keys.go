package api

import (
	"context"
	"net/http"

	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

// KeyAdmin knows and changes the server's own signing keys. *keyring.Ring is one.
type KeyAdmin interface {
	Keys() []keyring.Info
	Rotate(ctx context.Context, actor, why string, use keyring.Use, atOnce bool) ([]keyring.Info, error)
	Revoke(ctx context.Context, actor, why, kid string) (keyring.Info, error)
}

func (s *Server) listKeys(*http.Request, *caller.Identity, none) (List[keyring.Info], error) {
	return List[keyring.Info]{Items: s.Keys.Keys()}, nil
}

type rotateKeys struct {
	Use    keyring.Use `json:"use,omitempty" doc:"token or status; all keys, if left out"`
	AtOnce bool        `json:"at_once,omitempty" doc:"sign with the new keys now, also where verifiers do not know them yet"`
	reason
}

func (s *Server) rotateKeys(r *http.Request, who *caller.Identity, in rotateKeys) (List[keyring.Info], error) {
	keys, err := s.Keys.Rotate(r.Context(), who.Actor(), in.Why, in.Use, in.AtOnce)
	return List[keyring.Info]{Items: keys}, err
}

type revokeKey struct {
	ID string `path:"kid" json:"-"`
	reason
}

func (s *Server) revokeKey(r *http.Request, who *caller.Identity, in revokeKey) (keyring.Info, error) {
	return s.Keys.Revoke(r.Context(), who.Actor(), in.Why, in.ID)
}
