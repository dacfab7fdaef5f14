package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func newPolicySchema() *cobra.Command {
	c := &cobra.Command{
		Use:   "schema",
		Short: "Print the base schema",
		Long: `Print the base schema, which is part of every version and says, in Cedar's schema language, what
policies can read of agents, people and the moment. A schema of one's own adds to it.

Put before a schema of one's own it makes the whole, for an editor or another tool that knows Cedar.
Nothing is asked over the network.`,
		Example: `  $ safeconduct policy schema | head -3
  // The base schema of Safeconduct. An operator's schema is added to it.
  //
  // Every action that the operator declares takes a context of the form`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		w := c.OutOrStdout()
		if *asJSON {
			return writeJSON(w, map[string]string{"schema": policy.BaseSchema()})
		}
		_, err := io.WriteString(w, policy.BaseSchema())
		return err
	}
	return c
}
