package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// A deliveryInfo is a delivery as the API shows it.
type deliveryInfo struct {
	ID       string    `json:"id"`
	Ask      string    `json:"ask"`
	Kind     string    `json:"kind"`
	Channel  string    `json:"channel"`
	Event    string    `json:"event"`
	State    string    `json:"state"`
	At       time.Time `json:"at"`
	Since    time.Time `json:"since"`
	NextAt   time.Time `json:"next_at"`
	Attempts int64     `json:"attempts"`
	Error    string    `json:"error,omitempty"`
	Chosen   bool      `json:"chosen,omitempty"`
	Persons  []string  `json:"persons,omitempty"`
	Reached  []string  `json:"reached,omitempty"`
	Mailed   []string  `json:"mailed,omitempty"`
	EndedAt  time.Time `json:"ended_at,omitzero"`
	AsOf     int64     `json:"as_of"`
	Version  int64     `json:"version"`
}

func newDelivery() *cobra.Command {
	c := &cobra.Command{
		Use:   "delivery",
		Short: "See what was told of asks, and what could not be",
		Long: `See what people and programs were told of asks for approval, and what could not be delivered.

A delivery that fails is tried again after 10 seconds, then after longer and longer pauses up to an hour.
After 24 hours, or at once if it cannot succeed, it is dead: it lies here until somebody has it tried
again. The ask itself does not depend on it: it waits in the inbox of whoever may answer.`,
		Example: `  $ safeconduct delivery list --state dead
  $ safeconduct delivery retry dlv_1f0a6c2f7be1d4a39b82c61e55 --why "the mail server is back"
  dlv_1f0a6c2f7be1d4a39b82c61e55 (asked, to mail) is waiting`,
	}
	c.AddCommand(newDeliveryList(), newDeliveryShow(), newDeliveryRetry())
	return c
}

func newDeliveryList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List deliveries, newest first",
		Long: `List deliveries, newest first: all of them, or those for which all holds that the flags say. Those that
were given up are in state dead. What has ended is kept for 30 days; the log keeps it for good.

--before goes on where an earlier list ended: it takes the id of the last delivery that was shown.`,
		Example: `  $ safeconduct delivery list --state dead
  ID                              EVENT  TO            STATE  ATTEMPTS  SINCE                 WHY
  dlv_1f0a6c2f7be1d4a39b82c61e55  asked  channel mail  dead   31        2026-11-27 09:53:54Z  status 500`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	state := f.String("state", "", "only deliveries in this `STATE`: waiting, told, dead, moot")
	ask := f.String("ask", "", "only deliveries about the ask of this `ID`")
	before := f.String("before", "", "only deliveries older than the one with this `ID`")
	limit := f.Int("limit", 20, "at most `N` deliveries, 1000 at most")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"waiting", "told", "dead", "moot"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var page list[deliveryInfo]
		path := query("/v1/deliveries", "state", *state, "ask", *ask, "before", *before, "limit", strconv.Itoa(*limit))
		if err := api.call(c.Context(), "GET", path, nil, &page); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), page.Items)
		}
		t := newTable("ID", "EVENT", "TO", "STATE", "ATTEMPTS", "SINCE", "WHY")
		for i := range page.Items {
			d := &page.Items[i]
			t.add(d.ID, clip(d.Event, 20), clip(d.Kind+" "+d.Channel, 60), clip(d.State, 10), strconv.FormatInt(d.Attempts, 10), when(d.Since), clip(d.Error, 80))
		}
		return t.print(c.OutOrStdout(), "There are no such deliveries.")
	}
	return c
}

func newDeliveryShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one delivery",
		Long: `Show one delivery: what was to be told, to whom, how often that was tried, and what came of it.

The persons are those whom a channel of e-mail chose; the addresses that the configuration names are
not shown.`,
		Example: `  $ safeconduct delivery show dlv_1f0a6c2f7be1d4a39b82c61e55
  id        dlv_1f0a6c2f7be1d4a39b82c61e55
  ask       arq_9v3b7q2k8m5t1x6c4n0w8r2d5f
  what      asked
  to        channel mail
  state     dead
  attempts  31, since 2026-11-27 09:53:54Z
  why       status 500
  next      -
  ended     2026-11-28 09:58:11Z
  persons   -
  reached   -
  as of     entry 91`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var d deliveryInfo
		if err := api.call(c.Context(), "GET", "/v1/deliveries/"+segment(args[0]), nil, &d); err != nil {
			return hintDelivery(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), &d)
		}
		next := "-"
		if d.State == "waiting" {
			next = when(d.NextAt)
		}
		names := func(ids []string) string {
			if len(ids) == 0 {
				return "-"
			}
			return clip(strings.Join(ids, ", "), 1000)
		}
		why := "-"
		if d.Error != "" {
			why = clip(d.Error, 400)
		}
		return printPairs(c.OutOrStdout(), [][2]string{
			{"id", d.ID}, {"ask", d.Ask}, {"what", clip(d.Event, 20)}, {"to", clip(d.Kind+" "+d.Channel, 200)}, {"state", clip(d.State, 10)},
			{"attempts", fmt.Sprintf("%d, since %s", d.Attempts, when(d.Since))}, {"why", why}, {"next", next}, {"ended", when(d.EndedAt)},
			{"persons", names(d.Persons)}, {"reached", names(d.Reached)}, {"as of", fmt.Sprintf("entry %d", d.AsOf)},
		})
	}
	return c
}

func newDeliveryRetry() *cobra.Command {
	c := &cobra.Command{
		Use:   "retry ID",
		Short: "Try a delivery again that was given up",
		Long: `Try a delivery again that was given up, at once and then for another 24 hours. It goes out under the same
id, so that whoever has received it before can tell.

If the ask has ended meanwhile, there is nothing to tell any more: the delivery is moot.`,
		Example: `  $ safeconduct delivery retry dlv_1f0a6c2f7be1d4a39b82c61e55 --why "the mail server is back"
  dlv_1f0a6c2f7be1d4a39b82c61e55 (asked, to mail) is waiting`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var d deliveryInfo
		if err := api.call(c.Context(), "POST", "/v1/deliveries/"+segment(args[0])+"/retry", map[string]string{"why": *why}, &d); err != nil {
			return hintDelivery(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), &d)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s, to %s) is %s\n", d.ID, clip(d.Event, 20), clip(d.Channel, 100), clip(d.State, 10))
		return err
	}
	return c
}

func hintDelivery(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct delivery list` shows them")
	}
	return err
}
