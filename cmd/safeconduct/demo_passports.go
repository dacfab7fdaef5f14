package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Two of the recorded agents, which get passports.
const (
	demoPlanner authz.AgentID = "banking.claude-3-5-sonnet-20241022"
	demoClerk   authz.AgentID = "banking.gpt-4o-2024-05-13"
)

// A passportReport is what became of two passports: an agent's own, and one by which another acts for it.
type passportReport struct {
	Holder    authz.AgentID `json:"holder"`
	Issued    float64       `json:"issued_ms"`  // how long it took
	Lifetime  float64       `json:"lifetime_s"` // of the passport
	Carries   []string      `json:"carries"`
	LeftOut   []string      `json:"left_out"`
	Why       string        `json:"why,omitempty"` // of the first that is left out
	Delegate  authz.AgentID `json:"delegate"`
	Delegated []string      `json:"delegated"`
	Inactive  float64       `json:"inactive_ms"` // from the order to suspend the holder until the delegate's passport counted no more
}

// showPassports enrols two agents, lets one get a passport and the other act for it, and suspends the first.
func showPassports(ctx context.Context, url, admin, pep string) (*passportReport, error) {
	administrator, err := client.New(url, admin)
	if err != nil {
		return nil, err
	}
	holder, err := demoEnrol(ctx, administrator, demoPlanner)
	if err != nil {
		return nil, err
	}
	delegate, err := demoEnrol(ctx, administrator, demoClerk)
	if err != nil {
		return nil, err
	}

	if _, err := holder.Metadata(ctx); err != nil { // an agent needs one URL to configure itself; it does so once
		return nil, err
	}
	r := &passportReport{Holder: demoPlanner, Delegate: demoClerk}
	start := time.Now()
	own, err := holder.Token(ctx, client.TokenRequest{MayAct: demoClerk})
	if err != nil {
		return nil, err
	}
	r.Issued = milliseconds(time.Since(start))
	r.Carries, r.Lifetime = own.Scope, time.Until(own.ExpiresAt).Round(time.Second).Seconds()
	for _, left := range own.Refused {
		r.LeftOut = append(r.LeftOut, left.Capability)
		r.Why = own.Refused[0].Message
	}
	acting, err := delegate.Exchange(ctx, own.Value, client.TokenRequest{Scope: []string{"see-accounts"}})
	if err != nil {
		return nil, err
	}
	r.Delegated = acting.Scope

	enforcement, err := client.New(url, pep)
	if err != nil {
		return nil, err
	}
	if said, err := enforcement.Introspect(ctx, acting.Value); err != nil {
		return nil, err
	} else if !said.Active {
		return nil, fmt.Errorf("the delegated passport of %s does not count", demoClerk)
	}
	start = time.Now()
	if err := demoState(ctx, administrator, demoPlanner, authz.AgentSuspended); err != nil {
		return nil, err
	}
	for {
		said, err := enforcement.Introspect(ctx, acting.Value)
		if err != nil {
			return nil, err
		}
		if !said.Active {
			break
		}
	}
	r.Inactive = milliseconds(time.Since(start))
	return r, demoState(ctx, administrator, demoPlanner, authz.AgentActive)
}

// demoEnrol gives an agent a key in memory.
func demoEnrol(ctx context.Context, administrator *client.Client, id authz.AgentID) (*client.Agent, error) {
	var enrolment struct {
		Token string `json:"token"`
	}
	if err := administrator.Do(ctx, "POST", "/v1/agents/"+segment(string(id))+"/enrolment", map[string]any{"why": "demonstration"}, &enrolment); err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return client.Enrol(ctx, client.Enrolment{Issuer: administrator.URL(), Token: enrolment.Token, Key: key})
}

func demoState(ctx context.Context, administrator *client.Client, id authz.AgentID, state authz.AgentState) error {
	return administrator.Do(ctx, "POST", "/v1/agents/"+segment(string(id))+"/state", map[string]any{"state": state, "why": "demonstration"}, nil)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// print writes what a person reads of the report.
func (r *passportReport) print(w io.Writer) error {
	left := ""
	if len(r.LeftOut) > 0 {
		left = fmt.Sprintf("\n           without %d more: %s", len(r.LeftOut), r.Why)
	}
	_, err := fmt.Fprintf(w, `
passports: %s got one in %.1f ms: %d capabilities for %.0f s%s
           %s acts for it by one with %d capability
           the first suspended: the second's passport counts no more, %.1f ms later
`, r.Holder, r.Issued, len(r.Carries), r.Lifetime, left, r.Delegate, len(r.Delegated), r.Inactive)
	return err
}
