package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/monitor"
)

var (
	trustLevels  = []string{"none", "low", "medium", "high"}
	trustClasses = []string{"read", "write", "egress", "money", "admin", "every"}
)

func newAgentSetTrust() *cobra.Command {
	c := &cobra.Command{
		Use:   "set-trust AGENT (--level LEVEL (--for DURATION | --until TIME) | --clear | --restore)",
		Short: "Set how far an agent is trusted for a while, or restore it",
		Long: `Set how far an agent is trusted, in one class of capability (--class) or in every one: for a while, at most
a year, after which conduct decides again; --clear ends it sooner. What the agent does meanwhile is
evidence as ever. A ceiling that the catalog sets holds over what is set by hand.

--restore ends a quarantine, and lifts the agent at once to a level (medium, unless --level says low or
high), from which conduct goes on to decide. What speaks against the agent stays on record and fades as
ever: dismiss the findings that were false alarms first (safeconduct finding dismiss), or it will fall
again at the next occasion.`,
		Example: `  $ safeconduct agent set-trust orders-7 --level low --class money --for 2h --why "odd transfers"
  orders-7 is trusted low in money until 2026-11-24 14:00:00Z

  $ safeconduct agent set-trust orders-7 --restore --why "the findings were a load test"
  orders-7 is restored to medium in every class`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	f := c.Flags()
	level := f.String("level", "", "`LEVEL`: none, low, medium or high")
	class := f.String("class", "every", "`CLASS` of capability: read, write, egress, money, admin or every")
	ends := lifeFlags(c)
	clear := f.Bool("clear", false, "let conduct decide again")
	restore := f.Bool("restore", false, "end a quarantine and lift the agent at once")
	_ = c.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(trustLevels, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("class", cobra.FixedCompletions(trustClasses, cobra.ShellCompDirectiveNoFileComp))
	c.MarkFlagsMutuallyExclusive("clear", "restore")
	c.MarkFlagsMutuallyExclusive("clear", "level")
	c.RunE = func(c *cobra.Command, args []string) error {
		in := struct {
			Class   string    `json:"class"`
			Level   string    `json:"level,omitempty"`
			Expires time.Time `json:"expires_at,omitzero"`
			Restore bool      `json:"restore,omitempty"`
			Why     string    `json:"why"`
		}{Class: *class, Level: *level, Restore: *restore, Why: *why}
		timed := f.Changed("for") || f.Changed("until")
		switch {
		case (*clear || *restore) && timed:
			return usageError{errors.New("--for and --until belong to a level that is set for a while")}
		case *restore && *level == "":
			in.Level = "medium"
		case *clear, *restore:
		case *level == "":
			return usageError{errors.New("say what to do: --level with --for or --until, --clear, or --restore")}
		default:
			var err error
			if in.Expires, err = ends(); err != nil {
				return err
			}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var r monitor.Report
		if err := api.call(c.Context(), "POST", "/v1/agents/"+segment(args[0])+"/trust", in, &r); err != nil {
			return hintConduct(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), &r)
		}
		where := "in " + *class
		if *class == "every" {
			where = "in every class"
		}
		said := fmt.Sprintf("%s is trusted %s %s until %s", r.Agent, in.Level, where, when(in.Expires))
		switch {
		case *restore:
			said = fmt.Sprintf("%s is restored to %s %s", r.Agent, in.Level, where)
		case *clear:
			said = fmt.Sprintf("%s is trusted by its conduct again %s", r.Agent, where)
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), said)
		return err
	}
	return c
}
