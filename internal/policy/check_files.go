package policy

import (
	"errors"
	"io/fs"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Check returns everything that is wrong with src, or looks wrong: what Compile would refuse, and
// warnings besides, those included that depend on the date. The list may be empty and is never nil.
func Check(src Source, cat *catalog.Catalog, now time.Time) *Problems {
	d := compile(src, cat)
	if c := d.checker; c != nil {
		c.now = now
		c.review(d.rules)
		d.problems.sort(fileOrder(src))
	}
	return d.problems
}

// CheckFiles is Check for files: of policies, of the schema ("" for none) and of the catalog ("" for
// none), by their names in fsys. What is wrong with the catalog is among the problems.
func CheckFiles(fsys fs.FS, policies []string, schema, catalogName string, now time.Time) *Problems {
	ps := new(Problems)
	read := func(name string) string {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			ps.add(Problem{File: name, Message: err.Error()})
		}
		return string(text)
	}
	var src Source
	for _, name := range policies {
		src.Files = append(src.Files, File{Name: name, Text: read(name)})
	}
	if schema != "" {
		src.Schema = read(schema)
	}
	catText := "{}"
	if catalogName != "" {
		catText = read(catalogName)
	}
	if ps.HasErrors() {
		return ps
	}
	cat, err := catalog.Parse(catalogName, []byte(catText))
	if err != nil {
		var bad *catalog.Problems
		if !errors.As(err, &bad) {
			ps.add(Problem{File: catalogName, Message: err.Error()})
			return ps
		}
		for _, p := range bad.List {
			ps.add(Problem{File: catalogName, Line: p.Line, Column: p.Column, Message: p.Message})
		}
		return ps // policies would be blamed for what the catalog does not declare
	}
	out := Check(src, cat, now)
	for i, p := range out.List { // under the names of the files they were read from
		switch p.File {
		case schemaFile:
			out.List[i].File = schema
		case catalogFile:
			out.List[i].File = catalogName
		}
	}
	return out
}

// fileOrder returns the names of src's texts in the order in which problems are told.
func fileOrder(src Source) []string {
	names := []string{schemaFile, catalogFile}
	for _, f := range src.Files {
		names = append(names, f.Name)
	}
	return names
}
