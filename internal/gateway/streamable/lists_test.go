package streamable_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

// lister is a server that introduces itself, and lists tools by a function.
func lister(t *testing.T, list http.HandlerFunc) *httptest.Server {
	t.Helper()
	return newServer(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.Header.Get("Mcp-Method") {
		case "server/discover":
			answerTo(w, q, speaks2026)
		case "tools/list":
			list(w, q)
		default:
			answerTo(w, q, `"content":[]`)
		}
	}))
}

const oneTool = `"tools":[{"name":"t","inputSchema":{"type":"object"}}]`

// One server that is slow, endless or too large keeps neither the lists of the others from anybody, nor calls of their tools.
func TestListsOfOthers(t *testing.T) {
	tool := func(i int) string { return fmt.Sprintf(`{"name":"t%d","inputSchema":{"type":"object"}}`, i) }
	var asked atomic.Int64
	for name, list := range map[string]http.HandlerFunc{
		"slow": func(_ http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			<-q.Context().Done()
		},
		"endless": func(w http.ResponseWriter, q *http.Request) {
			answerTo(w, q, fmt.Sprintf(`"tools":[],"nextCursor":"c%d"`, asked.Add(1)))
		},
		"many": func(w http.ResponseWriter, q *http.Request) {
			all := make([]string, 3000)
			for i := range all {
				all[i] = tool(i)
			}
			answerTo(w, q, `"tools":[`+strings.Join(all, ",")+`]`)
		},
		"large": func(w http.ResponseWriter, q *http.Request) {
			answerTo(w, q, `"tools":[{"name":"t","description":"`+strings.Repeat("x", 700<<10)+`","inputSchema":{"type":"object"}}]`)
		},
		"large pages": func(w http.ResponseWriter, q *http.Request) {
			i := int(asked.Add(1))
			answerTo(w, q, fmt.Sprintf(`"tools":[{"name":"t%d","description":%q,"inputSchema":{"type":"object"}}],"nextCursor":"c%d"`, i, strings.Repeat("x", 100<<10), i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			good := lister(t, func(w http.ResponseWriter, q *http.Request) { answerTo(w, q, oneTool) })
			bad := lister(t, list)
			r := raise(t, func(c *streamable.Config) {
				c.ListTime, c.MaxResult = 300*time.Millisecond, 1<<20
			}, streamable.Upstream{Name: "bad", URL: bad.URL}, streamable.Upstream{Name: "good", URL: good.URL})
			began := time.Now()
			if got := ask(t, r, "tools/call", "good__t", `"name":"good__t"`); !strings.Contains(got, `"content":[]`) {
				t.Errorf("the first call of the good server = %s", got)
			}
			if got := ask(t, r, "tools/list", "", ""); !strings.Contains(got, `"good__t"`) {
				t.Errorf("tools/list = %.300s, want good__t in it", got)
			}
			if got := ask(t, r, "tools/call", "bad__x", `"name":"bad__x"`); strings.Contains(got, `"content":[]`) {
				t.Errorf("a call of what the bad server does not list = %s", got)
			}
			if got := ask(t, r, "tools/call", "good__t", `"name":"good__t"`); !strings.Contains(got, `"content":[]`) {
				t.Errorf("the last call of the good server = %s", got)
			}
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("all of it took %s", d)
			}
			if n := asked.Load(); n > 500 {
				t.Errorf("the bad server was asked for %d pages", n)
			}
		})
	}
}

// What a server has listed is not asked for again for a call of another's tool, unless it has said that it changed.
func TestListsRemembered(t *testing.T) {
	var lists atomic.Int64
	first := lister(t, func(w http.ResponseWriter, q *http.Request) { answerTo(w, q, oneTool) })
	second := lister(t, func(w http.ResponseWriter, q *http.Request) { lists.Add(1); answerTo(w, q, oneTool) })
	r := raise(t, nil, streamable.Upstream{Name: "first", URL: first.URL}, streamable.Upstream{Name: "second", URL: second.URL})
	for range 3 {
		if got := ask(t, r, "tools/call", "first__t", `"name":"first__t"`); !strings.Contains(got, `"content":[]`) {
			t.Fatalf("call = %s", got)
		}
		r.gate.Stale()
	}
	if n := lists.Load(); n != 1 {
		t.Errorf("the second server was asked for its tools %d times for calls of the first's, want once", n)
	}
	if got := ask(t, r, "tools/call", "second__t", `"name":"second__t"`); !strings.Contains(got, `"content":[]`) {
		t.Errorf("call = %s", got)
	}
	if n := lists.Load(); n != 2 {
		t.Errorf("the second server was asked %d times, want anew for its own tool", n)
	}
}

// What is held for all requests together is bounded, and given back.
func TestHeld(t *testing.T) {
	var size atomic.Int64
	list := func(w http.ResponseWriter, q *http.Request) {
		answerTo(w, q, `"tools":[{"name":"t","description":"`+strings.Repeat("x", int(size.Load()))+`","inputSchema":{"type":"object"}}]`)
	}
	for _, ups := range [][]streamable.Upstream{
		{{Name: "one", URL: lister(t, list).URL}},
		{{Name: "one", URL: lister(t, list).URL}, {Name: "two", URL: lister(t, func(w http.ResponseWriter, q *http.Request) { answerTo(w, q, oneTool) }).URL}},
	} {
		r := raise(t, func(c *streamable.Config) { c.MaxHeld = 64 << 10 }, ups...)
		size.Store(100 << 10)
		if got := ask(t, r, "tools/list", "", ""); len(got) > 64<<10 {
			t.Errorf("%d servers: a list of 100 KiB is passed on, where 64 KiB may be held", len(ups))
		}
		size.Store(10 << 10)
		for range 20 {
			if got := ask(t, r, "tools/list", "", ""); !strings.Contains(got, "xxxx") {
				t.Fatalf("%d servers: a list of 10 KiB = %.300s", len(ups), got)
			}
		}
	}
}
