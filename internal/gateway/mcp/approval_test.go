package mcp_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

// An office is a real service with the organisation of examples/mcp, in which a person decides about tools that
// write.
type office struct {
	pep, operator *client.Client
}

// example returns the configuration of examples/mcp.
func example(t *testing.T) server.Config {
	t.Helper()
	cfg, err := server.Load("../../../examples/mcp/safeconduct.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newOffice(t *testing.T) *office {
	t.Helper()
	s := servertest.Start(t, example(t))
	admin, err := client.New(s.URL(), servertest.AdminToken)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Token string }
	for _, step := range []struct {
		method, path string
		in           map[string]any
		out          any
	}{
		{"PUT", "/v1/people/operator", map[string]any{"name": "Olga", "why": "test"}, nil},
		{"POST", "/v1/callers", map[string]any{"name": "operator", "role": "approver", "why": "test"}, &made},
	} {
		if err := admin.Do(t.Context(), step.method, step.path, step.in, step.out); err != nil {
			t.Fatalf("%s %s: %v", step.method, step.path, err)
		}
	}
	o := &office{}
	if o.pep, err = client.New(s.URL(), servertest.PEPToken); err != nil {
		t.Fatal(err)
	}
	if o.operator, err = client.New(s.URL(), made.Token); err != nil {
		t.Fatal(err)
	}
	return o
}

// gate is before a server with two tools. The agent's key tells its callers apart.
func (o *office) gate(t *testing.T, opts mcp.Options) *rig {
	t.Helper()
	r := newRigWith(t, opts, func(c *mcp.Config) {
		logger := slog.New(slog.DiscardHandler)
		c.Gateway = &gateway.Gateway{Client: o.pep, Logger: logger, Enforcer: &client.Enforcer{Guard: &client.Guard{Client: o.pep}, Handlers: client.BuiltIn(logger)}}
		c.Resource = "files"
	}, plainTool, writeTool)
	r.peer.Who = &gateway.Who{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "assistant"}}, Key: "agent:assistant"}
	r.peer.Session = "s-" + t.Name()
	return r
}

// inbox returns the asks that wait.
func (o *office) inbox(t *testing.T) (ids []string) {
	t.Helper()
	var inbox struct{ Items []struct{ ID string } }
	if err := o.operator.Do(t.Context(), "GET", "/v1/approvals?mine=true", nil, &inbox); err != nil {
		t.Errorf("the inbox: %v", err)
	}
	for _, it := range inbox.Items {
		ids = append(ids, it.ID)
	}
	return ids
}

// answer waits for the ask, looks at it and answers.
func (o *office) answer(t *testing.T, yes bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(o.inbox(t)) == 0 {
		if time.Now().After(deadline) {
			t.Error("nobody is asked")
			return
		}
	}
	path := "/v1/approvals/" + o.inbox(t)[0]
	var v struct{ View int64 }
	if err := o.operator.Do(t.Context(), "POST", path+"/view", map[string]any{}, &v); err != nil {
		t.Errorf("looking: %v", err)
		return
	}
	if err := o.operator.Do(t.Context(), "POST", path+"/answer", map[string]any{"yes": yes, "view": v.View, "comment": "as agreed"}, nil); err != nil {
		t.Errorf("answering: %v", err)
	}
}

// Persons are asked, by each of the ways, before a real service.
func TestApprovals(t *testing.T) {
	o := newOffice(t)
	write := func(n string) string { return `{"path":"/srv/` + n + `","content":"x"}` }

	t.Run("refuse: told how, and nobody is asked", func(t *testing.T) {
		r := o.gate(t, mcp.Options{})
		if pa := r.call(t, "read_file", `{"path":"/srv/a"}`); pa.Forward == nil {
			t.Fatalf("reading is refused: %s", pa.Answer.Append(nil))
		}
		got := refusedCall(t, r.call(t, "write_file", write("refuse")))
		if m := got.Meta.Refusal; m.Code != "approval_required" || m.Retry != "after_approval" || len(m.Offer) == 0 || !strings.Contains(got.Content[0].Text, "A person can allow this.") {
			t.Errorf("refused as %+v", got)
		}
		if ids := o.inbox(t); len(ids) > 0 {
			t.Errorf("persons are asked %q", ids)
		}
		if got := refusedCall(t, r.call(t, "read_file", `{"path":"/srv/.env"}`)); got.Meta.Refusal.Code != "private-file" && got.Meta.Refusal.Code != "forbidden" || got.Meta.Refusal.Retry == "after_approval" {
			t.Errorf("what nobody can allow is refused as %+v", got)
		}
	})
	t.Run("wait: held until yes, with progress", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "wait", Progress: 100 * time.Millisecond}})
		var mu sync.Mutex
		var told []string
		r.peer.Notify = func(f *mcp.Frame) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, string(f.Append(nil)))
			return nil
		}
		go o.answer(t, true)
		pa := r.admit(t, `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"write_file","arguments":`+write("wait")+`,"_meta":{"progressToken":"p1"}}}`)
		if pa.Forward == nil {
			t.Fatalf("approved, it is refused: %s", pa.Answer.Append(nil))
		}
		result(t, pa, `{"content":[]}`)
		r.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(told) == 0 || !strings.HasPrefix(told[0], `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":1,"message":"Waiting for a person`) {
			t.Errorf("told %q", told)
		}
	})
	t.Run("wait: no", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "wait"}})
		go o.answer(t, false)
		if got := refusedCall(t, r.call(t, "write_file", write("no"))); got.Meta.Refusal.Code != "approval_denied" || got.Meta.Refusal.Retry != "never" {
			t.Errorf("refused as %+v", got)
		}
		// And nobody is asked the same again at once.
		if got := refusedCall(t, r.call(t, "write_file", write("no"))); got.Meta.Refusal.Code != "approval_denied" || len(o.inbox(t)) > 0 {
			t.Errorf("again, refused as %+v", got)
		}
	})
	t.Run("wait: too long; then the same call passes, and no other", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "wait", Wait: 50 * time.Millisecond}})
		got := refusedCall(t, r.call(t, "write_file", write("late")))
		if m := got.Meta.Refusal; m.Code != "approval_pending" || m.Task == nil || m.Task.ID == "" || len(m.Offer) > 0 {
			t.Errorf("refused as %+v", got)
		}
		if got := refusedCall(t, r.call(t, "write_file", write("late"))); got.Meta.Refusal.Code != "approval_pending" || len(o.inbox(t)) != 1 {
			t.Errorf("again, refused as %+v, and %d asks", got, len(o.inbox(t)))
		}
		o.answer(t, true)
		var pa *mcp.Passage
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			if pa = r.call(t, "write_file", `{"content":"x", "path":"/srv/lat\u0065"}`); pa.Forward != nil { // the same, written otherwise
				break
			}
		}
		if pa.Forward == nil {
			t.Fatalf("approved, it is refused: %s", pa.Answer.Append(nil))
		}
		other := *r.peer
		other.Who = &gateway.Who{Subject: r.peer.Who.Subject, Key: "somebody else"}
		r.peer = &other
		if pa := r.call(t, "write_file", write("late")); pa.Forward != nil {
			t.Error("it passes for another caller")
		}
		cancelAll(t, o)
	})
	for _, tt := range []struct{ name, version, call, get string }{
		{"task: the extension of 2026-07-28", "2026-07-28",
			`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`, "result"},
		{"task: 2025-11-25", "2025-11-25", `,"task":{"ttl":60000}`, "tasks/result"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "task"}})
			r.peer.Version = tt.version
			call := `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"write_file","arguments":` + write(tt.version) + tt.call + `}}`
			pa := r.admit(t, call)
			if pa.Answer == nil || pa.Answer.Result == nil {
				t.Fatalf("no task is made: %+v", pa)
			}
			type task struct{ TaskID, Status, ResultType, StatusMessage string }
			var made struct {
				task
				Task task
			}
			if err := json.Unmarshal(pa.Answer.Result, &made); err != nil {
				t.Fatal(err)
			}
			id := made.TaskID + made.Task.TaskID
			if id == "" || made.Status+made.Task.Status != "working" || (made.ResultType == "task") != (tt.version == "2026-07-28") {
				t.Fatalf("made %s", pa.Answer.Result)
			}
			get := func(method string) *mcp.Passage {
				return r.admit(t, `{"jsonrpc":"2.0","id":6,"method":"`+method+`","params":{"taskId":"`+id+`"}}`)
			}
			if pa := get("tasks/get"); pa.Answer == nil || !strings.Contains(string(pa.Answer.Result), `"status":"working"`) {
				t.Errorf("before a yes %+v", pa)
			}
			// Nobody else sees it.
			mine := r.peer
			other := *r.peer
			other.Who = &gateway.Who{Subject: r.peer.Who.Subject, Key: "somebody else"}
			r.peer = &other
			if pa := get("tasks/get"); pa.Answer != nil {
				t.Errorf("somebody else sees %s", pa.Answer.Append(nil))
			}
			r.peer = mine
			o.answer(t, true)
			for deadline := time.Now().Add(10 * time.Second); ; {
				if pa = get("tasks/get"); pa.Forward != nil || time.Now().After(deadline) {
					break
				}
			}
			if pa.Forward == nil || pa.Forward.Method != "tools/call" || strings.Contains(string(pa.Forward.Params), `"task"`) || string(pa.Forward.ID) != "6" {
				t.Fatalf("after the yes %+v", pa)
			}
			// While the call is under way it is not made a second time.
			if again := get("tasks/get"); again.Answer == nil || !strings.Contains(string(again.Answer.Result), `"status":"working"`) {
				t.Errorf("meanwhile %+v", again)
			}
			// Nor is it taken back: it may have happened.
			if again := get("tasks/cancel"); again.Answer == nil || again.Answer.Error == nil || !strings.Contains(again.Answer.Error.Message, "under way") {
				t.Errorf("cancelled meanwhile %+v", again)
			}
			got := result(t, pa, `{"content":[{"type":"text","text":"written"}]}`)
			if !strings.Contains(got, `"status":"completed"`) {
				t.Errorf("done, the task is %s", got)
			}
			if tt.get == "tasks/result" {
				got = string(get("tasks/result").Answer.Append(nil))
				if !strings.Contains(got, `"io.modelcontextprotocol/related-task":{"taskId":"`+id) {
					t.Errorf("the result is %s", got)
				}
			} else if got = string(get("tasks/get").Answer.Append(nil)); !strings.Contains(got, `"resultType":"complete"`) {
				t.Errorf("the task is %s", got)
			}
			if !strings.Contains(got, `{"type":"text","text":"written"}`) {
				t.Errorf("the result is %s", got)
			}
			if pa := get("tasks/cancel"); pa.Answer == nil || pa.Answer.Error == nil || pa.Answer.Error.Code != -32602 {
				t.Errorf("cancelled after its end: %+v", pa.Answer)
			}
		})
	}
	t.Run("task: cancelled", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "task"}})
		pa := r.admit(t, `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"write_file","arguments":`+write("cancel")+`,"task":{}}}`)
		var made struct{ Task struct{ TaskID string } }
		if pa.Answer == nil || json.Unmarshal(pa.Answer.Result, &made) != nil || len(o.inbox(t)) != 1 {
			t.Fatalf("%+v", pa)
		}
		pa = r.admit(t, `{"jsonrpc":"2.0","id":6,"method":"tasks/cancel","params":{"taskId":"`+made.Task.TaskID+`"}}`)
		if pa.Answer == nil || !strings.Contains(string(pa.Answer.Result), `"status":"cancelled"`) || len(o.inbox(t)) != 0 {
			t.Errorf("cancelled: %+v, and %d asks wait", pa.Answer, len(o.inbox(t)))
		}
	})
	t.Run("task: a client that takes none", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "task"}})
		if got := refusedCall(t, r.call(t, "write_file", write("none"))); got.Meta.Refusal.Code != "approval_pending" {
			t.Errorf("refused as %+v", got)
		}
		cancelAll(t, o)
	})
	t.Run("task: a call that is allowed at once, as a task", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "task"}})
		pa := r.admit(t, `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"/srv/a"},"task":{}}}`)
		got := result(t, pa, `{"content":[{"type":"text","text":"read"}]}`)
		var made struct {
			Result struct{ Task struct{ TaskID string } }
		}
		if err := json.Unmarshal([]byte(got), &made); err != nil || made.Result.Task.TaskID == "" {
			t.Fatalf("%s, %v", got, err)
		}
		pa = r.admit(t, `{"jsonrpc":"2.0","id":6,"method":"tasks/result","params":{"taskId":"`+made.Result.Task.TaskID+`"}}`)
		if pa.Answer == nil || !strings.Contains(string(pa.Answer.Result), `"text":"read"`) {
			t.Errorf("the result is %+v", pa.Answer)
		}
	})
	t.Run("task: said of the server", func(t *testing.T) {
		r := o.gate(t, mcp.Options{Approvals: mcp.Approvals{Mode: "task"}})
		pa := r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
		if got := result(t, pa, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}`); !strings.Contains(got, `"tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}`) {
			t.Errorf("seen %s", got)
		}
		pa = r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := result(t, pa, `{"tools":[`+plainTool+`]}`); !strings.Contains(got, `"execution":{"taskSupport":"optional"}`) {
			t.Errorf("seen %s", got)
		}
	})
}

// cancelAll answers what waits with no, for the next test.
func cancelAll(t *testing.T, o *office) {
	t.Helper()
	if len(o.inbox(t)) > 0 {
		o.answer(t, false)
	}
}
