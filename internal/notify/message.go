package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// Bounds of what people are shown in a message, in characters. All of it is behind the link.
const (
	showName   = 200
	showObject = 1000
	showText   = 500
	showActs   = 5
)

// A line is one thing that a message says to people: a word of ours, and what it is about. Text is clean.
type line struct{ Label, Text string }

// title returns what a message is about. It holds no word of a stranger.
func title(event string, a *approval.Ask) string {
	switch event {
	case Escalated:
		return "Nobody has answered yet: an approval is asked"
	case Broken:
		return "Somebody approved alone: please review"
	case Revoked:
		return "An approval was taken back"
	case Ended:
		return "An ask for approval has ended: " + string(a.Status)
	}
	if a.Kind == approval.CIBA {
		return "You are asked to authorize an agent"
	}
	return "An approval is asked"
}

// link returns where the ask is seen and answered.
func (n *Notifier) link(a *approval.Ask) string { return n.cfg.Public + "/asks/" + a.ID }

// lines returns what people are told of an ask: who, what exactly, why, and until when.
func lines(event string, a *approval.Ask, arguments bool) (ls []line) {
	add := func(label, format string, args ...any) { ls = append(ls, line{label, fmt.Sprintf(format, args...)}) }
	who := clean(a.Bound.Subject.String(), showName)
	if a.Agent != "" {
		who = clean(string(a.Agent), showName)
	}
	if a.Owner != "" {
		who += ", owned by " + clean(a.Owner, showName)
	}
	add("Agent", "%s", who)
	if len(a.Bound.OnBehalf) > 0 {
		add("On behalf of", "%s", refs(a.Bound.OnBehalf))
	}
	for i := range a.Items {
		if i == showActs {
			add("And", "%d more acts", len(a.Items)-i)
			break
		}
		it := &a.Items[i]
		add("Act", "%s on %s (%s)", clean(it.Action.Name, showName), clean(it.Resource.String(), showName), class(it))
		if !arguments {
			continue
		}
		if text := object(it.Action.Properties, showObject); text != "" {
			add("Arguments", "%s", text)
		}
		if text := object(it.Resource.Properties, showObject); text != "" {
			add("Of the resource", "%s", text)
		}
	}
	if arguments {
		if text := object(a.Bound.Context, showObject); text != "" {
			add("In the context", "%s", text)
		}
	}
	if a.Emergency {
		add("Emergency", "so it says")
	}
	if a.Justification != "" {
		add("It says why", "%s", clean(a.Justification, showText))
	}
	if a.Message != "" {
		add("It shows", "%s", clean(a.Message, showText))
	}
	switch event {
	case Broken:
		if b := a.Broken; b != nil {
			add("Approved by", "%s", clean(b.By, showName))
			add("Reason", "%s", clean(b.Reason, showText))
			add("Review until", "%s", clock(b.Due))
		}
	case Ended, Revoked:
		add("Ended", "%s, %s", a.Status, clock(a.ClosedAt))
		if a.Why != "" {
			add("Why", "%s", clean(a.Why, showText))
		}
	default:
		add("Answer until", "%s", clock(a.ExpiresAt))
	}
	return ls
}

func class(it *approval.Item) string {
	s := it.Data.String()
	if len(it.Labels) > 0 {
		s += ", " + clean(strings.Join(it.Labels, ", "), showName)
	}
	return s
}

func refs(rs []authz.Ref) string {
	texts := make([]string, len(rs))
	for i, r := range rs {
		texts[i] = r.String()
	}
	return clean(strings.Join(texts, ", "), showName)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
