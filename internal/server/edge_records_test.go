package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A journalist is a decision point elsewhere that uploads records it makes of one that was decided here.
type journalist struct {
	*running
	token   string
	journal string
	model   json.RawMessage
}

// elsewhere returns one whose decisions are about an agent.
func (r *running) elsewhere(token, journal, agent string) *journalist {
	r.Helper()
	v := r.act(agent, "list_entries", "", "l1", "s1")
	if v.Context.ID == "" {
		r.Fatalf("no decision about %s: %+v", agent, v)
	}
	var d struct{ Record json.RawMessage }
	r.into(r.do("GET", "/v1/decisions/"+v.Context.ID, adminToken, ""), &d)
	seq, err := pdp.ParseDecisionID(v.Context.ID)
	if err != nil {
		r.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); r.standing(agent).AsOf < seq; { // the answer does not wait for monitors
		if time.Now().After(end) {
			r.Fatal("monitors do not take in the decision")
		}
	}
	return &journalist{running: r, token: token, journal: journal, model: d.Record}
}

// decision returns a record that was decided at a time, on a resource.
func (j *journalist) decision(at time.Time, resource string, change ...func(*pdp.Record)) feed.Record {
	j.Helper()
	rec, err := pdp.ParseRecord(j.model)
	if err != nil {
		j.Fatal(err)
	}
	at = at.UTC().Truncate(time.Microsecond)
	rec.Facts.At, rec.Decision.At, rec.Request.Resource.ID = at, at, resource
	rec.Request.Observed.PEP = "somebody-else"
	for _, c := range change {
		c(rec)
	}
	text, err := json.Marshal(rec)
	if err != nil {
		j.Fatal(err)
	}
	return feed.Record{Decision: text}
}

func came(of int64, text string) feed.Record {
	return feed.Record{Of: of, Outcome: json.RawMessage(text)}
}

func (j *journalist) body(first int64, records ...feed.Record) string {
	j.Helper()
	text, err := json.Marshal(feed.Records{Journal: j.journal, First: first, Records: records})
	if err != nil {
		j.Fatal(err)
	}
	return string(text)
}

func (j *journalist) upload(first int64, records ...feed.Record) (ack feed.Acknowledged) {
	j.Helper()
	j.into(j.do("POST", "/v1/edge/records", j.token, j.body(first, records...)), &ack)
	if len(ack.Seqs) != len(records) {
		j.Fatalf("%d entries of %d records", len(ack.Seqs), len(records))
	}
	return ack
}

// stored returns a decision as the log has it.
func (j *journalist) stored(seq int64) (actor string, rec *pdp.Record) {
	j.Helper()
	var d struct {
		Actor  string
		Record *pdp.Record
	}
	j.into(j.do("GET", "/v1/decisions/"+pdp.DecisionID(seq), adminToken, ""), &d)
	return d.Actor, d.Record
}

// count returns how many entries of a kind there are by an actor.
func (r *running) count(kind, actor string) int {
	r.Helper()
	var page struct{ Items []json.RawMessage }
	r.into(r.do("GET", "/v1/audit/entries?limit=1000&kind="+kind+"&actor="+actor, adminToken, ""), &page)
	return len(page.Items)
}

// What was decided elsewhere becomes decisions here: followed by the monitors, explained, found, and once only.
func TestEdgeRecords(t *testing.T) {
	r := start(t, trusting(t))
	r.party("clerk", "EdDSA")
	j := r.elsewhere(r.edge("gate"), "J1", "clerk")
	now := time.Now()
	before := r.standing("clerk")
	ack := j.upload(1, j.decision(now, "l2"), came(1, `{"result":"harmful","latency_ms":12}`), j.decision(now.Add(-time.Hour), "l3"), j.decision(now, "l4"))
	if ack.Last != 4 || ack.Refused != nil || ack.Seqs[0] == 0 || ack.Seqs[1] != ack.Seqs[0]+1 || ack.Seqs[3] != ack.Seqs[0]+3 {
		t.Fatalf("acknowledged: %+v", ack)
	}
	actor, rec := j.stored(ack.Seqs[0])
	if actor != "edge:gate" || rec.Request.Observed.PEP != "edge:gate" || rec.Request.Resource.ID != "l2" || rec.Edge == nil || !cmp.Equal(*rec.Edge, pdp.Edge{Journal: "J1", Number: 1}) {
		t.Errorf("recorded: by %s, %+v, %+v", actor, rec.Request.Observed, rec.Edge)
	}
	if _, rec := j.stored(ack.Seqs[2]); rec.Edge == nil || !rec.Edge.Late || rec.Edge.Number != 3 {
		t.Errorf("a decision of an hour ago is not marked: %+v", rec.Edge)
	}
	if rep := r.do("GET", "/v1/decisions/"+pdp.DecisionID(ack.Seqs[0])+"/explain", adminToken, ""); rep.status != 200 {
		t.Errorf("explaining: %d: %s", rep.status, rep.body)
	}
	if n := r.count("decision.made", "edge:gate"); n != 3 {
		t.Errorf("%d decisions are found, want 3", n)
	}
	after := r.standing("clerk")
	if before.level("read") == after.level("read") {
		t.Errorf("a harmful outcome moves nothing: %+v, %+v", before, after)
	}
	if page := r.do("GET", "/metrics", "", "").body; !strings.Contains(page, `safeconduct_edge_records_total{kind="decision"} 3`) || !strings.Contains(page, "\nsafeconduct_edge_journals 1\n") {
		t.Error("the metrics do not count the records")
	}

	// The same again, or half of it and more, records only what is new. An outcome of what was recorded before finds it.
	again := j.upload(1, j.decision(now, "other"), came(1, `{}`), j.decision(now, "other"), j.decision(now, "other"))
	if again.Last != 4 || fmt.Sprint(again.Seqs) != fmt.Sprint(ack.Seqs) {
		t.Errorf("the same again: %+v, want %+v", again, ack)
	}
	more := j.upload(4, j.decision(now, "other"), j.decision(now, "l5"), came(3, `{"fault":"timeout"}`))
	if more.Last != 6 || more.Seqs[0] != ack.Seqs[3] || more.Refused != nil {
		t.Errorf("more: %+v", more)
	}
	if n, m := r.count("decision.made", "edge:gate"), r.count("outcome.reported", "edge:gate"); n != 4 || m != 2 {
		t.Errorf("%d decisions and %d outcomes, want 4 and 2", n, m)
	}
	if empty := j.upload(9); empty.Last != 6 {
		t.Errorf("an empty upload: %+v", empty)
	}

	// A gap is refused, and told.
	rep := r.do("POST", "/v1/edge/records", j.token, j.body(9, j.decision(now, "l9")))
	var gap feed.Gap
	if err := json.Unmarshal([]byte(rep.body), &gap); err != nil || rep.status != http.StatusConflict || gap.Error.Next != 7 {
		t.Errorf("a gap: %d: %s", rep.status, rep.body)
	}

	// Another journal, and another edge, count by themselves.
	k := &journalist{r, j.token, "J2", j.model}
	if ack := k.upload(1, k.decision(now, "l2")); ack.Last != 1 {
		t.Errorf("another journal: %+v", ack)
	}
	l := &journalist{r, r.edge("other"), "J1", j.model}
	if ack := l.upload(1, l.decision(now, "l2")); ack.Last != 1 {
		t.Errorf("another edge: %+v", ack)
	}
}

// One record that is not understood does not stand in the way of the others, and the log says why.
func TestEdgeRecordsRefused(t *testing.T) {
	r := start(t, trusting(t))
	r.party("clerk", "EdDSA")
	r.party("helper", "EdDSA")
	j := r.elsewhere(r.edge("gate"), "J1", "clerk")
	now := time.Now()
	raw := func(text string) feed.Record { return feed.Record{Decision: json.RawMessage(text)} }
	good := j.decision(now, "l1")
	type bad struct {
		why string
		rec feed.Record
	}
	with := func(member string) feed.Record {
		return raw(strings.TrimSuffix(string(good.Decision), "}") + "," + member + "}")
	}
	bads := []bad{
		{"unknown", with(`"unknown":1`)},
		{"duplicate", with(`"decision":{}`)},
		{"where it was made", with(`"edge":{"journal":"x","number":1}`)},
		{"no record", raw(`[]`)},
		{"no record", raw(`{"request":7}`)},
		{"no subject", raw(`{}`)},
		{"either", feed.Record{}},
		{"either", feed.Record{Decision: good.Decision, Outcome: json.RawMessage(`{}`)}},
		{"earlier record", came(0, `{"result":"right"}`)},
		{"earlier record", came(99, `{"result":"right"}`)},
		{"is no decision", came(1, `{"result":"right"}`)},
		{"not registered", j.decision(now, "x", func(rec *pdp.Record) { rec.Facts.Agent.ID, rec.Request.Subject.ID = "nobody", "nobody" })},
		{"about another", j.decision(now, "x", func(rec *pdp.Record) { rec.Request.Subject.ID = "helper" })},
		{"not registered as it says", j.decision(now, "x", func(rec *pdp.Record) { rec.Facts.Agent.Revision += 5 })},
		{"not registered as it says", j.decision(now, "x", func(rec *pdp.Record) { rec.Facts.Agent.Owner = "mallory" })},
		{"not published", j.decision(now, "x", func(rec *pdp.Record) { rec.Decision.PolicySet = 99 })},
		{"approval", j.decision(now, "x", func(rec *pdp.Record) { rec.Decision.Lifted = true })},
		{"no moment", j.decision(now, "x", func(rec *pdp.Record) { rec.Decision.At = now.Add(time.Second).UTC() })},
		{"does not know", j.decision(now, "x", func(rec *pdp.Record) { rec.Facts.Agent = nil })},
		{"unknown", raw(`{"request":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100) + `}`)},
		{"NUL", j.decision(now, "x\x00")},
		{"not registered as it says", j.decision(now, "x", func(rec *pdp.Record) { rec.Facts.Agent.Revision = 0 })},
	}
	var records []feed.Record
	for _, b := range bads {
		records = append(records, b.rec)
	}
	records = append(records, good, came(int64(len(bads)+1), `{"result":"right","surprise":1}`), came(int64(len(bads)+1), `{"result":"right"}`))
	ack := j.upload(1, records...)
	if ack.Last != int64(len(records)) || len(ack.Refused) != len(bads)+1 {
		t.Fatalf("%d records of %d, %d refused: %+v", ack.Last, len(records), len(ack.Refused), ack.Refused)
	}
	for i, b := range bads {
		if got := ack.Refused[i]; got.Number != int64(i+1) || !strings.Contains(got.Why, b.why) {
			t.Errorf("record %d is refused with %+v, want something of %q", i+1, got, b.why)
		}
	}
	if n := r.count("edge.refused", "edge:gate"); n != len(bads)+1 {
		t.Errorf("%d entries say so, want %d", n, len(bads)+1)
	}
	if n, m := r.count("decision.made", "edge:gate"), r.count("outcome.reported", "edge:gate"); n != 1 || m != 1 {
		t.Errorf("%d decisions and %d outcomes of the others, want one of each", n, m)
	}
	lifted := `"why":"it stands on an approval, whose uses are drawn by the service","decision":{"effect":"allow","subject":"agent:clerk","action":"list_entries","resource":"Ledger:x"}`
	if rep := r.do("GET", "/v1/audit/entries?limit=1000&kind=edge.refused", adminToken, ""); !strings.Contains(rep.body, lifted) {
		t.Errorf("the log does not say what was decided of what it does not take: no %s in %s", lifted, rep.body)
	}

	// What cannot be told apart into records is refused as a whole.
	for body, why := range map[string]string{
		`{"journal":"J1","first":25,"records":[],"first":1}`:                           "twice",
		`{"journal":"J1","first":0,"records":[]}`:                                      "from 1",
		`{"journal":"a b","first":1,"records":[]}`:                                     "name",
		`{"journal":"` + strings.Repeat("x", 65) + `","first":1,"records":[]}`:         "name",
		`{"journal":"J1","first":1,"records":[],"more":1}`:                             "more",
		`{"journal":"J1","first":1,"records":[{]}`:                                     "body",
		`{"journal":"J1","first":1,"records":[` + strings.Repeat("{},", 1000) + `{}]}`: "more than 1000",
	} {
		if rep := r.do("POST", "/v1/edge/records", j.token, body); rep.status != 400 || !strings.Contains(rep.body, why) {
			t.Errorf("%.60s: %d: %s", body, rep.status, rep.body)
		}
	}
	large := bytes.Repeat([]byte(" "), feed.MaxUpload+1)
	if rep := r.do("POST", "/v1/edge/records", j.token, string(large)); rep.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large upload: %d", rep.status)
	}
	for who, token := range map[string]string{"pep": pepToken, "administrator": adminToken} {
		if rep := r.do("POST", "/v1/edge/records", token, j.body(25, good)); rep.status != 403 {
			t.Errorf("%s uploads: %d", who, rep.status)
		}
	}
}

// What an agent is the registry says, whatever a decision point says of it.
func TestEdgeRecordsRestated(t *testing.T) {
	r := start(t, trusting(t))
	r.party("clerk", "EdDSA")
	j := r.elsewhere(r.edge("gate"), "J1", "clerk")
	var is struct{ Revision int64 }
	r.into(r.do("GET", "/v1/agents/clerk", adminToken, ""), &is)
	if rep := r.do("POST", "/v1/agents/clerk/state", adminToken, `{"state":"active","why":"a new revision"}`); rep.status != 200 {
		t.Fatalf("a new revision: %d: %s", rep.status, rep.body)
	}
	forged := func(rec *pdp.Record) {
		rec.Facts.Agent.Purpose, rec.Facts.Agent.Owner, rec.Facts.Agent.Version = "treasury", "ceo@example.com", "9"
		rec.Facts.Agent.Capabilities = []string{"everything"}
		rec.Facts.Behalf = []authz.Delegator{{Agent: &authz.Agent{ID: "clerk", Revision: 1, Purpose: "treasury"}}}
	}
	var now authz.Agent
	r.into(r.do("GET", "/v1/agents/clerk", adminToken, ""), &now)
	retired := func(rec *pdp.Record) {
		a := now
		a.State = authz.AgentRetired
		rec.Facts.Agent = &a
	}
	ack := j.upload(1, j.decision(time.Now(), "l2", forged), j.decision(time.Now(), "l3", retired), j.decision(time.Now(), "l4", func(rec *pdp.Record) { rec.Facts.Agent = &now }))
	if ack.Refused != nil {
		t.Fatalf("refused: %+v", ack.Refused)
	}
	for i, want := range [][]pdp.Stated{{{Agent: "clerk", Revision: is.Revision}, {Agent: "clerk", Revision: 1}}, {{Agent: "clerk", Revision: now.Revision}}, nil} {
		_, rec := j.stored(ack.Seqs[i])
		if diff := cmp.Diff(now, *rec.Facts.Agent); diff != "" {
			t.Errorf("record %d has another agent than is registered (-want +got):\n%s", i+1, diff)
		}
		if diff := cmp.Diff(want, rec.Edge.Restated); diff != "" {
			t.Errorf("what record %d is marked with (-want +got):\n%s", i+1, diff)
		}
	}
}

// What is deeper or larger than the log takes is left out of a decision, which is recorded all the same.
func TestEdgeRecordsCut(t *testing.T) {
	cfg := trusting(t)
	cfg.Limits.Depth, cfg.Limits.Object = 8, 2000
	r := start(t, cfg)
	r.party("clerk", "EdDSA")
	j := r.elsewhere(r.edge("gate"), "J1", "clerk")
	deep := authz.Claimed(`{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`)
	var names []string
	for i := range 256 {
		names = append(names, fmt.Sprint(i, strings.Repeat("\x01", 500)))
	}
	for i, tt := range []struct {
		want   []string
		change func(*pdp.Record)
	}{
		{[]string{"request.context"}, func(rec *pdp.Record) { rec.Request.Context = deep }},
		{[]string{"request.context", "request.action.properties"}, func(rec *pdp.Record) {
			rec.Request.Context, rec.Request.Action.Properties = authz.Claimed(`{"a":"\u0000"}`), authz.Claimed(`{"a":"`+strings.Repeat("x", 2000)+`"}`)
		}},
		{[]string{"request.observed.provenance"}, func(rec *pdp.Record) {
			rec.Request.Context = nil
			rec.Request.Observed.Provenance = &authz.Provenance{Untrusted: names, Prompt: names}
		}},
		{[]string{"request.approval"}, func(rec *pdp.Record) { rec.Request.Approval = &authz.ApprovalRef{ID: "nonsense"} }},
		{nil, func(*pdp.Record) {}},
	} {
		ack := j.upload(int64(i+1), j.decision(time.Now(), "l2", tt.change))
		if ack.Refused != nil {
			t.Errorf("what was allowed is not taken: %+v", ack.Refused)
			continue
		}
		_, rec := j.stored(ack.Seqs[0])
		if diff := cmp.Diff(tt.want, rec.Edge.Cut); diff != "" || rec.Request.Resource.ID != "l2" {
			t.Errorf("what is left out of record %d (-want +got):\n%s", i+1, diff)
		}
	}
}

// A start forgets nothing: what was acknowledged stays so, and what came in without an answer is not recorded again.
func TestEdgeRecordsRestart(t *testing.T) {
	cfg := trusting(t)
	r := start(t, cfg)
	r.party("clerk", "EdDSA")
	j := r.elsewhere(r.edge("gate"), "J1", "clerk")
	now := time.Now()
	first := j.upload(1, j.decision(now, "l1"), j.decision(now, "l2"))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, r.cfg)
	j.running = r
	// The answer to the first upload was lost: the same, and one more.
	again := j.upload(1, j.decision(now, "l1"), j.decision(now, "l2"), j.decision(now, "l3"), came(1, `{"result":"right"}`))
	if again.Last != 4 || again.Seqs[0] != first.Seqs[0] || again.Seqs[1] != first.Seqs[1] || again.Refused != nil {
		t.Errorf("after a start: %+v, before it %+v", again, first)
	}
	if n := r.count("decision.made", "edge:gate"); n != 3 {
		t.Errorf("%d decisions, want 3", n)
	}
}

// However many send the same at once, it is recorded once.
func TestEdgeRecordsAtOnce(t *testing.T) {
	r := start(t, trusting(t))
	r.party("clerk", "EdDSA")
	j := r.elsewhere(r.edge("gate"), "J1", "clerk")
	now := time.Now()
	var records []feed.Record
	for i := range 40 {
		records = append(records, j.decision(now, fmt.Sprint("l", i)))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			n := 5 * (i + 1)
			if ack := j.upload(1, records[:n]...); ack.Last < int64(n) {
				t.Errorf("%d records sent, %d acknowledged", n, ack.Last)
			}
		})
	}
	wg.Wait()
	if n := r.count("decision.made", "edge:gate"); n != 40 {
		t.Errorf("%d decisions, want 40", n)
	}
}
