package notify_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// publicOnly reaches public addresses only.
func publicOnly(r *receiver) *outbound.Client {
	return outbound.New(outbound.Config{RootCAs: r.pool(), Timeout: 5 * time.Second})
}

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"pay", "pay"},
		{"日本 ünd ☃", "日本 ünd ☃"},
		{"a\r\nBcc: x@y", `a\u000d\u000aBcc: x@y`},
		{"\x1b[2J", `\u001b[2J`},
		{"a\u202egpj.exe", `a\u202egpj.exe`},
		{"a\u2066b\u2069", `a\u2066b\u2069`},
		{"zero\u200bwidth", `zero\u200bwidth`},
		{"line\u2028break", `line\u2028break`},
		{"filler\u3164", `filler\u3164`},
		{"joiner\u034f", `joiner\u034f`},
		{"vowels\u17b4\u17b5", `vowels\u17b4\u17b5`},
		{"selectors\u180b\u180c\u180d\ufe0f\U000e0100", `selectors\u180b\u180c\u180d\ufe0f\udb40\udd00`},
		{"fillers\u115f\u1160\uffa0", `fillers\u115f\u1160\uffa0`},
		{"blank\u2800\U0001d159", `blank\u2800\ud834\udd59`},
		{"tag\U000e0041", `tag\udb40\udc41`},
		{"bad\xff", `bad\ufffd`},
		{"abcdefghijk", "abcdefghij…"},
	} {
		most := 100
		if c.in == "abcdefghijk" {
			most = 10
		}
		if got := notify.Clean(c.in, most); got != c.want {
			t.Errorf("clean(%q, %d) = %q, want %q", c.in, most, got, c.want)
		}
	}
}

// shows reports whether a text has nothing that does not print.
func shows(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func TestObject(t *testing.T) {
	for in, want := range map[string]string{
		`{}`: "", ``: "", `[`: "", ` { } `: "",
		`{"b":1200.50,"a":12345678901234567890,"c":"x \u003c y \u0026"}`: `{"b":1200.50,"a":12345678901234567890,"c":"x < y &"}`,
		`{"c":"\u202e\n"}`: `{"c":"\u202e\n"}`,
	} {
		if got := notify.Object([]byte(in), 1000); got != want {
			t.Errorf("object(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestCleanAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, most := rapid.String().Draw(t, "in"), rapid.IntRange(1, 50).Draw(t, "most")
		got := notify.Clean(in, most)
		if !shows(got) || utf8.RuneCountInString(got) > 12*most+1 {
			t.Errorf("clean(%q, %d) = %q, which does not print or is too long", in, most, got)
		}
	})
}

func FuzzPlainJSON(f *testing.F) {
	f.Add(`{"a":"\u202e<!channel>","b":["` + "\u202e\x7f" + `"]}`)
	f.Add(`"\\u202e ` + "\U000e0041" + `"`)
	f.Fuzz(func(t *testing.T, text string) {
		var before, after any
		if json.Unmarshal([]byte(text), &before) != nil {
			return
		}
		got := notify.PlainJSON([]byte(text))
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("plainJSON(%q) = %q: %v", text, got, err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("plainJSON(%q) says something else (-want +got):\n%s", text, diff)
		}
		if s := strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(string(got)); !shows(s) {
			t.Errorf("plainJSON(%q) = %q, which does not print", text, got)
		}
	})
}

// hostile is an ask of which every word that an agent can choose is meant to do harm.
func hostile() *approval.Ask {
	const evil = "<!channel> <https://evil.example|Approve> *bold* `code` & @here\r\nBcc: all@example.com\x1b[2J\u202eevil\u2028\u200b"
	quoted, err := json.Marshal(evil)
	if err != nil {
		panic(err)
	}
	properties := authz.Claimed(`{` + string(quoted) + `:` + string(quoted) + `}`)
	a := newAsk(time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), "arq_1", "money")
	a.Agent, a.Owner, a.Session, a.PEP, a.Justification, a.Message, a.Why = evil, evil, evil, evil, evil, evil, evil
	a.Bound.Subject = authz.Entity{Ref: authz.Ref{Type: evil, ID: evil}, Properties: properties}
	a.Bound.OnBehalf, a.Bound.Context = []authz.Ref{{Type: "user", ID: evil}}, properties
	a.Broken = &approval.Broken{By: evil, Reason: evil}
	it := &a.Items[0]
	it.Action, it.Resource, it.Labels = authz.Action{Name: evil, Properties: properties}, authz.Entity{Ref: authz.Ref{Type: evil, ID: evil}, Properties: properties}, []string{evil}
	return a
}

// What strangers wrote steers nobody: no mention, no link, no header, no escape sequence.
func TestHostileText(t *testing.T) {
	h := open(t, notify.Channels{})
	for _, event := range []string{notify.Asked, notify.Escalated, notify.Ended, notify.Broken, notify.Revoked} {
		c := &notify.Channel{Arguments: true, Slack: &notify.Slack{}}
		body, err := h.SlackMessage(c, event, hostile())
		if err != nil {
			t.Fatal(err)
		}
		for _, no := range []string{"<", ">", "\\u003c", "evil.example|Approve>"} {
			if strings.Contains(string(body), no) {
				t.Errorf("%s: the message to Slack has %q: %s", event, no, body)
			}
		}
		var m struct {
			Text   string
			Blocks []struct {
				Type string
				Text struct{ Type, Text string }
			}
		}
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(m.Text, "evil") || strings.Contains(m.Text, "@") {
			t.Errorf("%s: the text that other products take for markup has a stranger's words: %q", event, m.Text)
		}
		for _, b := range m.Blocks {
			if b.Type != "actions" && b.Text.Type != "plain_text" {
				t.Errorf("%s: a block has text of type %q, want plain_text", event, b.Text.Type)
			}
			if !shows(b.Text.Text) || utf8.RuneCountInString(b.Text.Text) > 3000 {
				t.Errorf("%s: a block does not print, or is too long: %q", event, b.Text.Text)
			}
		}
		if len(m.Blocks) > 50 {
			t.Errorf("%s: %d blocks, want at most 50", event, len(m.Blocks))
		}

		text := h.MailText(c, event, hostile())
		if !shows(strings.ReplaceAll(text, "\n", "")) {
			t.Errorf("%s: the e-mail does not print: %q", event, text)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "evil") && !strings.HasPrefix(line, "  | ") {
				t.Errorf("%s: a stranger's words stand outside of the bar: %q", event, line)
			}
		}

		payload, err := h.Payload(event, hostile())
		if err != nil {
			t.Fatal(err)
		}
		if !shows(string(payload)) || !json.Valid(payload) {
			t.Errorf("%s: the payload does not print, or is no JSON: %q", event, payload)
		}
	}
}

// However large an ask is, what people are shown of it is bounded.
func TestLargeAsk(t *testing.T) {
	h := open(t, notify.Channels{})
	a := hostile()
	a.Justification = strings.Repeat("\u202e", 2000)
	big := authz.Claimed(`{"x":"` + strings.Repeat("&", 100_000) + `"}`)
	for range 31 {
		it := a.Items[0]
		it.Action.Properties, it.Resource.Properties = big, big
		a.Items = append(a.Items, it)
	}
	c := &notify.Channel{Arguments: true, Slack: &notify.Slack{}}
	body, err := h.SlackMessage(c, notify.Asked, a)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 100_000 {
		t.Errorf("the message to Slack has %d bytes", len(body))
	}
	if text := h.MailText(c, notify.Asked, a); len(text) > 100_000 || !strings.Contains(text, "27 more acts") {
		t.Errorf("the e-mail has %d bytes, or does not say that there are 27 more acts", len(text))
	}
	if payload, err := h.Payload(notify.Asked, a); err != nil || len(payload) > 500_000 || !strings.Contains(string(payload), `"truncated":true`) {
		t.Errorf("the payload has %d bytes, %v, or does not say that arguments were left out", len(payload), err)
	}
}

func TestPause(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, n := rapid.String().Draw(t, "id"), rapid.Int64Range(0, 1<<40).Draw(t, "attempts")
		want := notify.Longest
		if n < 10 {
			want = min(want, 10*time.Second<<max(n-1, 0))
		}
		if got := notify.Pause(id, n); got < want*3/4 || got > want*5/4 {
			t.Errorf("pause after %d attempts = %v, want %v and a quarter more or less", n, got, want)
		}
	})
	if notify.Pause("a", 3) == notify.Pause("b", 3) {
		t.Error("two deliveries that failed together are tried together")
	}
}
