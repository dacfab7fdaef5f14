package oauth

import (
	"context"
	"net/http"
	"net/url"
)

// Authenticate is authenticate.
func (s *Server) Authenticate(r *http.Request, form url.Values) (*Client, error) {
	return s.authenticate(r, form)
}

// Workload is workload.
func (s *Server) Workload(ctx context.Context, assertion string) (*Client, error) {
	return s.workload(ctx, assertion)
}

// Fail is fail.
func (s *Server) Fail(w http.ResponseWriter, r *http.Request, err error) { s.fail(w, r, err) }

// Methods returns the supported ways of authenticating.
func (s *Server) Methods() []string { return s.clients.methods() }

// ParseDiscovery, DiscoveryURLs and CheckDocumentURL are what they are called.
var (
	ParseDiscovery   = parseDiscovery
	DiscoveryURLs    = discoveryURLs
	CheckDocumentURL = checkDocumentURL
)

// ParseDocument returns how many keys a metadata document has, or where they are.
func ParseDocument(text []byte, address string) (keys int, keysURL string, err error) {
	d, err := parseDocument(text, address)
	if err != nil {
		return 0, "", err
	}
	return len(d.keys), d.keysURL, nil
}

// CheckRule and MeetsRule are check and met.
func CheckRule(r Rule) error                   { return r.check() }
func MeetsRule(r Rule, claims string) bool     { return r.met([]byte(claims)) }
func CheckPath(p SPIFFEPath) error             { return p.check() }
func PathAgent(p SPIFFEPath, id string) string { who, _ := p.agent(id); return string(who) }

// ParseSubject and SubjectOf are what they are called.
var (
	ParseSubject = parseSubject
	SubjectOf    = subjectOf
)
