package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// An AskDetail is all that a person needs to judge an ask.
type AskDetail struct {
	AskView
	Acts     []ActDetail        `json:"acts" doc:"one for each of items"`
	Routes   []RouteDetail      `json:"routes" doc:"the ways to the approval, and how far each has been gone"`
	Asking   *AskingAgent       `json:"asking,omitempty" doc:"the agent, as it stands now"`
	Similar  []SimilarAsk       `json:"similar" doc:"ended asks of the agent for the same action on the same type of resource, newest first, of those that the caller may read"`
	Standing *approval.Standing `json:"standing,omitempty" doc:"what the person who calls may do"`
	Choices  []AskChoice        `json:"choices" doc:"the scopes that the person who calls may give a yes, narrowest first; none if a yes would not count"`
	Warnings []string           `json:"warnings" doc:"what to look at twice: sentences"`
}

// An ActDetail is what is known of one act.
type ActDetail struct {
	Sentence  string       `json:"sentence"`
	Arguments []Argument   `json:"arguments"`
	Policy    []PolicySaid `json:"policy" doc:"the policies that refused it, in the operator's words"`
	Class     string       `json:"class,omitempty" doc:"class of capability: read, write, egress, money, admin"`
	Trust     authz.Trust  `json:"trust,omitzero" doc:"in the agent, in that class, when it was refused"`
	Risk      string       `json:"risk,omitempty" doc:"level of risk, when it was refused"`
	Ways      []Way        `json:"ways" doc:"its routes, and how far each has been gone for it: all must be gone to their end"`
	Allows    string       `json:"allows" doc:"what a plain yes permits"`
	Most      string       `json:"most,omitempty" doc:"what the widest yes permits that the person may give, if it is wider"`
}

// A Way is how far one route has been gone for one act.
type Way struct {
	Route string   `json:"route"`
	Title string   `json:"title,omitempty"`
	Yes   []string `json:"yes" doc:"whose yes counts, each once"`
	More  int      `json:"more" doc:"how many more must say yes"`
}

// An Argument is one of an act's, and where its value came from.
type Argument struct {
	Name  string         `json:"name"`
	Value jsontext.Value `json:"value"`
	From  string         `json:"from" doc:"prompt: a person's own words; operator: configuration; untrusted: what others can write to; unknown: nobody kept track"`
}

// PolicySaid is what one policy said of an act.
type PolicySaid struct {
	Policy  string `json:"policy"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty" doc:"what the agent was told"`
	Detail  string `json:"detail,omitempty" doc:"what operators wrote for people"`
	Error   string `json:"error,omitempty"`
}

// A RouteDetail is a way to an approval.
type RouteDetail struct {
	ID        string   `json:"id"`
	Title     string   `json:"title,omitempty"`
	Approvers []string `json:"approvers" doc:"titles of the groups whose members may answer"`
	Quorum    int      `json:"quorum" doc:"how many people must say yes"`
	Yes       []string `json:"yes" doc:"who has, to any of its acts"`
	Passkey   bool     `json:"passkey" doc:"whether a yes needs a passkey"`
	Lasts     int64    `json:"lasts_seconds" doc:"how long a plain approval holds at most"`
	Reading   int64    `json:"reading_ms" doc:"an answer sooner than this after looking is suspicious"`
}

// An AskingAgent is the agent that asks, as it stands now.
type AskingAgent struct {
	ID       authz.AgentID     `json:"id"`
	Owner    string            `json:"owner"`
	Purpose  string            `json:"purpose"`
	Version  string            `json:"version"`
	Creator  string            `json:"creator"`
	State    authz.AgentState  `json:"state"`
	Since    time.Time         `json:"since" doc:"when it was registered"`
	Trust    []ClassTrust      `json:"trust,omitempty"`
	Findings []conduct.Finding `json:"findings" doc:"the newest open findings about it"`
}

// ClassTrust is trust in a class of capability.
type ClassTrust struct {
	Class string  `json:"class"`
	Level string  `json:"level"`
	Score float64 `json:"score"`
}

// A SimilarAsk is an ask of the past.
type SimilarAsk struct {
	ID       string          `json:"id"`
	AskedAt  time.Time       `json:"asked_at"`
	Status   approval.Status `json:"status"`
	Revoked  bool            `json:"revoked,omitzero" doc:"whether what was approved was taken back"`
	Acts     []string        `json:"acts"`
	Answered []string        `json:"answered" doc:"who said what: sentences"`
}

const (
	maxSimilar  = 5
	maxOpenSeen = 5 // findings that an approver is shown
)

func (s *Server) readAsk(r *http.Request, c *call, in askID) (AskDetail, error) {
	a, _, st, err := s.readableAsk(r.Context(), c, in.ID)
	if err != nil {
		return AskDetail{}, err
	}
	d, err := s.detail(r.Context(), c, a, st)
	if err == nil && st != nil && c.session != nil {
		if more, ok := moreNeeded(&d, st, c.session.Person.ID); ok {
			st.Why = more
		}
	}
	return d, err
}

// detail gathers what is known of an ask. What cannot be found out is left out, and said so in a warning; an
// error is that of a store that is away.
func (s *Server) detail(ctx context.Context, c *call, a *approval.Ask, st *approval.Standing) (AskDetail, error) {
	d := AskDetail{AskView: viewOf(a), Standing: st, Acts: make([]ActDetail, len(a.Items)), Routes: []RouteDetail{}, Similar: []SimilarAsk{}, Warnings: []string{}, Choices: []AskChoice{}}
	d.Status = statusAt(a, s.Now())
	cat, err := s.catalogOf(ctx, a.Catalog)
	if err != nil {
		return d, err
	}
	if cat == nil {
		d.Warnings = append(d.Warnings, "The version of the catalog by which this is judged cannot be read any more.")
	}
	for i := range a.Items {
		if d.Acts[i], err = s.actDetail(ctx, a, i, cat, st); err != nil {
			return d, err
		}
		for _, w := range actWarnings(&a.Items[i], &d.Acts[i]) {
			if n := len(a.Items); n > 1 {
				w = fmt.Sprintf("Act %d of %d, to %s: %s", i+1, n, d.Acts[i].Sentence, w)
			}
			d.Warnings = append(d.Warnings, w)
		}
	}
	d.Routes = routesOf(a, cat)
	if d.Asking, err = s.asking(ctx, a); err != nil {
		return d, err
	}
	d.Warnings = append(d.Warnings, askWarnings(a, d.Asking)...)
	if ids := s.stoppedBy(a); len(ids) > 0 {
		d.Warnings = append(d.Warnings, "It is stopped by "+strings.Join(ids, ", ")+": an approval does not lift that.")
	}
	d.Choices = s.choices(a, st, func(wide bool) time.Duration {
		if len(a.Items) == 0 {
			return 0
		}
		return lasts(&a.Items[0], cat, wide)
	})
	similar, err := s.Approvals.Similar(ctx, a, maxSimilar)
	if err != nil {
		return d, err
	}
	for _, o := range similar {
		level, _, err := s.reads(ctx, c, o)
		if err != nil {
			return d, err
		}
		if level >= whole {
			d.Similar = append(d.Similar, similarAsk(o))
		}
	}
	return d, nil
}

// catalogOf returns the catalog of a version, nil if this program cannot read it.
func (s *Server) catalogOf(ctx context.Context, version int64) (*catalog.Catalog, error) {
	set, err := s.decidedBy(ctx, version)
	if err != nil || set == nil {
		return nil, err
	}
	return set.Catalog(), nil
}

// actDetail tells of one act by the record of the decision that refused it.
func (s *Server) actDetail(ctx context.Context, a *approval.Ask, i int, cat *catalog.Catalog, st *approval.Standing) (ActDetail, error) {
	it := &a.Items[i]
	d := ActDetail{Sentence: actSentence(it), Arguments: []Argument{}, Policy: []PolicySaid{}, Ways: waysOf(a, i, cat)}
	var from *authz.Provenance
	if it.Decision > 0 {
		rec, err := s.recordOf(ctx, it.Decision)
		if err != nil {
			return d, err
		}
		if rec != nil {
			from = rec.Request.Observed.Provenance
			d.Class, d.Trust, d.Risk = rec.Facts.Grant.Class, rec.Facts.Trust, rec.Facts.Risk.Level
			for _, f := range rec.Decision.Fired {
				if f.Effect == "forbid" && !f.Shadow {
					d.Policy = append(d.Policy, policySaid(&f, cat))
				}
			}
		}
	}
	d.Arguments = arguments(it.Action.Properties, from)
	d.Allows = allows(a, it, approval.Scope{}, lasts(it, cat, false))
	if a.Kind == approval.Access {
		if st != nil && len(st.Routes) > 0 && !scopeless(&st.Most) {
			d.Most = allows(a, it, st.Most, lasts(it, cat, true))
		}
	}
	return d, nil
}

// recordOf returns the decision that an entry records, nil if it records none.
func (s *Server) recordOf(ctx context.Context, seq int64) (*pdp.Record, error) {
	e, err := s.Log.Entry(ctx, seq)
	if errors.Is(err, authz.ErrNotFound) || err == nil && e.Kind != audit.DecisionMade {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return pdp.ParseRecord(e.Body)
}

func policySaid(f *authz.Fired, cat *catalog.Catalog) PolicySaid {
	p := PolicySaid{Policy: f.Policy, Reason: f.Reason, Error: f.Error}
	if cat != nil && f.Reason != "" {
		if r, ok := cat.Reason(f.Reason); ok {
			p.Message, p.Detail = r.Message, r.Detail
		}
	}
	return p
}

// arguments returns an act's arguments in the order they were given in.
func arguments(c authz.Claimed, from *authz.Provenance) []Argument {
	out := []Argument{}
	eachMember(c, func(name string, value jsontext.Value) {
		out = append(out, Argument{Name: name, Value: value, From: originOf(name, from)})
	})
	return out
}

// eachMember calls f with the members of an object that was checked when it came in; anything else has none.
func eachMember(c authz.Claimed, f func(name string, value jsontext.Value)) {
	if len(c) == 0 {
		return
	}
	var order []string
	members := map[string]jsontext.Value{}
	if json.Unmarshal(c, &members) != nil {
		return
	}
	for name := range members {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		f(name, members[name])
	}
}

// originOf says where the enforcement point saw an argument's value come from. If it says two things, the
// worse one counts.
func originOf(name string, from *authz.Provenance) string {
	switch {
	case from == nil:
	case slices.Contains(from.Untrusted, name):
		return "untrusted"
	case slices.Contains(from.Unknown, name):
	case slices.Contains(from.Prompt, name):
		return "prompt"
	case slices.Contains(from.Operator, name):
		return "operator"
	}
	return "unknown"
}

// routesOf returns the routes of all acts that still wait, or did, each once.
func routesOf(a *approval.Ask, cat *catalog.Catalog) []RouteDetail {
	out := []RouteDetail{}
	for i := range a.Items {
		for _, id := range a.Items[i].Routes {
			if slices.ContainsFunc(out, func(d RouteDetail) bool { return d.ID == id }) {
				continue
			}
			d := RouteDetail{ID: id, Approvers: []string{}, Yes: []string{}}
			if cat != nil {
				if r, ok := cat.Route(id); ok {
					d.Title, d.Quorum, d.Passkey = r.Title, r.Quorum, r.Passkey
					d.Lasts, d.Reading = int64(r.Lasts/time.Second), r.Reading.Milliseconds()
					d.Approvers = append(d.Approvers, r.Approvers...)
				}
			}
			for _, n := range a.Answers {
				if counts(&n) && slices.Contains(n.Routes, id) && !slices.Contains(d.Yes, n.By) {
					d.Yes = append(d.Yes, n.By)
				}
			}
			out = append(out, d)
		}
	}
	return out
}

// counts reports whether an answer is a yes that counts still.
func counts(n *approval.Answer) bool { return n.Yes && n.Void.IsZero() }

// waysOf returns how far each route of one act has been gone, as the desk counts: a deputy's yes is that of
// whom they stand in for, and who owns or made the agent needs another person beside them.
func waysOf(a *approval.Ask, item int, cat *catalog.Catalog) []Way {
	out := []Way{}
	for _, id := range a.Items[item].Routes {
		w := Way{Route: id, Yes: []string{}}
		quorum := 1
		if cat != nil {
			if r, ok := cat.Route(id); ok {
				w.Title, quorum = r.Title, max(r.Quorum, 1)
			}
		}
		seats, persons, free := map[string]bool{}, 0, false
		for i := range a.Answers {
			n := &a.Answers[i]
			if !counts(n) || len(n.Items) > 0 && !slices.Contains(n.Items, item) || !slices.Contains(n.Routes, id) {
				continue
			}
			seat, person := n.By, strings.HasPrefix(n.By, "person:")
			if n.For != "" {
				seat = "person:" + n.For
			}
			free = free || person && !n.Close
			if seats[seat] {
				continue
			}
			seats[seat] = true
			w.Yes = append(w.Yes, n.By)
			if person {
				persons++
			}
		}
		if a.Items[item].Status == approval.Pending {
			if w.More = max(quorum-len(seats), 0); w.More == 0 && persons == 1 && !free {
				w.More = 1
			}
		}
		out = append(out, w)
	}
	return out
}

// moreNeeded says what is missing of an ask to which the person, or whom they stand in for, has said yes.
func moreNeeded(d *AskDetail, st *approval.Standing, person string) (string, bool) {
	if st.Approve || d.Status != approval.Pending {
		return "", false
	}
	own := func(n AnswerView) bool {
		by := n.By == "person:"+person || n.For == person || st.For != "" && (n.For == st.For || n.By == "person:"+st.For)
		return by && n.Yes && n.Void.IsZero()
	}
	if !slices.ContainsFunc(d.Answers, own) {
		return "", false
	}
	more := 0
	for i := range d.Acts {
		for _, w := range d.Acts[i].Ways {
			more = max(more, w.More)
		}
	}
	if more == 0 {
		return "", false
	}
	who := "you have"
	if st.For != "" {
		who = "you, or the person you stand in for, have"
	}
	return fmt.Sprintf("%s said yes; %d more needed", who, more), true
}

// asking returns the agent as it stands now, nil if none asks.
func (s *Server) asking(ctx context.Context, a *approval.Ask) (*AskingAgent, error) {
	if a.Agent == "" {
		return nil, nil
	}
	out := &AskingAgent{ID: a.Agent, Owner: a.Owner, Findings: []conduct.Finding{}}
	ag, err := s.Agents.Agent(a.Agent)
	if err != nil && !errors.Is(err, authz.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		out.Owner, out.Purpose, out.Version, out.Creator, out.State, out.Since = ag.Owner, ag.Purpose, ag.Version, ag.Creator, ag.State, ag.CreatedAt
	}
	report, err := s.Conduct.Report(a.Agent, s.Now())
	if errors.Is(err, authz.ErrNotFound) {
		return out, nil
	} else if err != nil {
		return nil, err
	}
	for i := range report.Classes {
		t := &report.Classes[i]
		out.Trust = append(out.Trust, ClassTrust{t.Class, t.Level, t.Score})
	}
	found, err := s.Conduct.Findings(ctx, monitor.Filter{Agent: a.Agent, State: conduct.Open}, "", maxOpenSeen)
	if err != nil {
		return nil, err
	}
	out.Findings = append(out.Findings, found...)
	return out, nil
}
