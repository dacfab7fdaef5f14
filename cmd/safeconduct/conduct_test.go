package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

var (
	noon     = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	looping  = conduct.Finding{ID: "f76.0", Agent: "bot", Kind: "performance.loop", Severity: conduct.Low, Class: "read", Sentence: "It repeats \x1b[2Jitself.", Evidence: []int64{75, 76}, At: noon, LastAt: noon, Count: 3, State: conduct.Open}
	probing  = conduct.Finding{ID: "f90.1", Agent: "cat", Kind: "escalation.probing", Severity: conduct.High, Class: "money", Sentence: "It probes.", Session: "s-7", Evidence: []int64{90}, At: noon, LastAt: noon.Add(time.Minute), Count: 2, State: conduct.Confirmed, JudgedBy: "admin:eve", JudgedAt: noon.Add(time.Hour), Why: "so it is", AsOf: 99}
	standing = []trust.Standing{
		{Class: "read", Level: "medium", Score: 0.549, Mean: 0.833, Since: noon, Restore: []string{"To high: clean sessions."}},
		{Class: "write", Level: "medium", Score: 0.549, Mean: 0.833, Since: noon, Restore: []string{"To high: clean sessions."}},
		{Class: "egress", Level: "high", Score: 0.91, Mean: 0.95, Since: noon},
		{Class: "money", Level: "low", Score: 0.31, Mean: 0.53, Since: noon, Lowered: true, Bound: "ceiling medium", Earliest: noon.Add(24 * time.Hour),
			Causes:  []trust.Cause{{Seq: 90, At: noon, What: "escalation.probing", Moved: -6}, {Seq: 8, At: noon, What: "renewed"}},
			Restore: []string{"To medium: 10 more clean acts in 3 more sessions, not before 2026-11-25 12:00Z."}},
		{Class: "admin", Level: "none", Score: 0.549, Mean: 0.833, Override: &trust.Override{Level: "none", Author: "admin:eve", Why: "a drill", Expires: noon},
			Causes: []trust.Cause{{Seq: 90, At: noon, What: "escalation.probing", Moved: -6}}},
	}
)

func TestPrintTrust(t *testing.T) {
	var b bytes.Buffer
	r := &monitor.Report{Agent: "bot", Purpose: "billing", Version: "7", AsOf: 99, Decisions: 1, Quarantined: true, Shadow: true,
		Classes: standing, Findings: []conduct.Finding{looping, probing},
		Performance: performance.Standing{Judged: 12, Accuracy: 0.613, ErrorRate: 0.04, Brier: 0.21, Bins: []performance.Bin{{From: 0.8, To: 0.9, Said: 0.86, Right: 0.58, Count: 12}}}}
	if err := printTrust(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = `agent       bot
purpose     billing, version 7
trust       none at the lowest, after 1 decision, as of entry 99
quarantine  yes: until a person restores it (safeconduct agent set-trust --restore)
shadow      yes: this is worked out and shown; decisions go by neutral trust
learning    no: nothing that it does becomes usual while its trust is lowered

CLASS   LEVEL   SCORE  MEAN  SINCE                 BECAUSE
read    medium  0.55   0.83  2026-11-24 12:00:00Z  its conduct
write   medium  0.55   0.83  2026-11-24 12:00:00Z  its conduct
egress  high    0.91   0.95  2026-11-24 12:00:00Z  its conduct
money   low     0.31   0.53  2026-11-24 12:00:00Z  its conduct, which lowered it; ceiling medium
admin   none    0.55   0.83  -                     set by hand by admin:eve until 2026-11-24 12:00:00Z: a drill

MOVED BY            ENTRY  AT                    EVIDENCE  IN
escalation.probing  90     2026-11-24 12:00:00Z  -6        money, admin
renewed             8      2026-11-24 12:00:00Z  -         money

To rise in read, write:
  To high: clean sessions.

To rise in money:
  To medium: 10 more clean acts in 3 more sessions, not before 2026-11-25 12:00Z.

ID     SEVERITY  KIND                CLASS  STATE      TIMES  LAST                  AGENT  WHAT
f76.0  low       performance.loop    read   open       3      2026-11-24 12:00:00Z  bot    It repeats  [2Jitself.
f90.1  high      escalation.probing  money  confirmed  2      2026-11-24 12:01:00Z  cat    It probes.

work         12 outcomes judged: right in at least 61%, 4% of acts failed
calibration  Brier score 0.210
SAID       MEANT  RIGHT  OUTCOMES
0.80-0.90  0.86   58%    12
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFindingPairs(t *testing.T) {
	var b bytes.Buffer
	if err := printPairs(&b, findingPairs(&probing)); err != nil {
		t.Fatal(err)
	}
	const want = `id        f90.1
what      It probes.
severity  high
kind      escalation.probing, in money
agent     cat, session s-7
evidence  entries 90
seen      2 times, 2026-11-24 12:00:00Z to 2026-11-24 12:01:00Z
state     confirmed by admin:eve, 2026-11-24 13:00:00Z: so it is
as of     entry 99
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	person := conduct.Finding{ID: "f5.0", Person: "anna", Kind: "asking.rubber_stamp", Class: "every"}
	if got, want := findingPairs(&person)[4], [2]string{"person", "anna"}; got != want {
		t.Errorf("whom a finding about a person is about: %q, want %q", got, want)
	}
}

// The exit status says whether what is kept is what the log gives.
func TestPrintChecked(t *testing.T) {
	for _, tt := range []struct {
		check monitor.Check
		want  string
		err   error
	}{
		{monitor.Check{}, "0 entries give 0 findings\nsame: 0 are kept so\n", nil},
		{monitor.Check{Entries: 100, Findings: 2, Same: 1, Pending: 1, Counts: map[string]int64{"performance.loop": 2}},
			"100 entries give 2 findings\nKIND              FINDINGS\nperformance.loop  2\n1 are too new to be kept yet\nsame: 1 are kept so\n", nil},
		{monitor.Check{Entries: 100, Findings: 1, Differences: []monitor.Difference{{Only: monitor.OnlyLog, Finding: probing}}, More: 3},
			"100 entries give 1 finding\nNOT THE SAME: 0 are kept so\n" +
				"ONLY  ID     SEVERITY  KIND                CLASS  AGENT  WHAT\nlog   f90.1  high      escalation.probing  money  cat    (confirmed) It probes.\n3 more differences are not shown\n", exit(1)},
	} {
		var b bytes.Buffer
		err := printChecked(&b, &tt.check, false)
		if diff := cmp.Diff(tt.want, b.String()); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("%v, want %v (-want +got):\n%s", err, tt.err, diff)
		}
		if err := printChecked(&b, &tt.check, true); !errors.Is(err, tt.err) {
			t.Errorf("as JSON: %v, want %v", err, tt.err)
		}
	}
}

func TestPrintComparison(t *testing.T) {
	for _, tt := range []struct {
		c    monitor.Comparison
		want string
	}{
		{monitor.Comparison{From: 1, To: 9}, "entries 1 to 9 taken in twice\nNothing is found, either way.\n\nThe findings would be the same.\n\nAll agents would end up on the same levels.\n"},
		{monitor.Comparison{From: 5, To: 99, Counts: map[string][2]int64{"performance.loop": {1, 0}}, Findings: []monitor.Difference{{Only: "before", Finding: looping}},
			Trust: []monitor.LevelDifference{{Agent: "bot", Class: "read", Before: authz.Trust{Level: "low", Score: 0.41}, After: authz.Trust{Level: "medium", Score: 0.549}}}, More: 2},
			`entries 5 to 99 taken in twice
KIND              AS IT IS  AS IT WOULD BE
performance.loop  1         0

ONLY    ID     SEVERITY  KIND              CLASS  AGENT  WHAT
before  f76.0  low       performance.loop  read   bot    It repeats  [2Jitself.

AGENT  CLASS  AS IT IS    AS IT WOULD BE
bot    read   low (0.41)  medium (0.55)
2 more differences are not shown
`},
	} {
		var b bytes.Buffer
		if err := printComparison(&b, &tt.c); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, b.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestPrintSignal(t *testing.T) {
	for data, want := range map[string]string{
		`{"at":"2026-11-24T12:00:00Z","type":"quarantine","agent":"bot","from":"no","to":"yes"}`:                                                                                          "12:00:00Z  quarantine  bot  quarantined until a person restores it\n",
		`{"at":"2026-11-24T12:00:00Z","type":"quarantine","agent":"bot","from":"yes","to":"no"}`:                                                                                          "12:00:00Z  quarantine  bot  restored\n",
		`{"at":"2026-11-24T12:00:00Z","type":"trust","agent":"b\u001b[2J","class":"read","from":"high","to":"medium"}`:                                                                    "12:00:00Z  trust       b [2J  read: high -> medium\n",
		`{"at":"2026-11-24T12:00:00Z","type":"finding","agent":"bot","finding":{"id":"f1.0","severity":"high","kind":"a.b","sentence":"S.","state":"open"}}`:                              "12:00:00Z  finding     bot  high a.b f1.0: S.\n",
		`{"at":"2026-11-24T12:00:00Z","type":"finding","agent":"bot","finding":{"id":"f1.0","severity":"high","kind":"a.b","sentence":"S.","state":"dismissed","judged_by":"admin:eve"}}`: "12:00:00Z  finding     bot  dismissed by admin:eve: high a.b f1.0: S.\n",
		`{"at":"2026-11-24T12:00:00Z","type":"finding","agent":"","finding":{"id":"f1.0","agent":"","person":"anna","severity":"low","kind":"a.b","sentence":"S.","state":"open"}}`:       "12:00:00Z  finding     person anna  low a.b f1.0: S.\n",
	} {
		var b bytes.Buffer
		if err := printSignal(&b, client.Event{Data: []byte(data)}, false); err != nil || b.String() != want {
			t.Errorf("%s: %v, %q, want %q", data, err, b.String(), want)
		}
	}
}
