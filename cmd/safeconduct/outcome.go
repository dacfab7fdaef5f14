package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

func newOutcome() *cobra.Command {
	c := &cobra.Command{
		Use:   "outcome",
		Short: "Say what came of decisions",
		Long: `Say what came of decisions: whether an act was right, and how it went. Outcomes are evidence. They
move the trust in the agent, and from them it is learned what its reported confidence is worth.

Enforcement points report what they saw themselves, by the API or the SDK; this is for people.`,
		Example: `  $ safeconduct outcome report d1042 --result wrong --why "paid the same invoice twice"
  d1042: wrong, recorded as entry 1077`,
	}
	c.AddCommand(newOutcomeReport())
	return c
}

// An outcome is an outcome as the API takes it.
type outcome struct {
	Result   string   `json:"result,omitempty"`
	Fault    string   `json:"fault,omitempty"`
	Latency  *int64   `json:"latency_ms,omitempty"`
	Size     *int64   `json:"size_bytes,omitempty"`
	Met      []string `json:"met,omitempty"`
	Reporter string   `json:"reporter,omitempty"`
	Why      string   `json:"why"`
}

// String says in a word what came of the act.
func (o *outcome) String() string {
	switch {
	case o.Result != "":
		return o.Result
	case o.Fault != "":
		return "failed (" + o.Fault + ")"
	}
	return "done"
}

func newOutcomeReport() *cobra.Command {
	c := &cobra.Command{
		Use:   "report DECISION",
		Short: "Report what came of a decision",
		Long: `Report what came of a decision about an agent: --result says what the act turned out to be (right,
wrong, harmful, reverted), --fault how it failed (tool, schema, timeout). At least one thing must be said.

Your word counts as a person's; with --operator, or if you are the agent's owner, it counts as its
operator's, which is less. With the token of an enforcement point (--token-file) it counts as that one's,
which may only speak of what it asked itself. Nobody can report the same decision twice.`,
		Example: `  $ safeconduct outcome report d1042 --result harmful --why "paid a stranger"
  d1042: harmful, recorded as entry 1077
  $ safeconduct outcome report d1043 --fault timeout --latency 30s --why "the bank was down"
  d1043: failed (timeout), recorded as entry 1078`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	var o outcome
	f := c.Flags()
	f.StringVar(&o.Result, "result", "", "what the act turned out to be: `RESULT`, one of right, wrong, harmful, reverted")
	f.StringVar(&o.Fault, "fault", "", "how it failed: `FAULT`, one of tool, schema, timeout")
	latency := f.Duration("latency", 0, "how long it took: `DURATION` such as 340ms")
	size := f.Int64("size", 0, "how many `BYTES` its result has")
	f.StringSliceVar(&o.Met, "met", nil, "`IDS` of the decision's obligations that were met")
	operator := f.Bool("operator", false, "speak for the agent's owner")
	for name, values := range map[string][]string{"result": {"right", "wrong", "harmful", "reverted"}, "fault": {"tool", "schema", "timeout"}} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if *latency < 0 {
			return usageError{fmt.Errorf("--latency %s is no duration of an act", *latency)}
		}
		if f.Changed("latency") {
			ms := int64((*latency + time.Millisecond - 1) / time.Millisecond)
			o.Latency = &ms
		}
		if f.Changed("size") {
			o.Size = size
		}
		if o.Result == "" && o.Fault == "" && o.Latency == nil && o.Size == nil && o.Met == nil {
			return usageError{hinted(errors.New("nothing is said of the outcome"), "say --result, --fault, --latency, --size or --met")}
		}
		if *operator {
			o.Reporter = "operator"
		}
		o.Why = *why
		api, err := conn.open()
		if err != nil {
			return err
		}
		var receipt struct {
			Entry int64 `json:"entry"`
		}
		if err := api.call(c.Context(), "POST", "/v1/decisions/"+segment(args[0])+"/outcome", o, &receipt); err != nil {
			switch {
			case notFound(err):
				return hinted(err, "`safeconduct audit find --kind decision.made` lists decisions")
			case errors.Is(err, authz.ErrConflict):
				return hinted(err, "what was said of a decision stands; somebody else may say otherwise")
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), receipt)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s, recorded as entry %d\n", clip(args[0], 20), &o, receipt.Entry)
		return err
	}
	return c
}
