package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A Story is everything that came of an ask, oldest first. It is read from the log, not from the desk's
// tables, so that what it tells can be proved: each step names its entry.
type Story struct {
	Ask   AskView `json:"ask"`
	Steps []Step  `json:"steps"`
	// Cut says that there is more: the story has a bound.
	Cut bool `json:"cut,omitzero" doc:"whether there are more steps than are shown"`
}

// A Step is one entry of the log.
type Step struct {
	Seq   int64           `json:"seq"`
	At    time.Time       `json:"at"`
	Kind  audit.Kind      `json:"kind"`
	Actor string          `json:"actor"`
	What  string          `json:"what" doc:"what happened, in one sentence"`
	Lost  bool            `json:"lost,omitzero" doc:"whether the entry changed nothing: another came first"`
	Body  json.RawMessage `json:"body,omitempty" doc:"the entry's, for administrators and auditors"`
}

const (
	// maxSteps bounds a story.
	maxSteps = 1000
	// useToDecision is how long after a use was drawn the decision that stands on it is recorded at most.
	useToDecision = time.Minute
)

func (s *Server) askStory(r *http.Request, c *call, in askID) (Story, error) {
	a, level, _, err := s.readableAsk(r.Context(), c, in.ID)
	if err != nil {
		return Story{}, err
	}
	entries, cut, err := s.entriesOf(r.Context(), a)
	if err != nil {
		return Story{}, err
	}
	story := Story{Ask: viewOf(a), Steps: make([]Step, 0, len(entries)), Cut: cut}
	story.Ask.Status = statusAt(a, s.Now())
	t := teller{ask: a}
	for i := range entries {
		step := t.tell(&entries[i])
		if level == verbatim {
			step.Body = entries[i].Body
		}
		story.Steps = append(story.Steps, step)
	}
	return story, nil
}

// entriesOf returns the entries of the log that an ask's story is made of, oldest first.
func (s *Server) entriesOf(ctx context.Context, a *approval.Ask) (entries []audit.Entry, cut bool, err error) {
	have := map[int64]bool{}
	add := func(e audit.Entry) {
		if !have[e.Seq] && len(entries) < maxSteps {
			have[e.Seq] = true
			entries = append(entries, e)
		}
	}
	// What names the ask, from before it was asked: the entry's own time is the ask's.
	quotedID := []byte(`"` + a.ID + `"`)
	q := audit.Query{Text: a.ID, From: a.AskedAt, Limit: maxSteps}
	found, err := s.Index.Find(ctx, q)
	if err != nil {
		return nil, false, err
	}
	cut = len(found) == maxSteps
	slices.Reverse(found) // what is beyond the bound is what happened last
	// What the ask itself names. The search finds most of it, too; but its words are bounded.
	var named []int64
	for i := range a.Items {
		named = append(named, a.Items[i].Decision)
	}
	named = append(named, a.Seq)
	for i := range a.Answers {
		named = append(named, a.Answers[i].View, a.Answers[i].Seq)
	}
	for _, seq := range named {
		if seq <= 0 || have[seq] {
			continue
		}
		e, err := s.Log.Entry(ctx, seq)
		if errors.Is(err, authz.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, false, err
		}
		add(e)
	}
	for _, e := range found {
		if bytes.Contains(e.Body, quotedID) {
			add(e)
		}
	}
	if err := s.decisionsBy(ctx, a, entries, add); err != nil {
		return nil, false, err
	}
	slices.SortFunc(entries, func(x, y audit.Entry) int { return cmp.Compare(x.Seq, y.Seq) })
	return entries, cut || len(entries) == maxSteps, nil
}

// decisionsBy adds the decisions that stand on uses of the ask's approvals.
func (s *Server) decisionsBy(ctx context.Context, a *approval.Ask, entries []audit.Entry, add func(audit.Entry)) error {
	for _, e := range entries {
		if e.Kind != audit.ApprovalUsed {
			continue
		}
		q := audit.Query{Kind: audit.DecisionMade, Agent: string(a.Agent), Outcome: authz.Allow.String(), From: e.At, To: e.At.Add(useToDecision), Limit: 100}
		found, err := s.Index.Find(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range found {
			rec, err := pdp.ParseRecord(d.Body)
			if err == nil && rec.Facts.Approval != nil && rec.Facts.Approval.Ask == a.ID && rec.Facts.Approval.Use == e.Seq {
				add(d)
			}
		}
	}
	return nil
}

// A teller tells the entries of one ask, in their order.
type teller struct {
	ask   *approval.Ask
	ended bool // by an entry that was told
}

// stepBody has the members that the bodies of entries about asks have in common.
type stepBody struct {
	ID        string         `json:"id"`
	Count     int64          `json:"count"`
	Yes       bool           `json:"yes"`
	Comment   string         `json:"comment"`
	Broke     bool           `json:"broke_glass"`
	To        string         `json:"to"`
	Why       string         `json:"why"`
	Justified bool           `json:"justified"`
	Kind      notify.Kind    `json:"kind"`
	Channel   string         `json:"channel"`
	Event     string         `json:"event"`
	End       string         `json:"end"`
	Attempts  int64          `json:"attempts"`
	Error     string         `json:"error"`
	Scope     approval.Scope `json:"scope"`
}

// tell says what an entry did. A body that cannot be read is told by its kind alone.
func (t *teller) tell(e *audit.Entry) Step {
	step := Step{Seq: e.Seq, At: e.At, Kind: e.Kind, Actor: e.Actor}
	var b stepBody
	if e.Kind != audit.DecisionMade {
		_ = json.Unmarshal(e.Body, &b)
	}
	who := quoted(e.Actor)
	switch e.Kind {
	case audit.DecisionMade:
		step.What = t.decision(e)
	case audit.ApprovalAsked:
		step.What, step.Lost = askSentence(t.ask), e.Seq != t.ask.Seq
	case audit.ApprovalJoined:
		step.What = "The very same was asked again " + count(int(max(b.Count, 1)), "time", "times") + ", and joined to it."
	case audit.ApprovalTold:
		step.What = told(&b)
	case audit.ApprovalViewed:
		step.What = who + " looked at it."
	case audit.ApprovalAnswer:
		step.Lost = !slices.ContainsFunc(t.ask.Answers, func(n approval.Answer) bool { return n.Seq == e.Seq })
		verb := " refused it"
		if b.Yes {
			verb = " approved it"
		}
		if b.Broke {
			verb = " broke the glass"
		}
		if b.Yes && !b.Broke {
			verb += scopeWords(&b.Scope)
		}
		step.What = who + verb + because(b.Comment)
	case audit.ApprovalMoved:
		step.What, step.Lost = t.moved(who, &b)
	case audit.ApprovalReview:
		verdict := "unjustified"
		if b.Justified {
			verdict = "justified"
		}
		step.What = who + " found breaking the glass " + verdict + because(b.Comment)
	case audit.ApprovalUsed:
		step.What, step.Lost = "A use of the approval was drawn.", t.lost(e)
	case audit.TokenIssued:
		step.What = "A token was issued by it."
	default:
		step.What = "Entry of the kind " + quoted(string(e.Kind)) + " names it."
	}
	if step.Lost {
		step.What += " It changed nothing: another entry came first."
	}
	return step
}

// because adds to a sentence what somebody said about it, if anybody did.
func because(text string) string {
	if text == "" {
		return "."
	}
	return ": " + quoted(text)
}

// told tells of an approval.delivered entry: of a channel, an evaluator or a callback.
func told(b *stepBody) string {
	name := quoted(b.Channel)
	if b.Kind == notify.ToEvaluator {
		refusal, refused := strings.CutPrefix(b.Error, "its answer was refused: ")
		switch {
		case b.End == "dead" && refused:
			return "The answer of evaluator " + name + " was refused" + because(refusal)
		case b.End == "dead":
			return "Evaluator " + name + " gave no answer that counts" + because(b.Error)
		case b.End == "again":
			return "Evaluator " + name + " was asked anew" + because(b.Why)
		}
		return "Evaluator " + name + " was asked."
	}
	name = cmp.Or(string(b.Kind), string(notify.ToChannel)) + " " + name
	switch b.End {
	case "dead":
		return "The " + name + " could not be told of " + quoted(b.Event) + because(b.Error)
	case "again":
		return "Telling the " + name + " was begun anew" + because(b.Why)
	}
	return "The " + name + " was told: " + quoted(b.Event) + "."
}

// scopeWords says how much further a yes went than that to one use of the very act, "" if it did not.
func scopeWords(s *approval.Scope) string {
	var parts []string
	switch {
	case s.Uses < 0:
		parts = append(parts, "as often as it likes")
	case s.Uses > 1:
		parts = append(parts, count(int(min(s.Uses, 1<<30)), "time", "times"))
	}
	if s.Class {
		parts = append(parts, "any resource of its type and class of data")
	}
	if s.Arguments {
		parts = append(parts, "any arguments")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Amounts)) {
		parts = append(parts, quoted(name)+" up to "+s.Amounts[name])
	}
	if !s.Until.IsZero() {
		parts = append(parts, "until "+s.Until.UTC().Format(time.RFC3339)+" at the latest")
	}
	if len(parts) == 0 {
		return ""
	}
	return ", " + strings.Join(parts, ", ")
}

// moved tells of an approval.moved entry, and whether it changed nothing: an ask ends once.
func (t *teller) moved(who string, b *stepBody) (what string, lost bool) {
	text := b.Comment
	if text == "" {
		text = b.Why
	}
	tail := "."
	if text != "" {
		tail = ": " + quoted(text)
	}
	switch b.To {
	case "escalated":
		return "Nobody answered in time, and more people were asked.", false
	case "revoked":
		return who + " took the approval back" + tail, false
	case "expired":
		lost, t.ended = t.ended || t.ask.Status != approval.Expired && t.ask.Status != approval.Partial, true
		return "Nobody answered before its end, which is a refusal.", lost
	case "cancelled":
		lost, t.ended = t.ended || t.ask.Status != approval.Cancelled && t.ask.Status != approval.Partial, true
		return who + " cancelled it" + tail, lost
	}
	return who + " ended it as " + quoted(b.To) + tail, false
}

// lost reports whether an approval.used entry drew nothing. Of the uses before the newest that an approval
// remembers nobody can say it here: they are taken for drawn.
func (t *teller) lost(e *audit.Entry) bool {
	for i := range t.ask.Items {
		g := t.ask.Items[i].Approval
		if g == nil {
			continue
		}
		if slices.Contains(g.Uses, e.Seq) || g.Used > int64(len(g.Uses)) && len(g.Uses) > 0 && e.Seq < g.Uses[0] {
			return false
		}
	}
	return true
}

// decision tells of a decision: the one that refused the act, or one that stands on the approval.
func (t *teller) decision(e *audit.Entry) string {
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return "A decision was recorded."
	}
	act := quoted(rec.Request.Action.Name) + " on " + entityName(rec.Request.Resource.Ref)
	if rec.Decision.Allowed() {
		return "Decision " + pdp.DecisionID(e.Seq) + " allowed " + act + " by it."
	}
	return "Decision " + pdp.DecisionID(e.Seq) + " refused " + act + ": " + rec.Decision.Code + "."
}
