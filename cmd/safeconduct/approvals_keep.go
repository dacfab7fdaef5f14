package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newApprovalsRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Take the approvals of an ask back",
		Long: `Take the approvals of an ask back: no decision counts on them any more, in the whole installation. What
was done by them already is done.

An administrator may revoke any, a person those of asks that concern them.`,
		Example: `  $ safeconduct approvals revoke arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --why "the supplier changed its account"
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy is revoked`,
		Args: cobra.ExactArgs(1),
	}
	endCommand(c, "/revoke", "revoked")
	return c
}

func newApprovalsCancel() *cobra.Command {
	c := &cobra.Command{
		Use:   "cancel ID",
		Short: "End an ask that waits",
		Long: `End an ask that waits for an answer, as an administrator. It is refused then, and nobody is asked any more.

To end it as one of those who were asked, use ` + "`safeconduct approvals refuse`" + `.`,
		Example: `  $ safeconduct approvals cancel arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --why "asked by mistake"
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy is cancelled`,
		Args: cobra.ExactArgs(1),
	}
	endCommand(c, "/cancel", "cancelled")
	return c
}

func endCommand(c *cobra.Command, what, done string) {
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var text json.RawMessage
		if err := api.call(c.Context(), "POST", askPath(args[0], what), map[string]string{"why": *why}, &text); err != nil {
			return hintAsk(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), text)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is %s\n", clip(args[0], 40), done)
		return err
	}
}

func newApprovalsStory() *cobra.Command {
	c := &cobra.Command{
		Use:   "story ID",
		Short: "Tell everything that came of an ask, by the log",
		Long: `Tell everything that came of an ask, by the log: the refusal, the ask, who was told, who looked and
answered, every use, and the decisions that stand on them.

After that it says what was approved of each act, and how far it was used. Each line names its entry,
which ` + "`safeconduct audit show`" + ` prints and ` + "`safeconduct audit prove`" + ` proves.`,
		Example: `  $ safeconduct approvals story arq_5rwxbcu3mmpx7hrkmcrqhvgnmy
  ENTRY  AT                    WHAT
  114    2026-11-27 09:53:54Z  Decision d114 refused "pay" on "invoice" "2026-114": approval_required.
  115    2026-11-27 09:53:55Z  The agent "invoice-bot" asks to do "pay" on "invoice" "2026-114".
  118    2026-11-27 09:54:10Z  "person:anna" looked at it.
  119    2026-11-27 09:54:31Z  "person:anna" approved it: "as agreed"
  [0] approved until 2026-11-27 10:09:31Z: once, this very act; used 0 times`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var text json.RawMessage
		if err := api.call(c.Context(), "GET", askPath(args[0], "/story"), nil, &text); err != nil {
			return hintAsk(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), text)
		}
		var story struct {
			Ask   askInfo `json:"ask"`
			Steps []struct {
				Seq  int64     `json:"seq"`
				At   time.Time `json:"at"`
				What string    `json:"what"`
			} `json:"steps"`
			Cut bool `json:"cut"`
		}
		if err := json.Unmarshal(text, &story); err != nil {
			return err
		}
		t := newTable("ENTRY", "AT", "WHAT")
		for _, s := range story.Steps {
			t.add(strconv.FormatInt(s.Seq, 10), when(s.At), brief(s.What, 600))
		}
		if err := t.print(c.OutOrStdout(), "The log tells nothing of it."); err != nil {
			return err
		}
		p := &liner{w: c.OutOrStdout()}
		granted, places := story.Ask.grants()
		for i, g := range granted {
			p.line("[%d] approved %s", places[i], g)
		}
		if p.err != nil || !story.Cut {
			return p.err
		}
		_, err = fmt.Fprintln(c.ErrOrStderr(), "There is more: `safeconduct audit find` finds it.")
		return err
	}
	return c
}

func newApprovalsAway() *cobra.Command {
	c := &cobra.Command{
		Use:   "away",
		Short: "Say who is away and who answers instead, or list them",
		Long: `Say that you are away and who answers in your place, that you are back, or list who is away.

A deputy is an approver, too, and answers for you with all that you may, at most 90 days. What they
may not answer for themselves they may not answer for you. Administrators say --person; without
flags, the command lists.`,
		Example: `  $ safeconduct approvals away --deputy boris --for 168h --why holidays --token-file anna.token
  anna is away until 2026-12-04 09:53:54Z; boris answers
  $ safeconduct approvals away --back --why "is back" --token-file anna.token`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	person := f.String("person", "", "who is away; yourself, if left out (`ID`)")
	deputy := f.String("deputy", "", "who answers instead (`ID`)")
	until := f.String("until", "", "until this `TIME` (RFC 3339)")
	long := f.Duration("for", 0, "for so `LONG` from now")
	back := f.Bool("back", false, "the absence is over")
	why := f.String("why", "", "why; it is recorded")
	c.MarkFlagsMutuallyExclusive("until", "for", "back")
	c.MarkFlagsMutuallyExclusive("deputy", "back")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		type away struct {
			Person string    `json:"person"`
			Deputy string    `json:"deputy"`
			Until  time.Time `json:"until"`
			Why    string    `json:"why,omitempty"`
		}
		if *deputy == "" && !*back {
			var page list[away]
			if err := api.call(c.Context(), "GET", "/v1/approvals/away", nil, &page); err != nil {
				return err
			}
			if *asJSON {
				return writeJSON(c.OutOrStdout(), page.Items)
			}
			t := newTable("PERSON", "DEPUTY", "UNTIL", "WHY")
			for _, a := range page.Items {
				t.add(clip(a.Person, 60), clip(a.Deputy, 60), when(a.Until), clip(a.Why, 80))
			}
			return t.print(c.OutOrStdout(), "Nobody is away.")
		}
		in := map[string]any{"why": *why}
		if *person != "" {
			in["person"] = *person
		}
		if !*back {
			end := time.Now().Add(*long).UTC().Truncate(time.Second)
			if *until != "" {
				if end, err = time.Parse(time.RFC3339, *until); err != nil {
					return usageError{hinted(err, "a time looks like 2026-11-27T18:00:00Z")}
				}
			} else if *long <= 0 {
				return usageError{errors.New("say how long, with --until or --for")}
			}
			in["deputy"], in["until"] = *deputy, end
		}
		var a away
		if err := api.call(c.Context(), "PUT", "/v1/approvals/away", in, &a); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), a)
		}
		if *back {
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is back\n", clip(a.Person, 60))
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is away until %s; %s answers\n", clip(a.Person, 60), when(a.Until), clip(a.Deputy, 60))
		return err
	}
	return c
}

func newApprovalsStats() *cobra.Command {
	c := &cobra.Command{
		Use:   "stats",
		Short: "Count asks, answers and how long they took",
		Long: `Count asks, answers and how long they took, over the last hour or up to a day.

FAST counts answers that came sooner after looking than the route's reading time: who always answers so
does not read. Of persons, a person sees only themselves.`,
		Example: `  $ safeconduct approvals stats --window 24h
  asks      42, and 310 more were joined to them
  pending   3
  ended     30 approved, 6 denied, 3 expired
  answered  in 4m12s at the median, 31m0s at the 90th percentile
  PERSON  ANSWERS  YES  FAST  READ
  anna    20       18   1     41s`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	window := c.Flags().Duration("window", time.Hour, "of the last `LONG`, 24h at most")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		if *window < time.Second || *window > 24*time.Hour {
			return usageError{hinted(fmt.Errorf("--window %s is out of bounds", *window), "it is a second at least, and 24h at most")}
		}
		var text json.RawMessage
		if err := api.call(c.Context(), "GET", query("/v1/approvals/stats", "window_seconds", strconv.FormatInt(int64(*window/time.Second), 10)), nil, &text); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), text)
		}
		var s struct {
			Asks, Joined, Pending, Approved, Denied, Expired int64
			Median                                           int64 `json:"median_ms"`
			P90                                              int64 `json:"p90_ms"`
			Persons                                          []struct {
				Person             string
				Answers, Yes, Fast int64
				Read               int64 `json:"median_read_ms"`
			}
		}
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		ms := func(n int64) string { return (time.Duration(n) * time.Millisecond).Round(time.Second / 10).String() }
		if err := printPairs(c.OutOrStdout(), [][2]string{
			{"asks", fmt.Sprintf("%d, and %d more were joined to them", s.Asks, s.Joined)},
			{"pending", strconv.FormatInt(s.Pending, 10)},
			{"ended", fmt.Sprintf("%d approved, %d denied, %d expired", s.Approved, s.Denied, s.Expired)},
			{"answered", fmt.Sprintf("in %s at the median, %s at the 90th percentile", ms(s.Median), ms(s.P90))},
		}); err != nil {
			return err
		}
		t := newTable("PERSON", "ANSWERS", "YES", "FAST", "READ")
		for _, p := range s.Persons {
			t.add(clip(p.Person, 60), strconv.FormatInt(p.Answers, 10), strconv.FormatInt(p.Yes, 10), strconv.FormatInt(p.Fast, 10), ms(p.Read))
		}
		return t.print(c.OutOrStdout(), "Nobody has answered.")
	}
	return c
}
