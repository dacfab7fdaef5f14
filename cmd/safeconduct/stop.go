package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// A stopped is a stop as the API shows it.
type stopped struct {
	ID        string    `json:"id"`
	Scope     stopScope `json:"scope"`
	Why       string    `json:"why"`
	Until     time.Time `json:"until,omitzero"`
	PutBy     string    `json:"put_by"`
	PutAt     time.Time `json:"put_at"`
	AsOf      int64     `json:"as_of"`
	LiftedBy  string    `json:"lifted_by,omitempty"`
	LiftedAt  time.Time `json:"lifted_at,omitzero"`
	LiftedWhy string    `json:"lifted_why,omitempty"`
	Standing  bool      `json:"standing"`
	Agents    int       `json:"agents"`
}

type stopScope struct {
	Everything bool   `json:"everything,omitempty"`
	Owner      string `json:"owner,omitempty"`
	Purpose    string `json:"purpose,omitempty"`
	Agent      string `json:"agent,omitempty"`
	Capability string `json:"capability,omitempty"`
}

func (s stopScope) String() string {
	out := ""
	for _, p := range [][2]string{{"owner", s.Owner}, {"purpose", s.Purpose}, {"agent", s.Agent}, {"capability", s.Capability}} {
		if p[1] != "" {
			out += " " + p[0] + "=" + p[1]
		}
	}
	if out == "" {
		return "everything"
	}
	return out[1:]
}

func newStop() *cobra.Command {
	c := &cobra.Command{
		Use:   "stop",
		Short: "The kill switch: stop everything, or everything of an owner, a purpose, an agent or a capability",
		Long: `The kill switch. What is stopped is refused with the code emergency_stop before any policy is asked:
at every replica and every embedded decision point that hears the service, within a second. Agents
that are stopped get no passports, and those they have do not count. No approval, policy or trust
lifts it.

A stop stands until somebody lifts it, or until the time that was said. It does not call back what
was allowed before. To take authority away by degrees, raise an alert instead.`,
		Example: `  $ safeconduct stop put inc-7 --everything --why "incident 7"
  inc-7 stops everything (29 agents) until somebody lifts it
  $ safeconduct stop lift inc-7 --why "incident 7 is over"
  inc-7 is lifted: everything goes on`,
	}
	c.AddCommand(newStopPut(), newStopLift(), newStopList())
	return c
}

func newStopPut() *cobra.Command {
	c := &cobra.Command{
		Use:   "put ID",
		Short: "Stop, at once",
		Long: `Stop, at once. What is stopped is what all of --owner, --purpose, --agent and --capability have in
common, and what is done for such an agent; --everything says that nothing is left out, persons included.

A stop is not changed: put another, or lift it. An id is used once.`,
		Example: `  $ safeconduct stop put inc-7 --purpose household-banking --for 4h --why "incident 7"
  inc-7 stops purpose=household-banking (6 agents) until 2026-11-23 20:00:00Z`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	var scope stopScope
	f := c.Flags()
	f.BoolVar(&scope.Everything, "everything", false, "every request of everybody")
	f.StringVar(&scope.Owner, "owner", "", "agents of this `OWNER`")
	f.StringVar(&scope.Purpose, "purpose", "", "agents with this `PURPOSE`")
	f.StringVar(&scope.Agent, "agent", "", "this `AGENT`")
	f.StringVar(&scope.Capability, "capability", "", "what this `CAPABILITY` of the catalog lets do, whoever does it")
	lasts := f.Duration("for", 0, "how long it stands: `DURATION` such as 4h; until somebody lifts it, if left out")
	dry := f.Bool("dry-run", false, "say what it would change, and stop nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		if scope == (stopScope{}) {
			return usageError{errors.New("say what to stop: --everything, --owner, --purpose, --agent or --capability")}
		}
		if *lasts < 0 {
			return usageError{fmt.Errorf("--for %s is in the past", *lasts)}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		if *dry {
			return dryRun(c, api, *asJSON, "/v1/stops/preview", map[string]any{"scope": scope})
		}
		in := struct {
			Scope stopScope `json:"scope"`
			Until time.Time `json:"until,omitzero"`
			Why   string    `json:"why"`
		}{Scope: scope, Why: *why}
		if *lasts > 0 {
			in.Until = time.Now().Add(*lasts).UTC().Truncate(time.Second)
		}
		var s stopped
		if err := api.call(c.Context(), "PUT", "/v1/stops/"+segment(args[0]), in, &s); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), s)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s stops %s (%d agents) until %s\n", s.ID, s.Scope, s.Agents, s.end())
		return err
	}
	return c
}

func (s *stopped) end() string {
	if s.Until.IsZero() {
		return "somebody lifts it"
	}
	return when(s.Until)
}

func newStopLift() *cobra.Command {
	c := &cobra.Command{
		Use:   "lift ID",
		Short: "Lift a stop",
		Long: `Lift a stop. What it stopped goes on at once, within what the policies permit.

Where the service is configured so (stops.second_person), it takes somebody else than who stopped.`,
		Example: `  $ safeconduct stop lift inc-7 --why "incident 7 is over"
  inc-7 is lifted: everything goes on`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	dry := c.Flags().Bool("dry-run", false, "say what it would change, and lift nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		if *dry {
			return dryRun(c, api, *asJSON, "/v1/stops/preview", map[string]any{"lift": args[0]})
		}
		var s stopped
		if err := api.call(c.Context(), "POST", "/v1/stops/"+segment(args[0])+"/lift", map[string]string{"why": *why}, &s); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct stop list` shows what is stopped")
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), s)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is lifted: %s goes on\n", s.ID, s.Scope)
		return err
	}
	return c
}

func newStopList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List what is stopped",
		Long: `List what is stopped, with how many registered agents that concerns and since when.

What was refused because of it is in the log: ` + "`safeconduct audit find --code emergency_stop`" + `.`,
		Example: `  $ safeconduct stop list
  ID     STOPS       AGENTS  SINCE                 UNTIL              BY           WHY
  inc-7  everything  29      2026-11-23 16:00:00Z  somebody lifts it  admin:admin  incident 7`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	past := c.Flags().Bool("all", false, "also what was stopped once, newest first, at most 1000")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		path := "/v1/stops"
		if *past {
			path += "?all=true&limit=1000"
		}
		var all list[stopped]
		if err := api.call(c.Context(), "GET", path, nil, &all); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all.Items)
		}
		t := newTable("ID", "STOPS", "AGENTS", "SINCE", "UNTIL", "BY", "WHY")
		for _, s := range all.Items {
			end, agents := s.end(), ""
			if s.Standing {
				agents = fmt.Sprint(s.Agents)
			}
			if !s.LiftedAt.IsZero() {
				end = "lifted " + when(s.LiftedAt)
			}
			t.add(clip(s.ID, 40), clip(s.Scope.String(), 60), agents, when(s.PutAt), end, clip(s.PutBy, 30), clip(s.Why, 60))
		}
		return t.print(c.OutOrStdout(), "Nothing is stopped.")
	}
	return c
}

// A previewed is what an alert or a stop would change, as the API says.
type previewed struct {
	Agents   int  `json:"agents"`
	LookedAt int  `json:"looked_at"`
	Unread   int  `json:"unread"`
	InScope  int  `json:"in_scope"`
	Changed  int  `json:"changed"`
	Complete bool `json:"complete"`
	Affected []struct {
		ID        string `json:"id"`
		Decisions int    `json:"decisions"`
		Changed   int    `json:"changed"`
		Before    string `json:"risk_before"`
		After     string `json:"risk_after"`
	} `json:"affected"`
	Changes []struct {
		Before    previewedOutcome `json:"before"`
		After     previewedOutcome `json:"after"`
		Decisions int              `json:"decisions"`
	} `json:"changes"`
}

type previewedOutcome struct {
	Effect string `json:"effect"`
	Code   string `json:"code"`
}

// dryRun asks what a change would do, and prints the answer.
func dryRun(c *cobra.Command, api *remote, asJSON bool, path string, in any) error {
	if asJSON {
		var all any
		if err := api.call(c.Context(), "POST", path, in, &all); err != nil {
			return err
		}
		return writeJSON(c.OutOrStdout(), all)
	}
	var p previewed
	if err := api.call(c.Context(), "POST", path, in, &p); err != nil {
		return err
	}
	return p.print(c.OutOrStdout())
}

func (p *previewed) print(w io.Writer) error {
	part := ""
	if !p.Complete {
		part = ", and no more within the time"
	}
	fmt.Fprintf(w, "%d registered agents are in its scope. Of the newest %d decisions%s, %d are, and %d would come out otherwise now.\n", p.Agents, p.LookedAt, part, p.InScope, p.Changed)
	if p.Unread > 0 {
		fmt.Fprintf(w, "%d of them cannot be read: what would come of these is not known.\n", p.Unread)
	}
	changes := newTable("DECISIONS", "NOW", "THEN")
	for _, x := range p.Changes {
		changes.add(fmt.Sprint(x.Decisions), x.Before.Effect+" ("+x.Before.Code+")", x.After.Effect+" ("+x.After.Code+")")
	}
	if len(p.Changes) > 0 {
		if err := changes.print(w, ""); err != nil {
			return err
		}
	}
	agents := newTable("AGENT", "DECISIONS", "OTHERWISE", "RISK NOW", "THEN")
	rows := 0
	for _, a := range p.Affected {
		if a.Decisions > 0 && rows < 20 {
			rows++
			agents.add(clip(a.ID, 60), fmt.Sprint(a.Decisions), fmt.Sprint(a.Changed), a.Before, a.After)
		}
	}
	if rows == 0 {
		return nil
	}
	return agents.print(w, "")
}
