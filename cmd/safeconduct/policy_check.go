package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/server"
)

func newPolicyCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [POLICY...]",
		Short: "Check policies against their schema and catalog",
		Long: `Check policies as the service does before it accepts them: syntax, types against the schema, and
every annotation, obligation and reason against the catalog. Every problem is told at once, with
its file, line and column, and with warnings of what can be published but was hardly meant: a policy
that has expired, or that nothing can satisfy. Nothing is asked over the network.

The files are those of the organisation in ` + configName + `, or of another --config, unless policies
are named. The exit status is 1 if there is a problem that stands in the way of publication.`,
		Example: `  $ safeconduct policy check --config examples/agentdojo
  32 policies, no problems`,
	}
	src, asJSON := addSourceFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := src.read(args)
		if err != nil {
			return err
		}
		r, err := d.check()
		if err != nil {
			return err
		}
		if *asJSON {
			if err := writeJSON(c.OutOrStdout(), r); err != nil {
				return err
			}
		} else {
			fmt.Fprint(c.OutOrStdout(), (&policy.Problems{List: r.Problems}).String())
			fmt.Fprintln(c.OutOrStdout(), r.summary())
		}
		if !r.OK {
			return exit(1)
		}
		return nil
	}
	return c
}

// A checked is the outcome of a check.
type checked struct {
	OK       bool             `json:"ok"`
	Policies int              `json:"policies"`
	Problems []policy.Problem `json:"problems"`
}

func (r *checked) summary() string {
	errs := 0
	for _, p := range r.Problems {
		if p.Severity == policy.SeverityError {
			errs++
		}
	}
	if len(r.Problems) == 0 {
		return plural(r.Policies, "policy", "policies") + ", no problems"
	}
	return plural(errs, "problem", "problems") + ", " + plural(len(r.Problems)-errs, "warning", "warnings")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// check checks the catalog, and the policies against it.
func (d *declared) check() (*checked, error) {
	r := &checked{OK: true, Problems: []policy.Problem{}}
	var cat *catalog.Catalog
	if d.Catalog != nil {
		var err error
		if cat, err = catalog.Parse(d.CatalogName, d.Catalog); err != nil {
			var ps *catalog.Problems
			if !errors.As(err, &ps) {
				return nil, err
			}
			r.OK = false
			for _, p := range ps.List {
				r.Problems = append(r.Problems, policy.Problem{File: ps.Name, Line: p.Line, Column: p.Column, Message: p.Message})
			}
			return r, nil
		}
	}
	if d.Source == nil {
		return r, nil
	}
	ps := policy.Check(*d.Source, cat, time.Now())
	r.Problems = append(r.Problems, server.Located(ps.List, d.SchemaName, d.CatalogName)...)
	if r.OK = !ps.HasErrors(); r.OK {
		set, err := policy.Compile(*d.Source, cat)
		if err != nil {
			return nil, err
		}
		r.Policies = set.Len()
	}
	return r, nil
}
