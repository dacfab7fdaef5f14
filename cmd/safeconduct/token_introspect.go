package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/client"
)

// An asker is who may ask about tokens: an agent, about its own, or a caller of the API.
type asker interface {
	Introspect(ctx context.Context, accessToken string) (*client.Introspection, error)
	Revoke(ctx context.Context, accessToken string) error
}

// askerFlags adds to c the flags of both. With --key it is the agent who asks.
func askerFlags(c *cobra.Command) func() (asker, func(error) error, error) {
	conn, who := connectFlags(c), identityFlags(c)
	return func() (asker, func(error) error, error) {
		if who.key != "" {
			a, err := who.open()
			return a, agentHint, err
		}
		if pep := os.Getenv(envPEPToken); pep != "" && os.Getenv(envToken) == "" && conn.tokenFile == "" {
			conn.token = pep
		}
		api, err := conn.open()
		if err != nil {
			return nil, nil, err
		}
		return api.Client, api.hinted, nil
	}
}

func newTokenIntrospect() *cobra.Command {
	c := &cobra.Command{
		Use:   "introspect [FILE]",
		Short: "Ask the server what is true of a token now",
		Long: `Ask the server what is true of a token now (RFC 7662). It looks at everything again: whether the
agent and all it acts for are active, whether anything was revoked, and what policy says of each
capability at this moment. What is gone is missing in the answer; of a token that is worth nothing
any more it says no more than that.

An agent asks of its own tokens, with --key; otherwise the token of a caller is shown, an
administrator's, an auditor's or an enforcement point's (--token-file, SAFECONDUCT_ADMIN_TOKEN or
SAFECONDUCT_PEP_TOKEN). The exit status is 0 if the token is active, 3 if it is not.`,
		Example: `  $ safeconduct token introspect t
  active
  agent      orders-7
  carries    read-orders
  expires    2026-11-27 07:05:00Z
  $ safeconduct agent suspend orders-7 --why "odd refunds"
  $ safeconduct token introspect t
  not active`,
		Args: cobra.MaximumNArgs(1),
	}
	asJSON, open := jsonFlag(c), askerFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := readToken(c, args)
		if err != nil {
			return err
		}
		who, hint, err := open()
		if err != nil {
			return err
		}
		i, err := who.Introspect(c.Context(), text)
		if err != nil {
			return hint(err)
		}
		w := c.OutOrStdout()
		switch {
		case *asJSON:
			err = writeJSON(w, json.RawMessage(i.Answer))
		case !i.Active:
			_, err = fmt.Fprintln(w, "not active")
		default:
			fmt.Fprintf(w, "active\nagent      %s\n", clip(i.ClientID, 200))
			if i.Subject != i.ClientID {
				fmt.Fprintf(w, "acts for   %s\n", clip(i.Subject, 200))
			}
			fmt.Fprintf(w, "carries    %s\n", clip(strings.Join(i.Scope, ", "), 500))
			for k := range i.Details {
				if limits := limitsOf(&i.Details[k]); limits != "" {
					fmt.Fprintf(w, "limits     %s: %s\n", clip(i.Details[k].Identifier, 80), clip(limits, 400))
				}
			}
			_, err = fmt.Fprintf(w, "expires    %s\n", when(i.ExpiresAt))
		}
		if !i.Active {
			return errors.Join(err, exitRefused)
		}
		return err
	}
	return c
}

func newTokenRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke [FILE]",
		Short: "Take back a token, and all that were made from it",
		Long: `Take back a token (RFC 7009), and with it every token by which another agent acts because of it. An
agent takes back its own, with --key; an administrator any.

Who asks the server about the token knows at once; who verifies tokens offline knows from the status
list, or when the token expires, within five minutes. To stop an agent altogether, suspend it:
see ` + "`safeconduct agent suspend`" + `. To revoke what has ended, or was never a token, succeeds.`,
		Example: `  $ safeconduct token revoke t --key orders-7.key
  revoked
  $ safeconduct token introspect t
  not active`,
		Args: cobra.MaximumNArgs(1),
	}
	asJSON, open := jsonFlag(c), askerFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := readToken(c, args)
		if err != nil {
			return err
		}
		who, hint, err := open()
		if err != nil {
			return err
		}
		if err := who.Revoke(c.Context(), text); err != nil {
			return hint(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), map[string]bool{"revoked": true})
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), "revoked")
		return err
	}
	return c
}
