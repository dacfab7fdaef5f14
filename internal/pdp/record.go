package pdp

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Record is the body of a decision.made entry: the request, what was known, and the answer. It
// holds all that is needed to judge the request again.
type Record struct {
	Listing  bool           `json:"listing,omitempty"` // Request.Observed.Listing: no act was asked for. It comes first, see glance
	Request  authz.Request  `json:"request"`
	Facts    authz.Facts    `json:"facts"`
	Decision authz.Decision `json:"decision"`
	Edge     *Edge          `json:"edge,omitempty"` // of a decision that was made elsewhere; nil if it was made here
}

// ParseRecord reads the body of a decision.made entry.
func ParseRecord(body []byte) (*Record, error) {
	rec := new(Record)
	if err := json.Unmarshal(body, rec); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading a recorded decision: %w", err)
	}
	rec.Request.Observed.Listing = rec.Listing
	rec.tell()
	return rec, nil
}

// draft returns the entry that records rec.
func (rec *Record) draft(texts *agentTexts) audit.Draft {
	return audit.Draft{Kind: audit.DecisionMade, Actor: actor(&rec.Request), Body: rec.append(make([]byte, 0, rec.size()), texts)}
}

// actor says who asked. An enforcement point is known by its name, which holds no colon; anybody else
// is written as the role and the name already.
func actor(r *authz.Request) string {
	if strings.IndexByte(r.Observed.PEP, ':') >= 0 {
		return r.Observed.PEP
	}
	return "pep:" + r.Observed.PEP
}

// size returns about how long rec's JSON form will be.
func (rec *Record) size() int {
	r, d := &rec.Request, &rec.Decision
	n := 960 + len(r.Subject.Properties) + len(r.Action.Properties) + len(r.Resource.Properties) + len(r.Context)
	n += 96*len(d.Fired) + 128*len(d.Reasons) + 192*len(d.Changes) + 32*len(d.Routes)
	if rec.Facts.Agent != nil {
		n += 384 + 704*len(rec.Facts.Behalf)
	}
	if rec.Facts.Conduct.Lowest.Level != "" {
		n += 192 + 32*len(rec.Facts.Conduct.Findings)
	}
	if r.Observed.Passport != nil {
		n += 192 + 160*len(r.Observed.Passport.Details)
	}
	if r.Approval != nil {
		n += 384
	}
	return n
}

// append appends rec's JSON form to b. It writes what encoding/json would, save for members that
// hold nothing and the state of an approval, at a fifth of the cost; TestRecordForm holds the two together.
func (rec *Record) append(b []byte, texts *agentTexts) []byte {
	if rec.Listing || rec.Request.Observed.Listing {
		b = append(b, `{"listing":true,"request":`...)
	} else {
		b = append(b, `{"request":`...)
	}
	b = appendRequest(b, &rec.Request)
	b = append(b, `,"facts":`...)
	b = appendFacts(b, &rec.Facts, texts)
	b = append(b, `,"decision":`...)
	b = appendDecision(b, &rec.Decision)
	if rec.Edge != nil {
		b = append(b, `,"edge":`...)
		b = rec.Edge.append(b)
	}
	return append(b, '}')
}

func appendRequest(b []byte, r *authz.Request) []byte {
	b = append(b, `{"subject":`...)
	b = appendEntity(b, &r.Subject)
	if len(r.OnBehalf) > 0 {
		b = append(b, `,"on_behalf":[`...)
		for i, ref := range r.OnBehalf {
			b = append(comma(b, i), '{')
			b = appendRef(b, ref)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = append(b, `,"action":{"name":`...)
	b = appendString(b, r.Action.Name)
	b = appendClaimed(b, `,"properties":`, r.Action.Properties)
	b = append(b, `},"resource":`...)
	b = appendEntity(b, &r.Resource)
	b = appendClaimed(b, `,"context":`, r.Context)
	if r.Approval != nil { // its state is a token, which does not belong into a log
		b = append(b, `,"approval":{"id":`...)
		b = append(appendString(b, r.Approval.ID), '}')
	}

	o := &r.Observed
	b = append(b, `,"observed":{`...)
	n := len(b)
	if o.Address.IsValid() {
		b = append(b, `"ip":"`...)
		b = o.Address.AppendTo(b)
		b = append(b, `",`...)
	}
	b = appendMember(b, "session", o.Session)
	b = appendMember(b, "task", o.Task)
	b = appendMember(b, "pep", o.PEP)
	b = appendMember(b, "request_id", o.RequestID)
	if p := o.Provenance; p != nil {
		b = append(b, `"provenance":{`...)
		n := len(b)
		b = appendNames(b, "prompt", p.Prompt)
		b = appendNames(b, "operator", p.Operator)
		b = appendNames(b, "untrusted", p.Untrusted)
		b = appendNames(b, "unknown", p.Unknown)
		b = append(trim(b, n), `},`...)
	}
	if o.Obligations != nil {
		b = append(b, `"supported_obligations":`...)
		b = append(appendStrings(b, o.Obligations), ',')
	}
	if o.Passport != nil {
		b = append(b, `"passport":`...)
		b = append(appendPassport(b, o.Passport), ',')
	}
	b = appendMember(b, "method", o.Method)
	return append(trim(b, n), `}}`...)
}

func appendFacts(b []byte, f *authz.Facts, texts *agentTexts) []byte {
	b = append(b, `{"at":`...)
	b = appendTime(b, f.At)
	b = append(b, `,"schedules":`...)
	b = appendStrings(b, f.Schedules)
	b = append(b, `,"zones":`...)
	b = appendStrings(b, f.Zones)
	if f.Country != "" {
		b = append(b, `,"country":`...)
		b = appendString(b, f.Country)
	}
	b = append(b, `,"class":`...)
	b = appendString(b, f.Class.String())
	b = append(b, `,"labels":`...)
	b = appendStrings(b, f.Labels)
	if f.Region != "" {
		b = append(b, `,"region":`...)
		b = appendString(b, f.Region)
	}
	if f.Agent != nil {
		b = append(b, `,"agent":`...)
		b = texts.append(b, f.Agent)
	}
	b = append(b, `,"grant":`...)
	b = appendGrant(b, &f.Grant)
	b = append(b, `,"trust":`...)
	b = appendTrust(b, f.Trust)
	b = append(b, `,"risk":{"level":`...)
	b = appendString(b, f.Risk.Level)
	b = append(b, `,"score":`...)
	b = strconv.AppendInt(b, f.Risk.Score, 10)
	b = append(b, `,"alerts":`...)
	b = appendStrings(b, f.Risk.Alerts)
	b = append(b, `,"indicators":`...)
	b = appendStrings(b, f.Risk.Indicators)
	if len(f.Risk.Contributions) > 0 {
		b = append(b, `,"contributions":[`...)
		for i, c := range f.Risk.Contributions {
			b = append(comma(b, i), `{"source":`...)
			b = appendString(b, c.Source)
			b = append(b, `,"points":`...)
			b = append(strconv.AppendInt(b, c.Points, 10), '}')
		}
		b = append(b, ']')
	}
	b = append(b, '}')
	b = appendConduct(b, `,"conduct":`, &f.Conduct)
	if f.Confidence != nil {
		b = append(b, `,"confidence":`...)
		b = appendFraction(b, *f.Confidence)
	}
	if f.Credential != (authz.Credential{}) {
		b = append(b, `,"credential":`...)
		b = appendCredential(b, &f.Credential)
	}
	if len(f.Behalf) > 0 {
		b = append(b, `,"behalf":[`...)
		for i := range f.Behalf {
			d := &f.Behalf[i]
			b = append(comma(b, i), `{"agent":`...)
			b = texts.append(b, d.Agent)
			b = append(b, `,"grant":`...)
			b = appendGrant(b, &d.Grant)
			if d.Trust != (authz.Trust{}) {
				b = append(b, `,"trust":`...)
				b = appendTrust(b, d.Trust)
			}
			b = append(appendConduct(b, `,"conduct":`, &d.Conduct), '}')
		}
		b = append(b, ']')
	}
	if len(f.Missing) > 0 {
		b = append(b, `,"missing":`...)
		b = appendStrings(b, f.Missing)
	}
	if f.Approval != nil {
		b = append(b, `,"approval":`...)
		b = appendApproval(b, f.Approval)
	}
	if f.Unapproved != "" {
		b = append(b, `,"unapproved":`...)
		b = appendString(b, f.Unapproved)
	}
	if f.Asks != (authz.Asks{}) {
		b = append(b, `,"asks":`...)
		b = appendAsks(b, &f.Asks)
	}
	if len(f.Assured) > 0 {
		b = append(b, `,"assured":`...)
		b = appendStrings(b, f.Assured)
	}
	if len(f.Stops) > 0 {
		b = append(b, `,"stops":`...)
		b = appendStrings(b, f.Stops)
	}
	return append(b, '}')
}

func appendGrant(b []byte, g *authz.Grant) []byte {
	b = append(b, `{"within":`...)
	b = appendStrings(b, g.Within)
	if len(g.Exceeded) > 0 {
		b = append(b, `,"exceeded":`...)
		b = appendStrings(b, g.Exceeded)
	}
	if g.Class != "" {
		b = append(b, `,"class":`...)
		b = appendString(b, g.Class)
	}
	if g.Essential {
		b = append(b, `,"essential":true`...)
	}
	return append(b, '}')
}

// agentTexts keeps the JSON forms of agents seen lately. An agent's value never changes once it is
// shared, so its pointer tells whether a form is still its own. If it is nil, nothing is kept.
type agentTexts [4096]atomic.Pointer[agentText]

type agentText struct {
	agent *authz.Agent
	json  []byte
}

func (t *agentTexts) append(b []byte, a *authz.Agent) []byte {
	if t == nil {
		return appendAgent(b, a)
	}
	h := uint32(2166136261) // FNV-1a
	for i := range len(a.ID) {
		h = (h ^ uint32(a.ID[i])) * 16777619
	}
	slot := &t[h%uint32(len(t))]
	known := slot.Load()
	if known == nil || known.agent != a {
		known = &agentText{a, appendAgent(make([]byte, 0, 512), a)}
		slot.Store(known)
	}
	return append(b, known.json...)
}

func appendAgent(b []byte, a *authz.Agent) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, string(a.ID))
	b = append(b, `,"owner":`...)
	b = appendString(b, a.Owner)
	b = append(b, `,"purpose":`...)
	b = appendString(b, a.Purpose)
	b = append(b, `,"version":`...)
	b = appendString(b, a.Version)
	b = append(b, `,"creator":`...)
	b = appendString(b, a.Creator)
	b = append(b, `,"state":`...)
	b = appendString(b, string(a.State))
	if a.StateReason != "" {
		b = append(b, `,"state_reason":`...)
		b = appendString(b, a.StateReason)
	}
	b = append(b, `,"capabilities":`...)
	b = appendStrings(b, a.Capabilities)
	if len(a.Labels) > 0 {
		labels, err := json.Marshal(a.Labels) // sorted by name
		if err == nil {
			b = append(b, `,"labels":`...)
			b = append(b, labels...)
		}
	}
	b = append(b, `,"created_at":`...)
	b = appendTime(b, a.CreatedAt)
	b = append(b, `,"updated_at":`...)
	b = appendTime(b, a.UpdatedAt)
	b = append(b, `,"revision":`...)
	b = strconv.AppendInt(b, a.Revision, 10)
	b = append(b, `,"as_of":`...)
	b = strconv.AppendInt(b, a.AsOf, 10)
	return append(b, '}')
}

func appendDecision(b []byte, d *authz.Decision) []byte {
	b = append(b, `{"at":`...)
	b = appendTime(b, d.At)
	b = append(b, `,"effect":"`...)
	b = append(b, d.Effect.String()...)
	b = append(b, `","code":`...)
	b = appendString(b, d.Code)
	if len(d.Reasons) > 0 {
		b = append(b, `,"reasons":[`...)
		for i := range d.Reasons {
			b = appendReason(comma(b, i), &d.Reasons[i])
		}
		b = append(b, ']')
	}
	if len(d.Changes) > 0 {
		b = append(b, `,"changes":[`...)
		for i := range d.Changes {
			b = appendChange(comma(b, i), &d.Changes[i])
		}
		b = append(b, ']')
	}
	if len(d.Obligations) > 0 {
		b = append(b, `,"obligations":[`...)
		for i := range d.Obligations {
			b = appendObligation(comma(b, i), &d.Obligations[i])
		}
		b = append(b, ']')
	}
	if len(d.Remedies) > 0 {
		b = append(b, `,"remedies":`...)
		b = appendStrings(b, d.Remedies)
	}
	if len(d.Routes) > 0 {
		b = append(b, `,"routes":`...)
		b = appendStrings(b, d.Routes)
	}
	if d.Lifted {
		b = append(b, `,"lifted":true`...)
	}
	if len(d.Fired) > 0 {
		b = append(b, `,"fired":[`...)
		for i := range d.Fired {
			b = appendFired(comma(b, i), &d.Fired[i])
		}
		b = append(b, ']')
	}
	if d.Detail != "" {
		b = append(b, `,"detail":`...)
		b = appendString(b, d.Detail)
	}
	b = append(b, `,"policy_set":`...)
	b = strconv.AppendInt(b, d.PolicySet, 10)
	b = append(b, `,"catalog":`...)
	b = strconv.AppendInt(b, d.Catalog, 10)
	return append(b, '}')
}

func appendFired(b []byte, f *authz.Fired) []byte {
	b = append(b, `{"policy":`...)
	b = appendString(b, f.Policy)
	b = append(b, `,"effect":`...)
	b = appendString(b, f.Effect)
	b = append(b, ',')
	b = appendMember(b, "reason", f.Reason)
	b = appendMember(b, "remedy", f.Remedy)
	b = appendMember(b, "error", f.Error)
	if f.Shadow {
		b = append(b, `"shadow":true,`...)
	}
	b = appendMember(b, "party", f.Party)
	b[len(b)-1] = '}'
	return b
}

func appendReason(b []byte, r *authz.Reason) []byte {
	b = append(b, `{"code":`...)
	b = appendString(b, r.Code)
	b = append(b, `,"message":`...)
	b = append(appendString(b, r.Message), ',')
	b = appendMember(b, "party", r.Party)
	b[len(b)-1] = '}'
	return b
}

func appendChange(b []byte, c *authz.Change) []byte {
	b = append(b, `{"who":`...)
	b = appendString(b, c.Who)
	b = append(b, `,"kind":`...)
	b = append(appendString(b, c.Kind), ',')
	b = appendMember(b, "target", c.Target)
	b = appendClaimed(b, `"to":`, authz.Claimed(c.To))
	if len(c.To) > 0 {
		b = append(b, ',')
	}
	b = append(b, `"hint":`...)
	return append(appendString(b, c.Hint), '}')
}

func appendObligation(b []byte, o *authz.Obligation) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, o.ID)
	b = append(b, `,"type":`...)
	b = appendString(b, o.Type)
	b = appendClaimed(b, `,"properties":`, authz.Claimed(o.Properties))
	return append(b, '}')
}

func appendEntity(b []byte, e *authz.Entity) []byte {
	b = append(b, '{')
	b = appendRef(b, e.Ref)
	b = appendClaimed(b, `,"properties":`, e.Properties)
	return append(b, '}')
}

func appendRef(b []byte, r authz.Ref) []byte {
	b = append(b, `"type":`...)
	b = appendString(b, r.Type)
	b = append(b, `,"id":`...)
	return appendString(b, r.ID)
}

// appendClaimed appends a member that holds what a caller said, if it said anything. What was written
// over several lines is made compact.
func appendClaimed(b []byte, member string, c authz.Claimed) []byte {
	if len(c) == 0 {
		return b
	}
	b = append(b, member...)
	if bytes.IndexByte(c, '\n') < 0 {
		return append(b, c...)
	}
	v := jsontext.Value(bytes.Clone(c))
	if err := v.Compact(); err != nil { // the decoder of the request has seen to it
		return append(b, `{}`...)
	}
	return append(b, v...)
}

// appendMember appends "name":"value", with a comma behind it, if there is a value.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	return append(appendString(b, value), ',')
}

// appendNames is appendMember for a list.
func appendNames(b []byte, name string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	return append(appendStrings(b, values), ',')
}

// comma appends the comma before an element that is not the first.
func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

// trim drops the comma behind the last member of an object whose members start at n.
func trim(b []byte, n int) []byte {
	if len(b) > n && b[len(b)-1] == ',' {
		return b[:len(b)-1]
	}
	return b
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		b = appendString(comma(b, i), s)
	}
	return append(b, ']')
}

// appendString appends s as a JSON string. Invalid UTF-8, which no decoder of ours lets in, becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	if plain(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	out, err := jsontext.AppendQuote(b, s)
	if err != nil && out == nil {
		return append(b, `""`...)
	}
	return out
}

// plain reports whether a JSON string says s as it is, as nearly all do.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}
