package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/extauthz"
)

// envoyGate is a gateway as the door for Envoy needs it.
type envoyGate struct {
	*gateway.Verifier
	*gateway.Credentials
	*gateway.Gateway
}

func newGatewayEnvoy() *cobra.Command {
	c := &cobra.Command{
		Use:   "envoy",
		Short: "Answer Envoy's external authorization filter",
		Long: `Answer Envoy's external authorization filter (ext_authz, gRPC, v3).

Envoy asks before it passes a request on. The routes of the document say which act a request is, as for
"safeconduct gateway http"; what is allowed passes with the gateway's credential for the server behind, and
with the decision's id in headers and in dynamic metadata.`,
		Example: `  $ safeconduct gateway envoy --config envoy.yaml
  serving Envoy on 127.0.0.1:9191
  serving health and metadata on 127.0.0.1:9190`,
		Args: cobra.NoArgs,
	}
	file := c.Flags().String("config", "", "the gateway's document: `FILE`")
	failOpen := c.Flags().Bool("allow-fail-open", false, "permit routes that say on_unavailable: allow")
	asJSON := c.Flags().Bool("json", false, "print the addresses as JSON, once they are served")
	_ = c.MarkFlagRequired("config")
	_ = c.MarkFlagFilename("config", "yaml")
	c.RunE = func(c *cobra.Command, _ []string) error { return runGatewayEnvoy(c, *file, *failOpen, *asJSON) }
	return c
}

func runGatewayEnvoy(c *cobra.Command, file string, failOpen, asJSON bool) error {
	var doc extauthz.Document
	if err := gateway.Load(file, &doc); err != nil {
		return wrongDoor(err, file, "envoy")
	}
	table, problems := doc.Compile(func(name string) ([]byte, error) { return os.ReadFile(doc.Path(name)) })
	if len(problems) > 0 {
		var errs []error
		for _, p := range problems {
			errs = append(errs, p)
		}
		return fmt.Errorf("%s: %w", file, errors.Join(errs...))
	}
	if err := doc.Envoy.Check(table); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	opts := gateway.Options{Logger: logger, Version: buildVersion().String(), Door: "envoy", AllowFailOpen: failOpen}
	for _, r := range table.Routes() {
		if r.OnUnavailable == "allow" {
			opts.FailOpen = append(opts.FailOpen, r.Name)
		}
	}
	ctx := c.Context()
	l, creds, err := doc.Envoy.Open(doc.Path(doc.TLS.Cert), doc.Path(doc.TLS.Key), doc.Path(doc.Envoy.ClientCA))
	if err != nil {
		return err
	}
	defer l.Close()
	opts.Listening = func(a net.Addr) {
		if asJSON {
			_ = writeJSON(c.OutOrStdout(), map[string]string{"envoy": l.Addr().String(), "http": a.String()}) // whoever reads it may have gone
			return
		}
		fmt.Fprintf(c.ErrOrStderr(), "serving Envoy on %s\nserving health and metadata on %s\n", l.Addr(), a)
	}
	g, err := gateway.Open(ctx, &doc.Common, opts)
	if err != nil {
		return err
	}
	s := extauthz.New(extauthz.Config{
		Gate: envoyGate{g.Verifier, g.Credentials, g}, Table: table, Logger: logger,
		Enforcer: &client.Enforcer{Guard: g.Enforcer.Guard, Handlers: extauthz.Handlers(g.Enforcer.Handlers), Timeout: g.Enforcer.Timeout},
		Realm:    g.Realm(""),
	})
	if err := g.Start(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.Run(ctx) })
	group.Go(func() error { return g.Serve(ctx, http.NotFoundHandler()) })
	group.Go(func() error { return s.Serve(ctx, l, creds) })
	return group.Wait()
}
