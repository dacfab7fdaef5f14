package edge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/feed"
)

// Bounds of a request: those of the control plane's API.
const (
	maxRequests = 256
	maxObject   = 64 << 10             // bytes of one properties or context object, unless the control plane says otherwise
	maxDepth    = 32                   // of the body of a request, likewise
	maxRecord   = audit.MaxBody - 1024 // bytes of what is recorded of one; the control plane adds where it was made
	maxName     = 512
	maxID       = 4096
	maxSession  = 256
	maxTask     = 128
	maxPersons  = 8
	maxNames    = 256
)

func invalid(format string, args ...any) error {
	return authz.Errorf(authz.ErrInvalid, format, args...)
}

// check refuses what the control plane's API would, and brings r into the form in which that hands it on. It keeps its hands
// off what r shares with the caller.
func check(r *authz.Request, lim feed.Limits) error {
	lim = feed.Limits{Object: cmp.Or(lim.Object, maxObject), Depth: cmp.Or(lim.Depth, maxDepth)}
	for _, s := range [...]struct {
		what, value string
		most        int
	}{
		{"subject.type", r.Subject.Type, maxName}, {"subject.id", r.Subject.ID, maxID},
		{"action.name", r.Action.Name, maxName},
		{"resource.type", r.Resource.Type, maxName}, {"resource.id", r.Resource.ID, maxID},
	} {
		if s.value == "" || len(s.value) > s.most || !text(s.value) {
			return invalid("%s is missing, has more than %d bytes, or is no text", s.what, s.most)
		}
	}
	for _, c := range [...]struct {
		what   string
		value  *authz.Claimed
		within int // how deep in a body it is
	}{
		{"subject.properties", &r.Subject.Properties, 2}, {"action.properties", &r.Action.Properties, 2},
		{"resource.properties", &r.Resource.Properties, 2}, {"context", &r.Context, 1},
	} {
		if err := checkClaimed(c.what, c.value, lim.Object, lim.Depth-c.within); err != nil {
			return err
		}
	}
	if err := takeContext(r); err != nil {
		return err
	}
	return checkObserved(r)
}

func checkObserved(r *authz.Request) error {
	o := &r.Observed
	if len(r.OnBehalf) > 0 && r.Subject.Type != authz.AgentType {
		return invalid("whoever acts for somebody is a subject of the type %q", authz.AgentType)
	}
	if len(r.OnBehalf) > maxPersons {
		return invalid("an act is for more than %d others", maxPersons)
	}
	for _, ref := range r.OnBehalf {
		if ref.Type == "" || ref.ID == "" || len(ref.Type) > maxName || len(ref.ID) > maxID || !text(ref.Type) || !text(ref.ID) {
			return invalid("one for whom an agent acts has no type or no id, or one that is too long or no text")
		}
	}
	if o.Address.IsValid() {
		o.Address = o.Address.Unmap().WithZone("")
	} else {
		o.Address = netip.Addr{}
	}
	if len(o.Session) > maxSession || !text(o.Session) {
		return invalid("the session has more than %d bytes, or is no text", maxSession)
	}
	if len(o.Task) > maxTask || !text(o.Task) || strings.ContainsFunc(o.Task, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return invalid("the task has more than %d bytes, or characters that cannot be printed", maxTask)
	}
	if len(o.RequestID) > maxSession || !text(o.RequestID) {
		o.RequestID = ""
	}
	if err := checkNames("supported obligations", o.Obligations); err != nil {
		return err
	}
	if p := o.Provenance; p != nil {
		for _, list := range [...][]string{p.Prompt, p.Operator, p.Untrusted, p.Unknown} {
			if err := checkNames("provenance", list); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNames(what string, list []string) error {
	if len(list) > maxNames {
		return invalid("%s names more than %d", what, maxNames)
	}
	for _, s := range list {
		if len(s) > maxName || !text(s) {
			return invalid("%s has a name of more than %d bytes, or one that is no text", what, maxName)
		}
	}
	return nil
}

// text reports whether s is what a JSON string of a request may say.
func text(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return false
		} else if s[i] >= utf8.RuneSelf { // the rest is not that simple
			return utf8.ValidString(s[i:]) && strings.IndexByte(s[i:], 0) < 0
		}
	}
	return true
}

// checkClaimed refuses what is no JSON object, strictly: UTF-8, each name once, no deeper and no larger than may be.
func checkClaimed(what string, c *authz.Claimed, size, depth int) error {
	v := bytes.Trim(*c, " \t\r\n")
	switch {
	case len(v) == 0, string(v) == "null":
		*c = nil
		return nil
	case v[0] != '{':
		return invalid("%s must be a JSON object", what)
	case len(v) > size:
		return invalid("%s has more than %d bytes", what, size)
	}
	if err := checkText(what, v, depth); err != nil {
		return err
	}
	if !jsontext.Value(v).IsValid() {
		return invalid("%s is no JSON object as it must be: of UTF-8, with each name once", what)
	}
	*c = authz.Claimed(v)
	return nil
}

// checkText refuses what nests too deeply, and the character NUL.
func checkText(what string, b []byte, most int) error {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		if inString {
			switch c {
			case '"':
				inString = false
			case '\\':
				if i+5 < len(b) && string(b[i+1:i+6]) == "u0000" {
					return invalid("%s has the character NUL", what)
				}
				i++
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			if depth++; depth > most {
				return invalid("%s is nested more than %d deep", what, most)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// supported is the member of a context by which the obligations profile says which types are met.
const supported = "supported_obligations"

// reserved are the members of a context by which the API is told what an enforcement point saw. In what is claimed they would
// be an attempt to be taken for that.
var reserved = [...]string{"observed", "on_behalf_of", "approval"}

// takeContext refuses reserved members of a context, which is valid by then, and takes those types out of it that it says are
// met, as the API does.
func takeContext(r *authz.Request) error {
	c := r.Context
	if len(c) == 0 {
		return nil
	}
	suspect := bytes.IndexByte(c, '\\') >= 0 || bytes.Contains(c, []byte(supported))
	for _, name := range reserved {
		suspect = suspect || bytes.Contains(c, []byte(name))
	}
	if !suspect {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(c))
	if _, err := d.ReadToken(); err != nil {
		return invalid("context: %v", err)
	}
	kept, takes := make(authz.Claimed, 1, len(c)), false
	kept[0] = '{'
	for d.PeekKind() == '"' {
		quoted, err := d.ReadValue()
		if err != nil {
			return invalid("context: %v", err)
		}
		quoted = quoted.Clone()
		text, err := jsontext.AppendUnquote(nil, quoted)
		if err != nil {
			return invalid("context: %v", err)
		}
		name := string(text)
		if slices.Contains(reserved[:], name) {
			return invalid("context claims %q, which an enforcement point says by other means", name)
		}
		value, err := d.ReadValue()
		if err != nil {
			return invalid("context: %v", err)
		}
		if name == supported {
			takes = true
			if err := takeSupported(r, value); err != nil {
				return err
			}
			continue
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(append(append(kept, quoted...), ':'), value...)
	}
	if !takes {
		return nil
	}
	if r.Context = nil; len(kept) > 1 {
		r.Context = append(kept, '}')
	}
	return nil
}

// takeSupported adds to what can be met here what a context says of it, which from then on is something, even if that is nothing.
// Of types that the profile does not register nobody knows what they mean.
func takeSupported(r *authz.Request, value jsontext.Value) error {
	var said []string
	if value.Kind() != '[' || json.Unmarshal(value, &said) != nil {
		return invalid("context.%s must be a list of texts", supported)
	}
	if err := checkNames("context."+supported, said); err != nil {
		return err
	}
	list := append([]string{}, r.Observed.Obligations...) // which the caller shares
	for _, s := range said {
		if o := (authz.Obligation{Type: s}); o.ProfileType() == s && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	r.Observed.Obligations = list
	return nil
}
