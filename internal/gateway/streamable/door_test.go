package streamable_test

import (
	"bytes"
	"context"
	"encoding/json"

	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("MCP_CHILD"); mode != "" {
		childMain(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	v2026 = "2026-07-28"
	v2025 = "2025-11-25"
)

// decider answers by a function; nil allows everything.
type decider struct {
	mu     sync.Mutex
	answer func(authz.Request) *client.Answer
	asked  []authz.Request
}

func (d *decider) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*client.Answer
	for _, r := range q.Requests {
		d.asked = append(d.asked, r)
		a := &client.Answer{Decision: authz.Decision{Effect: authz.Allow}, ID: "d1"}
		if d.answer != nil {
			a = d.answer(r)
		}
		if a == nil {
			return nil, authz.Errorf(authz.ErrUnavailable, "nobody decides")
		}
		out = append(out, a)
	}
	return out, nil
}

func (d *decider) Outcome(context.Context, string, client.Outcome) error { return nil }

// A rig is a gateway that runs.
type rig struct {
	*httptest.Server
	door    *streamable.Door
	gate    *mcp.Gate
	decider *decider
	log     *bytes.Buffer
}

// raise starts a gateway before servers. Who calls is said by the token: "Bearer NAME".
func raise(t testing.TB, change func(*streamable.Config), ups ...streamable.Upstream) *rig {
	t.Helper()
	r := &rig{decider: &decider{}, log: &bytes.Buffer{}}
	logger := slog.New(slog.NewTextHandler(&lockedWriter{w: r.log}, nil))
	cfg := streamable.Config{
		Upstreams: ups,
		Logger:    logger,
		HelloTime: 5 * time.Second,
		Verify: func(q *http.Request) (*gateway.Who, error) {
			name, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
			if !ok {
				return nil, &gateway.Challenge{Status: http.StatusUnauthorized}
			}
			return &gateway.Who{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: name}}, Key: name, Token: name}, nil
		},
		Apply: func(_ context.Context, credential string, w *gateway.Who, q *http.Request) error {
			if credential != "" {
				q.Header.Set("Authorization", "Bearer "+credential)
			}
			return nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.door, err = streamable.New(cfg); err != nil {
		t.Fatal(err)
	}
	r.gate, err = mcp.NewGate(mcp.Config{
		Gateway:  &gateway.Gateway{Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: r.decider}, Handlers: client.BuiltIn(logger), Outcome: r.decider.Outcome}, Logger: logger},
		Resource: "https://gw.example/mcp", Options: mcp.Options{Methods: map[string]any{"subscriptions/listen": "server/discover"}}, Server: r.door.Server, Fetch: r.door.Fetch, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", r.door.Serve(r.gate))
	r.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
		r.door.Close()
		r.gate.Wait()
	})
	return r
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// as is an HTTP client of an agent of that name.
func as(t testing.TB, name string) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+name)
		return tr.RoundTrip(r)
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type sumIn struct {
	A int `json:"a"`
	B int `json:"b"`
}

// sdkServer is a server of the official SDK.
func sdkServer(t testing.TB, name string, versions []string, stateless bool) *httptest.Server {
	t.Helper()
	s := sdk.NewServer(&sdk.Implementation{Name: name, Version: "1"}, &sdk.ServerOptions{SupportedProtocolVersions: versions, PageSize: 2,
		CompletionHandler: func(_ context.Context, q *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{name + " " + q.Params.Argument.Value}}}, nil
		},
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
	})
	sdk.AddTool(s, &sdk.Tool{Name: "sum", Description: "adds"}, func(_ context.Context, _ *sdk.CallToolRequest, in sumIn) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf("%s says %d", name, in.A+in.B)}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "slow"}, func(ctx context.Context, q *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		if tok := q.Params.GetProgressToken(); tok != nil {
			_ = q.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: tok, Progress: 1, Message: "half"})
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "done"}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "link"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.ResourceLink{URI: "file:///a", Name: "a"}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "ask"}, func(ctx context.Context, q *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		got, err := q.Session.Elicit(ctx, &sdk.ElicitParams{Message: "sure?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`)})
		if err != nil {
			return nil, nil, err
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: got.Action}}}, nil, nil
	})
	s.AddPrompt(&sdk.Prompt{Name: "greet"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "hello from " + name}}}}, nil
	})
	s.AddResource(&sdk.Resource{Name: "a", URI: "file:///a"}, func(_ context.Context, q *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: q.Params.URI, Text: "A of " + name}}}, nil
	})
	s.AddResourceTemplate(&sdk.ResourceTemplate{Name: "t", URITemplate: "file:///t/{x}"}, func(_ context.Context, q *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: q.Params.URI, Text: "T of " + name}}}, nil
	})
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: stateless})
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		for ss := range s.Sessions() {
			_ = ss.Close()
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv
}

func connect(t testing.TB, r *rig, name, version string, opts *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	c := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, opts)
	s, err := c.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: r.URL + "/mcp", HTTPClient: as(t, name), MaxRetries: -1},
		&sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("Connect(%s) = %v\n%s", version, err, r.log)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func text(res *sdk.CallToolResult) string {
	if len(res.Content) == 0 {
		return ""
	}
	if c, ok := res.Content[0].(*sdk.TextContent); ok {
		return c.Text
	}
	return fmt.Sprintf("%T", res.Content[0])
}

// The official Go SDK's client and server, of each revision, through the gateway.
func TestSDK(t *testing.T) {
	for _, client := range []string{v2025, v2026} {
		for _, server := range []string{v2025, v2026} {
			for _, many := range []bool{false, true} {
				t.Run(fmt.Sprintf("client %s, server %s, many %v", client, server, many), func(t *testing.T) {
					versions := []string{server}
					if server == v2025 {
						versions = append(versions, "2025-06-18")
					}
					one := sdkServer(t, "one", versions, server == v2026)
					ups := []streamable.Upstream{{Name: "one", URL: one.URL}}
					tool, uri, prompt, template := "sum", "file:///a", "greet", "file:///t/1"
					if many {
						ups = append(ups, streamable.Upstream{Name: "two", URL: sdkServer(t, "two", nil, false).URL})
						tool, uri, prompt, template = "one__sum", "one+file:///a", "one__greet", "one+file:///t/1"
					}
					r := raise(t, nil, ups...)
					s := connect(t, r, "alice", client, nil)
					if got := s.InitializeResult().ProtocolVersion; got != client {
						t.Errorf("ProtocolVersion = %q, want %q", got, client)
					}
					var names []string
					for tl, err := range s.Tools(t.Context(), nil) {
						if err != nil {
							t.Fatalf("Tools: %v\n%s", err, r.log)
						}
						names = append(names, tl.Name)
					}
					want := []string{"ask", "link", "slow", "sum"}
					if many {
						want = []string{"one__ask", "one__link", "one__slow", "one__sum", "two__ask", "two__link", "two__slow", "two__sum"}
					}
					if slices.Sort(names); !slices.Equal(names, want) {
						t.Errorf("Tools = %q, want %q", names, want)
					}
					res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: map[string]any{"a": 2, "b": 3}})
					if err != nil || text(res) != "one says 5" {
						t.Errorf("CallTool(sum) = %+v, %v, want one says 5\n%s", res, err, r.log)
					}
					rr, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri})
					if err != nil || rr.Contents[0].Text != "A of one" || rr.Contents[0].URI != uri {
						t.Errorf("ReadResource(%s) = %+v, %v", uri, rr, err)
					}
					rr, err = s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: template})
					if err != nil || rr.Contents[0].Text != "T of one" {
						t.Errorf("ReadResource(%s) = %+v, %v", template, rr, err)
					}
					pr, err := s.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: prompt})
					if err != nil || pr.Messages[0].Content.(*sdk.TextContent).Text != "hello from one" {
						t.Errorf("GetPrompt = %+v, %v", pr, err)
					}
					co, err := s.Complete(t.Context(), &sdk.CompleteParams{Ref: &sdk.CompleteReference{Type: "ref/prompt", Name: prompt}, Argument: sdk.CompleteParamsArgument{Name: "x", Value: "v"}})
					if err != nil || !slices.Equal(co.Completion.Values, []string{"one v"}) {
						t.Errorf("Complete = %+v, %v", co, err)
					}
					lk, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: strings.Replace(tool, "sum", "link", 1)})
					if err != nil {
						t.Errorf("CallTool(link) = %v", err)
					} else if got := lk.Content[0].(*sdk.ResourceLink).URI; got != uri {
						t.Errorf("link's URI = %q, want %q", got, uri)
					}
					if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "none__sum"}); err == nil {
						if res, _ := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "none__sum"}); res == nil || !res.IsError {
							t.Errorf("CallTool(none__sum) = %+v, want an error", res)
						}
					}
				})
			}
		}
	}
}

// Progress, and a server that asks the client while it serves a call.
func TestAsides(t *testing.T) {
	for _, version := range []string{v2025, v2026} {
		t.Run(version, func(t *testing.T) {
			r := raise(t, nil, streamable.Upstream{Name: "one", URL: sdkServer(t, "one", nil, false).URL}, streamable.Upstream{Name: "two", URL: sdkServer(t, "two", nil, false).URL})
			progress := make(chan string, 10)
			s := connect(t, r, "alice", version, &sdk.ClientOptions{
				ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
					return &sdk.ElicitResult{Action: "decline"}, nil
				},
				ProgressNotificationHandler: func(_ context.Context, q *sdk.ProgressNotificationClientRequest) {
					progress <- q.Params.Message
				},
			})
			p := &sdk.CallToolParams{Name: "two__slow"}
			p.SetProgressToken("tok")
			if res, err := s.CallTool(t.Context(), p); err != nil || text(res) != "done" {
				t.Fatalf("CallTool(slow) = %+v, %v", res, err)
			}
			select {
			case m := <-progress:
				if m != "half" {
					t.Errorf("progress = %q, want half", m)
				}
			case <-time.After(5 * time.Second):
				t.Error("no progress came")
			}
			if version == v2026 {
				return // servers ask within results there
			}
			res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "two__ask"})
			if err != nil || text(res) != "decline" {
				t.Errorf("CallTool(ask) = %v, %v, want decline\n%s", res, err, r.log)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: sdkServer(t, "one", nil, false).URL})
	s := connect(t, r, "alice", v2026, nil)
	r.decider.mu.Lock()
	r.decider.answer = func(q authz.Request) *client.Answer {
		return &client.Answer{Decision: authz.Decision{Effect: authz.Deny}}
	}
	r.decider.mu.Unlock()
	res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "sum", Arguments: map[string]any{"a": 1, "b": 1}})
	if err == nil && !res.IsError {
		t.Errorf("CallTool = %q, want a refusal", text(res))
	}
	r.decider.mu.Lock()
	r.decider.answer = func(authz.Request) *client.Answer { return nil }
	r.decider.mu.Unlock()
	res, err = s.CallTool(t.Context(), &sdk.CallToolParams{Name: "sum", Arguments: map[string]any{"a": 1, "b": 1}})
	if err == nil && !res.IsError {
		t.Errorf("CallTool while nobody decides = %q, want a refusal", text(res))
	}
}

// What a server says of itself to one caller is not told to another.
func TestInstructions(t *testing.T) {
	up := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{},"instructions":"for %s","ttlMs":0,"cacheScope":"private"}}`, q.Header.Get("Authorization"))
	}))
	r := raise(t, func(c *streamable.Config) {
		c.Apply = func(_ context.Context, _ string, w *gateway.Who, q *http.Request) error {
			q.Header.Set("Authorization", w.Key)
			return nil
		}
	}, streamable.Upstream{Name: "one", URL: up.URL, Credential: "exchanged"})
	for _, name := range []string{"alice", "bob", "alice"} {
		for _, version := range []string{v2026, v2025} {
			if got, want := connect(t, r, name, version, nil).InitializeResult().Instructions, "for "+name; got != want {
				t.Errorf("%s: %s is told %q, want %q", version, name, got, want)
			}
		}
	}
}
