package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

// A look is that one looked at an ask.
type look struct {
	View int64 `json:"view"`
}

// lookAt reads an ask, prints it for the person, and records that they looked.
func lookAt(ctx context.Context, api *remote, out io.Writer, id string) (look, error) {
	var d detailInfo
	if err := api.call(ctx, "GET", askPath(id, ""), nil, &d); err != nil {
		return look{}, hintAsk(err)
	}
	if out != io.Discard {
		d.recall(ctx, api)
	}
	if err := printAsk(out, &d); err != nil {
		return look{}, err
	}
	var v look
	return v, api.call(ctx, "POST", askPath(id, "/view"), struct{}{}, &v)
}

// confirm asks the person on the terminal. Anything but yes is no.
func confirm(c *cobra.Command, question string) error {
	fmt.Fprintf(c.ErrOrStderr(), "%s Type yes: ", question)
	line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), 100)).ReadString('\n')
	if err != nil && line == "" || strings.TrimSpace(line) != "yes" {
		return hinted(errors.New("nothing was answered"), "type yes, or say --yes if you have looked at it already")
	}
	return nil
}

// scopeFlags adds the flags that say how far a yes goes, and returns what reads them.
func scopeFlags(c *cobra.Command) func() (map[string]any, error) {
	f := c.Flags()
	uses := f.Int64("uses", 1, "permit `N` uses; -1 as many as there are until it ends")
	until := f.String("until", "", "permit it until this `TIME` (RFC 3339)")
	for_ := f.Duration("for", 0, "permit it for so `LONG` from now")
	class := f.Bool("class", false, "permit any resource of the same type and class of data")
	anyArgs := f.Bool("arguments", false, "permit any arguments")
	amounts := f.StringToString("amount", nil, "permit an argument up to a value: `NAME=VALUE`")
	c.MarkFlagsMutuallyExclusive("until", "for")
	return func() (map[string]any, error) {
		s := map[string]any{}
		if f.Changed("uses") {
			if *uses < 1 && *uses != -1 {
				return nil, usageError{hinted(fmt.Errorf("--uses %d permits nothing", *uses), "say how many, or -1 for as many as there are until it ends; a refusal is `safeconduct approvals refuse`")}
			}
			s["uses"] = *uses
		}
		if f.Changed("for") && *for_ < time.Second {
			return nil, usageError{hinted(fmt.Errorf("--for %s is no time", *for_), "say how long from now, such as 10m")}
		}
		switch {
		case *until != "":
			t, err := time.Parse(time.RFC3339, *until)
			if err != nil {
				return nil, usageError{hinted(err, "a time looks like 2026-11-27T18:00:00Z")}
			}
			s["until"] = t.UTC()
		case *for_ != 0:
			s["until"] = time.Now().Add(*for_).UTC().Truncate(time.Second)
		}
		if *class {
			s["class"] = true
		}
		if *anyArgs {
			s["arguments"] = true
		}
		if len(*amounts) > 0 {
			s["amounts"] = *amounts
		}
		return s, nil
	}
}

func newApprovalsApprove() *cobra.Command {
	c := &cobra.Command{
		Use:   "approve ID...",
		Short: "Say yes to an ask, or to several for the very same",
		Long: `Say yes to an ask, or to several for the very same. It is shown first, and asks whether you mean it.

A plain yes permits one use of the very act. The flags permit more, within what the route permits; the
ask says under "at most" how far that goes. What is printed at the end is what holds: of several answers
the narrowest counts, and no approval lasts longer than its route lets it.

Several asks are answered at once only if they differ in nothing but who acts and on which resource of
the type.

A route that wants a passkey takes a yes on the ask's page only: a passkey lives in a browser.`,
		Example: `  $ safeconduct approvals approve arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --uses 3 --for 1h --token-file anna.token
  ...
  Approve this? Type yes: yes
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy is approved until 2026-11-27 10:53:54Z: 3 times at most, this very act`,
		Args: cobra.RangeArgs(1, 50),
	}
	scope := scopeFlags(c)
	answerCommand(c, true, scope)
	return c
}

func newApprovalsRefuse() *cobra.Command {
	c := &cobra.Command{
		Use:   "refuse ID...",
		Short: "Say no to an ask, or to several for the very same",
		Long: `Say no to an ask, or to several for the very same. One no ends it, whoever has said yes before.

The agent is told the comment. A refused ask stays refused; the agent may be refused the act anew, and
ask about that.`,
		Example: `  $ safeconduct approvals refuse arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --comment "not this supplier"
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy is denied`,
		Args: cobra.RangeArgs(1, 50),
	}
	answerCommand(c, false, func() (map[string]any, error) { return nil, nil })
	return c
}

// answerCommand makes c answer.
func answerCommand(c *cobra.Command, yes bool, scope func() (map[string]any, error)) {
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	comment := f.String("comment", "", "what to `SAY` about it; the agent is told of a refusal's")
	items := f.IntSlice("items", nil, "answer only these acts of the ask, by their `NUMBERS`")
	sure := f.Bool("yes", false, "do not ask again: you have looked at it")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		in := map[string]any{"yes": yes, "comment": *comment}
		s, err := scope()
		if err != nil {
			return err
		}
		if len(s) > 0 {
			in["scope"] = s
		}
		if len(*items) > 0 {
			if len(args) > 1 {
				return usageError{errors.New("--items goes with one ask")}
			}
			in["items"] = *items
		}
		views := make([]look, len(args))
		for i, id := range args {
			out := io.Discard // they are the same, or the service refuses
			if i == 0 {
				out = c.ErrOrStderr()
			}
			if views[i], err = lookAt(c.Context(), api, out, id); err != nil {
				return err
			}
		}
		if yes && !*sure {
			question := "Approve this?"
			if len(args) > 1 {
				question = fmt.Sprintf("Approve all %d?", len(args))
			}
			if err := confirm(c, question); err != nil {
				return err
			}
		}
		if len(args) > 1 {
			return answerMany(c, api, in, args, views, *asJSON)
		}
		in["view"] = views[0].View
		var text json.RawMessage
		if err := api.call(c.Context(), "POST", askPath(args[0], "/answer"), in, &text); err != nil {
			return hintAnswer(err)
		}
		if until, ok := s["until"].(time.Time); ok {
			noteSooner(c.ErrOrStderr(), text, until)
		}
		return printAnswered(c.OutOrStdout(), text, *asJSON)
	}
}

// noteSooner says so if an approval ends sooner than the person said.
func noteSooner(w io.Writer, text json.RawMessage, said time.Time) {
	var a askInfo
	if json.Unmarshal(text, &a) != nil {
		return
	}
	if end := a.until(); a.Status != "pending" && !end.IsZero() && end.Before(said) {
		fmt.Fprintf(w, "It ends sooner than you said: its route, its requester or another answer permits no more than until %s.\n", when(end))
	}
}

// hintAnswer says what to do about an answer that was not taken.
func hintAnswer(err error) error {
	if errors.Is(err, authz.ErrForbidden) {
		return hinted(err, "`safeconduct approvals show` says what you may answer; where a passkey is wanted, answer on the ask's page")
	}
	return hintAsk(err)
}

// printAnswered prints how an ask stands after an answer.
func printAnswered(w io.Writer, text json.RawMessage, asJSON bool) error {
	if asJSON {
		return writeJSON(w, text)
	}
	var a askInfo
	if err := json.Unmarshal(text, &a); err != nil {
		return err
	}
	p := &liner{w: w}
	p.answered(&a)
	return p.err
}

// answered prints how an ask stands, and what was approved of it: in one line, if that is the same for all acts.
func (p *liner) answered(a *askInfo) {
	is := brief(a.ID, 40) + " is " + brief(a.state(), 20)
	granted, places := a.grants()
	if a.Status == "pending" {
		is += ": others have to answer, too"
	}
	if len(granted) > 0 && len(granted) == len(a.Items) && !slices.ContainsFunc(granted, func(g *grantInfo) bool { return g.holds() != granted[0].holds() }) {
		p.line("%s %s", is, granted[0].holds())
		return
	}
	p.line("%s", is)
	for i, g := range granted {
		p.line("  [%d] %s", places[i], g.holds())
	}
}

func answerMany(c *cobra.Command, api *remote, in map[string]any, ids []string, views []look, asJSON bool) error {
	asks := make([]map[string]any, len(ids))
	for i, id := range ids {
		asks[i] = map[string]any{"id": id, "view": views[i].View}
	}
	in["asks"] = asks
	var out struct {
		Results []struct {
			ID     string `json:"id"`
			Status string `json:"status,omitempty"`
			Error  *struct {
				Code    string `json:"code"`
				Message string `json:"message"`
			} `json:"error,omitempty"`
		} `json:"results"`
	}
	if err := api.call(c.Context(), "POST", "/v1/approvals/answers", in, &out); err != nil {
		return hintAnswer(err)
	}
	failed := 0
	for _, r := range out.Results {
		if r.Error != nil {
			failed++
		}
	}
	if asJSON {
		if err := writeJSON(c.OutOrStdout(), out.Results); err != nil {
			return err
		}
	} else {
		p := &liner{w: c.OutOrStdout()}
		for _, r := range out.Results {
			if r.Error != nil {
				p.line("%s was not answered: %s", brief(r.ID, 40), brief(r.Error.Message, 300))
				continue
			}
			a := askInfo{ID: r.ID, Status: r.Status}
			if r.Status != "denied" {
				if err := api.call(c.Context(), "GET", askPath(r.ID, ""), nil, &a); err != nil {
					a = askInfo{ID: r.ID, Status: r.Status} // it was answered all the same
				}
			}
			p.answered(&a)
		}
		if p.err != nil {
			return p.err
		}
	}
	if failed > 0 {
		return hinted(fmt.Errorf("%s not answered", plural(failed, "ask was", "asks were")), "look at each with `safeconduct approvals show`")
	}
	return nil
}

func newApprovalsBreakGlass() *cobra.Command {
	c := &cobra.Command{
		Use:   "break-glass ID",
		Short: "Approve alone and at once, in an emergency",
		Long: `Approve alone and at once, in an emergency, if the catalog lets you: one use of the very act.

Somebody else reviews it afterwards. The reason is recorded and shown to whoever reviews; glass that nobody
has reviewed in time becomes a finding about you.`,
		Example: `  $ safeconduct approvals break-glass arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --reason "the plant stands still"
  Break the glass? Type yes: yes
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy is approved until 2026-11-27 10:53:54Z: once, this very act`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	reason := c.Flags().String("reason", "", "why it cannot wait (required)")
	sure := c.Flags().Bool("yes", false, "do not ask again: you have looked at it")
	_ = c.MarkFlagRequired("reason")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		v, err := lookAt(c.Context(), api, c.ErrOrStderr(), args[0])
		if err != nil {
			return err
		}
		if !*sure {
			if err := confirm(c, "Break the glass?"); err != nil {
				return err
			}
		}
		var text json.RawMessage
		if err := api.call(c.Context(), "POST", askPath(args[0], "/break-glass"), map[string]any{"reason": *reason, "view": v.View}, &text); err != nil {
			return hintAnswer(err)
		}
		return printAnswered(c.OutOrStdout(), text, *asJSON)
	}
	return c
}

func newApprovalsReview() *cobra.Command {
	c := &cobra.Command{
		Use:   "review ID",
		Short: "Say whether breaking the glass was justified",
		Long: `Say whether breaking the glass was justified. Whoever broke it cannot.

` + "`safeconduct approvals list --review`" + ` shows what waits for a review.`,
		Example: `  $ safeconduct approvals review arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --justified --comment "agreed before"
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy was reviewed: justified`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	justified := f.Bool("justified", false, "it was")
	unjustified := f.Bool("unjustified", false, "it was not")
	comment := f.String("comment", "", "why (required)")
	c.MarkFlagsMutuallyExclusive("justified", "unjustified")
	c.MarkFlagsOneRequired("justified", "unjustified")
	_ = c.MarkFlagRequired("comment")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var text json.RawMessage
		in := map[string]any{"justified": *justified && !*unjustified, "comment": *comment}
		if err := api.call(c.Context(), "POST", askPath(args[0], "/review"), in, &text); err != nil {
			return hintAsk(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), text)
		}
		var a askInfo
		if err := json.Unmarshal(text, &a); err != nil {
			return err
		}
		verdict := "unknown"
		if a.Broken != nil {
			verdict = a.Broken.Verdict
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s was reviewed: %s\n", clip(a.ID, 40), clip(verdict, 20))
		return err
	}
	return c
}
