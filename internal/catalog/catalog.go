// Package catalog holds what the organisation declares: capabilities, data classes, schedules,
// network zones, obligations, reasons, approver groups, required signals, weights of risk, rules of conduct,
// and the people and things it knows.
//
// A [Catalog] is one YAML or JSON document, checked as a whole and compiled. It is immutable, its
// answers touch memory only, and where the document says nothing the answer is the strict one: a
// resource that nothing classifies is restricted, a capability that is not declared covers nothing,
// an amount that cannot be read is over every limit.
//
// The package knows no history. Limits on how often or how much in total are not served here.
package catalog

import (
	"cmp"
	"slices"
	"time"
	_ "time/tzdata" // so that every IANA zone is there, whatever the machine has

	"github.com/safeconduct/safeconduct/authz"
)

// A Catalog is a checked, compiled, immutable document. It is safe for concurrent use.
type Catalog struct {
	zone         *time.Location
	capabilities map[string]*Capability
	types        map[string]*Type
	classes      classifier
	schedules    calendar
	networks     networks
	obligations  map[string]authz.Obligation
	reasons      map[string]Reason
	approvers    map[string]*Approvers
	routes       map[string]*Route
	defaultRoute string
	asks         AskBudget
	volatile     []string
	assurances   map[string]*Assurance
	entities     map[authz.Ref]*Stored
	byType       map[string][]*Stored
	signals      signals
	mentions     []Mention
	weights      Weights
	conduct      Conduct
}

// Options are what a catalog needs and a document cannot say. The zero Options serve.
type Options struct {
	// GeoIP finds the country of an address. Without it every country is unknown, and a catalog
	// that requires the signal network.country refuses every request that needs it.
	GeoIP *GeoIP
}

// Parse reads a catalog document (YAML or JSON), strictly: unknown and repeated members are refused,
// and so is every name that refers to nothing. The error is a [*Problems], which names every problem
// with its line and column and is authz.ErrInvalid.
func Parse(name string, text []byte) (*Catalog, error) { return Options{}.Parse(name, text) }

// Parse is like the function of that name, with options.
func (o Options) Parse(name string, text []byte) (*Catalog, error) {
	d := parse(name, text)
	if d.root == nil {
		return nil, d.err()
	}
	c := read(d)
	if err := d.err(); err != nil {
		return nil, err
	}
	c.networks.geoip = o.GeoIP
	return c, nil
}

// Zone returns the organisation's time zone.
func (c *Catalog) Zone() *time.Location { return c.zone }

// A Capability is a business function: actions and the limits within which they are granted.
type Capability struct {
	ID      string
	Title   string
	Class   string   // read, write, egress, money, admin
	Actions []string // names of Cedar actions or action groups, sorted
	Limits  Limits
	// Essential is whether an agent may still do it when it is trusted with nothing.
	Essential bool

	grave   int // index of Class in capabilityClasses
	amounts []amount
	detail  authz.Detail // what DetailOf returns
}

// Limits bound a capability. The zero value bounds nothing.
type Limits struct {
	Class     *authz.DataClass  // the most sensitive class allowed
	Amount    map[string]string // argument name -> largest decimal value, as text
	Regions   []string          // jurisdictions of the resource that are allowed, sorted
	Schedules []string          // one of them must be open; sorted
}

// capabilityClasses are the classes of capability, gravest last.
var capabilityClasses = []string{"read", "write", "egress", "money", "admin"}

// A Type is what the catalog says of an AuthZEN subject or resource type.
type Type struct {
	Name              string
	RequestProperties []string        // properties that a request may state over the stored ones, sorted
	Class             authz.DataClass // of its resources, where no rule classifies them
	Labels            []string        // of all its resources, sorted
	Jurisdiction      string

	hasClass bool
}

// A Stored entity is a person or thing the catalog knows.
type Stored struct {
	authz.Ref
	Properties authz.Claimed
	Parents    []authz.Ref

	line, column int32
}

// A Reason is an operator's own reason for a refusal, named by @reason: a message for the agent and
// a detail for the operator.
type Reason struct{ ID, Message, Detail string }

// Approvers are a group of people who may approve an act.
type Approvers struct {
	ID      string
	Title   string
	Members []Approver
}

// An Approver is a person, or everybody whose claims say so.
type Approver struct {
	Person authz.Ref         // zero if Claims are given
	Claims map[string]string // all must hold
	During string            // id of a schedule that must be open: on call; "" for always
}

// Type returns what is declared of a subject or resource type.
func (c *Catalog) Type(name string) (*Type, bool) {
	t, ok := c.types[name]
	return t, ok
}

// Types returns the declared types, sorted by name.
func (c *Catalog) Types() []*Type {
	return sorted(c.types, func(t *Type) string { return t.Name })
}

// Capability returns the capability of that id.
func (c *Catalog) Capability(id string) (*Capability, bool) {
	k, ok := c.capabilities[id]
	return k, ok
}

// Capabilities returns the declared capabilities, sorted by id.
func (c *Catalog) Capabilities() []*Capability {
	return sorted(c.capabilities, func(k *Capability) string { return k.ID })
}

// Reason returns the reason of that id.
func (c *Catalog) Reason(id string) (Reason, bool) {
	r, ok := c.reasons[id]
	return r, ok
}

// Reasons returns the declared reasons, sorted by id.
func (c *Catalog) Reasons() []Reason {
	return sorted(c.reasons, func(r Reason) string { return r.ID })
}

// Obligation returns the obligation of that id.
func (c *Catalog) Obligation(id string) (authz.Obligation, bool) {
	o, ok := c.obligations[id]
	return o, ok
}

// Obligations returns the declared obligations, sorted by id.
func (c *Catalog) Obligations() []authz.Obligation {
	return sorted(c.obligations, func(o authz.Obligation) string { return o.ID })
}

// Approvers returns the group of that id.
func (c *Catalog) Approvers(id string) (*Approvers, bool) {
	a, ok := c.approvers[id]
	return a, ok
}

// Entities returns the stored entities of a type, sorted by id. The slice is shared: do not modify it.
func (c *Catalog) Entities(typ string) []*Stored { return c.byType[typ] }

// EntityTypes returns the types of which entities are stored, sorted.
func (c *Catalog) EntityTypes() []string {
	types := make([]string, 0, len(c.byType))
	for t := range c.byType {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}

// Entity returns the stored entity of that type and id.
func (c *Catalog) Entity(r authz.Ref) (*Stored, bool) {
	e, ok := c.entities[r]
	return e, ok
}

// Weights returns what risk weighs.
func (c *Catalog) Weights() *Weights { return &c.weights }

// Conduct returns how agents are watched. It is never nil, and shared: do not modify it.
func (c *Catalog) Conduct() *Conduct { return &c.conduct }

func sorted[K comparable, V any](m map[K]V, id func(V) string) []V {
	all := make([]V, 0, len(m))
	for _, v := range m {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b V) int { return cmp.Compare(id(a), id(b)) })
	return all
}
