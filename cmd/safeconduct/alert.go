package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// An alert is an alert as the API shows it.
type alert struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"`
	Severity  string     `json:"severity"`
	Scope     alertScope `json:"scope"`
	Message   string     `json:"message,omitempty"`
	ExpiresAt time.Time  `json:"expires_at"`
	Cleared   bool       `json:"cleared,omitempty"`
	RaisedBy  string     `json:"raised_by"`
	RaisedAt  time.Time  `json:"raised_at"`
	AsOf      int64      `json:"as_of"`
}

type alertScope struct {
	Agent        string `json:"agent,omitempty"`
	Purpose      string `json:"purpose,omitempty"`
	ResourceType string `json:"resource_type,omitempty"`
	Zone         string `json:"zone,omitempty"`
}

func (s alertScope) String() string {
	out := ""
	for _, p := range [][2]string{{"agent", s.Agent}, {"purpose", s.Purpose}, {"type", s.ResourceType}, {"zone", s.Zone}} {
		if p[1] != "" {
			out += " " + p[0] + "=" + p[1]
		}
	}
	if out == "" {
		return "everything"
	}
	return out[1:]
}

var severities = []string{"low", "medium", "high", "critical"}

func newAlert() *cobra.Command {
	c := &cobra.Command{
		Use:   "alert",
		Short: "Raise and clear alerts, which raise the risk",
		Long: `Raise and clear alerts. An alert says that something is going on; while it is open it adds to the
risk of every request in its scope, and policies can read its kind.

Every alert ends by itself, at a time that whoever raises it must say.`,
		Example: `  $ safeconduct alert raise ir-7 --kind ransomware --severity critical --for 4h \
        --purpose household-banking --why "incident 7"
  ir-7 (critical ransomware) concerns purpose=household-banking until 2026-11-23 20:00:00Z`,
	}
	c.AddCommand(newAlertRaise(), newAlertClear(), newAlertList())
	return c
}

// lifeFlags adds --for and --until, one of which says when something ends.
func lifeFlags(c *cobra.Command) func() (time.Time, error) {
	lasts := c.Flags().Duration("for", 0, "how long it holds: `DURATION` such as 4h")
	until := c.Flags().String("until", "", "when it ends: `TIME` as in RFC 3339")
	return func() (time.Time, error) {
		switch {
		case (*lasts != 0) == (*until != ""):
			return time.Time{}, usageError{errors.New("say when it ends, either with --for or with --until")}
		case *lasts < 0:
			return time.Time{}, usageError{fmt.Errorf("--for %s is in the past", *lasts)}
		case *lasts > 0:
			return time.Now().Add(*lasts).UTC().Truncate(time.Second), nil
		}
		t, err := time.Parse(time.RFC3339, *until)
		if err != nil {
			return time.Time{}, usageError{fmt.Errorf("--until %q is not a time such as 2026-11-23T20:00:00Z", *until)}
		}
		return t, nil
	}
}

func severityFlag(c *cobra.Command) *string {
	s := c.Flags().String("severity", "", "`SEVERITY`: low, medium, high or critical (required)")
	_ = c.MarkFlagRequired("severity")
	_ = c.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(severities, cobra.ShellCompDirectiveNoFileComp))
	return s
}

func newAlertRaise() *cobra.Command {
	c := &cobra.Command{
		Use:   "raise ID",
		Short: "Raise an alert, or change it",
		Long: `Raise an alert, or change the one of that id. Its scope is what all of --agent, --purpose, --type and
--zone have in common; without any it is everything.

How many points a severity adds to the risk, and which score is high or critical, is the catalog's.`,
		Example: `  $ safeconduct alert raise ir-7 --kind ransomware --severity critical --for 4h --why "incident 7"
  ir-7 (critical ransomware) concerns everything until 2026-11-23 20:00:00Z`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	severity, ends := severityFlag(c), lifeFlags(c)
	var scope alertScope
	f := c.Flags()
	kind := f.String("kind", "", "what is going on: a `NAME` that policies can read (required)")
	_ = c.MarkFlagRequired("kind")
	f.StringVar(&scope.Agent, "agent", "", "only requests of this `AGENT`")
	f.StringVar(&scope.Purpose, "purpose", "", "only requests of agents with this `PURPOSE`")
	f.StringVar(&scope.ResourceType, "type", "", "only requests for resources of this `TYPE`")
	f.StringVar(&scope.Zone, "zone", "", "only requests from this network `ZONE`")
	message := f.String("message", "", "`TEXT` for operators")
	dry := f.Bool("dry-run", false, "say what it would change, and raise nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		at, err := ends()
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		if *dry {
			return dryRun(c, api, *asJSON, "/v1/alerts/preview", map[string]any{"id": args[0], "kind": *kind, "severity": *severity, "scope": scope})
		}
		in := struct {
			Kind      string     `json:"kind"`
			Severity  string     `json:"severity"`
			Scope     alertScope `json:"scope"`
			Message   string     `json:"message,omitempty"`
			ExpiresAt time.Time  `json:"expires_at"`
			Why       string     `json:"why"`
		}{*kind, *severity, scope, *message, at, *why}
		var a alert
		if err := api.call(c.Context(), "PUT", "/v1/alerts/"+segment(args[0]), in, &a); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), a)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s %s) concerns %s until %s\n", a.ID, a.Severity, a.Kind, a.Scope, when(a.ExpiresAt))
		return err
	}
	return c
}

func newAlertClear() *cobra.Command {
	return newClear("alert", "/v1/alerts/", "ir-7", "incident 7 is over")
}

// newClear makes the command that ends an alert or an indicator.
func newClear(what, path, id, because string) *cobra.Command {
	c := &cobra.Command{
		Use:   "clear ID",
		Short: "Clear an " + what + " before its time",
		Long: fmt.Sprintf(`Clear an %s before its time. From then on it adds nothing to the risk.

Who cleared it and why is recorded; its record stays.`, what),
		Example: fmt.Sprintf("  $ safeconduct %s clear %s --why %q\n  %s is cleared", what, id, because, id),
		Args:    cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var out struct {
			ID string `json:"id"`
		}
		if err := api.call(c.Context(), "POST", path+segment(args[0])+"/clear", map[string]string{"why": *why}, &out); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct %s list` shows the open ones", what)
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), out)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is cleared\n", out.ID)
		return err
	}
	return c
}

func newAlertList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the open alerts",
		Long: `List the open alerts with what they concern and when they end.

Cleared and expired ones are in the log: ` + "`safeconduct audit find --kind alert.put`" + `.`,
		Example: `  $ safeconduct alert list
  ID    SEVERITY  KIND        CONCERNS                   ENDS                  RAISED BY
  ir-7  critical  ransomware  purpose=household-banking  2026-11-23 20:00:00Z  admin:admin`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var all list[alert]
		if err := api.call(c.Context(), "GET", "/v1/alerts", nil, &all); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all.Items)
		}
		t := newTable("ID", "SEVERITY", "KIND", "CONCERNS", "ENDS", "RAISED BY")
		for _, a := range all.Items {
			t.add(clip(a.ID, 40), a.Severity, clip(a.Kind, 30), clip(a.Scope.String(), 60), when(a.ExpiresAt), clip(a.RaisedBy, 30))
		}
		return t.print(c.OutOrStdout(), "There are no open alerts.")
	}
	return c
}
