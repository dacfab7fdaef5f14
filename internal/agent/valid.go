package agent

import (
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of a record.
const (
	maxID           = 128
	maxText         = 256
	maxWhy          = 1024
	maxCapabilities = 256
	maxLabels       = 32
)

// ValidID reports whether s can name an agent: lower-case letters, digits and . _ -, beginning with
// a letter or digit, at most 128 of them.
func ValidID(s authz.AgentID) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

var states = []authz.AgentState{authz.AgentActive, authz.AgentSuspended, authz.AgentQuarantined, authz.AgentRetired}

// problems returns everything that is wrong with a change, whatever is registered.
func (c *Change) problems() (all []string) {
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	a := &c.Agent
	if !ValidID(a.ID) {
		bad("id %.128q is not one: use lower-case letters, digits and . _ -, beginning with a letter or digit, at most %d of them", a.ID, maxID)
	}
	for _, f := range []struct {
		name, value string
		most        int
		required    bool
	}{
		{"owner", a.Owner, maxText, true},
		{"purpose", a.Purpose, maxText, true},
		{"version", a.Version, maxText, true},
		{"creator", a.Creator, maxText, true},
		{"state_reason", a.StateReason, maxWhy, false},
		{"why", c.Why, maxWhy, true},
	} {
		switch {
		case f.value == "" && f.required:
			bad("%s is missing", f.name)
		case len(f.value) > f.most:
			bad("%s is longer than %d bytes", f.name, f.most)
		case !printable(f.value):
			bad("%s is not printable text", f.name)
		}
	}
	if !slices.Contains(states, a.State) {
		bad("state %.32q is not known: one of active, suspended, quarantined, retired", a.State)
	}
	if len(a.Capabilities) > maxCapabilities {
		bad("more than %d capabilities", maxCapabilities)
	}
	for i, k := range a.Capabilities {
		if k == "" || len(k) > maxID || !printable(k) {
			bad("capability %.128q is not an id", k)
		}
		if i > 0 && a.Capabilities[i-1] >= k {
			bad("capabilities are not sorted, or one is granted twice: %.128q", k)
		}
	}
	if len(a.Labels) > maxLabels {
		bad("more than %d labels", maxLabels)
	}
	for name, value := range a.Labels {
		if name == "" || len(name) > maxID || len(value) > maxText || !printable(name) || !printable(value) {
			bad("label %.128q is not printable text, or too long", name)
		}
	}
	if c.IfRevision < 0 {
		bad("if_revision is negative")
	}
	slices.Sort(all)
	return all
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
