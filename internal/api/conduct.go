package api

import (
	"context"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// ConductAdmin knows how agents have behaved, and takes what people say of it. *monitor.Monitor is one.
type ConductAdmin interface {
	// Report explains the trust in an agent; authz.ErrNotFound if nothing is known of it.
	Report(id authz.AgentID, at time.Time) (*monitor.Report, error)
	// Findings returns up to limit findings, newest first, that are older than the one of the id before.
	Findings(ctx context.Context, f monitor.Filter, before string, limit int) ([]conduct.Finding, error)
	// Count counts findings by state, severity and kind.
	Count(ctx context.Context) ([]monitor.Count, error)
	// Finding returns one finding, or authz.ErrNotFound.
	Finding(ctx context.Context, id string) (conduct.Finding, error)
	// Judge records what a person says of a finding. It returns authz.ErrNotFound if there is none of that
	// id, and authz.ErrConflict if it was judged so already or is too old.
	Judge(ctx context.Context, actor, why, id string, v conduct.Verdict) (conduct.Finding, error)
	// Set records a level that is set by hand, or that there is none any more.
	Set(ctx context.Context, actor string, o trust.Override) (*monitor.Report, error)
}

func (s *Server) readTrust(_ *http.Request, _ *caller.Identity, in agentID) (*monitor.Report, error) {
	return s.Conduct.Report(authz.AgentID(in.ID), s.Now())
}

type setTrust struct {
	agentID   `json:"-"`
	Class     string    `json:"class,omitempty" doc:"read, write, egress, money or admin; every class, if left out"`
	Level     string    `json:"level,omitempty" doc:"none, low, medium or high; left out, conduct decides again"`
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"when conduct decides again, at most a year ahead; this or ttl_seconds is needed with a level, but not with restore"`
	TTL       int64     `json:"ttl_seconds,omitempty" doc:"the same as so many seconds from now"`
	Restore   bool      `json:"restore,omitempty" doc:"end a quarantine and lift the agent to the level at once; from there on conduct decides"`
	reason
}

// maxOverride is how long a level that is set by hand can hold. After it, conduct speaks again.
const maxOverride = 365 * 24 * time.Hour

func (s *Server) setTrust(r *http.Request, who *caller.Identity, in setTrust) (*monitor.Report, error) {
	o, err := in.override(s.Now())
	if err != nil {
		return nil, err
	}
	return s.Conduct.Set(r.Context(), who.Actor(), o)
}

// override returns what in says at a time, or authz.ErrInvalid.
func (in *setTrust) override(now time.Time) (trust.Override, error) {
	o := trust.Override{Agent: authz.AgentID(in.ID), Class: in.Class, Level: in.Level, Expires: in.ExpiresAt, Restore: in.Restore, Why: in.Why}
	if o.Class == "" {
		o.Class = conduct.Every.String()
	}
	if _, ok := conduct.ParseClass(o.Class); !ok && o.Class != conduct.Every.String() {
		return o, invalid("unknown class %.64q: one of read, write, egress, money, admin, every", in.Class)
	}
	level, ok := trust.ParseLevel(o.Level)
	if !ok && o.Level != "" {
		return o, invalid("unknown level %.64q: one of none, low, medium, high", in.Level)
	}
	timed := !in.ExpiresAt.IsZero() || in.TTL != 0
	switch {
	case in.Restore && (o.Level == "" || level == trust.None):
		return o, invalid("restore needs a level to lift the agent to: low, medium or high")
	case (in.Restore || o.Level == "") && timed:
		return o, invalid("expires_at and ttl_seconds belong to a level that is set for a while")
	case in.Restore || o.Level == "":
		return o, nil
	case !timed:
		return o, invalid("say when the level ends: expires_at or ttl_seconds")
	case !in.ExpiresAt.IsZero() && in.TTL != 0:
		return o, invalid("say when the level ends once: expires_at or ttl_seconds")
	case in.TTL < 0 || in.TTL > int64(maxOverride/time.Second):
		return o, invalid("ttl_seconds must be from 1 to %d, a year", int64(maxOverride/time.Second))
	case in.TTL > 0:
		o.Expires = now.Add(time.Duration(in.TTL) * time.Second)
	}
	if !o.Expires.After(now) || o.Expires.After(now.Add(maxOverride)) {
		return o, invalid("expires_at must be in the future, at most a year ahead")
	}
	o.Expires = o.Expires.UTC().Truncate(time.Microsecond)
	return o, nil
}

type listFindings struct {
	Agent    string `query:"agent" doc:"only findings about this agent"`
	Kind     string `query:"kind" doc:"only findings of this kind, or whose kind begins so before its dot: deviation, escalation, performance, compliance"`
	Severity string `query:"severity" doc:"only findings that are so grave or graver: low, medium, high, critical"`
	State    string `query:"state" doc:"only findings in this state: open, acknowledged, dismissed, confirmed"`
	Before   string `query:"before" doc:"begin with the one that is next older than the finding of this id"`
	Limit    int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

func (s *Server) listFindings(r *http.Request, _ *caller.Identity, in listFindings) (List[conduct.Finding], error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return List[conduct.Finding]{}, err
	}
	if in.Severity != "" {
		if err := new(conduct.Severity).UnmarshalText([]byte(in.Severity)); err != nil {
			return List[conduct.Finding]{}, err
		}
	}
	switch conduct.Verdict(in.State) {
	case "", conduct.Open, conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed:
	default:
		return List[conduct.Finding]{}, invalid("unknown state %.64q: one of open, acknowledged, dismissed, confirmed", in.State)
	}
	f := monitor.Filter{Agent: authz.AgentID(in.Agent), Kind: in.Kind, Severity: in.Severity, State: conduct.Verdict(in.State)}
	items, err := s.Conduct.Findings(r.Context(), f, in.Before, n)
	if err != nil {
		return List[conduct.Finding]{}, err
	}
	list := List[conduct.Finding]{Items: items}
	if len(items) == n {
		list.Next = items[n-1].ID
	}
	return list, nil
}

// FindingCounts are numbers of findings.
type FindingCounts struct {
	Items []monitor.Count `json:"items" doc:"how many there are of each state, severity and kind"`
}

func (s *Server) countFindings(r *http.Request, _ *caller.Identity, _ none) (FindingCounts, error) {
	items, err := s.Conduct.Count(r.Context())
	if items == nil {
		items = []monitor.Count{}
	}
	return FindingCounts{items}, err
}

type findingID struct {
	ID string `path:"id" json:"-"`
}

func (s *Server) readFinding(r *http.Request, _ *caller.Identity, in findingID) (conduct.Finding, error) {
	return s.Conduct.Finding(r.Context(), in.ID)
}

type judgeFinding struct {
	findingID `json:"-"`
	Verdict   conduct.Verdict `json:"verdict" doc:"acknowledged: seen, and it counts; dismissed: a false alarm; confirmed: true"`
	reason
}

func (s *Server) judgeFinding(r *http.Request, who *caller.Identity, in judgeFinding) (conduct.Finding, error) {
	switch in.Verdict {
	case conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed:
		return s.Conduct.Judge(r.Context(), who.Actor(), in.Why, in.ID, in.Verdict)
	}
	return conduct.Finding{}, invalid("unknown verdict %.64q: one of acknowledged, dismissed, confirmed", string(in.Verdict))
}
