package approval

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// The bodies of entries. docs/log-format.md tells them to others.

// The body of an approval.asked entry is the Ask. What the entry itself says (times, numbers, states) is
// set when it is applied, whatever stands there.

// joinedBody is the body of an approval.joined entry: asks for the very same, that came while the entry
// before this one was recorded, are one entry.
type joinedBody struct {
	Ask   string       `json:"ask"`
	Count int64        `json:"count"`
	Keys  []Submission `json:"keys,omitempty"` // of those that have one, at most MaxAlso
}

// viewedBody is the body of an approval.viewed entry.
type viewedBody struct {
	Ask string `json:"ask"`
}

// answeredBody is the body of an approval.answered entry.
type answeredBody struct {
	Ask       string              `json:"ask"`
	Yes       bool                `json:"yes"`
	Items     []int               `json:"items,omitempty"`
	Scope     Scope               `json:"scope,omitzero"`
	Comment   string              `json:"comment,omitempty"`
	View      int64               `json:"view,omitempty"`
	Evidence  json.RawMessage     `json:"evidence,omitempty"`
	Claims    map[string][]string `json:"claims,omitempty"`    // of the person, those that the groups of the routes name
	Names     []string            `json:"names,omitempty"`     // of the person, those by which the ask knows somebody
	Approvals []string            `json:"approvals,omitempty"` // ids of the approvals that this yes may complete, one an item
	Broke     bool                `json:"broke_glass,omitempty"`
}

// movedBody is the body of an approval.moved entry.
type movedBody struct {
	Ask     string `json:"ask"`
	To      string `json:"to"` // escalated, expired, cancelled, failed, revoked
	Why     string `json:"why,omitempty"`
	Comment string `json:"comment,omitempty"`
}

// reviewedBody is the body of an approval.reviewed entry.
type reviewedBody struct {
	Ask       string              `json:"ask"`
	Justified bool                `json:"justified"`
	Comment   string              `json:"comment,omitempty"`
	Claims    map[string][]string `json:"claims,omitempty"`
	Names     []string            `json:"names,omitempty"`
}

// usedBody is the body of an approval.used entry.
type usedBody struct {
	Ask       string        `json:"ask"`
	Approval  string        `json:"approval"`
	Act       string        `json:"act"` // binding hash of the act for which the use is drawn
	Agent     authz.AgentID `json:"agent,omitempty"`
	Session   string        `json:"session,omitempty"`
	PEP       string        `json:"pep,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
}

// decode reads the body of an entry.
func decode(e audit.Entry, into any) error {
	if err := json.Unmarshal(e.Body, into); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	return nil
}

// draft writes an entry.
func draft(kind audit.Kind, actor string, body any) (audit.Draft, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return audit.Draft{}, authz.Errorf(authz.ErrInvalid, "encoding %s: %w", kind, err)
	}
	return audit.Draft{Kind: kind, Actor: actor, Body: text}, nil
}

// maxName bounds, in bytes, the names of persons and actors, and ids.
const maxName = 256

// Actors of entries, by their prefixes.
const (
	personActor    = "person:"
	evaluatorActor = "evaluator:"
	serviceActor   = "safeconduct"
)

// checkName returns authz.ErrInvalid if s is no name: 1 to maxName bytes of UTF-8 without control characters.
func checkName(what, s string) error {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return authz.Errorf(authz.ErrInvalid, "%s must have 1 to %d bytes and no control characters: %.64q", what, maxName, s)
	}
	return nil
}

// checkText returns authz.ErrInvalid if s is too long, or no text.
func checkText(what, s string) error {
	if len(s) > MaxText || !utf8.ValidString(s) {
		return authz.Errorf(authz.ErrInvalid, "%s must be text of at most %d bytes", what, MaxText)
	}
	return nil
}

// checkReason is checkText for what must be said.
func checkReason(what, s string) error {
	if strings.TrimSpace(s) == "" {
		return authz.Errorf(authz.ErrInvalid, "say %s", what)
	}
	return checkText(what, s)
}

// verdict is why an entry changes nothing, of a kind that the follower takes for that.
func verdict(e audit.Entry, err error) error {
	if errors.Is(err, authz.ErrForbidden) && !errors.Is(err, authz.ErrConflict) {
		return authz.Errorf(authz.ErrConflict, "entry %d: %w", e.Seq, err)
	}
	return fmt.Errorf("entry %d: %w", e.Seq, err)
}
