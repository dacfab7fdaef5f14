package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

func newFinding() *cobra.Command {
	c := &cobra.Command{
		Use:   "finding",
		Short: "See what the monitors found, and judge it",
		Long: `See what the monitors found in the conduct of agents, and judge it.

A finding says in one sentence what was seen, how grave it is, and by which entries of the log. It lowers
the trust in the agent by itself, unless it is about a person who answers asks, or about an enforcement
point. What a person says of it is evidence, too: a finding that is dismissed counts no more, and what it
found becomes usual; one that is confirmed counts twice and does not fade.`,
		Example: `  $ safeconduct finding list --state open --severity high
  $ safeconduct finding dismiss f73.0 --why "a new tool list, agreed with the owner"
  f73.0 (escalation.over_reach) is dismissed`,
	}
	c.AddCommand(newFindingList(), newFindingShow(),
		newFindingJudge("ack", conduct.Acknowledged, "Say that a finding was seen",
			"Say that a finding was seen, and that somebody is looking into it. It counts as before.\n\nIts state tells others that they need not begin anew."),
		newFindingJudge("dismiss", conduct.Dismissed, "Say that a finding is a false alarm",
			"Say that a finding is a false alarm. Its weight against the agent is taken back, and what it found\nbecomes part of what is usual for the agent.\n\nDismiss what you have looked into: an attacker profits from findings that are dismissed in bulk."),
		newFindingJudge("confirm", conduct.Confirmed, "Say that a finding is true",
			"Say that a finding is true. It counts twice, and does not fade until somebody judges otherwise.\n\nTo stop the agent besides, use `safeconduct agent suspend`."),
		newFindingWatch())
	return c
}

func newFindingList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List findings, newest first",
		Long: `List findings, newest first: all of them, or those for which all holds that the flags say.

--before goes on where an earlier list ended: it takes the id of the last finding that was shown.`,
		Example: `  $ safeconduct finding list --agent banking.gpt-4o-2024-05-13 --severity medium
  ID     SEVERITY  KIND                   CLASS  STATE  TIMES  LAST                  WHAT
  f73.0  high      escalation.over_reach  write  open   19     2026-11-27 09:53:54Z  No capability of ...`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	agent := f.String("agent", "", "only findings about this `AGENT`")
	kind := f.String("kind", "", "only findings of this `KIND`, such as escalation.probing, or escalation for all of its kinds")
	severity := f.String("severity", "", "only findings of this `SEVERITY` or graver: low, medium, high, critical")
	state := f.String("state", "", "only findings in this `STATE`: open, acknowledged, dismissed, confirmed")
	before := f.String("before", "", "only findings older than the one with this `ID`")
	limit := f.Int("limit", 20, "at most `N` findings, 1000 at most")
	_ = c.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(severities, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"open", "acknowledged", "dismissed", "confirmed"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var page list[conduct.Finding]
		path := query("/v1/findings", "agent", *agent, "kind", *kind, "severity", *severity, "state", *state, "before", *before, "limit", strconv.Itoa(*limit))
		if err := api.call(c.Context(), "GET", path, nil, &page); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), page.Items)
		}
		return printFindings(c.OutOrStdout(), page.Items, "There are no such findings.")
	}
	return c
}

func newFindingShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one finding",
		Long: `Show one finding with its evidence: the numbers of entries of the log, oldest first.

` + "`safeconduct audit show`" + ` prints an entry, ` + "`safeconduct explain`" + ` a decision.`,
		Example: `  $ safeconduct finding show f73.0
  id        f73.0
  what      No capability of the agent covers "send_email" on "Mailbox:m4", nor 9 other things that ...
  severity  high
  kind      escalation.over_reach, in write
  agent     banking.gpt-4o-2024-05-13, session s1
  evidence  entries 73, 74, 75, 76, 77, 78, 79, 91
  seen      19 times, 2026-11-27 09:53:53Z to 2026-11-27 09:53:54Z
  state     open
  as of     entry 91`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var f conduct.Finding
		if err := api.call(c.Context(), "GET", "/v1/findings/"+segment(args[0]), nil, &f); err != nil {
			return hintFinding(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), &f)
		}
		return printPairs(c.OutOrStdout(), findingPairs(&f))
	}
	return c
}

// aboutOf names whom a finding is about: an agent by its id, a person as one.
func aboutOf(f *conduct.Finding) string {
	if f.Person != "" {
		return "person " + f.Person
	}
	if f.Point != "" {
		return "point " + f.Point
	}
	return string(f.Agent)
}

func findingPairs(f *conduct.Finding) [][2]string {
	evidence := make([]string, len(f.Evidence))
	for i, seq := range f.Evidence {
		evidence[i] = strconv.FormatInt(seq, 10)
	}
	about := [2]string{"agent", string(f.Agent)}
	if f.Person != "" {
		about = [2]string{"person", f.Person}
		if f.Agent != "" {
			about[1] += ", about asks of " + string(f.Agent)
		}
	}
	if f.Point != "" {
		about = [2]string{"point", f.Point}
	}
	if f.Session != "" {
		about[1] += ", session " + f.Session
	}
	seen := "once, " + when(f.At)
	if f.Count > 1 {
		seen = fmt.Sprintf("%d times, %s to %s", f.Count, when(f.At), when(f.LastAt))
	}
	state := string(f.State)
	if f.JudgedBy != "" {
		state += fmt.Sprintf(" by %s, %s: %s", f.JudgedBy, when(f.JudgedAt), f.Why)
	}
	return [][2]string{
		{"id", f.ID}, {"what", f.Sentence}, {"severity", f.Severity.String()}, {"kind", string(f.Kind) + ", in " + f.Class}, about,
		{"evidence", "entries " + strings.Join(evidence, ", ")}, {"seen", seen}, {"state", state}, {"as of", fmt.Sprintf("entry %d", f.AsOf)},
	}
}

// newFindingJudge makes the command by which a person says something of a finding.
func newFindingJudge(verb string, v conduct.Verdict, short, long string) *cobra.Command {
	c := &cobra.Command{
		Use:     verb + " ID",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  $ safeconduct finding %s f73.0 --why \"as the owner says\"\n  f73.0 (escalation.over_reach) is %s", verb, v),
		Args:    cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var f conduct.Finding
		in := map[string]any{"verdict": v, "why": *why}
		if err := api.call(c.Context(), "POST", "/v1/findings/"+segment(args[0])+"/judge", in, &f); err != nil {
			return hintFinding(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), &f)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s) is %s\n", f.ID, clip(string(f.Kind), 40), f.State)
		return err
	}
	return c
}

func hintFinding(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct finding list` shows them; an id looks like f73.0")
	}
	return err
}

// clock prints the time of day for lines that come as things happen.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }
