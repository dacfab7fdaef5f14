package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// machinery are the members of a request's context that belong to the asking and not to the act: the
// draft's own (Terminology, Authorization-Relevant Context), and the reference to an approval.
var machinery = [...]string{"access_request", "approval", "evaluated_at", "evaluation_id", "reason"}

// MaxMembers is how many members of a context can count for one binding.
const MaxMembers = 64

// A BoundItem is one act of a bundle.
type BoundItem struct {
	Resource authz.Entity
	Action   authz.Action
}

// BindingHash returns the binding_hash of an act (ARAP, Binding Token Integrity): SHA-256, in base64url,
// of the canonical JSON (RFC 8785) of the subject without properties.act, the action, the resource, and
// those members of the context that are listed. A listed member that is absent stays absent; a member that
// is not listed is not bound, so that who compares a later request must see to it, by Covered, that it
// brings along nothing else that counts.
//
// Two acts have one hash exactly if they are structurally equal in the draft's sense, except that whole
// numbers beyond 2^53 of more than 15 digits are refused with authz.ErrInvalid: the draft's numbers are
// float64, and would take two accounts for one. What is no JSON object, or has a member twice, is authz.ErrInvalid too.
func BindingHash(subject authz.Entity, action authz.Action, resource authz.Entity, context authz.Claimed, members []string) (string, error) {
	b, err := appendBound(nil, subject, context, members)
	if err != nil {
		return "", err
	}
	if b, err = appendAct(append(b, ','), &action, &resource); err != nil {
		return "", err
	}
	return hashBound(append(b, '}'))
}

// BulkBindingHash returns the binding_hash of a bundle of acts, whose order counts.
func BulkBindingHash(subject authz.Entity, items []BoundItem, context authz.Claimed, members []string) (string, error) {
	b, err := appendBound(nil, subject, context, members)
	if err != nil {
		return "", err
	}
	b = append(b, `,"items":[`...)
	for i := range items {
		if b, err = appendAct(append(comma(b, i), '{'), &items[i].Action, &items[i].Resource); err != nil {
			return "", err
		}
		b = append(b, '}')
	}
	return hashBound(append(b, `]}`...))
}

// Members returns the names of the members of a context that count for what a person approves: all that
// are neither machinery of the protocol nor volatile. Sorted; never nil. It returns authz.ErrInvalid if
// there are more than MaxMembers or one without a name, or context is no JSON object.
func Members(context authz.Claimed, volatile []string) ([]string, error) {
	list := []string{}
	err := eachMember("the context", context, func(name string, _ []byte) {
		if !slices.Contains(machinery[:], name) && !slices.Contains(volatile, name) {
			list = append(list, name)
		}
	})
	if err == nil && (len(list) > MaxMembers || slices.Contains(list, "")) {
		err = authz.Errorf(authz.ErrInvalid, "the context has more than %d members, or one without a name", MaxMembers)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(list)
	return list, nil
}

// Covered reports whether every member of a context that counts is among those that are bound. If not,
// the request says more than what was approved.
func Covered(context authz.Claimed, members, volatile []string) bool {
	list, err := Members(context, volatile)
	return err == nil && !slices.ContainsFunc(list, func(name string) bool { return !slices.Contains(members, name) })
}

// Select returns context with nothing but the listed members, as canonical JSON.
func Select(context authz.Claimed, members []string) (authz.Claimed, error) {
	b, err := appendSelected(nil, context, func(name string) bool { return slices.Contains(members, name) })
	if err != nil {
		return nil, err
	}
	if err := canonicalize((*jsontext.Value)(&b)); err != nil {
		return nil, err
	}
	return b, nil
}

// Same reports whether two JSON texts are structurally equal in the draft's sense: numbers by their
// canonical form, objects whatever their order, and an absent member is not null. Nothing equals what
// is no JSON, has a member twice, or has a number that BindingHash refuses.
func Same(a, b []byte) bool {
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	return canonicalize(&x) == nil && canonicalize(&y) == nil && bytes.Equal(x, y)
}

// appendBound appends the beginning of what is hashed: subject and context, which all items have in common.
func appendBound(b []byte, subject authz.Entity, context authz.Claimed, members []string) ([]byte, error) {
	b = append(b, `{"subject":`...)
	// ARAP, Delegation: the enforcement point may tell the actor elsewhere.
	b, err := appendEntity(b, &subject, func(name string) bool { return name != "act" })
	if err != nil {
		return nil, err
	}
	return appendSelected(append(b, `,"context":`...), context, func(name string) bool { return slices.Contains(members, name) })
}

func appendAct(b []byte, action *authz.Action, resource *authz.Entity) ([]byte, error) {
	b = appendString(append(b, `"action":{"name":`...), action.Name)
	b, err := appendProperties(b, action.Properties, all)
	if err != nil {
		return nil, err
	}
	return appendEntity(append(b, `},"resource":`...), resource, all)
}

func appendEntity(b []byte, e *authz.Entity, want func(string) bool) ([]byte, error) {
	b = appendString(append(b, `{"type":`...), e.Type)
	b = appendString(append(b, `,"id":`...), e.ID)
	b, err := appendProperties(b, e.Properties, want)
	return append(b, '}'), err
}

func appendProperties(b []byte, p authz.Claimed, want func(string) bool) ([]byte, error) {
	if len(p) == 0 {
		return b, nil
	}
	return appendSelected(append(b, `,"properties":`...), p, want)
}

func all(string) bool { return true }

// appendSelected appends an object with those members of object whose names are wanted.
func appendSelected(b []byte, object authz.Claimed, want func(string) bool) ([]byte, error) {
	b, n := append(b, '{'), 0
	err := eachMember("what is bound", object, func(name string, value []byte) {
		if want(name) {
			b = append(appendString(comma(b, n), name), ':')
			b = append(b, value...)
			n++
		}
	})
	return append(b, '}'), err
}

// eachMember calls f with each member of an object, whose text is nothing if it has none.
func eachMember(what string, object authz.Claimed, f func(name string, value []byte)) error {
	if len(object) == 0 {
		return nil
	}
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(object)), what: what}
	r.members(func(name string) {
		if v, err := r.dec.ReadValue(); err != nil {
			r.syntax(err)
		} else {
			f(name, v)
		}
	})
	r.end()
	return r.err
}

func hashBound(b []byte) (string, error) {
	v := jsontext.Value(b)
	if err := canonicalize(&v); err != nil {
		return "", err
	}
	sum := sha256.Sum256(v)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// canonicalize brings v into the form of RFC 8785.
func canonicalize(v *jsontext.Value) error {
	if err := checkNumbers(*v); err != nil {
		return err
	}
	if err := v.Canonicalize(); err != nil {
		return authz.Errorf(authz.ErrInvalid, "what is bound is no JSON, or has a member twice")
	}
	return nil
}

// checkNumbers refuses numbers of 2^53 or more, or less than -2^53, that another number might be taken for.
func checkNumbers(text []byte) error {
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && c >= '0' && c <= '9':
			n := len(text[i:]) - len(bytes.TrimLeft(text[i:], "0123456789.eE+-"))
			if !distinct(string(text[i : i+n])) {
				return authz.Errorf(authz.ErrInvalid, "the number %.20q is too large to be told from its neighbours", text[i:i+n])
			}
			i += n - 1
		}
	}
	return nil
}

// distinct reports whether no whole number but n itself has n's float64, which 15 digits guarantee.
func distinct(n string) bool {
	f, err := strconv.ParseFloat(n, 64)
	if err != nil {
		return false
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(n), "e")
	return f < 1<<53 || len(strings.Trim(strings.Replace(mantissa, ".", "", 1), "0")) <= 15
}
