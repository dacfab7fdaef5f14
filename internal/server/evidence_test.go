package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/internal/audit"
)

// What a search finds can be taken out of the log with its proofs, and that somebody did is recorded.
func TestBundle(t *testing.T) {
	s := explainedServer(t)
	for i := range 5 {
		s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, fmt.Sprintf(`{"amount":%d}`, i), ""))
	}
	var key struct{ Key string }
	s.into(s.do("GET", "/v1/audit/key", "", ""), &key)
	v, err := note.NewVerifier(key.Key)
	if err != nil {
		t.Fatal(err)
	}
	bundle := func(body string) (*audit.BundleReport, []audit.Entry) {
		t.Helper()
		r := s.do("POST", "/v1/audit/bundle", adminToken, body)
		if r.status != 200 {
			t.Fatalf("%s: status %d: %s", body, r.status, r.body)
		}
		var es []audit.Entry
		rep, err := audit.VerifyBundle(strings.NewReader(r.body), int64(len(r.body)), func(e audit.Entry) error {
			es = append(es, e)
			return nil
		}, v)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if got, want := r.header.Get("Safeconduct-Export-Entry"), fmt.Sprint(rep.Export.Seq); got != want {
			t.Errorf("%s: export is entry %s, proved is %s", body, got, want)
		}
		return rep, es
	}
	rep, es := bundle(`{"search":{"agent":"payer","action":"pay"},"limit":3,"why":"case 7"}`)
	if len(es) != 3 || rep.Manifest.Before != es[0].Seq || rep.Manifest.By != "admin:admin" || rep.Manifest.Why != "case 7" ||
		string(rep.Manifest.Search) != `{"agent":"payer","action":"pay"}` {
		t.Errorf("3 of 5: %d entries, %+v", len(es), rep.Manifest)
	}
	if rep, es := bundle(fmt.Sprintf(`{"search":{"agent":"payer","action":"pay","before":%d},"why":"the rest"}`, rep.Manifest.Before)); len(es) != 2 || rep.Manifest.Before != 0 {
		t.Errorf("the rest: %d entries, %+v", len(es), rep.Manifest)
	}
	if _, es := bundle(`{"entries":[3,1,3],"why":"case 8"}`); len(es) != 2 || es[0].Seq != 1 {
		t.Errorf("by number: %+v", es)
	}
	var found struct{ Items []audit.Entry }
	s.into(s.do("GET", "/v1/audit/entries?kind=log.exported", adminToken, ""), &found)
	if len(found.Items) != 3 || found.Items[2].Actor != "admin:admin" || !bytes.Contains(found.Items[2].Body, []byte(`"case 7"`)) {
		t.Errorf("exports that were recorded: %+v", found.Items)
	}
	s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, `{}`, `"on_behalf_of":[{"type":"User","id":"ben"}]`))
	if s.into(s.do("GET", "/v1/audit/entries?behalf=User:ben", adminToken, ""), &found); len(found.Items) != 1 {
		t.Errorf("decisions on behalf of ben: %+v", found.Items)
	}
	for body, want := range map[string]int{
		`{"why":"x"}`: 400, `{"entries":[],"why":"x"}`: 404, `{"entries":[1],"search":{},"why":"x"}`: 400, `{"search":{},"limit":5001,"why":"x"}`: 400,
		`{"search":{"decision":"x"},"why":"x"}`: 400, `{"search":{"colour":"red"},"why":"x"}`: 400, `{"entries":[0],"why":"x"}`: 404, `{"entries":[1],"limit":1,"why":"x"}`: 400,
	} {
		if r := s.do("POST", "/v1/audit/bundle", adminToken, body); r.status != want {
			t.Errorf("%s: status %d, want %d: %s", body, r.status, want, r.body)
		}
	}
	if r := s.do("POST", "/v1/audit/bundle", pepToken, `{"entries":[1],"why":"x"}`); r.status != 403 {
		t.Errorf("by an enforcement point: status %d, want 403", r.status)
	}
}

// Checkpoints that were signed can be read, each verifies, and each is continued by the newest.
func TestCheckpoints(t *testing.T) {
	s := explainedServer(t)
	s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, `{}`, ""))
	var proof json.RawMessage
	s.into(s.do("GET", "/v1/audit/entries/1/proof", adminToken, ""), &proof) // signs a checkpoint
	var list struct {
		Origin, Key      string
		Entries, Batches int64
		Items            []struct {
			Size, Entries int64
			Root, Note    string
			Signatures    []struct{ Name, Key, By string }
		}
	}
	s.into(s.do("GET", "/v1/audit/checkpoints", adminToken, ""), &list)
	if len(list.Items) == 0 {
		t.Fatal("there are no checkpoints")
	}
	v, err := note.NewVerifier(list.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Items {
		cp, err := audit.ParseCheckpoint([]byte(c.Note), v)
		if err != nil || cp.Size != c.Size || cp.Root.String() != c.Root || cp.Origin != list.Origin || c.Entries < c.Size || c.Entries > list.Entries {
			t.Errorf("checkpoint %+v of %+v: %v", c, list, err)
		}
		if len(c.Signatures) != 1 || c.Signatures[0].By != "log" || c.Signatures[0].Key != fmt.Sprintf("%08x", v.KeyHash()) {
			t.Errorf("signatures of %d: %+v", c.Size, c.Signatures)
		}
	}
}

// An explanation tells what was known and who read it, what came before and after, and what came of it.
func TestExplainAround(t *testing.T) {
	s := start(t, trusting(t))
	var vs []verdict
	for _, session := range []string{"s1", "s2", "s1", "s1"} {
		vs = append(vs, s.act("clerk", "pay", `{"amount":7}`, "main", session))
	}
	s.outcome(vs[2], pepToken, "wrong")
	s.outcome(vs[2], adminToken, "right")
	var x struct {
		Facts []struct {
			Name, Origin string
			Value        json.RawMessage
			ReadBy       []string `json:"read_by"`
		}
		Session struct {
			ID             string
			Previous, Next *struct{ ID, Effect, Action string }
		}
		Outcomes []struct{ By, Reporter, Result string }
		Asks     []json.RawMessage
		Policies []struct {
			Policy, Text string
			Begins, Line int
			Clauses      []struct {
				Text  string
				Reads []struct{ Path string }
			}
		}
	}
	s.into(s.do("GET", "/v1/decisions/"+vs[2].Context.ID+"/explain", adminToken, ""), &x)
	if p, n := x.Session.Previous, x.Session.Next; x.Session.ID != "s1" || p == nil || n == nil || p.ID != vs[0].Context.ID || n.ID != vs[3].Context.ID || n.Action != "pay" {
		t.Errorf("in its session: %+v", x.Session)
	}
	if len(x.Outcomes) != 2 || x.Outcomes[0].Result != "wrong" || x.Outcomes[0].Reporter != "pep" || x.Outcomes[1].Result != "right" {
		t.Errorf("outcomes: %+v", x.Outcomes)
	}
	read := 0
	for _, f := range x.Facts {
		switch {
		case f.Name == "context.args.amount" && (f.Origin != "claimed" || string(f.Value) != "7"):
			t.Errorf("fact %+v: want 7, claimed", f)
		case f.Name == "context.observed.session" && (f.Origin != "observed" || string(f.Value) != `"s1"`):
			t.Errorf("fact %+v: want s1, observed", f)
		}
		read += len(f.ReadBy)
	}
	if len(x.Facts) < 10 || read == 0 {
		t.Errorf("%d facts, read %d times", len(x.Facts), read)
	}
	for _, p := range x.Policies {
		if p.Text == "" || p.Begins < 1 || p.Begins > p.Line {
			t.Errorf("policy %s: %+v", p.Policy, p)
		}
		for _, c := range p.Clauses {
			if !strings.Contains(p.Text, c.Text) {
				t.Errorf("policy %s has not its own clause %q", p.Policy, c.Text)
			}
		}
	}

	// The first and the last of a session have one neighbour.
	var first, last struct {
		Session struct{ Previous, Next *struct{ ID string } }
	}
	s.into(s.do("GET", "/v1/decisions/"+vs[0].Context.ID+"/explain", adminToken, ""), &first)
	s.into(s.do("GET", "/v1/decisions/"+vs[3].Context.ID+"/explain", adminToken, ""), &last)
	if first.Session.Previous != nil || first.Session.Next == nil || last.Session.Previous == nil || last.Session.Next != nil {
		t.Errorf("the ends of a session: %+v, %+v", first, last)
	}
	for query, want := range map[string]int{"session=s1": 3, "session=s3": 0, "decision=" + vs[2].Context.ID: 2, "session=s1&after=" + vs[0].Context.ID[1:]: 2} {
		var found struct{ Items []audit.Entry }
		s.into(s.do("GET", "/v1/audit/entries?"+query, adminToken, ""), &found)
		if len(found.Items) != want {
			t.Errorf("%s: found %d entries, want %d", query, len(found.Items), want)
		}
	}
}
