package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// A serviceStatus is the state of a service as the API shows it.
type serviceStatus struct {
	Version           string   `json:"version"`
	Ready             bool     `json:"ready"`
	Reasons           []string `json:"reasons"`
	Store             string   `json:"store"`
	UptimeS           int64    `json:"uptime_seconds"`
	Policies          int64    `json:"policies"`
	Agents            int      `json:"agents"`
	Head              int64    `json:"head"`
	Indexed           int64    `json:"indexed"`
	Checkpoint        int64    `json:"checkpoint"`
	EnforcementPoints int      `json:"enforcement_points"`
	Embedded          int      `json:"enforcement_points_embedded"`
	FailOpen          []string `json:"fail_open"`
	LogOrigin         string   `json:"log_origin"`
	LogVerifier       string   `json:"log_verifier"`
}

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how a service is",
		Long: `Say how a service is: whether it can decide and if not why, the active policies, what enforces its
decisions, and how far its log and the log's index and signatures have come. Routes of enforcement points
that let acts through when no decision can be had are told one by one.

The exit status is 1 if the service cannot decide.`,
		Example: `  $ safeconduct status
  service      http://127.0.0.1:8180, (devel), up 3m12s
  ready        yes
  store        sqlite
  policies     version 1
  agents       60
  enforced by  3, 1 of them deciding by themselves
  fails open   pep:gate/http-1 health
  log          1719 entries, 1719 indexed, 63 batches signed
  public key   safeconduct.local/log+2f1c...`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var s serviceStatus
		if err := api.call(c.Context(), "GET", "/v1/status", nil, &s); err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(c.OutOrStdout(), s)
		} else {
			err = printPairs(c.OutOrStdout(), s.lines(api.URL()))
		}
		if err == nil && !s.Ready {
			err = exit(1)
		}
		return err
	}
	return c
}

func (s *serviceStatus) lines(url string) [][2]string {
	lines := [][2]string{{"service", fmt.Sprintf("%s, %s, up %s", url, s.Version, time.Duration(s.UptimeS)*time.Second)}}
	if s.Ready {
		lines = append(lines, [2]string{"ready", "yes"})
	}
	for _, r := range s.Reasons {
		lines = append(lines, [2]string{"not ready", r})
	}
	policies := "none"
	if s.Policies > 0 {
		policies = fmt.Sprintf("version %d", s.Policies)
	}
	points := fmt.Sprint(s.EnforcementPoints)
	if s.Embedded > 0 {
		points += fmt.Sprintf(", %d of them deciding by themselves", s.Embedded)
	}
	lines = append(lines,
		[2]string{"store", s.Store},
		[2]string{"policies", policies},
		[2]string{"agents", fmt.Sprint(s.Agents)},
		[2]string{"enforced by", points})
	for _, route := range s.FailOpen {
		lines = append(lines, [2]string{"fails open", clip(route, 120)})
	}
	return append(lines,
		[2]string{"log", fmt.Sprintf("%d entries, %d indexed, %d batches signed", s.Head, s.Indexed, s.Checkpoint)},
		[2]string{"public key", s.LogVerifier})
}
