package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A memoryLink leads to a server that is the test.
type memoryLink struct{ sent, back chan string }

func (l *memoryLink) Send(b []byte) error { l.sent <- string(b); return nil }

func (l *memoryLink) Receive(int) ([]byte, error) {
	s, ok := <-l.back
	if !ok {
		return nil, io.EOF
	}
	return []byte(s), nil
}

func (l *memoryLink) Close(context.Context) error { close(l.back); return nil }

// memoryDoor is a door before such a server, which lists tools of those names.
type memoryDoor struct {
	*memoryLink
	in  io.WriteCloser
	out *bufio.Reader
}

func openMemory(t *testing.T, j *judge, o mcp.Options, tools ...string) *memoryDoor {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	d := &memoryDoor{&memoryLink{make(chan string, 100), make(chan string, 100)}, inW, bufio.NewReader(outR)}
	logger := newLogger(io.Discard)
	s, err := mcp.NewStdio(mcp.StdioConfig{
		Config: mcp.Config{Options: o, Resource: "files", Gateway: &gateway.Gateway{Logger: logger, Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: j}, Handlers: client.BuiltIn(logger)}}},
		Name:   "files", In: inR, Out: outW, Link: d.memoryLink,
		Who: func(context.Context) (*gateway.Who, error) {
			return &gateway.Who{Key: "a", Claims: map[string]any{"sub": "a"}, Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "a"}}}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		err := s.Run(context.Background())
		outW.Close()
		done <- err
	}()
	t.Cleanup(func() {
		inW.Close()
		go io.Copy(io.Discard, outR)
		if err := <-done; err != nil {
			t.Errorf("the door ended with %v", err)
		}
	})
	return d
}

func (d *memoryDoor) say(format string, args ...any) { fmt.Fprintf(d.in, format+"\n", args...) }

// got returns the next frame that the server gets, and answers questions for tools by itself.
func (d *memoryDoor) got(t *testing.T, tools ...string) (text string, id json.RawMessage) {
	t.Helper()
	for text := range d.sent {
		var f struct {
			ID     json.RawMessage
			Method string
		}
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		if f.Method == "tools/list" {
			d.back <- fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[%s]}}`, f.ID, named(tools...))
			continue
		}
		return text, f.ID
	}
	return "", nil
}

func (d *memoryDoor) hear(t *testing.T) string {
	t.Helper()
	line, err := d.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// What a request without an id says reaches no server: nobody would have been asked about it.
func TestStdioNotificationsDoNothing(t *testing.T) {
	j := &judge{decide: only()}
	d := openMemory(t, j, mcp.Options{})
	d.say(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete_all","arguments":{"path":"/"}}}`)
	d.say(`{"jsonrpc":"2.0","method":"ping"}`)
	d.say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	if got, _ := d.got(t); !strings.Contains(got, "notifications/initialized") {
		t.Errorf("the server got %s", got)
	}
}

// An answer to a request that was taken back is not taken for that to another with its id, whose result nothing hides.
func TestStdioIDsAreOurs(t *testing.T) {
	j := &judge{decide: func(r *authz.Request) *client.Answer {
		if r.Resource.ID == "secret" {
			return allow(authz.Obligation{ID: "o1", Type: "mask", Properties: json.RawMessage(`{"fields":["iban"]}`)})
		}
		return allow()
	}}
	d := openMemory(t, j, mcp.Options{})
	d.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"secret","arguments":{}}}`)
	_, first := d.got(t, "secret", "plain")
	d.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	if got, _ := d.got(t); got != `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+string(first)+`}}` {
		t.Errorf("of the cancellation the server got %s", got)
	}
	d.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"plain","arguments":{}}}`)
	_, second := d.got(t, "secret", "plain")
	answer := `{"jsonrpc":"2.0","id":%s,"result":{"structuredContent":{"iban":"%s"}}}`
	d.back <- fmt.Sprintf(answer, first, "DE02")
	d.back <- fmt.Sprintf(answer, second, "none")
	if got := d.hear(t); got != fmt.Sprintf(answer, "1", "none") {
		t.Errorf("the client got %s", got)
	}
}

// Each resource to which a client subscribes is decided about, and the client hears of its subscription by its own id.
func TestStdioSubscriptions(t *testing.T) {
	j := &judge{decide: only("subscriptions/listen", "resources/subscribe resource:file:///a")}
	d := openMemory(t, j, mcp.Options{})
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	d.say(`{"jsonrpc":"2.0","id":"one","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["file:///a","file:///b"]},` + meta + `}}`)
	got, id := d.got(t)
	if !strings.Contains(got, `"resourceSubscriptions":["file:///a"]`) || strings.Contains(got, "file:///b") {
		t.Errorf("the server got %s", got)
	}
	const sub = `"_meta":{"io.modelcontextprotocol/subscriptionId":%s}`
	d.back <- fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{`+sub+`}}`, id)
	if got, want := d.hear(t), fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{`+sub+`}}`, `"one"`); got != want {
		t.Errorf("the client got %s, want %s", got, want)
	}
	d.back <- fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{`+sub+`}}`, id, id)
	if got, want := d.hear(t), fmt.Sprintf(`{"jsonrpc":"2.0","id":"one","result":{`+sub+`}}`, `"one"`); got != want {
		t.Errorf("the client got %s, want %s", got, want)
	}
}

// While the result of a call is to be masked, nothing of it comes by another way.
func TestStdioNothingBesideAMask(t *testing.T) {
	j := &judge{decide: func(r *authz.Request) *client.Answer {
		if r.Resource.ID == "secret" {
			return allow(authz.Obligation{ID: "o1", Type: "mask", Properties: json.RawMessage(`{"fields":["iban"]}`)})
		}
		return allow()
	}}
	d := openMemory(t, j, mcp.Options{})
	const (
		log      = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"DE02"}}`
		progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":"DE02"}}`
		wordless = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`
	)
	for tool, want := range map[string][]string{"plain": {log, progress}, "secret": {wordless}} {
		d.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q}}`, tool)
		_, id := d.got(t, "secret", "plain")
		d.back <- log
		d.back <- progress
		for _, w := range want {
			if got := d.hear(t); got != w {
				t.Errorf("%s: heard %s, want %s", tool, got, w)
			}
		}
		d.back <- fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, id)
		d.hear(t)
	}
}

// A call that stands on an approval is broken off when that ends.
func TestStdioApprovalEnds(t *testing.T) {
	j := &judge{decide: func(*authz.Request) *client.Answer {
		a := allow()
		a.Until = time.Now().Add(200 * time.Millisecond)
		return a
	}}
	d := openMemory(t, j, mcp.Options{})
	d.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}`)
	_, id := d.got(t, "slow")
	if got := d.hear(t); !strings.Contains(got, `"id":1,"error":{"code":-32001,"message":"Access denied: the approval ended`) {
		t.Errorf("the client got %s", got)
	}
	if got, _ := d.got(t); !strings.HasPrefix(got, fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s,`, id)) {
		t.Errorf("the server got %s", got)
	}
}
