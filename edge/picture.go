package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/risk"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// A picture is what one feed has told. It has the methods by which pdp.PDP reads.
type picture struct {
	pdp     *pdp.PDP
	name    string // of the caller, as decisions are recorded
	limits  feed.Limits
	heard   atomic.Pointer[heard] // nil as long as nothing is complete
	set     atomic.Pointer[policies]
	risks   *risk.Book
	stops   *stop.Board
	stopped bool  // whether it was told what is stopped; of the feed's goroutine alone
	told    int64 // changes of risk; of the feed's goroutine alone
	words   map[string]string
	changes atomic.Int64 // of agents
	mu      sync.RWMutex
	agents  map[authz.AgentID]*known
}

// known is what is known of one agent. Values never change once they are in a picture.
type known struct {
	agent      *authz.Agent
	credential authz.Credential
	conduct    authz.Conduct
	trust      []classTrust
	confidence []float64 // what a report is worth, by tenths
	change     int64     // which of the picture's changes it is
}

// classTrust is trust in a class of capability, "" for one that is not known.
type classTrust struct {
	class string
	trust authz.Trust
}

// policies are one version, compiled.
type policies struct {
	set      *policy.Set
	digest   string
	profiles profiles
	// remote says why no question can be answered here, since a policy reads what is known at the control plane
	// alone; "" if none does.
	remote string
}

func newPicture(now func() time.Time) *picture {
	p := &picture{agents: map[authz.AgentID]*known{}, words: map[string]string{}}
	p.risks = risk.NewBook(risk.Config{Store: noStore{}, Weights: p.weights, Now: now})
	p.stops = stop.NewBoard(stop.Config{Now: now})
	return p
}

// weights is what the catalog says of risk.
func (p *picture) weights() *catalog.Weights {
	if ps := p.set.Load(); ps != nil {
		return ps.set.Catalog().Weights()
	}
	return nil
}

// Active returns the policies that decide, nil if there are none.
func (p *picture) Active() *policy.Set {
	if ps := p.set.Load(); ps != nil {
		return ps.set
	}
	return nil
}

// Assess returns the risk of a request.
func (p *picture) Assess(req *authz.Request, f *authz.Facts) authz.Risk {
	return p.risks.Assess(req, f)
}

func (p *picture) known(id authz.AgentID) *known {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.agents[id]
}

// Agent returns the agent of that id, or authz.ErrNotFound.
func (p *picture) Agent(id authz.AgentID) (*authz.Agent, error) {
	if k := p.known(id); k != nil {
		return k.agent, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "agent %.128q is not registered", id)
}

// After is for searches, which an embedded decision point does not do.
func (p *picture) After(authz.AgentID, int) []*authz.Agent { return nil }

// KeyFacts says how the agent proves who it is, as of what was told last.
func (p *picture) KeyFacts(id authz.AgentID, _ time.Time) authz.Credential {
	if k := p.known(id); k != nil {
		return k.credential
	}
	return authz.Credential{}
}

// Conduct returns trust in an agent in a class of capability, and how it has behaved, as of what was told last.
func (p *picture) Conduct(id authz.AgentID, class string, _ time.Time) (authz.Trust, authz.Conduct) {
	k := p.known(id)
	if k == nil || len(k.trust) == 0 {
		t, c := authz.NeutralTrust, authz.Conduct{}
		if k != nil {
			c = k.conduct
		}
		return t, c
	}
	unknown := authz.Trust{Level: "none"} // if nothing is told of it
	for i := range k.trust {
		switch k.trust[i].class {
		case class:
			return k.trust[i].trust, k.conduct
		case "":
			unknown = k.trust[i].trust
		}
	}
	return unknown, k.conduct
}

// Confidence returns what an agent's reported confidence has been worth.
func (p *picture) Confidence(id authz.AgentID, reported float64) (float64, bool) {
	k := p.known(id)
	if k == nil {
		return 0, false
	}
	if i := max(0, min(9, int(10*reported))); i < len(k.confidence) {
		return k.confidence[i], true
	}
	return 0, false
}

// tell takes in an agent.
func (p *picture) tell(a *feed.Agent) error {
	if a.Agent == nil || a.Agent.ID == "" {
		return fmt.Errorf("an agent is told without its id")
	}
	k := &known{agent: a.Agent, credential: a.Credential, conduct: a.Conduct}
	k.credential.Method = ""
	p.intern(k)
	for _, class := range slices.Sorted(maps.Keys(a.Trust)) {
		k.trust = append(k.trust, classTrust{p.word(class), authz.Trust{Level: p.word(a.Trust[class].Level), Score: a.Trust[class].Score}})
	}
	for _, w := range a.Confidence {
		k.confidence = append(k.confidence, w.Worth)
	}
	p.mu.Lock()
	k.change = p.changes.Add(1)
	p.agents[k.agent.ID] = k
	p.mu.Unlock()
	return nil
}

// forget drops an agent.
func (p *picture) forget(id authz.AgentID) {
	p.mu.Lock()
	delete(p.agents, id)
	p.mu.Unlock()
}

func (p *picture) count() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.agents)
}

// maxWords bounds the words that are kept once.
const maxWords = 1 << 16

// word returns s, the same string for all that say it: agents share their purposes, owners and capabilities.
func (p *picture) word(s string) string {
	if have, ok := p.words[s]; ok {
		return have
	}
	if len(p.words) < maxWords && len(s) <= 256 {
		s = strings.Clone(s)
		p.words[s] = s
	}
	return s
}

func (p *picture) intern(k *known) {
	a := k.agent
	a.Owner, a.Purpose, a.Version, a.Creator = p.word(a.Owner), p.word(a.Purpose), p.word(a.Version), p.word(a.Creator)
	a.State = authz.AgentState(p.word(string(a.State)))
	a.Capabilities = slices.Clip(a.Capabilities)
	for i, c := range a.Capabilities {
		a.Capabilities[i] = p.word(c)
	}
	for i, f := range k.conduct.Findings {
		k.conduct.Findings[i] = p.word(f)
	}
}

// tellRisk takes in alerts and threat indicators.
func (p *picture) tellRisk(ctx context.Context, r *feed.Risk) error {
	var alerts []risk.Alert
	var indicators []risk.Indicator
	if len(r.Alerts) > 0 {
		if err := json.Unmarshal(r.Alerts, &alerts); err != nil {
			return fmt.Errorf("reading alerts: %w", err)
		}
	}
	if len(r.Indicators) > 0 {
		if err := json.Unmarshal(r.Indicators, &indicators); err != nil {
			return fmt.Errorf("reading threat indicators: %w", err)
		}
	}
	// The book takes entries of a log. What is told later replaces what was told before: numbers count what is told.
	apply := func(kind audit.Kind, by string, at time.Time, change any) error {
		body, err := json.Marshal(change)
		if err != nil {
			return err
		}
		p.told++
		return p.risks.Apply(ctx, audit.Entry{Seq: p.told, At: at, Kind: kind, Actor: by, Body: body})
	}
	for _, a := range alerts {
		if a.Cleared { // of which nothing need be told but that
			a = risk.Alert{ID: a.ID, Kind: "cleared", Severity: "low", Cleared: true, ExpiresAt: a.ExpiresAt, RaisedAt: a.RaisedAt}
		}
		if err := apply(audit.AlertPut, a.RaisedBy, a.RaisedAt, risk.AlertChange{Alert: a, Why: "told"}); err != nil {
			return err
		}
	}
	for _, i := range indicators {
		if i.Cleared {
			i = risk.Indicator{ID: i.ID, Type: risk.IndicatorAgent, Value: "cleared", Severity: "low", Cleared: true, ExpiresAt: i.ExpiresAt, RaisedAt: i.RaisedAt}
		}
		if err := apply(audit.IndicatorPut, i.RaisedBy, i.RaisedAt, risk.IndicatorChange{Indicator: i, Why: "told"}); err != nil {
			return err
		}
	}
	return nil
}

// tellStops takes in everything that is stopped.
func (p *picture) tellStops(s *feed.Stops) error {
	var all []stop.Stop
	if err := json.Unmarshal(s.Stops, &all); err != nil {
		return fmt.Errorf("reading what is stopped: %w", err)
	}
	p.stops.Replace(all)
	p.stopped = true
	return nil
}

// noStore is where a book of risk keeps nothing: it is told anew by every feed.
type noStore struct{}

func (noStore) OpenAlerts(context.Context, time.Time, string, int) ([]risk.Alert, error) {
	return nil, nil
}
func (noStore) PutAlert(context.Context, risk.Alert) error { return nil }
func (noStore) OpenIndicators(context.Context, time.Time, string, int) ([]risk.Indicator, error) {
	return nil, nil
}
func (noStore) PutIndicator(context.Context, risk.Indicator) error { return nil }

// compile compiles a version that was told.
func compile(v *feed.Version, geoip *catalog.GeoIP) (*policies, error) {
	src := source(v)
	if digest, err := digestOf(src, v.Catalog); err != nil || digest != v.Digest {
		return nil, errors.Join(authz.Errorf(authz.ErrUnavailable, "it is not what was published: its digest is another one"), err)
	}
	cat, err := catalog.Options{GeoIP: geoip}.Parse("catalog.yaml", []byte(v.Catalog))
	if err != nil {
		return nil, err
	}
	set, err := policy.Compile(src, cat)
	if err != nil {
		return nil, err
	}
	ps := &policies{set: set.At(v.Version), digest: v.Digest, profiles: newProfiles(cat.Obligations())}
	switch {
	case set.Reads("observed", "asks"):
		ps.remote = "a policy reads how much an agent has asked persons (asks), which the control plane alone knows"
	case geoip == nil && (set.Reads("observed", "network", "country") || set.Requires(catalog.SignalCountry)):
		ps.remote = "a policy or the catalog asks for the country of an address (country), and this decision point has no GeoIP file"
	}
	return ps, nil
}

// source returns the texts of a version.
func source(v *feed.Version) policy.Source {
	src := policy.Source{Schema: v.Schema}
	for _, f := range v.Policies {
		src.Files = append(src.Files, policy.File{Name: f.Name, Text: f.Text})
	}
	return src
}

// digestOf returns the digest of a version, as the log has it.
func digestOf(src policy.Source, catalog string) (string, error) {
	text, err := json.Marshal(src)
	if err != nil {
		return "", err
	}
	hash := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	return feed.Digest(hash(text), hash([]byte(catalog))), nil
}
