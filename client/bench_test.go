package client_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/client"
)

// BenchmarkToken is a call that finds a token at hand.
func BenchmarkToken(b *testing.B) {
	src := benchAgent(b, "EdDSA").Tokens(client.TokenRequest{})
	if _, err := src.Token(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := src.Token(b.Context()); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkTransport is what a Transport adds to a request: mostly the signature of the proof.
func BenchmarkTransport(b *testing.B) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		b.Run(alg, func(b *testing.B) {
			tr, err := client.NewTransport(rsURL, benchAgent(b, alg).Tokens(client.TokenRequest{}))
			if err != nil {
				b.Fatal(err)
			}
			tr.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{"Dpop-Nonce": {"n"}}, Body: http.NoBody}, nil
			})
			req, err := http.NewRequest("GET", rsURL+"/invoices/2026-114", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tr.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// benchAgent returns an agent whose server gives tokens and checks nothing.
func benchAgent(b *testing.B, alg string) *client.Agent {
	b.Helper()
	a := newAuthServer(nil).agentFor(b, alg)
	a.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		text := `{"access_token":"` + strings.Repeat("a", 900) + `","token_type":"DPoP","expires_in":86400}`
		if r.Method == "GET" {
			text = `{"issuer":"` + issuer + `","token_endpoint":"` + issuer + `/oauth2/token"}`
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
	})}
	return a
}
