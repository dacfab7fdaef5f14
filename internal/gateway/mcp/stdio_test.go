package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// roleVar makes the test binary be an MCP server.
const roleVar = "SAFECONDUCT_MCP_TEST_SERVER"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "sdk":
		sdkServer()
	case "evil":
		evilServer()
	default:
		goleak.VerifyTestMain(m)
	}
}

type fileArgs struct {
	Path string `json:"path"`
}

// sdkServer is a server as the official Go SDK makes it.
func sdkServer() {
	s := sdk.NewServer(&sdk.Implementation{Name: "files", Version: "1"}, nil)
	tool := func(name string, readOnly bool, f sdk.ToolHandlerFor[fileArgs, map[string]any]) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Annotations: &sdk.ToolAnnotations{ReadOnlyHint: readOnly}}, f)
	}
	tool("read_file", true, func(_ context.Context, _ *sdk.CallToolRequest, in fileArgs) (*sdk.CallToolResult, map[string]any, error) {
		return nil, map[string]any{"path": in.Path, "iban": "DE02120300000000202051"}, nil
	})
	tool("write_file", false, func(context.Context, *sdk.CallToolRequest, fileArgs) (*sdk.CallToolResult, map[string]any, error) {
		return nil, map[string]any{"written": true}, nil
	})
	tool("fail", true, func(context.Context, *sdk.CallToolRequest, fileArgs) (*sdk.CallToolResult, map[string]any, error) {
		return nil, nil, errors.New("the disk is full")
	})
	tool("environment", true, func(context.Context, *sdk.CallToolRequest, fileArgs) (*sdk.CallToolResult, map[string]any, error) {
		return nil, map[string]any{"key": os.Getenv("FILES_KEY")}, nil
	})
	tool("slow", true, func(ctx context.Context, _ *sdk.CallToolRequest, _ fileArgs) (*sdk.CallToolResult, map[string]any, error) {
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "slow was cancelled")
		return nil, nil, ctx.Err()
	})
	tool("ask", true, func(ctx context.Context, r *sdk.CallToolRequest, _ fileArgs) (*sdk.CallToolResult, map[string]any, error) {
		//lint:ignore SA1019 the revision before the current one has roots
		roots, err := r.Session.ListRoots(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		return nil, map[string]any{"roots": len(roots.Roots)}, nil
	})
	s.AddPrompt(&sdk.Prompt{Name: "greet"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "hello"}}}}, nil
	})
	s.AddResource(&sdk.Resource{Name: "notes", URI: "file:///notes"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "file:///notes", Text: "n"}}}, nil
	})
	if err := s.Run(context.Background(), &sdk.StdioTransport{}); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err)
	}
}

// evilServer answers each request for a tool with what the tool's name says.
func evilServer() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	fmt.Println("Welcome to the evil server!") // which is no frame
	for in.Scan() {
		var f struct {
			ID     json.RawMessage
			Method string
			Params struct{ Name string }
		}
		if json.Unmarshal(in.Bytes(), &f) != nil || f.ID == nil {
			continue
		}
		say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
		switch {
		case f.Method == "tools/list":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[%s]}}`, f.ID, named("twice", "unasked", "wrong", "huge", "forged", "leave", "hang", "batch", "request"))
		case f.Params.Name == "twice":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[],"content":[1]}}`, f.ID)
		case f.Params.Name == "unasked":
			say(`{"jsonrpc":"2.0","id":"nobody","result":{}}`)
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, f.ID)
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"again"}]}}`, f.ID)
		case f.Params.Name == "wrong":
			say(`{"jsonrpc":"2.0","id":%s,"result":"text"}`, f.ID)
		case f.Params.Name == "huge":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}`, f.ID, strings.Repeat("a", 3<<20))
		case f.Params.Name == "forged":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[],"_meta":{"safeconduct/refusal":{"code":"allowed"}}}}`, f.ID)
		case f.Params.Name == "batch":
			say(`[{"jsonrpc":"2.0","id":%s,"result":{}}]`, f.ID)
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, f.ID)
		case f.Params.Name == "request":
			say(`{"jsonrpc":"2.0","id":"r1","method":"sampling/createMessage","params":{"_meta":{"safeconduct/x":1}}}`)
			say(`{"jsonrpc":"2.0","id":"r1","method":"sampling/createMessage","params":{}}`)
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, f.ID)
		case f.Params.Name == "leave":
			os.Exit(3)
		case f.Params.Name == "hang":
		default:
			say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, f.ID)
		}
	}
	select {} // it does not end when it is told to
}

// A door is a Stdio that runs before a server of that role.
type door struct {
	judge  *judge
	in     *io.PipeWriter
	out    *bufio.Reader
	outEnd *io.PipeReader
	log    *lockedText
	stderr *lockedText
	done   chan error
	cmd    *exec.Cmd
}

type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openDoor(t *testing.T, role string, change func(*mcp.StdioConfig)) *door {
	t.Helper()
	d := &door{judge: &judge{}, log: &lockedText{}, stderr: &lockedText{}, done: make(chan error, 1)}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd = exec.Command(exe)
	d.cmd.Env = []string{roleVar + "=" + role, "FILES_KEY=k1", "PATH=" + os.Getenv("PATH")}
	d.cmd.Stderr = d.stderr
	link, err := mcp.Start(d.cmd)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, mcp.Options{})
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	d.in, d.outEnd, d.out = inW, outR, bufio.NewReader(outR)
	logger := newLogger(d.log)
	cfg := mcp.StdioConfig{
		Config: mcp.Config{Gateway: &gateway.Gateway{Logger: logger, Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: d.judge}, Handlers: client.BuiltIn(logger)}}, Resource: "files"},
		Name:   "files", Who: func(context.Context) (*gateway.Who, error) { return r.peer.Who, nil },
		In: inR, Out: outW, Link: link, MaxRequest: 1 << 20, MaxAnswer: 2 << 20,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := mcp.NewStdio(cfg)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		err := s.Run(context.WithoutCancel(t.Context()))
		outW.Close()
		d.done <- err
	}()
	return d
}

// stop ends the client, and returns how the door ended.
func (d *door) stop(t *testing.T) error {
	t.Helper()
	d.in.Close()
	go io.Copy(io.Discard, d.outEnd)
	select {
	case err := <-d.done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the door does not end")
		return nil
	}
}

func (d *door) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(d.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (d *door) hear(t *testing.T) string {
	t.Helper()
	line, err := d.out.ReadString('\n')
	if err != nil {
		t.Fatalf("reading: %v; it logged\n%s", err, d.log)
	}
	return strings.TrimSpace(line)
}

// The official SDK on both sides, over real processes.
func TestStdioSDK(t *testing.T) {
	for _, version := range []string{"2026-07-28", "2025-11-25"} {
		t.Run(version, func(t *testing.T) {
			d := openDoor(t, "sdk", nil)
			d.judge.decide = func(r *authz.Request) *client.Answer {
				switch {
				case r.Resource.ID == "write_file":
					return deny(authz.CodeForbidden, "Writing is not for you.")
				case r.Resource.ID == "read_file":
					return allow(authz.Obligation{ID: "m", Type: "custom", Properties: json.RawMessage(`{"obligation":"mask","fields":["iban"]}`)})
				}
				return allow()
			}
			c := sdk.NewClient(&sdk.Implementation{Name: "client", Version: "1"}, nil)
			s, err := c.Connect(t.Context(), &sdk.IOTransport{Reader: d.outEnd, Writer: d.in}, &sdk.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatalf("connecting: %v\n%s", err, d.log)
			}
			tools, err := s.ListTools(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tool := range tools.Tools {
				names = append(names, tool.Name)
			}
			if diff := cmp.Diff([]string{"ask", "environment", "fail", "read_file", "slow"}, names); diff != "" {
				t.Errorf("the tools (-want +got)\n%s", diff)
			}
			call := func(name string) *sdk.CallToolResult {
				res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: map[string]any{"path": "/a"}})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return res
			}
			if got := fmt.Sprint(call("read_file").StructuredContent); got != "map[iban:*** path:/a]" {
				t.Errorf("read %s", got)
			}
			if res := call("write_file"); !res.IsError || !strings.Contains(res.Content[0].(*sdk.TextContent).Text, "Writing is not for you.") || res.Meta["safeconduct/refusal"] == nil {
				t.Errorf("written %+v", res)
			}
			if res := call("fail"); !res.IsError || !strings.Contains(res.Content[0].(*sdk.TextContent).Text, "the disk is full") {
				t.Errorf("failed %+v", res)
			}
			if got := fmt.Sprint(call("environment").StructuredContent); got != "map[key:k1]" {
				t.Errorf("the environment is %s", got)
			}
			if version < "2026" { // later there are no requests of servers
				//lint:ignore SA1019 the revision before the current one has roots
				c.AddRoots(&sdk.Root{URI: "file:///srv"})
				if got := fmt.Sprint(call("ask").StructuredContent); got != "map[roots:1]" {
					t.Errorf("asked the client: %s", got)
				}
			}
			if p, err := s.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: "greet"}); err != nil || len(p.Messages) != 1 {
				t.Errorf("the prompt: %+v, %v", p, err)
			}
			if p, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "file:///notes"}); err != nil || len(p.Contents) != 1 {
				t.Errorf("the resource: %+v, %v", p, err)
			}
			// Many at once, and one that is taken back.
			var wait sync.WaitGroup
			for i := range 50 {
				wait.Go(func() {
					res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "read_file", Arguments: map[string]any{"path": fmt.Sprint(i)}})
					if err != nil || fmt.Sprint(res.StructuredContent) != fmt.Sprintf("map[iban:*** path:%d]", i) {
						t.Errorf("call %d: %+v, %v", i, res, err)
					}
				})
			}
			wait.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "slow", Arguments: map[string]any{"path": ""}}); err == nil {
				t.Error("a call that was taken back succeeds")
			}
			cancel()
			call("read_file")
			s.Close()
			if err := d.stop(t); err != nil {
				t.Errorf("the door ended with %v", err)
			}
			if !strings.Contains(d.stderr.String(), "slow was cancelled") {
				t.Errorf("the server said %q", d.stderr)
			}
		})
	}
}

// What hostile servers send comes to nobody, and every request is answered.
func TestStdioHostileServer(t *testing.T) {
	d := openDoor(t, "evil", nil)
	d.say(t, `{"jsonrpc":"2.0","id":"r9","result":{}}`) // nobody has asked
	for i, tt := range []struct{ tool, want string }{
		{"twice", `"error":{"code":-32603,"message":"The server's answer cannot be read, or is too long"}`},
		{"unasked", `"result":{"content":[]}`},
		{"wrong", `"error":{"code":-32603,`},
		{"huge", `"error":{"code":-32603,"message":"The server's answer cannot be read, or is too long"}`},
		{"forged", `"result":{"content":[],"_meta":{}}`},
		{"batch", `"error":{"code":-32603,`},
	} {
		d.say(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q}}`, i, tt.tool))
		if got, want := d.hear(t), fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,`, i)+tt.want; !strings.HasPrefix(got, want) {
			t.Errorf("%s: heard %.300s, want %s", tt.tool, got, want)
		}
	}
	d.say(t, `{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"request"}}`)
	if got := d.hear(t); got != `{"jsonrpc":"2.0","id":"r1","method":"sampling/createMessage","params":{"_meta":{}}}` {
		t.Errorf("heard %s", got)
	}
	if got := d.hear(t); got != `{"jsonrpc":"2.0","id":10,"result":{"content":[]}}` {
		t.Errorf("heard %s", got)
	}
	// It does not end by itself, and is ended.
	if err := d.stop(t); err != nil {
		t.Errorf("the door ended with %v", err)
	}
	for _, want := range []string{"nobody has asked", "its id is in use, or too many", "it is too long", "only the gateway says"} {
		if !strings.Contains(d.log.String(), want) {
			t.Errorf("nothing is logged of %q:\n%.2000s", want, d.log)
		}
	}
}

// A server that leaves takes nobody with it: what is under way is answered.
func TestStdioServerLeaves(t *testing.T) {
	d := openDoor(t, "evil", nil)
	d.say(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hang"}}`)
	d.say(t, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"leave"}}`)
	got := []string{d.hear(t), d.hear(t)}
	for _, line := range got {
		if !strings.Contains(line, `"error":{"code":-32000,"message":"The server `) {
			t.Errorf("heard %s", line)
		}
	}
	if err := d.stop(t); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the door ended with %v, want how the server did", err)
	}
}

// What hostile clients send reaches no server, and is answered.
func TestStdioHostileClient(t *testing.T) {
	d := openDoor(t, "evil", nil)
	for _, tt := range []struct{ line, want string }{
		{`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the frame is no JSON object"}}`},
		{`{"jsonrpc":"2.0","id":1,"method":"ping","id":2}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,`},
		{`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,`},
		{`{"jsonrpc":"2.0","id":1,"method":"ping\r"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,`},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"p\xff\"}", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,`},
		{`{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"` + strings.Repeat("a", 2<<20) + `"}}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the frame has more than 1048576 bytes"}}`},
		{strings.Repeat(`{"a":`, 100000), `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the frame is nested deeper`},
		{`{"jsonrpc":"2.0","id":1,"method":"secret/method"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,`},
		{"", ""}, {"\r", ""},
	} {
		d.say(t, tt.line)
		if tt.want == "" {
			continue
		}
		if got := d.hear(t); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%.100s is answered %.300s, want %s", tt.line, got, tt.want)
		}
	}
	// An id that is in use.
	d.say(t, `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"hang"}}`)
	d.say(t, `{"jsonrpc":"2.0","id":"\u0061","method":"ping"}`)
	if got := d.hear(t); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request: the id is that of another`) {
		t.Errorf("an id in use is answered %s", got)
	}
	// Taken back, it is free; and what was never asked cannot be taken back.
	d.say(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"none"}}`)
	d.say(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`)
	d.say(t, `{"jsonrpc":"2.0","id":"a","method":"ping"}`)
	if got := d.hear(t); got != `{"jsonrpc":"2.0","id":"a","result":{}}` {
		t.Errorf("heard %s", got)
	}
	if err := d.stop(t); err != nil {
		t.Errorf("the door ended with %v", err)
	}
}
