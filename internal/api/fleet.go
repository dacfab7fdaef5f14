package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// Fleet knows what authenticates agents, of all of them in one go. *agent.Registry is one.
type Fleet interface {
	// Each calls f with every agent that a filter selects and whose id follows the given one, by id, until f returns false.
	Each(f agent.Filter, after authz.AgentID, at time.Time, do func(*authz.Agent, agent.Holding) bool)
}

// ConductReader knows what lists and charts show of conduct. *monitor.Monitor is one.
type ConductReader interface {
	// Glance returns what a list shows of an agent, and whether anything is known of it. It must be quick.
	Glance(id authz.AgentID, at time.Time) (monitor.Glance, bool)
	// Conduct returns trust in an agent in a class, "" for the lowest.
	Conduct(id authz.AgentID, class string, at time.Time) (authz.Trust, authz.Conduct)
	// History returns how trust in an agent moved, oldest first.
	History(ctx context.Context, id authz.AgentID, from, to time.Time) ([]monitor.Point, error)
}

type listFleet struct {
	State      string `query:"state" doc:"only agents in this state: active, suspended, quarantined, retired"`
	Owner      string `query:"owner" doc:"only agents of this owner"`
	Purpose    string `query:"purpose" doc:"only agents with this purpose"`
	Capability string `query:"capability" doc:"only agents that are granted this capability"`
	Trust      string `query:"trust" doc:"only agents whose lowest level of trust over the classes is this: none, low, medium, high; unknown: nothing is known of its conduct"`
	Findings   string `query:"findings" doc:"open: only agents with open findings; none: only those without; or only those with one so grave or graver: low, medium, high, critical"`
	Credential string `query:"credential" doc:"none: only agents with nothing to authenticate with; some: only those with something"`
	Expires    int    `query:"expires_within_days" doc:"only agents whose last active key expires within so many days, 3650 at most"`
	Older      int    `query:"older_than_days" doc:"only agents whose newest active key was registered more than so many days ago, 3650 at most"`
	Text       string `query:"text" doc:"only agents with this text in their id, owner, purpose or version"`
	Order      string `query:"order" doc:"id, if left out; trust: the lowest first; findings: the gravest first"`
	Facets     bool   `query:"facets" doc:"count the agents by what they could be filtered by"`
	After      string `query:"after" doc:"where the page begins: next of the page before"`
	Limit      int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

// An AgentSummary is what a list shows of an agent.
type AgentSummary struct {
	ID           authz.AgentID    `json:"id"`
	Owner        string           `json:"owner"`
	Purpose      string           `json:"purpose"`
	Version      string           `json:"version"`
	State        authz.AgentState `json:"state"`
	StateReason  string           `json:"state_reason,omitempty"`
	Capabilities int              `json:"capabilities" doc:"how many it is granted"`
	CreatedAt    time.Time        `json:"created_at"`
	Trust        string           `json:"trust" doc:"the lowest level over the classes, or unknown"`
	Score        float64          `json:"score" doc:"the lowest lower credible bound over the classes"`
	Lowered      bool             `json:"lowered,omitempty" doc:"it is on probation"`
	Quarantined  bool             `json:"quarantined,omitempty" doc:"by its conduct, until a person restores it"`
	Findings     int              `json:"findings" doc:"that are open"`
	Gravest      string           `json:"gravest,omitempty" doc:"severity of the gravest open finding"`
	Keys         int              `json:"keys" doc:"active keys and documents that it authenticates with"`
	KeySince     time.Time        `json:"key_since,omitzero" doc:"when the newest active key was registered"`
	KeyExpires   time.Time        `json:"key_expires,omitzero" doc:"when the last active key expires; left out if one does not"`
	LastSeen     time.Time        `json:"last_seen,omitzero" doc:"when it was given a decision last"`
	Decisions    int64            `json:"decisions" doc:"in the last seven days, today included"`
	Refusals     int64            `json:"refusals" doc:"of them refused"`
}

// A FleetList is one page of agents. Next, if it is not empty, is where the next page begins.
type FleetList struct {
	Items  []AgentSummary `json:"items"`
	Next   string         `json:"next,omitempty"`
	Total  int            `json:"total" doc:"agents that the filter selects, on all pages; left out without facets"`
	Facets *FleetFacets   `json:"facets,omitempty"`
}

// FleetFacets count agents by what they could be filtered by. Each list counts those that all other filters select.
type FleetFacets struct {
	State      []FacetCount `json:"state"`
	Trust      []FacetCount `json:"trust"`
	Findings   []FacetCount `json:"findings" doc:"by the severity of the gravest open finding, or none"`
	Credential []FacetCount `json:"credential" doc:"none, or some"`
	Owner      []FacetCount `json:"owner" doc:"the most frequent, 100 at most"`
	Purpose    []FacetCount `json:"purpose" doc:"the most frequent, 100 at most"`
	Capability []FacetCount `json:"capability" doc:"the most frequent, 100 at most"`
}

// A FacetCount is how many agents have a value.
type FacetCount struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// maxFacet bounds a list of facets.
const maxFacet = 100

// unknownTrust stands where nothing is known of an agent's conduct.
const unknownTrust = "unknown"

// What an agent can be filtered by. An agent that fails by one alone still counts in that one's facet.
const (
	byState = iota
	byTrust
	byFindings
	byCredential
	byOwner
	byPurpose
	byCapability
	dimensions

	selected = dimensions     // by all of them
	no       = dimensions + 1 // by two or more not
)

// A fleetRow is an agent as a page picks it.
type fleetRow struct {
	agent   *authz.Agent
	holding agent.Holding
	glance  monitor.Glance
	known   bool
	rank    int
}

func (r *fleetRow) trust() string {
	if !r.known {
		return unknownTrust
	}
	return r.glance.Level.String()
}

func (r *fleetRow) gravest() string {
	if r.glance.Gravest == 0 {
		return "none"
	}
	return conduct.Severity(r.glance.Gravest - 1).String()
}

func (r *fleetRow) credential() string {
	if r.holding.None() {
		return "none"
	}
	return "some"
}

// check returns authz.ErrInvalid if a filter has a value that is none.
func (in *listFleet) check() error {
	if in.State != "" {
		if _, err := parseState(in.State); err != nil {
			return err
		}
	}
	if _, ok := trust.ParseLevel(in.Trust); !ok && in.Trust != "" && in.Trust != unknownTrust {
		return invalid("unknown trust %.64q: one of none, low, medium, high, unknown", in.Trust)
	}
	if _, err := in.gravest(); err != nil {
		return err
	}
	switch in.Credential {
	case "", "none", "some":
	default:
		return invalid("unknown credential %.64q: none or some", in.Credential)
	}
	if in.Expires > 3650 || in.Older > 3650 {
		return invalid("expires_within_days and older_than_days are at most 3650")
	}
	switch in.Order {
	case "", "id", "trust", "findings":
		return nil
	}
	return invalid("unknown order %.64q: one of id, trust, findings", in.Order)
}

// gravest returns how grave a finding must be at least; -1 if there must be none, 0 if that does not matter.
func (in *listFleet) gravest() (int64, error) {
	switch in.Findings {
	case "":
		return 0, nil
	case "none":
		return -1, nil
	case "open":
		return 1, nil
	}
	var s conduct.Severity
	if err := s.UnmarshalText([]byte(in.Findings)); err != nil {
		return 0, invalid("unknown findings %.64q: one of none, open, low, medium, high, critical", in.Findings)
	}
	return int64(s) + 1, nil
}

// fails returns by what a row is not selected: selected, one dimension, or no.
func (in *listFleet) fails(r *fleetRow, gravest int64, at time.Time) int {
	by := selected
	fail := func(d int, failed bool) {
		switch {
		case !failed || by == d:
		case by == selected:
			by = d
		default:
			by = no
		}
	}
	a := r.agent
	fail(byState, in.State != "" && string(a.State) != in.State)
	fail(byOwner, in.Owner != "" && a.Owner != in.Owner)
	fail(byPurpose, in.Purpose != "" && a.Purpose != in.Purpose)
	if in.Capability != "" {
		_, ok := slices.BinarySearch(a.Capabilities, in.Capability)
		fail(byCapability, !ok)
	}
	if by == no {
		return no
	}
	fail(byTrust, in.Trust != "" && r.trust() != in.Trust)
	fail(byFindings, gravest < 0 && r.glance.Gravest > 0 || gravest > r.glance.Gravest)
	fail(byCredential, in.Credential != "" && r.credential() != in.Credential)
	h := &r.holding
	if in.Expires > 0 && (h.Keys == 0 || h.ExpiresAt.IsZero() || h.ExpiresAt.Sub(at) > time.Duration(in.Expires)*24*time.Hour) {
		return no
	}
	if in.Older > 0 && (h.Keys == 0 || at.Sub(h.Since) < time.Duration(in.Older)*24*time.Hour) {
		return no
	}
	return by
}

// rank returns where a row stands in the order that is asked for; rows of one rank are in the order of ids.
func (in *listFleet) rank(r *fleetRow) int {
	switch in.Order {
	case "trust":
		if !r.known {
			return 2 * int(trust.High+1)
		}
		return 2*int(r.glance.Level) + map[bool]int{true: 0, false: 1}[r.glance.Quarantined]
	case "findings":
		return -(int(r.glance.Gravest)<<8 + min(r.glance.Open, 255))
	}
	return 0
}

// cursor reads After: RANK:ID, or ID alone where the order is that of ids.
func (in *listFleet) cursor() (rank int, id authz.AgentID, err error) {
	if in.After == "" {
		return -1 << 31, "", nil
	}
	if in.Order == "" || in.Order == "id" {
		return 0, authz.AgentID(in.After), nil
	}
	text, after, ok := strings.Cut(in.After, ":")
	if rank, err = strconv.Atoi(text); err != nil || !ok {
		return 0, "", invalid("after is none of ours")
	}
	return rank, authz.AgentID(after), nil
}

func (s *Server) listFleet(r *http.Request, _ *caller.Identity, in listFleet) (FleetList, error) {
	n, err := pageSize(in.Limit)
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return FleetList{}, err
	}
	rank, after, err := in.cursor()
	if err != nil {
		return FleetList{}, err
	}
	rows, total, facets := s.pickFleet(&in, rank, after, n)
	list := FleetList{Items: make([]AgentSummary, 0, len(rows))}
	now := s.Now()
	ids := make([]authz.AgentID, len(rows))
	for i := range rows {
		ids[i] = rows[i].agent.ID
	}
	var seen map[authz.AgentID]activity.Seen
	if s.Activity != nil {
		if seen, err = s.Activity.Seen(r.Context(), ids, now); err != nil {
			return FleetList{}, err
		}
	}
	for i := range rows {
		list.Items = append(list.Items, s.summary(&rows[i], seen[ids[i]], now))
	}
	if len(rows) == n {
		last := &rows[n-1]
		if list.Next = string(last.agent.ID); in.Order != "" && in.Order != "id" {
			list.Next = strconv.Itoa(last.rank) + ":" + list.Next
		}
	}
	if in.Facets {
		list.Total, list.Facets = total, facets.counts()
	}
	return list, nil
}

// pickFleet looks at every agent once, and returns the first n rows that follow a cursor, how many there are on all
// pages, and the facets. Of each rank it keeps n rows at most. Without facets it stops when it has a page.
func (s *Server) pickFleet(in *listFleet, rank int, after authz.AgentID, n int) (page []fleetRow, total int, facets *facets) {
	now := s.Now()
	gravest, _ := in.gravest()
	ranks := map[int][]fleetRow{}
	facets = newFacets(in.Facets)
	byID := in.Order == "" || in.Order == "id"
	from := authz.AgentID("")
	if byID && !in.Facets {
		from = after
	}
	s.Agents.Each(agent.Filter{Text: in.Text}, from, now, func(a *authz.Agent, h agent.Holding) bool {
		row := fleetRow{agent: a, holding: h}
		row.glance, row.known = s.Conduct.Glance(a.ID, now)
		by := in.fails(&row, gravest, now)
		facets.add(&row, by)
		if by != selected {
			return true
		}
		total++
		row.rank = in.rank(&row)
		if row.rank < rank || row.rank == rank && a.ID <= after {
			return true
		}
		if rows := ranks[row.rank]; len(rows) < n {
			ranks[row.rank] = append(rows, row)
		} else if byID && !in.Facets {
			return false
		}
		return true
	})
	for _, k := range slices.Sorted(maps.Keys(ranks)) {
		page = append(page, ranks[k][:min(n-len(page), len(ranks[k]))]...)
	}
	return page, total, facets
}

func (s *Server) summary(row *fleetRow, seen activity.Seen, now time.Time) AgentSummary {
	a, h := row.agent, &row.holding
	out := AgentSummary{
		ID: a.ID, Owner: a.Owner, Purpose: a.Purpose, Version: a.Version, State: a.State, StateReason: a.StateReason,
		Capabilities: len(a.Capabilities), CreatedAt: a.CreatedAt, Trust: row.trust(), Lowered: row.glance.Lowered, Quarantined: row.glance.Quarantined,
		Findings: row.glance.Open, Keys: h.Keys + h.Documents, KeySince: h.Since, KeyExpires: h.ExpiresAt,
		LastSeen: seen.At, Decisions: seen.Decisions, Refusals: seen.Refusals,
	}
	if row.known {
		t, _ := s.Conduct.Conduct(a.ID, "", now)
		out.Score = t.Score
	}
	if row.glance.Gravest > 0 {
		out.Gravest = row.gravest()
	}
	return out
}

// facets count, for each dimension, the agents that all others select.
type facets [dimensions]map[string]int

func newFacets(wanted bool) *facets {
	if !wanted {
		return nil
	}
	f := new(facets)
	for i := range f {
		f[i] = map[string]int{}
	}
	return f
}

// add counts a row that is not selected by one dimension at most.
func (f *facets) add(r *fleetRow, by int) {
	if f == nil || by == no {
		return
	}
	count := func(d int, value string) {
		if by == selected || by == d {
			f[d][value]++
		}
	}
	count(byState, string(r.agent.State))
	count(byTrust, r.trust())
	count(byFindings, r.gravest())
	count(byCredential, r.credential())
	count(byOwner, r.agent.Owner)
	count(byPurpose, r.agent.Purpose)
	for _, c := range r.agent.Capabilities {
		count(byCapability, c)
	}
}

func (f *facets) counts() *FleetFacets {
	list := func(d int) []FacetCount {
		out := make([]FacetCount, 0, len(f[d]))
		for v, n := range f[d] {
			out = append(out, FacetCount{v, n})
		}
		slices.SortFunc(out, func(a, b FacetCount) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Value, b.Value)) })
		return out[:min(maxFacet, len(out))]
	}
	return &FleetFacets{
		State: list(byState), Trust: list(byTrust), Findings: list(byFindings), Credential: list(byCredential),
		Owner: list(byOwner), Purpose: list(byPurpose), Capability: list(byCapability),
	}
}
