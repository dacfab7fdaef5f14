package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

func newExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain DECISION",
		Short: "Explain a recorded decision: what the agent was told, and why it was so",
		Long: `Explain a recorded decision: what was asked, what was known of the moment, which policies took part,
and what the agent was told. DECISION is its id, d and a number.

All of it comes from the record. What stands under "for the operator" is not for the agent: it holds
policies, and facts of risk and conduct.`,
		Example: `  $ safeconduct explain d1702
  d1702: require_approval (approval_required), 2026-11-23 16:00:09Z, policies of version 1
  asked by pep:pep: agent:banking.gpt-4o-2024-05-13 send_money Account:own for user:emma
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
	Policies []struct {
		authz.Fired
		Message string `json:"message"`
		Detail  string `json:"detail"`
	} `json:"policies"`
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
		p.f("  detail      %s", d.Detail)
	}
	for _, t := range x.Policies {
		note := ""
		for _, n := range [][2]string{{"reason ", t.Reason}, {"remedy ", t.Remedy}, {"for the ", t.Party}, {"error: ", t.Error}} {
			if n[1] != "" {
				note += ", " + n[0] + n[1]
			}
		}
		if t.Shadow {
			note += ", in shadow"
		}
		p.f("  policy      %s (%s%s)", t.Policy, t.Effect, note)
	}
	for _, l := range known(f, q) {
		p.f("  %-11s %s", l[0], l[1])
	}
	return p.err
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
	add("grant", "%s within limits%s, class %s", none(f.Grant.Within), exceeded(f.Grant.Exceeded), orNone(f.Grant.Class))
	add("trust", "%s (%.2f)", f.Trust.Level, f.Trust.Score)
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
	if len(f.Missing) > 0 {
		add("missing", "%s", none(f.Missing))
	}
	return out
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
