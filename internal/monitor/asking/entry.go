package asking

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// personActor begins the actor of what a person did.
const personActor = "person:"

// personOf returns who did something, if it was a person.
func personOf(actor string) (string, bool) {
	id, ok := strings.CutPrefix(actor, personActor)
	return id, ok && id != "" && len(id) <= maxID
}

// Asked takes in an approval.asked entry, and returns the ask; nil if there is none. Class returns the class of an
// action.
func (f *Fleet) Asked(routes Routes, class func(action string) conduct.Class, seq int64, at time.Time, body []byte) *Ask {
	var in struct {
		ID      string        `json:"id"`
		Agent   authz.AgentID `json:"agent"`
		Session string        `json:"session"`
		Items   []struct {
			Action   authz.Action `json:"action"`
			Resource authz.Entity `json:"resource"`
			Routes   []string     `json:"routes"`
		} `json:"items"`
	}
	if json.Unmarshal(body, &in) != nil {
		return nil
	}
	if in.ID == "" || len(in.ID) > maxID || len(in.Agent) > maxID {
		return nil
	}
	a := &Ask{ID: in.ID, Seq: seq, At: at, Agent: in.Agent, Session: cut(in.Session), What: "something"}
	same := []string{string(in.Agent)}
	for i := range in.Items {
		x := &in.Items[i]
		if i == 0 {
			a.What = conduct.Quote(x.Action.Name) + " on " + conduct.Quote(x.Resource.Type+":"+x.Resource.ID)
		}
		a.Class = max(a.Class, class(x.Action.Name))
		for _, r := range x.Routes {
			a.goes(routes[r])
		}
		same = append(same, x.Action.Name, string(x.Action.Properties), x.Resource.Type)
	}
	a.same = conduct.Hash(same...)
	f.ask(a)
	return a
}

// Viewed takes in an approval.viewed entry.
func (f *Fleet) Viewed(at time.Time, actor string, body []byte) {
	var b struct {
		Ask string `json:"ask"`
	}
	person, ok := personOf(actor)
	if !ok || json.Unmarshal(body, &b) != nil {
		return
	}
	a := f.asks[b.Ask]
	if a == nil || len(a.seen) == maxViewers {
		return
	}
	hash := conduct.Hash(person)
	if !slices.ContainsFunc(a.seen, func(v viewer) bool { return v.person == hash }) {
		a.seen = append(a.seen, viewer{hash, at.UnixMicro()})
	}
}

// Answered takes in an approval.answered entry. It emits findings about the person, and returns what was said, if it
// was said by a person who had not answered before.
func (f *Fleet) Answered(r *catalog.AskingRules, seq int64, at time.Time, actor string, body []byte, emit func(Said)) (an Answer, ok bool) {
	var b struct {
		Ask   string `json:"ask"`
		Yes   bool   `json:"yes"`
		Items []int  `json:"items"`
		Broke bool   `json:"broke_glass"`
	}
	name, ok := personOf(actor)
	if !ok || json.Unmarshal(body, &b) != nil {
		return an, false
	}
	a := f.asks[b.Ask]
	if a == nil {
		return an, false
	}
	hash := uint32(conduct.Hash(name) >> 32)
	if b.Broke {
		f.end(a.ID)
		f.due(review{due: at.Add(cmp.Or(a.within, 24*time.Hour)).UnixMicro(), seq: seq, ask: a.ID, person: name, agent: a.Agent}, r, emit)
		return an, false // it says that it was urgent, not what is thought of it
	}
	if slices.Contains(a.said, hash) || len(a.said) == maxViewers {
		return an, false
	}
	a.said = append(a.said, hash)
	an = Answer{Seq: seq, At: at, Ask: a, Person: name, Yes: b.Yes}
	if !r.Off {
		f.person(name, at).answered(r, &an, emit)
	}
	if !b.Yes && len(b.Items) == 0 {
		f.end(a.ID) // one no refuses
	}
	return an, true
}

// Moved takes in an approval.moved entry.
func (f *Fleet) Moved(body []byte) {
	var b struct {
		Ask string `json:"ask"`
		To  string `json:"to"`
	}
	if json.Unmarshal(body, &b) != nil {
		return
	}
	switch b.To {
	case "expired", "cancelled", "failed", "revoked":
		f.end(b.Ask)
	}
}

// Reviewed takes in an approval.reviewed entry. Who broke the glass does not review it.
func (f *Fleet) Reviewed(actor string, body []byte) {
	var b struct {
		Ask string `json:"ask"`
	}
	if name, ok := personOf(actor); ok && json.Unmarshal(body, &b) == nil {
		f.reviews = slices.DeleteFunc(f.reviews, func(v review) bool { return v.ask == b.Ask && v.person != name })
	}
}

// cut returns as much of a name as is kept.
func cut(s string) string { return strings.Clone(strings.ToValidUTF8(s[:min(len(s), maxID)], "")) }
