// Package escalation finds agents that reach for more than they were granted: acts beyond all their
// capabilities, ever other things that they are refused, limits tried from both sides, the same refused
// act in a new session or through another agent, reach that delegation adds, and attempts on what rules
// over agents. The model is that of privilege escalation (CWE-269), the confused deputy (Hardy, 1988)
// and enumeration (OWASP API1: broken object level authorization), seen from the judge's side: all of it
// leaves refusals behind.
//
// What counts is a refusal that says something of the agent. One that says something of us (no policy,
// no signal, a person or a stronger sign-in is asked for, an obligation cannot be met, a policy failed) does not,
// nor does an act within its capabilities that is refused while its trust is lowered, or because it is low: an
// agent on probation that goes on with its work does not reach for more. Questions of ours (token.issue, client.register) are
// no acts on the world. A single act never gives more than a low finding, since it may be an honest mistake:
// who reaches for more does so more than once, or goes round a refusal.
//
// What is kept is bounded for any stream. To be forgotten takes more refusals than to be found: what an
// agent was refused is pushed out only by twelve other things, and among all agents' refusals those of the
// busiest give way first.
package escalation

import (
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Kinds of finding.
const (
	OverReach  conduct.Kind = "escalation.over_reach"  // asks for what no capability covers
	ScopeCreep conduct.Kind = "escalation.scope_creep" // is refused ever other things, or ever larger amounts
	Elsewhere  conduct.Kind = "escalation.elsewhere"   // denied here, tried elsewhere
	Delegation conduct.Kind = "escalation.delegation"  // reach that an agent has only through another
	Self       conduct.Kind = "escalation.self"        // attempts on what rules over agents
	Probing    conduct.Kind = "escalation.probing"     // varied tries around a limit
	Laundering conduct.Kind = "escalation.laundering"  // the same refused act in ever new sessions
)

// A State is what is remembered of one agent. The zero State remembers nothing. It is bounded for any
// stream (400 bytes), and not safe for concurrent use.
type State struct {
	refused []refusal // oldest first, each another thing, at most maxRefused
	tries   *tries    // nil until an argument was refused
	away    away
	self    self
	day     uint16 // when own was told to the fleet, in days since 1970
	lentOn  uint16 // the day of lent
	own     uint8  // classes in which its own capabilities have served it, by bit
	lent    uint8  // how often it has lent reach of a grave class to another that day
}

// A Fleet is what is remembered of all agents together. The zero Fleet remembers nothing. It is bounded
// (5 MB), and not safe for concurrent use.
type Fleet struct {
	denied ledger[denial]
	reach  ledger[grasp]
}

// act is an event, with what all rules ask of it worked out once.
type act struct {
	*conduct.Event
	rules    *catalog.EscalationRules
	emit     func(conduct.Draft)
	now      uint32 // seconds since 1970
	since    uint32 // refusals before it are out of the window
	resource uint32 // hash of what it is done to
	thing    uint32 // hash of what is done to what
	agent    uint32
	session  uint32 // 0 if unknown
	learn    bool
	reaching bool // it was refused, and that says something of the agent
}

// Observe takes in an event of the agent and emits findings. Learn is false while the agent's trust is
// lowered: nothing of what it does becomes normal then.
func (s *State) Observe(f *Fleet, r *catalog.EscalationRules, ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
	if r.Off || ev.Issuing {
		return
	}
	a := act{Event: ev, rules: r, emit: emit, now: seconds(ev.At), learn: learn, reaching: Blames(r, ev, learn)}
	a.since = a.now - min(a.now, uint32(r.Window/time.Second))
	h := conduct.Hash(ev.Resource.Type, ev.Resource.ID)
	a.resource, a.thing = fold(h), fold(h^conduct.Hash(ev.Action))
	a.agent, a.session = fold(conduct.Hash(string(ev.Agent))), name(ev.Session)

	s.forget(a.since)
	known, fresh := s.note(&a)
	meddling := s.meddles(&a, fresh)
	s.launders(&a, known)
	s.probes(&a)
	s.triesElsewhere(f, &a)
	s.delegates(f, &a)
	if fresh && !meddling {
		s.creeps(&a)
	}
}

// Blames reports whether the event is a refusal that says something of the agent. Learn is false while the agent's
// trust is lowered.
func Blames(r *catalog.EscalationRules, ev *conduct.Event, learn bool) bool {
	if ev.Effect != authz.Deny || len(ev.Within) > 0 && (!learn || excused(r, ev.Reasons)) {
		return false
	}
	switch ev.Code {
	case authz.CodeUnavailable, authz.CodeSignalMissing, authz.CodeApprovalRequired, authz.CodeStepUpRequired, authz.CodeObligation,
		authz.CodeAskBudget, authz.CodePolicyError, authz.CodeInvalid, authz.CodePassportInvalid, authz.CodeAgentUnknown, authz.CodeAgentInactive,
		authz.CodeStopped:
		return false
	}
	return true
}

// excused reports whether all reasons that the agent was told are those of low trust.
func excused(r *catalog.EscalationRules, reasons []string) bool {
	return len(reasons) > 0 && !slices.ContainsFunc(reasons, func(id string) bool { return !slices.Contains(r.Excused, id) })
}

// Size returns about how many bytes of memory the state takes.
func (s *State) Size() int {
	n := int(unsafe.Sizeof(*s)) + cap(s.refused)*int(unsafe.Sizeof(refusal{}))
	if s.tries != nil {
		n += int(unsafe.Sizeof(*s.tries))
	}
	return n
}

// say emits a finding. Evidence is put in order; the event itself is the last of it.
func (a *act) say(k conduct.Kind, s conduct.Severity, c conduct.Class, sentence string, evidence ...int64) {
	slices.Sort(evidence)
	evidence = slices.Compact(evidence)
	if i, _ := slices.BinarySearch(evidence, a.Seq); i < len(evidence) {
		evidence = evidence[:i]
	}
	if n := len(evidence) - (conduct.MaxEvidence - 1); n > 0 {
		evidence = evidence[n:]
	}
	a.emit(conduct.Draft{Kind: k, Severity: s, Class: c, Evidence: append(evidence, a.Seq), Sentence: sentence})
}

// grave reports whether acts of a class do harm that is not undone.
func grave(c conduct.Class) bool { return c >= conduct.Egress }

// quoted are the names that a sentence quotes.
func (a *act) quoted() (action, resource string) {
	return conduct.Quote(a.Action), conduct.Quote(a.Resource.Type + ":" + a.Resource.ID)
}

// seconds are whole seconds since 1970, from 1 to what 32 bits hold.
func seconds(t time.Time) uint32 { return uint32(max(1, min(t.Unix(), 1<<32-1))) }

// fold makes a hash fit into 32 bits, every part of which tells as much as any other. It is never 0.
func fold(h uint64) uint32 { return spread(uint32(h ^ h>>32)) }

// spread mixes the bits of x (the finalizer of MurmurHash3). It is never 0.
func spread(x uint32) uint32 {
	x = (x ^ x>>16) * 0x85ebca6b
	x = (x ^ x>>13) * 0xc2b2ae35
	return max(1, x^x>>16)
}

// name hashes a name; 0 is none.
func name(s string) uint32 {
	if s == "" {
		return 0
	}
	return fold(conduct.Hash(s))
}

// A number is 48 bits, to be kept without holes: the number of an entry of the log (at 100,000 a second they
// last for 89 years).
type number [3]uint16

func pack(n int64) number { return number{uint16(n), uint16(n >> 16), uint16(n >> 32)} }

func (n number) seq() int64 { return int64(n[0]) | int64(n[1])<<16 | int64(n[2])<<32 }

// protected reports whether no agent should act on resources of a type.
func protected(r *catalog.EscalationRules, typ string) bool {
	return slices.ContainsFunc(r.Protected, func(p string) bool { return len(p) == len(typ) && strings.EqualFold(p, typ) })
}
