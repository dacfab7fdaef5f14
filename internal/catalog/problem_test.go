package catalog_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// All problems of a thoroughly broken document are reported at once, each with its place.
func TestProblemsOfABrokenDocument(t *testing.T) {
	for _, name := range []string{"broken", "broken_conduct", "broken_approvals", "broken_obligations"} {
		t.Run(name, func(t *testing.T) { golden(t, name) })
	}
}

// golden compares the problems of testdata/NAME.yaml with testdata/NAME.golden.
func golden(t *testing.T, name string) {
	text, err := os.ReadFile("testdata/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = catalog.Parse(name+".yaml", text)
	if !errors.Is(err, authz.ErrInvalid) {
		t.Fatalf("Parse = %v, want ErrInvalid", err)
	}
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile("testdata/"+name+".golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/" + name + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	refuse := func(what, text string, line, column int, message string) {
		t.Helper()
		_, err := catalog.Parse("c", []byte(text))
		var p *catalog.Problems
		if !errors.As(err, &p) || !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: Parse = %v, want Problems", what, err)
			return
		}
		q := p.List[0]
		if q.Line != line || q.Column != column || !strings.Contains(q.Message, message) {
			t.Errorf("%s: first problem is %d:%d %q, want %d:%d with %q", what, q.Line, q.Column, q.Message, line, column, message)
		}
	}
	refuse("nothing", "", 0, 0, "empty")
	refuse("only a remark", "# nothing yet\n", 0, 0, "empty")
	refuse("a list", "[1]", 1, 1, "must be an object")
	refuse("a text", "zone", 1, 1, "must be an object")
	refuse("not UTF-8", "zone: UTC\nreasons: \xff", 2, 10, "not UTF-8")
	refuse("a NUL", "zone: U\x00TC", 1, 8, "control character")
	refuse("an open list", "networks:\n  office: [10.0.0.0/8\n", 2, 11, "")
	refuse("two documents", "zone: UTC\n---\nzone: UTC\n", 3, 1, "second document")
	refuse("a merge key", "types: &t {a: {}}\nreasons: {<<: *t}\n", 2, 11, "merge keys")
	refuse("a tag", "zone: !!str UTC", 1, 7, "tags")
	refuse("a key that is a list", "? [a]\n: b\n", 2, 1, "")
	refuse("a key that is an alias", "zone: &a UTC\n*a : b\n", 2, 1, "plain text")
	refuse("a forward alias", "types: *t\nreasons: &t {}\n", 1, 8, "no anchor")
	refuse("an alias within itself", "types: &t {a: *t}\n", 1, 15, "no anchor")
	refuse("an anchor written twice", "zone: &a UTC\ndefault_class: &a public\n", 2, 16, "twice")
	refuse("one key twice", "zone: UTC\nzone: UTC\n", 2, 1, "first in line 1")
	refuse("one key twice, deep", "entities: [{type: a, id: b, properties: {x: 1, y: {z: 1, z: 2}}}]", 1, 58, "twice")
	refuse("an unknown key", "zoen: UTC", 1, 1, `did you mean "zone"?`)
	refuse("too deep in brackets", "zone: "+strings.Repeat("[", 40)+strings.Repeat("]", 40), 1, 39, "nested deeper")
	refuse("a million brackets", "zone: "+strings.Repeat("[", 1<<18), 1, 39, "nested deeper")
	refuse("a million dashes", strings.Repeat("- ", 1<<18), 1, 129, "nested deeper")
	refuse("too deep by indentation", deep(100), 33, 33, "nested deeper")
	refuse("a crowd", "reasons:\n"+strings.Repeat("  a: 1\n", 1<<14), 14143, 4, "too many members")
	refuse("a crowd behind anchors", strings.Repeat("&a k: 1\n", 1<<14), 14142, 5, "too many members")
	refuse("a crowd in one element", "a:\n- x: 1\n"+strings.Repeat("  b:\n    - 1\n", 1<<14), 28285, 4, "too many members")
	refuse("too large", "# "+strings.Repeat("x", 5<<20), 0, 0, "bytes")
	refuse("a file of Windows with a slip", "zone: UTC\r\nzoen: UTC\r\n", 2, 1, "did you mean")
}

func deep(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// Nine aliases of nine aliases of nine ... are refused before anything follows them.
func TestAliasesCannotExplode(t *testing.T) {
	var b strings.Builder
	b.WriteString("types:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 20; i++ {
		p := "*a" + string(rune('a'+i-1))
		if i == 1 {
			p = "*a0"
		}
		b.WriteString("  k" + string(rune('a'+i)) + ": &a" + string(rune('a'+i)) + " [" + strings.TrimSuffix(strings.Repeat(p+", ", 9), ", ") + "]\n")
	}
	_, err := catalog.Parse("laughs", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "aliases make the document too large") {
		t.Errorf("Parse = %v, want a refusal of the aliases", err)
	}
}

// A document with more problems than anybody reads ends early and says so.
func TestProblemsAreBounded(t *testing.T) {
	text := "reasons:\n"
	for i := range 300 {
		text += "  r" + strings.Repeat("x", i%50) + strings.Repeat("y", i/50) + ": {}\n"
	}
	_, err := catalog.Parse("many", []byte(text))
	var p *catalog.Problems
	if !errors.As(err, &p) || len(p.List) != 100 || !p.More {
		t.Fatalf("Parse = %.200v, want a hundred problems and a word that there are more", err)
	}
	if !strings.HasSuffix(err.Error(), "there are more problems than these 100") {
		t.Errorf("the error ends with %q", err.Error()[len(err.Error())-80:])
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"../../docs/catalog.md", "testdata/broken.yaml", "testdata/broken_conduct.yaml", "testdata/broken_approvals.yaml", "testdata/broken_obligations.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range append(examples(string(text)), string(text)) {
			f.Add([]byte(e))
		}
	}
	f.Add([]byte(`{"zone": "UTC", "entities": [{"type": "user", "id": "a\u00e9", "properties": {"n": -0.5, "b": [true, null]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := catalog.Parse("fuzz", text)
		if err != nil {
			var p *catalog.Problems
			if !errors.As(err, &p) || len(p.List) == 0 || p.Error() == "" {
				t.Fatalf("Parse = %v, want Problems", err)
			}
			for _, q := range p.List {
				if q.Line < 0 || q.Message == "" || q.Line > len(text)+1 {
					t.Errorf("problem %+v has no place or message", q)
				}
			}
			return
		}
		exercise(t, c)
	})
}
