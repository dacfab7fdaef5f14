package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

func newAgentTrust() *cobra.Command {
	c := &cobra.Command{
		Use:   "trust AGENT",
		Short: "Explain how far an agent is trusted, and why",
		Long: `Explain how far an agent is trusted in each class of capability (read, write, egress, money, admin), what
moved it, what would bring it a level up and when at the earliest, which findings are open, and how well
the agent does its work.

The level follows the SCORE: the value that the agent's true share of good conduct exceeds with 95% by
what is known of it (the lower credible bound; the catalog says which). MEAN is what that share is likely
to be. Little evidence means a score far below the mean, and so caution, not suspicion.

` + "`safeconduct agent set-trust`" + ` sets a level by hand; docs/monitoring.md says how trust works.`,
		Example: `  $ safeconduct agent trust banking.gpt-4o-2024-05-13
  agent     banking.gpt-4o-2024-05-13
  purpose   household-banking, version gpt-4o-2024-05-13
  trust     low at the lowest, after 21 decisions, as of entry 91
  learning  no: nothing that it does becomes usual while its trust is lowered

  CLASS   LEVEL   SCORE  MEAN  SINCE                 BECAUSE
  read    medium  0.55   0.83  2026-11-27 09:53:00Z  its conduct
  write   low     0.20   0.42  2026-11-27 09:53:00Z  its conduct, which lowered it
  ...

  MOVED BY               ENTRY  AT                    EVIDENCE  IN
  escalation.over_reach  73     2026-11-27 09:53:00Z  -6        write

  To rise in write:
    To medium: 10 more clean acts in 3 more sessions, ... not before 2026-11-28 09:53Z; and a score of
    0.50, which is 0.1995 now: at 4 clean sessions a day, the most that counts, in 2 days.

  ID     SEVERITY  KIND                   CLASS  STATE  TIMES  LAST                  WHAT
  f73.0  high      escalation.over_reach  write  open   19     2026-11-27 09:53:54Z  No capability of ...

  work         12 outcomes judged: right in at least 61%, 4% of acts failed
  calibration  Brier score 0.210
  SAID       MEANT  RIGHT  OUTCOMES
  0.80-0.90  0.86   58%    12`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var r monitor.Report
		if err := api.call(c.Context(), "GET", "/v1/agents/"+segment(args[0])+"/trust", nil, &r); err != nil {
			return hintConduct(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), &r)
		}
		return printTrust(c.OutOrStdout(), &r)
	}
	return c
}

// hintConduct says where agents are, if nothing is known of one.
func hintConduct(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct agent list` shows the registered agents; conduct is known of those that were registered or decided about since the monitors run")
	}
	return err
}

// printTrust prints a report for a person.
func printTrust(w io.Writer, r *monitor.Report) error {
	if err := printPairs(w, trustHead(r)); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t := newTable("CLASS", "LEVEL", "SCORE", "MEAN", "SINCE", "BECAUSE")
	for i := range r.Classes {
		s := &r.Classes[i]
		t.add(s.Class, s.Level, fmt.Sprintf("%.2f", s.Score), fmt.Sprintf("%.2f", s.Mean), when(s.Since), because(s))
	}
	if err := t.print(w, "Nothing is known of any class."); err != nil {
		return err
	}
	if err := printCauses(w, r.Classes); err != nil {
		return err
	}
	printWays(w, r.Classes)
	fmt.Fprintln(w)
	if err := printFindings(w, r.Findings, "There are no open findings."); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return printWork(w, &r.Performance)
}

// trustHead returns what a report says of the agent as a whole.
func trustHead(r *monitor.Report) [][2]string {
	lowest := trust.High
	for _, s := range r.Classes {
		if l, ok := trust.ParseLevel(s.Level); ok {
			lowest = min(lowest, l)
		}
	}
	what := r.Purpose
	if r.Version != "" {
		what += ", version " + r.Version
	}
	pairs := [][2]string{
		{"agent", string(r.Agent)}, {"purpose", what},
		{"trust", fmt.Sprintf("%s at the lowest, after %s, as of entry %d", lowest, plural(int(r.Decisions), "decision", "decisions"), r.AsOf)},
	}
	if r.Quarantined {
		pairs = append(pairs, [2]string{"quarantine", "yes: until a person restores it (safeconduct agent set-trust --restore)"})
	}
	if r.Shadow {
		pairs = append(pairs, [2]string{"shadow", "yes: this is worked out and shown; decisions go by neutral trust"})
	}
	learning := "yes"
	if !r.Learning {
		learning = "no: nothing that it does becomes usual while its trust is lowered"
	}
	return append(pairs, [2]string{"learning", learning})
}

// because says what made a level what it is.
func because(s *trust.Standing) string {
	text := "its conduct"
	if s.Lowered {
		text += ", which lowered it"
	}
	if o := s.Override; o != nil {
		text = "set by hand by " + clip(o.Author, 40)
		if !o.Expires.IsZero() {
			text += " until " + when(o.Expires)
		}
		text += ": " + clip(o.Why, 60)
	}
	if s.Bound != "" {
		text += "; " + clip(s.Bound, 60)
	}
	return text
}

// printCauses prints what moved trust most lately, newest first. What moved several classes is printed once.
func printCauses(w io.Writer, all []trust.Standing) error {
	var causes []trust.Cause
	where := map[trust.Cause][]string{}
	for i := range all {
		for _, c := range all[i].Causes {
			if where[c] == nil {
				causes = append(causes, c)
			}
			where[c] = append(where[c], all[i].Class)
		}
	}
	if len(causes) == 0 {
		return nil
	}
	slices.SortStableFunc(causes, func(a, b trust.Cause) int { return cmp.Compare(b.Seq, a.Seq) })
	fmt.Fprintln(w)
	t := newTable("MOVED BY", "ENTRY", "AT", "EVIDENCE", "IN")
	for _, c := range causes {
		moved := "-" // a step, and no evidence
		if c.Moved != 0 {
			moved = fmt.Sprintf("%+.3g", c.Moved)
		}
		t.add(clip(c.What, 60), fmt.Sprint(c.Seq), when(c.At), moved, classes(where[c]))
	}
	return t.print(w, "")
}

// printWays prints what would bring an agent a level up, for classes in which that is the same once.
func printWays(w io.Writer, all []trust.Standing) {
	var ways []string
	where := map[string][]string{}
	for i := range all {
		if len(all[i].Restore) == 0 {
			continue
		}
		way := strings.Join(all[i].Restore, "\n")
		if where[way] == nil {
			ways = append(ways, way)
		}
		where[way] = append(where[way], all[i].Class)
	}
	for _, way := range ways {
		fmt.Fprintf(w, "\nTo rise in %s:\n", classes(where[way]))
		for line := range strings.Lines(way) {
			fmt.Fprintf(w, "  %s\n", clip(strings.TrimSuffix(line, "\n"), 300))
		}
	}
}

// classes names some classes.
func classes(names []string) string {
	if len(names) == conduct.Classes {
		return "every class"
	}
	return strings.Join(names, ", ")
}

// printWork prints how well an agent does its work.
func printWork(w io.Writer, p *performance.Standing) error {
	if p.Judged == 0 && p.ErrorRate == 0 && len(p.Bins) == 0 {
		_, err := fmt.Fprintln(w, "No outcomes of its work were reported.")
		return err
	}
	work := "no outcomes judged"
	if p.Judged > 0 {
		work = fmt.Sprintf("%s judged: right in at least %.0f%%", plural(int(p.Judged), "outcome", "outcomes"), 100*p.Accuracy)
	}
	pairs := [][2]string{{"work", fmt.Sprintf("%s, %.0f%% of acts failed", work, 100*p.ErrorRate)}}
	if len(p.Bins) > 0 {
		pairs = append(pairs, [2]string{"calibration", fmt.Sprintf("Brier score %.3f", p.Brier)})
	}
	if err := printPairs(w, pairs); err != nil || len(p.Bins) == 0 {
		return err
	}
	t := newTable("SAID", "MEANT", "RIGHT", "OUTCOMES")
	for _, b := range p.Bins {
		t.add(fmt.Sprintf("%.2f-%.2f", b.From, b.To), fmt.Sprintf("%.2f", b.Said), fmt.Sprintf("%.0f%%", 100*b.Right), fmt.Sprint(b.Count))
	}
	return t.print(w, "")
}

// printFindings prints a list of findings, or says that it is empty.
func printFindings(w io.Writer, all []conduct.Finding, empty string) error {
	agents, whom := map[string]bool{}, "AGENT"
	for i := range all {
		agents[aboutOf(&all[i])] = true
		if all[i].Person != "" {
			whom = "ABOUT"
		}
	}
	head := []string{"ID", "SEVERITY", "KIND", "CLASS", "STATE", "TIMES", "LAST"}
	if len(agents) > 1 {
		head = append(head, whom)
	}
	t := newTable(append(head, "WHAT")...)
	for _, f := range all {
		row := []string{f.ID, f.Severity.String(), clip(string(f.Kind), 40), f.Class, string(f.State), fmt.Sprint(f.Count), when(f.LastAt)}
		if len(agents) > 1 {
			row = append(row, clip(aboutOf(&f), 40))
		}
		t.add(append(row, clip(strings.TrimSpace(f.Sentence), 160))...)
	}
	return t.print(w, empty)
}
