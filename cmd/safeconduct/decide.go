package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
)

const envPEPToken = "SAFECONDUCT_PEP_TOKEN"

func newDecide() *cobra.Command {
	c := &cobra.Command{
		Use:   "decide [SUBJECT ACTION RESOURCE]",
		Short: "Ask whether an act may happen",
		Long: `Ask the service one question and print the answer. The question is a real one: its answer is
recorded like every other. SUBJECT and RESOURCE are written TYPE:ID. With --request the whole
question, an AuthZEN evaluation request, is read from a file, or from standard input for "-".

An administrator's token is enough to ask. What an enforcement point saw (--ip, --session,
--prompt and the other origins of arguments, --on-behalf) may only be said with the token of one,
which is taken from SAFECONDUCT_PEP_TOKEN if it is set. The exit status is 0 if the act is allowed,
3 if it is refused, and 1 if there is no answer.`,
		Example: `  $ safeconduct decide agent:banking.gpt-4o-2024-05-13 send_money Account:own \
        --arg recipient=DE02120300000000202051 --arg amount:=98.70 --arg subject=Bill \
        --arg date=2026-11-30 --untrusted recipient --on-behalf user:emma --ip 10.20.0.7
  refused until a person approves (approval_required), decision d65
    payee (agent): The payee does not stand in the person's own words. Ask for approval of exactly this act.
    remedy: approval
    would help (person): A person can approve this act.`,
		Args: cobra.MaximumNArgs(3),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	q := question{}
	f := c.Flags()
	f.StringVar(&q.file, "request", "", "`FILE` with the whole question as AuthZEN JSON; - is standard input")
	q.flags(c)
	_ = c.MarkFlagFilename("request", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		if token := os.Getenv(envPEPToken); token != "" && conn.tokenFile == "" {
			conn.token = token
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		if q.file != "" && (len(args) > 0 || q.any()) {
			return usageError{errors.New("--request holds the whole question: leave out the rest")}
		}
		if q.file != "" {
			return q.send(c, api, *asJSON)
		}
		if len(args) != 3 {
			return usageError{hinted(errors.New("a question has a subject, an action and a resource"), "write them as agent:ID ACTION TYPE:ID, or give --request FILE")}
		}
		req, err := q.request(args)
		if err != nil {
			return usageError{err}
		}
		d, err := api.Decide(c.Context(), req)
		if err != nil {
			return api.hinted(err)
		}
		return answer(c, &d, *asJSON)
	}
	return c
}

// A question is what the flags of decide say.
type question struct {
	file                                 string
	args, claims, properties, onBehalf   []string
	ip, session, task                    string
	prompt, operator, untrusted, unknown []string
}

// flags adds to c the flags that say what is asked.
func (q *question) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&q.args, "arg", nil, "argument of the act: `NAME=TEXT`, or NAME:=JSON; may be repeated")
	f.StringArrayVar(&q.claims, "claim", nil, "claim of the moment: `NAME=TEXT`, or NAME:=JSON; may be repeated")
	f.StringArrayVar(&q.properties, "property", nil, "property of the resource: `NAME=TEXT`, or NAME:=JSON; may be repeated")
	f.StringArrayVar(&q.onBehalf, "on-behalf", nil, "for whom the agent acts: `TYPE:ID`; may be repeated, nearest first")
	f.StringVar(&q.ip, "ip", "", "`ADDRESS` of the agent, as the enforcement point saw it")
	f.StringVar(&q.session, "session", "", "`SESSION` of the act, as the enforcement point keeps it")
	f.StringVar(&q.task, "task", "", "`KIND` of task that the session is, as the enforcement point keeps it")
	f.StringSliceVar(&q.prompt, "prompt", nil, "`ARGUMENTS` that come from the person's own words")
	f.StringSliceVar(&q.operator, "operator", nil, "`ARGUMENTS` that come from the operator")
	f.StringSliceVar(&q.untrusted, "untrusted", nil, "`ARGUMENTS` that come from text that others can write")
	f.StringSliceVar(&q.unknown, "unknown", nil, "`ARGUMENTS` of which nobody knows where they come from")
}

func (q *question) any() bool {
	return len(q.args)+len(q.claims)+len(q.properties)+len(q.onBehalf)+len(q.ip)+len(q.session)+len(q.task)+
		len(q.prompt)+len(q.operator)+len(q.untrusted)+len(q.unknown) > 0
}

// request returns the question as a Request.
func (q *question) request(args []string) (r authz.Request, err error) {
	if r.Subject.Ref, err = parseRef(args[0]); err != nil {
		return r, err
	}
	r.Action.Name = args[1]
	if r.Resource.Ref, err = parseRef(args[2]); err != nil {
		return r, err
	}
	for _, p := range []struct {
		from []string
		to   *authz.Claimed
	}{{q.args, &r.Action.Properties}, {q.claims, &r.Context}, {q.properties, &r.Resource.Properties}} {
		if *p.to, err = object(p.from); err != nil {
			return r, err
		}
	}
	for _, s := range q.onBehalf {
		ref, err := parseRef(s)
		if err != nil {
			return r, err
		}
		r.OnBehalf = append(r.OnBehalf, ref)
	}
	if q.ip != "" {
		if r.Observed.Address, err = netip.ParseAddr(q.ip); err != nil {
			return r, fmt.Errorf("--ip: %w", err)
		}
	}
	r.Observed.Session, r.Observed.Task = q.session, q.task
	if len(q.prompt)+len(q.operator)+len(q.untrusted)+len(q.unknown) > 0 {
		r.Observed.Provenance = &authz.Provenance{Prompt: q.prompt, Operator: q.operator, Untrusted: q.untrusted, Unknown: q.unknown}
	}
	return r, nil
}

func parseRef(s string) (authz.Ref, error) {
	typ, id, ok := strings.Cut(s, ":")
	for ok && strings.HasPrefix(id, ":") { // a namespace: Bank::Account:own
		var rest string
		rest, id, ok = strings.Cut(id[1:], ":")
		typ += "::" + rest
	}
	if !ok || typ == "" || id == "" {
		return authz.Ref{}, fmt.Errorf("%q is not TYPE:ID", s)
	}
	return authz.Ref{Type: typ, ID: id}, nil
}

// object makes one JSON object of NAME=TEXT and NAME:=JSON.
func object(pairs []string) (authz.Claimed, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := map[string]any{}
	for _, p := range pairs {
		name, text, ok := strings.Cut(p, "=")
		if !ok || name == "" || name == ":" {
			return nil, fmt.Errorf("%q is not NAME=TEXT or NAME:=JSON", p)
		}
		var v any = text
		if n, isJSON := strings.CutSuffix(name, ":"); isJSON {
			if !json.Valid([]byte(text)) {
				return nil, fmt.Errorf("%q: what follows := is not JSON", p)
			}
			name, v = n, json.RawMessage(text)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		m[name] = v
	}
	return json.Marshal(m)
}

// send asks the question that stands in a file, as it is.
func (q *question) send(c *cobra.Command, api *remote, asJSON bool) error {
	in := c.InOrStdin()
	if q.file != "-" {
		f, err := os.Open(q.file)
		if err != nil {
			return fmt.Errorf("reading the question: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	if !json.Valid(text) {
		return hinted(fmt.Errorf("%s holds no JSON", q.file), `a question looks like {"subject": {"type": "agent", "id": "..."}, "action": {"name": "..."}, "resource": {"type": "...", "id": "..."}}`)
	}
	d, err := api.ask(c.Context(), bytes.TrimSpace(text))
	if err != nil {
		return err
	}
	return answer(c, d, asJSON)
}

// An answered is a decision as decide prints it.
type answered struct {
	ID          string             `json:"id,omitempty"`
	Decision    bool               `json:"decision"`
	Outcome     string             `json:"outcome"`
	Code        string             `json:"code"`
	Reasons     []authz.Reason     `json:"reasons,omitempty"`
	Changes     []authz.Change     `json:"changes,omitempty"`
	Remedies    []string           `json:"remedies,omitempty"`
	Obligations []authz.Obligation `json:"obligations,omitempty"`
}

// answer prints a decision, and ends the program with the status that says which it is.
func answer(c *cobra.Command, d *authz.Decision, asJSON bool) error {
	a := answered{
		Decision: d.Allowed(), Outcome: d.Effect.String(), Code: d.Code, Reasons: d.Reasons,
		Changes: d.Changes, Remedies: d.Remedies, Obligations: d.Obligations,
	}
	if d.Seq > 0 {
		a.ID = fmt.Sprintf("d%d", d.Seq)
	}
	w := c.OutOrStdout()
	if asJSON {
		if err := writeJSON(w, a); err != nil {
			return err
		}
	} else {
		a.print(w)
	}
	if !a.Decision {
		return exitRefused
	}
	return nil
}

var outcomes = map[string]string{
	"allow":            "allowed",
	"deny":             "denied",
	"require_approval": "refused until a person approves",
	"step_up":          "refused until stronger authentication",
}

func (a *answered) print(w io.Writer) {
	fmt.Fprint(w, outcomes[a.Outcome])
	if a.Code != authz.CodeAllowed {
		fmt.Fprintf(w, " (%s)", a.Code)
	}
	if a.ID != "" {
		fmt.Fprintf(w, ", decision %s", a.ID)
	}
	fmt.Fprintln(w)
	for _, r := range a.Reasons {
		party := ""
		if r.Party != "" {
			party = " (" + r.Party + ")"
		}
		fmt.Fprintf(w, "  %s%s: %s\n", r.Code, party, clip(r.Message, 300))
	}
	for _, r := range a.Remedies {
		fmt.Fprintf(w, "  remedy: %s\n", r)
	}
	for _, ch := range a.Changes {
		fmt.Fprintf(w, "  would help (%s): %s\n", ch.Who, clip(ch.Hint, 300))
	}
	for _, o := range a.Obligations {
		fmt.Fprintf(w, "  obligation: %s (%s)\n", o.ID, o.Type)
	}
}
