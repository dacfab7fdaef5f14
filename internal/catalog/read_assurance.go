package catalog

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of what can be said of assurance.
const (
	maxAssurances = 32 // levels
	maxMethods    = 16 // methods of a level
)

// acrPrefix begins the acr of a level that declares none, and trustPrefix that of tokens of agents that
// reach none, which says their trust.
const (
	acrPrefix   = "urn:safeconduct:assurance:"
	trustPrefix = "urn:safeconduct:trust:"
)

// clientMethods are the ways in which agents authenticate at our token endpoint, and bindings those in
// which tokens are bound to who may use them.
var (
	clientMethods = []string{"private_key_jwt", "self_signed_tls_client_auth", "spiffe_jwt", "spiffe_x509", "tls_client_auth", "workload"}
	bindings      = []string{"dpop", "mtls"}
)

// personMethods are how persons authenticate to us (RFC 8176): with a passkey, which is all of them, or in no
// way that is known. Agents have none.
var personMethods = []string{"mfa", "pop", "user"}

func (r *reader) assurance(n ast.Node) {
	acrs := map[string]string{} // to levels
	r.each(n, "assurance", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "assurance level") {
			return
		}
		if len(r.c.assurances) == maxAssurances {
			r.at(at, "there are more than %d assurance levels", maxAssurances)
			return
		}
		a, before := &Assurance{ID: id, ACR: acrPrefix + id}, len(r.problems)
		where := at
		r.object(v, "assurance level "+id, fields{
			"title":   func(n ast.Node) { a.Title = r.text(n, "title") },
			"acr":     func(n ast.Node) { a.ACR, where = r.acr(n), n },
			"amr":     func(n ast.Node) { a.AMR = r.any(n, "amr", r.methods(n, "amr", personMethods)) },
			"methods": func(n ast.Node) { a.Methods = r.any(n, "methods", r.methods(n, "methods", clientMethods)) },
			"bound":   func(n ast.Node) { a.Bound = r.any(n, "bound", r.methods(n, "bound", bindings)) },
			"person":  func(n ast.Node) { a.Person = r.truth(n, "person") },
			"max_age": func(n ast.Node) { a.MaxAge = r.duration(n, "max_age", time.Second, 365*day) },
		})
		switch other := acrs[a.ACR]; {
		case len(r.problems) > before: // complained of already
		case !a.demands():
			r.at(at, "assurance level %s demands nothing, so everybody would reach it: give it amr, methods, bound, person or max_age", id)
		case other != "":
			r.at(where, "assurance level %s has the acr of level %s", id, other)
		default:
			acrs[a.ACR] = id
		}
		if a.Title == "" {
			a.Title = id
		}
		r.c.assurances[id] = a
	})
}

// acr reads a value of acr_values, which are separated by spaces.
func (r *reader) acr(n ast.Node) string {
	s := r.named(n, "acr")
	switch {
	case strings.HasPrefix(s, trustPrefix):
		r.at(n, "acr %q says how far an agent is trusted: choose another", s)
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }):
		r.at(n, "acr %q must have no spaces, quotes or letters that are not ASCII", shorten(s))
	}
	return s
}

// methods reads a list of methods out of those that are known: what demands another is never reached.
func (r *reader) methods(n ast.Node, what string, known []string) []string {
	all := r.names(n, what, func(s string, at ast.Node) {
		if !slices.Contains(known, s) {
			r.at(at, "%s: %q is not known%s: one of %s", what, s, r.suggest(s, known), enumerate(known))
		}
	})
	if len(all) > maxMethods {
		r.at(n, "%s has more than %d elements", what, maxMethods)
	}
	return all
}
