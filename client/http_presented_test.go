package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A passport is taken only as it may be presented, and a proof once.
func TestDoor(t *testing.T) {
	tok, err := newAuthServer(t).agent("ES256").Token(t.Context(), client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	prove := func(method, url string) string {
		t.Helper()
		p, err := tok.Proof(method, url, "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	door := &client.Door{URL: "https://shop.example.com/api/", Proofs: new(client.Proofs)}
	present := func(authorization string, proofs ...string) (*authz.Presented, error) {
		r := httptest.NewRequest("POST", "http://evil.example.com/pay%2Fnow?x=1", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		for _, p := range proofs {
			r.Header.Add("DPoP", p)
		}
		return door.Presented(r)
	}
	const url = "https://shop.example.com/api/pay%2Fnow"
	good := prove("POST", url)
	p, err := present("DPoP "+tok.Value, good)
	want := authz.Presented{Token: tok.Value, Proof: good, Method: "POST", URL: url, Audience: "https://shop.example.com/api"}
	if err == nil && p.Shown.IsZero() {
		t.Error("a proof that was looked for among those that were used does not say when it was shown")
	}
	if err == nil {
		p.Shown = time.Time{}
	}
	if err != nil || *p != want {
		t.Fatalf("Presented = %+v, %v, want %+v", p, err, want)
	}
	if _, err := present("dpop "+tok.Value, prove("POST", url)); err != nil {
		t.Errorf("another proof: %v", err)
	}
	for name, tt := range map[string]struct {
		authorization string
		proofs        []string
		none          bool
	}{
		"nothing":                  {"", nil, true},
		"another scheme":           {"Basic YTpi", nil, true},
		"no token":                 {"DPoP", nil, true},
		"the proof again":          {"DPoP " + tok.Value, []string{good}, false},
		"no proof":                 {"DPoP " + tok.Value, nil, false},
		"two proofs":               {"DPoP " + tok.Value, []string{prove("POST", url), prove("POST", url)}, false},
		"of another method":        {"DPoP " + tok.Value, []string{prove("GET", url)}, false},
		"of another URL":           {"DPoP " + tok.Value, []string{prove("POST", "https://evil.example.com/pay%2Fnow")}, false},
		"of another token":         {"DPoP " + tok.Value + "x", []string{prove("POST", url)}, false},
		"forged":                   {"DPoP " + tok.Value, []string{prove("POST", url) + "A"}, false},
		"no proof at all":          {"DPoP " + tok.Value, []string{"x"}, false},
		"as bearer":                {"Bearer " + tok.Value, []string{prove("POST", url)}, false},
		"found":                    {"Bearer " + tok.Value, nil, false},
		"too long":                 {"DPoP " + strings.Repeat("x", 9000), []string{prove("POST", url)}, false},
		"with a space":             {"DPoP a b", []string{prove("POST", url)}, false},
		"a proof that is too long": {"DPoP " + tok.Value, []string{strings.Repeat("x", 9000)}, false},
	} {
		if _, err := present(tt.authorization, tt.proofs...); !errors.Is(err, authz.ErrUnauthenticated) || errors.Is(err, client.ErrNoToken) != tt.none {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := httptest.NewRequest("POST", "/pay%2Fnow", nil)
	r.Header = http.Header{"Authorization": {"DPoP " + tok.Value, "DPoP " + tok.Value}, "Dpop": {prove("POST", url)}}
	if _, err := door.Presented(r); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("two tokens: %v", err)
	}
	door.Now = func() time.Time { return time.Now().Add(61 * time.Second) }
	if _, err := present("DPoP "+tok.Value, prove("POST", url)); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("old: %v", err)
	}
	door.Now = nil
	door.Bearer = true
	if p, err := present("Bearer " + tok.Value); err != nil || p.Proof != "" {
		t.Errorf("found, where that is let in: %+v, %v", p, err)
	}
	for _, url := range []string{"", "shop", "https://shop.example.com?x"} {
		door.URL = url
		if _, err := present("DPoP "+tok.Value, good); err == nil || errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("a door at %q: %v, want that it is its own fault", url, err)
		}
	}
}

// A connection's certificate stands for a proof.
func TestDoorReadsCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	r.Header.Set("Authorization", "Bearer abc")
	p, err := (&client.Door{URL: "https://shop.example.com", Audience: "shop"}).Presented(r)
	if err != nil || len(p.Certificate) != 43 || p.Audience != "shop" || p.Token != "abc" {
		t.Errorf("%+v, %v", p, err)
	}
}

// What is remembered is bounded, and forgotten only when it cannot be shown again.
func TestProofsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tok, err := newAuthServer(t).agent("EdDSA").Token(t.Context(), client.TokenRequest{})
		if err != nil {
			t.Fatal(err)
		}
		proof := func() string {
			p, err := tok.Proof("GET", "https://a.example.com/", "")
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		door := &client.Door{URL: "https://a.example.com", Proofs: &client.Proofs{Max: 6}}
		show := func(proof string) error {
			return door.Complete(t.Context(), &authz.Presented{Method: "GET", URL: "https://a.example.com/"}, []string{"DPoP " + tok.Value}, []string{proof})
		}
		first := proof()
		if err := errors.Join(show(first), show(proof()), show(proof())); err != nil {
			t.Fatal(err)
		}
		if err := show(proof()); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("one more than are remembered: %v", err)
		}
		for range 4 {
			time.Sleep(59 * time.Second) // over the bounds of both halves
			if err := show(first); !errors.Is(err, authz.ErrUnauthenticated) {
				t.Errorf("again: %v", err)
			}
		}
		time.Sleep(3 * time.Minute)
		if err := errors.Join(show(proof()), show(proof()), show(proof())); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// Who makes up keys and tokens fills nothing: what does not count is forgotten.
func TestDoorForgets(t *testing.T) {
	door := &client.Door{URL: "https://a.example.com", Proofs: &client.Proofs{Max: 4}}
	a := refuses("")
	a.Code = authz.CodePassportInvalid
	j := &judge{answer: func(q *client.Question) ([]*client.Answer, error) {
		answer := allows("e1")
		if strings.HasPrefix(q.Presented.Token, "made-up") {
			answer = a
		}
		return []*client.Answer{&answer}, nil
	}}
	h := before(j).Handler(jsonText(`{}`), func(r *http.Request) (client.Question, error) {
		p, err := door.Presented(r)
		return client.Question{Requests: one.Requests, Presented: p}, err
	}, client.HandlerOptions{})
	tok, err := newAuthServer(t).agent("EdDSA").Token(t.Context(), client.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(value, proof string) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Authorization": {"DPoP " + value}, "Dpop": {proof}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	prove := func(value string) string {
		t.Helper()
		tok.Value = value
		p, err := tok.Proof("GET", "https://a.example.com/", "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i := range 5 {
		value := fmt.Sprint("made-up-", i)
		if got := get(value, prove(value)); got != 401 {
			t.Errorf("%s: %d", value, got)
		}
	}
	good := prove("real")
	if first, again := get("real", good), get("real", good); first != 200 || again != 401 {
		t.Errorf("a real one: %d, and again %d", first, again)
	}
	if second, third := get("real", prove("real")), get("real", prove("real")); second != 200 || third != 503 {
		t.Errorf("two are remembered: %d, %d", second, third)
	}
}

// Whatever stands in the two fields, nothing panics, and only what has a token is taken.
func FuzzDoor(f *testing.F) {
	f.Add("DPoP abc", "a.b.c", true)
	f.Add("Bearer abc", "", false)
	f.Add("dpop  ", "", true)
	f.Fuzz(func(t *testing.T, authorization, proof string, bearer bool) {
		p := &authz.Presented{Method: "GET", URL: "https://a.example.com/"}
		var proofs []string
		if proof != "" {
			proofs = []string{proof}
		}
		err := (&client.Door{URL: "https://a.example.com", Bearer: bearer}).Complete(t.Context(), p, []string{authorization}, proofs)
		if err == nil && (p.Token == "" || !strings.HasSuffix(authorization, " "+p.Token) || p.Proof != proof) {
			t.Errorf("Complete(%q, %q) = %+v", authorization, proof, p)
		}
		if err != nil && !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("Complete(%q, %q): %v", authorization, proof, err)
		}
		if fmt.Sprint(err) == "" {
			t.Error("an error that says nothing")
		}
	})
}
