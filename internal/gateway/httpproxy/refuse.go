package httpproxy

import (
	"encoding/json"
	"net/http"

	"github.com/safeconduct/safeconduct/client"
)

// problem answers with a problem (RFC 9457) that is none of a decision.
func (s *passage) problem(status int, code, detail string) {
	body, err := json.Marshal(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail,omitempty"`
		Code     string `json:"code"`
		Decision string `json:"evaluation_id,omitempty"`
	}{"about:blank", http.StatusText(status), status, detail, code, s.id})
	if err != nil { // texts always encode
		body = []byte("{}")
	}
	s.refuse(&client.HTTPRefusal{Status: status, Body: append(body, '\n'), Header: http.Header{
		"Cache-Control": {"no-store"}, "Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"},
	}}, "")
}

// refuse answers, with the member approval if there is something to say of it.
func (s *passage) refuse(h *client.HTTPRefusal, approval string) {
	if s.id != "" {
		s.w.Header().Set(DecisionHeader, s.id)
	}
	if n := len(h.Body) - len("}\n"); approval != "" && n > 1 {
		h.Body = append(append(h.Body[:n:n], `,"approval":`...), approval+"}\n"...)
	}
	h.WriteTo(s.w)
}
