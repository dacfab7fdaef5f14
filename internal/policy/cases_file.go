package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A caseFile is one file of cases: what they are judged by, and the cases, not yet read.
type caseFile struct {
	name   string
	source Source
	cat    *catalog.Catalog
	set    *Set
	agents map[string]*authz.Agent
	cases  []*branch // laid over the defaults

	conduct map[string]authz.Conduct // of agents, where the file says something of it
}

// openCases reads a file of cases and compiles what it refers to. A txtar archive may hold several.
func openCases(fsys fs.FS, name string) ([]*caseFile, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%w", err)
	}
	if !strings.HasSuffix(name, ".txtar") && !strings.HasSuffix(name, ".txt") {
		c, err := readCaseFile(fsys, name, path.Dir(name), text, nil)
		if err != nil {
			return nil, err
		}
		return []*caseFile{c}, nil
	}
	archive := txtar.Parse(text)
	inner, err := txtar.FS(archive)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%s: %w", name, err)
	}
	both := layered{inner, fsys, path.Dir(name)}
	var out []*caseFile
	for _, f := range archive.Files {
		if !isCases(f.Name) {
			continue
		}
		c, err := readCaseFile(both, f.Name, path.Dir(f.Name), f.Data, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.name = name + "/" + c.name
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "%s: the archive holds no *.test.yaml", name)
	}
	return out, nil
}

// isCases reports whether a file of that name holds cases.
func isCases(name string) bool {
	return strings.HasSuffix(name, ".test.yaml") || strings.HasSuffix(name, ".test.yml") || strings.HasSuffix(name, ".test.json")
}

// layered looks into an archive first, then beside it.
type layered struct {
	inner, outer fs.FS
	dir          string
}

func (l layered) Open(name string) (fs.File, error) {
	f, err := l.inner.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l.outer.Open(path.Join(l.dir, name))
	}
	return f, err
}

// readCaseFile reads one YAML document of cases. Names in it are relative to dir. If a set is given it
// judges them, and what the document itself names is not looked at.
func readCaseFile(fsys fs.FS, name, dir string, text []byte, set *Set) (*caseFile, error) {
	c := &caseFile{name: name, agents: make(map[string]*authz.Agent), conduct: make(map[string]authz.Conduct)}
	place := func(err error) error { return placed(name, err) }
	root, err := readTree(text)
	if err != nil {
		return nil, place(err)
	}
	r := new(reader)
	var policies, schema, cat, defaults, cases, table *branch
	keep := func(at **branch) func(*branch) { return func(b *branch) { *at = b } }
	r.members(root, "the file", map[string]func(*branch){
		"policies": keep(&policies), "schema": keep(&schema), "catalog": keep(&cat),
		"defaults": keep(&defaults), "cases": keep(&cases), "table": keep(&table),
		"agents": func(b *branch) {
			if b.kind != mapBranch {
				r.fail(b.errorf("agents is %s, want a map of ids", b.kind))
			}
			for _, f := range b.fields {
				c.agents[f.key], c.conduct[f.key] = r.agent(f.key, f.value)
			}
		},
	})
	if set != nil {
		c.cases = r.cases(root, defaults, cases, table)
		c.source, c.cat, c.set = set.source, set.cat, set
		return c, placed(name, r.err())
	}
	if policies == nil {
		r.fail(root.errorf("no policies: name the files, or write them here"))
	} else {
		c.source.Files = r.policyFiles(fsys, dir, policies)
	}
	if schema != nil {
		c.source.Schema = r.document(fsys, dir, schema, "schema").Text
	}
	catText := File{Name: "catalog.yaml", Text: "{}"}
	if cat != nil && cat.kind == mapBranch {
		catText.Text = string(cat.json())
	} else if cat != nil {
		catText = r.document(fsys, dir, cat, "catalog")
	}
	c.cases = r.cases(root, defaults, cases, table)
	if err := r.err(); err != nil {
		return nil, place(err)
	}
	if c.cat, err = catalog.Parse(catText.Name, []byte(catText.Text)); err != nil {
		return nil, fmt.Errorf("%s: catalog: %w", name, err)
	}
	if c.set, err = Compile(c.source, c.cat); err != nil {
		return nil, fmt.Errorf("%s: policies:\n%w", name, err)
	}
	return c, nil
}

// placed puts the name of the file before every fault.
func placed(name string, err error) error {
	var out []error
	for _, e := range flatten(err) {
		var f *caseFault
		if errors.As(e, &f) {
			out = append(out, fmt.Errorf("%s:%w", name, f))
		} else {
			out = append(out, fmt.Errorf("%s: %w", name, e))
		}
	}
	return errors.Join(out...)
}

// document reads a text that is given by the name of its file, or written out.
func (r *reader) document(fsys fs.FS, dir string, b *branch, what string) File {
	text := r.text(b, what)
	if strings.ContainsAny(text, "\n;{") {
		return File{Name: what, Text: text}
	}
	name := path.Join(dir, text)
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		r.fail(b.errorf("%s: %v", what, err))
	}
	return File{Name: name, Text: string(data)}
}

// policyFiles reads one text or file of policies, or a list of them; a name may be a pattern.
func (r *reader) policyFiles(fsys fs.FS, dir string, b *branch) []File {
	list := b.items
	if b.kind != listBranch {
		list = []*branch{b}
	}
	var out []File
	for n, item := range list {
		text := r.text(item, "policies")
		if strings.ContainsAny(text, "\n;{(") {
			out = append(out, File{Name: fmt.Sprintf("policies-%d.cedar", n+1), Text: text})
			continue
		}
		names, err := fs.Glob(fsys, path.Join(dir, text))
		if len(names) == 0 || err != nil {
			names = []string{path.Join(dir, text)}
		}
		for _, name := range names {
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				r.fail(item.errorf("policies: %v", err))
			}
			out = append(out, File{Name: name, Text: string(data)})
		}
	}
	return out
}

// cases lays every case, and every row of the table, over the defaults.
func (r *reader) cases(root, defaults, cases, table *branch) []*branch {
	base := &branch{kind: mapBranch}
	open := func(b *branch) *branch {
		if b.kind != mapBranch {
			r.fail(b.errorf("a case is %s, want a map", b.kind))
			return base
		}
		out, err := b.unfold()
		if err != nil {
			r.fail(err)
			return base
		}
		if e := out.field("expect"); e != nil && e.kind == stringBranch { // expect: allow
			short := &branch{line: e.line, column: e.column, kind: mapBranch, fields: []field{{"outcome", e.line, e.column, e}}}
			for i := range out.fields {
				if out.fields[i].key == "expect" {
					out.fields[i].value = short
				}
			}
		}
		return out
	}
	if defaults != nil {
		base = open(defaults)
	}
	var out []*branch
	if cases != nil {
		if cases.kind != listBranch {
			r.fail(cases.errorf("cases is %s, want a list", cases.kind))
		}
		for _, item := range cases.items {
			out = append(out, open(item).over(base))
		}
	}
	if table != nil {
		for _, item := range r.rows(table) {
			out = append(out, open(item).over(base))
		}
	}
	if len(out) == 0 {
		r.fail(root.errorf("no cases"))
	}
	return out
}

// rows turns a table into one map a row. A cell that is null leaves the default.
func (r *reader) rows(table *branch) []*branch {
	var columns, rows *branch
	r.members(table, "table", map[string]func(*branch){
		"columns": func(b *branch) { columns = b },
		"rows":    func(b *branch) { rows = b },
	})
	if columns == nil || rows == nil || columns.kind != listBranch || rows.kind != listBranch {
		r.fail(table.errorf("a table has columns, a list of names, and rows, a list of lists"))
		return nil
	}
	names := r.texts(columns, "columns")
	var out []*branch
	for _, row := range rows.items {
		if row.kind != listBranch || len(row.items) != len(names) {
			r.fail(row.errorf("this row has %d cells, want %d", len(row.items), len(names)))
			continue
		}
		m := &branch{line: row.line, column: row.column, kind: mapBranch}
		for i, cell := range row.items {
			if m.field(names[i]) != nil {
				r.fail(columns.errorf("column %q is given twice", names[i]))
			} else if cell.kind != nullBranch {
				m.fields = append(m.fields, field{names[i], cell.line, cell.column, cell})
			}
		}
		out = append(out, m)
	}
	return out
}
