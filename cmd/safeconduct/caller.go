package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The roles of tokens, and those that persons can have as well: these begin the list.
var (
	roleNames       = []string{"administrator", "auditor", "operator", "author", "viewer", "approver", "pep", "edge"}
	personRoleNames = roleNames[:6]
)

// listed returns names as a sentence has them: a, b or c.
func listed(names []string, and string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " " + and + " " + names[last]
}

// A callerInfo is a caller as the API shows it.
type callerInfo struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	CreatedAt time.Time `json:"created_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	AsOf      int64     `json:"as_of"`
	Token     string    `json:"token,omitempty"` // only of a new one
}

func newCaller() *cobra.Command {
	c := &cobra.Command{
		Use:   "caller",
		Short: "Say who may call the service",
		Long: `Make and revoke the bearer tokens of those who call the service: people, programs and enforcement
points. Each has one role: an administrator may do everything; an auditor reads everything and changes
nothing; a viewer reads what is needed to watch; an operator is a viewer who stops and restores agents,
sets trust, judges findings, raises and clears alerts; an author is a viewer who checks, publishes and
rolls back policies; a pep, an enforcement point, asks for decisions and says what it saw; an edge is a
pep that decides by itself and uploads what it decided; an approver answers asks as the person whose id
is its name (see ` + "`safeconduct person`" + `).

The service keeps only a hash of a token. It is shown once, when it is made.`,
		Example: `  $ safeconduct caller create gateway-1 --role pep --why "new gateway" > gateway-1.token`,
	}
	c.AddCommand(newCallerList(), newCallerCreate(), newCallerRevoke())
	return c
}

func newCallerList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List who may call",
		Long: `List who may call the service, and who was revoked.

The tokens themselves cannot be shown again: the service does not have them.`,
		Example: `  $ safeconduct caller list
  ID          NAME   ROLE           CREATED               REVOKED
  c_3n5q0r1t  admin  administrator  2026-11-23 16:00:00Z  -`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var all list[callerInfo]
		if err := api.call(c.Context(), "GET", "/v1/callers", nil, &all); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all.Items)
		}
		t := newTable("ID", "NAME", "ROLE", "CREATED", "REVOKED")
		for _, k := range all.Items {
			t.add(k.ID, clip(k.Name, 40), k.Role, when(k.CreatedAt), when(k.RevokedAt))
		}
		return t.print(c.OutOrStdout(), "Nobody may call.")
	}
	return c
}

func newCallerCreate() *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME --role ROLE",
		Short: "Make a caller and print its token, once",
		Long: `Make a caller and print its token on standard output, alone in its line, so that it can be sent to a
file. It is not shown again.

A name is unique in its role while it is not revoked.`,
		Example: `  $ safeconduct caller create auditors --role auditor --why "yearly audit" > auditors.token
  made auditors (auditor), id c_3n5q0r1t; the token is shown only now`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	role := c.Flags().String("role", "", "`ROLE`: "+listed(roleNames, "or")+" (required)")
	_ = c.MarkFlagRequired("role")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roleNames, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var k callerInfo
		if err := api.call(c.Context(), "POST", "/v1/callers", map[string]string{"name": args[0], "role": *role, "why": *why}, &k); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), k)
		}
		fmt.Fprintf(c.ErrOrStderr(), "made %s (%s), id %s; the token is shown only now\n", k.Name, k.Role, k.ID)
		_, err = fmt.Fprintln(c.OutOrStdout(), k.Token)
		return err
	}
	return c
}

func newCallerRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a caller's token",
		Long: `Revoke a caller's token. When the command returns, this replica refuses the token; the others do as
soon as they have read the entry.

The last administrator cannot be revoked.`,
		Example: `  $ safeconduct caller revoke c_3n5q0r1t --why "gateway taken down"
  gateway-1 (pep) is revoked`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var k callerInfo
		if err := api.call(c.Context(), "POST", "/v1/callers/"+segment(args[0])+"/revoke", map[string]string{"why": *why}, &k); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct caller list` shows the ids")
			}
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), k)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s) is revoked\n", k.Name, k.Role)
		return err
	}
	return c
}
