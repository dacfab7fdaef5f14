package signin

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
)

// maxBody bounds what pages send: a registration with its attestation is the largest.
const maxBody = 64 << 10

// statuses is the table from a kind of error to its code and status, as the API has it.
var statuses = []struct {
	kind   error
	code   string
	status int
}{
	{authz.ErrInvalid, "invalid", http.StatusBadRequest},
	{authz.ErrUnauthenticated, "unauthenticated", http.StatusUnauthorized},
	{authz.ErrForbidden, "forbidden", http.StatusForbidden},
	{authz.ErrNotFound, "not_found", http.StatusNotFound},
	{authz.ErrConflict, "conflict", http.StatusConflict},
	{authz.ErrUnavailable, "unavailable", http.StatusServiceUnavailable},
}

// answer makes a handler of f: what it returns is written as JSON.
func (d *Door) answer(f func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := f(w, r)
		status := http.StatusOK
		if err != nil {
			var code, msg string
			status, code, msg = d.describe(r, err)
			out = map[string]any{"error": map[string]string{"code": code, "message": msg}}
		}
		body, err := json.Marshal(out)
		if err != nil { // cannot be: plain structs of texts
			status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"internal error"}}`)
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		w.Write(body) // whoever does not read it is gone
	}
}

// describe returns what may be known of err outside. A known kind shows its message, everything else is in
// our log.
func (d *Door) describe(r *http.Request, err error) (status int, code, msg string) {
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			if s.status == http.StatusServiceUnavailable {
				d.warn(r, "signing in is not possible", "err", err)
				return s.status, s.code, "this is not possible at the moment: try again"
			}
			return s.status, s.code, err.Error()
		}
	}
	d.cfg.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "err", err)
	return http.StatusInternalServerError, "internal", "internal error"
}

// read decodes the body of a request that changes something, strictly, if a page of ours sent it.
func (d *Door) read(r *http.Request, in any) error {
	if err := d.sameOrigin(r); err != nil {
		return err
	}
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return authz.Errorf(authz.ErrInvalid, "the Content-Type must be application/json")
	}
	dec := json.NewDecoder(io.LimitReader(r.Body, maxBody+1))
	dec.DisallowUnknownFields()
	if err := dec.Decode(in); err != nil || dec.InputOffset() > maxBody {
		return authz.Errorf(authz.ErrInvalid, "the body cannot be read")
	}
	if _, err := dec.Token(); err != io.EOF {
		return authz.Errorf(authz.ErrInvalid, "there is something after the body")
	}
	return nil
}
