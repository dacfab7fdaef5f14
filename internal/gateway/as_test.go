package gateway_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/safeconduct/safeconduct/internal/token"
)

// A foreign is an authorization server that nothing of ours made but its key set: it signs with another library.
type foreign struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	keys    map[string]crypto.Signer // by kid
	hidden  map[string]bool          // that are not in the set yet
	asked   map[string]int           // by path
	down    bool
	forms   []url.Values
	headers []http.Header
	answer  func(form url.Values, h http.Header) (int, map[string]any)
	edit    func(map[string]any) // of the metadata
}

func newForeign(t testing.TB) *foreign {
	t.Helper()
	f := &foreign{t: t, keys: map[string]crypto.Signer{}, hidden: map[string]bool{}, asked: map[string]int{}}
	f.keys["ed"], f.keys["ec"] = edKey(t), ecKey(t)
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[r.URL.Path]++
	if f.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		m := map[string]any{"issuer": f.URL, "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/jwks"}
		if f.edit != nil {
			f.edit(m)
		}
		f.json(w, m)
	case "/jwks":
		keys := []json.RawMessage{}
		for kid, k := range f.keys {
			if !f.hidden[kid] {
				keys = append(keys, publicJWK(f.t, kid, k))
			}
		}
		f.json(w, map[string]any{"keys": keys})
	case "/token":
		if err := r.ParseForm(); err != nil {
			http.Error(w, "no form", http.StatusBadRequest)
			return
		}
		f.forms, f.headers = append(f.forms, r.PostForm), append(f.headers, r.Header.Clone())
		status, answer := http.StatusOK, map[string]any{"access_token": "issued", "token_type": "Bearer", "expires_in": 300}
		if f.answer != nil {
			status, answer = f.answer(r.PostForm, r.Header)
		}
		w.WriteHeader(status)
		f.json(w, answer)
	default:
		http.NotFound(w, r)
	}
}

func (f *foreign) json(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		f.t.Errorf("encoding: %v", err)
	}
}

func publicJWK(t testing.TB, kid string, k crypto.Signer) json.RawMessage {
	key, err := token.NewKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(key.JWK(), &m); err != nil {
		t.Fatal(err)
	}
	m["kid"] = kid
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func method(k crypto.Signer) jwt.SigningMethod {
	switch k.(type) {
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA
	case *ecdsa.PrivateKey:
		return jwt.SigningMethodES256
	}
	return jwt.SigningMethodRS256
}

// sign returns a token with those claims, signed by the key of that kid.
func (f *foreign) sign(kid string, claims jwt.MapClaims, header map[string]any) string {
	f.t.Helper()
	f.mu.Lock()
	key := f.keys[kid]
	f.mu.Unlock()
	return signWith(f.t, key, method(key), kid, claims, header)
}

func signWith(t testing.TB, key any, m jwt.SigningMethod, kid string, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(m, claims)
	tok.Header["typ"] = "at+jwt"
	if kid != "" {
		tok.Header["kid"] = kid
	}
	maps.Copy(tok.Header, header)
	maps.DeleteFunc(tok.Header, func(_ string, v any) bool { return v == nil })
	text, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims returns those of an ordinary token for an audience, changed by pairs of name and value; nil removes one.
func (f *foreign) claims(now time.Time, audience string, change ...any) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": f.URL, "sub": "anna", "client_id": "travel-bot", "aud": audience, "jti": rand.Text(), "scope": "mail.read mail.send",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for pair := range slices.Chunk(change, 2) {
		if pair[1] == nil {
			delete(c, pair[0].(string))
		} else {
			c[pair[0].(string)] = pair[1]
		}
	}
	return c
}

// forge returns a compact JWS of a header and payload as they stand, with a signature by key, or with the text of one.
func forge(header, payload string, key ed25519.PrivateKey) string {
	b64 := base64.RawURLEncoding.EncodeToString
	in := b64([]byte(header)) + "." + b64([]byte(payload))
	return in + "." + b64(ed25519.Sign(key, []byte(in)))
}

func (f *foreign) with(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *foreign) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

func lines(s ...string) string { return strings.Join(s, "\n") + "\n" }
