package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func newPolicyBacktest() *cobra.Command {
	c := &cobra.Command{
		Use:   "backtest [POLICY...]",
		Short: "Tell which recorded decisions would come out otherwise",
		Long: `Have the service judge recorded decisions again by policies that are not published, newest first, and
tell which would come out with another effect or code. Nothing is changed and nothing is recorded.

Requests and facts are the recorded ones: what another catalog would classify, open or grant
otherwise is not seen. The files are those of the organisation in ` + configName + `, or of another
--config, unless policies are named; what is not named at all is as the active version has it.`,
		Example: `  $ safeconduct policy backtest --last 5000 policies/*.cedar
  5000 decisions judged again, 12 differ
      12  allow (allowed) by pay-small -> require_approval (approval_required) by large-sums: d812, d790`,
	}
	conn, src, asJSON := connectFlags(c), addSourceFlags(c), jsonFlag(c)
	last := c.Flags().Int("last", 1000, "how many decisions, at most 10000")
	agent := c.Flags().String("agent", "", "only those of this `AGENT`")
	action := c.Flags().String("action", "", "only those about this `ACTION`")
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := src.read(args)
		if err != nil {
			return err
		}
		if d.Source == nil && d.Catalog == nil {
			return usageError{errors.New("there is nothing to try")}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		in := struct {
			Source  *policy.Source `json:"source,omitempty"`
			Catalog string         `json:"catalog,omitempty"`
			Last    int            `json:"last"`
			Agent   string         `json:"agent,omitempty"`
			Action  string         `json:"action,omitempty"`
		}{d.Source, string(d.Catalog), *last, *agent, *action}
		var r backtested
		if err := api.call(c.Context(), "POST", "/v1/policies/backtest", in, &r); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), r)
		}
		_, err = fmt.Fprint(c.OutOrStdout(), r.String())
		return err
	}
	return c
}

// A backtested is a report of a back-test as the API makes it.
type backtested struct {
	Judged    int             `json:"judged"`
	Same      int             `json:"same"`
	Different int             `json:"different"`
	Already   int             `json:"already"`
	Active    int64           `json:"active"`
	Stopped   string          `json:"stopped"`
	Groups    []backtestGroup `json:"groups"`
	More      bool            `json:"more_groups,omitempty"`
	Unjudged  []struct {
		Reason  string `json:"reason"`
		Count   int    `json:"count"`
		Example string `json:"example"`
	} `json:"unjudged"`
	CatalogDiffers bool `json:"catalog_differs,omitempty"`
}

type backtestGroup struct {
	Before   backtestOutcome `json:"before"`
	After    backtestOutcome `json:"after"`
	Count    int             `json:"count"`
	Examples []struct {
		ID string `json:"id"`
	} `json:"examples"`
}

type backtestOutcome struct {
	Effect   string   `json:"effect"`
	Code     string   `json:"code"`
	Policies []string `json:"policies,omitempty"`
}

func (o *backtestOutcome) String() string {
	s := o.Effect + " (" + o.Code + ")"
	if len(o.Policies) > 0 {
		s += " by " + clip(strings.Join(o.Policies, ", "), 120)
	}
	return s
}

// String returns a summary, a line for each group, and what the report cannot tell.
func (r *backtested) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s judged again, %d differ\n", plural(r.Judged, "decision", "decisions"), r.Different)
	for _, g := range r.Groups {
		var ids []string
		for _, x := range g.Examples {
			ids = append(ids, x.ID)
		}
		fmt.Fprintf(&b, "%6d  %s -> %s: %s\n", g.Count, g.Before.String(), g.After.String(), strings.Join(ids, ", "))
	}
	if r.More {
		b.WriteString("There are more groups than these.\n")
	}
	if r.Already > 0 {
		fmt.Fprintf(&b, "Of those that differ, version %d, which is active, decides %d like this already.\n", r.Active, r.Already)
	}
	for _, u := range r.Unjudged {
		fmt.Fprintf(&b, "%s could not be judged again: %s (%s)\n", plural(u.Count, "decision", "decisions"), clip(u.Reason, 200), u.Example)
	}
	if r.CatalogDiffers {
		b.WriteString("The catalog is another than that of a version that decided: what it would classify, open or grant otherwise is not seen here.\n")
	}
	if r.Stopped == "time" {
		b.WriteString("It took too long: older decisions were not looked at.\n")
	}
	return b.String()
}
