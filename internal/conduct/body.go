package conduct

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of what is said of decisions and findings.
const (
	MaxWhy     = 1000                // bytes of a reason
	MaxAge     = 30 * 24 * time.Hour // of a decision whose outcome is reported
	maxList    = 64                  // obligations
	maxText    = 512                 // bytes of any other text
	maxMeasure = int64(1) << 50      // milliseconds or bytes
)

// A Judgement is what a person says of a finding: the body of a finding.judged entry.
type Judgement struct {
	Finding string  `json:"finding"`
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why"`
}

// Check returns authz.ErrInvalid and what is wrong with j, whatever findings there are.
func (j *Judgement) Check() error {
	if _, _, ok := ParseID(j.Finding); !ok {
		return authz.Errorf(authz.ErrInvalid, "%.64q is no finding's id", j.Finding)
	}
	switch j.Verdict {
	case Acknowledged, Dismissed, Confirmed:
	default:
		return authz.Errorf(authz.ErrInvalid, "unknown verdict %.32q: one of acknowledged, dismissed, confirmed", j.Verdict)
	}
	return CheckWhy(j.Why)
}

// CheckWhy returns authz.ErrInvalid unless why is a reason that can be kept.
func CheckWhy(why string) error {
	if strings.TrimSpace(why) == "" || len(why) > MaxWhy || !printable(why) {
		return authz.Errorf(authz.ErrInvalid, "say why, in 1 to %d bytes of printable text", MaxWhy)
	}
	return nil
}

// ID returns the id of the finding that an entry completed as its nth, from 0.
func ID(seq int64, n int) string {
	return "f" + strconv.FormatInt(seq, 10) + "." + strconv.Itoa(n)
}

// ParseID returns what ID was made of, and whether it was.
func ParseID(id string) (seq int64, n int, ok bool) {
	head, tail, found := strings.Cut(id, ".")
	if !found || len(head) < 2 || head[0] != 'f' {
		return 0, 0, false
	}
	seq, err := strconv.ParseInt(head[1:], 10, 64)
	if err != nil || seq <= 0 {
		return 0, 0, false
	}
	m, err := strconv.ParseInt(tail, 10, 32)
	if err != nil || m < 0 || ID(seq, int(m)) != id {
		return 0, 0, false
	}
	return seq, int(m), true
}

// Check returns authz.ErrInvalid and what is wrong with o, as the entry of its number and time,
// whatever is known of its agent. MaxAge is not looked at.
func (o *Outcome) Check() error {
	bad := func(format string, args ...any) error { return authz.Errorf(authz.ErrInvalid, format, args...) }
	switch {
	case o.Agent == "" || len(o.Agent) > maxText:
		return bad("an outcome is of a decision about an agent")
	case o.Back < 0 || o.Back > 0 && o.Decision != 0 || o.Edge == nil && o.Back != 0:
		return bad("an outcome is of one decision")
	case o.Edge != nil && (o.Edge.Journal == "" || len(o.Edge.Journal) > maxText || o.Edge.Number < 1):
		return bad("an outcome out of a journal has a number in it")
	case o.Back == 0 && o.Decision <= 0 || o.Seq > 0 && (o.Decision >= o.Seq || o.Back >= o.Seq):
		return bad("no earlier entry has the number %d", o.Decision)
	case o.Decided.IsZero() || !o.At.IsZero() && o.Decided.After(o.At.Add(time.Minute)):
		return bad("an outcome is of a decision that was made before it")
	case o.Said != nil && !(*o.Said >= 0 && *o.Said <= 1):
		return bad("a confidence is a number from 0 to 1")
	case o.Latency < 0 || o.Latency > maxMeasure || o.Size < 0 || o.Size > maxMeasure:
		return bad("latency_ms and size_bytes are from 0 to %d", maxMeasure)
	case len(o.Why) > MaxWhy || !printable(o.Why):
		return bad("a reason has up to %d bytes of printable text", MaxWhy)
	case len(o.Action) > maxText || len(o.Session) > maxText || len(o.By) > maxText:
		return bad("action, session and reporter have up to %d bytes", maxText)
	}
	if _, ok := ParseClass(o.Class); !ok {
		return bad("unknown class %.32q: one of read, write, egress, money, admin", o.Class)
	}
	switch o.Reporter {
	case ReporterPerson, ReporterPEP, ReporterOperator, ReporterAgent:
	default:
		return bad("unknown reporter %.32q: one of person, pep, operator, agent", o.Reporter)
	}
	switch o.Result {
	case ResultNone, ResultRight, ResultWrong, ResultHarmful, ResultReverted:
	default:
		return bad("unknown result %.32q: one of right, wrong, harmful, reverted", o.Result)
	}
	switch o.Fault {
	case FaultNone, FaultTool, FaultSchema, FaultTime:
	default:
		return bad("unknown fault %.32q: one of tool, schema, timeout", o.Fault)
	}
	if len(o.Met) > maxList || len(o.Obliged) > maxList {
		return bad("an outcome names up to %d obligations", maxList)
	}
	for _, list := range [][]string{o.Met, o.Obliged} {
		for _, id := range list {
			if id == "" || len(id) > maxText {
				return bad("an obligation's id has 1 to %d bytes", maxText)
			}
		}
	}
	return nil
}

// printable reports whether s is UTF-8 without control characters.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	return true
}
