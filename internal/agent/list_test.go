package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
)

func TestAgentsFilter(t *testing.T) {
	ctx := context.Background()
	r, _ := open(t)
	put := func(id, owner, purpose, capabilities string, state authz.AgentState) {
		t.Helper()
		a := bot(id)
		a.Owner, a.Purpose, a.State, a.Capabilities = owner, purpose, state, strings.Fields(capabilities)
		if _, err := r.Put(ctx, "admin:anna", "new", a, 0); err != nil {
			t.Fatal(err)
		}
	}
	put("c", "Anna", "orders", "read write", authz.AgentActive)
	put("a", "Ben", "orders", "read", authz.AgentSuspended)
	put("b", "Anna", "Payroll", "", authz.AgentActive)
	put("d", "Ben", "payroll", "write", authz.AgentQuarantined)

	find := func(f agent.Filter, after authz.AgentID, limit int, want string) {
		t.Helper()
		got := []string{}
		for _, a := range r.Agents(f, after, limit) {
			got = append(got, string(a.ID))
		}
		if diff := cmp.Diff(strings.Fields(want), got); diff != "" {
			t.Errorf("Agents(%+v, %q, %d) (-want +got):\n%s", f, after, limit, diff)
		}
	}
	find(agent.Filter{}, "", 10, "a b c d")
	find(agent.Filter{}, "", 2, "a b")
	find(agent.Filter{}, "b", 2, "c d")
	find(agent.Filter{}, "bb", 2, "c d")
	find(agent.Filter{}, "d", 2, "")
	find(agent.Filter{}, "", 0, "")
	find(agent.Filter{State: authz.AgentActive}, "", 10, "b c")
	find(agent.Filter{Owner: "Ben"}, "", 10, "a d")
	find(agent.Filter{Purpose: "payroll"}, "", 10, "d")
	find(agent.Filter{Capability: "write"}, "", 10, "c d")
	find(agent.Filter{Text: "PAYROLL"}, "", 10, "b d")
	find(agent.Filter{Text: "anna", State: authz.AgentActive, Capability: "read"}, "", 10, "c")
	find(agent.Filter{Owner: "nobody"}, "", 10, "")
}

// Paging through many finds each once, also when few are selected.
func TestAgentsPages(t *testing.T) {
	s := &spine{}
	r := agent.NewRegistry(agent.Config{Store: hole{}, Log: s})
	s.replicas = append(s.replicas, r)
	for i := range 3000 {
		a := bot(fmt.Sprintf("bot-%d", i))
		if i%1000 == 7 {
			a.Owner = "rare"
		}
		if _, err := r.Put(context.Background(), "admin:anna", "new", a, 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Agents(agent.Filter{Owner: "rare"}, "", 10); len(got) != 3 {
		t.Errorf("found %d rare agents, want 3", len(got))
	}
	seen, last := 0, authz.AgentID("")
	for {
		page := r.After(last, 701)
		for _, a := range page {
			if a.ID <= last {
				t.Fatalf("agent %q follows %q", a.ID, last)
			}
			last = a.ID
			seen++
		}
		if len(page) < 701 {
			break
		}
	}
	if seen != 3000 {
		t.Errorf("pages have %d agents, want 3000", seen)
	}
}
