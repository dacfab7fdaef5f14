package policy

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
)

// observed returns context.observed of a request, as far as want goes.
func (s *Set) observed(req *authz.Request, f *authz.Facts, want *shape) types.Record {
	if want == nil {
		return types.Record{}
	}
	b := moments.Get().(*moment)
	defer moments.Put(b)
	b.req, b.f, b.want = req, f, want
	b.key = append(b.key[:0], 0)
	if want.all {
		b.key[0] = 1
	}
	b.local = localTime(f)
	b.appendKey()
	r, ok := s.memo.record(b.key)
	if !ok {
		r = b.build()
		s.memo.keep(b.key, r)
	}
	b.req, b.f = nil, nil
	return r
}

// A moment builds context.observed, and the key that says everything it holds.
type moment struct {
	req   *authz.Request
	f     *authz.Facts
	want  *shape
	local time.Time
	key   []byte
}

var moments = sync.Pool{New: func() any { return &moment{key: make([]byte, 0, 512)} }}

func localTime(f *authz.Facts) time.Time {
	if f.Zone == nil {
		return f.At.UTC()
	}
	return f.At.In(f.Zone)
}

// appendKey writes what the record will hold. It must follow build in every branch: whatever build
// reads, the key has. The set's shape is fixed, so it need not be in the key.
func (b *moment) appendKey() {
	k, f, w := b.key, b.f, b.want
	if t := w.part("time"); t != nil {
		switch { // the coarsest clock that serves
		case t.has("at"):
			k = binary.AppendVarint(k, f.At.UnixMilli())
		case t.has("epoch"):
			k = binary.AppendVarint(k, f.At.Unix())
		default:
			k = binary.AppendVarint(k, int64(b.local.Hour()*60+b.local.Minute()))
			k = append(k, byte(b.local.Weekday()))
		}
		_, offset := b.local.Zone()
		k = binary.AppendVarint(k, int64(offset))
		k = appendText(k, b.local.Location().String())
		k = appendTexts(k, f.Schedules)
	}
	if w.has("network") {
		a, _ := b.req.Observed.Address.Unmap().WithZone("").MarshalBinary()
		k = appendText(k, string(a))
		k = appendTexts(k, f.Zones)
		k = appendText(k, f.Country)
	}
	if w.has("data") {
		k = append(k, byte(f.Class))
		k = appendTexts(k, f.Labels)
		k = appendText(k, f.Region)
	}
	if w.has("risk") {
		k = appendText(k, f.Risk.Level)
		k = binary.AppendVarint(k, f.Risk.Score)
		k = appendTexts(k, f.Risk.Alerts)
		k = appendTexts(k, f.Risk.Indicators)
	}
	if w.has("grant") {
		k = appendTexts(k, f.Grant.Within)
		k = appendTexts(k, f.Grant.Exceeded)
		k = appendText(k, f.Grant.Class)
	}
	if w.has("trust") {
		k = appendText(k, f.Trust.Level)
		k = binary.LittleEndian.AppendUint64(k, math.Float64bits(f.Trust.Score))
	}
	if w.has("provenance") {
		if p := b.req.Observed.Provenance; p != nil {
			k = append(k, 1)
			k = appendTexts(k, p.Prompt)
			k = appendTexts(k, p.Operator)
			k = appendTexts(k, p.Untrusted)
			k = appendTexts(k, p.Unknown)
		} else {
			k = append(k, 0)
		}
	}
	if w.has("agent") && f.Agent != nil {
		k = appendText(append(k, 1), string(f.Agent.ID))
	} else {
		k = append(k, 0)
	}
	if w.has("session") {
		k = appendText(k, b.req.Observed.Session)
	}
	if w.has("pep") {
		k = appendText(k, b.req.Observed.PEP)
	}
	b.key = k
}

// build makes the record. Parts that nobody reads are left out.
func (b *moment) build() types.Record {
	f, w := b.f, b.want
	m := make(types.RecordMap, 12)
	part := func(name types.String, fill func(put func(types.String, types.Value))) {
		p := w.part(name)
		if p == nil {
			return
		}
		r := make(types.RecordMap, 8)
		fill(func(name types.String, v types.Value) {
			if p.has(name) {
				r[name] = v
			}
		})
		m[name] = types.NewRecord(r)
	}
	part("time", func(put func(types.String, types.Value)) {
		put("at", types.NewDatetime(f.At))
		put("epoch", types.Long(f.At.Unix()))
		put("hour", types.Long(b.local.Hour()))
		put("minute", types.Long(b.local.Minute()))
		put("weekday", weekdays[b.local.Weekday()])
		put("zone", types.String(b.local.Location().String()))
		put("schedules", setOf(f.Schedules))
	})
	part("network", func(put func(types.String, types.Value)) {
		if b.req.Observed.Address.IsValid() {
			put("ip", address(b.req.Observed.Address))
		}
		put("zones", setOf(f.Zones))
		if f.Country != "" {
			put("country", types.String(f.Country))
		}
	})
	part("data", func(put func(types.String, types.Value)) {
		put("class", types.String(f.Class.String()))
		put("rank", types.Long(f.Class.Rank()))
		put("labels", setOf(f.Labels))
		if f.Region != "" {
			put("jurisdiction", types.String(f.Region))
		}
	})
	part("risk", func(put func(types.String, types.Value)) {
		put("level", types.String(f.Risk.Level))
		put("rank", types.Long(f.Risk.Rank()))
		put("score", types.Long(f.Risk.Score))
		put("alerts", setOf(f.Risk.Alerts))
		put("indicators", setOf(f.Risk.Indicators))
	})
	part("grant", func(put func(types.String, types.Value)) {
		put("within", setOf(f.Grant.Within))
		put("exceeded", setOf(f.Grant.Exceeded))
		put("class", types.String(f.Grant.Class))
	})
	part("trust", func(put func(types.String, types.Value)) { putTrust(put, f.Trust) })
	part("provenance", func(put func(types.String, types.Value)) {
		p := b.req.Observed.Provenance
		put("known", types.Boolean(p != nil))
		if p == nil {
			p = &authz.Provenance{}
		}
		put("prompt", setOf(p.Prompt))
		put("operator", setOf(p.Operator))
		put("untrusted", setOf(p.Untrusted))
		put("unknown", setOf(p.Unknown))
	})
	if w.has("agent") && f.Agent != nil {
		m["agent"] = types.NewEntityUID(agentEntity, types.String(f.Agent.ID))
	}
	if w.has("session") && b.req.Observed.Session != "" {
		m["session"] = types.String(b.req.Observed.Session)
	}
	if w.has("pep") {
		m["pep"] = types.String(b.req.Observed.PEP)
	}
	return types.NewRecord(m)
}

var weekdays = [...]types.String{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func putTrust(put func(types.String, types.Value), t authz.Trust) {
	put("level", types.String(t.Level))
	put("rank", types.Long(t.Rank()))
	put("score", fraction(t.Score))
}

// fraction returns a number between 0 and 1 as a decimal, rounded down. What is no number is 0.
func fraction(x float64) types.Decimal {
	if !(x > 0) {
		x = 0
	}
	d, _ := types.NewDecimal(int64(math.Floor(min(x, 1)*10000+1e-9)), -4)
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

// neutralConduct is said of every agent until conduct is judged.
var neutralConduct = func() types.Record {
	trust := make(types.RecordMap)
	putTrust(func(name types.String, v types.Value) { trust[name] = v }, authz.NeutralTrust)
	return types.NewRecord(types.RecordMap{"trust": types.NewRecord(trust), "findings": types.Set{}})
}()

// agentOf returns the entity of a registered agent: what the registry says of it, never a request.
func agentOf(a *authz.Agent) *types.Entity {
	e := &types.Entity{
		UID: types.NewEntityUID(agentEntity, types.String(a.ID)),
		Attributes: types.NewRecord(types.RecordMap{
			"owner":        types.String(a.Owner),
			"creator":      types.String(a.Creator),
			"version":      types.String(a.Version),
			"purpose":      types.String(a.Purpose),
			"state":        types.String(a.State),
			"capabilities": setOf(a.Capabilities),
			"conduct":      neutralConduct,
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
