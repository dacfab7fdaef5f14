package edge

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Bounds of an outcome: those of the control plane.
const (
	maxWhy     = 1000
	maxMet     = 64
	maxMeasure = int64(1) << 50 // milliseconds or bytes
)

// outcomeBody returns an outcome as POST /v1/decisions/{id}/outcome takes it. authz.ErrInvalid: it would not be taken.
func outcomeBody(o *client.Outcome) ([]byte, error) {
	latency := int64((o.Latency + time.Millisecond - 1) / time.Millisecond) // rounded up, so that what was measured is said
	switch {
	case o.Operator:
		return nil, authz.Errorf(authz.ErrForbidden, "only an administrator may speak for an agent's owner")
	case !slices.Contains([]string{"", client.Right, client.Wrong, client.Harmful, client.Reverted}, o.Result):
		return nil, invalid("unknown result %.32q: one of right, wrong, harmful, reverted", o.Result)
	case !slices.Contains([]string{"", client.FaultTool, client.FaultSchema, client.FaultTimeout}, o.Fault):
		return nil, invalid("unknown fault %.32q: one of tool, schema, timeout", o.Fault)
	case o.Latency < 0 || latency > maxMeasure || o.Size < 0 || o.Size > maxMeasure:
		return nil, invalid("latency and size are from 0 to %d", maxMeasure)
	case len(o.Met) > maxMet:
		return nil, invalid("an outcome names up to %d obligations", maxMet)
	case len(o.Why) > maxWhy || !text(o.Why) || strings.ContainsFunc(o.Why, func(c rune) bool { return !unicode.IsPrint(c) }):
		return nil, invalid("a reason has up to %d bytes of printable text", maxWhy)
	}
	if err := checkNames("met", o.Met); err != nil {
		return nil, err
	}
	w := members{room: make([]byte, 0, 64)}
	w.text("result", o.Result)
	w.text("fault", o.Fault)
	if latency > 0 {
		w.number("latency_ms", latency)
	}
	if o.Size != 0 || o.Result == "" && o.Fault == "" && latency == 0 && len(o.Met) == 0 {
		w.number("size_bytes", o.Size)
	}
	w.texts("met", o.Met)
	w.text("why", o.Why)
	return append(w.room, '}'), nil
}

// members are those of a JSON object that is written. What is empty is left out.
type members struct{ room []byte }

// name begins a member. Names need no escape.
func (w *members) name(name string) {
	begin := byte(',')
	if len(w.room) == 0 {
		begin = '{'
	}
	w.room = append(append(append(w.room, begin, '"'), name...), '"', ':')
}

func (w *members) number(name string, n int64) {
	w.name(name)
	w.room = strconv.AppendInt(w.room, n, 10)
}

func (w *members) text(name, text string) {
	if text != "" {
		w.name(name)
		w.room = quote(w.room, text)
	}
}

func (w *members) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	for i, t := range list {
		begin := byte(',')
		if i == 0 {
			begin = '['
		}
		w.room = quote(append(w.room, begin), t)
	}
	w.room = append(w.room, ']')
}

// quote appends a text that was checked to be UTF-8.
func quote(b []byte, text string) []byte {
	b, err := jsontext.AppendQuote(b, text)
	if err != nil {
		panic(err)
	}
	return b
}
