package policy

import (
	"sync/atomic"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/safeconduct/safeconduct/authz"
)

// A rule is one policy, compiled.
type rule struct {
	id     string // from @id, else its file and its place among the file's policies
	key    cedar.PolicyID
	policy *cedar.Policy
	body   *cedar.Policy // what is evaluated; see scopeless
	ast    *ast.Policy
	forbid bool

	file      int // index into Source.Files
	statement statement

	remedy      remedy
	routes      []string          // to the approval that lifts it: all must have been gone, sorted; none if nobody can be asked
	level       string            // of assurance that lifts it; "" if none does
	stepUp      *authz.Obligation // how to reach the level; nil if there is none
	obligations []authz.Obligation
	mode        mode
	notBefore   time.Time // zero if it was always in force
	expires     time.Time // zero if it never ends
	dated       bool      // whether either is set
	exact       bool      // whether it reads the exact time
	reason      string    // a reason id of the catalog
	title       string

	plan atomic.Pointer[plan] // for explanations; nil until the first
}

// A mode says whether a policy decides.
type mode uint8

const (
	enforce mode = iota
	shadow       // evaluated and recorded, never decisive
	disabled
)

// A remedy is what lifts a forbid that fires; a set of them is a bit mask.
type remedy uint8

const (
	approval remedy = 1 << iota
	stepUp

	noRemedy  remedy = 0
	allRemedy        = approval | stepUp
)

// String returns the remedy's name as policies and decisions spell it.
func (r remedy) String() string {
	switch r {
	case approval:
		return "approval"
	case stepUp:
		return "step_up"
	}
	return ""
}

// names returns the names of a set of remedies, the strictest first.
func (r remedy) names() []string {
	var out []string
	for _, one := range [...]remedy{approval, stepUp} {
		if r&one != 0 {
			out = append(out, one.String())
		}
	}
	return out
}

// effect returns permit or forbid.
func (r *rule) effect() string {
	if r.forbid {
		return "forbid"
	}
	return "permit"
}

// inForce reports whether the rule's dates hold at the given moment.
func (r *rule) inForce(at time.Time) bool {
	if !r.notBefore.IsZero() && at.Before(r.notBefore) {
		return false
	}
	return r.expires.IsZero() || at.Before(r.expires)
}

// fired returns the record of the rule's part in a decision.
func (r *rule) fired(err string) authz.Fired {
	return authz.Fired{
		Policy: r.id,
		Effect: r.effect(),
		Reason: r.reason,
		Remedy: r.remedy.String(),
		Error:  err,
		Shadow: r.mode == shadow,
	}
}

// A class is a part of a set's rules. Cedar tells of permits only if no forbid fires, so that a
// class has one effect.
type class int

const (
	forbids class = iota
	permits
	shadowForbids
	shadowPermits
	disabledRules
	classes // how many there are
)

func (r *rule) class() class {
	c := permits
	if r.forbid {
		c = forbids
	}
	switch r.mode {
	case shadow:
		return c + shadowForbids
	case disabled:
		return disabledRules
	}
	return c
}
