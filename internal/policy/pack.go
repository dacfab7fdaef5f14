package policy

import (
	"embed"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A Pack is a set of policies that comes with the program and that an operator may put beside his own: text,
// which he can read and change, and nothing that holds by itself. It needs the base schema only.
type Pack struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Policies string `json:"policies"` // Cedar: NAME.cedar
	Catalog  string `json:"catalog"`  // what the policies name, to be put into the operator's catalog: NAME.catalog.yaml
	Cases    string `json:"cases"`    // what they decide: NAME.test.yaml, to stand beside NAME.cedar
}

//go:embed packs/*.cedar packs/*.yaml
var packFiles embed.FS

// packs are those there are, by name.
var packs = [...]struct{ name, title string }{
	{"trust", "By the trust that its conduct has earned, an agent acts by itself, asks first, or stops"},
}

// Packs returns the packs, sorted by name.
func Packs() []Pack {
	out := make([]Pack, len(packs))
	for i, p := range packs {
		read := func(suffix string) string {
			b, err := packFiles.ReadFile("packs/" + p.name + suffix)
			if err != nil {
				panic(err) // it was built without its files
			}
			return string(b)
		}
		out[i] = Pack{p.name, p.title, read(".cedar"), read(".catalog.yaml"), read(".test.yaml")}
	}
	return out
}

// PackNamed returns the pack of that name, or authz.ErrNotFound.
func PackNamed(name string) (Pack, error) {
	var names []string
	for _, p := range Packs() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	hint := suggest(name, names)
	if hint == "" {
		hint = "there is " + strings.Join(names, ", ")
	}
	return Pack{}, authz.Errorf(authz.ErrNotFound, "no pack %.64q: %s", name, hint)
}
