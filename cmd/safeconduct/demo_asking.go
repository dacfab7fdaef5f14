package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/demo"
)

// An askingReport is how one act that was held came to be approved by a person, and what did not follow.
type askingReport struct {
	Agent    authz.AgentID `json:"agent"`
	Person   string        `json:"person"`
	Held     authz.Effect  `json:"held"`
	Sentence string        `json:"sentence"` // what the person was shown first
	Allowed  authz.Effect  `json:"allowed"`  // the very act, with the approval
	Again    string        `json:"again"`    // why it was refused a second time
	Swapped  string        `json:"swapped"`  // why another recipient was refused by the same approval
	Took     float64       `json:"took_ms"`  // from the person's answer to the permission
}

// showAsking lets an agent ask the person for whom it acts about a payment that was held, and has the person
// agree. It needs an agent whose payments are allowed.
func showAsking(ctx context.Context, url, admin, pep string) (*askingReport, error) {
	administrator, err := client.New(url, admin)
	if err != nil {
		return nil, err
	}
	enforcement, err := client.New(url, pep)
	if err != nil {
		return nil, err
	}
	r := &askingReport{Agent: demoClerk, Person: demo.Person.ID}
	who := map[string]any{"name": "Emma Johnson", "why": "demonstration"}
	if err := administrator.Do(ctx, "PUT", "/v1/people/"+segment(r.Person), who, nil); err != nil {
		return nil, err
	}
	var made struct{ Token string }
	holder := map[string]any{"name": r.Person, "role": "approver", "why": "demonstration"}
	if err := administrator.Do(ctx, "POST", "/v1/callers", holder, &made); err != nil {
		return nil, err
	}
	person, err := client.New(url, made.Token)
	if err != nil {
		return nil, err
	}

	act := demoPayment(r.Agent)
	act.Observed.Provenance = &authz.Provenance{Untrusted: []string{"recipient", "amount"}, Prompt: []string{"subject", "date"}}
	held, err := enforcement.Evaluate(ctx, act, nil)
	if err != nil {
		return nil, err
	}
	if r.Held = held.Effect; held.Offer == nil {
		return nil, fmt.Errorf("a payment that others have written was answered with %s, and nobody can be asked", held.Code)
	}
	task, err := enforcement.RequestAccess(ctx, client.AccessRequest{
		Acts:          []client.Refused{{Request: act, Offer: held.Offer}},
		Justification: "The bill is in the file that you named.",
	})
	if err != nil {
		return nil, err
	}
	where := "/v1/approvals/" + segment(task.ID)
	var shown struct{ Sentence string }
	if err := person.Do(ctx, "GET", where, nil, &shown); err != nil {
		return nil, err
	}
	r.Sentence = shown.Sentence
	var view struct{ View int64 }
	if err := person.Do(ctx, "POST", where+"/view", map[string]any{}, &view); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := person.Do(ctx, "POST", where+"/answer", map[string]any{"yes": true, "view": view.View}, nil); err != nil {
		return nil, err
	}
	if task, err = enforcement.Task(ctx, task); err != nil {
		return nil, err
	}
	approval := task.Approval(0)
	if approval == nil {
		return nil, fmt.Errorf("the person agreed, and the task is %s", task.Status)
	}
	swapped := act
	swapped.Action.Properties = authz.Claimed(`{"recipient":"US133000000121212121212","amount":12.5,"subject":"lunch","date":"2026-01-31"}`)
	for _, try := range []struct {
		req authz.Request
		out func(*client.Answer)
	}{
		{swapped, func(a *client.Answer) { r.Swapped = a.Reason }},
		{act, func(a *client.Answer) { r.Allowed, r.Took = a.Effect, milliseconds(time.Since(begin)) }},
		{act, func(a *client.Answer) { r.Again = a.Reason }},
	} {
		a, err := enforcement.Evaluate(ctx, try.req, approval)
		if err != nil {
			return nil, err
		}
		try.out(a)
	}
	return r, nil
}

// print writes what a person reads of the report, no line longer than 100 columns.
func (r *askingReport) print(w io.Writer) error {
	_, err := io.WriteString(w, "\npeople:    "+indented(11, 100, fmt.Sprintf("a payment whose recipient others had written was held (%s), and %s was asked. %s "+
		"She agreed: %.1f ms later it was answered with %s, once; again: %s; another recipient: %s",
		r.Held, r.Person, r.Sentence, r.Took, r.Allowed, r.Again, r.Swapped))[11:])
	return err
}
