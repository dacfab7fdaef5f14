package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

type boundRequest struct {
	Subject  authz.Entity      `json:"subject"`
	Action   authz.Action      `json:"action"`
	Resource authz.Entity      `json:"resource"`
	Items    []token.BoundItem `json:"items"`
	Context  authz.Claimed     `json:"context"`
}

func (r *boundRequest) hash(members []string) (string, error) {
	if r.Items != nil {
		return token.BulkBindingHash(r.Subject, r.Items, r.Context, members)
	}
	return token.BindingHash(r.Subject, r.Action, r.Resource, r.Context, members)
}

func readBound(t testing.TB, text string) *boundRequest {
	t.Helper()
	r := new(boundRequest)
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatalf("reading %s: %v", text, err)
	}
	return r
}

// TestBindingHashVectors has the vectors of the draft's authors: testdata/NOTICE.
func TestBindingHashVectors(t *testing.T) {
	lines, err := os.ReadFile("testdata/binding-hash.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(lines) {
		var v struct {
			ID, Hash string
			Members  []string
			Request  json.RawMessage
		}
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("reading %s: %v", line, err)
		}
		n++
		t.Run(v.ID, func(t *testing.T) {
			if got, err := readBound(t, string(v.Request)).hash(v.Members); got != v.Hash || err != nil {
				t.Errorf("hash = %q, %v; want %q", got, err, v.Hash)
			}
		})
	}
	if n != 7 {
		t.Errorf("read %d vectors, want 7", n)
	}
}

const boundAct = `{"subject":{"type":"agent","id":"a","properties":{"team":"x"}},"action":{"name":"pay","properties":{"amount":500,"to":"NL01"}},"resource":{"type":"account","id":"7"},"context":{"tenant":"acme","time":"10:00"}}`

// TestBindingHashTells has pairs of requests whose hashes are the same, or are not.
func TestBindingHashTells(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		same           bool
	}{
		{"the order of members", `"amount":500,"to":"NL01"`, `"to":"NL01","amount":500`, true},
		{"how a number is written", `500`, `5.00e2`, true},
		{"how a string is written", `"NL01"`, `"\u004eL01"`, true},
		{"a member that does not count", `10:00`, `11:00`, true},
		{"the actor of the subject", `"team":"x"`, `"team":"x","act":{"sub":"b"}`, true},
		{"another argument", `500`, `501`, false},
		{"a number as text", `500`, `"500"`, false},
		{"one argument more", `"amount"`, `"fast":true,"amount"`, false},
		{"null for absent", `"amount"`, `"fast":null,"amount"`, false},
		{"empty properties for none", `"id":"7"`, `"id":"7","properties":{}`, false},
		{"another resource", `"id":"7"`, `"id":"8"`, false},
		{"another type", `account`, `Account`, false},
		{"another subject", `"id":"a"`, `"id":"b"`, false},
		{"a property of the subject", `"x"`, `"y"`, false},
		{"a member that counts", `acme`, `other`, false},
		{"a string of another normal form", `NL01`, "N\u0301L01", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			members := []string{"tenant"}
			other := strings.Replace(boundAct, c.old, c.new, 1)
			if other == boundAct {
				t.Fatalf("%s does not hold %s", boundAct, c.old)
			}
			a, err := readBound(t, boundAct).hash(members)
			b, err2 := readBound(t, other).hash(members)
			if err != nil || err2 != nil || (a == b) != c.same {
				t.Errorf("hashes %s (%v) of %s and %s (%v) of %s: want the same: %v", a, err, boundAct, b, err2, other, c.same)
			}
		})
	}
}

// TestBindingHashRefuses has what no hash is made of, lest it be that of something else.
func TestBindingHashRefuses(t *testing.T) {
	for _, p := range []string{
		`{"n":9007199254740993}`, `{"n":-9007199254740993}`, `{"n":9007199254740993.0}`, `{"n":9.007199254740993e15}`, `{"n":1e400}`,
		`{"n":1,"n":2}`, `{"n":{"a":1,"a":2}}`, `[]`, `{}}`, `{},"x":{}`, `{"n":`, "{\"n\":\"\xff\"}",
	} {
		entity := authz.Entity{Ref: authz.Ref{Type: "t", ID: "1"}, Properties: authz.Claimed(p)}
		plain := authz.Entity{Ref: entity.Ref}
		for where, r := range map[string]*boundRequest{
			"subject":  {Subject: entity, Resource: plain},
			"resource": {Subject: plain, Resource: entity},
			"action":   {Subject: plain, Resource: plain, Action: authz.Action{Name: "x", Properties: authz.Claimed(p)}},
			"context":  {Subject: plain, Resource: plain, Context: authz.Claimed(p)},
			"item":     {Subject: plain, Items: []token.BoundItem{{Resource: entity}}},
		} {
			if got, err := r.hash([]string{"n"}); !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("hash with %s as properties of the %s = %q, %v; want ErrInvalid", p, where, got, err)
			}
		}
	}
	for _, p := range []string{`{"n":9007199254740991}`, `{"n":-9007199254740991}`, `{"n":"9007199254740993"}`, `{"n":"\"9007199254740993"}`, `{"n":1e30}`, `{"n":0.1234567890123456789}`} {
		if _, err := token.BindingHash(authz.Entity{}, authz.Action{Properties: authz.Claimed(p)}, authz.Entity{}, nil, nil); err != nil {
			t.Errorf("BindingHash with %s: %v", p, err)
		}
	}
}

// TestMembers says which members of a context count.
func TestMembers(t *testing.T) {
	volatile := []string{"time", "confidence"}
	for _, c := range []struct {
		context string
		want    []string
	}{
		{``, []string{}},
		{`{}`, []string{}},
		{`{"tenant":"a","time":1,"b":null,"confidence":0.5}`, []string{"b", "tenant"}},
		{`{"approval":{"id":"x"},"evaluation_id":"1","evaluated_at":"2","reason":"r","access_request":{}}`, []string{}},
	} {
		if got, err := token.Members(authz.Claimed(c.context), volatile); err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("Members(%s) = %q, %v; want %q", c.context, got, err, c.want)
		}
	}
	many := map[string]int{}
	for range token.MaxMembers + 1 {
		many[strings.Repeat("x", len(many)+1)] = 1
	}
	text, _ := json.Marshal(many)
	if got, err := token.Members(text, nil); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Members of %d members = %q, %v; want ErrInvalid", len(many), got, err)
	}
	for _, c := range []struct {
		context string
		want    bool
	}{
		{`{"tenant":"a"}`, true}, {``, true}, {`{"time":"other"}`, true}, {`{"tenant":"a","approval":{}}`, true},
		{`{"tenant":"a","more":1}`, false}, {`{"more":null}`, false}, {`[]`, false},
	} {
		if got := token.Covered(authz.Claimed(c.context), []string{"tenant"}, volatile); got != c.want {
			t.Errorf("Covered(%s) = %v, want %v", c.context, got, c.want)
		}
	}
}

// TestBindingHashIsStructural shows, on random texts, that two acts have one hash exactly if Same says so of
// each of their parts.
func TestBindingHashIsStructural(t *testing.T) {
	object := rapid.Custom(func(t *rapid.T) string {
		members := map[string]any{}
		for range rapid.IntRange(0, 2).Draw(t, "members") {
			name := rapid.SampledFrom([]string{"a", "b", "é"}).Draw(t, "name")
			members[name] = rapid.SampledFrom([]any{nil, true, 1, 1.5, "1", "", []int{1, 2}, []int{2, 1}, map[string]any{"x": nil}, map[string]any{}}).Draw(t, "value")
		}
		text, _ := json.Marshal(members)
		return string(text)
	})
	rapid.Check(t, func(t *rapid.T) {
		var hashes [2]string
		var objects [2][4]string
		for i := range hashes {
			for k := range objects[i] {
				objects[i][k] = object.Draw(t, "object")
			}
			o := objects[i]
			var err error
			hashes[i], err = token.BindingHash(authz.Entity{Properties: authz.Claimed(o[0])}, authz.Action{Properties: authz.Claimed(o[1])},
				authz.Entity{Properties: authz.Claimed(o[2])}, authz.Claimed(o[3]), []string{"a", "b", "é"})
			if err != nil {
				t.Fatalf("BindingHash of %q: %v", o, err)
			}
		}
		same := true
		for k := range objects[0] {
			same = same && token.Same([]byte(objects[0][k]), []byte(objects[1][k]))
		}
		if got := hashes[0] == hashes[1]; got != same {
			t.Errorf("the hashes of %q and %q are the same: %v, want %v", objects[0], objects[1], got, same)
		}
	})
}
