package oauth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// What one core does of the server's part: no network, the decision point judges by six policies, and
// the log writes into memory. Assertions and proofs are signed before.
func BenchmarkIssue(b *testing.B) {
	h, _ := newJudged(b)
	r := h.replicas[0]
	m := h.member("alice", "read-mail")
	m.proof = newSigner(b, "EdDSA")
	m.token(r)
	type prepared struct{ body, proof string }
	reqs := make([]prepared, b.N)
	for i := range reqs {
		reqs[i] = prepared{m.form("grant_type", "client_credentials", "scope", "read-mail").Encode(), m.proofFor(m.nonce[r])}
	}
	var next atomic.Int64
	b.SetParallelism(16) // the log joins what waits
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p := reqs[next.Add(1)-1]
			req := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader(p.body))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("DPoP", p.proof)
			w := &discard{header: http.Header{}}
			r.server.Handler().ServeHTTP(w, req)
			if w.status != 200 {
				b.Errorf("status %d", w.status)
			}
		}
	})
}

func BenchmarkIntrospect(b *testing.B) {
	h, _ := newJudged(b)
	r := h.replicas[0]
	body := url.Values{"token": {h.member("alice", "read-mail").token(r).Token}}.Encode()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		req := httptest.NewRequest("POST", "/oauth2/introspect", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "Bearer sc_pep_1")
		w := &discard{header: http.Header{}}
		r.server.Handler().ServeHTTP(w, req)
		if w.status != 200 {
			b.Errorf("status %d", w.status)
		}
	}
}

// discard is a ResponseWriter that keeps the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
