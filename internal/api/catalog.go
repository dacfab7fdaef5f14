package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// A CatalogView is a version's catalog as it is understood: defaults are filled in, rules are compiled.
// How agents are watched and what risk weighs is in its text.
type CatalogView struct {
	Version      int64                `json:"version"`
	Zone         string               `json:"zone"` // the organisation's
	Now          time.Time            `json:"now"`  // as of when schedules are open
	Capabilities []CatalogCapability  `json:"capabilities"`
	Types        []CatalogType        `json:"types"`
	DefaultClass authz.DataClass      `json:"default_class"`
	Rules        []CatalogRule        `json:"classify"`
	Schedules    []CatalogSchedule    `json:"schedules"`
	Networks     []CatalogNetwork     `json:"networks"`
	Obligations  []authz.Obligation   `json:"obligations"`
	Reasons      []CatalogReason      `json:"reasons"`
	Approvers    []CatalogApprovers   `json:"approvers"`
	Routes       []CatalogRoute       `json:"routes"`
	DefaultRoute string               `json:"default_route,omitempty"`
	Asks         CatalogAsks          `json:"asks"`
	Assurances   []CatalogAssurance   `json:"assurance"`
	Entities     []CatalogEntityCount `json:"entities"`
	Signals      []string             `json:"signals" doc:"that every act requires"`
	ActionNeeds  []CatalogActionNeeds `json:"signals_of_actions"`
	Used         CatalogUses          `json:"used" doc:"by which policies of the version what the catalog declares is named"`
}

// A CatalogCapability is what agents can be granted.
type CatalogCapability struct {
	ID        string            `json:"id"`
	Title     string            `json:"title,omitempty"`
	Class     string            `json:"class"`
	Actions   []string          `json:"actions"`
	Essential bool              `json:"essential,omitempty"`
	DataClass *authz.DataClass  `json:"data_class,omitempty" doc:"the most sensitive class that it reaches"`
	Amount    map[string]string `json:"amount,omitempty" doc:"largest values, by argument"`
	Regions   []string          `json:"regions,omitempty"`
	Schedules []string          `json:"schedules,omitempty" doc:"of which one must be open"`
}

// A CatalogType is what is said of a type of subject or resource.
type CatalogType struct {
	Name              string          `json:"name"`
	Class             authz.DataClass `json:"class"`
	Labels            []string        `json:"labels,omitempty"`
	Jurisdiction      string          `json:"jurisdiction,omitempty"`
	RequestProperties []string        `json:"request_properties,omitempty"`
}

// A CatalogRule is a rule that classifies resources.
type CatalogRule struct {
	Type         string              `json:"type,omitempty"`
	ID           string              `json:"id,omitempty"`
	Properties   map[string][]string `json:"properties,omitempty" doc:"values as JSON"`
	Class        *authz.DataClass    `json:"class,omitempty"`
	Labels       []string            `json:"labels,omitempty"`
	Jurisdiction string              `json:"jurisdiction,omitempty"`
}

// A CatalogSchedule is when something is open.
type CatalogSchedule struct {
	Name     string          `json:"name"`
	Zone     string          `json:"zone"`
	Windows  []CatalogWindow `json:"windows"`
	Holidays []string        `json:"holidays"`
	Open     bool            `json:"open" doc:"now"`
	Turns    *time.Time      `json:"turns,omitempty" doc:"when it closes, or opens; not there if that is not within a year or two"`
}

// A CatalogWindow is one of the windows of a schedule.
type CatalogWindow struct {
	Days  []string `json:"days"`
	From  string   `json:"from"`
	To    string   `json:"to"`
	First string   `json:"first,omitempty"`
	Last  string   `json:"last,omitempty"`
}

// A CatalogNetwork is a zone of addresses.
type CatalogNetwork struct {
	Name   string   `json:"name"`
	Ranges []string `json:"ranges"`
}

// A CatalogReason is what a refusal says.
type CatalogReason struct {
	ID      string `json:"id"`
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"`
}

// CatalogApprovers are a group of people who may approve.
type CatalogApprovers struct {
	ID      string            `json:"id"`
	Title   string            `json:"title,omitempty"`
	Members []CatalogApprover `json:"members"`
}

// A CatalogApprover is a person, or everybody with these claims.
type CatalogApprover struct {
	Person *authz.Ref        `json:"person,omitempty"`
	Claims map[string]string `json:"claims,omitempty"`
	During string            `json:"during,omitempty"`
}

// A CatalogRoute is a way to an approval. Lengths of time are in seconds.
type CatalogRoute struct {
	ID         string            `json:"id"`
	Title      string            `json:"title"`
	Approvers  []string          `json:"approvers"`
	Quorum     int               `json:"quorum"`
	Self       bool              `json:"self,omitempty"`
	Passkey    bool              `json:"passkey,omitempty"`
	Escalate   []string          `json:"escalate,omitempty"`
	After      int64             `json:"after_s,omitempty"`
	Pending    int64             `json:"pending_s"`
	Lasts      int64             `json:"lasts_s"`
	Uses       int64             `json:"uses,omitempty" doc:"-1: as many as there are until it ends"`
	Class      bool              `json:"class,omitempty"`
	ClassFor   int64             `json:"class_for_s,omitempty"`
	Amounts    map[string]string `json:"amounts,omitempty"`
	Arguments  bool              `json:"arguments,omitempty"`
	Evaluator  string            `json:"evaluator,omitempty"`
	BreakGlass []string          `json:"break_glass,omitempty"`
	Review     int64             `json:"review_s,omitempty"`
	Notify     []string          `json:"notify,omitempty"`
	Reading    int64             `json:"reading_s,omitempty"`
}

// CatalogAsks bound how much is asked of persons; 0 is no bound.
type CatalogAsks struct {
	Session  int64 `json:"session"`
	Hour     int64 `json:"hour"`
	Pending  int64 `json:"pending"`
	Approver int64 `json:"approver"`
}

// A CatalogAssurance is a level of authentication.
type CatalogAssurance struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	ACR     string   `json:"acr,omitempty"`
	AMR     []string `json:"amr,omitempty"`
	Methods []string `json:"methods,omitempty"`
	Bound   []string `json:"bound,omitempty"`
	Person  bool     `json:"person,omitempty"`
	MaxAge  int64    `json:"max_age_s,omitempty"`
}

// A CatalogEntityCount is how many entities of a type are declared.
type CatalogEntityCount struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// CatalogActionNeeds are the signals that an action requires.
type CatalogActionNeeds struct {
	Action  string   `json:"action"`
	Signals []string `json:"signals"`
}

// CatalogUses are the ids of policies by the id of what they name in annotations.
type CatalogUses struct {
	Reasons     map[string][]string `json:"reasons"`
	Obligations map[string][]string `json:"obligations"`
	Routes      map[string][]string `json:"routes"`
	Assurances  map[string][]string `json:"assurance"`
}

type readCatalog struct {
	Version int64 `query:"version" json:"-" doc:"the active one by default"`
}

func (s *Server) readCatalog(r *http.Request, _ *caller.Identity, in readCatalog) (CatalogView, error) {
	set, err := s.setOf(r, in.Version)
	if err != nil {
		return CatalogView{}, err
	}
	return viewCatalog(set, s.Now().UTC()), nil
}

// setOf returns the set of a version, 0 being the active one.
func (s *Server) setOf(r *http.Request, version int64) (*policy.Set, error) {
	if version != 0 {
		return s.Policies.Compiled(r.Context(), version)
	}
	if set := s.Policies.Active(); set != nil {
		return set, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no policy is published")
}

func viewCatalog(set *policy.Set, now time.Time) CatalogView {
	c := set.Catalog()
	asks := c.AskBudget()
	uses := set.Uses()
	v := CatalogView{
		Version: set.Version(), Zone: c.Zone().String(), Now: now, DefaultClass: c.DefaultClass(),
		Capabilities: []CatalogCapability{}, Types: []CatalogType{}, Rules: []CatalogRule{}, Schedules: []CatalogSchedule{},
		Networks: []CatalogNetwork{}, Obligations: c.Obligations(), Reasons: []CatalogReason{}, Approvers: []CatalogApprovers{},
		Routes: []CatalogRoute{}, DefaultRoute: c.DefaultRoute(), Assurances: []CatalogAssurance{}, Entities: []CatalogEntityCount{},
		Asks: CatalogAsks{asks.Session, asks.Hour, asks.Pending, asks.Approver}, Signals: c.Signals(), ActionNeeds: []CatalogActionNeeds{},
		Used: CatalogUses{uses.Reasons, uses.Obligations, uses.Routes, uses.Assurances},
	}
	for _, k := range c.Capabilities() {
		v.Capabilities = append(v.Capabilities, CatalogCapability{
			ID: k.ID, Title: k.Title, Class: k.Class, Actions: k.Actions, Essential: k.Essential,
			DataClass: k.Limits.Class, Amount: k.Limits.Amount, Regions: k.Limits.Regions, Schedules: k.Limits.Schedules,
		})
	}
	for _, t := range c.Types() {
		v.Types = append(v.Types, CatalogType{t.Name, t.Class, t.Labels, t.Jurisdiction, t.RequestProperties})
	}
	for _, q := range c.Rules() {
		v.Rules = append(v.Rules, CatalogRule{q.Type, q.ID, q.Properties, q.Class, q.Labels, q.Jurisdiction})
	}
	for _, name := range c.Schedules() {
		v.Schedules = append(v.Schedules, viewSchedule(c, name, now))
	}
	for _, name := range c.Networks() {
		n := CatalogNetwork{Name: name, Ranges: []string{}}
		for _, p := range c.Ranges(name) {
			n.Ranges = append(n.Ranges, p.String())
		}
		v.Networks = append(v.Networks, n)
	}
	for _, q := range c.Reasons() {
		v.Reasons = append(v.Reasons, CatalogReason{q.ID, q.Message, q.Detail})
	}
	for _, id := range c.ApproverGroups() {
		g, _ := c.Approvers(id)
		w := CatalogApprovers{ID: g.ID, Title: g.Title, Members: []CatalogApprover{}}
		for _, m := range g.Members {
			a := CatalogApprover{Claims: m.Claims, During: m.During}
			if len(m.Claims) == 0 {
				a.Person = &m.Person
			}
			w.Members = append(w.Members, a)
		}
		v.Approvers = append(v.Approvers, w)
	}
	for _, q := range c.Routes() {
		v.Routes = append(v.Routes, viewRoute(q))
	}
	for _, l := range c.Assurances() {
		v.Assurances = append(v.Assurances, CatalogAssurance{l.ID, l.Title, l.ACR, l.AMR, l.Methods, l.Bound, l.Person, seconds(l.MaxAge)})
	}
	for _, t := range c.EntityTypes() {
		v.Entities = append(v.Entities, CatalogEntityCount{t, len(c.Entities(t))})
	}
	for _, a := range c.SignalActions() {
		v.ActionNeeds = append(v.ActionNeeds, CatalogActionNeeds{a, c.RequiredSignals(a)})
	}
	return v
}

func viewSchedule(c *catalog.Catalog, name string, now time.Time) CatalogSchedule {
	s, _ := c.Schedule(name)
	v := CatalogSchedule{Name: s.Name, Zone: s.Zone.String(), Windows: []CatalogWindow{}, Holidays: s.Holidays, Open: slices.Contains(c.Open(now), name)}
	for _, w := range s.Windows {
		v.Windows = append(v.Windows, CatalogWindow(w))
	}
	turns, ok := time.Time{}, false
	if v.Open {
		turns, ok = c.Closes(name, now)
	} else {
		turns, ok = c.NextOpen(name, now)
	}
	if ok {
		turns = turns.In(s.Zone)
		v.Turns = &turns
	}
	return v
}

func viewRoute(q *catalog.Route) CatalogRoute {
	return CatalogRoute{
		ID: q.ID, Title: q.Title, Approvers: q.Approvers, Quorum: q.Quorum, Self: q.Self, Passkey: q.Passkey,
		Escalate: q.Escalate, After: seconds(q.After), Pending: seconds(q.Pending), Lasts: seconds(q.Lasts),
		Uses: q.Uses, Class: q.Class, ClassFor: seconds(q.ClassFor), Amounts: q.Amounts, Arguments: q.Arguments,
		Evaluator: q.Evaluator, BreakGlass: q.BreakGlass, Review: seconds(q.Review), Notify: q.Notify, Reading: seconds(q.Reading),
	}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

type readCalendar struct {
	ID      string `path:"id" json:"-"`
	From    string `query:"from" json:"-" doc:"the first day, as 2026-12-24; today by default"`
	To      string `query:"to" json:"-" doc:"the last day; six days later by default, and 400 days in all at most"`
	Version int64  `query:"version" json:"-" doc:"the active one by default"`
}

// A Calendar is when a schedule is open, day by day in its own zone.
type Calendar struct {
	Schedule string        `json:"schedule"`
	Zone     string        `json:"zone"`
	Version  int64         `json:"version"`
	Today    string        `json:"today" doc:"the date in that zone"`
	Days     []CalendarDay `json:"days"`
}

// A CalendarDay is a day of a calendar, from midnight to midnight.
type CalendarDay struct {
	Date    string            `json:"date"`
	Weekday string            `json:"weekday"`
	Holiday bool              `json:"holiday,omitempty" doc:"no window of the schedule begins on it"`
	Minutes int               `json:"minutes" doc:"how long the day is: not 1440 where the clocks change"`
	Shift   int               `json:"shift,omitempty" doc:"by how many minutes the clocks go forward, or back if it is negative"`
	Open    []CalendarOpening `json:"open"`
}

// A CalendarOpening is a time for which a schedule is open. Times bear the offset of the clock on the wall.
type CalendarOpening struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Start and End are minutes since midnight that have passed, which are not those on the clock where it is changed.
	Start int `json:"start" doc:"minutes that have passed since midnight"`
	End   int `json:"end"`
}

func (s *Server) readCalendar(r *http.Request, _ *caller.Identity, in readCalendar) (Calendar, error) {
	set, err := s.setOf(r, in.Version)
	if err != nil {
		return Calendar{}, err
	}
	sched, ok := set.Catalog().Schedule(in.ID)
	if !ok {
		return Calendar{}, authz.Errorf(authz.ErrNotFound, "there is no schedule %q", in.ID)
	}
	today := s.Now().In(sched.Zone)
	if in.From == "" {
		in.From = today.Format(time.DateOnly)
	}
	if in.To == "" {
		from, err := time.Parse(time.DateOnly, in.From)
		if err != nil {
			return Calendar{}, invalid("parameter from is no date: write it as 2026-12-24")
		}
		in.To = from.AddDate(0, 0, 6).Format(time.DateOnly)
	}
	days, err := set.Catalog().Days(r.Context(), in.ID, in.From, in.To)
	if err != nil {
		return Calendar{}, err
	}
	cal := Calendar{Schedule: in.ID, Zone: sched.Zone.String(), Version: set.Version(), Today: today.Format(time.DateOnly), Days: make([]CalendarDay, len(days))}
	for i, d := range days {
		_, before := d.Begins.Zone()
		_, after := d.Begins.Add(d.Length).Zone()
		v := CalendarDay{
			Date: d.Date, Weekday: d.Weekday, Holiday: d.Holiday, Minutes: int(d.Length / time.Minute), Shift: (after - before) / 60, Open: []CalendarOpening{},
		}
		for _, o := range d.Open {
			v.Open = append(v.Open, CalendarOpening{o.From, o.To, int(o.From.Sub(d.Begins) / time.Minute), int(o.To.Sub(d.Begins) / time.Minute)})
		}
		cal.Days[i] = v
	}
	return cal, nil
}
