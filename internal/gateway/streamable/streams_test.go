package streamable_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

// events reads a stream of events: the data of each.
func events(t *testing.T, body io.Reader) <-chan string {
	t.Helper()
	out := make(chan string)
	go func() {
		defer close(out)
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				select {
				case out <- data:
				case <-t.Context().Done():
					return
				}
			}
		}
	}()
	return out
}

func next(t *testing.T, ch <-chan string) string {
	t.Helper()
	select {
	case s := <-ch:
		return s
	case <-time.After(5 * time.Second):
		t.Fatal("nothing comes")
		return ""
	}
}

func listenTo(changed <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		var f struct {
			ID     json.RawMessage
			Params struct{ Notifications json.RawMessage }
		}
		_ = json.Unmarshal(b, &f)
		w.Header().Set("Content-Type", "text/event-stream")
		say := func(method, params string) {
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":%q,\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%s},%s}}\n\n", method, f.ID, params)
			w.(http.Flusher).Flush()
		}
		say("notifications/subscriptions/acknowledged", `"notifications":`+string(f.Params.Notifications))
		for {
			select {
			case uri := <-changed:
				say("notifications/resources/updated", `"uri":"`+uri+`"`)
			case <-q.Context().Done():
				return
			}
		}
	}
}

// subscriptions/listen: one stream for the client, of those of all servers, with the names that clients know.
func TestListen(t *testing.T) {
	one, two := make(chan string), make(chan string)
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: upstream(t, listenTo(one)).URL}, streamable.Upstream{Name: "two", URL: upstream(t, listenTo(two)).URL},
		streamable.Upstream{Name: "old", URL: sdkServer(t, "old", []string{v2025}, false).URL})
	r.decider.answer = func(q authz.Request) *client.Answer {
		d := authz.Decision{Effect: authz.Allow}
		if strings.Contains(q.Resource.ID, "forbidden") {
			d.Effect = authz.Deny
		}
		return &client.Answer{Decision: d, ID: "d1"}
	}
	resp := send(t, r, `{"jsonrpc":"2.0","id":"L","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["one+file:///a","two+file:///b","none+x","two+file:///forbidden"]},`+meta+`}}`,
		"Mcp-Protocol-Version", v2026, "Mcp-Method", "subscriptions/listen")
	if resp.StatusCode != 200 {
		t.Fatalf("status %d: %s", resp.StatusCode, read(t, resp))
	}
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("Content-Type = %q: %s", kind, read(t, resp))
	}
	ch := events(t, resp.Body)
	ack := next(t, ch)
	for _, want := range []string{"acknowledged", `"io.modelcontextprotocol/subscriptionId":"L"`, "one+file:///a", "two+file:///b", `"toolsListChanged":true`} {
		if !strings.Contains(ack, want) {
			t.Errorf("the first message is %s, want %q in it", ack, want)
		}
	}
	if strings.Contains(ack, "forbidden") {
		t.Errorf("what the policies forbid was agreed to: %s", ack)
	}
	if strings.Contains(ack, "none+x") {
		t.Errorf("what nobody has was agreed to: %s", ack)
	}
	two <- "file:///b"
	if got := next(t, ch); !strings.Contains(got, `"uri":"two+file:///b"`) || !strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":"L"`) {
		t.Errorf("notification = %s", got)
	}
	one <- "file:///a"
	if got := next(t, ch); !strings.Contains(got, `"uri":"one+file:///a"`) {
		t.Errorf("notification = %s", got)
	}
}

// A legacy server: it forgets sessions, closes streams before the answer, and talks between requests.
type oldServer struct {
	mu       sync.Mutex
	sessions map[string]bool
	made     atomic.Int64
	deleted  atomic.Int64
	outside  chan string
	answers  chan string // what clients answered
}

func (o *oldServer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	id := q.Header.Get("Mcp-Session-Id")
	b, _ := io.ReadAll(q.Body)
	var f struct {
		ID     json.RawMessage
		Method string
		Result json.RawMessage
		Params struct{ Name, URI string }
	}
	_ = json.Unmarshal(b, &f)
	o.mu.Lock()
	known := o.sessions[id]
	o.mu.Unlock()
	switch {
	case q.Header.Get("Mcp-Method") != "":
		w.WriteHeader(http.StatusBadRequest)
		return
	case f.Method == "initialize":
		id = fmt.Sprint("old-", o.made.Add(1))
		o.mu.Lock()
		o.sessions[id] = true
		o.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{"subscribe":true}},"serverInfo":{"name":"old","version":"1"}}}`, f.ID)
		return
	case !known:
		w.WriteHeader(http.StatusNotFound)
		return
	case q.Method == http.MethodDelete:
		o.deleted.Add(1)
		return
	case q.Method == http.MethodGet && q.Header.Get("Last-Event-ID") != "":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"resumed\"}]}}\n\n", strings.TrimPrefix(q.Header.Get("Last-Event-ID"), "call-"))
		return
	case q.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case m := <-o.outside:
				fmt.Fprintf(w, "data: %s\n\n", m)
				w.(http.Flusher).Flush()
			case <-q.Context().Done():
				return
			}
		}
	case f.Method == "":
		o.answers <- string(b)
		w.WriteHeader(http.StatusAccepted)
		return
	case f.Method == "tools/list":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"poll","inputSchema":{"type":"object"}}]}}`, f.ID)
		return
	case f.Method == "tools/call":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: call-%s\nretry: 1\ndata:\n\n", f.ID)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func TestOldServer(t *testing.T) {
	old := &oldServer{sessions: map[string]bool{}, outside: make(chan string), answers: make(chan string, 1)}
	srv := newServer(t, old).URL
	r := raise(t, nil, streamable.Upstream{Name: "old", URL: srv}, streamable.Upstream{Name: "two", URL: sdkServer(t, "two", nil, false).URL})
	resp := send(t, r, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"x","version":"1"}}}`)
	id := resp.Header.Get("Mcp-Session-Id")
	call := `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"old__poll","arguments":{}}}`
	if got := read(t, send(t, r, call, "Mcp-Session-Id", id)); !strings.Contains(got, `"id":"c"`) || !strings.Contains(got, "resumed") {
		t.Errorf("a stream that was closed and resumed: %s", got)
	}
	if got := read(t, send(t, r, strings.Replace(callBody, `"name":"t"`, `"name":"old__poll"`, 1), "Mcp-Protocol-Version", v2026, "Mcp-Method", "tools/call", "Mcp-Name", "old__poll")); !strings.Contains(got, "resumed") || !strings.Contains(got, `"resultType":"complete"`) {
		t.Errorf("the same for a client of 2026-07-28: %s", got)
	}

	// What the server says between requests.
	q, _ := http.NewRequest(http.MethodGet, r.URL+"/mcp", nil)
	q.Header.Set("Accept", "text/event-stream")
	q.Header.Set("Mcp-Session-Id", id)
	stream, err := as(t, "alice").Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	ch := events(t, stream.Body)
	old.outside <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///x"}}`
	if got := next(t, ch); !strings.Contains(got, `"uri":"old+file:///x"`) {
		t.Errorf("notification = %s", got)
	}
	old.outside <- `{"jsonrpc":"2.0","id":77,"method":"roots/list"}`
	var asked struct {
		ID     string
		Method string
	}
	if err := json.Unmarshal([]byte(next(t, ch)), &asked); err != nil || asked.Method != "roots/list" || asked.ID == "77" {
		t.Fatalf("the client is asked %+v, %v", asked, err)
	}
	answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"roots":[]}}`, asked.ID)
	q, _ = http.NewRequest(http.MethodPost, r.URL+"/mcp", strings.NewReader(answer))
	q.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}, "Mcp-Session-Id": {id}}
	if resp, err := as(t, "mallory").Do(q); err != nil || resp.StatusCode != 404 {
		t.Errorf("another caller answers: %v, %v, want 404", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	if resp := send(t, r, answer, "Mcp-Session-Id", id); resp.StatusCode != 202 {
		t.Errorf("the answer = %d", resp.StatusCode)
	}
	if got := next(t, old.answers); !strings.Contains(got, `"id":77`) || !strings.Contains(got, `"roots":[]`) {
		t.Errorf("the server gets %s", got)
	}
	if resp := send(t, r, answer, "Mcp-Session-Id", id); resp.StatusCode != 400 {
		t.Errorf("the same answer again = %d, want 400", resp.StatusCode)
	}
	old.outside <- `{"jsonrpc":"2.0","id":78,"method":"sampling/createMessage","params":{}}`
	if got := next(t, old.answers); !strings.Contains(got, `"id":78`) || !strings.Contains(got, "-32601") {
		t.Errorf("asked what the client cannot do, the server gets %s", got)
	}

	// The server forgets its sessions: the next call begins another.
	old.mu.Lock()
	clear(old.sessions)
	old.mu.Unlock()
	made := old.made.Load()
	if got := read(t, send(t, r, call, "Mcp-Session-Id", id)); !strings.Contains(got, "resumed") {
		t.Errorf("after the server has forgotten: %s", got)
	}
	if old.made.Load() != made+1 {
		t.Errorf("%d new sessions, want 1", old.made.Load()-made)
	}
	q, _ = http.NewRequest(http.MethodDelete, r.URL+"/mcp", nil)
	q.Header.Set("Mcp-Session-Id", id)
	if resp, err := as(t, "alice").Do(q); err != nil || resp.StatusCode != 204 {
		t.Errorf("DELETE = %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); old.deleted.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the server's session was not ended")
		}
	}
}

// A result that an obligation changes is held, and changed, whatever way it came.
func TestMasked(t *testing.T) {
	for _, kind := range []string{"application/json", "text/event-stream"} {
		up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			m := `{"jsonrpc":"2.0","id":"c1","result":{"resultType":"complete","content":[{"type":"text","text":"{\"iban\":\"secret\",\"name\":\"x\"}"}],"structuredContent":{"iban":"secret","name":"x"}}}`
			if kind != "application/json" {
				m = "data: " + m + "\n\n"
			}
			_, _ = io.WriteString(w, m)
		})
		r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL})
		r.decider.answer = func(q authz.Request) *client.Answer {
			a := &client.Answer{Decision: authz.Decision{Effect: authz.Allow}, ID: "d1"}
			if q.Action.Name == "tools/call" {
				a.Obligations = []authz.Obligation{{ID: "m", Type: "nobody-meets-this", Properties: json.RawMessage(`{}`)}}
			}
			return a
		}
		if got := read(t, send(t, r, callBody, modernCall...)); strings.Contains(got, "secret") {
			t.Errorf("%s: what an obligation that nobody meets hides passes: %s", kind, got)
		}
	}
}

// While a result is to be masked nothing of it comes beside it.
func TestNothingBesideAMask(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, m := range []string{
			`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"secret"}}`,
			`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":"secret"}}`,
			`{"jsonrpc":"2.0","id":"c1","result":{"resultType":"complete","content":[],"structuredContent":{"iban":"secret","name":"x"}}}`,
		} {
			fmt.Fprintf(w, "data: %s\n\n", m)
		}
	})
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL})
	r.decider.answer = func(q authz.Request) *client.Answer {
		a := &client.Answer{Decision: authz.Decision{Effect: authz.Allow}, ID: "d1"}
		if q.Action.Name == "tools/call" {
			a.Obligations = []authz.Obligation{{ID: "m", Type: "mask", Properties: json.RawMessage(`{"fields":["iban"]}`)}}
		}
		return a
	}
	got := read(t, send(t, r, callBody, modernCall...))
	if strings.Contains(got, "secret") || !strings.Contains(got, `"progress":1`) || !strings.Contains(got, `"structuredContent":{"iban":"***","name":"x"}`) {
		t.Errorf("the client got %s", got)
	}
}

// A call that stands on an approval is broken off when that ends.
func TestApprovalEnds(t *testing.T) {
	gone := make(chan struct{})
	up := upstream(t, func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body) // after it, the server sees that the client has gone
		<-q.Context().Done()
		close(gone)
	})
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL})
	r.decider.answer = func(q authz.Request) *client.Answer {
		a := &client.Answer{Decision: authz.Decision{Effect: authz.Allow}, ID: "d1"}
		if q.Action.Name == "tools/call" {
			a.Until = time.Now().Add(200 * time.Millisecond)
		}
		return a
	}
	if got := read(t, send(t, r, callBody, modernCall...)); !strings.Contains(got, `"error"`) {
		t.Errorf("the client got %s", got)
	}
	<-gone
}
