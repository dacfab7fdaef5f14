package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Codes of challenges (RFC 6750 section 3.1, RFC 9449 section 12.2).
const (
	codeRequest  = "invalid_request"
	codeToken    = "invalid_token"
	codeScope    = "insufficient_scope"
	codeProof    = "invalid_dpop_proof"
	codeNonce    = "use_dpop_nonce"
	codeBusy     = "temporarily_unavailable"
	codeForeign  = "forbidden"
	proofsAccept = "EdDSA Ed25519 ES256 PS256 RS256"
)

// A Challenge refuses a request that did not say who sends it, or not well enough. It is authz.ErrUnauthenticated,
// authz.ErrForbidden (403), authz.ErrInvalid (400), or authz.ErrUnavailable (503: it could not be found out).
type Challenge struct {
	Status  int    // 400, 401, 403 or 503
	Code    string // "" if no token came
	Message string // for the agent; it quotes nothing that was sent

	header http.Header
	kind   error
	cause  error
}

// Error says what was wrong.
func (c *Challenge) Error() string {
	if c.cause != nil {
		return c.Message + ": " + c.cause.Error()
	}
	return c.Message
}

// Unwrap returns the kind.
func (c *Challenge) Unwrap() error { return c.kind }

// Header returns the answer's header: WWW-Authenticate, DPoP-Nonce, Retry-After.
func (c *Challenge) Header() http.Header { return c.header }

// WriteTo writes the whole answer.
func (c *Challenge) WriteTo(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range c.header {
		h[name] = values
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	body, _ := json.Marshal(struct {
		Error   string `json:"error,omitempty"`
		Message string `json:"error_description"`
	}{c.Code, c.Message})
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(c.Status)
	_, _ = w.Write(body)
}

// params are those of one challenge in WWW-Authenticate, in order.
type params []struct{ name, value string }

func (ps params) header(scheme string) string {
	var b strings.Builder
	b.WriteString(scheme)
	sep := " "
	for _, p := range ps {
		if p.value == "" {
			continue
		}
		b.WriteString(sep + p.name + `="`)
		for i := range len(p.value) {
			// RFC 6750 section 3: neither quotes nor backslashes, nor anything but printable ASCII.
			switch c := p.value[i]; {
			case c == '"', c == '\\':
				b.WriteByte('\'')
			case c < ' ' || c > '~':
				b.WriteByte('?')
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('"')
		sep = ", "
	}
	return b.String()
}
