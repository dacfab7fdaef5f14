package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// A detailInfo is an ask with all that is known of it.
type detailInfo struct {
	askInfo
	Sentence string          `json:"sentence"`
	Context  json.RawMessage `json:"context"`
	Acts     []struct {
		Sentence  string `json:"sentence"`
		Arguments []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
			From  string          `json:"from"`
		} `json:"arguments"`
		Policy []struct {
			Policy  string `json:"policy"`
			Message string `json:"message"`
			Detail  string `json:"detail"`
		} `json:"policy"`
		Allows string `json:"allows"`
		Most   string `json:"most"`
	} `json:"acts"`
	Routes []struct {
		ID      string   `json:"id"`
		Title   string   `json:"title"`
		Quorum  int      `json:"quorum"`
		Yes     []string `json:"yes"`
		Passkey bool     `json:"passkey"`
	} `json:"routes"`
	Asking *struct {
		Purpose  string `json:"purpose"`
		Version  string `json:"version"`
		Owner    string `json:"owner"`
		State    string `json:"state"`
		Findings []struct {
			Severity string `json:"severity"`
			Sentence string `json:"sentence"`
		} `json:"findings"`
		Trust []struct {
			Class string `json:"class"`
			Level string `json:"level"`
		} `json:"trust"`
	} `json:"asking"`
	Similar []struct {
		ID       string    `json:"id"`
		AskedAt  time.Time `json:"asked_at"`
		Status   string    `json:"status"`
		Acts     []string  `json:"acts"`
		Answered []string  `json:"answered"`
	} `json:"similar"`
	Standing *standingInfo `json:"standing"`
	Warnings []string      `json:"warnings"`
}

// A standingInfo is what the person who calls may do.
type standingInfo struct {
	Approve    bool     `json:"approve"`
	Routes     []string `json:"routes"` // none of an ask for a token
	Refuse     bool     `json:"refuse"`
	Review     bool     `json:"review"`
	BreakGlass bool     `json:"break_glass"`
	Passkey    bool     `json:"passkey"`
	For        string   `json:"for"`
	Why        string   `json:"why"`
}

func newApprovalsShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one ask: everything needed to judge it",
		Long: `Show one ask: the exact act, where each argument came from, who asks, what the policies said, what a yes
permits, what was approved, similar asks of the past, and what to look at twice.

What an agent wrote is printed as it wrote it, between quotation marks; characters that do not show are
printed as escapes. What the agent "says" is its own claim: nobody has checked it.`,
		Example: `  $ safeconduct approvals show arq_5rwxbcu3mmpx7hrkmcrqhvgnmy
  The agent "invoice-bot" asks to do "pay" on "invoice" "2026-114".
  ...`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var text json.RawMessage
		if err := api.call(c.Context(), "GET", askPath(args[0], ""), nil, &text); err != nil {
			return hintAsk(err)
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), text)
		}
		var d detailInfo
		if err := json.Unmarshal(text, &d); err != nil {
			return err
		}
		d.recall(c.Context(), api)
		return printAsk(c.OutOrStdout(), &d)
	}
	return c
}

// recall reads what was asked in similar asks, with the arguments, as far as the person may see them.
func (d *detailInfo) recall(ctx context.Context, api *remote) {
	for i := range d.Similar {
		o := &d.Similar[i]
		var a askInfo
		if api.call(ctx, "GET", askPath(o.ID, ""), nil, &a) == nil {
			o.Status, o.Acts = a.state(), []string{a.what()}
		}
	}
}

// printAsk prints all that a person needs to judge an ask.
func printAsk(w io.Writer, d *detailInfo) error {
	p := &liner{w: w}
	p.line("%s", brief(d.Sentence, 4000))
	for _, warning := range d.Warnings {
		p.line("! %s", brief(warning, 400))
	}
	for i := range d.Acts {
		p.act(d, i)
	}
	p.line("")
	if d.Message != "" {
		p.line("message    %s", quote(d.Message, 2000))
	}
	if len(d.Details) > 0 {
		p.line("details    %s", exact(d.Details))
	}
	if len(d.Context) > 0 && string(d.Context) != "{}" {
		p.line("context    %s", exact(d.Context))
	}
	if d.Justification != "" {
		p.line("says       %s", quote(d.Justification, 20000))
	}
	p.agent(d)
	for _, r := range d.Routes {
		text := brief(r.ID, 60)
		if r.Title != "" {
			text += " (" + brief(r.Title, 80) + ")"
		}
		if r.Quorum > 0 {
			text += fmt.Sprintf(": %d of %d have said yes", len(r.Yes), r.Quorum)
		}
		if r.Passkey {
			text += ", each with a passkey"
		}
		p.line("route      %s", text)
	}
	p.answers(d)
	for _, o := range d.Similar {
		text := when(o.AskedAt) + " " + brief(o.Status, 20)
		for _, act := range o.Acts {
			text += "; " + brief(act, 300)
		}
		for _, said := range o.Answered {
			text += "; " + brief(said, 200)
		}
		p.line("before     %s", text)
	}
	asked := when(d.AskedAt)
	if by := cmp.Or(d.PEP, d.Requester); by != "" {
		asked += ", by " + brief(by, 60)
	}
	if d.Session != "" {
		asked += ", session " + brief(d.Session, 60)
	}
	p.line("asked      %s", asked)
	if !d.RequestedUntil.IsZero() {
		p.line("wants      an approval until %s", when(d.RequestedUntil))
	}
	p.line("status     %s", d.status())
	if st := d.Standing; st != nil {
		p.line("you        %s", st.words())
	}
	return p.err
}

// status says how an ask stands, and until when.
func (a *askInfo) status() string {
	text := brief(a.state(), 20)
	if t := a.until(); !t.IsZero() {
		return text + ", until " + when(t)
	}
	if !a.ClosedAt.IsZero() && text != "revoked" { // each act says when it was revoked
		text += " " + when(a.ClosedAt)
	}
	if a.Why != "" && text != "revoked" {
		text += ": " + quote(a.Why, 400)
	}
	return text
}

// words says what a person may do with an ask.
func (st *standingInfo) words() string {
	why := ""
	if st.Why != "" {
		why = ": " + brief(st.Why, 200)
	}
	var text string
	switch {
	case st.Approve && len(st.Routes) == 0:
		text = "may answer: it is asked of you alone"
	case st.Approve:
		routes := make([]string, len(st.Routes))
		for i, id := range st.Routes {
			routes[i] = brief(id, 60)
		}
		text = "may answer for " + strings.Join(routes, ", ")
	case st.Refuse:
		text = "may refuse, and not approve" + why
	default:
		text = "may not answer" + why
	}
	if st.For != "" {
		text += ", in the place of " + brief(st.For, 64)
	}
	if st.Approve && st.Passkey {
		text += ", a yes with a passkey only: on the ask's page"
	}
	if st.BreakGlass {
		text += "; may break the glass"
	}
	if st.Review {
		text += "; may review the broken glass"
	}
	return text
}

// A liner prints lines, until one fails.
type liner struct {
	w   io.Writer
	err error
}

func (p *liner) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
}

// act prints one act, exactly.
func (p *liner) act(d *detailInfo, i int) {
	act := &d.Acts[i]
	p.line("")
	p.line("[%d] to %s", i, brief(act.Sentence, 2000))
	if i < len(d.Items) {
		it := &d.Items[i]
		if data := strings.TrimSpace(it.Data + " " + strings.Join(it.Labels, ", ")); data != "" {
			p.line("    data       %s", brief(data, 400))
		}
		if len(it.Resource.Properties) > 0 {
			p.line("    resource   %s", exact(it.Resource.Properties))
		}
		switch {
		case it.Grant != nil:
			p.line("    approved   %s", it.Grant)
		case len(d.Items) > 1 && it.Status != "":
			p.line("    status     %s", brief(it.Status, 20))
		}
	}
	for _, a := range act.Arguments {
		name, _ := json.Marshal(a.Name)
		p.line("    argument   %s = %s   (%s)", exact(name), exact(a.Value), brief(a.From, 20))
	}
	for _, s := range act.Policy {
		text := brief(s.Policy, 80)
		if said := strings.TrimSpace(s.Message + " " + s.Detail); said != "" {
			text += ": " + brief(said, 600)
		}
		p.line("    policy     %s", text)
	}
	if act.Allows != "" && d.Status == "pending" {
		p.line("    a yes      %s", brief(act.Allows, 2000))
	}
	if act.Most != "" && d.Status == "pending" {
		p.line("    at most    %s", brief(act.Most, 2000))
	}
}

// agent prints who asks.
func (p *liner) agent(d *detailInfo) {
	g := d.Asking
	if g == nil {
		return
	}
	var about []string
	for _, part := range [][2]string{{"", g.Purpose}, {"version ", g.Version}, {"of ", g.Owner}, {"", g.State}} {
		if part[1] != "" {
			about = append(about, part[0]+brief(part[1], 80))
		}
	}
	text := brief(d.Agent, 80)
	if len(about) > 0 {
		text += ": " + strings.Join(about, ", ")
	}
	p.line("agent      %s", text)
	var trust []string
	for _, t := range g.Trust {
		trust = append(trust, brief(t.Class+" "+t.Level, 60))
	}
	if trust != nil {
		p.line("trust      %s", strings.Join(trust, ", "))
	}
	for _, f := range g.Findings {
		p.line("finding    %s: %s", brief(f.Severity, 20), brief(f.Sentence, 400))
	}
}

// answers prints who said what, and what became of broken glass.
func (p *liner) answers(d *detailInfo) {
	for _, n := range d.Answers {
		text := brief(n.By, 80)
		if n.For != "" {
			text += ", in the place of " + brief(n.For, 64) + ","
		}
		switch {
		case n.Broke:
			text += " broke the glass"
		case n.Yes:
			text += " approved"
		default:
			text += " refused"
		}
		text += " " + when(n.At)
		if n.Yes && !n.Scope.plain() {
			text += ", " + n.Scope.String()
			if !n.Scope.Until.IsZero() {
				text += ", until " + when(n.Scope.Until) + " at the latest"
			}
		}
		if !n.Void.IsZero() {
			text += ", which counts no more"
		}
		if n.Comment != "" {
			text += ": " + quote(n.Comment, 2000)
		}
		p.line("answer     %s", text)
	}
	if b := d.Broken; b != nil {
		text := "nobody has reviewed it yet; due " + when(b.Due)
		if b.Verdict != "" {
			text = brief(b.Reviewer, 80) + " found it " + brief(b.Verdict, 20)
			if b.Comment != "" {
				text += ": " + quote(b.Comment, 2000)
			}
		}
		p.line("glass      broken by %s: %s; %s", brief(b.By, 80), quote(b.Reason, 2000), text)
	}
}
