package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

// payingHouse is an organisation whose agents pay, and whose people agree to larger sums.
var payingHouse = map[string]string{
	"catalog.yaml": `
types: {Account: {class: internal}}
capabilities: {pay: {class: money, actions: [pay]}}
approvers: {finance: {members: [{type: user, id: anna}]}}
approvals:
  routes: {finance: {title: Larger payments, approvers: [finance], uses: 5}}
entities: [{type: Account, id: acme}, {type: Account, id: globex}]
obligations: {masked: {type: mask, properties: {fields: [iban]}}}
`,
	"schema.cedarschema": `entity Account {};
action "pay" appliesTo { principal: [Agent, User], resource: [Account], context: { observed: Observed, claimed: Claimed, args: { amount: decimal } } };
`,
	"policies.cedar": `@id("pay") @obligations("masked")
permit (principal is Agent, action == Action::"pay", resource) when { context.observed.grant.within.contains("pay") };
@id("carry") permit (principal is Agent, action == Action::"token.issue", resource);
@id("large") @remedy("approval") @approvers("finance")
forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("500.0")) };
`,
	"agents.yaml": `agents: [{id: clerk, owner: olga, purpose: accounts-payable, version: "1", capabilities: [pay]}]`,
}

// askingService runs the service with the paying house. It returns an administrator, an enforcement point,
// and anna.
func askingService(t *testing.T) (admin, pep, anna *client.Client) {
	t.Helper()
	s := servertest.Start(t, servertest.Texts(t, payingHouse))
	var err error
	if admin, err = client.New(s.URL(), servertest.AdminToken); err != nil {
		t.Fatal(err)
	}
	var made struct{ Token string }
	for _, step := range []struct {
		method, path string
		in           map[string]any
		out          any
	}{
		{"PUT", "/v1/people/anna", map[string]any{"name": "Anna", "why": "test"}, nil},
		{"POST", "/v1/callers", map[string]any{"name": "anna", "role": "approver", "why": "test"}, &made},
	} {
		if err := admin.Do(t.Context(), step.method, step.path, step.in, step.out); err != nil {
			t.Fatalf("%s %s: %v", step.method, step.path, err)
		}
	}
	if pep, err = client.New(s.URL(), servertest.PEPToken); err != nil {
		t.Fatal(err)
	}
	if anna, err = client.New(s.URL(), made.Token); err != nil {
		t.Fatal(err)
	}
	return admin, pep, anna
}

// replies waits for the ask of somebody, looks at it and answers.
func replies(t *testing.T, anna *client.Client, yes bool, scope map[string]any) {
	var inbox struct {
		Items []struct{ ID string }
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(inbox.Items) == 0 {
		if err := anna.Do(t.Context(), "GET", "/v1/approvals?mine=true", nil, &inbox); err != nil || time.Now().After(deadline) {
			t.Errorf("anna's inbox: %+v, %v", inbox, err)
			return
		}
	}
	path := "/v1/approvals/" + inbox.Items[0].ID
	var v struct{ View int64 }
	if err := anna.Do(t.Context(), "POST", path+"/view", map[string]any{}, &v); err != nil {
		t.Errorf("looking: %v", err)
		return
	}
	in := map[string]any{"yes": yes, "view": v.View, "comment": "as agreed"}
	if scope != nil {
		in["scope"] = scope
	}
	if err := anna.Do(t.Context(), "POST", path+"/answer", in, nil); err != nil {
		t.Errorf("answering: %v", err)
	}
}

func pays(amount, account string) authz.Request {
	return authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "clerk"}},
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(fmt.Sprintf(`{"amount":%q}`, amount))},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: account}},
		Observed: authz.Observed{Session: "s1"},
	}
}

// A guard before a real service: refused, asked, approved, obliged, done; and no further than that.
func TestGuardAgainstTheService(t *testing.T) {
	admin, pep, anna := askingService(t)
	var masked int
	g := &client.Guard{
		Client:      pep,
		Obligations: map[string]client.Obliger{"mask": func(context.Context, authz.Obligation) error { masked++; return nil }},
		Ask: func(_ context.Context, _ authz.Request, a *client.Answer) *client.AccessRequest {
			return &client.AccessRequest{Justification: "Invoice 7 is due.", Client: map[string]any{"name": "the test"}}
		},
	}
	var done int
	do := func(req authz.Request) error {
		return g.Do(t.Context(), req, func(context.Context) error { done++; return nil })
	}
	if err := do(pays("100.0", "acme")); err != nil || done != 1 || masked != 1 {
		t.Fatalf("a small sum: %v, done %d, masked %d", err, done, masked)
	}
	answered := make(chan struct{})
	go func() { defer close(answered); replies(t, anna, true, nil) }()
	if err := do(pays("900.0", "acme")); err != nil || done != 2 {
		t.Fatalf("a larger sum: %v, done %d", err, done)
	}
	<-answered
	var r *client.RefusedError
	g.Ask = nil
	if err := do(pays("901.0", "acme")); !errors.As(err, &r) || !errors.Is(err, authz.ErrForbidden) || done != 2 || r.Answer.Offer == nil {
		t.Fatalf("nobody is asked: %v, done %d", err, done)
	}

	// Step by step, with an approval of two uses.
	ctx := t.Context()
	a, err := pep.Evaluate(ctx, pays("700.0", "acme"), nil)
	if err != nil || a.Allowed() || a.Offer == nil || a.Next() != client.NextRequest {
		t.Fatalf("%+v, %v", a, err)
	}
	task, err := pep.RequestAccess(ctx, client.AccessRequest{Acts: []client.Refused{{Request: pays("700.0", "acme"), Offer: a.Offer}}, Until: time.Now().Add(10 * time.Minute)})
	if err != nil || task.Done() || task.Approval(0) != nil {
		t.Fatalf("%+v, %v", task, err)
	}
	pending := task
	replies(t, anna, true, map[string]any{"uses": 2})
	if task, err = pep.Task(ctx, task); err != nil || task.Status != client.TaskApproved {
		t.Fatalf("%+v, %v", task, err)
	}
	approved := task.Approval(0)
	if _, err := pep.Cancel(ctx, pending, "too late"); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("cancelling what has ended: %v, want a conflict", err)
	}
	other := pays("700.0", "globex")
	if a, err := pep.Evaluate(ctx, other, approved); err != nil || a.Allowed() || a.Reason != authz.ApprovalOutOfScope || a.Next() != client.NextRequest {
		t.Errorf("another account: %+v, %v", a, err)
	}
	for i := range 3 {
		a, err := pep.Evaluate(ctx, pays("700.0", "acme"), approved)
		if err != nil || a.Allowed() != (i < 2) || i < 2 && !a.Until.Equal(approved.Until) || i == 2 && a.Reason != authz.ApprovalExpired {
			t.Errorf("use %d: %+v, %v", i+1, a, err)
		}
	}

	// Refused by anna.
	a, err = pep.Evaluate(ctx, pays("950.0", "acme"), nil)
	if err != nil || a.Offer == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	task, err = pep.RequestAccess(ctx, client.AccessRequest{Acts: []client.Refused{{Request: pays("950.0", "acme"), Offer: a.Offer}}})
	if err != nil {
		t.Fatal(err)
	}
	replies(t, anna, false, nil)
	if task, err = pep.Task(ctx, task); err != nil || task.Status != client.TaskDenied || task.Approval(0) != nil {
		t.Fatalf("anna says no: %+v, %v", task, err)
	}

	// Cancelled by who asked.
	a, err = pep.Evaluate(ctx, pays("800.0", "acme"), nil)
	if err != nil || a.Offer == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	task, err = pep.RequestAccess(ctx, client.AccessRequest{Acts: []client.Refused{{Request: pays("800.0", "acme"), Offer: a.Offer}}})
	if err != nil {
		t.Fatal(err)
	}
	if task, err = pep.Cancel(ctx, task, "not needed any more"); err != nil || task.Status != client.TaskCancelled {
		t.Errorf("cancelled: %+v, %v", task, err)
	}
	if _, err := anna.Evaluate(ctx, pays("1.0", "acme"), nil); !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("a person asks for a decision: %v", err)
	}

	// An agent asks for itself, by its own token.
	self, err := enrolReal(t, admin, "clerk").Client(client.TokenRequest{Scope: []string{"pay"}})
	if err != nil {
		t.Fatal(err)
	}
	own := pays("640.0", "globex")
	own.Subject, own.Observed = authz.Entity{}, authz.Observed{}
	if a, err = self.Evaluate(ctx, own, nil); err != nil || a.Offer == nil {
		t.Fatalf("an agent for itself: %+v, %v", a, err)
	}
	if task, err = self.RequestAccess(ctx, client.AccessRequest{Acts: []client.Refused{{Request: own, Offer: a.Offer}}, Justification: "I am asked to."}); err != nil {
		t.Fatal(err)
	}
	if task, err = self.Cancel(ctx, task, ""); err != nil || task.Status != client.TaskCancelled {
		t.Errorf("cancelled by the agent: %+v, %v", task, err)
	}

	// The whole story of the first, from one place.
	var inbox struct {
		Items []struct{ ID, Status string }
	}
	if err := anna.Do(ctx, "GET", "/v1/approvals?status=approved", nil, &inbox); err != nil || len(inbox.Items) != 2 {
		t.Fatalf("approved: %+v, %v", inbox, err)
	}
	var story struct {
		Steps []struct{ Kind, What string }
	}
	if err := anna.Do(ctx, "GET", "/v1/approvals/"+inbox.Items[1].ID+"/story", nil, &story); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, s := range story.Steps {
		kinds = append(kinds, s.Kind)
	}
	if got, _ := json.Marshal(kinds); string(got) != `["decision.made","approval.asked","approval.viewed","approval.answered","approval.used","decision.made"]` {
		t.Errorf("the story is %s: %+v", got, story)
	}
}
