package conduct_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

func TestID(t *testing.T) {
	for _, c := range []struct {
		seq int64
		n   int
		id  string
	}{{1, 0, "f1.0"}, {9007199254740993, 12, "f9007199254740993.12"}} {
		if got := conduct.ID(c.seq, c.n); got != c.id {
			t.Errorf("ID(%d, %d) = %q, want %q", c.seq, c.n, got, c.id)
		}
		if seq, n, ok := conduct.ParseID(c.id); seq != c.seq || n != c.n || !ok {
			t.Errorf("ParseID(%q) = %d, %d, %v", c.id, seq, n, ok)
		}
	}
	for _, id := range []string{"", "f", "f1", "f1.", "f.0", "1.0", "f0.0", "f01.0", "f1.00", "f-1.0", "f1.-1", "f1.0 ", "f+1.0", "f1.0.0", "f99999999999999999999.0", "f1.99999999999"} {
		if _, _, ok := conduct.ParseID(id); ok {
			t.Errorf("ParseID(%q) takes it", id)
		}
	}
}

func TestJudgementCheck(t *testing.T) {
	for _, v := range []conduct.Verdict{conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed} {
		if err := (&conduct.Judgement{Finding: "f1.0", Verdict: v, Why: "so"}).Check(); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
	for what, j := range map[string]conduct.Judgement{
		"no finding":   {Verdict: conduct.Confirmed, Why: "w"},
		"open":         {Finding: "f1.0", Verdict: conduct.Open, Why: "w"},
		"no reason":    {Finding: "f1.0", Verdict: conduct.Confirmed, Why: "\u00a0 "},
		"long":         {Finding: "f1.0", Verdict: conduct.Confirmed, Why: strings.Repeat("w", conduct.MaxWhy+1)},
		"control":      {Finding: "f1.0", Verdict: conduct.Confirmed, Why: "a\x1b[1mb"},
		"broken UTF-8": {Finding: "f1.0", Verdict: conduct.Confirmed, Why: "a\xff"},
	} {
		if err := j.Check(); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want authz.ErrInvalid", what, err)
		}
	}
}

func TestOutcomeCheck(t *testing.T) {
	at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	half, over := 0.5, 1.5
	good := func() conduct.Outcome {
		return conduct.Outcome{
			Seq: 9, At: at, Decision: 7, Agent: "a", Class: "write", Action: "x", Decided: at.Add(-time.Minute), Allowed: true, Said: &half,
			Reporter: conduct.ReporterPEP, By: "pep:gateway", Result: conduct.ResultRight, Latency: 3, Size: 4, Obliged: []string{"tell"}, Met: []string{"tell"},
		}
	}
	o := good()
	if err := o.Check(); err != nil {
		t.Errorf("a sound outcome: %v", err)
	}
	for what, spoil := range map[string]func(*conduct.Outcome){
		"no agent":              func(o *conduct.Outcome) { o.Agent = "" },
		"no decision":           func(o *conduct.Outcome) { o.Decision = 0 },
		"a later decision":      func(o *conduct.Outcome) { o.Decision = 9 },
		"no time":               func(o *conduct.Outcome) { o.Decided = time.Time{} },
		"a later time":          func(o *conduct.Outcome) { o.Decided = at.Add(time.Hour) },
		"too sure":              func(o *conduct.Outcome) { o.Said = &over },
		"negative latency":      func(o *conduct.Outcome) { o.Latency = -1 },
		"negative size":         func(o *conduct.Outcome) { o.Size = -1 },
		"every class":           func(o *conduct.Outcome) { o.Class = "every" },
		"unknown reporter":      func(o *conduct.Outcome) { o.Reporter = "cat" },
		"unknown result":        func(o *conduct.Outcome) { o.Result = "fine" },
		"unknown fault":         func(o *conduct.Outcome) { o.Fault = "rain" },
		"many obligations":      func(o *conduct.Outcome) { o.Met = make([]string, 65) },
		"an obligation unnamed": func(o *conduct.Outcome) { o.Obliged = []string{""} },
		"a long reason":         func(o *conduct.Outcome) { o.Why = strings.Repeat("w", conduct.MaxWhy+1) },
		"a long session":        func(o *conduct.Outcome) { o.Session = strings.Repeat("s", 513) },
	} {
		o := good()
		spoil(&o)
		if err := o.Check(); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want authz.ErrInvalid", what, err)
		}
	}
}
