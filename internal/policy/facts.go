package policy

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
)

// observed returns context.observed of a request, a record, as far as want goes, and says in q.key what it holds.
func (s *Set) observed(q *query, req *authz.Request, f *authz.Facts, want *shape) types.Value {
	b := moments.Get().(*moment)
	defer b.free()
	b.req, b.f, b.want, b.local = req, f, want, localTime(f)
	if b.reads = want.observed; b.reads == nil {
		b.reads = readsOf(want)
	}
	if q.lasting = b.appendKey(); !q.lasting {
		return b.build(s.parts)
	}
	q.key = appendText(append(q.key, observedPart), b.key)
	r := s.memo.record(b.key)
	if r == nil {
		r = b.build(s.parts)
		s.memo.keep(b.key, r)
	}
	return r
}

// A moment builds context.observed, and the key that says everything it holds.
type moment struct {
	req   *authz.Request
	f     *authz.Facts
	want  *shape
	reads *members // of want
	local time.Time
	key   []byte
	spans [parts]span // of each part in key; empty if nobody reads it

	whole, fields types.RecordMap // for building; a record copies what it is made of
}

type span struct{ begin, end int }

// members says which members of context.observed a shape has, so that they are not looked up for every
// request.
type members struct {
	parts                                                       [parts]*shape
	agent, session, approvals, assurance, pep, task, confidence bool
}

func readsOf(want *shape) *members {
	r := &members{
		agent: want.has("agent"), session: want.has("session"), approvals: want.has("approvals"), assurance: want.has("assurance"),
		pep: want.has("pep"), task: want.has("task"), confidence: want.has("confidence"),
	}
	for i, p := range observedParts {
		r.parts[i] = want.part(p.name)
	}
	return r
}

var moments = sync.Pool{New: func() any {
	return &moment{key: make([]byte, 0, 512), whole: make(types.RecordMap), fields: make(types.RecordMap)}
}}

func (b *moment) free() {
	b.req, b.f, b.want, b.reads = nil, nil, nil, nil
	clear(b.whole)
	clear(b.fields)
	moments.Put(b)
}

func localTime(f *authz.Facts) time.Time {
	if f.Zone == nil {
		return f.At.UTC()
	}
	return f.At.In(f.Zone)
}

// appendKey writes what the record will hold, and reports whether another request may soon be told
// the same, which is not so if some policy reads the exact time.
func (b *moment) appendKey() (lasting bool) {
	lasting = true
	k := binary.AppendUvarint(b.key[:0], b.want.id)
	for i, p := range observedParts {
		w := b.reads.parts[i]
		if w == nil {
			b.spans[i] = span{}
			continue
		}
		begin := len(k)
		k = binary.AppendUvarint(append(k, byte(i)), w.id)
		k = p.key(b, k, w)
		b.spans[i] = span{begin, len(k)}
		lasting = lasting && !(i == timePart && (w.has("at") || w.has("epoch")))
	}
	if b.reads.agent && b.f.Agent != nil {
		k = appendText(append(k, 1), string(b.f.Agent.ID))
	} else {
		k = append(k, 0)
	}
	if b.reads.session {
		k = appendText(k, b.req.Observed.Session)
		lasting = lasting && b.req.Observed.Session == ""
	}
	if b.reads.approvals {
		k = appendTexts(k, approvedRoutes(b.f))
	}
	if b.reads.assurance {
		k = appendTexts(k, b.f.Assured)
	}
	if b.reads.pep {
		k = appendText(k, b.req.Observed.PEP)
	}
	if b.reads.task {
		k = appendText(k, b.req.Observed.Task)
	}
	if b.reads.confidence {
		n := int64(-1)
		if b.f.Confidence != nil {
			n = tenThousandths(*b.f.Confidence)
		}
		k = binary.AppendVarint(k, n)
	}
	b.key = k
	return lasting
}

// build makes the record, of parts that were built before where the memo has them. Parts that
// nobody reads are left out.
func (b *moment) build(known *memo) types.Record {
	m := b.whole
	clear(m)
	for i, p := range observedParts {
		s := b.spans[i]
		if s.end == 0 {
			continue
		}
		w, key := b.reads.parts[i], b.key[s.begin:s.end]
		r := known.record(key)
		if r == nil {
			fields := b.fields
			clear(fields)
			p.fill(b, func(name types.String, v types.Value) {
				if w.has(name) {
					fields[name] = v
				}
			})
			r = types.NewRecord(fields)
			known.keep(key, r)
		}
		m[p.name] = r
	}
	if b.reads.agent && b.f.Agent != nil {
		m["agent"] = types.NewEntityUID(agentEntity, types.String(b.f.Agent.ID))
	}
	if b.reads.session && b.req.Observed.Session != "" {
		m["session"] = types.String(b.req.Observed.Session)
	}
	if b.reads.approvals {
		m["approvals"] = setOf(approvedRoutes(b.f))
	}
	if b.reads.assurance {
		m["assurance"] = setOf(b.f.Assured)
	}
	if b.reads.pep {
		m["pep"] = types.String(b.req.Observed.PEP)
	}
	if b.reads.task && b.req.Observed.Task != "" {
		m["task"] = types.String(b.req.Observed.Task)
	}
	if b.reads.confidence && b.f.Confidence != nil {
		m["confidence"] = fraction(tenThousandths(*b.f.Confidence))
	}
	return types.NewRecord(m)
}

// observedParts are the members of context.observed that are records. Of each, key must write
// whatever fill reads.
var observedParts = [parts]struct {
	name types.String
	key  func(b *moment, k []byte, w *shape) []byte
	fill func(b *moment, put func(types.String, types.Value))
}{
	timePart: {"time", func(b *moment, k []byte, w *shape) []byte {
		switch { // the coarsest clock that serves
		case w.has("at"):
			k = binary.AppendVarint(k, b.f.At.UnixMilli())
		case w.has("epoch"):
			k = binary.AppendVarint(k, b.f.At.Unix())
		case w.has("hour"), w.has("minute"), w.has("weekday"):
			k = binary.AppendVarint(k, int64(b.local.Hour()*60+b.local.Minute()))
			k = append(k, byte(b.local.Weekday()))
		}
		_, offset := b.local.Zone()
		k = binary.AppendVarint(k, int64(offset))
		k = appendText(k, b.local.Location().String())
		return appendTexts(k, b.f.Schedules)
	}, func(b *moment, put func(types.String, types.Value)) {
		put("at", types.NewDatetime(b.f.At))
		put("epoch", types.Long(b.f.At.Unix()))
		put("hour", types.Long(b.local.Hour()))
		put("minute", types.Long(b.local.Minute()))
		put("weekday", weekdays[b.local.Weekday()])
		put("zone", types.String(b.local.Location().String()))
		put("schedules", setOf(b.f.Schedules))
	}},
	{"network", func(b *moment, k []byte, _ *shape) []byte {
		k = appendAddress(k, b.req.Observed.Address)
		k = appendTexts(k, b.f.Zones)
		return appendText(k, b.f.Country)
	}, func(b *moment, put func(types.String, types.Value)) {
		if b.req.Observed.Address.IsValid() {
			put("ip", address(b.req.Observed.Address))
		}
		put("zones", setOf(b.f.Zones))
		if b.f.Country != "" {
			put("country", types.String(b.f.Country))
		}
	}},
	{"data", func(b *moment, k []byte, _ *shape) []byte {
		k = append(k, byte(b.f.Class))
		k = appendTexts(k, b.f.Labels)
		return appendText(k, b.f.Region)
	}, func(b *moment, put func(types.String, types.Value)) {
		put("class", types.String(b.f.Class.String()))
		put("rank", types.Long(b.f.Class.Rank()))
		put("labels", setOf(b.f.Labels))
		if b.f.Region != "" {
			put("jurisdiction", types.String(b.f.Region))
		}
	}},
	{"risk", func(b *moment, k []byte, _ *shape) []byte {
		k = appendText(k, b.f.Risk.Level)
		k = binary.AppendVarint(k, b.f.Risk.Score)
		k = appendTexts(k, b.f.Risk.Alerts)
		return appendTexts(k, b.f.Risk.Indicators)
	}, func(b *moment, put func(types.String, types.Value)) {
		put("level", types.String(b.f.Risk.Level))
		put("rank", types.Long(b.f.Risk.Rank()))
		put("score", types.Long(b.f.Risk.Score))
		put("alerts", setOf(b.f.Risk.Alerts))
		put("indicators", setOf(b.f.Risk.Indicators))
	}},
	{"grant", func(b *moment, k []byte, _ *shape) []byte {
		k = appendTexts(k, b.f.Grant.Within)
		k = appendTexts(k, b.f.Grant.Exceeded)
		if b.f.Grant.Essential {
			return appendText(append(k, 1), b.f.Grant.Class)
		}
		return appendText(append(k, 0), b.f.Grant.Class)
	}, func(b *moment, put func(types.String, types.Value)) {
		put("within", setOf(b.f.Grant.Within))
		put("exceeded", setOf(b.f.Grant.Exceeded))
		put("class", types.String(b.f.Grant.Class))
		put("essential", types.Boolean(b.f.Grant.Essential))
	}},
	{"trust", func(b *moment, k []byte, w *shape) []byte {
		k = appendText(k, b.f.Trust.Level)
		if w.has("score") { // which changes more often than the level
			k = binary.AppendVarint(k, tenThousandths(b.f.Trust.Score))
		}
		return k
	}, func(b *moment, put func(types.String, types.Value)) {
		put("level", types.String(b.f.Trust.Level))
		put("rank", types.Long(b.f.Trust.Rank()))
		put("score", fraction(tenThousandths(b.f.Trust.Score)))
	}},
	{"provenance", func(b *moment, k []byte, _ *shape) []byte {
		p := b.req.Observed.Provenance
		if p == nil {
			return append(k, 0)
		}
		k = appendTexts(append(k, 1), p.Prompt)
		k = appendTexts(k, p.Operator)
		k = appendTexts(k, p.Untrusted)
		return appendTexts(k, p.Unknown)
	}, func(b *moment, put func(types.String, types.Value)) {
		p := b.req.Observed.Provenance
		put("known", types.Boolean(p != nil))
		if p == nil {
			p = &authz.Provenance{}
		}
		put("prompt", setOf(p.Prompt))
		put("operator", setOf(p.Operator))
		put("untrusted", setOf(p.Untrusted))
		put("unknown", setOf(p.Unknown))
	}},
	{"passport", func(b *moment, k []byte, _ *shape) []byte {
		p := b.req.Observed.Passport
		if p == nil {
			return append(k, 0)
		}
		k = binary.AppendUvarint(append(k, 1), uint64(len(p.Details)))
		for i := range p.Details {
			k = appendText(k, p.Details[i].Identifier)
		}
		k = appendText(k, p.Bound)
		return binary.AppendVarint(k, int64(p.Depth))
	}, func(b *moment, put func(types.String, types.Value)) {
		p := b.req.Observed.Passport
		put("present", types.Boolean(p != nil))
		if p == nil {
			p = &authz.Passport{Bound: "none"}
		}
		carried := make([]string, len(p.Details))
		for i := range p.Details {
			carried[i] = p.Details[i].Identifier
		}
		put("capabilities", setOf(carried))
		put("bound", types.String(p.Bound))
		put("depth", types.Long(p.Depth))
	}},
	{"credential", func(b *moment, k []byte, _ *shape) []byte {
		c := credentialOf(b.f)
		k = appendText(k, c.method)
		k = binary.AppendVarint(k, c.keys)
		k = binary.AppendVarint(k, c.age)
		if !c.expires {
			return append(k, 0)
		}
		return binary.AppendVarint(append(k, 1), c.left)
	}, func(b *moment, put func(types.String, types.Value)) {
		c := credentialOf(b.f)
		put("known", types.Boolean(c.keys > 0))
		put("method", types.String(c.method))
		put("age_days", types.Long(c.age))
		if c.expires {
			put("expires_in_days", types.Long(c.left))
		}
		put("keys", types.Long(c.keys))
	}},
	{"asks", func(b *moment, k []byte, _ *shape) []byte {
		k = binary.AppendVarint(k, b.f.Asks.Session)
		k = binary.AppendVarint(k, b.f.Asks.Hour)
		return binary.AppendVarint(k, b.f.Asks.Pending)
	}, func(b *moment, put func(types.String, types.Value)) {
		put("session", types.Long(b.f.Asks.Session))
		put("hour", types.Long(b.f.Asks.Hour))
		put("pending", types.Long(b.f.Asks.Pending))
	}},
}

// approvedRoutes returns the routes by which persons have approved the act.
func approvedRoutes(f *authz.Facts) []string {
	if f.Approval == nil {
		return nil
	}
	return f.Approval.Routes
}

const (
	parts    = 10 // of context.observed
	timePart = 0  // the one that changes by itself

	saidPart, observedPart = 255, 254 // none of these: in keys, what a caller says and all that is observed
)

var weekdays = [...]types.String{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// tenThousandths counts the ten-thousandths of a number between 0 and 1, rounded down. What is no number
// has none.
func tenThousandths(x float64) int64 {
	if !(x > 0) {
		return 0
	}
	return int64(math.Floor(float64(min(x, 1)*10000) + 1e-9))
}

// fraction returns so many ten-thousandths as a decimal.
func fraction(n int64) types.Decimal {
	d, _ := types.NewDecimal(n, -4)
	return d
}

func setOf(list []string) types.Set {
	if len(list) == 0 {
		return types.Set{}
	}
	vs := make([]types.Value, len(list))
	for i, s := range list {
		vs[i] = types.String(s)
	}
	return types.NewSet(vs...)
}

// A conductView is what policies see of an agent's conduct: rounded, so that a score that fades by the
// minute makes no new entity by the request.
type conductView struct {
	level                      string
	score, accuracy, errorRate int64 // ten-thousandths
	judged                     bool
	findings                   []string
	gravest                    int64
}

// viewOf returns what policies see of c. Who has not learned anything says that trust is neutral.
func viewOf(c *authz.Conduct) conductView {
	t := c.Lowest
	if t == (authz.Trust{}) {
		t = authz.NeutralTrust
	}
	v := conductView{level: t.Level, score: tenThousandths(t.Score), findings: c.Findings, gravest: c.Gravest}
	if c.Judged > 0 {
		v.judged, v.accuracy, v.errorRate = true, tenThousandths(c.Accuracy), tenThousandths(c.ErrorRate)
	}
	return v
}

func (v *conductView) equal(w *conductView) bool {
	return v.level == w.level && v.score == w.score && v.judged == w.judged && v.accuracy == w.accuracy &&
		v.errorRate == w.errorRate && v.gravest == w.gravest && slices.Equal(v.findings, w.findings)
}

// record returns principal.conduct.
func (v *conductView) record() types.Record {
	rank := authz.Trust{Level: v.level}.Rank()
	m := types.RecordMap{
		"trust": types.NewRecord(types.RecordMap{
			"level": types.String(v.level), "rank": types.Long(rank), "score": fraction(v.score),
		}),
		"findings": setOf(v.findings),
		"gravest":  types.Long(v.gravest),
	}
	if v.judged {
		m["accuracy"], m["error_rate"] = fraction(v.accuracy), fraction(v.errorRate)
	}
	return types.NewRecord(m)
}

// agentOf returns the entity of a registered agent: what the registry says of it and how it has
// behaved, never what a request says.
func agentOf(a *authz.Agent, conduct *conductView) types.Entity {
	e := types.Entity{
		UID: types.NewEntityUID(agentEntity, types.String(a.ID)),
		Attributes: types.NewRecord(types.RecordMap{
			"owner":        types.String(a.Owner),
			"creator":      types.String(a.Creator),
			"version":      types.String(a.Version),
			"purpose":      types.String(a.Purpose),
			"state":        types.String(a.State),
			"capabilities": setOf(a.Capabilities),
			"conduct":      conduct.record(),
		}),
	}
	if a.Purpose != "" {
		e.Parents = types.NewEntityUIDSet(types.NewEntityUID(purposeEntity, types.String(a.Purpose)))
	}
	if len(a.Labels) > 0 {
		tags := make(types.RecordMap, len(a.Labels))
		for k, v := range a.Labels {
			tags[types.String(k)] = types.String(v)
		}
		e.Tags = types.NewRecord(tags)
	}
	return e
}
