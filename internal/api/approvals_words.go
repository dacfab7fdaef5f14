package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// quoted quotes what a stranger wrote, at most 64 characters of it. Whatever cannot be printed is escaped, so
// that no name turns the direction of a sentence or steers a terminal.
func quoted(s string) string {
	const most = 64
	n := 0
	for i := range s {
		if n++; n > most {
			return strconv.Quote(s[:i] + "…")
		}
	}
	return strconv.Quote(s)
}

func entityName(r authz.Ref) string { return quoted(r.Type) + " " + quoted(r.ID) }

// askSentence says in one sentence who asks for what.
func askSentence(a *approval.Ask) string {
	who := entityName(a.Bound.Subject.Ref)
	if a.Agent != "" {
		who = "The agent " + quoted(string(a.Agent))
	}
	if len(a.Bound.OnBehalf) > 0 {
		behalf := make([]string, len(a.Bound.OnBehalf))
		for i, r := range a.Bound.OnBehalf {
			behalf[i] = entityName(r)
		}
		who += ", on behalf of " + strings.Join(behalf, ", ") + ","
	}
	if a.Kind == approval.CIBA {
		if a.Message == "" {
			return who + " asks for a token in your name."
		}
		return who + " asks for a token in your name: " + quoted(a.Message) + "."
	}
	if len(a.Items) == 1 {
		return who + " asks to " + actSentence(&a.Items[0]) + "."
	}
	return fmt.Sprintf("%s asks for %d acts at once.", who, len(a.Items))
}

// actSentence says an act in words that follow "to".
func actSentence(it *approval.Item) string {
	return "do " + quoted(it.Action.Name) + " on " + entityName(it.Resource.Ref)
}

// lasts returns how long an approval of an act holds at most, 0 if that is not known: the shortest of its
// routes counts.
func lasts(it *approval.Item, cat *catalog.Catalog, wide bool) (most time.Duration) {
	if cat == nil {
		return 0
	}
	for i, id := range it.Routes {
		r, ok := cat.Route(id)
		if !ok {
			return 0
		}
		d := r.Lasts
		if wide && r.ClassFor > 0 {
			d = r.ClassFor
		}
		if i == 0 || d < most {
			most = d
		}
	}
	return most
}

// allows says what a yes of that scope permits.
func allows(a *approval.Ask, it *approval.Item, s approval.Scope, most time.Duration) string {
	if a.Kind == approval.CIBA {
		return "The agent " + quoted(string(a.Agent)) + " gets one token, for five minutes at most, and does in your name what " +
			quoted(it.Resource.ID) + " lets it do, within the limits that are shown."
	}
	var b strings.Builder
	switch {
	case s.Uses < 0:
		b.WriteString("As often as it likes, ")
	case s.Uses > 1:
		fmt.Fprintf(&b, "%d times at most, ", s.Uses)
	default:
		b.WriteString("Once, ")
	}
	if a.Agent != "" {
		b.WriteString("the agent " + quoted(string(a.Agent)))
	} else {
		b.WriteString(entityName(a.Bound.Subject.Ref))
	}
	b.WriteString(" may do " + quoted(it.Action.Name))
	if s.Class {
		fmt.Fprintf(&b, " on any %s whose data is %s or less sensitive", quoted(it.Resource.Type), it.Data)
		if len(it.Labels) > 0 {
			labels := make([]string, len(it.Labels))
			for i, l := range it.Labels {
				labels[i] = quoted(l)
			}
			b.WriteString(" and whose labels are among " + strings.Join(labels, ", "))
		}
	} else {
		b.WriteString(" on " + entityName(it.Resource.Ref) + " only")
	}
	switch {
	case s.Arguments:
		b.WriteString(", with any arguments")
	case len(s.Amounts) > 0:
		var parts []string
		for arg, value := range s.Amounts {
			parts = append(parts, quoted(arg)+" up to "+value)
		}
		slices.Sort(parts)
		b.WriteString(", with " + strings.Join(parts, ", ") + " and the other arguments as asked")
	default:
		b.WriteString(", with exactly these arguments")
	}
	switch {
	case !s.Until.IsZero():
		b.WriteString(", until " + s.Until.UTC().Format(time.RFC3339))
	case most > 0:
		b.WriteString(", within " + inWords(most) + " of the approval")
	}
	if u := a.RequestedUntil; !u.IsZero() && (s.Until.IsZero() || u.Before(s.Until)) {
		b.WriteString(", and until " + u.UTC().Format(time.RFC3339) + " at the latest, as the requester wishes")
	}
	return b.String() + "."
}

// inWords says how long something lasts, to the second: "1 hour 30 minutes".
func inWords(d time.Duration) string {
	left := int64(d.Round(time.Second) / time.Second)
	var parts []string
	for _, u := range []struct {
		seconds int64
		name    string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}} {
		if n := left / u.seconds; n > 0 {
			parts = append(parts, count(int(n), u.name, u.name+"s"))
			left -= n * u.seconds
		}
	}
	if len(parts) == 0 {
		return "less than a second"
	}
	return strings.Join(parts, " ")
}

// actWarnings says what to look at twice in one act.
func actWarnings(it *approval.Item, d *ActDetail) []string {
	var out []string
	say := func(what, text string) {
		if hidden(text) {
			out = append(out, what+" has characters that do not show, or that turn the direction of the text.")
		}
	}
	say("The name of the action", it.Action.Name)
	say("The resource's name", it.Resource.Type+it.Resource.ID)
	say("The resource's description", string(it.Resource.Properties))
	unknown := 0
	for _, a := range d.Arguments {
		say("The argument "+quoted(a.Name), a.Name+text(a.Value))
		switch a.From {
		case "untrusted":
			out = append(out, "The argument "+quoted(a.Name)+" came from what others can write to.")
		case "unknown":
			unknown++
		}
	}
	if unknown > 0 && it.Decision > 0 { // not of a token: there the agent itself says what it wants
		out = append(out, fmt.Sprintf("Nobody kept track of where %s came from.", count(unknown, "argument", "arguments")))
	}
	return out
}

// askWarnings says what to look at twice in an ask as a whole.
func askWarnings(a *approval.Ask, agent *AskingAgent) []string {
	var out []string
	if hidden(a.Justification) {
		out = append(out, "The justification has characters that do not show, or that turn the direction of the text.")
	}
	if hidden(string(a.Bound.Context)) {
		out = append(out, "The context has characters that do not show, or that turn the direction of the text.")
	}
	if a.Emergency {
		out = append(out, "The requester says it is an emergency; nobody has checked that.")
	}
	if agent != nil {
		if agent.State != "" && agent.State != authz.AgentActive {
			out = append(out, fmt.Sprintf("The agent is %s now: an approval does not lift that.", agent.State))
		}
		if n := len(agent.Findings); n > 0 {
			out = append(out, fmt.Sprintf("There are open findings about the agent: %d shown.", n))
		}
	}
	return out
}

// text returns a JSON value with the escapes of its strings undone, as far as hidden needs it.
func text(v []byte) string {
	if len(v) > 0 && v[0] == '"' {
		if s, err := strconv.Unquote(string(v)); err == nil {
			return s
		}
	}
	return string(v)
}

// hidden reports whether a text has characters that a reader does not see, or that change the order in which
// others are seen: control and format characters (Unicode Cc, Cf), but for line breaks and tabs. JSON's own
// escapes of them count, too.
func hidden(s string) bool {
	for _, c := range s {
		if c != '\n' && c != '\t' && c != '\r' && (unicode.Is(unicode.Cc, c) || unicode.Is(unicode.Cf, c)) {
			return true
		}
	}
	for i := 0; i+6 <= len(s); i++ {
		if s[i] == '\\' && s[i+1] == 'u' {
			if n, err := strconv.ParseUint(s[i+2:i+6], 16, 32); err == nil && (unicode.Is(unicode.Cf, rune(n)) || unicode.Is(unicode.Cc, rune(n)) && n != '\n' && n != '\t' && n != '\r') {
				return true
			}
		}
	}
	return false
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// similarAsk tells of an ask of the past.
func similarAsk(a *approval.Ask) SimilarAsk {
	out := SimilarAsk{ID: a.ID, AskedAt: a.AskedAt, Status: a.Status, Revoked: revoked(a), Acts: []string{}, Answered: []string{}}
	for i := range a.Items {
		out.Acts = append(out.Acts, actSentence(&a.Items[i]))
	}
	for i := range a.Answers {
		n := &a.Answers[i]
		said := "refused"
		if n.Yes {
			said = "approved"
		}
		if n.Broke {
			said = "broke the glass"
		}
		line := quoted(n.By) + " " + said
		if n.Comment != "" {
			line += ": " + quoted(n.Comment)
		}
		out.Answered = append(out.Answered, line)
	}
	return out
}
