package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func newPolicyPack() *cobra.Command {
	c := &cobra.Command{
		Use:   "pack",
		Short: "Guardrails that come with the program, to put beside one's own",
		Long: `Guardrails that come with the program, to put beside one's own.

A pack is text: Cedar policies that need the base schema only, the catalog lines that they name, and
the cases that say what they decide. Nothing of it holds until it is published among an
organisation's own policies, which may change whatever does not suit them.`,
		Example: `  $ safeconduct policy pack show trust > policies/50-trust.cedar
  $ safeconduct policy pack show trust --catalog`,
	}
	c.AddCommand(newPolicyPackList(), newPolicyPackShow())
	return c
}

func newPolicyPackList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the packs",
		Long: `List the packs of guardrails that come with the program.

They are part of the program: nothing is asked over the network.`,
		Example: `  $ safeconduct policy pack list
  trust  By the trust that its conduct has earned, an agent acts by itself, asks first, or stops`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		type item struct {
			Name  string `json:"name"`
			Title string `json:"title"`
		}
		items := []item{}
		for _, p := range policy.Packs() {
			items = append(items, item{p.Name, p.Title})
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), map[string]any{"items": items})
		}
		for _, i := range items {
			fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", i.Name, i.Title)
		}
		return nil
	}
	return c
}

func newPolicyPackShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show PACK",
		Short: "Print a pack's policies, its catalog lines or its cases",
		Long: `Print the policies of a pack, to be put into a file beside one's own; with --catalog, the lines
that the catalog must have for them; with --tests, the cases that say what they decide.

The cases are tested in a directory with the policies, whose file must have the name that the cases
give it. Nothing is asked over the network.`,
		Example: `  $ safeconduct policy pack show trust > trust.cedar
  $ safeconduct policy pack show trust --tests > trust.test.yaml
  $ safeconduct policy test trust.test.yaml`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(c)
	lines := c.Flags().Bool("catalog", false, "print the lines for the catalog")
	cases := c.Flags().Bool("tests", false, "print the cases")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *lines && *cases {
			return usageError{errors.New("--catalog and --tests are two texts: ask for one of them")}
		}
		p, err := policy.PackNamed(args[0])
		if err != nil {
			return hinted(err, "`safeconduct policy pack list` shows them")
		}
		text := p.Policies
		switch {
		case *asJSON:
			return writeJSON(c.OutOrStdout(), p)
		case *lines:
			text = p.Catalog
		case *cases:
			text = p.Cases
		}
		_, err = io.WriteString(c.OutOrStdout(), text)
		return err
	}
	return c
}
