package server

import (
	"net/http"
	"net/url"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/console"
)

// newConsole makes the console, below the path of the public URL.
func (s *Server) newConsole() error {
	u, err := url.Parse(s.publicURL())
	if err != nil {
		return err
	}
	s.console, err = console.New(u.Path)
	return err
}

// besideConsole returns a handler that gives the console what is its own, and h the rest.
func (s *Server) besideConsole(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.console.Serves(r.URL.Path) {
			s.console.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// OpenAPI returns the OpenAPI document of a service at a public URL.
func OpenAPI(publicURL string) ([]byte, error) { return api.Document(publicURL) }
