package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/activity"
)

// An agentUse is what the API says of the use of capabilities.
type agentUse struct {
	Agent   string    `json:"agent"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	AsOf    int64     `json:"as_of"`
	Decided int64     `json:"decided"`
	Granted []struct {
		ID       string                 `json:"id"`
		Declared bool                   `json:"declared"`
		Class    string                 `json:"class,omitempty"`
		Use      activity.CapabilityUse `json:"use"`
	} `json:"granted"`
	Former []struct {
		ID  string                 `json:"id"`
		Use activity.CapabilityUse `json:"use"`
	} `json:"former"`
	Outside activity.CapabilityUse `json:"outside"`
	Unused  []string               `json:"unused"`
}

func newAgentUse() *cobra.Command {
	c := &cobra.Command{
		Use:   "use AGENT",
		Short: "Compare what an agent used with what it is granted",
		Long: `Compare what an agent used of its capabilities with what it is granted.

USED counts acts that were allowed, and that the capability covers; REFUSED those that it covers and that
were refused nevertheless. MOST is the largest value of each argument that is a number. What was never
asked for could be taken away; ` + "`safeconduct agent put AGENT --capability ...`" + ` grants what is left.`,
		Example: `  $ safeconduct agent use banking.gpt-4o-2024-05-13
  CAPABILITY     CLASS  USED  REFUSED  LAST USED             MOST
  keep-profile   write  0     0
  make-payments  money  31    4        2026-11-27 18:52:04Z  amount 2200
  Not asked for since 2026-10-26, and could be taken away: keep-profile`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	days := c.Flags().Int("days", 28, "so many `DAYS` back, 91 at most; the week in which that lies counts whole")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var u agentUse
		if err := api.call(c.Context(), "GET", query("/v1/agents/"+segment(args[0])+"/use", "days", fmt.Sprint(*days)), nil, &u); err != nil {
			return hintAgent(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), u)
		}
		return printUse(c.OutOrStdout(), &u)
	}
	return c
}

func printUse(w io.Writer, u *agentUse) error {
	t := newTable("CAPABILITY", "CLASS", "USED", "REFUSED", "LAST USED", "MOST")
	row := func(id, class string, c *activity.CapabilityUse) {
		var most []string
		for _, name := range slices.Sorted(maps.Keys(c.Amounts)) {
			most = append(most, clip(name, 30)+" "+clip(c.Amounts[name], 40))
		}
		last := when(c.LastUsed)
		if c.LastUsed.IsZero() && !c.EverLast.IsZero() {
			last = "before, " + when(c.EverLast)
		}
		t.add(clip(id, 60), class, fmt.Sprint(c.Used), fmt.Sprint(c.Refused), last, strings.Join(most, ", "))
	}
	for i := range u.Granted {
		g := &u.Granted[i]
		class := g.Class
		if !g.Declared {
			class = "not declared"
		}
		row(g.ID, class, &g.Use)
	}
	for i := range u.Former {
		row(u.Former[i].ID, "not granted", &u.Former[i].Use)
	}
	if err := t.print(w, "The agent is granted nothing."); err != nil {
		return err
	}
	if u.Outside.Used > 0 {
		var names []string
		for _, a := range u.Outside.Actions {
			names = append(names, clip(a.Name, 60))
		}
		fmt.Fprintf(w, "Outside of its capabilities it asked %d times: %s\n", u.Outside.Used, strings.Join(names[:min(8, len(names))], ", "))
	}
	if len(u.Unused) > 0 {
		fmt.Fprintf(w, "Not asked for since %s, and could be taken away: %s\n", u.From.Format(time.DateOnly), strings.Join(u.Unused, ", "))
	}
	return nil
}
