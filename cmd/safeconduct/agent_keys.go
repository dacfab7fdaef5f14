package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

// An agentKey is a credential of an agent as the API shows it.
type agentKey struct {
	Agent     authz.AgentID `json:"agent"`
	ID        string        `json:"id"`
	Kind      string        `json:"kind"`
	State     string        `json:"state"`
	JWK       any           `json:"jwk,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at,omitzero"`
	RevokedAt time.Time     `json:"revoked_at,omitzero"`
	Replaces  string        `json:"replaces,omitempty"`
	Why       string        `json:"why"`
	Since     int64         `json:"since"`
	AsOf      int64         `json:"as_of"`
}

// agentKeys are the credentials of one agent.
type agentKeys struct {
	Items     []agentKey `json:"items"`
	Enrolment *struct {
		CreatedAt time.Time `json:"created_at"`
		ExpiresAt time.Time `json:"expires_at"`
		AsOf      int64     `json:"as_of"`
	} `json:"enrolment,omitempty"`
	Registration *struct {
		CreatedAt time.Time `json:"created_at"`
		AsOf      int64     `json:"as_of"`
	} `json:"registration,omitempty"`
}

func newAgentKeys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "See and revoke what agents authenticate with",
		Long: `See and revoke what agents authenticate with: the public keys that they registered, and linked
documents that name keys. ` + "`safeconduct agent enroll`" + ` lets an agent register a key; the agent
replaces it by itself before it expires, and the old one goes on for a while.

A key is named by its RFC 7638 thumbprint. It belongs to one agent for ever: an expired or revoked
key stays in the list, and nobody can register it again.`,
		Example: `  $ safeconduct agent keys revoke orders-7 --all --why "laptop stolen"
  orders-7 has no active key any more`,
	}
	c.AddCommand(newAgentKeysList(), newAgentKeysRevoke(), newAgentKeysLink(), newAgentKeysDue())
	return c
}

func newAgentKeysList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list AGENT",
		Short: "List the keys of an agent, also those of the past",
		Long: `List what an agent authenticates with, and did in the past, the oldest first. On standard error it
says whether an enrolment token was made that is not used yet, and whether the agent holds a token
of OAuth client registration, with which it replaces its key.

With --json each key is shown whole: the public key itself as a JWK, the key that it replaced, why
it was changed last, and the entries of the log that say so (since, as_of).`,
		Example: `  $ safeconduct agent keys list orders-7
  KEY                                          KIND  STATE    CREATED               EXPIRES
  NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs  key   revoked  2026-11-20 16:00:00Z  2027-02-18 16:00:00Z
  kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k  key   active   2026-11-23 16:00:00Z  2027-02-21 16:00:00Z`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var all agentKeys
		if err := api.call(c.Context(), "GET", "/v1/agents/"+segment(args[0])+"/keys", nil, &all); err != nil {
			return hintAgent(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all)
		}
		if e := all.Enrolment; e != nil {
			fmt.Fprintf(c.ErrOrStderr(), "an enrolment token made at %s can be used until %s\n", when(e.CreatedAt), when(e.ExpiresAt))
		}
		if g := all.Registration; g != nil {
			fmt.Fprintf(c.ErrOrStderr(), "a registration access token made at %s can replace its key\n", when(g.CreatedAt))
		}
		t := newTable("KEY", "KIND", "STATE", "CREATED", "EXPIRES")
		for _, k := range all.Items {
			t.add(clip(k.ID, 80), k.Kind, k.State, when(k.CreatedAt), when(k.ExpiresAt))
		}
		return t.print(c.OutOrStdout(), "The agent has no key; `safeconduct agent enroll` lets it register one.")
	}
	return c
}

func newAgentKeysRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke AGENT (KEY | --all)",
		Short: "Revoke a key of an agent, or all at once",
		Long: `Revoke one key or linked document of an agent, or with --all everything that is active, an enrolment
token that is not used yet, and a registration access token. When the command returns, this replica
refuses the key; the others do as soon as they have read the entry.

There is no way back: a revoked key cannot be registered again. The agent itself stays as it is; it
can be enrolled again, and ` + "`safeconduct agent suspend`" + ` stops it.`,
		Example: `  $ safeconduct agent keys revoke orders-7 NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs \
        --why "was in a public repository"
  orders-7 has 1 active key left`,
		Args: cobra.RangeArgs(1, 2),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	everything := c.Flags().Bool("all", false, "revoke every active key, and withdraw the tokens by which keys are registered")
	c.RunE = func(c *cobra.Command, args []string) error {
		in := map[string]any{"why": *why}
		switch {
		case len(args) == 2 && !*everything:
			in["key"] = args[1]
		case len(args) == 1 && *everything:
			in["all"] = true
		default:
			return usageError{hinted(errors.New("say which key is revoked, or --all: exactly one of the two"),
				"`safeconduct agent keys list %s` shows the keys", args[0])}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var left agentKeys
		if err := api.call(c.Context(), "POST", "/v1/agents/"+segment(args[0])+"/keys/revoke", in, &left); err != nil {
			if notFound(err) && len(args) == 2 {
				return hinted(err, "`safeconduct agent keys list %s` shows the keys", args[0])
			}
			return hintAgent(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), left)
		}
		n := 0
		for _, k := range left.Items {
			if k.State == "active" {
				n++
			}
		}
		text := "has no active key any more"
		switch {
		case n == 1:
			text = "has 1 active key left"
		case n > 1:
			text = fmt.Sprintf("has %d active keys left", n)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s %s\n", clip(args[0], 128), text)
		return err
	}
	return c
}

func newAgentKeysLink() *cobra.Command {
	c := &cobra.Command{
		Use:   "link AGENT URL",
		Short: "Let an agent authenticate with the keys that a document on the web names",
		Long: `Link a client ID metadata document to an agent. The https URL of the document is then a client_id of
the agent, and the keys that the document names are its keys: they change there, not here.

Whoever can write the document can act as the agent, and so can whoever holds the domain. A document
belongs to one agent for ever; revoke it with ` + "`safeconduct agent keys revoke AGENT URL`" + `.`,
		Example: `  $ safeconduct agent keys link orders-7 https://agents.example.com/orders-7.json --why "keys in our KMS"
  orders-7 authenticates with the keys of https://agents.example.com/orders-7.json`,
		Args: cobra.ExactArgs(2),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var k agentKey
		if err := api.call(c.Context(), "POST", "/v1/agents/"+segment(args[0])+"/document", map[string]string{"url": args[1], "why": *why}, &k); err != nil {
			return hintAgent(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), k)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s authenticates with the keys of %s\n", k.Agent, clip(k.ID, 200))
		return err
	}
	return c
}

func newAgentKeysDue() *cobra.Command {
	c := &cobra.Command{
		Use:   "due",
		Short: "List the keys of all agents that expire soon",
		Long: `List the keys of all agents that expire within --days, the soonest first. A key that was replaced
already is left out, and so are those of retired agents. The service warns of the same keys in its
own log, once a day.

An agent replaces its key by itself. One that is in this list for long has lost the way to the
service, or does not do it: let it enroll again before its key expires.`,
		Example: `  $ safeconduct agent keys due --days 7
  AGENT     KEY                                          EXPIRES
  orders-7  kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k  2026-11-29 16:00:00Z`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	days := c.Flags().Int("days", 14, "keys that expire within `N` days, 1 to 3650")
	limit := c.Flags().Int("limit", 100, "at most `N` keys, 1 to 1000")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *days < 1 || *limit < 1 {
			return usageError{hinted(errors.New("--days and --limit are at least 1"), "see `%s --help`", c.CommandPath())}
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var due struct {
			Items []agentKey `json:"items"`
			Total int        `json:"total"`
		}
		if err := api.call(c.Context(), "GET", query("/v1/keys/due", "within_days", strconv.Itoa(*days), "limit", strconv.Itoa(*limit)), nil, &due); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), due)
		}
		t := newTable("AGENT", "KEY", "EXPIRES")
		for _, k := range due.Items {
			t.add(clip(string(k.Agent), 60), clip(k.ID, 80), when(k.ExpiresAt))
		}
		if err := t.print(c.OutOrStdout(), fmt.Sprintf("No key expires within %d days.", *days)); err != nil {
			return err
		}
		if n := due.Total - len(due.Items); n > 0 {
			fmt.Fprintf(c.ErrOrStderr(), "and %d more; see --limit\n", n)
		}
		return nil
	}
	return c
}

// hintAgent adds to an error that an agent is not known how to find those that are.
func hintAgent(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct agent list` shows the registered ones")
	}
	return err
}
