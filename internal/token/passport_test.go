package token_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// TestPassportSize: a typical agent's passport fits into every header that HTTP servers take.
func TestPassportSize(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(t, alg)
		text, err := s.Sign(token.PassportType, typical().Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 1200 {
			t.Errorf("%s: the passport of a typical agent has %d bytes, want at most 1200\n%s", alg, len(text), typical().Append(nil))
		}
	}
}

// full is a passport with every claim.
func full() *token.Passport {
	p := typical()
	p.Audience = []string{"https://a.example.com", "https://b.example.com"}
	p.NotBefore, p.AuthTime = noon, noon.Add(-time.Hour)
	p.ACR, p.AMR, p.Txn = "urn:example:gold", []string{"mfa", "pop"}, `a "quoted" text`
	p.Details[1].Actions = []string{"http.get", "http.put"}
	p.Details[2].Locations = []string{"https://a.example.com"}
	p.Details[3].Limits = &authz.Limits{
		Class: "confidential", Amount: map[string]string{"amount": "5000", "Überweisung": "0.10"},
		Regions: []string{"CH", "DE"}, Schedules: []string{"business-hours"},
	}
	p.Confirmation.X5TS256 = rfc8037ID
	p.Actor = &token.Actor{Subject: "c", ClientID: "c", ID: "2", Actor: &token.Actor{Subject: "b", ID: "1"}}
	p.MayAct = &token.Actor{Subject: "d"}
	return p
}

func TestPassportRoundTrip(t *testing.T) {
	bare := &token.Passport{Issuer: "i", Subject: "s", ClientID: "c", Audience: []string{"a"}, ID: "j", IssuedAt: noon, Expires: noon}
	for _, want := range []*token.Passport{typical(), full(), bare} {
		text := want.Append([]byte("x"))[1:]
		got, err := token.ParsePassport(text)
		if err != nil {
			t.Fatalf("ParsePassport(%s): %v", text, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("read again (-want +got):\n%s", d)
		}
		if again := got.Append(nil); string(again) != string(text) {
			t.Errorf("written again:\n%s\nfirst:\n%s", again, text)
		}
	}
}

// TestPassportForm reads what Append writes with the standard library.
func TestPassportForm(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(full().Append(nil), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": "https://auth.example.com", "sub": "billing-agent", "client_id": "billing-agent",
		"aud": []any{"https://a.example.com", "https://b.example.com"}, "jti": "q3nWvXkHk9s2cLrT8yB1fA",
		"iat": float64(noon.Unix()), "nbf": float64(noon.Unix()), "exp": float64(noon.Unix() + 300), "auth_time": float64(noon.Unix() - 3600),
		"scope": "invoice.read invoice.write ledger.read payment.create",
		"authorization_details": []any{
			map[string]any{"type": "capability", "identifier": "invoice.write", "actions": []any{"http.get", "http.put"}},
			map[string]any{"type": "capability", "identifier": "ledger.read", "locations": []any{"https://a.example.com"}},
			map[string]any{"type": "capability", "identifier": "payment.create", "limits": map[string]any{
				"class": "confidential", "amount": map[string]any{"amount": "5000", "Überweisung": "0.10"},
				"regions": []any{"CH", "DE"}, "schedules": []any{"business-hours"},
			}},
		},
		"acr": "urn:example:gold", "amr": []any{"mfa", "pop"}, "txn": `a "quoted" text`,
		"cnf":     map[string]any{"jkt": rfc9449ID, "x5t#S256": rfc8037ID},
		"act":     map[string]any{"sub": "c", "client_id": "c", "jti": "2", "act": map[string]any{"sub": "b", "jti": "1"}},
		"may_act": map[string]any{"sub": "d"},
		"status":  map[string]any{"status_list": map[string]any{"idx": 51234.0, "uri": "https://auth.example.com/oauth2/status/3"}},
		token.ConductClaim: map[string]any{
			"level": "established", "score": 0.97, "window": "P30D", "decisions": 18231.0, "denied": 12.0, "as_of": 4182231.0,
			"history": map[string]any{"uri": "/history/billing-agent", "digest": rfc8037ID, "size": 18231.0},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
}

// TestConductScore: a score that is no number is written as no trust.
func TestConductScore(t *testing.T) {
	for _, score := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		p := typical()
		p.Conduct.Score = score
		got, err := token.ParsePassport(p.Append(nil))
		if err != nil || got.Conduct.Score != 0 {
			t.Errorf("score %v: read again as %+v, %v, want 0", score, got, err)
		}
	}
}

func TestActorDepth(t *testing.T) {
	var a *token.Actor
	for i := range token.MaxActors + 1 {
		if a.Depth() != i {
			t.Errorf("Depth() = %d, want %d", a.Depth(), i)
		}
		p := typical()
		p.Actor = a
		if _, err := token.ParsePassport(p.Append(nil)); err != nil {
			t.Errorf("%d actors: %v", i, err)
		}
		a = &token.Actor{Subject: fmt.Sprint(i), Actor: a}
	}
	p := typical()
	p.Actor = a
	if _, err := token.ParsePassport(p.Append(nil)); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("%d actors: %v, want a refusal", a.Depth(), err)
	}
}

// TestPassportSkips: a claim that says nothing of what the bearer may do is nobody's harm.
func TestPassportSkips(t *testing.T) {
	text := strings.Replace(string(typical().Append(nil)), `{"iss"`, `{"later":{"a":[1]},"iss"`, 1)
	got, err := token.ParsePassport([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(typical(), got); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
}

func TestParsePassportRefuses(t *testing.T) {
	good := string(full().Append(nil))
	but := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	cases := map[string]string{
		"nothing":                        ``,
		"a list":                         `[]`,
		"an object without claims":       `{}`,
		"something behind it":            good + `{}`,
		"a claim twice":                  but(`"sub":`, `"sub":"x","sub":`),
		"a subject that is null":         but(`"sub":"billing-agent"`, `"sub":null`),
		"a subject that is empty":        but(`"sub":"billing-agent"`, `"sub":""`),
		"an audience that is empty":      but(`"aud":["https://a.example.com","https://b.example.com"]`, `"aud":[]`),
		"an audience with a number":      but(`"aud":[`, `"aud":[1,`),
		"a time as text":                 but(fmt.Sprint(`"exp":`, noon.Unix()+300), `"exp":"1"`),
		"a time with a fraction":         but(fmt.Sprint(`"exp":`, noon.Unix()+300), `"exp":1.5`),
		"a time before 1970":             but(fmt.Sprint(`"exp":`, noon.Unix()+300), `"exp":-1`),
		"a time that does not come":      but(fmt.Sprint(`"exp":`, noon.Unix()+300), `"exp":253402300800`),
		"a scope with two spaces":        but(`invoice.read `, `invoice.read  `),
		"a scope with a tab":             but(`invoice.read `, `invoice.read\t`),
		"a scope that names one twice":   but(`invoice.read `, `invoice.read invoice.read `),
		"no details":                     but(`"authorization_details":[`, `"authorization_details":[],"x":[`),
		"details that are an object":     but(`"authorization_details":[`, `"authorization_details":{},"x":[`),
		"a detail of another type":       but(`"type":"capability"`, `"type":"account"`),
		"a detail without a type":        but(`"type":"capability",`, ``),
		"a detail without a capability":  but(`"identifier":"invoice.write",`, ``),
		"two details of a capability":    but(`"identifier":"invoice.write"`, `"identifier":"ledger.read"`),
		"a detail with what is unknown":  but(`"type":"capability"`, `"type":"capability","privileges":["all"]`),
		"a detail with no action":        but(`"actions":["http.get","http.put"]`, `"actions":[]`),
		"a limit that is unknown":        but(`"class":"confidential"`, `"class":"confidential","rate":"1/s"`),
		"an amount that is a number":     but(`"5000"`, `5000`),
		"amounts that are empty":         but(`"amount":{`, `"amount":{},"x":{`),
		"a binding that is unknown":      but(`"cnf":{`, `"cnf":{"kid":"a",`),
		"a binding to nothing":           but(`"cnf":{`, `"cnf":{},"x":{`),
		"a binding that is null":         but(`"cnf":{`, `"cnf":null,"x":{`),
		"a thumbprint that is too short": but(rfc9449ID, "abc"),
		"an actor without a name":        but(`"act":{"sub":"c",`, `"act":{`),
		"an actor with what is unknown":  but(`"act":{`, `"act":{"iss":"https://other.example.com",`),
		"an actor twice":                 but(`"act":{"sub":"b"`, `"act":{"sub":"x"},"act":{"sub":"b"`),
		"who may act, by a chain":        but(`"may_act":{`, `"may_act":{"act":{"sub":"x"},`),
		"a status that is unknown":       but(`"status":{`, `"status":{"identifier_list":{},`),
		"a status without an index":      but(`"idx":51234,`, ``),
		"a status with a bad index":      but(`"idx":51234`, `"idx":-1`),
		"a score that is no number":      but(`0.97`, `"high"`),
		"a score that is too large":      but(`0.97`, `1e999`),
		"an unknown claim twice":         but(`"sub":`, `"x":1,"x":2,"sub":`),
		"a claim that is deep":           but(`"sub":`, `"x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`,"sub":`),
	}
	for _, required := range []string{"iss", "sub", "client_id", "aud", "jti", "iat", "exp"} {
		cases["no "+required] = but(`"`+required+`":`, `"x":`)
	}
	for name, text := range cases {
		if p, err := token.ParsePassport([]byte(text)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: ParsePassport = %+v, %v, want a refusal", name, p, err)
		}
	}
}

func TestParseDetails(t *testing.T) {
	got, err := token.ParseDetails([]byte(`[
		{"identifier": "b", "type": "capability", "limits": {}},
		{"type": "capability", "identifier": "a", "actions": ["y", "x", "y"], "locations": ["l"],
		 "limits": {"schedules": ["t", "s"], "amount": {"sum": "1.50"}}}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []authz.Detail{
		{Type: "capability", Identifier: "a", Actions: []string{"x", "y"}, Locations: []string{"l"}, Limits: &authz.Limits{
			Schedules: []string{"s", "t"}, Amount: map[string]string{"sum": "1.50"},
		}},
		{Type: "capability", Identifier: "b"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("details (-want +got):\n%s", d)
	}
	if again, err := token.ParseDetails(token.AppendDetails(nil, got)); err != nil || !cmp.Equal(again, want) {
		t.Errorf("read again: %+v, %v", again, err)
	}
	for _, text := range []string{``, `{}`, `[]`, `[{}]`, `[1]`, `[null]`, `null`, `[{"type":"capability","identifier":"a"}] x`, `[{"type":"capability","identifier":"a"}`, `[{"type":"capability","type":"capability","identifier":"a"}]`} {
		if got, err := token.ParseDetails([]byte(text)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("ParseDetails(%s) = %+v, %v, want a refusal", text, got, err)
		}
	}
}
