package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what the obligations of this file say, and of what is logged.
const (
	maxDigits = 64
	maxLogged = 256            // bytes of one value
	maxDelay  = 48 * time.Hour // whatever is waited for here
)

// MeetCap lets the act happen only if "argument", a name or JSON pointer of the action's properties, is at most
// "most". All members of that name count. One that is not there, is no decimal number as text or number, or
// is negative, cannot be bounded: the act is refused. Names are the same in upper and in lower case, as many tools have it; where
// two differ by that only, or a name stands twice in one object, readers differ in which of the two counts: the act is refused.
func MeetCap(_ context.Context, d *Duty) error {
	var p struct {
		Obligation string `json:"obligation"`
		Argument   string `json:"argument"`
		Most       string `json:"most"`
	}
	if err := d.decode(&p); err != nil {
		return err
	}
	most, ok := amount(p.Most)
	if !ok {
		return errors.New("it is malformed: most is no decimal number as text")
	}
	if _, err := tokens(p.Argument); err != nil {
		return err
	}
	if d.Answer == nil {
		return errNoAct
	}
	if !d.Act() {
		return nil
	}
	found, twice, err := lookup(d.Request.Action.Properties, p.Argument)
	if err != nil {
		return err
	}
	if _, err := new(mask).apply(bytes.TrimSpace(d.Request.Action.Properties)); twice || err != nil {
		return fmt.Errorf("the argument %.64q could be read in two ways, or a name stands twice among the arguments", p.Argument)
	}
	if len(found) == 0 {
		return fmt.Errorf("the act has no argument %.64q", p.Argument)
	}
	for _, v := range found {
		var text string
		switch v := v.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		}
		switch x, ok := amount(text); {
		case !ok:
			return fmt.Errorf("the argument %.64q is no decimal number that is not negative", p.Argument)
		case x.Cmp(most) > 0:
			return fmt.Errorf("the argument %.64q is more than %s", p.Argument, p.Most)
		}
	}
	return nil
}

// amount reads a decimal number without sign and exponent, exactly.
func amount(s string) (*big.Rat, bool) {
	whole, fraction, point := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if len(s) > maxDigits || !digits(whole) || point && !digits(fraction) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// MeetDryRun has the act be tried only: Act.Try is called and Act.Do is not.
func MeetDryRun(_ context.Context, d *Duty) error {
	var p struct {
		Obligation string `json:"obligation"`
	}
	if err := d.decode(&p); err != nil {
		return err
	}
	return d.Try()
}

// MeetDelay has the act wait "for" some time, 90s or 2h or 1d, and not happen before "until", a time of RFC 3339.
// One of them must be there. What would take longer than longest is not waited for: the act is refused at
// once. The wait ends, and the act is refused, when the context of Do does.
func MeetDelay(longest time.Duration) Handler {
	return func(_ context.Context, d *Duty) error {
		var p struct {
			Obligation string    `json:"obligation"`
			For        string    `json:"for"`
			Until      time.Time `json:"until"`
		}
		if err := d.decode(&p); err != nil {
			return err
		}
		if p.For == "" && p.Until.IsZero() {
			return errors.New("it is malformed: it says neither for how long nor until when")
		}
		now, until := time.Now(), p.Until
		if p.For != "" {
			length, err := length(p.For)
			if err != nil {
				return err
			}
			if now.Add(length).After(until) {
				until = now.Add(length)
			}
		}
		if until.Sub(now) > min(longest, maxDelay) {
			return fmt.Errorf("it is longer than the %s that are waited here", min(longest, maxDelay))
		}
		return d.Wait(until)
	}
}

// length reads a length of time as the catalog has it: 90s, 15m, 1h30m, or whole days.
func length(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("it is malformed: %.32q is no length of time", s)
	}
	return d, nil
}

// MeetLog logs what was decided, or found by a search: who asked, for what, and of the act's arguments the "fields", names or JSON
// pointers, at the "level" debug, info, warn or error, which is info if nothing is said. Values are clipped, and
// have no characters that a terminal could take for orders. A log that does not take the entry, or not of
// this level, does not meet it.
func MeetLog(logger *slog.Logger) Handler {
	return func(ctx context.Context, d *Duty) error {
		var p struct {
			Obligation string   `json:"obligation"`
			Fields     []string `json:"fields"`
			Level      string   `json:"level"`
		}
		if err := d.decode(&p); err != nil {
			return err
		}
		level, ok := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[cmp.Or(p.Level, "info")]
		if !ok || len(p.Fields) > maxFields {
			return errors.New("it is malformed: there is no such level, or there are too many fields")
		}
		attrs := []slog.Attr{slog.String("obligation", loggable(d.ID))}
		if d.Request != nil {
			more, err := logged(d, p.Fields)
			if err != nil {
				return err
			}
			attrs = append(attrs, more...)
		}
		if d.Shown != nil {
			attrs = append(attrs, slog.String("shown", loggable(fmt.Sprint(d.Shown))))
		}
		h := logger.Handler()
		if !h.Enabled(ctx, level) {
			return fmt.Errorf("nothing of level %s is logged here", level)
		}
		record := slog.NewRecord(time.Now(), level, "obliged to log", 0)
		record.AddAttrs(attrs...)
		return h.Handle(ctx, record)
	}
}

// logged returns what is logged of an act, or of the refusal of one.
func logged(d *Duty, fields []string) ([]slog.Attr, error) {
	q := d.Request
	attrs := []slog.Attr{
		slog.String("decision", DecisionID(d.Answer.Decision)),
		slog.Bool("allowed", d.Answer.Allowed()),
		slog.String("code", loggable(d.Answer.Code)),
		slog.String("subject", loggable(q.Subject.Type+":"+q.Subject.ID)),
		slog.String("action", loggable(q.Action.Name)),
		slog.String("resource", loggable(q.Resource.Type+":"+q.Resource.ID)),
	}
	if q.Observed.Session != "" {
		attrs = append(attrs, slog.String("session", loggable(q.Observed.Session)))
	}
	var arguments []any // at most maxFields
	for _, f := range fields {
		found, _, err := lookup(q.Action.Properties, f)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			if len(arguments) == maxFields {
				break
			}
			text, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			if s, ok := v.(string); ok {
				text = []byte(s)
			}
			arguments = append(arguments, slog.String(loggable(f), loggable(string(text))))
		}
	}
	if len(arguments) > 0 {
		attrs = append(attrs, slog.Group("arguments", arguments...))
	}
	return attrs, nil
}

// loggable returns s, clipped, with a ? for what is no printable character: controls, bidirectional overrides.
func loggable(s string) string {
	if len(s) > maxLogged {
		end := maxLogged
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// lookup returns the values that a field, a name or a JSON pointer, means in a JSON object, and whether two names in one
// object, which differ by upper and lower case only, are meant.
func lookup(properties []byte, field string) (found []any, twice bool, err error) {
	at, err := tokens(field)
	if err != nil || len(bytes.TrimSpace(properties)) == 0 {
		return nil, false, err
	}
	dec := json.NewDecoder(bytes.NewReader(properties))
	dec.UseNumber()
	var root any
	if err := dec.Decode(&root); err != nil {
		return nil, false, errors.New("the act's arguments are no JSON")
	}
	if at == nil {
		found, twice = members(nil, root, fold(field))
		return found, twice, nil
	}
	found = []any{root}
	for _, token := range at {
		var below []any
		for _, v := range found {
			switch v := v.(type) {
			case map[string]any:
				n := len(below)
				for _, name := range slices.Sorted(maps.Keys(v)) {
					if fold(name) == fold(token) {
						below = append(below, v[name])
					}
				}
				twice = twice || len(below) > n+1
			case []any:
				if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(v) && strconv.Itoa(i) == token {
					below = append(below, v[i])
				}
			}
		}
		found = below
	}
	return found, twice, nil
}

// members appends the values of all members of a name, folded, however deep, in the order of their names.
func members(found []any, v any, name string) (_ []any, twice bool) {
	deeper := func(v any) {
		var again bool
		found, again = members(found, v, name)
		twice = twice || again
	}
	switch v := v.(type) {
	case map[string]any:
		here := 0
		for _, n := range slices.Sorted(maps.Keys(v)) {
			if fold(n) == name {
				found = append(found, v[n])
				here++
			} else {
				deeper(v[n])
			}
		}
		twice = twice || here > 1
	case []any:
		for _, below := range v {
			deeper(below)
		}
	}
	return found, twice
}
