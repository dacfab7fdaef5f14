package main

import (
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"
)

func newApprovals() *cobra.Command {
	c := &cobra.Command{
		Use:   "approvals",
		Short: "See what agents ask people for, and answer",
		Long: `See what agents ask people for, and answer.

When a policy says "not without a person", an agent may ask. The ask waits for the people whom the
catalog names; each sees the exact act, who asks, and what a yes permits. Persons answer as themselves,
with a token of the role approver; administrators and auditors see everything, and never answer. Where the
catalog wants a passkey, a yes is given on the ask's page in a browser.

docs/approvals.md says how asks are answered.`,
		Example: `  $ safeconduct approvals list --mine --token-file anna.token
  $ safeconduct approvals show arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --token-file anna.token
  $ safeconduct approvals approve arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --token-file anna.token`,
	}
	c.AddCommand(newApprovalsAsk(), newApprovalsList(), newApprovalsShow(), newApprovalsApprove(), newApprovalsRefuse(),
		newApprovalsBreakGlass(), newApprovalsReview(), newApprovalsRevoke(), newApprovalsCancel(),
		newApprovalsStory(), newApprovalsAway(), newApprovalsStats())
	return c
}

func newApprovalsList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List asks, newest first",
		Long: `List asks, newest first: to a person those that concern them, to administrators and auditors all.

WHAT is the act with its arguments, shortened; ` + "`safeconduct approvals show`" + ` shows all of it. UNTIL says
how long an ask waits, and of one that was approved how long the approval holds; REVIEW BY when the review
is due. The status revoked says that all that was approved was taken back.

--after goes on where an earlier list ended: it takes the id of the last ask that was shown.`,
		Example: `  $ safeconduct approvals list --mine --token-file anna.token
  ID                              STATUS   AGENT  WHAT                                 ASKED     UNTIL
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy  pending  clerk  pay on Account:acme, amount="900.0"  2026-...  2026-...`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	mine := f.Bool("mine", false, "only asks that wait for the answer of the person whose token this is")
	status := f.String("status", "", "only asks in this `STATUS`: pending, approved, denied, expired, cancelled, failed, partial")
	agent := f.String("agent", "", "only asks of this `AGENT`")
	session := f.String("session", "", "only asks of this `SESSION`")
	review := f.Bool("review", false, "only broken glass that waits for a review")
	after := f.String("after", "", "only asks that follow the one with this `ID`")
	limit := f.Int("limit", 20, "at most `N` asks, 1000 at most")
	_ = c.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"pending", "approved", "denied", "expired", "cancelled", "failed", "partial"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var page list[json.RawMessage]
		path := query("/v1/approvals", "mine", set(*mine), "status", *status, "agent", *agent, "session", *session, "review", set(*review), "after", *after, "limit", strconv.Itoa(*limit))
		if err := api.call(c.Context(), "GET", path, nil, &page); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), page.Items)
		}
		last := "UNTIL"
		if *review {
			last = "REVIEW BY"
		}
		t := newTable("ID", "STATUS", "AGENT", "WHAT", "ASKED", last)
		for _, text := range page.Items {
			var a askInfo
			if err := json.Unmarshal(text, &a); err != nil {
				return err
			}
			who := a.Agent
			if who == "" {
				who = a.Subject.String()
			}
			until := a.until()
			if *review && a.Broken != nil {
				until = a.Broken.Due
			}
			t.add(brief(a.ID, 40), brief(a.state(), 20), brief(who, 40), a.what(), when(a.AskedAt), when(until))
		}
		return t.print(c.OutOrStdout(), "There are no such asks.")
	}
	return c
}

// set is the text of a flag's parameter: nothing, if it is not set.
func set(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func askPath(id, what string) string { return "/v1/approvals/" + segment(id) + what }

func hintAsk(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct approvals list` shows the asks that concern you; an id looks like arq_5rwxbcu3mmpx7hrkmcrqhvgnmy")
	}
	return err
}
