package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/server"
)

// configName is the configuration that commands look for in the current directory.
const configName = server.FileName

// A sourceFlags says where policies, schema and catalog are.
type sourceFlags struct{ config, schema, catalog string }

func addSourceFlags(c *cobra.Command) *sourceFlags {
	s := &sourceFlags{}
	c.Flags().StringVar(&s.config, "config", "", "configuration `FILE` whose organisation names the files (default "+configName+", if no policies are named)")
	c.Flags().StringVar(&s.schema, "schema", "", "Cedar schema `FILE`")
	c.Flags().StringVar(&s.catalog, "catalog", "", "catalog `FILE`")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	_ = c.MarkFlagFilename("schema", "cedarschema")
	_ = c.MarkFlagFilename("catalog", "yaml", "yml", "json")
	return s
}

// A declared is what an organisation's files say. Source is nil if there are no policies among them,
// Catalog if there is none.
type declared struct {
	Source      *policy.Source
	Catalog     []byte
	CatalogName string
	SchemaName  string
}

// read reads the files that the flags and arguments name. What they leave out is taken from the
// configuration.
func (s *sourceFlags) read(policies []string) (*declared, error) {
	schema, catalog := s.schema, s.catalog
	if len(policies) == 0 && schema == "" && catalog == "" || s.config != "" {
		name := s.config
		if name == "" {
			name = configName
		}
		if _, err := os.Stat(name); err != nil && s.config == "" {
			return nil, usageError{hinted(fmt.Errorf("no policies are named, and there is no %s here", configName), "name policy files with --schema and --catalog, or a configuration with --config")}
		}
		cfg, err := server.Load(name)
		if err != nil {
			return nil, err
		}
		if len(policies) == 0 {
			for _, pattern := range cfg.Organisation.Policies {
				names, err := filepath.Glob(pattern)
				if err != nil || len(names) == 0 {
					return nil, fmt.Errorf("%s: no file matches %s", name, pattern)
				}
				policies = append(policies, names...)
			}
		}
		if schema == "" {
			schema = cfg.Organisation.Schema
		}
		if catalog == "" {
			catalog = cfg.Organisation.Catalog
		}
	}
	d := &declared{CatalogName: relative(catalog), SchemaName: relative(schema)}
	if catalog != "" {
		b, err := readBounded(catalog)
		if err != nil {
			return nil, err
		}
		d.Catalog = b
	}
	if len(policies) == 0 && schema == "" {
		return d, nil
	}
	d.Source = &policy.Source{Files: []policy.File{}}
	if schema != "" {
		b, err := readBounded(schema)
		if err != nil {
			return nil, err
		}
		d.Source.Schema = string(b)
	}
	slices.Sort(policies)
	for _, name := range slices.Compact(policies) {
		b, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		d.Source.Files = append(d.Source.Files, policy.File{Name: relative(name), Text: string(b)})
	}
	return d, nil
}

// readBounded reads a file that must be small enough to be published.
func readBounded(name string) ([]byte, error) {
	const most = 16 << 20
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if fi.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, fi.Size(), most)
	}
	return os.ReadFile(name)
}

// relative returns a name as the user would write it.
func relative(name string) string {
	if name == "" || !filepath.IsAbs(name) {
		return filepath.ToSlash(name)
	}
	if wd, err := os.Getwd(); err == nil {
		if r, err := filepath.Rel(wd, name); err == nil && filepath.IsLocal(r) {
			return filepath.ToSlash(r)
		}
	}
	return filepath.ToSlash(name)
}
