package api

import (
	"context"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// PolicyAdmin keeps and publishes policies. *policy.Library is one.
type PolicyAdmin interface {
	Active() *policy.Set
	Publish(ctx context.Context, p policy.Publication) (policy.Version, error)
	Versions(ctx context.Context, before int64, limit int) ([]policy.Version, error)
	Version(ctx context.Context, n int64) (policy.Texts, error)
	Rollback(ctx context.Context, n, ifVersion int64, author, message string) (policy.Version, error)
	Compiled(ctx context.Context, n int64) (*policy.Set, error)
}

// A SourceForm is a policy set, a catalog, or both. What is left out stays as the active version has it.
type SourceForm struct {
	Source  *policy.Source `json:"source,omitempty"`
	Catalog string         `json:"catalog,omitempty" doc:"text of a YAML or JSON catalog document"`
}

type publish struct {
	SourceForm
	IfVersion int64 `json:"if_version" doc:"the active version that is replaced; 0 if there is none"`
	reason
}

func (s *Server) publish(r *http.Request, who *caller.Identity, in publish) (policy.Version, error) {
	if in.Source == nil && in.Catalog == "" {
		return policy.Version{}, invalid("neither a source nor a catalog is given")
	}
	p := policy.Publication{Source: in.Source, Author: who.Actor(), Message: in.Why, IfVersion: in.IfVersion}
	if in.Catalog != "" {
		p.Catalog = []byte(in.Catalog)
	}
	return s.Policies.Publish(r.Context(), p)
}

type listVersions struct {
	Before int64 `query:"before" json:"-" doc:"begin before this version"`
	Limit  int   `query:"limit" json:"-" doc:"at most so many, 100 by default and 1000 at most"`
}

// A VersionList is one page of versions, newest first. Next, if it is not 0, is the next page's before.
type VersionList struct {
	Items  []policy.Version `json:"items"`
	Active int64            `json:"active" doc:"0 if none is"`
	Next   int64            `json:"next,omitempty"`
}

func (s *Server) listVersions(r *http.Request, _ *caller.Identity, in listVersions) (VersionList, error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return VersionList{}, err
	}
	items, err := s.Policies.Versions(r.Context(), in.Before, n)
	if err != nil {
		return VersionList{}, err
	}
	list := VersionList{Items: items}
	if len(items) == n {
		list.Next = items[n-1].Number
	}
	if active := s.Policies.Active(); active != nil {
		list.Active = active.Version()
	}
	return list, nil
}

// A VersionText is a published version with its texts.
type VersionText struct {
	policy.Version
	Source  policy.Source `json:"source"`
	Catalog string        `json:"catalog"`
}

type versionNumber struct {
	Version int64 `path:"version" json:"-"`
}

func (s *Server) readVersion(r *http.Request, _ *caller.Identity, in versionNumber) (VersionText, error) {
	v, err := s.Policies.Version(r.Context(), in.Version)
	if err != nil {
		return VersionText{}, err
	}
	return VersionText{v.Version, v.Source, v.Catalog}, nil
}

func (s *Server) activeVersion(r *http.Request, who *caller.Identity, _ none) (VersionText, error) {
	active := s.Policies.Active()
	if active == nil {
		return VersionText{}, authz.Errorf(authz.ErrNotFound, "no policy is published")
	}
	return s.readVersion(r, who, versionNumber{active.Version()})
}

type rollback struct {
	versionNumber `json:"-"`
	IfVersion     int64 `json:"if_version,omitempty" doc:"the active version that is replaced; 0 replaces whichever is active"`
	reason
}

func (s *Server) rollback(r *http.Request, who *caller.Identity, in rollback) (policy.Version, error) {
	return s.Policies.Rollback(r.Context(), in.Version, in.IfVersion, who.Actor(), in.Why)
}
