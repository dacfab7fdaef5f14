package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

func newSecretList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the names of the secrets",
		Long: `List the names of the secrets, and since when each has its value.

Values are not shown, and the key is not needed.`,
		Example: `  $ safeconduct secret list
  NAME    SINCE
  github  2026-11-27 15:00:00Z`,
		Args: cobra.NoArgs,
	}
	f, asJSON := addSecretFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		file, _, err := f.paths()
		if err != nil {
			return err
		}
		items, err := secret.List(file)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), items)
		}
		t := newTable("NAME", "SINCE")
		for _, i := range items {
			t.add(i.Name, when(i.At))
		}
		return t.print(c.OutOrStdout(), "There are no secrets.")
	}
	return c
}

func newSecretRemove() *cobra.Command {
	c := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a secret",
		Long: `Remove a secret. Gateways that run and use it refuse what needs it, within seconds.

What it was worth elsewhere it is worth still: revoke it there.`,
		Example: `  $ safeconduct secret rm github
  github is removed`,
		Args: cobra.ExactArgs(1),
	}
	f, asJSON := addSecretFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		file, _, err := f.paths()
		if err != nil {
			return err
		}
		if err := secret.Remove(file, args[0]); errors.Is(err, authz.ErrNotFound) {
			return hinted(err, "`safeconduct secret list` shows the names")
		} else if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), map[string]any{"name": args[0], "removed": true})
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is removed\n", args[0])
		return err
	}
	return c
}
