package pdp

import (
	"maps"
	"slices"
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
)

func appendPassport(b []byte, p *authz.Passport) []byte {
	b = append(b, `{"jti":`...)
	b = appendString(b, p.ID)
	b = append(b, `,"details":[`...)
	for i := range p.Details {
		b = appendDetail(comma(b, i), &p.Details[i])
	}
	b = append(b, `],"bound":`...)
	b = appendString(b, p.Bound)
	b = append(b, `,"depth":`...)
	b = strconv.AppendInt(b, int64(p.Depth), 10)
	b = append(b, `,"expires":`...)
	b = appendTime(b, p.Expires)
	a := &p.Auth
	if a.ACR == "" && len(a.AMR) == 0 && a.Method == "" && a.Bound == "" && a.At.IsZero() && a.Person == "" {
		return append(b, '}')
	}
	b = append(b, `,"auth":{`...)
	n := len(b)
	b = appendMember(b, "acr", a.ACR)
	b = appendNames(b, "amr", a.AMR)
	b = appendMember(b, "method", a.Method)
	b = appendMember(b, "bound", a.Bound)
	if !a.At.IsZero() {
		b = append(b, `"auth_time":`...)
		b = append(appendTime(b, a.At), ',')
	}
	b = appendMember(b, "person", a.Person)
	return append(trim(b, n), `}}`...)
}

func appendDetail(b []byte, d *authz.Detail) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, d.Type)
	b = append(b, `,"identifier":`...)
	b = append(appendString(b, d.Identifier), ',')
	b = appendNames(b, "actions", d.Actions)
	b = appendNames(b, "locations", d.Locations)
	if l := d.Limits; l != nil {
		b = append(b, `"limits":{`...)
		n := len(b)
		b = appendMember(b, "class", l.Class)
		if len(l.Amount) > 0 {
			b = append(b, `"amount":{`...)
			n := len(b)
			for _, argument := range slices.Sorted(maps.Keys(l.Amount)) {
				b = append(appendString(b, argument), ':')
				b = append(appendString(b, l.Amount[argument]), ',')
			}
			b = append(trim(b, n), `},`...)
		}
		b = appendNames(b, "regions", l.Regions)
		b = appendNames(b, "schedules", l.Schedules)
		b = append(trim(b, n), `},`...)
	}
	b[len(b)-1] = '}'
	return b
}

func appendCredential(b []byte, c *authz.Credential) []byte {
	b = append(b, '{')
	b = appendMember(b, "method", c.Method)
	b = append(b, `"keys":`...)
	b = strconv.AppendInt(b, int64(c.Keys), 10)
	if !c.Since.IsZero() {
		b = append(b, `,"since":`...)
		b = appendTime(b, c.Since)
	}
	if !c.ExpiresAt.IsZero() {
		b = append(b, `,"expires_at":`...)
		b = appendTime(b, c.ExpiresAt)
	}
	return append(b, '}')
}
