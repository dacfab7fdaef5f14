package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Long: `Print the version of this binary, the commit it was built from, and the Go it was built with.

A binary that was built from a checkout with changes says "modified".`,
		Example: "  $ safeconduct version\n  safeconduct (devel) 1a2b3c4d5e6f, go1.26.0 linux/amd64",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := buildVersion()
		if *asJSON {
			return writeJSON(c.OutOrStdout(), v)
		}
		commit := v.Commit
		if v.Modified {
			commit += " (modified)"
		}
		if commit != "" {
			commit = " " + commit
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "safeconduct %s%s, %s %s\n", v.Version, commit, v.Go, v.Platform)
		return err
	}
	return c
}

type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String returns what the service says it is.
func (v versionInfo) String() string {
	s := v.Version
	if v.Commit != "" {
		s += " " + v.Commit
	}
	return s
}
