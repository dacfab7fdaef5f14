package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// configAuthor is who publishes what the configuration declares.
const configAuthor = "config"

// maxFile bounds a file that the configuration names.
const maxFile = 16 << 20

// publish makes what the configuration declares the active version, if it is not. If another replica
// publishes meanwhile, it looks again.
func (s *Server) publish(ctx context.Context) error {
	for range 10 {
		if err := s.publishOnce(ctx); !errors.Is(err, authz.ErrConflict) {
			return err
		}
	}
	return authz.Errorf(authz.ErrConflict, "other replicas keep publishing something else: give all the same organisation")
}

func (s *Server) publishOnce(ctx context.Context) error {
	o := s.cfg.Organisation
	if o.Catalog == "" && o.Schema == "" {
		return nil
	}
	pub := policy.Publication{Author: configAuthor, Message: "declared by the configuration"}
	var err error
	if o.Catalog != "" {
		if pub.Catalog, err = readFile(o.Catalog); err != nil {
			return err
		}
	}
	if o.Schema != "" {
		if pub.Source, err = s.source(o); err != nil {
			return err
		}
	}
	if active := s.library.Active(); active != nil {
		have, err := s.library.Version(ctx, active.Version())
		if err != nil {
			return fmt.Errorf("reading the active version: %w", err)
		}
		if (pub.Catalog == nil || string(pub.Catalog) == have.Catalog) && (pub.Source == nil || sameSource(pub.Source, &have.Source)) {
			return nil
		}
		pub.IfVersion = active.Version()
	}
	v, err := s.library.Publish(ctx, pub)
	if ps, ok := errors.AsType[*policy.Problems](err); ok {
		ps.List = Located(ps.List, s.shown(o.Schema), s.shown(o.Catalog))
	}
	if ps, ok := errors.AsType[*catalog.Problems](err); ok {
		ps.Name = s.shown(o.Catalog)
	}
	if err != nil {
		return err
	}
	s.logger.InfoContext(ctx, "organisation published", "version", v.Number)
	return nil
}

// source reads the schema and the policies. Files are named relative to the configuration, so that
// problems are found where they stand, and versions do not hold a machine's paths.
func (s *Server) source(o Organisation) (*policy.Source, error) {
	schema, err := readFile(o.Schema)
	if err != nil {
		return nil, err
	}
	src := &policy.Source{Schema: string(schema)}
	seen := map[string]bool{}
	for _, pattern := range o.Policies {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			return nil, authz.Errorf(authz.ErrInvalid, "no policy file matches %s", pattern)
		}
		slices.Sort(names)
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			text, err := readFile(name)
			if err != nil {
				return nil, err
			}
			src.Files = append(src.Files, policy.File{Name: s.shown(name), Text: string(text)})
		}
	}
	return src, nil
}

// shown returns the name of a file as versions and problems have it: relative to the configuration.
func (s *Server) shown(name string) string {
	if rel, err := filepath.Rel(filepath.Dir(s.cfg.file), name); err == nil && s.cfg.file != "" && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return filepath.Base(name)
}

// Located returns problems with the names of the files that the schema and the catalog were read
// from, where the engine, which has their texts only, names them its own way.
func Located(problems []policy.Problem, schema, catalog string) []policy.Problem {
	out := slices.Clone(problems)
	for i := range out {
		switch p := &out[i]; {
		case p.File == "schema.cedarschema" && schema != "":
			p.File = schema
		case (p.File == "catalog" || p.File == "catalog.yaml") && catalog != "":
			p.File = catalog
		}
	}
	return out
}

func sameSource(a, b *policy.Source) bool {
	return a.Schema == b.Schema && slices.Equal(a.Files, b.Files)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "opening a file that the configuration names: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading a file that the configuration names: %w", err)
	}
	if len(b) > maxFile {
		return nil, authz.Errorf(authz.ErrInvalid, "%s has more than %d bytes", path, maxFile)
	}
	return b, nil
}

// agentFile is a YAML or JSON document that declares agents.
type agentFile struct {
	Agents []struct {
		ID           authz.AgentID     `yaml:"id"`
		Owner        string            `yaml:"owner"`
		Purpose      string            `yaml:"purpose"`
		Version      string            `yaml:"version"`
		Creator      string            `yaml:"creator"`
		Capabilities []string          `yaml:"capabilities"`
		Labels       map[string]string `yaml:"labels"`
	} `yaml:"agents"`
}

// declareAgents registers the agents that the configuration declares, and changes those that differ.
// It leaves their states alone, and agents that it does not name.
func (s *Server) declareAgents(ctx context.Context) error {
	path := s.cfg.Organisation.Agents
	if path == "" {
		return nil
	}
	text, err := readFile(path)
	if err != nil {
		return err
	}
	var file agentFile
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading %s: %s", path, yaml.FormatError(err, false, true))
	}
	for _, d := range file.Agents {
		a := authz.Agent{ID: d.ID, Owner: d.Owner, Purpose: d.Purpose, Version: d.Version, Creator: d.Creator,
			State: authz.AgentActive, Capabilities: slices.Sorted(slices.Values(d.Capabilities)), Labels: d.Labels}
		if a.Creator == "" {
			a.Creator = configAuthor
		}
		have, err := s.agents.Agent(d.ID)
		switch {
		case errors.Is(err, authz.ErrNotFound):
			have = &authz.Agent{}
		case err != nil:
			return err
		case have.Owner == a.Owner && have.Purpose == a.Purpose && have.Version == a.Version && have.Creator == a.Creator &&
			slices.Equal(have.Capabilities, a.Capabilities) && maps.Equal(have.Labels, a.Labels):
			continue
		default:
			a.State, a.StateReason = have.State, have.StateReason
		}
		if _, err := s.agents.Put(ctx, configAuthor, "declared by the configuration", a, have.Revision); err != nil && !errors.Is(err, authz.ErrConflict) {
			return fmt.Errorf("agent %s: %w", d.ID, err)
		} // on a conflict another replica was first
	}
	return nil
}
