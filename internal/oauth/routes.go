package oauth

import (
	"net/http"
	"net/url"
	"slices"
)

// A route is one thing that the server answers. What its handler returns as an error is written by fail.
type route struct {
	method, path string // the path without the issuer's
	serve        func(w http.ResponseWriter, r *http.Request) error
}

// routes is the one list of everything the server answers.
func (s *Server) routes() ([]route, error) {
	documents, err := s.metadataRoutes()
	if err != nil {
		return nil, err
	}
	var persons []route
	if s.cfg.Desk != nil {
		persons = []route{{"POST", backchannelPath, s.backchannel}}
	}
	return slices.Concat(persons, []route{
		{"GET", authorizePath, s.authorize},
		{"POST", authorizePath, s.authorize},
		{"POST", tokenPath, s.token},
		{"POST", introspectPath, s.introspect},
		{"POST", revokePath, s.revoke},
		{"GET", keySetPath, s.keySet},
		{"GET", historicalPath, s.historical},
		{"GET", statusPath + "{n}", s.status},
	}, s.clientRoutes(), documents), nil
}

// newHandler makes what Handler returns.
func (s *Server) newHandler() (http.Handler, error) {
	u, err := url.Parse(s.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	s.path = u.Path
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, rt := range routes {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := rt.serve(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
		mux.Handle(rt.method+" "+rt.path, h)
		if u.Path != "" {
			mux.Handle(rt.method+" "+u.EscapedPath()+rt.path, h)
		}
	}
	return mux, nil
}

// Handler answers everything the server has to say, at the paths of its endpoints and, if the issuer
// has a path, below that path too.
func (s *Server) Handler() http.Handler { return s.handler }
