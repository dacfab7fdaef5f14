package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A client on standard input and output, before a server of the official SDK over HTTP, in all its ways to answer.
func TestRemote(t *testing.T) {
	for _, version := range []string{"2026-07-28", "2025-11-25"} {
		for _, asJSON := range []bool{false, true} {
			t.Run(fmt.Sprint(version, " json ", asJSON), func(t *testing.T) {
				s := sdk.NewServer(&sdk.Implementation{Name: "remote", Version: "1"}, nil)
				for _, name := range []string{"read_file", "write_file"} {
					sdk.AddTool(s, &sdk.Tool{Name: name}, func(context.Context, *sdk.CallToolRequest, fileArgs) (*sdk.CallToolResult, map[string]any, error) {
						return nil, map[string]any{"of": name}, nil
					})
				}
				var keys atomic.Int64
				h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{JSONResponse: asJSON})
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("X-Key") == "k1" {
						keys.Add(1)
					}
					h.ServeHTTP(w, r)
				}))
				defer srv.Close()
				header := http.Header{}
				if err := mcp.Header(header, "X-Key=secret:files", func(string) (string, error) { return "k1", nil }); err != nil {
					t.Fatal(err)
				}
				link, err := mcp.Dial(srv.URL, header)
				if err != nil {
					t.Fatal(err)
				}
				d := openDoor(t, "sdk", func(c *mcp.StdioConfig) { c.Link.Close(t.Context()); c.Link = link })
				d.judge.decide = func(r *authz.Request) *client.Answer {
					if r.Resource.ID == "write_file" {
						return deny(authz.CodeForbidden, "no")
					}
					return allow()
				}
				c := sdk.NewClient(&sdk.Implementation{Name: "client", Version: "1"}, nil)
				session, err := c.Connect(t.Context(), &sdk.IOTransport{Reader: d.outEnd, Writer: d.in}, &sdk.ClientSessionOptions{ProtocolVersion: version})
				if err != nil {
					t.Fatalf("connecting: %v\n%s", err, d.log)
				}
				tools, err := session.ListTools(t.Context(), nil)
				if err != nil || len(tools.Tools) != 1 {
					t.Errorf("the tools: %+v, %v", tools, err)
				}
				res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "read_file", Arguments: map[string]any{"path": "/a"}})
				if err != nil || fmt.Sprint(res.StructuredContent) != "map[of:read_file]" {
					t.Errorf("read %+v, %v", res, err)
				}
				res, err = session.CallTool(t.Context(), &sdk.CallToolParams{Name: "write_file", Arguments: map[string]any{"path": "/a"}})
				if err != nil || !res.IsError {
					t.Errorf("written %+v, %v", res, err)
				}
				session.Close()
				if err := d.stop(t); err != nil {
					t.Errorf("the door ended with %v", err)
				}
				if keys.Load() == 0 {
					t.Error("the header did not come")
				}
			})
		}
	}
}

// Servers that answer otherwise than they should.
func TestRemoteHostile(t *testing.T) {
	for _, tt := range []struct{ name, typ, body, want string }{
		{"another answer", "application/json", `{"jsonrpc":"2.0","id":"other","result":{}}`, "cannot be reached"},
		{"a name twice", "application/json", `{"jsonrpc":"2.0","id":1,"result":{},"id":1}`, "cannot be reached"},
		{"no answer", "text/html", `<p>`, "status 200"},
		{"an empty stream", "text/event-stream", ``, "cut off"},
		{"a stream that is cut off", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",", "cut off"},
		{"a stream with nonsense", "text/event-stream", "data: []\n\n", "cannot be read"},
		{"a stream with an answer in two lines", "text/event-stream", ": hello\nid: 1\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":1,\"result\":{}}\n\n", `"result":{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tt.typ)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			link, err := mcp.Dial(srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := link.Send((&mcp.Frame{ID: json.RawMessage("1"), Method: "ping"}).Append(nil)); err != nil {
				t.Fatal(err)
			}
			got, err := link.Receive(1 << 20)
			if err != nil || !strings.Contains(string(got), tt.want) || !strings.Contains(string(got), `"id":1`) {
				t.Errorf("received %s, %v, want %s", got, err, tt.want)
			}
			if err := link.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for _, u := range []string{"", "ftp://x/", "http://example.com/mcp", "https://user:pw@example.com/", "https://x/#a", "https:///mcp"} {
		if _, err := mcp.Dial(u, nil); err == nil {
			t.Errorf("%q can be dialled", u)
		}
	}
	for _, line := range []string{"", "=x", "a b=c", "a=b\r\nc: d", "a:b=c"} {
		if err := mcp.Header(http.Header{}, line, nil); err == nil {
			t.Errorf("%q is a header", line)
		}
	}
	// A redirect takes the key nowhere.
	var hits atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	link, err := mcp.Dial(srv.URL, http.Header{"X-Key": {"k"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Send((&mcp.Frame{ID: json.RawMessage("1"), Method: "ping"}).Append(nil)); err != nil {
		t.Fatal(err)
	}
	if got, _ := link.Receive(1 << 20); !strings.Contains(string(got), "status 307") || hits.Load() > 0 {
		t.Errorf("received %s, and %d requests at the other", got, hits.Load())
	}
	link.Close(t.Context())
}

// A request that a server accepts without an answer is answered all the same.
func TestRemoteAcceptsOnly(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	defer s.Close()
	l, err := mcp.Dial(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(t.Context())
	for _, f := range []string{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":7,"method":"ping"}`} {
		if err := l.Send([]byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.Receive(1 << 20); err != nil || !strings.Contains(string(got), `"id":7,"error":`) {
		t.Errorf("received %s, %v", got, err)
	}
}
