package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

func newFindingWatch() *cobra.Command {
	c := &cobra.Command{
		Use:   "watch",
		Short: "Follow findings and trust as they change",
		Long: `Follow what changes in the conduct of agents as it happens, a line each: findings that are new, repeated or
judged, levels of trust that change, agents that are quarantined. With --json each line is one JSON object,
as the stream of the API has it.

It goes on until it is interrupted, or the service ends the stream because it stops, or because this end
does not keep up; then the exit status is 1. What was missed is not told again: ask
` + "`safeconduct finding list`" + `. --count ends it after so many lines.`,
		Example: `  $ safeconduct finding watch
  following from entry 71
  09:53:54Z  finding     orders-7  high escalation.over_reach f73.0: No capability of the agent covers ...
  09:53:54Z  trust       orders-7  write: medium -> low`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	agent := f.String("agent", "", "only what concerns this `AGENT`")
	typ := f.String("type", "", "only signals of this `TYPE`: finding, trust, quarantine")
	count := f.Int("count", 0, "end after `N` signals (0: never)")
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"finding", "trust", "quarantine"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		enough := errors.New("enough")
		seen := 0
		err = api.Stream(c.Context(), query("/v1/stream", "agent", *agent, "type", *typ), func(e client.Event) error {
			if e.Type == "start" {
				_, err := fmt.Fprintf(c.ErrOrStderr(), "following from entry %s\n", clip(e.ID, 20))
				return err
			}
			if err := printSignal(c.OutOrStdout(), e, *asJSON); err != nil {
				return err
			}
			if seen++; seen == *count {
				return enough
			}
			return nil
		})
		if err == enough || c.Context().Err() != nil { // asked to end
			return nil
		}
		return api.hinted(err)
	}
	return c
}

// printSignal prints one line.
func printSignal(w io.Writer, e client.Event, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(w, "%s\n", e.Data)
		return err
	}
	var s monitor.Signal
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return fmt.Errorf("reading a signal: %w", err)
	}
	about := string(s.Agent)
	what := fmt.Sprintf("%s: %s -> %s", s.Class, s.From, s.To)
	switch {
	case s.Finding != nil:
		x := s.Finding
		if x.Person != "" {
			about = aboutOf(x)
		}
		what = fmt.Sprintf("%s %s %s: %s", x.Severity, clip(string(x.Kind), 40), x.ID, clip(x.Sentence, 200))
		if x.State != "open" {
			what = fmt.Sprintf("%s by %s: ", x.State, clip(x.JudgedBy, 40)) + what
		}
	case s.Type == monitor.SignalQuarantine && s.To == "yes":
		what = "quarantined until a person restores it"
	case s.Type == monitor.SignalQuarantine:
		what = "restored"
	}
	_, err := fmt.Fprintf(w, "%s  %-10s  %s  %s\n", clock(s.At), clip(s.Type, 20), clip(about, 60), what)
	return err
}
