package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

func newApprovals() *cobra.Command {
	c := &cobra.Command{
		Use:   "approvals",
		Short: "See what agents ask people for, and answer",
		Long: `See what agents ask people for, and answer.

When a policy says "not without a person", an agent may ask. The ask waits for the people whom the
catalog names; each sees the exact act, who asks, and what a yes permits. Persons answer as themselves,
with a token of the role approver; administrators and auditors see everything, and never answer. Where the
catalog wants a passkey, a yes is given on the ask's page in a browser.

docs/approvals.md says how asks are answered.`,
		Example: `  $ safeconduct approvals list --mine --token-file anna.token
  $ safeconduct approvals show arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --token-file anna.token
  $ safeconduct approvals approve arq_5rwxbcu3mmpx7hrkmcrqhvgnmy --token-file anna.token`,
	}
	c.AddCommand(newApprovalsAsk(), newApprovalsList(), newApprovalsShow(), newApprovalsApprove(), newApprovalsRefuse(),
		newApprovalsBreakGlass(), newApprovalsReview(), newApprovalsRevoke(), newApprovalsCancel(),
		newApprovalsStory(), newApprovalsAway(), newApprovalsStats())
	return c
}

// An askInfo is an ask as the API shows it, as far as it is printed.
type askInfo struct {
	ID            string      `json:"id"`
	Kind          string      `json:"kind"`
	Status        string      `json:"status"`
	Items         []itemInfo  `json:"items"`
	Subject       authz.Ref   `json:"subject"`
	OnBehalf      []authz.Ref `json:"on_behalf"`
	Agent         string      `json:"agent"`
	Owner         string      `json:"owner"`
	Session       string      `json:"session"`
	PEP           string      `json:"pep"`
	Justification string      `json:"justification"`
	AskedAt       time.Time   `json:"asked_at"`
	ExpiresAt     time.Time   `json:"expires_at"`
	Why           string      `json:"why"`
	Joined        int64       `json:"joined"`
	Answers       []struct {
		By      string    `json:"by"`
		For     string    `json:"for"`
		Yes     bool      `json:"yes"`
		Comment string    `json:"comment"`
		At      time.Time `json:"at"`
		Passkey bool      `json:"passkey"`
		Broke   bool      `json:"broke_glass"`
	} `json:"answers"`
	Broken *struct {
		By      string    `json:"by"`
		Reason  string    `json:"reason"`
		Due     time.Time `json:"due"`
		Verdict string    `json:"verdict"`
	} `json:"broken_glass"`
}

type itemInfo struct {
	Action    string          `json:"action"`
	Arguments json.RawMessage `json:"arguments"`
	Resource  struct {
		authz.Ref
		Properties json.RawMessage `json:"properties"`
	} `json:"resource"`
	Data   string   `json:"data"`
	Labels []string `json:"labels"`
	Status string   `json:"status"`
	Grant  *struct {
		Until   time.Time `json:"until"`
		Used    int64     `json:"used"`
		Revoked time.Time `json:"revoked_at"`
	} `json:"grant"`
}

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
		AskedAt  time.Time `json:"asked_at"`
		Status   string    `json:"status"`
		Answered []string  `json:"answered"`
	} `json:"similar"`
	Standing *struct {
		Routes     []string `json:"routes"`
		Refuse     bool     `json:"refuse"`
		Review     bool     `json:"review"`
		BreakGlass bool     `json:"break_glass"`
		Passkey    bool     `json:"passkey"`
		Why        string   `json:"why"`
	} `json:"standing"`
	Warnings []string `json:"warnings"`
}

func newApprovalsList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List asks, newest first",
		Long: `List asks, newest first: to a person those that concern them, to administrators and auditors all.

--after goes on where an earlier list ended: it takes the id of the last ask that was shown.`,
		Example: `  $ safeconduct approvals list --mine --token-file anna.token
  ID                              STATUS   AGENT        WHAT                     ASKED      UNTIL
  arq_5rwxbcu3mmpx7hrkmcrqhvgnmy  pending  invoice-bot  pay on invoice:2026-114  2026-...   2026-...`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	f := c.Flags()
	mine := f.Bool("mine", false, "only asks that wait for the answer of the person whose token this is")
	status := f.String("status", "", "only asks in this `STATUS`: pending, approved, denied, expired, cancelled, failed, partial")
	agent := f.String("agent", "", "only asks of this `AGENT`")
	session := f.String("session", "", "only asks of this `SESSION`")
	review := f.Bool("review", false, "only broken glass that waits for a review")
	after := f.String("after", "", "only asks that follow the one with this `ID`")
	limit := f.Int("limit", 20, "at most `N` asks, 1000 at most")
	_ = c.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"pending", "approved", "denied", "expired", "cancelled", "failed", "partial"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var page list[json.RawMessage]
		path := query("/v1/approvals", "mine", set(*mine), "status", *status, "agent", *agent, "session", *session, "review", set(*review), "after", *after, "limit", strconv.Itoa(*limit))
		if err := api.call(c.Context(), "GET", path, nil, &page); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), page.Items)
		}
		t := newTable("ID", "STATUS", "AGENT", "WHAT", "ASKED", "UNTIL")
		for _, text := range page.Items {
			var a askInfo
			if err := json.Unmarshal(text, &a); err != nil {
				return err
			}
			who := a.Agent
			if who == "" {
				who = a.Subject.String()
			}
			t.add(clip(a.ID, 40), clip(a.Status, 20), clip(who, 40), clip(a.what(), 60), when(a.AskedAt), when(a.ExpiresAt))
		}
		return t.print(c.OutOrStdout(), "There are no such asks.")
	}
	return c
}

// set is the text of a flag's parameter: nothing, if it is not set.
func set(b bool) string {
	if b {
		return "true"
	}
	return ""
}

// what says in few words what is asked for.
func (a *askInfo) what() string {
	switch len(a.Items) {
	case 0:
		return a.Kind
	case 1:
		return a.Items[0].Action + " on " + a.Items[0].Resource.String()
	}
	return fmt.Sprintf("%s on %s and %s", a.Items[0].Action, a.Items[0].Resource.String(), plural(len(a.Items)-1, "more", "more"))
}

func newApprovalsShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one ask: everything needed to judge it",
		Long: `Show one ask: the exact act, where each argument came from, who asks, what the policies said, what a yes
permits, similar asks of the past, and what to look at twice.

What an agent wrote is printed as it wrote it; characters that do not show are printed as escapes.`,
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
		return printAsk(c.OutOrStdout(), &d)
	}
	return c
}

func askPath(id, what string) string { return "/v1/approvals/" + segment(id) + what }

func hintAsk(err error) error {
	if notFound(err) {
		return hinted(err, "`safeconduct approvals list` shows the asks that concern you; an id looks like arq_5rwxbcu3mmpx7hrkmcrqhvgnmy")
	}
	return err
}

// exact prints JSON as it is, but for characters that do not show, which are printed as escapes: a person
// must see what is there.
func exact(v []byte) string {
	var b strings.Builder
	for _, r := range string(v) {
		switch {
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t' || r == '\r': // between the members
			b.WriteByte(' ')
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// printAsk prints all that a person needs to judge an ask.
func printAsk(w io.Writer, d *detailInfo) error {
	p := &liner{w: w}
	p.line("%s", clip(d.Sentence, 2000))
	for _, warning := range d.Warnings {
		p.line("! %s", clip(warning, 400))
	}
	for i := range d.Acts {
		p.act(d, i)
	}
	p.line("")
	if len(d.Context) > 0 && string(d.Context) != "{}" {
		p.line("context    %s", exact(d.Context))
	}
	if d.Justification != "" {
		p.line("says       %s", clip(d.Justification, 2000))
	}
	if g := d.Asking; g != nil {
		p.line("agent      %s: %s, version %s, of %s, %s", clip(d.Agent, 80), clip(g.Purpose, 80), clip(g.Version, 40), clip(g.Owner, 80), clip(g.State, 20))
		var trust []string
		for _, t := range g.Trust {
			trust = append(trust, t.Class+" "+t.Level)
		}
		if trust != nil {
			p.line("trust      %s", strings.Join(trust, ", "))
		}
		for _, f := range g.Findings {
			p.line("finding    %s: %s", f.Severity, clip(f.Sentence, 200))
		}
	}
	for _, r := range d.Routes {
		passkey := ""
		if r.Passkey {
			passkey = ", each with a passkey"
		}
		p.line("route      %s (%s): %d of %d have said yes%s", clip(r.ID, 60), clip(r.Title, 80), len(r.Yes), r.Quorum, passkey)
	}
	for _, n := range d.Answers {
		said := "refused"
		switch {
		case n.Broke:
			said = "broke the glass"
		case n.Yes:
			said = "approved"
		}
		p.line("answer     %s %s, %s: %s", clip(n.By, 80), said, when(n.At), clip(n.Comment, 400))
	}
	for _, o := range d.Similar {
		p.line("before     %s: %s; %s", when(o.AskedAt), o.Status, clip(strings.Join(o.Answered, "; "), 200))
	}
	p.line("asked      %s, by %s, session %s", when(d.AskedAt), clip(d.PEP, 60), clip(d.Session, 60))
	p.line("status     %s, until %s", clip(d.Status, 20), when(d.ExpiresAt))
	if st := d.Standing; st != nil {
		p.line("you        %s", standingOf(st.Routes, st.Refuse, st.BreakGlass, st.Review, st.Passkey, st.Why))
	}
	return p.err
}

// standingOf says what a person may do.
func standingOf(routes []string, refuse, breakGlass, review, passkey bool, why string) string {
	text := "may answer for " + strings.Join(routes, ", ")
	switch {
	case len(routes) > 0 && passkey:
		text += ", a yes with a passkey only: on the ask's page"
	case len(routes) == 0 && refuse:
		text = "may refuse, and not approve: " + clip(why, 200)
	case len(routes) == 0:
		text = "may not answer: " + clip(why, 200)
	}
	if breakGlass {
		text += "; may break the glass"
	}
	if review {
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
	p.line("[%d] to %s", i, clip(act.Sentence, 400))
	if i < len(d.Items) {
		it := &d.Items[i]
		p.line("    data       %s %s", clip(it.Data, 20), clip(strings.Join(it.Labels, ", "), 200))
		if len(it.Resource.Properties) > 0 {
			p.line("    resource   %s", exact(it.Resource.Properties))
		}
		if g := it.Grant; g != nil {
			p.line("    approved   until %s, used %d times", when(g.Until), g.Used)
			if !g.Revoked.IsZero() {
				p.line("    revoked    %s", when(g.Revoked))
			}
		}
	}
	for _, a := range act.Arguments {
		name, _ := json.Marshal(a.Name)
		p.line("    argument   %s = %s   (%s)", exact(name), exact(a.Value), a.From)
	}
	for _, s := range act.Policy {
		p.line("    policy     %s: %s %s", clip(s.Policy, 80), clip(s.Message, 300), clip(s.Detail, 300))
	}
	if act.Allows != "" {
		p.line("    a yes      %s", clip(act.Allows, 600))
	}
	if act.Most != "" {
		p.line("    at most    %s", clip(act.Most, 600))
	}
}
