// Package safeconduct_test holds the house to its plan: it reads the tables of ARCHITECTURE.md and
// compares them with the imports of every Go file of the module.
package safeconduct_test

import (
	"bufio"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/safeconduct/safeconduct"

// A room is one row of the table of rooms.
type room struct {
	floor  int
	lives  string
	allows []string
}

// A pkg is what the Go files of one directory say.
type pkg struct {
	name    string
	doc     bool
	imports map[string]string // of ordinary files: path to the first file that has it
	tests   map[string]string // of test files, likewise
}

// plan is what ARCHITECTURE.md says.
type plan struct {
	rooms    map[string]room     // by path below the module
	modules  map[string][]string // third-party module to the rooms it lives behind
	forTests map[string]bool     // modules that only tests may import
}

func TestArchitecture(t *testing.T) {
	p := readPlan(t, "ARCHITECTURE.md")
	for _, d := range deviations(p, packages(t, "."), directRequirements(t, "go.mod")) {
		t.Error(d)
	}
}

// TestDeviations feeds the comparison with what it must notice.
func TestDeviations(t *testing.T) {
	p := plan{
		rooms: map[string]room{
			"authz":          {floor: 1, lives: "words"},
			"internal/audit": {floor: 2, lives: "log", allows: []string{"authz"}},
			"internal/gone":  {floor: 2, lives: "nothing any more"},
			"internal/up":    {floor: 2, lives: "looks up", allows: []string{"internal/audit"}},
		},
		modules:  map[string][]string{"example.org/x": {"internal/audit"}, "example.org/stale": {"authz"}},
		forTests: map[string]bool{"example.org/cmp": true},
	}
	ours := func(s string) string { return modulePath + "/" + s }
	real := map[string]pkg{
		"authz": {name: "authz", doc: true, imports: map[string]string{
			"fmt": "a.go", ours("internal/audit"): "a.go", "example.org/x/sub": "a.go",
		}},
		"internal/audit": {name: "audit", imports: map[string]string{
			ours("authz"): "b.go", "example.org/x": "b.go", "example.org/cmp": "b.go",
		}, tests: map[string]string{"example.org/cmp/opts": "b_test.go", ours("internal/up"): "b_test.go"}},
		"internal/up": {name: "up", doc: true, imports: map[string]string{
			ours("internal/audit"): "c.go", "example.org/xy": "c.go",
		}},
		"internal/util": {name: "util", doc: true},
	}
	want := []string{
		`a.go: authz imports internal/audit; its row allows nothing`,
		`a.go: authz imports example.org/x/sub; module example.org/x lives behind internal/audit`,
		`b.go: internal/audit imports example.org/cmp outside tests; it is listed for tests only`,
		`internal/audit has no package comment`,
		`internal/up (floor 2) may import internal/audit (floor 2): imports go down`,
		`c.go: internal/up imports example.org/xy, of no listed module`,
		`internal/util: a package named "util" says nothing; name it after what it holds`,
		`internal/util is in no row of the table of rooms`,
		`internal/gone is in the table of rooms, and there is no such package`,
		`example.org/extra is required by go.mod and in neither table of dependencies`,
		`example.org/stale is in the table of dependencies, and go.mod does not require it directly`,
		`example.org/stale is said to live behind authz, which does not import it`,
	}
	required := []string{"example.org/x", "example.org/cmp", "example.org/extra"}
	got := deviations(p, real, required)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("deviations:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// deviations lists, readably, how the real packages and requirements differ from the plan.
func deviations(p plan, real map[string]pkg, required []string) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	seen := map[string]bool{} // "module room" pairs that exist
	for _, dir := range sorted(real) {
		k := real[dir]
		r, ok := p.rooms[dir]
		if !ok {
			say("%s is in no row of the table of rooms", dir)
		}
		if slices.Contains(emptyNames, path.Base(dir)) || slices.Contains(emptyNames, k.name) {
			say("%s: a package named %q says nothing; name it after what it holds", dir, k.name)
		}
		if k.name != "" && !k.doc {
			say("%s has no package comment", dir)
		}
		for _, imp := range sorted(k.imports) {
			file := k.imports[imp]
			if rel, ours := strings.CutPrefix(imp, modulePath+"/"); ours {
				if ok && !slices.Contains(r.allows, rel) {
					say("%s: %s imports %s; its row allows %s", file, dir, rel, list(r.allows))
				}
				continue
			}
			if standard(imp) {
				continue
			}
			m, rooms := p.module(imp)
			switch {
			case m == "":
				say("%s: %s imports %s, of no listed module", file, dir, imp)
			case rooms == nil:
				say("%s: %s imports %s outside tests; it is listed for tests only", file, dir, imp)
			case !slices.Contains(rooms, dir):
				say("%s: %s imports %s; module %s lives behind %s", file, dir, imp, m, list(rooms))
			}
			seen[m+" "+dir] = true
		}
		for _, imp := range sorted(k.tests) {
			if m, _ := p.module(imp); m == "" && !standard(imp) && !strings.HasPrefix(imp, modulePath) {
				say("%s: the tests of %s import %s, of no listed module", k.tests[imp], dir, imp)
			}
		}
	}
	for _, dir := range sorted(p.rooms) {
		r := p.rooms[dir]
		if _, ok := real[dir]; !ok {
			say("%s is in the table of rooms, and there is no such package", dir)
		}
		if r.lives == "" {
			say("%s: its row does not say what lives there", dir)
		}
		for _, a := range r.allows {
			below, ok := p.rooms[a]
			if !ok {
				say("%s may import %s, which is in no row of the table of rooms", dir, a)
			} else if below.floor >= r.floor {
				say("%s (floor %d) may import %s (floor %d): imports go down", dir, r.floor, a, below.floor)
			}
		}
	}
	for _, m := range required {
		if p.modules[m] == nil && !p.forTests[m] {
			say("%s is required by go.mod and in neither table of dependencies", m)
		}
	}
	for _, m := range sorted(p.modules) {
		if !slices.Contains(required, m) {
			say("%s is in the table of dependencies, and go.mod does not require it directly", m)
		}
		for _, dir := range p.modules[m] {
			if !seen[m+" "+dir] {
				say("%s is said to live behind %s, which does not import it", m, dir)
			}
		}
	}
	for _, m := range sorted(p.forTests) {
		if !slices.Contains(required, m) {
			say("%s is in the table of dependencies for tests, and go.mod does not require it directly", m)
		}
	}
	return out
}

// emptyNames are the names that hold anything and so say nothing.
var emptyNames = []string{
	"util", "utils", "common", "manager", "types", "models", "model", "helpers", "helper",
	"misc", "service", "impl", "shared", "lib", "core",
}

// module returns the longest listed module that provides the import path, and the rooms it lives
// behind: nil if only tests may import it.
func (p plan) module(imp string) (string, []string) {
	best := ""
	provides := func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }
	for m := range p.modules {
		if provides(m) && len(m) > len(best) {
			best = m
		}
	}
	for m := range p.forTests {
		if provides(m) && len(m) > len(best) {
			best = m
		}
	}
	return best, p.modules[best]
}

// standard reports whether imp belongs to the standard library.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

// packages parses the imports of every package below root. Directories that are modules of their
// own, test data and what the go command ignores are left out; build constraints are not heeded.
func packages(t *testing.T, root string) map[string]pkg {
	t.Helper()
	out := map[string]pkg{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := e.Name()
		if e.IsDir() {
			if name == root {
				return nil
			}
			_, noModule := os.Stat(filepath.Join(name, "go.mod"))
			if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
				base == "testdata" || base == "node_modules" || noModule == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		test := strings.HasSuffix(base, "_test.go")
		if dir == "." && test {
			return nil // this file
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		k, ok := out[dir]
		if !ok {
			k = pkg{imports: map[string]string{}, tests: map[string]string{}}
		}
		into := k.tests
		if !test {
			into, k.name = k.imports, f.Name.Name
			k.doc = k.doc || f.Doc != nil
		}
		for _, s := range f.Imports {
			imp, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				return fmt.Errorf("reading imports of %s: %w", name, err)
			}
			if _, ok := into[imp]; !ok {
				into[imp] = filepath.ToSlash(name)
			}
		}
		out[dir] = k
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// directRequirements returns the modules that go.mod requires and does not mark as indirect.
func directRequirements(t *testing.T, name string) []string {
	t.Helper()
	var out []string
	for _, line := range lines(t, name) {
		f := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(f) >= 2 && strings.HasPrefix(f[1], "v") && strings.Contains(f[0], ".") &&
			!strings.HasSuffix(line, "// indirect") {
			out = append(out, f[0])
		}
	}
	return out
}

// readPlan reads the three tables of the document, known by the headings they stand under.
func readPlan(t *testing.T, name string) plan {
	t.Helper()
	p := plan{rooms: map[string]room{}, modules: map[string][]string{}, forTests: map[string]bool{}}
	heading := ""
	for i, line := range lines(t, name) {
		if strings.HasPrefix(line, "#") {
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
			continue
		}
		cells := row(line)
		if len(cells) == 0 {
			continue
		}
		switch heading {
		case "Rooms":
			names := quoted(cells[1])
			floor, err := strconv.Atoi(cells[0])
			if len(cells) != 4 || len(names) != 1 || err != nil {
				t.Fatalf("%s:%d: want | floor | `package` | what lives there | may import |", name, i+1)
			}
			if _, twice := p.rooms[names[0]]; twice {
				t.Fatalf("%s:%d: %s has two rows", name, i+1, names[0])
			}
			p.rooms[names[0]] = room{floor: floor, lives: cells[2], allows: quoted(cells[3])}
		case "Dependencies":
			names := quoted(cells[0])
			if len(cells) != 3 || len(names) != 1 || len(quoted(cells[1])) == 0 || cells[2] == "" {
				t.Fatalf("%s:%d: want | `module` | `package` | why |", name, i+1)
			}
			p.modules[names[0]] = quoted(cells[1])
		case "Dependencies of tests":
			names := quoted(cells[0])
			if len(cells) != 2 || len(names) != 1 || cells[1] == "" {
				t.Fatalf("%s:%d: want | `module` | why |", name, i+1)
			}
			p.forTests[names[0]] = true
		}
	}
	if len(p.rooms) == 0 || len(p.modules) == 0 {
		t.Fatalf("%s: no table of rooms or of dependencies found", name)
	}
	return p
}

// row returns the cells of a table's row that names something in backquotes, nil for other lines.
func row(line string) []string {
	if !strings.HasPrefix(line, "|") || !strings.Contains(line, "`") {
		return nil
	}
	cells := strings.Split(strings.Trim(line, "| "), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// quoted returns what stands between backquotes in s.
func quoted(s string) []string {
	var out []string
	for i, part := range strings.Split(s, "`") {
		if i%2 == 1 {
			out = append(out, part)
		}
	}
	return out
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		out = append(out, s.Text())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
