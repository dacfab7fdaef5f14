package oauth

import "strings"

// Serves reports whether a request of that path is for Handler, so that another handler can stand
// beside it.
func (s *Server) Serves(path string) bool {
	if s.path != "" {
		if below, ok := strings.CutPrefix(path, s.path); ok && strings.HasPrefix(below, "/") {
			path = below
		}
	}
	if strings.HasPrefix(path, "/oauth2/") || path == keySetPath {
		return true
	}
	if !strings.HasPrefix(path, "/.well-known/o") { // what is asked most often is none of these
		return false
	}
	for _, document := range []string{serverMetadata, openIDMetadata, resourceMetadata} {
		if rest, ok := strings.CutPrefix(path, document); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
