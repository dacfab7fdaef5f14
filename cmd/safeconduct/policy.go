package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/server"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Check, test and publish policies",
		Long: `Check, test and publish policies.

Policies are Cedar, with a schema that extends Safeconduct's base schema and a catalog of what the
organisation declares. One version number covers the three. Published versions never change; a
rollback publishes the texts of an older one again. The switch is one entry of the log, so that
every replica decides by the same version from the same entry on.`,
		Example: `  $ safeconduct policy check && safeconduct policy test *.test.yaml
  $ safeconduct policy publish --why "payees come from the person"`,
	}
	c.AddCommand(newPolicyCheck(), newPolicyTest(), newPolicyPublish(), newPolicyList(), newPolicyShow(), newPolicyDiff(), newPolicyBacktest(), newPolicyRollback(), newPolicySchema(), newPolicyPack())
	return c
}

// A version is a published version as the API shows it.
type version struct {
	Number  int64     `json:"version"`
	Author  string    `json:"author"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

type versionText struct {
	version
	Source  policy.Source `json:"source"`
	Catalog string        `json:"catalog"`
}

type versionList struct {
	Items  []version `json:"items"`
	Active int64     `json:"active"`
	Next   int64     `json:"next,omitempty"`
}

func newPolicyPublish() *cobra.Command {
	c := &cobra.Command{
		Use:   "publish [POLICY...]",
		Short: "Publish policies and their catalog as a new version",
		Long: `Publish policies, their schema and their catalog as a new version, and make it active. They are
checked here first, and by the service again; nothing is published if a problem is found, and every
problem is told with its file, line and column. Warnings are told too, and do not stand in the way.

The files are those of the organisation in ` + configName + `, or of another --config, unless policies
are named. What is not named at all stays as the active version has it. If somebody publishes
meanwhile, nothing is changed and the command fails.`,
		Example: `  $ safeconduct policy publish --config examples/agentdojo --why "first version"
  version 1 is active`,
	}
	conn, src, asJSON, why := connectFlags(c), addSourceFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := src.read(args)
		if err != nil {
			return err
		}
		return publish(c, conn, d, *why, *asJSON)
	}
	return c
}

// publish checks what is declared and publishes it over the version that is active now.
func publish(c *cobra.Command, conn *connection, d *declared, why string, asJSON bool) error {
	if d.Source == nil && d.Catalog == nil {
		return usageError{errors.New("there is nothing to publish")}
	}
	if d.Source != nil && d.Catalog != nil { // else the other part is the service's
		r, err := d.check()
		if err != nil {
			return err
		}
		if !r.OK {
			return &problems{r}
		}
	}
	api, err := conn.open()
	if err != nil {
		return err
	}
	if err := d.checkBy(c, api); err != nil {
		return err
	}
	var have versionList
	if err := api.call(c.Context(), "GET", "/v1/policies?limit=1", nil, &have); err != nil {
		return err
	}
	in := struct {
		Source    *policy.Source `json:"source,omitempty"`
		Catalog   string         `json:"catalog,omitempty"`
		IfVersion int64          `json:"if_version"`
		Why       string         `json:"why"`
	}{d.Source, string(d.Catalog), have.Active, why}
	var v version
	if err := api.call(c.Context(), "POST", "/v1/policies", in, &v); err != nil {
		return err
	}
	return sayVersion(c, &v, asJSON)
}

// checkBy lets the service check what is declared, with what is active in the place of what is not. It
// prints warnings as talk; problems are its error.
func (d *declared) checkBy(c *cobra.Command, api *remote) error {
	in := struct {
		Source  *policy.Source `json:"source,omitempty"`
		Catalog string         `json:"catalog,omitempty"`
	}{d.Source, string(d.Catalog)}
	var r checked
	if err := api.call(c.Context(), "POST", "/v1/policies/check", in, &r); err != nil {
		return err
	}
	r.Problems = server.Located(r.Problems, d.SchemaName, d.CatalogName)
	if !r.OK {
		return &problems{&r}
	}
	_, err := fmt.Fprint(c.ErrOrStderr(), (&policy.Problems{List: r.Problems}).String())
	return err
}

// sayVersion says which version is active now.
func sayVersion(c *cobra.Command, v *version, asJSON bool) error {
	if asJSON {
		return writeJSON(c.OutOrStdout(), v)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "version %d is active\n", v.Number)
	return err
}

// problems is the error of files that cannot be published.
type problems struct{ *checked }

func (p *problems) Error() string {
	ps := policy.Problems{List: p.Problems}
	return p.summary() + "\n" + ps.Error()
}

func newPolicyList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the published versions, newest first",
		Long: `List the published versions, newest first, with who published them and why.

The first is the active one: a rollback publishes an older version again, under a new number.`,
		Example: `  $ safeconduct policy list
  VERSION  PUBLISHED             AUTHOR  MESSAGE
  1        2026-11-23 16:00:00Z  config  declared by the configuration`,
		Args: cobra.NoArgs,
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	limit := c.Flags().Int("limit", 20, "at most `N` versions")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := conn.open()
		if err != nil {
			return err
		}
		var all versionList
		if err := api.call(c.Context(), "GET", query("/v1/policies", "limit", strconv.Itoa(*limit)), nil, &all); err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(c.OutOrStdout(), all)
		}
		t := newTable("VERSION", "PUBLISHED", "AUTHOR", "MESSAGE")
		for _, v := range all.Items {
			t.add(fmt.Sprint(v.Number), when(v.At), clip(v.Author, 30), clip(v.Message, 80))
		}
		return t.print(c.OutOrStdout(), "No version is published.")
	}
	return c
}

func newPolicyShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show [VERSION]",
		Short: "Show the policies of a version",
		Long: `Show the policies, the schema and the catalog of a published version, by default of the active one.

With --to they are written to a directory instead, as the files that were published; a file that is
there already is not overwritten.`,
		Example: `  $ safeconduct policy show 1 --to /tmp/version-1
  wrote 6 files to /tmp/version-1`,
		Args: cobra.MaximumNArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
	to := c.Flags().String("to", "", "write the files to this `DIRECTORY`")
	_ = c.MarkFlagDirname("to")
	c.RunE = func(c *cobra.Command, args []string) error {
		which := "active"
		if len(args) == 1 {
			if _, err := versionNumber(args[0]); err != nil {
				return err
			}
			which = args[0]
		}
		v, err := readVersion(c, conn, which)
		if err != nil {
			return err
		}
		files := v.Source.Files
		files = append(files, policy.File{Name: "schema.cedarschema", Text: v.Source.Schema}, policy.File{Name: "catalog.yaml", Text: v.Catalog})
		w := c.OutOrStdout()
		switch {
		case *to != "":
			if err := writeFiles(*to, files); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.ErrOrStderr(), "wrote %d files to %s\n", len(files), *to)
			return err
		case *asJSON:
			return writeJSON(w, v)
		}
		fmt.Fprintf(w, "// version %d, published %s by %s: %s\n", v.Number, when(v.At), clip(v.Author, 60), clip(v.Message, 200))
		for _, f := range files {
			fmt.Fprintf(w, "\n// ---- %s\n%s", clip(f.Name, 200), f.Text)
		}
		return nil
	}
	return c
}

func readVersion(c *cobra.Command, conn *connection, which string) (*versionText, error) {
	api, err := conn.open()
	if err != nil {
		return nil, err
	}
	var v versionText
	if err := api.call(c.Context(), "GET", "/v1/policies/"+which, nil, &v); err != nil {
		if notFound(err) {
			return nil, hinted(err, "`safeconduct policy list` shows the versions")
		}
		return nil, err
	}
	return &v, nil
}

// writeFiles writes new files below dir. A name that leads out of it is refused.
func writeFiles(dir string, files []policy.File) error {
	for _, f := range files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return fmt.Errorf("the file name %q leads out of the directory", f.Name)
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = w.WriteString(f.Text)
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
	}
	return nil
}

func versionNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, usageError{hinted(fmt.Errorf("%q is not the number of a version", s), "`safeconduct policy list` shows them")}
	}
	return n, nil
}

func newPolicyRollback() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "Make the texts of an older version active again",
		Long: `Make the policies, the schema and the catalog of an older version active again.

They become a new version, recorded with who did it and why, and take effect like any publication.`,
		Example: `  $ safeconduct policy rollback 1 --why "version 2 holds every payment"
  version 3 is active`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		n, err := versionNumber(args[0])
		if err != nil {
			return err
		}
		api, err := conn.open()
		if err != nil {
			return err
		}
		var v version
		if err := api.call(c.Context(), "POST", fmt.Sprintf("/v1/policies/%d/rollback", n), map[string]string{"why": *why}, &v); err != nil {
			if notFound(err) {
				return hinted(err, "`safeconduct policy list` shows the versions")
			}
			return err
		}
		return sayVersion(c, &v, *asJSON)
	}
	return c
}
