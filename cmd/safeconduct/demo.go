package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/examples/agentdojo"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/demo"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store"
)

func newDemo() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch the service decide about recorded agents",
		Long: `Start the service in a temporary directory with an example organisation, and play to it 360 recorded
traces of 15 models at the tasks of four suites of AgentDojo: banking, a chat team, travel, office
work. In 200 of them somebody had hidden instructions in what the agent read. Every tool call is a
question over HTTP, with what an enforcement point can see of it; whether the trace was attacked
counts for the score alone.

The traces were recorded without Safeconduct. After a call that is denied or held, a trace goes on
as it was recorded, as if a person had agreed. At the end the log is read again and every hash in it
is computed anew. The service then stays until it is interrupted; with --once it does not.

A link that is printed at the beginning signs in to the console, where all of it can be watched, and
so does another one at the end: each once, within ten minutes. With --once there is none.`,
		Example: `  $ safeconduct demo --once
  calls decided                         1656   in 360 traces of recorded agents
    allowed                             1389
    held for a person's approval         245
  ...
             attacks stopped     benign traces       tasks done under      questions to a person
             that had succeeded  undisturbed         attack, undisturbed   per benign trace
  ...
  all        114 of 120   95%    121 of 160   76%     35 of  63   56%      0.29
  ...`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	once := c.Flags().Bool("once", false, "stop the service when the log is verified")
	listen := c.Flags().String("listen", "127.0.0.1:0", "`ADDRESS` to listen on; port 0 takes a free one")
	keep := c.Flags().String("data", "", "empty `DIRECTORY` for the data, which is kept (default: a temporary one)")
	_ = c.MarkFlagDirname("data")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir := *keep
		if dir == "" {
			tmp, err := os.MkdirTemp("", "safeconduct-demo-*")
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			dir = tmp
		} else if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			return usageError{fmt.Errorf("--data %s is not empty", dir)}
		}
		d := demonstration{out: c.OutOrStdout(), talk: c.ErrOrStderr(), json: *asJSON, once: *once}
		return d.run(c.Context(), dir, *listen)
	}
	return c
}

// A demonstration is one run of demo.
type demonstration struct {
	out, talk  io.Writer
	json, once bool
	gateway    net.Listener // of the gateway that is shown
}

// A demoReport is what a demonstration has found.
type demoReport struct {
	*demo.Score
	Conduct   *conductReport  `json:"conduct"`
	Asking    *askingReport   `json:"asking"`
	Passports *passportReport `json:"passports"`
	Gateway   *gatewayReport  `json:"gateway"`
	Log       struct {
		Entries int64   `json:"entries"`
		Batches int64   `json:"batches"`
		Signed  int64   `json:"signed_batches"`
		Origin  string  `json:"origin"`
		OK      bool    `json:"ok"`
		Seconds float64 `json:"seconds"`
	} `json:"log"`
}

func (d *demonstration) run(ctx context.Context, dir, listen string) error {
	org := filepath.Join(dir, "organisation")
	if err := os.CopyFS(org, agentdojo.Files); err != nil {
		return fmt.Errorf("writing the example organisation: %w", err)
	}
	cfg, err := server.Load(filepath.Join(org, "safeconduct.yaml"))
	if err != nil {
		return err
	}
	cfg.Data, cfg.Log.Key, cfg.Listen = filepath.Join(dir, "data"), "", listen
	if d.gateway, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listening for the gateway: %w", err)
	}
	defer d.gateway.Close()
	cfg.OAuth.Audiences = append(cfg.OAuth.Audiences, demoResource(d.gateway))
	s, err := server.New(ctx, cfg, buildVersion().String(), slog.New(slog.DiscardHandler))
	if err != nil {
		return startHint(err)
	}
	serveCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(serveCtx) }()
	err = d.play(ctx, s, done, cfg.Data)
	if err != nil || d.once {
		stop()
		return errors.Join(err, <-done)
	}
	link, err := d.invite(ctx, s)
	if err != nil {
		stop()
		return errors.Join(err, <-done)
	}
	t := s.Tokens()
	fmt.Fprintf(d.talk, `
The service is still there, at %s. Its console, for ten minutes and one sign-in:
  `+link+`
Try, in another terminal:
  export SAFECONDUCT_URL=%[1]s SAFECONDUCT_ADMIN_TOKEN=%s SAFECONDUCT_PEP_TOKEN=%s
  safeconduct agent list --purpose travel-booking
  safeconduct finding list
  safeconduct enforcement list
  safeconduct agent trust banking.gpt-4o-2024-05-13
  safeconduct person link demo --why "another browser"
Ctrl-C ends it.
`, s.URL(), t.Admin, t.PEP)
	return <-done
}

// play waits for the service, replays the traces, verifies the log and prints what it has found.
func (d *demonstration) play(ctx context.Context, s *server.Server, done chan error, data string) error {
	select {
	case err := <-done:
		done <- nil
		return err
	case <-s.Up():
	}
	if !d.once {
		link, err := d.invite(ctx, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.talk, "Watch it in the console:\n  %s\n", link)
	}
	traces, err := demo.Traces()
	if err != nil {
		return err
	}
	pep, err := client.New(s.URL(), s.Tokens().PEP)
	if err != nil {
		return err
	}
	replay := demo.Replay{Traces: traces, Now: time.Now, Ask: func(ctx context.Context, req authz.Request) (demo.Answer, error) {
		a, err := pep.Decide(ctx, req)
		if errors.Is(err, authz.ErrInvalid) { // no question of ours, but what the recorded agent wrote
			err = nil
		}
		return demo.Answer{Effect: a.Effect, Code: a.Code, Seq: a.Seq}, err
	}}
	bar := d.bar(traces)
	replay.Progress = bar.Step
	score, err := replay.Run(ctx)
	bar.Close()
	if err != nil {
		return err
	}
	report := demoReport{Score: score}
	if report.Conduct, err = showConduct(ctx, s.URL(), s.Tokens().Admin, s.Tokens().PEP, traces); err != nil {
		return fmt.Errorf("showing conduct: %w", err)
	}
	if report.Asking, err = showAsking(ctx, s.URL(), s.Tokens().Admin, s.Tokens().PEP); err != nil {
		return fmt.Errorf("showing how people are asked: %w", err)
	}
	if report.Passports, err = showPassports(ctx, s.URL(), s.Tokens().Admin, s.Tokens().PEP); err != nil {
		return fmt.Errorf("showing passports: %w", err)
	}
	if report.Gateway, err = showGateway(ctx, s.URL(), s.Tokens().Admin, s.Tokens().PEP, d.gateway); err != nil {
		return fmt.Errorf("showing a gateway: %w", err)
	}
	if err := report.verify(ctx, data, s.Key(), score.LastSeq); err != nil {
		return err
	}
	if d.json {
		return writeJSON(d.out, report)
	}
	if _, err := score.WriteTo(d.out); err != nil {
		return err
	}
	if err := report.Conduct.print(d.out); err != nil {
		return err
	}
	if err := report.Asking.print(d.out); err != nil {
		return err
	}
	if err := report.Passports.print(d.out); err != nil {
		return err
	}
	if err := report.Gateway.print(d.out); err != nil {
		return err
	}
	l := &report.Log
	_, err = fmt.Fprintf(d.out, "\nlog: %d entries in %d batches, %d signed by %s, verified in %.2f s: ok\n",
		l.Entries, l.Batches, l.Signed, l.Origin, l.Seconds)
	return err
}

// bar returns a progress bar, one that shows nothing if there is no terminal.
func (d *demonstration) bar(s *demo.Selection) *demo.Bar {
	w := d.talk
	if !isTerminal(w) {
		w = io.Discard
	}
	return demo.NewBar(w, s.Calls(), "replaying recorded agents", "calls")
}

// verify reads the log that the service has written, from the disk and up to its signed end, and
// computes every hash anew. The newest decision must be under a signature.
func (r *demoReport) verify(ctx context.Context, data, key string, newest int64) error {
	v, err := audit.ParseVerifier(key)
	if err != nil {
		return fmt.Errorf("the log's public key: %w", err)
	}
	db, err := store.Open(ctx, store.Config{SQLite: filepath.Join(data, server.DatabaseFile), ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := signed(ctx, db, v, newest); err != nil {
		return err
	}
	found, err := audit.Verify(ctx, db, []note.Verifier{v}, audit.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("verifying the log: %w", err)
	}
	l := &r.Log
	l.Entries, l.Batches, l.Signed, l.Origin, l.Seconds = found.Entries, found.Batches, found.Signed, found.Origin, found.Seconds
	l.OK = found.Err() == nil
	if err := found.Err(); err != nil {
		return fmt.Errorf("the log does not verify: %w", err)
	}
	return nil
}

// signed waits until a checkpoint covers an entry, which takes about a second.
func signed(ctx context.Context, db *store.DB, v note.Verifier, seq int64) error {
	for end := time.Now().Add(10 * time.Second); ; {
		err := covered(ctx, db, v, seq)
		if err == nil || time.Now().After(end) || !errors.Is(err, authz.ErrNotFound) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func covered(ctx context.Context, db *store.DB, v note.Verifier, seq int64) error {
	text, err := db.Checkpoint(ctx)
	if err != nil {
		return err
	}
	cp, err := audit.ParseCheckpoint(text, v)
	if err != nil {
		return err
	}
	_, err = audit.Prove(ctx, db, cp, seq)
	return err
}
