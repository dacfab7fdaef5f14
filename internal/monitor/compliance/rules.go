package compliance

import (
	"fmt"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// purpose says how an act is outside of the agent's purpose; "" if it is not. Reading is low.
func purpose(r *catalog.ComplianceRules, ev *conduct.Event) (conduct.Severity, string) {
	if len(r.Purposes) == 0 {
		return 0, ""
	}
	own, listed := r.Purposes[ev.Purpose]
	if !listed || slices.ContainsFunc(ev.Within, func(id string) bool { return slices.Contains(own, id) }) {
		return 0, ""
	}
	severity := conduct.Medium
	if ev.Class == conduct.Read {
		severity = conduct.Low
	}
	return severity, fmt.Sprintf("%s on %s is in no capability that belongs to the purpose %s.",
		conduct.Quote(ev.Action), resource(ev), conduct.Quote(ev.Purpose))
}

// region says how data is used from where it must not be; "" if it is not.
func region(r *catalog.ComplianceRules, ev *conduct.Event) (conduct.Severity, string) {
	for i := range r.Regions {
		q := &r.Regions[i]
		switch {
		case len(q.Labels) > 0 && !slices.ContainsFunc(ev.Labels, func(l string) bool { return slices.Contains(q.Labels, l) }),
			len(q.Jurisdictions) > 0 && !slices.Contains(q.Jurisdictions, ev.Region),
			slices.Contains(q.Countries, ev.Country):
		case ev.Country == "":
			return conduct.Low, fmt.Sprintf("%s on %s cannot be shown to be from where its data may be used: the country is unknown.", conduct.Quote(ev.Action), resource(ev))
		default:
			return conduct.Medium, fmt.Sprintf("%s on %s is from %s, where its data must not be used.", conduct.Quote(ev.Action), resource(ev), conduct.Quote(ev.Country))
		}
	}
	return 0, ""
}

// maxSays is how many bytes of a resource's properties are read.
const maxSays = 16 << 10

// retention says how data is used for longer than it may be kept; "" if it is not.
func retention(r *catalog.ComplianceRules, ev *conduct.Event) (conduct.Severity, string) {
	for i := range r.Retention {
		q := &r.Retention[i]
		if q.Type != ev.Resource.Type {
			continue
		}
		from, ok := when(ev.Says, q.Property)
		if !ok {
			return conduct.Low, fmt.Sprintf("%s on %s cannot be shown to be within its time: the request does not say %s.", conduct.Quote(ev.Action), resource(ev), conduct.Quote(q.Property))
		}
		if late := ev.At.Sub(from) - q.Keep; late > 0 {
			return conduct.Medium, fmt.Sprintf("%s on %s is %s after the time for which it may be kept.", conduct.Quote(ev.Action), resource(ev), days(late))
		}
	}
	return 0, ""
}

// when returns the time that a property says: one of RFC 3339, or a date, which is the end of that day. A
// property that comes twice says nothing.
func when(object []byte, property string) (t time.Time, ok bool) {
	if len(object) > maxSays {
		return t, false
	}
	times := 0
	conduct.Members(object, func(name, value []byte) bool {
		if string(name) != property {
			return true
		}
		times++
		if len(value) < 2 || len(value) > 40 || value[0] != '"' {
			return false
		}
		text := value[1 : len(value)-1]
		var err error
		if t, err = time.Parse(time.RFC3339, string(text)); err != nil {
			if t, err = time.Parse(time.DateOnly, string(text)); err == nil {
				t = t.AddDate(0, 0, 1)
			}
		}
		ok = err == nil
		return ok
	})
	return t, ok && times == 1
}

// days writes how long it is, roughly.
func days(d time.Duration) string {
	if n := int64(d / (24 * time.Hour)); n > 1 {
		return fmt.Sprintf("%d days", n)
	}
	return d.Truncate(time.Second).String()
}

func resource(ev *conduct.Event) string {
	return conduct.Quote(ev.Resource.Type + ":" + ev.Resource.ID)
}
