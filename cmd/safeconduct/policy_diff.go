package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func newPolicyDiff() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff BEFORE AFTER",
		Short: "Compare two versions by what they say",
		Long: `Compare two published versions by what they say: which policies were changed, and in what, added or
removed, and what schema and catalog declare otherwise.

A policy that was only written otherwise, or
stands in another file, is said to be rewritten.`,
		Example: `  $ safeconduct policy diff 1 2
  changed    policy payee  conditions, @reason`,
		Args: cobra.ExactArgs(2),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, arg := range args {
			if _, err := versionNumber(arg); err != nil {
				return err
			}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var d policy.Comparison
		if err := api.call(c.Context(), "GET", fmt.Sprintf("/v1/policies/%s/diff/%s", args[0], args[1]), nil, &d); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct policy list` shows the versions")
			}
			return err
		}
		w := c.OutOrStdout()
		if *asJSON {
			return writeJSON(w, d)
		}
		for _, p := range d.Policies {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-9s  policy %s  %s", p.Change, clip(p.ID, 80), strings.Join(p.Parts, ", ")), " "))
		}
		for _, p := range append(d.Schema, d.Catalog...) {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-9s  %s %s", p.Change, p.Section, clip(p.ID, 80)), " "))
		}
		if len(d.Policies)+len(d.Schema)+len(d.Catalog) == 0 {
			fmt.Fprintln(w, "They say the same.")
		}
		return nil
	}
	return c
}
