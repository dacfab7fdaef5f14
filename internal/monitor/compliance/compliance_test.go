package compliance_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/compliance"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// check checks what holds of every finding.
func check(t interface {
	Helper()
	Errorf(string, ...any)
}, d conduct.Draft) {
	t.Helper()
	if len(d.Evidence) == 0 || len(d.Evidence) > conduct.MaxEvidence || !slices.IsSorted(d.Evidence) || len(slices.Compact(slices.Clone(d.Evidence))) != len(d.Evidence) {
		t.Errorf("evidence of %+v: want numbers that rise", d)
	}
	if n := len(d.Sentence); n == 0 || n > 300 || strings.ContainsFunc(d.Sentence, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' }) {
		t.Errorf("sentence %q: want one line of at most 300 bytes, it has %d", d.Sentence, n)
	}
	if d.Class > conduct.Every || d.Severity > conduct.Critical {
		t.Errorf("finding %+v has no class or severity", d)
	}
}

// brief returns a finding as a test writes it.
func brief(d conduct.Draft) string {
	return fmt.Sprint(strings.TrimPrefix(string(d.Kind), "compliance."), " ", d.Severity, " ", d.Class)
}

// finds checks what an allowed write gives rise to.
func finds(t *testing.T, r catalog.ComplianceRules, change func(*conduct.Event), want ...string) {
	t.Helper()
	ev := conduct.Event{
		Seq: 7, At: monday, Agent: "bot", Purpose: "billing", Action: "change", Resource: authz.Ref{Type: "ticket", ID: "t1"},
		Effect: authz.Allow, Code: authz.CodeAllowed, Class: conduct.Write, Classed: true, Within: []string{"refund"},
		Region: "EU", Country: "DE", Labels: []string{"business", "pii"}, Says: []byte(`{"closed": "2026-11-01T10:00:00Z"}`),
	}
	change(&ev)
	var got []string
	var s compliance.State
	s.Observe(&compliance.Fleet{}, &r, &ev, true, func(d conduct.Draft) {
		check(t, d)
		if !slices.Equal(d.Evidence, []int64{7}) {
			t.Errorf("evidence of %+v: want entry 7", d)
		}
		got = append(got, brief(d))
	})
	if !slices.Equal(got, want) {
		t.Errorf("findings are %q, want %q", got, want)
	}
}

func nothing(*conduct.Event) {}

func TestPurpose(t *testing.T) {
	r := catalog.ComplianceRules{Purposes: map[string][]string{"billing": {"invoice", "refund"}}}
	finds(t, catalog.ComplianceRules{}, nothing)
	finds(t, r, nothing)
	finds(t, r, func(e *conduct.Event) { e.Within = []string{"marketing"} }, "purpose medium write")
	finds(t, r, func(e *conduct.Event) { e.Within = nil }, "purpose medium write")
	finds(t, r, func(e *conduct.Event) { e.Within, e.Class = nil, conduct.Read }, "purpose low read")
	finds(t, r, func(e *conduct.Event) { e.Within = []string{"marketing", "refund"} }) // one is enough
	finds(t, r, func(e *conduct.Event) { e.Within, e.Purpose = nil, "sales" })         // a purpose that is not listed is free
	finds(t, r, func(e *conduct.Event) { e.Within, e.Effect = nil, authz.Deny })       // it was not done
	finds(t, r, func(e *conduct.Event) { e.Within, e.Issuing = nil, true })            // a question of ours
	r.Off = true
	finds(t, r, func(e *conduct.Event) { e.Within = nil })
}

func TestRegion(t *testing.T) {
	rules := func(q ...catalog.RegionRule) catalog.ComplianceRules { return catalog.ComplianceRules{Regions: q} }
	pii := catalog.RegionRule{Labels: []string{"phi", "pii"}, Jurisdictions: []string{"EU"}, Countries: []string{"CH", "DE"}}
	finds(t, rules(pii), nothing)
	us := func(e *conduct.Event) { e.Country = "US" }
	finds(t, rules(pii), us, "region medium write")
	finds(t, rules(pii), func(e *conduct.Event) { us(e); e.Labels = []string{"business"} }) // not this data
	finds(t, rules(pii), func(e *conduct.Event) { us(e); e.Labels = nil })
	finds(t, rules(pii), func(e *conduct.Event) { us(e); e.Region = "US" }) // not under this law
	finds(t, rules(pii), func(e *conduct.Event) { e.Country = "" }, "region low write")
	finds(t, rules(pii), func(e *conduct.Event) { us(e); e.Effect = authz.RequireApproval })
	all := catalog.RegionRule{Countries: []string{"DE"}}
	finds(t, rules(all), func(e *conduct.Event) { us(e); e.Labels, e.Region = nil, "" }, "region medium write")
	finds(t, rules(pii, all), func(e *conduct.Event) { e.Country = "CH" }, "region medium write") // all rules hold
}

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	r := catalog.ComplianceRules{Retention: []catalog.RetentionRule{
		{Type: "ticket", Property: "closed", Keep: 30 * day}, {Type: "ticket", Property: "closed", Keep: 25 * day}, {Type: "log", Property: "at", Keep: day},
	}}
	says := func(json string) func(*conduct.Event) {
		return func(e *conduct.Event) { e.Says = []byte(json) }
	}
	finds(t, r, nothing)
	finds(t, r, says(`{"closed": "2026-10-01T10:00:00Z"}`), "retention medium write")
	finds(t, r, says(`{"closed": "2026-10-28T10:00:00+02:00"}`), "retention medium write") // 26 days: the second rule
	finds(t, r, says(`{"other": 1, "closed": "2026-10-30"}`))
	finds(t, r, says(`{"closed": "2026-10-28"}`), "retention medium write") // the end of that day, and 25 more
	finds(t, r, says(`{"\u0063losed": "2020-01-01"}`), "retention medium write")
	finds(t, r, says(`{"closed": "2099-01-01"}`))
	for _, unreadable := range []string{
		``, `{}`, `null`, `{"Closed": "2026-11-01"}`, `{"closed": null}`, `{"closed": 20261101}`, `{"closed": "1 Nov 2026"}`, `{"closed": ["2026-11-01"]}`,
		`{"closed": "2026-11-01", "closed": "2020-11-01"}`, `{"a": {"closed": "2026-11-01"}}`, `{"closed`, `{"closed": "` + strings.Repeat("2", 99) + `"}`,
		`{"a": "` + strings.Repeat("x", 20<<10) + `", "closed": "2026-11-01"}`,
	} {
		finds(t, r, says(unreadable), "retention low write") // that it is in time cannot be shown
	}
	finds(t, r, func(e *conduct.Event) { e.Says, e.Resource.Type = nil, "order" })
	finds(t, r, func(e *conduct.Event) { e.Says, e.Resource.Type = []byte(`{"at": "2026-11-21T00:00:00Z"}`), "log" }, "retention medium write")
	finds(t, r, func(e *conduct.Event) { e.Says, e.Effect = nil, authz.Deny })
}

func TestObligation(t *testing.T) {
	outcome := func(change func(*conduct.Outcome), want ...string) {
		t.Helper()
		o := conduct.Outcome{
			Seq: 9, At: monday, Decision: 7, Agent: "bot", Class: "egress", Action: "send", Obliged: []string{"mask", "notify"},
			Allowed: true, Reporter: conduct.ReporterPEP, By: "pep:gateway",
		}
		change(&o)
		var s compliance.State
		var got []string
		s.Outcome(&compliance.Fleet{}, &catalog.ComplianceRules{}, &o, func(d conduct.Draft) {
			check(t, d)
			if !slices.Equal(d.Evidence, []int64{7, 9}) {
				t.Errorf("evidence of %+v: want entries 7 and 9", d)
			}
			got = append(got, brief(d))
		})
		if !slices.Equal(got, want) {
			t.Errorf("outcome %+v gives %q, want %q", o, got, want)
		}
	}
	met := func(ids ...string) func(*conduct.Outcome) { return func(o *conduct.Outcome) { o.Met = ids } }
	outcome(met("mask", "notify"))
	outcome(met("notify", "other", "mask"))
	outcome(met("mask"), "obligation medium egress")
	outcome(met(), "obligation medium egress")
	outcome(func(o *conduct.Outcome) { o.Obliged = nil })
	outcome(func(o *conduct.Outcome) { o.Allowed = false })
	outcome(func(o *conduct.Outcome) { o.Fault = conduct.FaultTool })         // it was not done
	outcome(func(o *conduct.Outcome) { o.Reporter = conduct.ReporterPerson }) // who speaks of something else
	outcome(func(o *conduct.Outcome) { o.Reporter, o.Met = conduct.ReporterAgent, []string{"mask"} }, "obligation low egress")
	outcome(func(o *conduct.Outcome) { o.Class, o.Met = "", []string{"mask"} }, "obligation medium write")
}

// A desk hands out acts that must be reported, and takes in what is.
type desk struct {
	*testing.T
	rules catalog.ComplianceRules
	state compliance.State
	at    time.Time
	seq   int64
	found []conduct.Draft
}

func (k *desk) emit(d conduct.Draft) {
	check(k, d)
	k.found = append(k.found, d)
}

// after moves on, as the monitor does: it calls Tick whenever it is due.
func (k *desk) after(d time.Duration) {
	k.at = k.at.Add(d)
	if due := k.state.Due(); !due.IsZero() && !due.After(k.at) {
		k.state.Tick(&compliance.Fleet{}, &k.rules, k.at, k.emit)
	}
}

func (k *desk) act(class conduct.Class, obliged ...string) int64 {
	k.seq++
	k.state.Observe(&compliance.Fleet{}, &k.rules, &conduct.Event{Seq: k.seq, At: k.at, Effect: authz.Allow, Class: class, Obligations: obliged}, true, k.emit)
	return k.seq
}

func (k *desk) report(decision int64, by conduct.Reporter, class string) {
	k.seq++
	k.state.Outcome(&compliance.Fleet{}, &k.rules, &conduct.Outcome{Seq: k.seq, Decision: decision, Class: class, Allowed: true, Reporter: by}, k.emit)
}

func (k *desk) finds(want ...string) {
	k.Helper()
	var got []string
	for _, d := range k.found {
		got = append(got, fmt.Sprint(brief(d), " ", d.Evidence))
	}
	if k.found = nil; !slices.Equal(got, want) {
		k.Errorf("at entry %d: %q, want %q", k.seq, got, want)
	}
}

func TestReceipts(t *testing.T) {
	k := &desk{T: t, rules: catalog.ComplianceRules{Receipt: time.Minute, ReceiptFor: []string{"money"}, ReceiptObliged: true}, at: monday}
	k.act(conduct.Write)
	if due := k.state.Due(); !due.IsZero() || k.state.Size() > 24 {
		t.Errorf("an act that need not be reported is due at %v", due)
	}
	pay := k.act(conduct.Money)
	if due := k.state.Due(); due.Sub(monday) != 61*time.Second {
		t.Errorf("due at %v, want a minute and a second later", due)
	}
	k.after(30 * time.Second)
	k.report(pay, conduct.ReporterPEP, "money")
	k.after(time.Hour)
	k.finds() // in time

	pay = k.act(conduct.Money)
	k.after(60 * time.Second)
	k.finds()
	k.after(time.Second)
	k.finds(fmt.Sprintf("receipt low money [%d]", pay))
	k.report(pay, conduct.ReporterPEP, "money") // too late
	k.after(time.Hour)
	k.finds()

	note := k.act(conduct.Write, "mask")
	k.report(note, conduct.ReporterAgent, "write") // not for it to say
	k.report(note, conduct.ReporterOperator, "write")
	k.report(note, conduct.ReporterPerson, "write")
	k.report(note+100, conduct.ReporterPEP, "money") // another
	k.after(time.Hour)
	k.finds(fmt.Sprintf("receipt low write [%d]", note))

	k.act(conduct.Money)
	k.rules.Receipt = 0
	k.after(time.Hour)
	k.finds() // nobody asks any more
	if due := k.state.Due(); !due.IsZero() {
		t.Errorf("due at %v, want never", due)
	}
}

// However much an agent does, and however much of it is reported: what is not is found.
func TestReceiptsOfAFlood(t *testing.T) {
	k := &desk{T: t, rules: catalog.ComplianceRules{Receipt: 15 * time.Minute, ReceiptFor: []string{"money"}}, at: monday}
	missing := k.act(conduct.Money)
	for range 10_000 {
		k.report(k.act(conduct.Money), conduct.ReporterPEP, "money")
		k.after(time.Second)
	}
	first := 0
	for _, d := range k.found {
		if d.Evidence[0] <= missing && missing <= d.Evidence[len(d.Evidence)-1] {
			first++
		}
	}
	if len(k.found) != 1 || first != 1 {
		t.Errorf("one receipt of 10,001 is missing, found are %+v", k.found)
	}
	k.found = nil
	for range 12 {
		k.act(conduct.Money)
	}
	k.after(time.Hour)
	if len(k.found) != 1 || k.found[0].Severity != conduct.Medium {
		t.Errorf("twelve receipts are missing at once, found are %+v", k.found)
	}
	k.found = nil
	for range 1<<16 + 5 {
		k.act(conduct.Money)
	}
	if len(k.found) == 0 || k.found[0].Severity != conduct.High {
		t.Errorf("more receipts than can be counted are outstanding, found are %+v", k.found)
	}
}

// Whatever happens: the state stays small, no receipt that is missing goes unnoticed, none is noticed too
// early, and a state that was written down and read again is the same.
func TestAnyStream(t *testing.T) {
	overdue := 0
	rapid.Check(t, func(t *rapid.T) {
		r := catalog.ComplianceRules{Receipt: rapid.SampledFrom([]time.Duration{time.Second, 7 * time.Second, time.Minute, time.Hour}).Draw(t, "receipt"), ReceiptFor: []string{"money"}}
		var s compliance.State
		at, open := monday, map[int64]time.Time{}
		found := 0
		emit := func(d conduct.Draft) {
			check(t, d)
			found++
			from, to := d.Evidence[0], d.Evidence[len(d.Evidence)-1]
			for seq, made := range open {
				if seq >= from && seq <= to {
					if !at.After(made.Add(r.Receipt)) {
						t.Fatalf("the receipt of entry %d is called overdue %v after it, want more than %v", seq, at.Sub(made), r.Receipt)
					}
					delete(open, seq)
					overdue++
				}
			}
		}
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(r.Receipt/3)).Draw(t, "later")))
			if due := s.Due(); !due.IsZero() && !due.After(at) {
				s.Tick(&compliance.Fleet{}, &r, at, emit)
			}
			for seq, made := range open {
				if at.After(made.Add(r.Receipt + r.Receipt/4 + 4*time.Second)) {
					t.Fatalf("the receipt of entry %d is missing for %v, and nobody says so", seq, at.Sub(made))
				}
			}
			seq := int64(i + 1)
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				s.Observe(&compliance.Fleet{}, &r, &conduct.Event{Seq: seq, At: at, Effect: authz.Allow, Class: conduct.Money}, true, emit)
				open[seq] = at
			} else if d := rapid.Int64Range(1, seq).Draw(t, "reported"); !open[d].IsZero() {
				s.Outcome(&compliance.Fleet{}, &r, &conduct.Outcome{Seq: seq, Decision: d, Class: "money", Allowed: true, Reporter: conduct.ReporterPEP}, emit)
				delete(open, d)
			}
			if s.Size() > 250 {
				t.Fatalf("the state has %d bytes, want at most 250", s.Size())
			}
			text := s.Append(nil)
			var again compliance.State
			in := conduct.NewReader(text)
			if err := again.Read(in); err != nil || len(in.Rest()) > 0 || !bytes.Equal(again.Append(nil), text) {
				t.Fatalf("the state %x is read as %x: %v", text, again.Append(nil), err)
			}
			if diff := cmp.Diff(s.Due(), again.Due()); diff != "" {
				t.Fatalf("due (-kept +stored):\n%s", diff)
			}
			s = again
		}
	})
	if overdue == 0 && !testing.Short() {
		t.Error("no receipt was ever overdue")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 5, 9, 1, 2, 3, 4, 5, 6, 7, 8, 3, 2})
	f.Add([]byte{9, 0})
	f.Fuzz(func(t *testing.T, text []byte) {
		var s, again compliance.State
		if s.Read(conduct.NewReader(text)) != nil {
			return
		}
		kept := s.Append(nil)
		if err := again.Read(conduct.NewReader(kept)); err != nil || !bytes.Equal(again.Append(nil), kept) {
			t.Errorf("the state %x is read as another: %v", kept, err)
		}
		r := catalog.ComplianceRules{Receipt: time.Minute, ReceiptFor: []string{"money"}}
		s.Observe(&compliance.Fleet{}, &r, &conduct.Event{Seq: 3, At: monday, Effect: authz.Allow, Class: conduct.Money}, true, func(conduct.Draft) {})
		s.Tick(&compliance.Fleet{}, &r, monday, func(conduct.Draft) {})
	})
}

// BenchmarkObserve measures an event under all rules, which it keeps, and the outcome of it.
func BenchmarkObserve(b *testing.B) {
	r := catalog.ComplianceRules{
		Receipt: 15 * time.Minute, ReceiptFor: []string{"egress", "money"}, ReceiptObliged: true,
		Purposes:  map[string][]string{"billing": {"invoice", "read", "refund"}},
		Regions:   []catalog.RegionRule{{Labels: []string{"phi", "pii"}, Jurisdictions: []string{"EU"}, Countries: []string{"AT", "CH", "DE"}}},
		Retention: []catalog.RetentionRule{{Type: "log", Property: "at", Keep: time.Hour}, {Type: "ticket", Property: "closed", Keep: 1000 * time.Hour}},
	}
	ev := conduct.Event{
		Purpose: "billing", Action: "change", Resource: authz.Ref{Type: "ticket", ID: "t1"}, Effect: authz.Allow, Class: conduct.Money,
		Within: []string{"refund"}, Region: "EU", Country: "DE", Labels: []string{"business", "pii"}, Obligations: []string{"mask"},
		Says: []byte(`{"title": "The parcel has not arrived", "priority": 3, "closed": "2026-11-01T10:00:00Z"}`),
	}
	o := conduct.Outcome{Class: "money", Action: "change", Obliged: ev.Obligations, Met: ev.Obligations, Allowed: true, Reporter: conduct.ReporterPEP}
	var s compliance.State
	found := 0
	emit := func(conduct.Draft) { found++ }
	run := func(name string, report bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				ev.Seq, ev.At = int64(i), monday
				s.Observe(&compliance.Fleet{}, &r, &ev, true, emit)
				if report {
					o.Decision, o.Seq = ev.Seq, ev.Seq+1
					s.Outcome(&compliance.Fleet{}, &r, &o, emit)
				}
			}
		})
	}
	run("event-and-outcome", true)
	r.Receipt = 0
	run("event", false)
	r = catalog.ComplianceRules{}
	run("no-rules", false)
	if found > 0 {
		b.Errorf("%d findings of what keeps all rules", found)
	}
}
