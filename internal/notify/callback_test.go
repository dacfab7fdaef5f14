package notify_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

func callbacks(srv *receiver, allow ...string) notify.Channels {
	return notify.Channels{Callbacks: map[string]notify.Callback{"gateway": {Allow: allow, Secrets: [][]byte{secret}, Client: srv.client()}}}
}

// Callback Completion: "Callback notifications MUST contain a task member", "state: Opaque value supplied by
// the PEP and returned unmodified", "MUST authenticate to the callback endpoint".
func TestCallback(t *testing.T) {
	for _, state := range []string{`"b3Blbi1kb2N1bWVudC1mbG93"`, `{"b":[1.50,null],"a":"<&>"}`, `17`, ``} {
		srv := newReceiver(t)
		h := open(t, callbacks(srv, srv.URL+"/callbacks"))
		h.ask("arq_1", "silent", func(a *approval.Ask) {
			a.Callback = &approval.Callback{Endpoint: srv.URL + "/callbacks/requests", State: json.RawMessage(state)}
		})
		h.pass()
		if got := srv.take(); len(got) != 0 {
			t.Errorf("told %d times of what is pending", len(got))
		}
		h.end("arq_1", approval.Approved)
		h.pass()
		r := srv.one(t)
		verified(t, secret, r)
		var got, want map[string]any
		if err := json.Unmarshal(r.Body, &got); err != nil {
			t.Fatal(err)
		}
		text := `{"task":{"id":"arq_1","status":"approved","status_endpoint":"https://pdp.example.com/access/v1/requests/arq_1"}}`
		if state != "" {
			text = `{"state":` + state + `,` + text[1:]
		}
		_ = json.Unmarshal([]byte(text), &want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("callback with state %s (-want +got):\n%s", state, diff)
		}
		h.wantState("arq_1", "callback gateway ended", notify.Told)
	}
}

// "events: Array of event names requested by the PEP."
func TestCallbackEvents(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, callbacks(srv, srv.URL))
	for _, c := range []struct {
		id     string
		events []string
		status approval.Status
		want   bool
	}{
		{"arq_1", nil, approval.Denied, true},
		{"arq_2", []string{"approved", "denied"}, approval.Denied, true},
		{"arq_3", []string{"approved"}, approval.Expired, false},
		{"arq_4", []string{"partial"}, approval.Partial, true},
		{"arq_5", []string{"cancelled", "failed"}, approval.Failed, true},
	} {
		h.ask(c.id, "silent", func(a *approval.Ask) { a.Callback = &approval.Callback{Endpoint: srv.URL + "/x", Events: c.events} })
		h.end(c.id, c.status)
		h.pass()
		if got := len(srv.take()) == 1; got != c.want {
			t.Errorf("events %v, %s: told %v, want %v", c.events, c.status, got, c.want)
		}
	}
}

// A callback that is not permitted any more when it is to be sent is not sent.
func TestCallbackNotPermittedAnyMore(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, callbacks(srv, srv.URL+"/callbacks"))
	h.ask("arq_1", "silent", func(a *approval.Ask) { a.Callback = &approval.Callback{Endpoint: srv.URL + "/elsewhere"} })
	h.ask("arq_2", "silent", func(a *approval.Ask) {
		a.PEP, a.Callback = "another", &approval.Callback{Endpoint: srv.URL + "/callbacks"}
	})
	h.end("arq_1", approval.Approved)
	h.end("arq_2", approval.Approved)
	h.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("sent %d callbacks, want none", len(got))
	}
	h.wantState("arq_1", "callback gateway ended", notify.Dead)
	h.wantState("arq_2", "callback another ended", notify.Dead)
}

// "MUST validate that the endpoint is authorized for the authenticated PEP" and "MUST reject callback
// endpoints that resolve to loopback, link-local, private-use, or otherwise internal network addresses
// unless the deployment has explicitly allowed that destination".
func TestCheckCallback(t *testing.T) {
	srv := newReceiver(t)
	cs := callbacks(srv, "https://127.0.0.1/here", "https://[::1]/there")
	guarded := cs.Callbacks["gateway"]
	guarded.Client, guarded.Allow = outbound.New(outbound.Config{}), []string{"https://127.0.0.1/", "https://169.254.169.254/", "https://8.8.8.8/in", "https://localhost/", "https://nothing.invalid/"}
	cs.Callbacks["guarded"] = guarded
	h := open(t, cs)
	for _, c := range []struct {
		pep, endpoint, state string
		events               []string
		want                 error
	}{
		{"gateway", "https://127.0.0.1/here", "", nil, nil},
		{"gateway", "https://127.0.0.1/here/too?x=1", `"s"`, []string{"approved", "denied", "expired", "cancelled", "failed", "partial"}, nil},
		{"gateway", "https://127.0.0.1/hereafter", "", nil, authz.ErrForbidden},
		{"gateway", "https://127.0.0.1/elsewhere", "", nil, authz.ErrForbidden},
		{"gateway", "https://[::1]/there", "", nil, authz.ErrForbidden}, // permitted by name, but not this network
		{"gateway", "http://127.0.0.1/here", "", nil, authz.ErrInvalid},
		{"gateway", "https://u:p@127.0.0.1/here", "", nil, authz.ErrInvalid},
		{"gateway", "https://127.0.0.1/here#x", "", nil, authz.ErrInvalid},
		{"gateway", "https://127.0.0.1/here/" + strings.Repeat("x", 3000), "", nil, authz.ErrInvalid},
		{"gateway", "", "", nil, authz.ErrInvalid},
		{"gateway", "https://127.0.0.1/here", "", []string{"approved", "asked"}, authz.ErrInvalid},
		{"gateway", "https://127.0.0.1/here", "", slices.Repeat([]string{"denied"}, 7), authz.ErrInvalid},
		{"gateway", "https://127.0.0.1/here", `"` + strings.Repeat("x", 5000) + `"`, nil, authz.ErrInvalid},
		{"stranger", "https://127.0.0.1/here", "", nil, authz.ErrForbidden},
		{"", "https://127.0.0.1/here", "", nil, authz.ErrForbidden},
		{"guarded", "https://8.8.8.8/in", "", nil, nil},
		{"guarded", "https://127.0.0.1/", "", nil, authz.ErrForbidden},
		{"guarded", "https://localhost/", "", nil, authz.ErrForbidden},
		{"guarded", "https://169.254.169.254/latest", "", nil, authz.ErrForbidden},
		{"guarded", "https://nothing.invalid/", "", nil, authz.ErrInvalid},
	} {
		err := h.CheckCallback(t.Context(), c.pep, &approval.Callback{Endpoint: c.endpoint, State: json.RawMessage(c.state), Events: c.events})
		wantKind(t, "CheckCallback("+c.pep+", "+c.endpoint[:min(len(c.endpoint), 60)]+")", err, c.want)
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		prefix, address string
		want            bool
	}{
		{"https://a.example/cb", "https://a.example/cb", true},
		{"https://a.example/cb", "https://a.example/cb/", true},
		{"https://a.example/cb", "https://a.example/cb/1", true},
		{"https://a.example/cb", "https://a.example/cb?x=1", true},
		{"https://a.example/cb", "https://A.EXAMPLE/cb", true},
		{"https://a.example/cb/", "https://a.example/cb", true},
		{"https://a.example", "https://a.example/anything", true},
		{"https://a.example", "https://a.example", true},
		{"https://a.example/", "https://a.example", true},
		{"https://a.example:8443/cb", "https://a.example:8443/cb", true},
		{"https://a.example/cb", "https://a.example/cbx", false},
		{"https://a.example/cb", "https://a.example/", false},
		{"https://a.example/cb", "https://a.example.evil/cb", false},
		{"https://a.example/cb", "https://a.example:8443/cb", false},
		{"https://a.example/cb", "https://b.example/cb", false},
		{"https://a.example/cb", "http://a.example/cb", false},
		{"https://a.example/cb", "https://a.example/cb/../admin", false},
		{"https://a.example/cb", "https://a.example/cb/%2e%2e/admin", false},
		{"https://a.example/cb", "https://a.example/cb/..%2fadmin", false},
		{"https://a.example/cb", "https://a.example/cb/..%5Cadmin", false},
		{"https://a.example/cb", "https://a.example/cb/..;/admin", false},
		{"https://a.example/cb", "https://a.example/cb/..;x=1/admin", false},
		{"https://a.example/cb", "https://a.example/cb/.;/x", false},
		{"https://a.example/cb", "https://a.example/cb/.../x", false},
		{"https://a.example/cb", "https://a.example/cb/%252e%252e/admin", false},
		{"https://a.example/cb", "https://a.example/cb/%25", false},
		{"https://a.example/cb", "https://a.example/cb/.well-known/a..b;c", true},
		{"https://a.example/cb", "https://a.example/cb?x=%25", true},
		{"https://a.example/cb", "https://a.example//cb", false},
		{"https://a.example/cb", "https://a.example/x/../cb", false},
		{"https://a.example/cb", "https://a.example/./cb", false},
	} {
		if got := notify.Below(c.prefix, c.address); got != c.want {
			t.Errorf("below(%q, %q) = %v, want %v", c.prefix, c.address, got, c.want)
		}
	}
}

// A callback is tried again like everything else, and is told once.
func TestCallbackRetried(t *testing.T) {
	srv := newReceiver(t)
	h := open(t, callbacks(srv, srv.URL))
	srv.status(http.StatusFound) // a redirect is no success, and nobody follows it
	h.ask("arq_1", "silent", func(a *approval.Ask) { a.Callback = &approval.Callback{Endpoint: srv.URL + "/x"} })
	h.end("arq_1", approval.Expired)
	h.pass()
	srv.one(t)
	h.wantState("arq_1", "callback gateway ended", notify.Waiting)
	srv.answers(nil)
	h.clock.advance(notify.Longest)
	h.pass()
	srv.one(t)
	h.clock.advance(notify.Longest)
	h.pass()
	if got := srv.take(); len(got) != 0 {
		t.Errorf("told %d times more", len(got))
	}
}
