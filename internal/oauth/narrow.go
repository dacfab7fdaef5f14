package oauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Bounds of what one token carries.
const (
	maxCapabilities = 64
	maxDetails      = 16 << 10 // bytes of authorization_details
)

// asked is what a client asks for: capabilities, sorted by id, each with the limits it wants on it.
type asked struct {
	details []authz.Detail
	named   bool // by the client; if not, it asked for all there is
}

// ask reads scope (RFC 6749, section 3.3) and authorization_details (RFC 9396) and holds them against
// what there is to be had, the details that held; a bare detail there is as wide as the catalog. Both
// parameters together name the union. A detail that is left out of what is asked for is taken over, so
// that what is returned is never wider than held, and a limit that goes beyond held is refused.
//
// The same answer goes to who names a capability that does not exist and one that is not granted.
func ask(scope, details string, held []authz.Detail, cat *catalog.Catalog) (asked, error) {
	if scope == "" && details == "" {
		if len(held) > maxCapabilities {
			return asked{}, badScope("there are more capabilities than one token can carry: name some of them")
		}
		return asked{details: held}, nil
	}
	out := asked{named: true}
	if details != "" {
		list, err := parseDetails(details)
		if err != nil {
			return asked{}, err
		}
		for i := range list {
			d, err := within(&list[i], held, cat)
			if err != nil {
				return asked{}, err
			}
			out.details = append(out.details, d)
		}
	}
	if scope != "" {
		ids, err := parseScope(scope)
		if err != nil {
			return asked{}, err
		}
		for _, id := range ids {
			if findDetail(out.details, id) != nil {
				continue // narrowed by its detail
			}
			of := findDetail(held, id)
			if of == nil {
				return asked{}, badScope("scope names a capability that is not granted")
			}
			out.details = append(out.details, *of)
		}
	}
	if len(out.details) > maxCapabilities {
		return asked{}, badScope("more capabilities are asked for than one token can carry")
	}
	slices.SortFunc(out.details, func(a, b authz.Detail) int { return strings.Compare(a.Identifier, b.Identifier) })
	return out, nil
}

// parseScope splits a scope into its words, sorted, each once.
func parseScope(scope string) ([]string, error) {
	ids := strings.Split(scope, " ")
	for _, id := range ids {
		if id == "" || strings.ContainsFunc(id, func(c rune) bool { return c < '!' || c > '~' || c == '"' || c == '\\' }) {
			return nil, badScope("scope must be words with one space between them")
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// parseDetails reads the parameter authorization_details.
func parseDetails(text string) ([]authz.Detail, error) {
	if len(text) > maxDetails {
		return nil, badDetails("it is larger than allowed", nil)
	}
	list, err := token.ParseDetails([]byte(text))
	if err != nil {
		return nil, badDetails("want an array of objects of the type capability, with identifier and, if wanted, actions, locations and limits", err)
	}
	return list, nil
}

// within returns a detail that is asked for, with what it leaves out taken over from what is held and
// from the catalog.
func within(d *authz.Detail, held []authz.Detail, cat *catalog.Catalog) (authz.Detail, error) {
	of := findDetail(held, d.Identifier)
	declared, ok := cat.DetailOf(d.Identifier)
	if of == nil || !ok {
		return authz.Detail{}, badDetails("a capability is not granted", nil)
	}
	for _, bound := range []*authz.Detail{of, &declared} {
		full := inherit(d, bound)
		if err := catalog.Narrows(&full, bound); err != nil {
			if errors.Is(err, authz.ErrForbidden) {
				return authz.Detail{}, badDetails("a limit goes beyond what is granted", err)
			}
			return authz.Detail{}, badDetails("a limit cannot be read", err)
		}
	}
	full := inherit(d, of)
	full = inherit(&full, &declared)
	if known := cat.Schedules(); full.Limits != nil && slices.ContainsFunc(full.Limits.Schedules, func(name string) bool { return !slices.Contains(known, name) }) {
		return authz.Detail{}, badDetails("a schedule does not exist", nil)
	}
	return full, nil
}

// inherit returns child with what it leaves out as parent has it. Where both say something, the
// child's stands.
func inherit(child, parent *authz.Detail) authz.Detail {
	d := *child
	d.Actions = either(d.Actions, parent.Actions)
	d.Locations = either(d.Locations, parent.Locations)
	if parent.Limits == nil {
		return d
	}
	var l authz.Limits
	if d.Limits != nil {
		l = *d.Limits
	}
	if l.Class == "" {
		l.Class = parent.Limits.Class
	}
	l.Regions = either(l.Regions, parent.Limits.Regions)
	l.Schedules = either(l.Schedules, parent.Limits.Schedules)
	if len(parent.Limits.Amount) > 0 {
		amount := make(map[string]string, len(parent.Limits.Amount)+len(l.Amount))
		for name, most := range parent.Limits.Amount {
			amount[name] = most
		}
		for name, most := range l.Amount {
			amount[name] = most
		}
		l.Amount = amount
	}
	d.Limits = &l
	return d
}

func either(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// findDetail returns the detail of a capability, or nil.
func findDetail(list []authz.Detail, id string) *authz.Detail {
	for i := range list {
		if list[i].Identifier == id {
			return &list[i]
		}
	}
	return nil
}

// bare reports whether a detail says no more than which capability it is of.
func bare(d *authz.Detail) bool {
	return len(d.Actions) == 0 && len(d.Locations) == 0 && d.Limits == nil
}

// bareDetails returns details that are as wide as the catalog.
func bareDetails(ids []string) []authz.Detail {
	out := make([]authz.Detail, len(ids))
	for i, id := range ids {
		out[i] = authz.Detail{Type: authz.DetailType, Identifier: id}
	}
	return out
}

func badScope(description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: invalidScope, Description: description}
}

func badDetails(description string, cause error) *Error {
	return &Error{Status: http.StatusBadRequest, Code: invalidDetails, Description: "authorization_details: " + description, Cause: cause}
}
