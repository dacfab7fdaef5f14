package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

func newGatewayHTTP() *cobra.Command {
	c := &cobra.Command{
		Use:   "http",
		Short: "Stand before HTTP services",
		Long: `Stand before HTTP services: a reverse proxy that has every request decided before it is passed on.

Routes in the document say which act a request is: its action, resource and arguments, taken from the path,
the query, headers, the body and the access token. They are written by hand or taken from OpenAPI documents.
A request that takes no route is refused. What is passed on carries the gateway's credential and none of the
agent's. "check" reads the document and shows its routes, "route" shows what would be asked of one request.`,
		Example: `  $ safeconduct gateway http check --config http.yaml
  $ safeconduct gateway http route --config http.yaml POST /accounts/CH93/payments --body payment.json
  $ safeconduct gateway http --config http.yaml
  serving HTTP on 127.0.0.1:8443`,
		Args: cobra.NoArgs,
	}
	file := httpConfigFlag(c)
	failOpen := c.Flags().Bool("allow-fail-open", false, "permit routes that say on_unavailable: allow")
	asJSON := c.Flags().Bool("json", false, "print the address as JSON, once it is served, and log JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return runGatewayHTTP(c, *file, *failOpen, *asJSON)
	}
	c.AddCommand(newGatewayHTTPCheck(), newGatewayHTTPRoute())
	return c
}

func httpConfigFlag(c *cobra.Command) *string {
	file := c.Flags().String("config", "", "the gateway's document: `FILE`")
	_ = c.MarkFlagRequired("config")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return file
}

func runGatewayHTTP(c *cobra.Command, file string, failOpen, asJSON bool) error {
	doc, err := httpproxy.Load(file)
	if err != nil {
		return wrongDoor(err, file, "http")
	}
	ctx := c.Context()
	g, p, err := doc.Open(ctx, gateway.Options{
		Logger: newLogger(c.ErrOrStderr(), asJSON, false), Version: buildVersion().Version, Process: true, AllowFailOpen: failOpen,
		Listening: func(a net.Addr) {
			if asJSON {
				_ = writeJSON(c.OutOrStdout(), map[string]string{"http": a.String()}) // whoever reads it may have gone
				return
			}
			fmt.Fprintf(c.ErrOrStderr(), "serving HTTP on %s\n", a)
		},
	})
	if err != nil && len(doc.FailOpen()) > 0 && !failOpen {
		return hinted(err, "--allow-fail-open permits it, shows it on every health page, and makes it a finding")
	}
	if err != nil {
		return err
	}
	if err := g.Start(ctx); err != nil {
		return err
	}
	// What acts came to is still reported after the last of them: first the door ends, then its reports, then the
	// gateway's background.
	reports, stopReports := context.WithCancel(context.WithoutCancel(ctx))
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer stopReports()
	group, ctx := errgroup.WithContext(ctx)
	reported, failed := make(chan error, 1), make(chan error, 1)
	go func() { reported <- p.Run(reports) }()
	go func() { failed <- g.Run(background) }()
	served := make(chan struct{})
	group.Go(func() error {
		defer close(served)
		return g.Serve(ctx, p)
	})
	group.Go(func() error {
		select {
		case err := <-failed:
			failed <- nil
			return cmp.Or(err, errors.New("the gateway's background has ended"))
		case <-served:
			return nil
		}
	})
	err = group.Wait()
	stopReports()
	err = errors.Join(err, <-reported)
	stop()
	if last := <-failed; !errors.Is(last, context.Canceled) {
		err = errors.Join(err, last)
	}
	return err
}

func newGatewayHTTPCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Read the document and show its routes",
		Long: `Read the document of an HTTP gateway, with the OpenAPI documents that it names, and show its routes in the
order in which they were declared.

Nothing is started and nobody is asked. What is wrong is told with its line; two routes that would take the
same request are an error, unless one of them is the more specific one.`,
		Example: `  $ safeconduct gateway http check --config http.yaml
  METHOD  PATH                          ACTION         RESOURCE           UPSTREAM
  POST    /accounts/{account}/payments  make-payments  Account {account}  bank`,
		Args: cobra.NoArgs,
	}
	file, asJSON := httpConfigFlag(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		doc, err := httpproxy.Load(*file)
		if err != nil {
			return wrongDoor(err, *file, "http")
		}
		routes := doc.Table().Routes()
		if *asJSON {
			out := make([]routeInfo, len(routes))
			for i, r := range routes {
				out[i] = infoOf(r)
			}
			return writeJSON(c.OutOrStdout(), out)
		}
		t := newTable("METHOD", "PATH", "ACTION", "RESOURCE", "ARGUMENTS", "UPSTREAM", "")
		for _, r := range routes {
			i := infoOf(r)
			t.add(cmp.Or(strings.Join(i.Methods, ","), "*"), clip(i.Host+i.Path, 80), clip(i.Action, 40), clip(i.Type+" "+i.ID, 60),
				clip(cmp.Or(strings.Join(namesOf(i.Arguments), " "), "-"), 60), clip(i.Upstream, 30), strings.Join(i.Notes, ", "))
		}
		return t.print(c.OutOrStdout(), "There are no routes.")
	}
	return c
}

// routeInfo is a route as it is shown.
type routeInfo struct {
	Name       string            `json:"name"`
	Origin     string            `json:"origin"`
	Methods    []string          `json:"methods,omitempty"`
	Host       string            `json:"host,omitempty"`
	Path       string            `json:"path"`
	Action     string            `json:"action"`
	Type       string            `json:"resource_type"`
	ID         string            `json:"resource_id"`
	Properties map[string]string `json:"resource_properties,omitempty"`
	Arguments  map[string]string `json:"arguments,omitempty"`
	Upstream   string            `json:"upstream"`
	Notes      []string          `json:"notes,omitempty"`
}

func infoOf(r *route.Route) routeInfo {
	i := routeInfo{
		Name: r.Name, Origin: r.Origin, Methods: r.Methods, Host: r.Host, Path: r.Path, Action: r.Action, Type: r.Resource.Type, ID: r.Resource.ID.String(),
		Upstream: r.Upstream, Properties: map[string]string{}, Arguments: map[string]string{},
	}
	for name, s := range r.Resource.Properties {
		i.Properties[name] = s.String()
	}
	for name, s := range r.Arguments {
		i.Arguments[name] = s.String()
	}
	for note, yes := range map[string]bool{
		"ALLOWS WHAT CANNOT BE DECIDED": r.OnUnavailable == "allow", "reads the body": r.NeedsBody, "WebSocket": r.WebSocket, "closed": r.Closed,
		"can be tried": r.DryRun != nil, "no masking": r.NoMask, "asks persons": r.Approval.Mode == "ask", "waits for persons": r.Approval.Mode == "wait",
	} {
		if yes {
			i.Notes = append(i.Notes, note)
		}
	}
	slices.Sort(i.Notes)
	return i
}

func namesOf(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func newGatewayHTTPRoute() *cobra.Command {
	c := &cobra.Command{
		Use:   "route METHOD URL",
		Short: "Show what would be asked of a request",
		Long: `Show which route a request takes and what would be asked before it is passed on. The URL may be a path
alone. Nothing is sent, and nobody is asked.

Exit status 3 says that the request would be refused without asking: because it takes no route, or because
what it says cannot be mapped.`,
		Example: `  $ safeconduct gateway http route --config http.yaml POST /accounts/CH93/payments --body payment.json`,
		Args:    cobra.ExactArgs(2),
	}
	file := httpConfigFlag(c)
	headers := c.Flags().StringArrayP("header", "H", nil, "a header of the request: `\"NAME: VALUE\"`; may be given several times")
	body := c.Flags().String("body", "", "`FILE` that holds the body, - for standard input")
	claims := c.Flags().String("claims", "", "`FILE` that holds the claims of the access token, as JSON")
	_ = c.Flags().Bool("json", true, "print the result as JSON, which it always is")
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := httpproxy.Load(*file)
		if err != nil {
			return wrongDoor(err, *file, "http")
		}
		in, err := routeInput(c, args[0], args[1], *headers, *body, *claims)
		if err != nil {
			return err
		}
		return showRoute(c, doc.Table(), in)
	}
	return c
}

// routeInput returns a request that the command line describes.
func routeInput(c *cobra.Command, method, target string, headers []string, body, claims string) (*route.Input, error) {
	in := &route.Input{Method: method, Header: http.Header{}}
	raw, query, _ := strings.Cut(target, "?")
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		in.Host = u.Hostname()
		if raw = u.EscapedPath(); raw == "" {
			raw = "/"
		}
	}
	in.Path, in.RawQuery = raw, query
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, usageError{hinted(fmt.Errorf("%q is no header", h), `write "NAME: VALUE"`)}
		}
		in.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	var err error
	switch body {
	case "":
	case "-":
		in.Body, err = io.ReadAll(c.InOrStdin())
	default:
		in.Body, err = os.ReadFile(body)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if in.Body != nil && in.Header["Content-Type"] == nil {
		in.Header.Set("Content-Type", "application/json")
	}
	if claims != "" {
		text, err := os.ReadFile(claims)
		if err == nil {
			err = json.Unmarshal(text, &in.Claims)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the claims: %w", err)
		}
	}
	return in, nil
}

// showRoute prints what would be asked.
func showRoute(c *cobra.Command, t *route.Table, in *route.Input) error {
	refuse := func(why string) error {
		fmt.Fprintf(c.ErrOrStderr(), "refused without asking: %s\n", why)
		return exitRefused
	}
	if err := route.Check(in.Method, cmp.Or(in.Host, "localhost"), in.Path, in.RawQuery, in.Header); err != nil {
		return refuse(err.Error())
	}
	in.Header = route.Forwarded(in.Header)
	m, ok := t.Match(in.Method, in.Host, in.Path)
	if !ok {
		return refuse("it takes no route")
	}
	if !m.Route.NeedsBody {
		in.Follows, in.Body = in.Body != nil, nil
	}
	req, err := m.Request(in)
	if err != nil {
		return refuse(err.Error())
	}
	return writeJSON(c.OutOrStdout(), struct {
		Route    string       `json:"route"`
		Origin   string       `json:"origin"`
		Upstream string       `json:"upstream"`
		Action   authz.Action `json:"action"`
		Resource authz.Entity `json:"resource"`
		Task     string       `json:"task,omitempty"`
	}{m.Route.Name, m.Route.Origin, m.Route.Upstream, req.Action, req.Resource, req.Observed.Task})
}
