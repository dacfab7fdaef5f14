package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/client"
)

func newEnforcement() *cobra.Command {
	c := &cobra.Command{
		Use:   "enforcement",
		Short: "See what enforces decisions, and what does not",
		Long: `See which enforcement points have described themselves to the service: gateways and programs that
stand before tools and APIs, and do nothing that was not decided.

It is their own word. An enforcement point that says nothing is not shown.`,
		Example: `  $ safeconduct enforcement list
  $ safeconduct finding list --kind enforcement`,
	}
	c.AddCommand(newEnforcementList())
	return c
}

func newEnforcementList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List enforcement points",
		Long: `List the enforcement points that have described themselves, by the caller whose token they have, and
what they call themselves.

DECIDES says where decisions are made: by the service, or by the point itself. Below the table stand
routes that let acts through when no decision can be had, acts that were let through so, and tools that
are not the ones that were pinned.`,
		Example: `  $ safeconduct enforcement list
  CALLER     GATEWAY  VERSION  DOORS  DECIDES     HELLO                 LAST
  edge:pay   pay-1    1.0      http   itself      2026-11-27 09:53:54Z  2026-11-27 09:53:54Z
  pep:tools  mcp-1    1.0      mcp    by service  2026-11-27 09:53:54Z  2026-11-27 09:55:02Z

  pep:tools/mcp-1: route health lets acts through when no decision can be had
  pep:tools/mcp-1: tool read_file of files is not the one that was pinned, since 2026-11-27 09:55:02Z`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		points := []client.EnforcementPoint{}
		for after := ""; ; {
			var page list[client.EnforcementPoint]
			if err := api.call(c.Context(), "GET", query("/v1/enforcement/points", "after", after), nil, &page); err != nil {
				return err
			}
			points = append(points, page.Items...)
			if after = page.Next; after == "" {
				break
			}
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), points)
		}
		t := newTable("CALLER", "GATEWAY", "VERSION", "DOORS", "DECIDES", "HELLO", "LAST")
		for i := range points {
			p := &points[i]
			decides := "by service"
			if p.Embedded {
				decides = "itself"
			}
			last := when(p.LastAt)
			if p.Stopped {
				last += ", stopped"
			}
			t.add(clip(p.Caller, 60), clip(p.Gateway, 60), clip(p.Version, 30), clip(strings.Join(p.Doors, ","), 30), decides, when(p.HelloAt), last)
		}
		if err := t.print(c.OutOrStdout(), "No enforcement point has described itself."); err != nil {
			return err
		}
		holes := holesOf(points)
		if len(holes) > 0 {
			_, err = fmt.Fprintf(c.OutOrStdout(), "\n%s\n", strings.Join(holes, "\n"))
		}
		return err
	}
	return c
}

// holesOf returns a line for everything that somebody should look at.
func holesOf(points []client.EnforcementPoint) (lines []string) {
	for i := range points {
		p := &points[i]
		name := clip(p.Caller+"/"+p.Gateway, 120)
		for _, r := range p.FailOpen {
			lines = append(lines, fmt.Sprintf("%s: route %s lets acts through when no decision can be had", name, clip(r.Name, 60)))
		}
		if p.Allowed > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d acts were let through that nobody had decided, lately at %s", name, p.Allowed, when(p.AllowedAt)))
		}
		for _, tool := range p.Tools {
			lines = append(lines, fmt.Sprintf("%s: tool %s of %s is not the one that was pinned, since %s", name, clip(tool.Tool, 60), clip(tool.Server, 60), when(tool.Since)))
		}
	}
	return lines
}
