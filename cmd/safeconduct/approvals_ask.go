package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func newApprovalsAsk() *cobra.Command {
	c := &cobra.Command{
		Use:   "ask SUBJECT ACTION RESOURCE",
		Short: "Ask whether an act may happen, and persons if the policies want one",
		Long: `Ask whether an act may happen, as an enforcement point does, and if it is refused until a person approves,
ask for that. With --wait, wait for the answer, and ask for the decision again with the approval; that
draws a use of it.

The token of an enforcement point is taken from SAFECONDUCT_PEP_TOKEN. The exit status is 0 if the act is
allowed, 3 if it is refused, by the policies or by persons, if it waits, or if nobody answered in time, and
1 if that could not be found out. What is asked is written as for ` + "`safeconduct decide`" + `.`,
		Example: `  $ safeconduct approvals ask agent:clerk pay Account:acme --arg amount=900.0 --why "invoice 7" --wait
  asked arq_5rwxbcu3mmpx7hrkmcrqhvgnmy, until 2026-11-27 10:53:54Z
  allowed, decision d121`,
		Args: cobra.ExactArgs(3),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	q := question{}
	q.flags(c)
	f := c.Flags()
	why := f.String("why", "", "why the act is needed, for the persons who answer")
	long := f.Duration("for", 0, "ask for an approval that lasts so `LONG` from now; the ask ends then, too")
	emergency := f.Bool("emergency", false, "say that it is urgent")
	wait := f.Bool("wait", false, "wait for the answer, and use it")
	c.RunE = func(c *cobra.Command, args []string) error {
		if token := os.Getenv(envPEPToken); token != "" && conn.tokenFile == "" {
			conn.token = token
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		req, err := q.request(args)
		if err != nil {
			return usageError{err}
		}
		ans, err := api.Evaluate(c.Context(), req, nil)
		if err != nil {
			return api.hinted(err)
		}
		if ans.Offer == nil {
			return answer(c, &ans.Decision, *asJSON)
		}
		in := client.AccessRequest{Acts: []client.Refused{{Request: req, Offer: ans.Offer}}, Justification: *why, Emergency: *emergency}
		if *long > 0 {
			in.Until = time.Now().Add(*long)
		}
		task, err := api.RequestAccess(c.Context(), in)
		if err != nil {
			return api.hinted(err)
		}
		return await(c, api, req, task, *wait, *asJSON)
	}
	return c
}

// await prints a task and, if one wants to wait, how it ends.
func await(c *cobra.Command, api *remote, req authz.Request, task *client.Task, wait, asJSON bool) error {
	if !wait {
		if asJSON {
			if err := writeJSON(c.OutOrStdout(), map[string]any{"id": task.ID, "status": task.Status, "expires_at": task.ExpiresAt}); err != nil {
				return err
			}
		} else if err := printTask(c, task); err != nil {
			return err
		}
		return exitRefused
	}
	fmt.Fprintf(c.ErrOrStderr(), "asked %s, until %s\n", clip(task.ID, 40), when(task.ExpiresAt))
	task, err := api.AwaitApproval(c.Context(), task)
	if err != nil && (task.ExpiresAt.IsZero() || time.Now().Before(task.ExpiresAt)) {
		return api.hinted(err)
	}
	approval := task.Approval(0)
	if approval == nil {
		return refused(c, task, asJSON)
	}
	ans, err := api.Evaluate(c.Context(), req, approval)
	if err != nil {
		return api.hinted(err)
	}
	return answer(c, &ans.Decision, asJSON)
}

func printTask(c *cobra.Command, task *client.Task) error {
	_, err := fmt.Fprintf(c.OutOrStdout(), "asked %s, until %s\n", clip(task.ID, 40), when(task.ExpiresAt))
	return err
}

// refused prints that a task ended without an approval, and why.
func refused(c *cobra.Command, task *client.Task, asJSON bool) error {
	status, why := task.Status, ""
	var display struct {
		Description string `json:"description"`
	}
	if json.Unmarshal(task.Display, &display) == nil {
		why = display.Description
	}
	switch {
	case !task.Done(): // it ended while nobody could be asked how far it has come
		status, why = client.TaskExpired, "Nobody answered in time."
	case status == client.TaskApproved:
		why = "What was approved holds no more."
	}
	if asJSON {
		if err := writeJSON(c.OutOrStdout(), map[string]any{"id": task.ID, "status": status, "why": why}); err != nil {
			return err
		}
		return exitRefused
	}
	text := brief(task.ID, 40) + " is " + brief(status, 20)
	if why != "" {
		text += ": " + brief(why, 3000)
	}
	if _, err := fmt.Fprintln(c.OutOrStdout(), text); err != nil {
		return err
	}
	return exitRefused
}
