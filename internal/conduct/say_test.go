package conduct_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

func TestQuote(t *testing.T) {
	quote := func(name, want string) {
		t.Helper()
		if got := conduct.Quote(name); got != want {
			t.Errorf("Quote(%q) = %s, want %s", name, got, want)
		}
	}
	quote("", `""`)
	quote("read_order", `"read_order"`)
	quote(`say "yes"`, `"say 'yes'"`)
	quote("two\nlines\x1b[31m", `"two?lines?[31m"`)
	quote("right\u202eleft", `"right?left"`)
	quote("Bücher\xff", `"Bücher?"`)
	quote(strings.Repeat("x", 62), `"`+strings.Repeat("x", 62)+`"`)
	quote(strings.Repeat("x", 63), `"`+strings.Repeat("x", 59)+`..."`)

	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOf(rapid.Byte()).Draw(t, "name"))
		if rapid.Bool().Draw(t, "text") {
			name = rapid.String().Draw(t, "text")
		}
		got := conduct.Quote(name)
		if len(got) > conduct.MaxQuoted || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("Quote(%q) = %q, %d bytes", name, got, len(got))
		}
	})
}

// Members sees what a decoder sees.
func TestMembers(t *testing.T) {
	members := func(object, want string, whole bool) {
		t.Helper()
		var got []string
		ok := conduct.Members([]byte(object), func(name, value []byte) bool {
			got = append(got, string(name)+"="+string(value))
			return string(name) != "stop"
		})
		if s := strings.Join(got, " "); s != want || ok != whole {
			t.Errorf("Members(%s) = %q, %v, want %q, %v", object, s, ok, want, whole)
		}
	}
	members(`{}`, "", true)
	members(` {"a" : 1 , "b":{"a":[2]},"\u0063":"\"x"} `, `a=1 b={"a":[2]} c="\"x"`, true)
	members(`{"a":1,"a":2}`, `a=1 a=2`, true)
	members(`{"stop":1,"a":2}`, `stop=1`, true)
	members(``, "", false)
	members(`null`, "", false)
	members(`[1]`, "", false)
	members(`{"a":1`, "a=1", false)
	members(`{"a"}`, "", false)
	members(`{"a":tru}`, "", false)

	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "object")
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		ok := conduct.Members(text, func(name, value []byte) bool {
			var s string
			if err := json.Unmarshal(value, &s); err != nil || want[string(name)] != s {
				t.Fatalf("Members(%s): %q is %s", text, name, value)
			}
			n++
			return true
		})
		if !ok || n != len(want) {
			t.Fatalf("Members(%s) = %d, %v, want all %d", text, n, ok, len(want))
		}
	})
}
