package activity

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// take takes in an entry. The caller holds b.mu.
func (b *Book) take(ctx context.Context, e *audit.Entry) error {
	switch e.Kind {
	case audit.DecisionMade:
		return b.decision(ctx, e)
	case audit.OutcomeReported:
		return b.outcome(ctx, e)
	}
	return nil
}

// get returns a row to be worked on: from memory, else from the store, else a new one. The caller holds b.mu.
func (b *Book) get(ctx context.Context, id authz.AgentID, kind, name string) (*entry, error) {
	k := key{id, kind, name}
	if en := b.rows[k]; en != nil {
		return en, nil
	}
	r, err := b.cfg.Store.Activity(ctx, Format, id, kind, name)
	en := &entry{key: k, state: fresh(kind)}
	switch {
	case errors.Is(err, authz.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		if known, err := read(&r); err == nil { // a damaged row begins anew
			en = known
		} else {
			b.cfg.Logger.WarnContext(ctx, "a row of what agents did is damaged", "agent", id, "kind", kind, "error", err)
		}
	}
	b.rows[k] = en
	return en, nil
}

// touch reports whether an entry is new to a row, and notes that it changes it. The caller holds b.mu.
func (b *Book) touch(en *entry, seq int64) bool {
	if seq <= en.seq {
		return false
	}
	en.seq = seq
	if !en.dirty {
		en.dirty = true
		b.dirty = append(b.dirty, en)
	}
	return true
}

// decision takes in a decision.made entry: an act of a registered agent, not a question of ours or of an administrator.
// All rows are read before the first is changed.
func (b *Book) decision(ctx context.Context, e *audit.Entry) error {
	if strings.HasPrefix(e.Actor, "admin:") {
		return nil
	}
	ev := &b.ev
	if ok, err := b.reader.Read(e.Body, ev); err != nil || !ok || ev.Issuing {
		return nil // of a damaged record nothing is known: the monitors say so
	}
	id, at := ev.Agent, e.At.UnixMicro()
	whole, err := b.get(ctx, id, kindAgent, "")
	if err != nil {
		return err
	}
	use, err := b.get(ctx, id, kindUse, weekName(week(at)))
	if err != nil {
		return err
	}
	var session *entry
	if ev.Session != "" {
		if session, err = b.get(ctx, id, kindSession, ev.Session); err != nil {
			return err
		}
	}
	behalf := make([]*entry, 0, len(ev.OnBehalf))
	for _, ref := range ev.OnBehalf {
		if len(ref.Type)+len(ref.ID) > maxPrincipal { // nobody is known by such a name
			continue
		}
		en, err := b.get(ctx, id, kindBehalf, ref.Type+":"+ref.ID)
		if err != nil {
			return err
		}
		behalf = append(behalf, en)
	}

	if ev.Number > 0 && b.repeats(ev.Journal, ev.Number, e) {
		return nil
	}
	begun, met := 0, 0
	if session != nil {
		begun = newborn(session)
		if b.touch(session, e.Seq) {
			session.state.(*sessionState).call(ev, e.Seq, at)
		}
	}
	for i, en := range behalf {
		met += newborn(en)
		if b.touch(en, e.Seq) {
			en.state.(*behalfState).call(ev, i+1, at)
		}
	}
	if b.touch(use, e.Seq) {
		if newborn := len(use.state.(*useState).Capabilities) == 0; newborn {
			b.prune[key{agent: id, kind: kindUse}] = Weeks + 1
		}
		use.state.(*useState).act(ev, at)
	}
	if b.touch(whole, e.Seq) {
		a := whole.state.(*agentState)
		sessions, principals := a.Sessions, a.Principals
		a.call(ev, at)
		a.Sessions, a.Principals = a.Sessions+int64(begun), a.Principals+int64(met)
		b.overflow(id, kindSession, sessions, a.Sessions, MaxSessions)
		b.overflow(id, kindBehalf, principals, a.Principals, MaxPrincipals)
	}
	return nil
}

// repeats reports whether the record of that number in a journal was taken in before, and takes it in otherwise: from then on nothing
// may fail. It forgets the journals that are silent when one comes that is new. The caller holds b.mu.
func (b *Book) repeats(journal string, number int64, e *audit.Entry) bool {
	known := len(b.uploads)
	if b.uploads.Repeats(journal, number, e) {
		return true
	}
	if len(b.uploads) > known {
		b.uploads.Sweep(e.At)
	}
	return false
}

// newborn returns 1 for a row that does not exist yet.
func newborn(en *entry) int {
	if en.seq == 0 {
		return 1
	}
	return 0
}

// overflow has rows removed when an agent has begun an eighth more of them than are kept, and then again and again.
func (b *Book) overflow(id authz.AgentID, kind string, was, is int64, keep int) {
	if step := int64(keep / 8); is > int64(keep) && was/step != is/step {
		b.prune[key{agent: id, kind: kind}] = keep
	}
}

// outcome takes in an outcome.reported entry, as far as it belongs to a session.
func (b *Book) outcome(ctx context.Context, e *audit.Entry) error {
	var o conduct.Outcome
	if json.Unmarshal(e.Body, &o) != nil || o.Agent == "" || o.Session == "" {
		return nil
	}
	en, err := b.get(ctx, o.Agent, kindSession, o.Session)
	if err != nil {
		return err
	}
	repeated := o.Edge != nil && b.repeats(o.Edge.Journal, o.Edge.Number, e)
	if newborn(en) == 1 { // of a session that is not known nothing came either
		delete(b.rows, en.key)
		return nil
	}
	if repeated || !b.touch(en, e.Seq) {
		return nil
	}
	s := en.state.(*sessionState)
	s.Outcomes++
	if o.Result != conduct.ResultNone && o.Result != conduct.ResultRight {
		s.Bad++
	}
	s.add(e.Seq)
	return nil
}

func (a *agentState) call(ev *conduct.Event, at int64) {
	if a.First == 0 {
		a.First = at
	}
	a.Last = at
	a.Decisions++
	if !ev.Allowed() {
		a.Refused++
	}
	a.day(at, !ev.Allowed())
	if !ev.Allowed() {
		return
	}
	if a.Used == nil {
		a.Used = map[string]usedCap{}
	}
	for _, c := range ev.Within {
		if u, ok := a.Used[c]; ok || len(a.Used) < maxCapabilities {
			a.Used[c] = usedCap{u.Count + 1, at}
		}
	}
}

func (s *sessionState) call(ev *conduct.Event, seq, at int64) {
	if s.First == 0 {
		s.First, s.Begun = at, seq
	}
	s.Last = at
	if ev.Task != "" {
		s.Task = clip(ev.Task)
	}
	s.PEP, s.Action = clip(ev.PEP), clip(ev.Action)
	if len(ev.OnBehalf) > 0 {
		s.OnBehalf = authz.Ref{Type: clip(ev.OnBehalf[0].Type), ID: clip(ev.OnBehalf[0].ID)}
	}
	s.Calls++
	switch ev.Effect {
	case authz.Allow:
		s.Allowed++
	case authz.RequireApproval, authz.StepUp:
		s.Asked++
	}
	if ev.Provenance != nil && len(ev.Provenance.Untrusted) > 0 {
		s.Suspect++
	}
	s.add(seq)
}

func (s *behalfState) call(ev *conduct.Event, depth int, at int64) {
	if s.First == 0 {
		s.First, s.Depth = at, depth
	}
	s.Last, s.Depth = at, min(s.Depth, depth)
	s.Calls++
	if !ev.Allowed() {
		s.Refused++
	}
}

// act notes which capabilities an act was done with.
func (u *useState) act(ev *conduct.Event, at int64) {
	if len(ev.Within) == 0 && len(ev.Exceeded) == 0 {
		if c := u.capability(""); c != nil {
			c.Used++
			c.did(ev, at)
		}
		return
	}
	for _, id := range ev.Within {
		c := u.capability(id)
		if c == nil {
			continue
		}
		if !ev.Allowed() {
			c.Refused++
			continue
		}
		c.Used++
		if len(ev.Within) == 1 {
			c.Alone++
		}
		c.did(ev, at)
	}
	for _, x := range ev.Exceeded {
		id, limit, _ := strings.Cut(x, "/")
		if c := u.capability(id); c != nil {
			count(&c.Exceeded, limit, maxExceeded)
		}
	}
}

func (u *useState) capability(id string) *capabilityState {
	c := u.Capabilities[id]
	if c == nil {
		if len(u.Capabilities) >= maxCapabilities {
			return nil
		}
		if u.Capabilities == nil {
			u.Capabilities = map[string]*capabilityState{}
		}
		c = &capabilityState{}
		u.Capabilities[id] = c
	}
	return c
}

// did notes what was done.
func (c *capabilityState) did(ev *conduct.Event, at int64) {
	c.Last = at
	count(&c.Actions, ev.Action, maxActions)
	count(&c.Types, ev.Resource.Type, maxTypes)
	count(&c.Classes, ev.Data.String(), maxTypes)
	if len(ev.Args) == 0 || !ev.Allowed() {
		return
	}
	looked := 0
	conduct.Members(ev.Args, func(name, value []byte) bool {
		if looked++; looked > 64 || len(name) > maxName {
			return looked <= 64
		}
		n, ok := number(value)
		if !ok {
			return true
		}
		most, known := c.Amounts[string(name)]
		if known && !less(most, n) || !known && len(c.Amounts) >= maxAmounts {
			return true
		}
		if c.Amounts == nil {
			c.Amounts = map[string]string{}
		}
		c.Amounts[string(name)] = n
		return true
	})
}

// number returns the plain decimal that a JSON value is, as a number or as a text of digits.
func number(value []byte) (string, bool) {
	if n := len(value); n > 2 && value[0] == '"' {
		value = value[1 : n-1]
	}
	if len(value) == 0 || len(value) > 40 {
		return "", false
	}
	digits, point := 0, 0
	for i, c := range value {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && i > 0 && i < len(value)-1:
			point++
		default:
			return "", false
		}
	}
	return string(value), digits > 0 && point <= 1
}

// less compares plain decimals.
func less(a, b string) bool {
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok1 && ok2 && x.Cmp(y) < 0
}

// merge adds another week.
func (c *capabilityState) merge(o *capabilityState) {
	c.Used, c.Alone, c.Refused, c.Last = c.Used+o.Used, c.Alone+o.Alone, c.Refused+o.Refused, max(c.Last, o.Last)
	for _, m := range []struct{ into, from *map[string]int64 }{{&c.Actions, &o.Actions}, {&c.Types, &o.Types}, {&c.Classes, &o.Classes}, {&c.Exceeded, &o.Exceeded}} {
		for name, n := range *m.from {
			if *m.into == nil {
				*m.into = map[string]int64{}
			}
			(*m.into)[name] += n
		}
	}
	for name, n := range o.Amounts {
		if most, ok := c.Amounts[name]; !ok || less(most, n) {
			if c.Amounts == nil {
				c.Amounts = map[string]string{}
			}
			c.Amounts[name] = n
		}
	}
}

// newest returns rows of an agent and a kind, the newest first: those of the store, and in their place those that are worked
// on. The caller does not hold b.mu.
func (b *Book) newest(ctx context.Context, id authz.AgentID, kind string, before int64, limit int) ([]*entry, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	b.mu.Lock()
	var all []*entry
	fresh := map[string]bool{}
	for _, en := range b.dirty {
		if en.key.agent == id && en.key.kind == kind {
			fresh[en.key.name] = true
			if en.seq < before {
				r := en.row()
				own, err := read(&r)
				if err != nil {
					b.mu.Unlock()
					return nil, err
				}
				all = append(all, own)
			}
		}
	}
	b.mu.Unlock()
	rows, err := b.cfg.Store.ActivityOf(ctx, Format, id, kind, before, limit+len(fresh))
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if fresh[rows[i].Name] {
			continue
		}
		en, err := read(&rows[i])
		if err != nil {
			return nil, err
		}
		all = append(all, en)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		if a.seq != b.seq {
			return int(max(-1, min(1, b.seq-a.seq)))
		}
		return strings.Compare(a.key.name, b.key.name)
	})
	return all[:min(limit, len(all))], nil
}
