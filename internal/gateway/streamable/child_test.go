package streamable_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

// childMain is a server on standard input and output, in a process of its own.
func childMain(mode string) {
	opts := &sdk.ServerOptions{}
	if mode == v2025 || mode == v2026 {
		opts.SupportedProtocolVersions = []string{mode}
	}
	if mode == "silent" {
		select {}
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "child", Version: "1"}, opts)
	sdk.AddTool(s, &sdk.Tool{Name: "who"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf("%d %s %s", os.Getpid(), os.Getenv("SECRET"), os.Getenv("GATEWAY_SECRET"))}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "die"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		os.Exit(3)
		return nil, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "noise"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		fmt.Print("this is no message\n[{\"jsonrpc\":\"2.0\"}]\n{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2}\n{\"jsonrpc\":\"2.0\",\"id\":99999,\"result\":{}}\n")
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "fine"}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "wait"}, func(ctx context.Context, q *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		if tok := q.Params.GetProgressToken(); tok != nil {
			_ = q.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: tok, Progress: 1, Message: "waiting"})
		}
		<-ctx.Done()
		_ = os.WriteFile(os.Getenv("CANCELLED"), []byte("yes"), 0o600)
		return nil, nil, ctx.Err()
	})
	sdk.AddTool(s, &sdk.Tool{Name: "ask"}, func(ctx context.Context, q *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		got, err := q.Session.Elicit(ctx, &sdk.ElicitParams{Message: "sure?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`)})
		if err != nil {
			return nil, nil, err
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: got.Action}}}, nil, nil
	})
	_ = s.Run(context.Background(), &sdk.StdioTransport{})
}

func childUpstream(name, mode string, env ...string) streamable.Upstream {
	u := streamable.Upstream{Name: name, Command: []string{os.Args[0]}, Env: map[string]string{"MCP_CHILD": mode}}
	for i := 0; i < len(env); i += 2 {
		u.Env[env[i]] = env[i+1]
	}
	return u
}

// Processes: one for each caller, with secrets in its environment and nothing of the gateway's, started anew after it died.
func TestChildren(t *testing.T) {
	t.Setenv("GATEWAY_SECRET", "of the gateway")
	var ahead atomic.Int64
	now := time.Now()
	for _, server := range []string{v2025, v2026, "both"} {
		for _, version := range []string{v2025, v2026} {
			t.Run("server "+server+", client "+version, func(t *testing.T) {
				ahead.Store(0)
				r := raise(t, func(c *streamable.Config) {
					c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
					c.Secret = func(name string) (string, error) {
						if name != "key" {
							return "", authz.Errorf(authz.ErrNotFound, "no such secret")
						}
						return "sealed", nil
					}
				}, childUpstream("child", server, "SECRET", "secret:key"))
				call := func(s *sdk.ClientSession, tool string) string {
					t.Helper()
					res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: tool})
					if err != nil {
						return err.Error()
					}
					return text(res)
				}
				alice := connect(t, r, "alice", version, nil)
				one := call(alice, "who")
				if pid, rest, _ := strings.Cut(one, " "); rest != "sealed " || pid == "" {
					t.Fatalf("who = %q, want a process id and the secret alone", one)
				}
				if again := call(alice, "who"); again != one {
					t.Errorf("the second call: %q, the first: %q", again, one)
				}
				if other := call(connect(t, r, "bob", version, nil), "who"); other == one {
					t.Error("two callers share a process")
				}
				if got := call(alice, "noise"); got != "fine" {
					t.Errorf("noise = %q, want fine", got)
				}
				if got := call(alice, "die"); !strings.Contains(got, "has ended") {
					t.Errorf("die = %q, want to be told", got)
				}
				next := call(alice, "who")
				if !strings.HasSuffix(next, "sealed ") || next == one {
					t.Errorf("after it died: %q, before: %q", next, one)
				}
				ahead.Store(int64(time.Hour))
				r.door.Sweep(t.Context())
				if _, n := r.door.Counts(); n != 0 {
					t.Errorf("%d processes after an idle hour", n)
				}
			})
		}
	}
}

func TestChildAsides(t *testing.T) {
	cancelled := t.TempDir() + "/cancelled"
	r := raise(t, nil, childUpstream("child", "both", "CANCELLED", cancelled), childUpstream("other", v2025))
	progress := make(chan string, 1)
	c := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, q *sdk.ProgressNotificationClientRequest) { progress <- q.Params.Message },
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "decline"}, nil
		},
	})
	s, err := c.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: r.URL + "/mcp", HTTPClient: as(t, "alice"), MaxRetries: -1},
		&sdk.ClientSessionOptions{ProtocolVersion: v2025})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "other__ask"})
	if err != nil || text(res) != "decline" {
		t.Errorf("ask = %v, %v, want what the client answers", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := &sdk.CallToolParams{Name: "child__wait"}
	p.SetProgressToken("mine")
	go func() { _, err := s.CallTool(ctx, p); done <- err }()
	select {
	case <-progress:
	case <-time.After(5 * time.Second):
		t.Fatal("no progress")
	}
	cancel()
	<-done
	for deadline := time.Now().Add(5 * time.Second); ; {
		if _, err := os.Stat(cancelled); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the process was not told that the call is cancelled")
		}
	}
}

// Servers that cannot be had are told apart from those that can.
func TestDown(t *testing.T) {
	good := sdkServer(t, "good", nil, false)
	r := raise(t, func(c *streamable.Config) { c.HelloTime = time.Second }, streamable.Upstream{Name: "good", URL: good.URL},
		childUpstream("silent", "silent"), streamable.Upstream{Name: "missing", Command: []string{"/nonexistent"}}, streamable.Upstream{Name: "closed", URL: "http://127.0.0.1:1/"},
		childUpstream("nosecret", "both", "SECRET", "secret:none"))
	for _, version := range []string{v2025, v2026} {
		s := connect(t, r, "alice", version, nil)
		var names []string
		for tl, err := range s.Tools(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, tl.Name)
		}
		if len(names) != 4 || names[0] != "good__ask" {
			t.Errorf("%s: tools = %q, want those of the server that answers", version, names)
		}
		for _, name := range []string{"silent", "missing", "closed", "nosecret"} {
			if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: name + "__x"}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: calling server %s = %v, want an error that names it", version, name, err)
			}
		}
	}
	for _, c := range r.door.Health() {
		if c.OK != (c.Name == "good") {
			t.Errorf("Health: %+v", c)
		}
	}
}

// A process that leaves another behind, which holds its output, ends all the same: whoever waits is told, and Close returns.
func TestChildLeavesAnother(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("there is no setsid to leave a process behind with")
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := `setsid sh -c 'echo $$ > ` + pidFile + `; exec sleep 60' &
while ! [ -s ` + pidFile + ` ]; do :; done
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
  *'"server/discover"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}\n' "$id";;
  *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","tools":[{"name":"t","inputSchema":{"type":"object"}}]}}\n' "$id";;
  *'"tools/call"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[]}}\n' "$id"; exit 3;;
  esac
done`
	r := raise(t, nil, streamable.Upstream{Name: "child", Command: []string{"sh", "-c", script}})
	t.Cleanup(func() {
		b, _ := os.ReadFile(pidFile)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	})
	if got := ask(t, r, "tools/call", "t", `"name":"t"`); !strings.Contains(got, `"content":[]`) {
		t.Errorf("what it said last = %s, want the result", got)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, n := r.door.Counts(); n != 0; _, n = r.door.Counts() {
		if time.Now().After(deadline) {
			t.Fatal("the process is still counted 10 s after it has ended")
		}
		runtime.Gosched()
	}
	closed := make(chan struct{})
	go func() { r.door.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("Close has not returned after 10 s")
	}
}

// What a process says of itself to one caller is not told to another.
func TestChildInstructions(t *testing.T) {
	const script = `while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
  *'"server/discover"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{},"instructions":"of %s"}}\n' "$id" "$$";;
  esac
done`
	r := raise(t, nil, streamable.Upstream{Name: "child", Command: []string{"sh", "-c", script}})
	alice := connect(t, r, "alice", v2026, nil).InitializeResult().Instructions
	bob := connect(t, r, "bob", v2026, nil).InitializeResult().Instructions
	again := connect(t, r, "alice", v2026, nil).InitializeResult().Instructions
	if alice == "" || bob == "" || alice == bob || again != alice {
		t.Errorf("alice is told %q, bob %q, alice again %q, want what each one's own process says", alice, bob, again)
	}
}

// A process's notification that is larger than a message may be goes nowhere; its answer may be larger.
func TestChildLargeNotification(t *testing.T) {
	const script = `big=$(printf '%070000d' 7)
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
  *'"server/discover"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}\n' "$id";;
  *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","tools":[{"name":"t","inputSchema":{"type":"object"}}]}}\n' "$id";;
  *'"tools/call"'*) printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"large %s"}}\n{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"small"}}\n{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[],"x":"%s"}}\n' "$big" "$id" "$big";;
  esac
done`
	r := raise(t, func(c *streamable.Config) { c.MaxMessage = 64 << 10 }, streamable.Upstream{Name: "child", Command: []string{"sh", "-c", script}})
	got := ask(t, r, "tools/call", "t", `"name":"t"`)
	if strings.Contains(got, "large") || !strings.Contains(got, `"small"`) || !strings.Contains(got, `"content":[]`) {
		t.Errorf("the client gets %d bytes, with the large notification: %v; want the small one and the answer", len(got), strings.Contains(got, "large"))
	}
}
