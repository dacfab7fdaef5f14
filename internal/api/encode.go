package api

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// appendDecision appends d as AuthZEN writes it: a boolean, and beside it the agent's view of why.
// The operator's view, which policies fired and on what facts, is in the record and never here.
// What of approvals it tells is in a, nil if there is nothing.
func appendDecision(b []byte, d *authz.Decision, a *approvals) []byte {
	b = append(b, `{"decision":`...)
	b = strconv.AppendBool(b, d.Allowed())
	b = append(b, `,"context":{`...)
	if d.Seq > 0 {
		b = append(b, `"evaluation_id":`...)
		b = appendString(b, pdp.DecisionID(d.Seq))
		b = append(b, ',')
	}
	b = append(b, `"code":`...)
	b = appendString(b, d.Code)
	if len(d.Reasons) > 0 {
		b = append(b, `,"reasons":[`...)
		for i, r := range d.Reasons {
			b = comma(b, i)
			b = append(b, `{"code":`...)
			b = appendString(b, r.Code)
			b = append(b, `,"message":`...)
			b = appendString(b, r.Message)
			if r.Party != "" {
				b = append(b, `,"party":`...)
				b = appendString(b, r.Party)
			}
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	if len(d.Changes) > 0 {
		b = append(b, `,"changes":[`...)
		for i, c := range d.Changes {
			b = appendChange(comma(b, i), &c)
		}
		b = append(b, ']')
	}
	if len(d.Remedies) > 0 {
		b = append(b, `,"remedies":[`...)
		for i, r := range d.Remedies {
			b = appendString(comma(b, i), r)
		}
		b = append(b, ']')
	}
	if len(d.Obligations) > 0 {
		b = appendObligations(append(b, `,"obligations":`...), d.Obligations)
	}
	if a != nil {
		b = a.append(b, d)
	}
	return append(b, `}}`...)
}

func appendChange(b []byte, c *authz.Change) []byte {
	b = append(b, `{"who":`...)
	b = appendString(b, c.Who)
	b = append(b, `,"kind":`...)
	b = appendString(b, c.Kind)
	if c.Target != "" {
		b = append(b, `,"target":`...)
		b = appendString(b, c.Target)
	}
	if len(c.To) > 0 {
		b = append(b, `,"to":`...)
		b = append(b, c.To...)
	}
	b = append(b, `,"hint":`...)
	b = appendString(b, c.Hint)
	return append(b, '}')
}

// appendItemError appends the answer to an item of a batch that could not be understood, or does not
// fit the schema, or to any question about an agent whose passport does not count.
func appendItemError(b []byte, code string, status int, message string) []byte {
	b = append(b, `{"decision":false,"context":{"code":`...)
	b = appendString(b, code)
	b = append(b, `,"error":{"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, message)
	return append(b, `}}}`...)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil && len(out) <= len(b) {
		return append(b, `""`...)
	}
	return out
}
