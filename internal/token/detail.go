package token

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// ParseDetails reads authorization_details, a JSON array (RFC 9396, section 2), of a request or a
// passport. As section 5 demands, what is not known is refused, and so are other types, two details
// of one capability, and empty lists: authz.ErrInvalid. Details are returned by identifier, lists
// sorted and each element once.
func ParseDetails(array []byte) ([]authz.Detail, error) {
	if err := checkDepth("authorization_details", array); err != nil {
		return nil, err
	}
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(array)), what: "authorization_details"}
	list := r.details()
	if r.end(); r.err != nil {
		return nil, r.err
	}
	return list, nil
}

func (r *reader) details() []authz.Detail {
	var list []authz.Detail
	r.elements(func() { list = append(list, r.detail()) })
	if r.err == nil && list == nil {
		r.fail("must not be empty")
	}
	sortDetails(list)
	for i := 1; i < len(list); i++ {
		if list[i].Identifier == list[i-1].Identifier {
			r.fail("has the capability %.64q twice", list[i].Identifier)
		}
	}
	return list
}

func sortDetails(list []authz.Detail) {
	slices.SortFunc(list, func(a, b authz.Detail) int { return strings.Compare(a.Identifier, b.Identifier) })
}

func byIdentifier(d authz.Detail, id string) int { return strings.Compare(d.Identifier, id) }

func (r *reader) detail() (d authz.Detail) {
	r.members(func(name string) {
		switch name {
		case "type":
			d.Type = r.text()
		case "identifier":
			d.Identifier = r.text()
		case "actions":
			d.Actions = r.set()
		case "locations":
			d.Locations = r.set()
		case "limits":
			d.Limits = r.limits()
		default:
			r.fail("holds what is not known: %.40q", name)
		}
	})
	if d.Type != authz.DetailType || d.Identifier == "" {
		r.fail("must have the type %q and an identifier", authz.DetailType)
	}
	return d
}

// limits returns the limits that come next, or nil if they limit nothing.
func (r *reader) limits() *authz.Limits {
	l, empty := new(authz.Limits), true
	r.members(func(name string) {
		empty = false
		switch name {
		case "class":
			l.Class = r.text()
		case "amount":
			l.Amount = map[string]string{}
			r.members(func(name string) { l.Amount[name] = r.text() })
			if len(l.Amount) == 0 {
				r.fail("must not be empty")
			}
		case "regions":
			l.Regions = r.set()
		case "schedules":
			l.Schedules = r.set()
		default:
			r.fail("holds what is not known: %.40q", name)
		}
	})
	if empty {
		return nil
	}
	return l
}

// set returns the array of strings that comes next, sorted, each string once.
func (r *reader) set() []string {
	list := r.texts()
	slices.Sort(list)
	return slices.Compact(list)
}
