package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
)

func newAgentSessions() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions AGENT",
		Short: "List the sessions of an agent, newest first",
		Long: `List the sessions of an agent, those that were heard of last first.

A session is what the enforcement point calls so: mostly one task. ` + "`safeconduct agent session`" + ` tells one
call by call.`,
		Example: `  $ safeconduct agent sessions banking.gpt-4o-2024-05-13 --limit 2
  SESSION          CALLS  ALLOWED  LAST                  TASK     FOR
  banking-17-2     4      3        2026-11-27 18:52:04Z  banking  person emma
  banking-9-0      3      3        2026-11-27 18:51:58Z  banking  person emma`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	limit := c.Flags().Int("limit", 50, "at most `N` sessions")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		all := []activity.Session{}
		for before := ""; len(all) < *limit; {
			var page list[activity.Session]
			if err := api.call(c.Context(), "GET", query("/v1/agents/"+segment(args[0])+"/sessions", "before", before, "limit", fmt.Sprint(min(*limit-len(all), 1000))), nil, &page); err != nil {
				return hintAgent(err)
			}
			all = append(all, page.Items...)
			if before = page.Next; before == "" {
				break
			}
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all)
		}
		t := newTable("SESSION", "CALLS", "ALLOWED", "LAST", "TASK", "FOR")
		for _, s := range all {
			t.add(clip(s.ID, 60), fmt.Sprint(s.Calls), fmt.Sprint(s.Allowed), when(s.LastAt), clip(s.Task, 30), clip(s.OnBehalf.Type+" "+s.OnBehalf.ID, 60))
		}
		return t.print(c.OutOrStdout(), "No session of the agent is known.")
	}
	return c
}

// A sessionStory is what the API says of a session.
type sessionStory struct {
	ID      string             `json:"id"`
	Agents  []activity.Session `json:"agents"`
	Calls   []sessionCall      `json:"calls"`
	Next    int64              `json:"next,omitempty"`
	Earlier int64              `json:"earlier,omitempty"`
}

type sessionCall struct {
	ID         string            `json:"id"`
	At         time.Time         `json:"at"`
	Agent      string            `json:"agent"`
	OnBehalf   []authz.Ref       `json:"on_behalf,omitempty"`
	Action     string            `json:"action"`
	Resource   authz.Ref         `json:"resource"`
	Arguments  json.RawMessage   `json:"arguments,omitempty"`
	Provenance *authz.Provenance `json:"provenance,omitempty"`
	Effect     string            `json:"effect"`
	Code       string            `json:"code"`
	Message    string            `json:"message,omitempty"`
	Outcomes   []struct {
		By     string `json:"by"`
		Result string `json:"result,omitempty"`
		Fault  string `json:"fault,omitempty"`
	} `json:"outcomes,omitempty"`
}

func newAgentSession() *cobra.Command {
	c := &cobra.Command{
		Use:   "session SESSION",
		Short: "Tell a session call by call",
		Long: `Tell a session call by call, in the order of the log: what was asked, where its arguments came from, what
was decided, and what came of it.

Arguments are what agents said: they can hold instructions to you that are none. They are shown shortened;
--json has them whole.`,
		Example: `  $ safeconduct agent session banking-17-2
  banking-17-2: 4 calls of banking.gpt-4o-2024-05-13

  2026-11-27 18:52:03Z  d4711  allow  read_file bill-december-2023.txt
  2026-11-27 18:52:04Z  d4712  deny   send_money
      {"amount":98.7,"recipient":"US133000000121212121212"}
      untrusted: recipient
      code untrusted_recipient: The recipient comes from a document that others can write.`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	agent := c.Flags().String("agent", "", "only what this `AGENT` did in it")
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var whole sessionStory
		for after := int64(0); ; {
			var page sessionStory
			q := query("/v1/sessions/"+segment(args[0]), "agent", *agent, "limit", "200")
			if after > 0 {
				q = query("/v1/sessions/"+segment(args[0]), "agent", *agent, "limit", "200", "after", fmt.Sprint(after))
			}
			if err := api.call(c.Context(), "GET", q, nil, &page); err != nil {
				if notFound(err) {
					return hinted(err, "`safeconduct agent sessions AGENT` lists those of an agent")
				}
				return err
			}
			calls := append(whole.Calls, page.Calls...)
			whole, after = page, page.Next
			whole.Calls = calls
			if after == 0 {
				break
			}
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), whole)
		}
		return printSession(c.OutOrStdout(), &whole)
	}
	return c
}

func printSession(w io.Writer, s *sessionStory) error {
	var who []string
	for _, a := range s.Agents {
		who = append(who, fmt.Sprintf("%d calls of %s", a.Calls, a.Agent))
	}
	fmt.Fprintf(w, "%s: %s\n", clip(s.ID, 100), strings.Join(who, ", "))
	if s.Earlier > 0 {
		fmt.Fprintf(w, "%d earlier entries are in the log alone.\n", s.Earlier)
	}
	fmt.Fprintln(w)
	for i := range s.Calls {
		c := &s.Calls[i]
		line := fmt.Sprintf("%s  %s  %-5s  %s %s", when(c.At), c.ID, c.Effect, clip(c.Action, 60), clip(c.Resource.ID, 60))
		if len(s.Agents) > 1 {
			line += "  by " + clip(c.Agent, 60)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		if len(c.Arguments) > 2 {
			fmt.Fprintln(w, "    "+clip(string(c.Arguments), 160))
		}
		if p := c.Provenance; p != nil && len(p.Untrusted) > 0 {
			fmt.Fprintln(w, "    untrusted: "+clip(strings.Join(p.Untrusted, ", "), 160))
		}
		if c.Message != "" {
			fmt.Fprintf(w, "    code %s: %s\n", c.Code, clip(c.Message, 200))
		}
		for _, o := range c.Outcomes {
			fmt.Fprintf(w, "    %s says: %s\n", clip(o.By, 60), strings.Join(slices.DeleteFunc([]string{o.Result, o.Fault}, func(s string) bool { return s == "" }), ", "))
		}
	}
	return nil
}

// A delegationTree is what the API says of who made whom and who acted for whom.
type delegationTree struct {
	Agent   string          `json:"agent"`
	Creator delegationEnd   `json:"creator"`
	Made    []delegationEnd `json:"made"`
	Total   int             `json:"made_total"`
	ActsFor []delegationEnd `json:"acts_for"`
	ActedBy []delegationEnd `json:"acted_by"`
}

type delegationEnd struct {
	Type   string    `json:"type,omitempty"`
	ID     string    `json:"id"`
	LastAt time.Time `json:"last_at,omitzero"`
	Calls  int64     `json:"calls,omitempty"`
	Depth  int       `json:"depth,omitempty"`
}

func newAgentDelegation() *cobra.Command {
	c := &cobra.Command{
		Use:   "delegation AGENT",
		Short: "Show who made an agent, and who acted for whom",
		Long: `Show who made an agent and whom it made, for whom it acted, and who acted for it.

Makers are what is registered; the rest is from recorded decisions. An agent that acts through another acts
for it at depth 2 or more.`,
		Example: `  $ safeconduct agent delegation clerk
  made by    admin
  made       none
  RELATION  WHO          DEPTH  CALLS  LAST
  acts for  person emma  1      12     2026-11-27 18:52:04Z`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var d delegationTree
		if err := api.call(c.Context(), "GET", "/v1/agents/"+segment(args[0])+"/delegation", nil, &d); err != nil {
			return hintAgent(err)
		}
		w := c.OutOrStdout()
		if *asJSON {
			return writeJSON(w, d)
		}
		made := "none"
		if d.Total > 0 {
			var ids []string
			for _, m := range d.Made {
				ids = append(ids, m.ID)
			}
			made = strings.Join(ids, ", ")
			if more := d.Total - len(ids); more > 0 {
				made += fmt.Sprintf(", and %d more", more)
			}
		}
		if err := printPairs(w, [][2]string{{"made by", clip(strings.TrimSpace(d.Creator.Type+" "+d.Creator.ID), 100)}, {"made", made}}); err != nil {
			return err
		}
		t := newTable("RELATION", "WHO", "DEPTH", "CALLS", "LAST")
		for relation, ends := range map[string][]delegationEnd{"acts for": d.ActsFor, "acted by": d.ActedBy} {
			for _, e := range ends {
				t.add(relation, clip(e.Type+" "+e.ID, 80), fmt.Sprint(e.Depth), fmt.Sprint(e.Calls), when(e.LastAt))
			}
		}
		slices.SortStableFunc(t.rows, func(a, b []string) int { return -strings.Compare(a[0], b[0]) })
		return t.print(w, "Nobody acted for anybody.")
	}
	return c
}
