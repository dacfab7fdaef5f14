package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCatalog() *cobra.Command {
	c := &cobra.Command{
		Use:   "catalog",
		Short: "Show, check and publish what the organisation declares",
		Long: `Show, check and publish the catalog: what the organisation declares of its capabilities, data
classes, schedules, networks, obligations, reasons, people and things.

The catalog and the policies have one version number: publishing a catalog makes a new version with
the policies of the active one, which are checked against it.`,
		Example: `  $ safeconduct catalog check catalog.yaml
  catalog.yaml: no problems`,
	}
	c.AddCommand(newCatalogShow(), newCatalogCheck(), newCatalogPublish())
	return c
}

func newCatalogShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show [VERSION]",
		Short: "Show the catalog of a version",
		Long: `Show the catalog of a published version, by default of the active one, as it was published.

With --json the text is a member of an object, beside the version's number.`,
		Example: `  $ safeconduct catalog show > catalog.yaml`,
		Args:    cobra.MaximumNArgs(1),
	}
	conn, asJSON := connectFlags(c), jsonFlag(c)
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
		if *asJSON {
			return writeJSON(c.OutOrStdout(), struct {
				Number  int64  `json:"version"`
				Catalog string `json:"catalog"`
			}{v.Number, v.Catalog})
		}
		_, err = fmt.Fprint(c.OutOrStdout(), v.Catalog)
		return err
	}
	return c
}

func newCatalogCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a catalog",
		Long: `Check a catalog as the service does before it accepts it. Every problem is told at once, with its
line and column. Nothing is asked over the network.

Whether the policies agree with it is told by ` + "`safeconduct policy check`" + `.`,
		Example: `  $ safeconduct catalog check catalog.yaml
  catalog.yaml: no problems`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		b, err := readBounded(args[0])
		if err != nil {
			return err
		}
		r, err := (&declared{Catalog: b, CatalogName: relative(args[0])}).check()
		if err != nil {
			return err
		}
		w := c.OutOrStdout()
		switch {
		case *asJSON:
			if err := writeJSON(w, r); err != nil {
				return err
			}
		case r.OK:
			fmt.Fprintf(w, "%s: no problems\n", relative(args[0]))
		default:
			for _, p := range r.Problems {
				fmt.Fprintln(w, p.String())
			}
		}
		if !r.OK {
			return exit(1)
		}
		return nil
	}
	return c
}

func newCatalogPublish() *cobra.Command {
	c := &cobra.Command{
		Use:   "publish FILE",
		Short: "Publish a catalog with the active policies as a new version",
		Long: `Publish a catalog with the policies of the active version as a new version, and make it active.

If the active policies do not agree with it (an obligation or a reason is missing, for instance),
nothing is published, and every problem is told.`,
		Example: `  $ safeconduct catalog publish catalog.yaml --why "new office network"
  version 2 is active`,
		Args: cobra.ExactArgs(1),
	}
	conn, asJSON, why := connectFlags(c), jsonFlag(c), whyFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		b, err := readBounded(args[0])
		if err != nil {
			return err
		}
		return publish(c, conn, &declared{Catalog: b, CatalogName: relative(args[0])}, *why, *asJSON)
	}
	return c
}
