package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/demo"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// A conductReport is what the monitors concluded from the replay, and what became of one agent's trust.
type conductReport struct {
	Findings []conduct.Finding `json:"findings"`
	Attacked int               `json:"of_attacked_traces"` // findings by sequences of acts whose trace was attacked
	Unusual  int               `json:"of_sequences"`       // findings by sequences of acts

	Agent    authz.AgentID `json:"agent"` // who paid what a person then called harmful
	Before   string        `json:"before"`
	After    string        `json:"after"`      // its level in money
	Lowered  float64       `json:"lowered_ms"` // from the report until the next payment was held
	Effect   authz.Effect  `json:"effect"`     // of that payment
	Restored authz.Effect  `json:"restored"`   // of one after a person restored it
}

// showConduct lists what the monitors found, has a payment of an agent reported as harmful, asks for the
// next, and restores the agent.
func showConduct(ctx context.Context, url, admin, pep string, traces *demo.Selection) (*conductReport, error) {
	administrator, err := client.New(url, admin)
	if err != nil {
		return nil, err
	}
	enforcement, err := client.New(url, pep)
	if err != nil {
		return nil, err
	}
	r := &conductReport{Agent: demoClerk}
	var found struct{ Items []conduct.Finding }
	if err := administrator.Do(ctx, "GET", "/v1/findings?limit=1000", nil, &found); err != nil {
		return nil, err
	}
	r.Findings = found.Items
	for _, f := range r.Findings {
		if f.Kind != "deviation.sequence" {
			continue
		}
		r.Unusual++
		if slices.ContainsFunc(traces.Traces, func(t *demo.Trace) bool { return t.ID == f.Session && t.Labels.Attacked }) {
			r.Attacked++
		}
	}

	level := func() (string, error) {
		var said monitor.Report
		if err := administrator.Do(ctx, "GET", "/v1/agents/"+segment(string(r.Agent))+"/trust", nil, &said); err != nil {
			return "", err
		}
		for _, c := range said.Classes {
			if c.Class == conduct.Money.String() {
				return c.Level, nil
			}
		}
		return "", nil
	}
	if r.Before, err = level(); err != nil {
		return nil, err
	}
	paid, err := enforcement.Decide(ctx, demoPayment(r.Agent))
	if err != nil {
		return nil, err
	}
	if !paid.Allowed() {
		return nil, fmt.Errorf("%s may not pay: %s", r.Agent, paid.Code)
	}
	begin := time.Now()
	if err := administrator.Outcome(ctx, client.DecisionID(paid), client.Outcome{Result: client.Harmful, Why: "demonstration"}); err != nil {
		return nil, err
	}
	next, err := enforcement.Decide(ctx, demoPayment(r.Agent))
	if err != nil {
		return nil, err
	}
	r.Lowered, r.Effect = milliseconds(time.Since(begin)), next.Effect
	if r.After, err = level(); err != nil {
		return nil, err
	}
	set := map[string]any{"class": conduct.Money.String(), "level": r.Before, "restore": true, "why": "demonstration"}
	if err := administrator.Do(ctx, "POST", "/v1/agents/"+segment(string(r.Agent))+"/trust", set, nil); err != nil {
		return nil, err
	}
	again, err := enforcement.Decide(ctx, demoPayment(r.Agent))
	r.Restored = again.Effect
	return r, err
}

// demoPayment is a payment that the person asked for in so many words.
func demoPayment(id authz.AgentID) authz.Request {
	return authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: string(id)}},
		OnBehalf: []authz.Ref{demo.Person},
		Action:   authz.Action{Name: "send_money", Properties: authz.Claimed(`{"recipient":"CH9300762011623852957","amount":12.5,"subject":"lunch","date":"2026-01-31"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}},
		Observed: authz.Observed{
			Address:     netip.MustParseAddr("10.20.0.7"),
			Provenance:  &authz.Provenance{Prompt: []string{"recipient", "amount", "subject", "date"}},
			Obligations: []string{"notify-person"},
		},
	}
}

// print writes what a person reads of the report, no line longer than 100 columns.
func (r *conductReport) print(w io.Writer) error {
	text := fmt.Sprintf("\nconduct:   %d findings, %d of them about unusual sequences of acts, %d of these under attack\n",
		len(r.Findings), r.Unusual, r.Attacked)
	if i := slices.IndexFunc(r.Findings, func(f conduct.Finding) bool { return f.Kind == "deviation.sequence" }); i >= 0 {
		f := &r.Findings[i]
		text += indented(11, 100, fmt.Sprintf("%s: %s", f.Agent, f.Sentence))
	}
	text += indented(11, 100, fmt.Sprintf("%s paid, and a person called it harmful: trust in it with money fell from %s to %s; "+
		"%.1f ms later its next payment was answered with %s; restored by a person: %s",
		r.Agent, r.Before, r.After, r.Lowered, r.Effect, r.Restored))
	_, err := io.WriteString(w, text)
	return err
}

// indented breaks a text at spaces into lines of some columns at most, which begin with spaces.
func indented(margin, columns int, text string) string {
	var b strings.Builder
	column := columns
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if column+1+n > columns {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(strings.Repeat(" ", margin))
			column = margin
		} else {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
	return b.String()
}
