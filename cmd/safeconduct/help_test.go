package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// Every command says what it is for in two paragraphs or more, shows an example, and can print JSON.
func TestHelp(t *testing.T) {
	noJSON := []string{"safeconduct", "safeconduct completion", "safeconduct help"}
	each(newRoot(), func(c *cobra.Command) {
		path := c.CommandPath()
		if strings.HasPrefix(path, "safeconduct completion") || strings.HasPrefix(path, "safeconduct help") {
			return // cobra's own
		}
		if c.Short == "" || c.Example == "" || strings.Count(c.Long, "\n\n") < 1 {
			t.Errorf("%s: short %q, long %q, example %q; want all, and two paragraphs", path, c.Short, c.Long, c.Example)
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short text ends with a full stop: %q", path, c.Short)
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 108 {
				t.Errorf("%s: a line of %d columns: %s", path, n, line)
			}
		}
		if !c.HasSubCommands() && !slices.Contains(noJSON, path) && c.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", path)
		}
	})
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"a\x1b[31mb", 20, "a [31mb"},
		{"a\u202eb\u0085\nc", 20, "a b  c"},
		{"", 3, ""},
	} {
		if got := clip(c.in, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
