package token

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// Append appends p's JSON form to b: claims that ParsePassport reads as the same passport. It is
// written by hand because every token that is issued passes here.
func (p *Passport) Append(b []byte) []byte {
	b = append(b, `{"iss":`...)
	b = appendString(b, p.Issuer)
	b = append(b, `,"sub":`...)
	b = appendString(b, p.Subject)
	b = append(b, `,"client_id":`...)
	b = appendString(b, p.ClientID)
	b = append(b, `,"aud":`...)
	if len(p.Audience) == 1 {
		b = appendString(b, p.Audience[0])
	} else {
		b = appendStrings(b, p.Audience)
	}
	b = appendText(b, `,"jti":`, p.ID)
	b = appendSecond(b, `,"iat":`, p.IssuedAt)
	b = appendSecond(b, `,"nbf":`, p.NotBefore)
	b = appendSecond(b, `,"exp":`, p.Expires)
	b = appendSecond(b, `,"auth_time":`, p.AuthTime)
	if len(p.Scope) > 0 {
		b = append(b, `,"scope":`...)
		b = appendString(b, strings.Join(p.Scope, " "))
	}
	n := 0
	for i := range p.Details {
		if d := &p.Details[i]; !p.carries(d) {
			if n++; n == 1 {
				b = append(b, `,"authorization_details":[`...)
			}
			b = appendDetail(comma(b, n-1), d)
		}
	}
	if n > 0 {
		b = append(b, ']')
	}
	b = appendText(b, `,"acr":`, p.ACR)
	b = appendList(b, `,"amr":`, p.AMR)
	b = appendText(b, `,"txn":`, p.Txn)
	if p.Confirmation != (Confirmation{}) {
		b = append(b, `,"cnf":`...)
		b = p.Confirmation.append(b)
	}
	if p.Actor != nil {
		b = append(b, `,"act":`...)
		b = p.Actor.append(b)
	}
	if p.MayAct != nil {
		b = append(b, `,"may_act":`...)
		b = p.MayAct.append(b)
	}
	if s := p.Status; s != nil {
		b = append(b, `,"status":{"status_list":{"idx":`...)
		b = strconv.AppendInt(b, s.Index, 10)
		b = append(b, `,"uri":`...)
		b = append(appendString(b, s.URI), `}}`...)
	}
	if p.Conduct != nil {
		b = append(b, `,"`+ConductClaim+`":`...)
		b = p.Conduct.append(b)
	}
	return append(b, '}')
}

func (c *Confirmation) append(b []byte) []byte {
	b = append(b, '{')
	n := len(b)
	b = appendText(b, `,"jkt":`, c.JKT)
	b = appendText(b, `,"x5t#S256":`, c.X5TS256)
	return closeObject(b, n)
}

func (a *Actor) append(b []byte) []byte {
	b = append(b, `{"sub":`...)
	b = appendString(b, a.Subject)
	b = appendText(b, `,"client_id":`, a.ClientID)
	b = appendText(b, `,"jti":`, a.ID)
	if a.Actor != nil {
		b = append(b, `,"act":`...)
		b = a.Actor.append(b)
	}
	return append(b, '}')
}

// append writes a score that is no number as 0, which is no trust.
func (c *Conduct) append(b []byte) []byte {
	score := c.Score
	if math.IsNaN(score) || math.IsInf(score, 0) {
		score = 0
	}
	b = append(b, '{')
	n := len(b)
	b = appendText(b, `,"level":`, c.Level)
	b = append(b, `,"score":`...)
	b = strconv.AppendFloat(b, score, 'g', -1, 64)
	b = appendText(b, `,"window":`, c.Window)
	b = appendInt(b, `,"decisions":`, c.Decisions)
	b = appendInt(b, `,"denied":`, c.Denied)
	b = appendInt(b, `,"as_of":`, c.AsOf)
	if c.History != nil {
		b = append(b, `,"history":`...)
		b = c.History.append(b)
	}
	return closeObject(b, n)
}

func (h *History) append(b []byte) []byte {
	b = append(b, '{')
	n := len(b)
	b = appendText(b, `,"uri":`, h.URI)
	b = appendText(b, `,"digest":`, h.Digest)
	b = appendInt(b, `,"size":`, h.Size)
	return closeObject(b, n)
}

// closeObject ends an object whose members start at n, each with a comma before it.
func closeObject(b []byte, n int) []byte {
	if len(b) > n {
		b = slices.Delete(b, n, n+1)
	}
	return append(b, '}')
}

// AppendDetails appends the JSON form of authorization_details. A list that is empty is not written,
// and narrows nothing: who narrows a list to nothing must drop the detail.
func AppendDetails(b []byte, details []authz.Detail) []byte {
	b = append(b, '[')
	for i := range details {
		b = appendDetail(comma(b, i), &details[i])
	}
	return append(b, ']')
}

func appendDetail(b []byte, d *authz.Detail) []byte {
	b = append(b, `{"type":"`+authz.DetailType+`","identifier":`...)
	b = appendString(b, d.Identifier)
	b = appendList(b, `,"actions":`, d.Actions)
	b = appendList(b, `,"locations":`, d.Locations)
	if d.Limits != nil {
		b = append(b, `,"limits":`...)
		b = appendLimits(b, d.Limits)
	}
	return append(b, '}')
}

func appendLimits(b []byte, l *authz.Limits) []byte {
	b = append(b, '{')
	n := len(b)
	b = appendText(b, `,"class":`, l.Class)
	if len(l.Amount) > 0 {
		b = append(b, `,"amount":{`...)
		for i, name := range slices.Sorted(maps.Keys(l.Amount)) {
			b = append(appendString(comma(b, i), name), ':')
			b = appendString(b, l.Amount[name])
		}
		b = append(b, '}')
	}
	b = appendList(b, `,"regions":`, l.Regions)
	b = appendList(b, `,"schedules":`, l.Schedules)
	return closeObject(b, n)
}

// appendText appends a member, if its value is not empty.
func appendText(b []byte, member, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, member...), value)
}

// appendSecond appends a member, if its value is not zero.
func appendSecond(b []byte, member string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendInt(b, member, t.Unix())
}

func appendInt(b []byte, member string, n int64) []byte {
	return strconv.AppendInt(append(b, member...), n, 10)
}

// appendList appends a member, if its value is not empty.
func appendList(b []byte, member string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	return appendStrings(append(b, member...), list)
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		b = appendString(comma(b, i), s)
	}
	return append(b, ']')
}

// comma appends the comma before an element that is not the first.
func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil && out == nil {
		return append(b, `""`...)
	}
	return out
}
