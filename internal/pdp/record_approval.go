package pdp

import (
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
)

func appendApproval(b []byte, a *authz.Approval) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, a.ID)
	b = append(b, `,"ask":`...)
	b = appendString(b, a.Ask)
	b = append(b, `,"routes":`...)
	b = appendStrings(b, a.Routes)
	b = append(b, `,"by":`...)
	b = appendStrings(b, a.By)
	b = append(b, `,"until":`...)
	b = appendTime(b, a.Until)
	if a.Single {
		b = append(b, `,"single":true`...)
	}
	if a.Use != 0 {
		b = append(b, `,"use":`...)
		b = strconv.AppendInt(b, a.Use, 10)
	}
	return append(b, '}')
}

func appendAsks(b []byte, a *authz.Asks) []byte {
	b = append(b, '{')
	n := len(b)
	for _, m := range [...]struct {
		name  string
		count int64
	}{{"session", a.Session}, {"hour", a.Hour}, {"pending", a.Pending}} {
		if m.count != 0 {
			b = append(append(append(b, '"'), m.name...), `":`...)
			b = append(strconv.AppendInt(b, m.count, 10), ',')
		}
	}
	return append(trim(b, n), '}')
}
