package signin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What shows as nothing, or turns the direction of a text, is written out by the pages.
func TestPlain(t *testing.T) {
	b := newBrowser(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/safeconduct.js" {
			http.ServeFile(w, r, "web/safeconduct.js")
			return
		}
		fmt.Fprint(w, `<!doctype html><body data-base=""><script type="module">
			import { plain } from "/safeconduct.js";
			window.plain = plain;
			document.body.dataset.ready = "";
		</script>`)
	}))
	t.Cleanup(srv.Close)
	b.run("a page", visit(srv.URL), visible("body[data-ready]"))

	in, want := []string{"a\n\tb ünd 日本 ☃ \U0001f600"}, []string{"a\n\tb ünd 日本 ☃ \U0001f600"}
	for _, r := range []rune{0x1b, 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180c, 0x180d, 0x180e, 0x200b, 0x2028, 0x202e, 0x2060, 0x2066, 0x2800,
		0x3164, 0xe000, 0xfe00, 0xfe0f, 0xfeff, 0xffa0, 0xfff0, 0x1d159, 0xe0041, 0xe0100, 0xe01ef, 0xe0fff} {
		in, want = append(in, fmt.Sprintf("a%cb", r)), append(want, fmt.Sprintf(`a\u{%x}b`, r))
	}
	texts, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal([]byte(see[string](b, fmt.Sprintf("JSON.stringify(%s.map(plain))", texts))), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is shown (-want +got):\n%s", diff)
	}
}
