package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func newPolicyTest() *cobra.Command {
	c := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run the cases that say what policies must decide",
		Long: `Run cases: files (*.test.yaml, or txtar archives that hold some) that name policies, a schema and a
catalog, and say for each of some requests what the decision must be. It is told which cases fail
and how, and which policies fire in no case.

Nothing is asked over the network. The exit status is 1 if a case fails, or with --covered if a
policy fires in no case.`,
		Example: `  $ safeconduct policy test examples/agentdojo/organisation.test.yaml
  58 of 58 cases passed; 32 of 32 policies fired`,
		Args: cobra.MinimumNArgs(1),
	}
	asJSON := jsonFlag(c)
	covered := c.Flags().Bool("covered", false, "fail if a policy fires in no case")
	verbose := c.Flags().BoolP("verbose", "v", false, "name the cases that pass, too")
	c.RunE = func(c *cobra.Command, args []string) error {
		all := &policy.CaseReport{Cases: []policy.CaseResult{}, Coverage: []policy.Coverage{}}
		var errs []error
		for _, name := range args {
			fsys, local, prefix, err := locate(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			r, err := policy.RunCases(fsys, local)
			if err != nil {
				errs = append(errs, err)
			}
			if r != nil {
				for i := range r.Cases {
					r.Cases[i].File = prefix + r.Cases[i].File
				}
				for i := range r.Coverage {
					r.Coverage[i].File = prefix + r.Coverage[i].File
				}
				all.Cases = append(all.Cases, r.Cases...)
				all.Coverage = append(all.Coverage, r.Coverage...)
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		w := c.OutOrStdout()
		if *asJSON {
			if err := writeJSON(w, all); err != nil {
				return err
			}
		} else {
			if *verbose {
				for _, r := range all.Cases {
					if r.Passed {
						fmt.Fprint(w, r.String())
					}
				}
			}
			fmt.Fprint(w, all.String())
		}
		if all.Failed() > 0 || *covered && len(all.Unfired()) > 0 {
			return exit(1)
		}
		return nil
	}
	return c
}

// locate returns a file system, the file's name in it, and what stands before names in it: the current
// directory if the file is below it, else the whole disk, so that cases may name files beside theirs.
func locate(name string) (fsys fs.FS, local, prefix string, err error) {
	name = filepath.Clean(name)
	if filepath.IsLocal(name) {
		return os.DirFS("."), filepath.ToSlash(name), "", nil
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, "", "", err
	}
	root := filepath.VolumeName(abs) + string(filepath.Separator)
	return os.DirFS(root), filepath.ToSlash(abs[len(root):]), filepath.ToSlash(root), nil
}
