package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// Bounds of a back-test.
const (
	maxBacktest    = 10_000
	maxBacktesting = 20 * time.Second
	maxGroups      = 200
	maxExamples    = 5
	backtestPage   = 500
)

type backtest struct {
	SourceForm
	Last   int       `json:"last,omitempty" doc:"how many decisions, newest first; 1000 by default and 10000 at most"`
	From   time.Time `json:"from,omitzero" doc:"none earlier"`
	Agent  string    `json:"agent,omitempty" doc:"only those of this agent"`
	Action string    `json:"action,omitempty" doc:"only those about this action"`
}

// A BacktestReport is what a draft would have decided otherwise. Requests and facts are the recorded
// ones: classes, schedules, zones and grants are those of the catalog that held then, also where the
// draft's catalog would find others.
type BacktestReport struct {
	Judged    int             `json:"judged" doc:"decisions that were judged again"`
	Same      int             `json:"same" doc:"of them, those that come out with the same effect and code"`
	Different int             `json:"different"`
	Groups    []BacktestGroup `json:"groups" doc:"of those that differ, the largest first"`
	More      bool            `json:"more_groups,omitempty" doc:"whether there are more groups than are listed"`

	Unjudged []BacktestGap `json:"unjudged" doc:"decisions that could not be judged again, by reason"`

	Newest *time.Time `json:"newest,omitempty" doc:"when the newest of them was made"`
	Oldest *time.Time `json:"oldest,omitempty"`
	Stop   string     `json:"stopped" doc:"why it ended: all (there are no more decisions), last (as many as asked for), time (it took too long)"`

	CatalogDiffers bool  `json:"catalog_differs,omitempty" doc:"whether the catalog is another than that of a version that decided: what would be classified, open or granted otherwise is not seen"`
	Already        int   `json:"already" doc:"of those that differ, how many the active version decides as the draft does: they are no news"`
	Active         int64 `json:"active" doc:"the active version"`
	TookMS         int64 `json:"took_ms"`
}

// A BacktestGroup is decisions that come out otherwise in the same way.
type BacktestGroup struct {
	Before   BacktestOutcome   `json:"before"`
	After    BacktestOutcome   `json:"after"`
	Count    int               `json:"count"`
	Examples []BacktestExample `json:"examples" doc:"the newest"`
}

// A BacktestOutcome is an answer and the policies that made it so.
type BacktestOutcome struct {
	Effect   authz.Effect `json:"effect"`
	Code     string       `json:"code"`
	Policies []string     `json:"policies,omitempty"`
}

// A BacktestExample is a decision of a group.
type BacktestExample struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Subject  authz.Ref `json:"subject"`
	Action   string    `json:"action"`
	Resource authz.Ref `json:"resource"`
	Version  int64     `json:"version" doc:"that decided"`
}

// A BacktestGap is why decisions could not be judged again.
type BacktestGap struct {
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Example string `json:"example"` // id of one
}

// backtest judges recorded decisions again by a draft. Nothing is recorded, and nothing that decides is
// touched: it reads the log and the draft's own set.
func (s *Server) backtest(r *http.Request, _ *caller.Identity, in backtest) (BacktestReport, error) {
	switch {
	case in.Last < 0 || in.Last > maxBacktest:
		return BacktestReport{}, invalid("last is 1 to %d", maxBacktest)
	case in.Last == 0:
		in.Last = 1000
	}
	start := s.Now()
	ctx, cancel := context.WithTimeout(r.Context(), maxBacktesting)
	defer cancel()
	done, err := s.turn(ctx)
	if err != nil {
		return BacktestReport{}, err
	}
	defer done()
	set, t, err := s.compileDraft(ctx, in.SourceForm)
	if err != nil {
		return BacktestReport{}, err
	}
	b := backtesting{s: s, set: set, draft: t, groups: make(map[string]*BacktestGroup), gaps: make(map[string]*BacktestGap), noted: make(map[int64]bool)}
	if b.active = s.Policies.Active(); b.active != nil {
		b.report.Active = b.active.Version()
	}
	if err := b.run(ctx, in); err != nil {
		if r.Context().Err() != nil || ctx.Err() == nil {
			return BacktestReport{}, err
		}
		b.report.Stop = "time"
	}
	out := b.finish()
	out.TookMS = s.Now().Sub(start).Milliseconds()
	return out, nil
}

// backtesting is a back-test under way.
type backtesting struct {
	s      *Server
	set    *policy.Set
	draft  policy.Texts
	active *policy.Set // nil if there is none

	report BacktestReport
	groups map[string]*BacktestGroup
	gaps   map[string]*BacktestGap
	noted  map[int64]bool // versions whose catalog is that of the draft
}

func (b *backtesting) run(ctx context.Context, in backtest) error {
	q := audit.Query{Kind: audit.DecisionMade, Agent: in.Agent, Action: in.Action, From: in.From}
	for left := in.Last; left > 0; {
		q.Limit = min(left, backtestPage)
		entries, err := b.s.Index.Find(ctx, q)
		if err != nil {
			return err
		}
		for i := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := b.judge(ctx, &entries[i]); err != nil {
				return err
			}
		}
		if len(entries) < q.Limit {
			b.report.Stop = "all"
			return nil
		}
		left -= len(entries)
		q.Before = entries[len(entries)-1].Seq
	}
	b.report.Stop = "last"
	return nil
}

func (b *backtesting) judge(ctx context.Context, e *audit.Entry) error {
	if at := e.At; b.report.Newest == nil {
		b.report.Newest = &at
	}
	at := e.At
	b.report.Oldest = &at
	rec, err := pdp.ParseRecord(e.Body)
	switch {
	case err != nil:
		b.gap("the record cannot be read", e)
		return nil
	case rec.Decision.PolicySet == 0:
		b.gap("no policies decided", e)
		return nil
	}
	before := rec.Decision
	after := rec.Outcome(b.set)
	if after.Code == authz.CodeInvalid {
		b.gap("the request does not fit the schema of the draft: "+after.Detail, e)
		return nil
	}
	b.report.Judged++
	if err := b.note(ctx, before.PolicySet); err != nil {
		return err
	}
	if before.Effect == after.Effect && before.Code == after.Code {
		b.report.Same++
		return nil
	}
	b.report.Different++
	if b.active != nil && b.active.Version() != before.PolicySet {
		now := rec.Outcome(b.active)
		if now.Effect == after.Effect && now.Code == after.Code {
			b.report.Already++
		}
	}
	x, y := outcomeOf(&before), outcomeOf(&after)
	key := strings.Join([]string{x.key(), y.key()}, "\x00")
	g := b.groups[key]
	if g == nil {
		if len(b.groups) >= 10*maxGroups {
			b.report.More = true
			return nil
		}
		g = &BacktestGroup{Before: x, After: y}
		b.groups[key] = g
	}
	if g.Count++; len(g.Examples) < maxExamples {
		g.Examples = append(g.Examples, BacktestExample{
			ID: pdp.DecisionID(e.Seq), At: e.At, Subject: rec.Request.Subject.Ref, Action: rec.Request.Action.Name,
			Resource: rec.Request.Resource.Ref, Version: before.PolicySet,
		})
	}
	return nil
}

// note finds out whether a version that decided had another catalog than the draft.
func (b *backtesting) note(ctx context.Context, version int64) error {
	if b.noted[version] || b.report.CatalogDiffers {
		return nil
	}
	v, err := b.s.Policies.Version(ctx, version)
	if err != nil {
		return err
	}
	b.noted[version] = true
	b.report.CatalogDiffers = v.Catalog != b.draft.Catalog
	return nil
}

// maxReason bounds the text of why decisions could not be judged.
const maxReason = 200

func (b *backtesting) gap(reason string, e *audit.Entry) {
	reason = clip(reason, maxReason)
	g := b.gaps[reason]
	if g == nil {
		if len(b.gaps) >= 20 {
			reason = "for other reasons"
		}
		if g = b.gaps[reason]; g == nil {
			g = &BacktestGap{Reason: reason, Example: pdp.DecisionID(e.Seq)}
			b.gaps[reason] = g
		}
	}
	g.Count++
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

func (b *backtesting) finish() BacktestReport {
	r := b.report
	r.Groups, r.Unjudged = []BacktestGroup{}, []BacktestGap{}
	for _, g := range b.groups {
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b BacktestGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Before.key()+a.After.key(), b.Before.key()+b.After.key()))
	})
	if len(r.Groups) > maxGroups {
		r.Groups, r.More = r.Groups[:maxGroups], true
	}
	for _, g := range b.gaps {
		r.Unjudged = append(r.Unjudged, *g)
	}
	slices.SortFunc(r.Unjudged, func(a, b BacktestGap) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return r
}

// outcomeOf returns what a decision says, and by which policies: of a refusal the forbids that fired,
// or could not be evaluated, and of a permission the permits. Those in shadow decided nothing.
func outcomeOf(d *authz.Decision) BacktestOutcome {
	o := BacktestOutcome{Effect: d.Effect, Code: d.Code}
	want := "forbid"
	if d.Effect == authz.Allow {
		want = "permit"
	}
	for _, f := range d.Fired {
		switch {
		case f.Shadow || f.Effect != want:
		case d.Code == authz.CodePolicyError && f.Error == "":
		case d.Code == authz.CodeForbidden && f.Remedy != "":
		case d.Code == authz.CodeNoPermit || d.Code == authz.CodeObligation || d.Code == authz.CodePassport:
		default:
			o.Policies = append(o.Policies, f.Policy)
		}
	}
	slices.Sort(o.Policies)
	o.Policies = slices.Compact(o.Policies)
	return o
}

func (o *BacktestOutcome) key() string {
	return o.Effect.String() + "\x01" + o.Code + "\x01" + strings.Join(o.Policies, "\x02")
}
