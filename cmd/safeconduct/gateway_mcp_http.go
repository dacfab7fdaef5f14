package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

// runGatewayMCPHTTP serves many MCP servers at one endpoint over HTTP, as the document says that --config names.
func runGatewayMCPHTTP(cmd *cobra.Command, _ []string) error {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if file == "" {
		return usageError{hinted(errors.New("there is no server to stand before"),
			"name one behind --, or many in a document: safeconduct gateway mcp --config mcp.yaml")}
	}
	failOpen, err := cmd.Flags().GetBool("allow-fail-open")
	if err != nil {
		return err
	}
	var doc streamable.Document
	if err := gateway.Load(file, &doc); err != nil {
		return wrongDoor(err, file, "mcp")
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	ctx := cmd.Context()
	gw, err := gateway.Open(ctx, &doc.Common, gateway.Options{
		Logger: log, Version: buildVersion().Version, Door: "mcp", Process: true, Paths: []string{doc.Endpoint},
		AllowFailOpen: failOpen, FailOpen: doc.FailOpen(),
		Listening: func(a net.Addr) { fmt.Fprintf(cmd.ErrOrStderr(), "serving MCP on %s%s\n", a, doc.Endpoint) },
	})
	if err != nil {
		return err
	}
	cfg := doc.Config(gw)
	cfg.Version = buildVersion().Version
	cfg.Secret = secretsOf(&doc)
	door, err := streamable.New(cfg)
	if err != nil {
		return err
	}
	defer door.Close()
	if err := watchMCP(gw, door); err != nil {
		return err
	}
	pins, err := openPins(&doc, file)
	if err != nil {
		return err
	}
	gate, err := mcp.NewGate(mcp.Config{
		Gateway: gw, Options: doc.Options, Pins: pins, Resource: gw.Resource(doc.Endpoint),
		Shared: len(doc.Upstreams) == 1, // with more there are no servers' tasks
		Server: door.Server, Fetch: door.Fetch, Logger: log,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(doc.Endpoint, door.Serve(gate))

	if err := gw.Start(ctx); err != nil {
		return err
	}
	// What acts came to is still reported after the last of them: the gateway's background ends last.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	failed := make(chan error, 1)
	go func() { failed <- gw.Run(background) }()
	group.Go(func() error { return door.Run(ctx) })
	group.Go(func() error { return gw.Serve(ctx, mux) })
	group.Go(func() error {
		select {
		case err := <-failed:
			failed <- nil
			if err == nil {
				err = errors.New("the gateway's background has ended")
			}
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err = group.Wait()
	gate.Wait()
	stop()
	return errors.Join(err, ended(<-failed))
}

// openPins opens the pins that a document names; by default they are beside it: mcp.pins.json of mcp.yaml. What is pinned must
// outlast the gateway, or every start would take tools for what they are then.
func openPins(doc *streamable.Document, document string) (*mcp.Pins, error) {
	path := doc.Path(doc.PinFile)
	if path == "" {
		path = strings.TrimSuffix(document, filepath.Ext(document)) + ".pins.json"
	}
	try, err := os.CreateTemp(filepath.Dir(path), ".pins-*")
	if err != nil {
		return nil, hinted(fmt.Errorf("pins cannot be kept in %s: %w", path, err), "name a file that can be written: pins: FILE in the document")
	}
	if err := errors.Join(try.Close(), os.Remove(try.Name())); err != nil {
		return nil, err
	}
	return mcp.OpenPins(path)
}

// watchMCP has the gateway's health pages and metrics tell what the door knows.
func watchMCP(gw *gateway.Gateway, door *streamable.Door) error {
	gw.Watch(func() []gateway.Server {
		var out []gateway.Server
		for _, c := range door.Health() {
			out = append(out, gateway.Server{Name: c.Name, OK: c.OK, Since: c.Since})
		}
		return out
	})
	count := func(which func(sessions, children int) int) func() float64 {
		return func() float64 { return float64(which(door.Counts())) }
	}
	return errors.Join(
		gw.Metrics.Gauge("safeconduct_gateway_sessions", "Sessions of MCP that are open.", count(func(sessions, _ int) int { return sessions })),
		gw.Metrics.Gauge("safeconduct_gateway_processes", "Servers that run as processes of the gateway.", count(func(_, children int) int { return children })),
	)
}

// ended returns what is wrong with something that was told to end.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// secretsOf returns how secrets that the document names are read: the file is opened when the first one is.
func secretsOf(doc *streamable.Document) func(string) (string, error) {
	return func(name string) (string, error) {
		file, key := doc.Path(doc.Secrets.File), doc.Path(doc.Secrets.Key)
		if file == "" {
			file = secret.DefaultFile()
		}
		if key == "" {
			key = secret.DefaultKey()
		}
		f, err := secret.Open(file, key, false)
		if err != nil {
			return "", err
		}
		return f.Value(name, time.Now())
	}
}
