package token_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

func typicalBinding() *token.Binding {
	return &token.Binding{
		Issuer: "https://pdp.example.com", Audience: []string{"https://pdp.example.com/access/v1/requests"}, ID: "q3nWvXkHk9s2cLrT8yB1fA",
		IssuedAt: noon, Expires: noon.Add(10 * time.Minute), DenialExpires: noon.Add(10 * time.Minute),
		Members: []string{"tenant"}, Hash: rfc8037ID, Evaluation: "d123",
	}
}

func typicalState() *token.ApprovalState {
	return &token.ApprovalState{
		Issuer: "https://pdp.example.com", Audience: []string{"https://pdp.example.com", "https://other.example.com"},
		IssuedAt: noon, Expires: noon.Add(10 * time.Minute), Approval: "apr_x", Task: "arq_y", Evaluation: "d123", Members: []string{}, Hash: rfc8037ID,
	}
}

// TestBindingToken shows that what is signed is what is read, by any key of ours, and what is not read.
func TestBindingToken(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(t, alg)
		text, err := typicalBinding().Sign(s)
		if err != nil {
			t.Fatal(err)
		}
		j, err := token.Parse(text)
		if err != nil || !j.Is(token.BindingType) || j.Verify(s.Key()) != nil {
			t.Fatalf("Parse(%s) = %+v, %v: want a %s of the key", text, j, err, token.BindingType)
		}
		got, err := token.ParseBinding(j.Payload)
		if d := cmp.Diff(typicalBinding(), got); d != "" || err != nil {
			t.Errorf("binding token: %v (-want +got):\n%s", err, d)
		}
		refuses(t, j.Payload, func(p []byte) error { _, err := token.ParseBinding(p); return err },
			"iss", "aud", "jti", "iat", "exp", "denial_expires_at", "binding_context_members", "binding_hash", "evaluation_id")
	}
}

// TestApprovalState is TestBindingToken for an approval.state.
func TestApprovalState(t *testing.T) {
	s, _ := newSigner(t, "EdDSA")
	text, err := typicalState().Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	j, err := token.Parse(text)
	if err != nil || !j.Is(token.ApprovalStateType) || j.Verify(s.Key()) != nil {
		t.Fatalf("Parse(%s) = %+v, %v: want a %s of the key", text, j, err, token.ApprovalStateType)
	}
	got, err := token.ParseApprovalState(j.Payload)
	if d := cmp.Diff(typicalState(), got); d != "" || err != nil {
		t.Errorf("approval state: %v (-want +got):\n%s", err, d)
	}
	refuses(t, j.Payload, func(p []byte) error { _, err := token.ParseApprovalState(p); return err },
		"iss", "aud", "iat", "exp", "approval_id", "task_id", "binding_context_members", "binding_hash")
}

// refuses shows that a payload without one of the claims, or with one of another type, is refused, and that
// one with a claim more is read.
func refuses(t *testing.T, payload []byte, parse func([]byte) error, required ...string) {
	t.Helper()
	claims := map[string]json.RawMessage{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) []byte {
		c := maps.Clone(claims)
		if delete(c, name); value != nil {
			c[name], _ = json.Marshal(value)
		}
		text, _ := json.Marshal(c)
		return text
	}
	for _, name := range required {
		for _, value := range []any{nil, true, map[string]any{}, ""} {
			if err := parse(with(name, value)); !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("with %s = %v: %v, want ErrInvalid", name, value, err)
			}
		}
	}
	for name, value := range map[string]any{
		"binding_hash": "short", "binding_context_members": make([]string, 1), "exp": -1, "iat": 1.5, "aud": []string{},
	} {
		if err := parse(with(name, value)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("with %s = %v: %v, want ErrInvalid", name, value, err)
		}
	}
	// ARAP, Binding Token Integrity: verifiers "tolerate additional profile-specific claims".
	if err := parse(with("policy_version", 7)); err != nil {
		t.Errorf("with one claim more: %v", err)
	}
}

// TestBindingTokenIsBounded shows that no token is made that nobody reads.
func TestBindingTokenIsBounded(t *testing.T) {
	s, _ := newSigner(t, "EdDSA")
	b := typicalBinding()
	b.Members = []string{strings.Repeat("x", token.MaxToken)}
	if text, err := b.Sign(s); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Sign of a binding with a long name = %d bytes, %v; want ErrInvalid", len(text), err)
	}
	b.Members = strings.Split(strings.Repeat("x ", token.MaxMembers)+"x", " ")
	text, err := b.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	j, err := token.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.ParseBinding(j.Payload); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("ParseBinding of %d members: %v, want ErrInvalid", len(b.Members), err)
	}
}

// FuzzParseBinding shows that whatever is read can be written, and is read as the same again.
func FuzzParseBinding(f *testing.F) {
	s, _ := newSigner(f, "EdDSA")
	for _, sign := range []func(*token.Signer) (string, error){typicalBinding().Sign, typicalState().Sign} {
		text, err := sign(s)
		if err != nil {
			f.Fatal(err)
		}
		j, err := token.Parse(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(j.Payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > token.MaxToken/2 {
			return
		}
		again := func(sign func(*token.Signer) (string, error)) []byte {
			text, err := sign(s)
			if errors.Is(err, authz.ErrInvalid) { // longer by its escapes
				return nil
			}
			j, err := token.Parse(text)
			if err != nil {
				t.Fatalf("reading what %s was written as: %v", payload, err)
			}
			return j.Payload
		}
		if b, err := token.ParseBinding(payload); err == nil {
			if p := again(b.Sign); p != nil {
				if c, err := token.ParseBinding(p); err != nil || !cmp.Equal(b, c) {
					t.Errorf("binding of %s = %+v, %v; want %+v", p, c, err, b)
				}
			}
		}
		if a, err := token.ParseApprovalState(payload); err == nil {
			if p := again(a.Sign); p != nil {
				if c, err := token.ParseApprovalState(p); err != nil || !cmp.Equal(a, c) {
					t.Errorf("state of %s = %+v, %v; want %+v", p, c, err, a)
				}
			}
		}
	})
}
