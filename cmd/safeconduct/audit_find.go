package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newAuditFind() *cobra.Command {
	c := &cobra.Command{
		Use:   "find [WORD...]",
		Short: "Search the log, newest entries first",
		Long: `Search the log, newest entries first. An entry is found if all that is asked for holds; words must
occur in the names of a decision (its agent, action, resource and so on) or in another entry's texts.

--before goes on where an earlier search ended: it takes the number of the last entry that was shown.`,
		Example: `  $ safeconduct audit find --agent banking.gpt-4o-2024-05-13 --outcome require_approval --limit 2
  ENTRY  AT                    KIND           ACTOR    WHAT
  1702   2026-11-23 16:00:09Z  decision.made  pep:pep  send_money Account:own: require_approval
  1633   2026-11-23 16:00:08Z  decision.made  pep:pep  send_money Account:own: require_approval`,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	search := searchFlags(c)
	limit := c.Flags().Int("limit", 20, "at most `N` entries, 1000 at most")
	c.RunE = func(c *cobra.Command, words []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		q, err := search()
		if err != nil {
			return err
		}
		q = append(q, "limit", strconv.Itoa(*limit))
		text := ""
		for _, w := range words {
			text += w + " "
		}
		q = append(q, "text", text)
		var found struct {
			Items []entry `json:"items"`
		}
		if err := api.call(c.Context(), "GET", query("/v1/audit/entries", q...), nil, &found); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), found.Items)
		}
		t := newTable("ENTRY", "AT", "KIND", "ACTOR", "WHAT")
		for _, e := range found.Items {
			t.add(fmt.Sprint(e.Seq), when(e.At), e.Kind, clip(e.Actor, 30), clip(e.what(), 90))
		}
		return t.print(c.OutOrStdout(), "Nothing was found.")
	}
	return c
}

// searchFlags adds the flags that say which entries are looked for. What it returns reads them: pairs of names and
// values, as the API names them.
func searchFlags(c *cobra.Command) func() ([]string, error) {
	f := c.Flags()
	params := map[string]*string{}
	for _, p := range [][2]string{
		{"kind", "only entries of this `KIND`, such as decision.made or agent.put"},
		{"actor", "only what this `ACTOR` did: admin:NAME, pep:NAME, person:ID, safeconduct"},
		{"agent", "only what concerns this `AGENT`"},
		{"action", "only decisions about this `ACTION`"},
		{"resource", "only decisions about this resource, `TYPE:ID`"},
		{"outcome", "only decisions with this `OUTCOME`: allow, deny, require_approval, step_up"},
		{"code", "only decisions with this `CODE`"},
		{"session", "only decisions in this `SESSION`"},
		{"behalf", "only decisions about acts for this person or agent, `TYPE:ID`"},
		{"decision", "only what came of this `DECISION`: reports of its outcome, asks for approval"},
	} {
		params[p[0]] = f.String(p[0], "", p[1])
	}
	from := f.String("from", "", "only entries from this `TIME` on, as in RFC 3339, or of the last while, such as 2h")
	to := f.String("to", "", "only entries up to this `TIME`, or up to a while ago")
	before := f.Int64("before", 0, "only entries numbered below `N`")
	return func() (q []string, err error) {
		for name, v := range params {
			q = append(q, name, *v)
		}
		if *before > 0 {
			q = append(q, "before", strconv.FormatInt(*before, 10))
		}
		for name, v := range map[string]string{"from": *from, "to": *to} {
			t, err := moment(v)
			if err != nil {
				return nil, usageError{fmt.Errorf("--%s: %w", name, err)}
			}
			q = append(q, name, t)
		}
		return q, nil
	}
}

// moment reads a time, or a while before now, and returns it as the API wants it.
func moment(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d.Abs()).UTC().Format(time.RFC3339Nano), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return "", fmt.Errorf("%q is neither a time such as 2026-11-23T16:00:00Z nor a while such as 2h", s)
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}
