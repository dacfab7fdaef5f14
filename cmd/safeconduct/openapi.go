package main

import (
	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/server"
)

func newOpenAPI() *cobra.Command {
	c := &cobra.Command{
		Use:   "openapi",
		Short: "Print the OpenAPI document of the service",
		Long: `Print the OpenAPI 3.1 document of the JSON API, as a service of this version serves it at /openapi.json.
Each operation says in x-roles who may call it.

It is JSON, with --json or without. No service has to run for it.`,
		Example: `  $ safeconduct openapi > openapi.json`,
		Args:    cobra.NoArgs,
	}
	_ = jsonFlag(c) // there is no other form
	url := c.Flags().String("public-url", "http://127.0.0.1:8180", "`URL` of the service that the document names")
	c.RunE = func(c *cobra.Command, _ []string) error {
		doc, err := server.OpenAPI(*url)
		if err != nil {
			return err
		}
		_, err = c.OutOrStdout().Write(append(doc, '\n'))
		return err
	}
	return c
}
