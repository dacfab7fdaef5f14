package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// An indicator is a threat indicator as the API shows it.
type indicator struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Value     string    `json:"value"`
	Severity  string    `json:"severity"`
	Source    string    `json:"source,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
	AsOf      int64     `json:"as_of"`
}

var indicatorTypes = []string{"ip", "domain", "agent", "resource", "sha256"}

func newIndicator() *cobra.Command {
	c := &cobra.Command{
		Use:   "indicator",
		Short: "Keep threat indicators, which raise the risk of what they match",
		Long: `Keep threat indicators: addresses, domains, agents, resources and digests that somebody warns of.
While an indicator holds it adds to the risk of every request that it matches, and policies can read
which did.

Every indicator ends by itself, at a time that whoever puts it must say.`,
		Example: `  $ safeconduct indicator put feed-1 --type ip --value 203.0.113.0/24 --severity high --for 720h \
        --source "the feed" --why "import of 2026-11-23"
  feed-1 (high ip 203.0.113.0/24) holds until 2026-12-23 16:00:00Z`,
	}
	c.AddCommand(newIndicatorPut(), newClear("indicator", "/v1/indicators/", "feed-1", "no longer in the feed"), newIndicatorList())
	return c
}

func newIndicatorPut() *cobra.Command {
	c := &cobra.Command{
		Use:   "put ID",
		Short: "Put a threat indicator, or change it",
		Long: `Put a threat indicator, or change the one of that id. An ip is an address or a range of them and
matches the agent's address as the enforcement point saw it; a domain matches resources at it or
below it; agent, resource and sha256 match the id of the agent or the resource.

How many points a severity adds to the risk is the catalog's.`,
		Example: `  $ safeconduct indicator put phish-3 --type domain --value example.net --severity critical \
        --for 168h --why "reported by the team"
  phish-3 (critical domain example.net) holds until 2026-11-30 16:00:00Z`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	severity, ends := severityFlag(c), lifeFlags(c)
	typ := c.Flags().String("type", "", "`TYPE`: ip, domain, agent, resource or sha256 (required)")
	value := c.Flags().String("value", "", "`VALUE` that is warned of (required)")
	source := c.Flags().String("source", "", "`NAME` of the feed or the person it is from")
	_ = c.MarkFlagRequired("type")
	_ = c.MarkFlagRequired("value")
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(indicatorTypes, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, args []string) error {
		at, err := ends()
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		in := struct {
			Type      string    `json:"type"`
			Value     string    `json:"value"`
			Severity  string    `json:"severity"`
			Source    string    `json:"source,omitempty"`
			ExpiresAt time.Time `json:"expires_at"`
			Why       string    `json:"why"`
		}{*typ, *value, *severity, *source, at, *why}
		var i indicator
		if err := api.call(c.Context(), "PUT", "/v1/indicators/"+segment(args[0]), in, &i); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), i)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s %s %s) holds until %s\n", i.ID, i.Severity, i.Type, clip(i.Value, 80), when(i.ExpiresAt))
		return err
	}
	return c
}

func newIndicatorList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the threat indicators that hold",
		Long: `List the threat indicators that hold, by id, all of them or those of one type.

The list is read page by page; --limit ends it earlier.`,
		Example: `  $ safeconduct indicator list --type domain
  ID       TYPE    VALUE        SEVERITY  ENDS                  SOURCE
  phish-3  domain  example.net  critical  2026-11-30 16:00:00Z`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	typ := c.Flags().String("type", "", "only indicators of this `TYPE`")
	limit := c.Flags().Int("limit", 0, "at most `N` indicators (0: all)")
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(indicatorTypes, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		all := []indicator{}
		for after := ""; ; {
			var page list[indicator]
			if err := api.call(c.Context(), "GET", query("/v1/indicators", "type", *typ, "after", after), nil, &page); err != nil {
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
		t := newTable("ID", "TYPE", "VALUE", "SEVERITY", "ENDS", "SOURCE")
		for _, i := range all {
			t.add(clip(i.ID, 40), i.Type, clip(i.Value, 60), i.Severity, when(i.ExpiresAt), clip(i.Source, 30))
		}
		return t.print(c.OutOrStdout(), "There are no such indicators.")
	}
	return c
}
