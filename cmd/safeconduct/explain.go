package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/policy"
)

func newExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain DECISION",
		Short: "Explain a recorded decision: what the agent was told, and why it was so",
		Long: `Explain a recorded decision: what was asked, what the agent was told, and, for the operator, every
policy that could have applied: what became of it, the clause that decided, with its place, and the
values that it read. DECISION is its id, d and a number.

For that the recorded request is judged again, by the recorded facts and the version of the policies
that decided then; whether the answer is the recorded one is told. What stands under "for the
operator" is not for the agent. Only administrators and auditors can ask.`,
		Example: `  $ safeconduct explain d66
  d66: require_approval (approval_required), 2026-11-23 16:00:09Z, policies of version 1
  asked by pep:pep: agent:banking.gpt-4o-2024-05-13 send_money Account:own for user:emma
  ...
  for the operator
    judged again  by version 1 and the recorded facts: the same answer
    ...

  payee: forbid, satisfied, remedy approval, for the agent
    policies/40-destinations.cedar:12, The payee of a payment comes from the person
    line 16 holds: unless { context.observed.provenance.prompt.contains("recipient") }
      context.observed.provenance.prompt = []
  ...`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		seq, err := entryNumber(args[0])
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var raw []byte
		if err := api.call(c.Context(), "GET", fmt.Sprintf("/v1/decisions/d%d/explain", seq), nil, &raw); err != nil {
			if notFound(err) {
				return hinted(err, "a decision's id is in its answer; `safeconduct audit find --kind decision.made` shows the newest ones")
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), json.RawMessage(raw))
		}
		var x explanation
		if err := json.Unmarshal(raw, &x); err != nil {
			return fmt.Errorf("understanding the service's answer: %w", err)
		}
		return x.print(c.OutOrStdout())
	}
	return c
}

// A record is the body of a decision's entry.
type record struct {
	Request  authz.Request  `json:"request"`
	Facts    authz.Facts    `json:"facts"`
	Decision authz.Decision `json:"decision"`
}

// An explanation is the operator's view of a decision as the API shows it.
type explanation struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Record record    `json:"record"`
	Agent  struct {
		Reasons  []authz.Reason `json:"reasons"`
		Changes  []authz.Change `json:"changes"`
		Remedies []string       `json:"remedies"`
	} `json:"agent_view"`
	Again struct {
		Agrees  bool           `json:"agrees"`
		Problem string         `json:"problem"`
		Effect  authz.Effect   `json:"effect"`
		Code    string         `json:"code"`
		Changes []authz.Change `json:"changes"`
	} `json:"judged_again"`
	Policies []tracedPolicy `json:"policies"`
}

// A tracedPolicy says what became of a policy, and what its reason says.
type tracedPolicy struct {
	policy.Traced
	Message string `json:"message"`
	Detail  string `json:"detail"`
}

func (x *explanation) print(w io.Writer) error {
	p := &lines{w: w}
	q, f, d := &x.Record.Request, &x.Record.Facts, &x.Record.Decision
	p.f("%s: %s (%s), %s, policies of version %d", x.ID, d.Effect, d.Code, when(x.At), d.PolicySet)
	p.f("asked by %s: %s", x.Actor, asked(q))
	if len(q.Action.Properties) > 0 {
		p.f("  arguments  %s", q.Action.Properties)
	}
	if len(q.Context) > 0 {
		p.f("  claimed    %s", q.Context)
	}

	p.f("")
	p.f("told to the agent")
	for _, r := range x.Agent.Reasons {
		who := ""
		if r.Party != "" {
			who = " (" + r.Party + ")"
		}
		p.f("  %s%s: %s", r.Code, who, r.Message)
	}
	for _, r := range x.Agent.Remedies {
		p.f("  remedy: %s", r)
	}
	for _, c := range x.Agent.Changes {
		p.f("  would help (%s): %s", c.Who, c.Hint)
	}
	for _, o := range d.Obligations {
		p.f("  obligation: %s (%s)", o.ID, o.Type)
	}

	p.f("")
	p.f("for the operator")
	if d.Detail != "" {
		p.f("  %-13s %s", "detail", d.Detail)
	}
	switch again := &x.Again; {
	case again.Problem != "":
		p.f("  %-13s %s", "judged again", "not: "+again.Problem)
	case again.Agrees:
		p.f("  %-13s by version %d and the recorded facts: the same answer", "judged again", d.PolicySet)
	default:
		p.f("  %-13s by version %d and the recorded facts: NOT the same answer, but %s (%s)", "judged again", d.PolicySet, again.Effect, again.Code)
	}
	for _, l := range known(f, q) {
		p.f("  %-13s %s", l[0], l[1])
	}
	x.policies(p)
	return p.err
}

// policies prints what became of the policies: in full those that took part and the permits that
// were not satisfied, the others by name.
func (x *explanation) policies(p *lines) {
	if x.Again.Problem != "" {
		p.f("")
		for _, t := range x.Record.Decision.Fired {
			p.f("%s: %s, recorded as fired%s", t.Policy, t.Effect, notes("remedy ", t.Remedy, "error: ", t.Error, "for the ", t.Party))
		}
		return
	}
	brief := map[string][]string{}
	for _, t := range x.Policies {
		switch {
		case t.Outcome == "scope" || t.Outcome == "not_in_force":
			brief[t.Outcome] = append(brief[t.Outcome], t.Policy)
		case t.Outcome == "unsatisfied" && t.Effect == "forbid":
			brief["forbid"] = append(brief["forbid"], t.Policy)
		default:
			p.f("")
			t.print(p)
		}
	}
	if len(brief) > 0 {
		p.f("")
	}
	for _, b := range [][2]string{
		{"forbid", "forbid, and did not fire"}, {"not_in_force", "not in force then"}, {"scope", "of other subjects or resources"},
	} {
		if names := brief[b[0]]; names != nil {
			slices.Sort(names)
			p.f("%s: %s", b[1], strings.Join(slices.Compact(names), ", "))
		}
	}
}

func (t *tracedPolicy) print(p *lines) {
	shadow := ""
	if t.Mode == "shadow" {
		shadow = "shadow"
	}
	outcome := t.Outcome
	if t.Lifted {
		outcome += " and lifted"
	}
	p.f("%s: %s, %s%s", t.Policy, t.Effect, outcome, notes("remedy ", t.Remedy, "by ", strings.Join(t.Routes, " and "), "at level ", t.Level,
		"in ", shadow, "for the ", t.Party))
	p.f("  %s:%d%s", t.File, t.Line, notes("", t.Title))
	if t.Message != "" {
		p.f("  reason %s: %s", t.Reason, t.Message)
	}
	if t.Detail != "" {
		p.f("  %s", t.Detail)
	}
	for _, c := range t.Clauses {
		if t.Outcome == "unsatisfied" && c.Outcome == "holds" {
			continue // it is not what decided
		}
		p.f("  line %d %s: %s", c.Line, strings.ReplaceAll(c.Outcome, "_", " "), strings.Join(strings.Fields(c.Text), " "))
		if c.Error != "" {
			p.f("    %s", c.Error)
		}
		for _, r := range c.Reads {
			p.f("    %s = %s", r.Path, clip(r.Value, 200))
		}
	}
}

// notes joins those of the pairs of a word and a value that have a value.
func notes(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			b.WriteString(", " + pairs[i] + pairs[i+1])
		}
	}
	return b.String()
}

// asked says in one line what was asked.
func asked(q *authz.Request) string {
	s := q.Subject.Ref.String() + " " + q.Action.Name + " " + q.Resource.Ref.String()
	for _, who := range q.OnBehalf {
		s += " for " + who.String()
	}
	return s
}

// known returns what was known of the moment, as names and values.
func known(f *authz.Facts, q *authz.Request) (out [][2]string) {
	add := func(name, format string, args ...any) {
		out = append(out, [2]string{name, fmt.Sprintf(format, args...)})
	}
	if a := f.Agent; a != nil {
		add("agent", "%s, purpose %s, owner %s, version %s, revision %d", a.State, a.Purpose, a.Owner, a.Version, a.Revision)
	}
	add("grant", "%s", granted(&f.Grant))
	add("trust", "%s (%.2f)", f.Trust.Level, f.Trust.Score)
	if c := behaved(&f.Conduct); c != "" {
		add("conduct", "%s", c)
	}
	if f.Confidence != nil {
		add("confidence", "%.2f is what the reported one has been worth", *f.Confidence)
	}
	for i := range f.Behalf {
		d := &f.Behalf[i]
		add("for agent", "%s, %s; grant %s; trust %s (%.2f)", d.Agent.ID, d.Agent.State, granted(&d.Grant), orNone(d.Trust.Level), d.Trust.Score)
		if c := behaved(&d.Conduct); c != "" {
			add("", "  conduct %s", c)
		}
	}
	add("risk", "%s (%d)", f.Risk.Level, f.Risk.Score)
	for _, c := range f.Risk.Contributions {
		add("", "  %+d %s", c.Points, c.Source)
	}
	add("data", "%s, labels %s", f.Class, none(f.Labels))
	address := "address unknown"
	if q.Observed.Address.IsValid() {
		address = q.Observed.Address.String()
	}
	add("network", "%s, zones %s", address, none(f.Zones))
	add("schedules", "%s open", none(f.Schedules))
	if p := q.Observed.Provenance; p != nil {
		add("provenance", "prompt %s; operator %s; untrusted %s; unknown %s", none(p.Prompt), none(p.Operator), none(p.Untrusted), none(p.Unknown))
	} else {
		add("provenance", "not known")
	}
	if q.Observed.Session != "" {
		add("session", "%s", q.Observed.Session)
	}
	if q.Observed.Task != "" {
		add("task", "%s", q.Observed.Task)
	}
	if a := f.Approval; a != nil {
		use := "no use drawn"
		if a.Use != 0 {
			use = fmt.Sprintf("use drawn by entry %d", a.Use)
		}
		add("approval", "%s of ask %s, by %s, routes %s, %s", a.ID, a.Ask, none(a.By), none(a.Routes), use)
	} else if q.Approval != nil {
		add("approval", "%.64q does not hold: %s", q.Approval.ID, orNone(f.Unapproved))
	}
	if f.Asks != (authz.Asks{}) {
		add("asks", "%d in the session, %d within an hour, %d wait", f.Asks.Session, f.Asks.Hour, f.Asks.Pending)
	}
	if len(f.Assured) > 0 {
		add("assurance", "%s", none(f.Assured))
	}
	if len(f.Missing) > 0 {
		add("missing", "%s", none(f.Missing))
	}
	return out
}

func granted(g *authz.Grant) string {
	essential := ""
	if g.Essential {
		essential = ", essential"
	}
	return fmt.Sprintf("%s within limits%s, class %s%s", none(g.Within), exceeded(g.Exceeded), orNone(g.Class), essential)
}

// behaved says how an agent has behaved, or nothing if nothing is known of it.
func behaved(c *authz.Conduct) string {
	var out []string
	if c.Quarantined {
		out = append(out, "quarantined")
	}
	if c.Lowest != (authz.Trust{}) {
		out = append(out, fmt.Sprintf("lowest trust %s (%.2f)", c.Lowest.Level, c.Lowest.Score))
	}
	if c.Judged > 0 {
		out = append(out, fmt.Sprintf("accuracy %.2f, error rate %.2f (%d outcomes)", c.Accuracy, c.ErrorRate, c.Judged))
	}
	if len(c.Findings) > 0 {
		out = append(out, "findings "+none(c.Findings)+", the gravest "+severity(c.Gravest))
	}
	return strings.Join(out, ", ")
}

// severity returns the name of a finding's severity, 1 the mildest.
func severity(n int64) string {
	names := [...]string{"unknown", "low", "medium", "high", "critical"}
	if n < 0 || n >= int64(len(names)) {
		return names[0]
	}
	return names[n]
}

func none(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func exceeded(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ", exceeded " + strings.Join(list, ", ")
}

// what says in one line what an entry is about.
func (e *entry) what() string {
	if e.Kind == "decision.made" {
		var r record
		if json.Unmarshal(e.Body, &r) == nil {
			return asked(&r.Request) + ": " + r.Decision.Effect.String() + " (" + r.Decision.Code + ")"
		}
	}
	return string(e.Body)
}

// lines prints lines of what strangers may have written, and keeps the first error.
type lines struct {
	w   io.Writer
	err error
}

func (p *lines) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, clip(fmt.Sprintf(format, args...), 500))
	}
}
