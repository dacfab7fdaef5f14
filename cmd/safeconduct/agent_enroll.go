package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

// An enrolmentToken is a new enrolment token as the API shows it, once.
type enrolmentToken struct {
	Agent     authz.AgentID `json:"agent"`
	Token     string        `json:"token"`
	ExpiresAt time.Time     `json:"expires_at"`
	AsOf      int64         `json:"as_of"`
}

func newAgentEnroll() *cobra.Command {
	c := &cobra.Command{
		Use:   "enroll AGENT",
		Short: "Let an agent register a key: print a token that is good once",
		Long: `Make an enrolment token and print it on standard output, alone in its line, so that it can be sent to
a file. The agent makes its own key pair and registers the public key with the token; the private
key never leaves it. With --owner, --purpose and --version the agent itself is registered in the
same command.

A token registers one key, once, and only until it expires (--ttl). The service keeps a hash of it
and cannot show it again. Enrolling an agent again takes back the token that is not used yet, and
leaves its keys as they are: see ` + "`safeconduct agent keys`" + `.

Whoever holds the token can become the agent: hand it over as you would a password.`,
		Example: `  $ safeconduct agent enroll orders-7 --owner shop --purpose order-processing --version 7 \
        --capability read-orders --why "new order assistant" > orders-7.enrolment
  registered orders-7 (revision 1)
  orders-7 can register one key until 2026-11-28 07:00:00Z; the token is shown only now
  $ cat orders-7.enrolment
  sc_enrol_0mJ3WQ1c2v5rQ8Yt6Zb4nE7uK9xLpDsFaGhJkTyUiOP`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	ttl := c.Flags().Duration("ttl", 24*time.Hour, "how long the token can be used, a minute to 30 days")
	what := newAgentFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *ttl < time.Minute || *ttl > 30*24*time.Hour {
			return usageError{hinted(fmt.Errorf("--ttl %v is out of bounds", *ttl), "a minute to 30 days, such as 1h or 72h")}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		path := "/v1/agents/" + segment(args[0])
		if what.changed() {
			var have authz.Agent
			switch err := api.call(c.Context(), "GET", path, nil, &have); {
			case err == nil:
				return hinted(fmt.Errorf("agent %s is registered already", have.ID),
					"change it with `safeconduct agent put`, and enroll it without --owner and the like")
			case !notFound(err):
				return err
			}
			a, err := what.put(c.Context(), api, path, have, *why)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "registered %s (revision %d)\n", a.ID, a.Revision)
		}
		var t enrolmentToken
		in := map[string]any{"ttl_seconds": int64(*ttl / time.Second), "why": *why}
		if err := api.call(c.Context(), "POST", path+"/enrolment", in, &t); err != nil {
			if notFound(err) {
				return hinted(err, "register it in the same command with --owner, --purpose and --version; `safeconduct agent list` shows the registered ones")
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), t)
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s can register one key until %s; the token is shown only now\n", t.Agent, when(t.ExpiresAt))
		_, err = fmt.Fprintln(c.OutOrStdout(), t.Token)
		return err
	}
	return c
}
