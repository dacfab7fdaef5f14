package api_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/enforcement"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A heap is a log in memory with a ledger that follows it.
type heap struct {
	*enforcement.Ledger
	mu  sync.Mutex
	log []audit.Entry
}

func (h *heap) clear() { h.Ledger, h.log = enforcement.NewLedger(noRuns{}), nil }

func (h *heap) Feed(context.Context, feed.Start, func(string, int64, any) error) error { return nil }
func (h *heap) CatchUp(context.Context) error                                          { return nil }
func (h *heap) Bearer(string, string) (b authz.Bearer, c token.Confirmation, err error) {
	return b, c, authz.Errorf(authz.ErrUnauthenticated, "no")
}

func (h *heap) CommitAll(ctx context.Context, drafts ...audit.Draft) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := int64(len(h.log)) + 1
	for _, d := range drafts {
		e := audit.Entry{Seq: int64(len(h.log)) + 1, At: time.Now(), Kind: d.Kind, Actor: d.Actor, Body: d.Body}
		h.log = append(h.log, e)
		if err := h.Apply(ctx, e); err != nil {
			return first, err
		}
	}
	return first, nil
}

// Entry implements part of api.LogReader.
func (h *heap) entry(seq int64) (audit.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq < 1 || seq > int64(len(h.log)) {
		return audit.Entry{}, authz.Errorf(authz.ErrNotFound, "no entry %d", seq)
	}
	return h.log[seq-1], nil
}

type heapLog struct {
	api.LogReader
	*heap
}

func (h heapLog) Entry(_ context.Context, seq int64) (audit.Entry, error) { return h.entry(seq) }

type oneAgent struct {
	api.AgentAdmin
	api.Fleet
}

func (oneAgent) Agent(id authz.AgentID) (*authz.Agent, error) {
	if id != "bot" {
		return nil, authz.Errorf(authz.ErrNotFound, "no agent %q", id)
	}
	return &authz.Agent{ID: "bot", Owner: "o", Purpose: "p", Version: "1", Revision: 3}, nil
}

func (oneAgent) Agents(agent.Filter, authz.AgentID, int) []*authz.Agent { return nil }

type oneVersion struct{ api.PolicyAdmin }

func (oneVersion) Active() *policy.Set { return new(policy.Set).At(1) }

type noRuns struct{}

func (noRuns) Runs(context.Context) ([]enforcement.Run, error)                      { return nil, nil }
func (noRuns) PutRuns(context.Context, []enforcement.Run, []enforcement.Drop) error { return nil }

const goodRecord = `{"request":{"subject":{"type":"agent","id":"bot"},"action":{"name":"a"},"resource":{"type":"R","id":"r"},"observed":{"pep":"x"}},"facts":{"at":"2026-11-27T10:00:00Z","schedules":[],"zones":[],"class":"internal","labels":[],"agent":{"id":"bot","owner":"o","purpose":"p","version":"1","creator":"c","state":"active","capabilities":[],"created_at":"2026-11-27T10:00:00Z","updated_at":"2026-11-27T10:00:00Z","revision":3,"as_of":3},"grant":{"within":[]},"trust":{"level":"medium","score":0.5},"risk":{"level":"low","score":0,"alerts":[],"indicators":[]}},"decision":{"at":"2026-11-27T10:00:00Z","effect":"deny","code":"no_permit","policy_set":1,"catalog":0}}`

const recordsSeed = `{"journal":"J","first":1,"records":[{"decision":` + goodRecord + `},{"outcome":{"result":"right"},"of":1},{"x":1}]}`

// FuzzRecords holds that an upload is refused or recorded whole: each of its records is one entry, which whoever follows the
// log can read, and whose actor and enforcement point are the caller.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(recordsSeed))
	f.Add([]byte(`{"journal":"J","first":1,"records":[{"decision":` + goodRecord + `},{"decision":{"request":{},"request":{}}}]}`))
	f.Add([]byte(`{"journal":"J","first":2,"records":[]}`))
	older := strings.Replace(goodRecord, `"revision":3`, `"revision":2`, 1)
	f.Add([]byte(`{"journal":"J","first":1,"records":[{"decision":` + older + `}]}`))
	f.Add([]byte(`{"journal":"J","first":1,"records":[{"decision":` + strings.Replace(goodRecord, `"action":{"name":"a"`, `"action":{"name":"a","properties":{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`, 1) + `}]}`))
	h := &heap{}
	d := openDoor(f, func(c *api.Config) {
		c.Edge, c.Log, c.Agents, c.Policies = h, heapLog{heap: h}, oneAgent{}, oneVersion{}
	})
	f.Fuzz(func(t *testing.T, body []byte) { checkUpload(t, d, h, body) })
}

func checkUpload(t *testing.T, d *door, h *heap, body []byte) {
	t.Helper()
	h.clear()
	r := httptest.NewRequest("POST", "/v1/edge/records", strings.NewReader(string(body)))
	r.Header.Set("Authorization", "Bearer edge-token")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if w.Code != 200 {
		if w.Code != 400 && w.Code != 409 && w.Code != 413 || len(h.log) > 0 {
			t.Fatalf("status %d, %d entries: %s", w.Code, len(h.log), w.Body)
		}
		return
	}
	var ack feed.Acknowledged
	if err := json.Unmarshal(w.Body.Bytes(), &ack); err != nil || len(ack.Seqs) != len(h.log) || ack.Last != int64(len(h.log)) {
		t.Fatalf("%d entries are acknowledged as %s", len(h.log), w.Body)
	}
	reader := conduct.NewEventReader()
	for _, e := range h.log {
		if e.Actor != "edge:gate" || !json.Valid(e.Body) {
			t.Fatalf("entry %d by %s: %s", e.Seq, e.Actor, e.Body)
		}
		switch e.Kind {
		case audit.DecisionMade:
			var ev conduct.Event
			if _, err := reader.Read(e.Body, &ev); err != nil || ev.PEP != "edge:gate" || ev.Number != e.Seq {
				t.Fatalf("monitors read %+v, %v of %s", ev, err, e.Body)
			}
			rec, err := pdp.ParseRecord(e.Body)
			if err != nil || rec.Edge == nil || rec.Request.Observed.PEP != "edge:gate" {
				t.Fatalf("%+v, %v: %s", rec, err, e.Body)
			}
			if a := pdp.Acting(e.Body); a != "" && a != rec.Request.Agent() {
				t.Fatalf("the tally reads %q: %s", a, e.Body)
			}
		case audit.OutcomeReported:
			var o conduct.Outcome
			if err := json.Unmarshal(e.Body, &o); err != nil || o.Check() != nil || o.Agent != "bot" {
				t.Fatalf("%+v, %v: %s", o, err, e.Body)
			}
		}
	}
}

// What the fuzz target begins with is taken: a decision, its outcome, and a record that is neither.
func TestRecordsSeed(t *testing.T) {
	h := &heap{}
	h.clear()
	d := openDoor(t, func(c *api.Config) {
		c.Edge, c.Log, c.Agents, c.Policies = h, heapLog{heap: h}, oneAgent{}, oneVersion{}
	})
	r := httptest.NewRequest("POST", "/v1/edge/records", strings.NewReader(recordsSeed))
	r.Header.Set("Authorization", "Bearer edge-token")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	var kinds []audit.Kind
	for _, e := range h.log {
		kinds = append(kinds, e.Kind)
	}
	if diff := cmp.Diff([]audit.Kind{audit.DecisionMade, audit.OutcomeReported, audit.EdgeRefused}, kinds); w.Code != 200 || diff != "" {
		t.Errorf("status %d: %s (-want +got):\n%s", w.Code, w.Body, diff)
	}
}
