package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

func newAgent() *cobra.Command {
	c := &cobra.Command{
		Use:   "agent",
		Short: "Register agents, and stop and restore them",
		Long: `Register agents, and stop and restore them.

An agent is a software principal with an owner, a purpose (its business function), a version and the
capabilities it was granted. Only an active agent may act. A suspended or quarantined one can be
made active again; a retired one never.

Every change is recorded with who made it and why, and every replica of the service knows it a
moment later.`,
		Example: `  $ safeconduct agent suspend banking.gpt-4o-2024-05-13 --why "odd transfers since 14:00"
  banking.gpt-4o-2024-05-13 is suspended (revision 2)`,
	}
	c.AddCommand(newAgentList(), newAgentShow(), newAgentPut(), newAgentEnroll(), newAgentKeys(), newAgentTrust(), newAgentSetTrust(), newAgentUse(), newAgentSessions(), newAgentSession(), newAgentDelegation(),
		newAgentState("suspend", authz.AgentSuspended, "Stop an agent until it is made active again",
			"Stop an agent. From the moment the command returns, every request of the agent is refused with\nthe code agent_inactive.\n\nA suspended agent keeps its capabilities, and `agent activate` restores it."),
		newAgentState("quarantine", authz.AgentQuarantined, "Stop an agent because of its conduct",
			"Stop an agent because of its conduct. It is refused like a suspended one; the state says that\nsomebody should look at what it did.\n\n`agent activate` restores it."),
		newAgentState("activate", authz.AgentActive, "Let an agent act again",
			"Let a suspended or quarantined agent act again.\n\nA retired agent stays retired: register a new one."),
		newAgentState("retire", authz.AgentRetired, "Stop an agent for good",
			"Stop an agent for good. Its record stays, its id is not used again.\n\nThere is no way back; `agent suspend` is the one with a way back."))
	return c
}

func newAgentList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the registered agents",
		Long: `List the registered agents by id, all of them or those that the flags select.

The list is read page by page; --limit ends it earlier.`,
		Example: `  $ safeconduct agent list --purpose travel-booking --limit 2
  ID                                 STATE   PURPOSE         OWNER        CAPABILITIES
  travel.claude-3-5-sonnet-20241022  active  travel-booking  travel-desk  6
  travel.claude-3-haiku-20240307     active  travel-booking  travel-desk  6`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	state := c.Flags().String("state", "", "only agents in this `STATE`: active, suspended, quarantined, retired")
	owner := c.Flags().String("owner", "", "only agents of this `OWNER`")
	purpose := c.Flags().String("purpose", "", "only agents with this `PURPOSE`")
	capability := c.Flags().String("capability", "", "only agents that are granted this `CAPABILITY`")
	limit := c.Flags().Int("limit", 0, "at most `N` agents (0: all)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		all := []authz.Agent{}
		for after := ""; ; {
			var page list[authz.Agent]
			if err := api.call(c.Context(), "GET", query("/v1/agents", "state", *state, "owner", *owner, "purpose", *purpose, "capability", *capability, "after", after), nil, &page); err != nil {
				return err
			}
			all = append(all, page.Items...)
			if *limit > 0 && len(all) >= *limit {
				all = all[:*limit]
				break
			}
			if page.Next == "" {
				break
			}
			after = page.Next
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all)
		}
		t := newTable("ID", "STATE", "PURPOSE", "OWNER", "CAPABILITIES")
		for _, a := range all {
			t.add(clip(string(a.ID), 60), string(a.State), clip(a.Purpose, 30), clip(a.Owner, 30), fmt.Sprint(len(a.Capabilities)))
		}
		return t.print(c.OutOrStdout(), "There are no such agents.")
	}
	return c
}

func newAgentShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show AGENT",
		Short: "Show one agent",
		Long: `Show what is registered of one agent.

The revision counts the changes; AS OF is the log entry of the last one, which
` + "`safeconduct audit show`" + ` prints with who made it and why.`,
		Example: `  $ safeconduct agent show travel.gpt-4o-2024-05-13
  id            travel.gpt-4o-2024-05-13
  state         active
  ...`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var a authz.Agent
		if err := api.call(c.Context(), "GET", "/v1/agents/"+segment(args[0]), nil, &a); err != nil {
			return hintAgent(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), a)
		}
		return printAgent(c.OutOrStdout(), &a)
	}
	return c
}

func printAgent(w io.Writer, a *authz.Agent) error {
	state := string(a.State)
	if a.StateReason != "" {
		state += " (" + clip(a.StateReason, 200) + ")"
	}
	lines := [][2]string{
		{"id", string(a.ID)}, {"state", state}, {"owner", a.Owner}, {"purpose", a.Purpose}, {"version", a.Version},
		{"creator", a.Creator}, {"capabilities", strings.Join(a.Capabilities, ", ")},
	}
	for _, k := range slices.Sorted(maps.Keys(a.Labels)) {
		lines = append(lines, [2]string{"label " + k, a.Labels[k]})
	}
	lines = append(lines, [2]string{"created", when(a.CreatedAt)}, [2]string{"updated", when(a.UpdatedAt)},
		[2]string{"revision", fmt.Sprint(a.Revision)}, [2]string{"as of", fmt.Sprintf("entry %d", a.AsOf)})
	return printPairs(w, lines)
}

func newAgentPut() *cobra.Command {
	c := &cobra.Command{
		Use:   "put AGENT",
		Short: "Register an agent, or change it",
		Long: `Register an agent, or change a registered one. What the flags leave out stays as it is.

The whole record is written anew, on the condition that nobody has changed it since it was read; if
somebody has, nothing is changed and the command fails. A new version of a model should be a new
agent, since what an agent may do depends on how it has behaved.`,
		Example: `  $ safeconduct agent put orders-7 --owner shop --purpose order-processing --version 7 \
        --capability read-orders --capability ship-orders --why "new order assistant"
  orders-7 is active (revision 1)`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	what := newAgentFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		path := "/v1/agents/" + segment(args[0])
		var have authz.Agent
		if err := api.call(c.Context(), "GET", path, nil, &have); err != nil && !notFound(err) {
			return err
		}
		a, err := what.put(c.Context(), api, path, have, *why)
		if err != nil {
			return err
		}
		return sayAgent(c, a, *asJSON)
	}
	return c
}

// agentFlags are the flags that say what is registered of an agent.
type agentFlags struct {
	cmd          *cobra.Command
	capabilities *[]string
	labels       *map[string]string
}

func newAgentFlags(c *cobra.Command) *agentFlags {
	f := c.Flags()
	f.String("owner", "", "who answers for the agent")
	f.String("purpose", "", "its business function")
	f.String("version", "", "version of the software or model")
	f.String("creator", "", "who made it (default: the caller)")
	return &agentFlags{
		cmd:          c,
		capabilities: f.StringSlice("capability", nil, "`CAPABILITY` that is granted; repeat it, or separate several by commas"),
		labels:       f.StringToString("label", nil, "label `NAME=VALUE`; may be repeated"),
	}
}

// changed reports whether any of the flags is given.
func (f *agentFlags) changed() bool {
	return slices.ContainsFunc([]string{"owner", "purpose", "version", "creator", "capability", "label"}, f.cmd.Flags().Changed)
}

// put registers an agent as the flags say; what they leave out stays as have has it.
func (f *agentFlags) put(ctx context.Context, api *remote, path string, have authz.Agent, why string) (*authz.Agent, error) {
	flags := f.cmd.Flags()
	for flag, field := range map[string]*string{"owner": &have.Owner, "purpose": &have.Purpose, "version": &have.Version, "creator": &have.Creator} {
		if flags.Changed(flag) {
			*field, _ = flags.GetString(flag)
		}
	}
	if flags.Changed("capability") {
		have.Capabilities = *f.capabilities
	}
	if flags.Changed("label") {
		have.Labels = *f.labels
	}
	in := struct {
		Owner        string            `json:"owner"`
		Purpose      string            `json:"purpose"`
		Version      string            `json:"version"`
		Creator      string            `json:"creator,omitempty"`
		Capabilities []string          `json:"capabilities,omitempty"`
		Labels       map[string]string `json:"labels,omitempty"`
		IfRevision   int64             `json:"if_revision"`
		Why          string            `json:"why"`
	}{have.Owner, have.Purpose, have.Version, have.Creator, have.Capabilities, have.Labels, have.Revision, why}
	var a authz.Agent
	if err := api.call(ctx, "PUT", path, in, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// sayAgent prints what became of an agent.
func sayAgent(c *cobra.Command, a *authz.Agent, asJSON bool) error {
	if asJSON {
		return writeJSON(c.OutOrStdout(), a)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s is %s (revision %d)\n", a.ID, a.State, a.Revision)
	return err
}

func newAgentState(verb string, state authz.AgentState, short, long string) *cobra.Command {
	c := &cobra.Command{
		Use:   verb + " AGENT",
		Short: short,
		Long:  long,
		Example: fmt.Sprintf("  $ safeconduct agent %s travel.gpt-4o-2024-05-13 --why \"as agreed with the owner\"\n  travel.gpt-4o-2024-05-13 is %s (revision 2)",
			verb, state),
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var a authz.Agent
		in := map[string]any{"state": state, "why": *why}
		if err := api.call(c.Context(), "POST", "/v1/agents/"+segment(args[0])+"/state", in, &a); err != nil {
			return hintAgent(err)
		}
		return sayAgent(c, &a, *asJSON)
	}
	return c
}

// printPairs prints names and values, one a line.
func printPairs(w io.Writer, pairs [][2]string) error {
	width := 0
	for _, p := range pairs {
		width = max(width, len(p[0]))
	}
	for _, p := range pairs {
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, p[0], clip(p[1], 400)); err != nil {
			return err
		}
	}
	return nil
}
