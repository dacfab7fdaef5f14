package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// A workloadsFile says whose tokens and certificates agents may authenticate with besides keys of
// their own, and where they are told that a person has answered. See docs/passports.md.
type workloadsFile struct {
	// PrivateNetworks may be reached for the documents that this file names.
	PrivateNetworks []string `yaml:"private_networks"`

	Issuers []struct {
		Issuer      string `yaml:"issuer"`
		KeysURL     string `yaml:"keys_url"`  // by default found by discovery
		KeysFile    string `yaml:"keys_file"` // relative to this file
		CAFile      string `yaml:"ca_file"`   // of the issuer's certificate, relative to this file
		BearerFile  string `yaml:"bearer_file"`
		MaxLifetime string `yaml:"max_lifetime"`
		SingleUse   bool   `yaml:"single_use"`
		Agents      []struct {
			Agent  string `yaml:"agent"`
			Claims []struct {
				Claim string   `yaml:"claim"`
				Is    string   `yaml:"is"`
				In    []string `yaml:"in"`
				Has   string   `yaml:"has"`
			} `yaml:"claims"`
		} `yaml:"agents"`
	} `yaml:"issuers"`

	SPIFFE []struct {
		TrustDomain string `yaml:"trust_domain"`
		BundleFile  string `yaml:"bundle_file"`
		BundleURL   string `yaml:"bundle_url"`
		EndpointID  string `yaml:"endpoint_id"`
		MaxLifetime string `yaml:"max_lifetime"`
		Agents      []struct {
			Path  string `yaml:"path"`
			Agent string `yaml:"agent"`
		} `yaml:"agents"`
	} `yaml:"spiffe"`

	// Pings are where agents are told that a person has answered.
	Pings struct {
		CAFile string            `yaml:"ca_file"` // of the addresses' certificates, relative to this file
		Agents map[string]string `yaml:"agents"`  // agent to address
	} `yaml:"pings"`

	Certificates []struct {
		CAFile      string `yaml:"ca_file"` // relative to this file
		MaxLifetime string `yaml:"max_lifetime"`
		Agents      []struct {
			Agent   string `yaml:"agent"`
			DNS     string `yaml:"dns"`
			URI     string `yaml:"uri"`
			Email   string `yaml:"email"`
			IP      string `yaml:"ip"`
			Subject string `yaml:"subject"`
		} `yaml:"agents"`
	} `yaml:"certificates"`
}

// loadWorkloads reads a workloads file into the configuration of clients.
func loadWorkloads(path string, c *oauth.ClientConfig) error {
	text, err := readBounded(path, maxConfig)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading oauth.workloads: %w", err)
	}
	if line := deepLine(text); line > 0 {
		return authz.Errorf(authz.ErrInvalid, "%s:%d: nested too deeply", path, line)
	}
	var f workloadsFile
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&f)
	if err != nil && !errors.Is(err, io.EOF) {
		return authz.Errorf(authz.ErrInvalid, "%s: %s", path, yaml.FormatError(err, false, true))
	}
	if err := f.into(c, filepath.Dir(path)); err != nil {
		return authz.Errorf(authz.ErrInvalid, "%s: %w", path, err)
	}
	return nil
}

// into adds what the file says to c. Files that it names are relative to dir.
func (f *workloadsFile) into(c *oauth.ClientConfig, dir string) error {
	var private []netip.Prefix
	for _, text := range f.PrivateNetworks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("private_networks: %q is no network such as 10.96.0.0/12", text)
		}
		private = append(private, p)
	}
	near := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	for _, in := range f.Issuers {
		w := oauth.WorkloadIssuer{Issuer: in.Issuer, KeysURL: in.KeysURL, SingleUse: in.SingleUse}
		var err error
		if in.KeysFile != "" {
			if w.Keys, err = readBounded(near(in.KeysFile), maxConfig); err != nil {
				return fmt.Errorf("issuer %q: %w", in.Issuer, err)
			}
		}
		if w.MaxLifetime, err = lifetime(in.MaxLifetime); err != nil {
			return fmt.Errorf("issuer %q: %w", in.Issuer, err)
		}
		fetch := outbound.Config{Allow: private}
		if in.CAFile != "" {
			if fetch.RootCAs, err = certificates(near(in.CAFile)); err != nil {
				return fmt.Errorf("issuer %q: %w", in.Issuer, err)
			}
		}
		if in.BearerFile != "" && in.CAFile == "" {
			return fmt.Errorf("issuer %q: bearer_file needs ca_file, so that the token goes to nobody else", in.Issuer)
		}
		if in.BearerFile != "" { // a Kubernetes API server may ask for a token, which changes under way
			file := near(in.BearerFile)
			fetch.Authorization = func() (string, error) {
				b, err := readBounded(file, 16<<10)
				return "Bearer " + string(bytes.TrimSpace(b)), err
			}
		}
		w.Fetch = outbound.New(fetch)
		for _, a := range in.Agents {
			rule := oauth.Rule{Agent: authz.AgentID(a.Agent)}
			for _, k := range a.Claims {
				rule.Conditions = append(rule.Conditions, oauth.Condition{Claim: k.Claim, Is: k.Is, In: k.In, Has: k.Has})
			}
			w.Rules = append(w.Rules, rule)
		}
		c.Workloads = append(c.Workloads, w)
	}
	for _, in := range f.SPIFFE {
		d := oauth.TrustDomain{Name: in.TrustDomain, BundleFile: near(in.BundleFile), BundleURL: in.BundleURL,
			EndpointID: in.EndpointID, AllowPrivate: len(private) > 0, Fetch: outbound.New(outbound.Config{Allow: private})}
		var err error
		if d.MaxLifetime, err = lifetime(in.MaxLifetime); err != nil {
			return fmt.Errorf("trust domain %q: %w", in.TrustDomain, err)
		}
		for _, a := range in.Agents {
			d.Paths = append(d.Paths, oauth.SPIFFEPath{Path: a.Path, Agent: authz.AgentID(a.Agent)})
		}
		c.SPIFFE = append(c.SPIFFE, d)
	}
	if len(f.Pings.Agents) > 0 {
		post := outbound.Config{Allow: private}
		if f.Pings.CAFile != "" {
			var err error
			if post.RootCAs, err = certificates(near(f.Pings.CAFile)); err != nil {
				return fmt.Errorf("pings: %w", err)
			}
		}
		c.Post, c.Pings = outbound.New(post), map[authz.AgentID]string{}
		for id, address := range f.Pings.Agents {
			c.Pings[authz.AgentID(id)] = address
		}
	}
	for _, in := range f.Certificates {
		a := oauth.CertificateAuthority{Name: in.CAFile}
		if in.CAFile == "" {
			return errors.New("certificates: ca_file is missing")
		}
		var err error
		if a.Roots, err = authorities(near(in.CAFile)); err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
		if a.MaxLifetime, err = lifetime(in.MaxLifetime); err != nil {
			return fmt.Errorf("certificates of %q: %w", in.CAFile, err)
		}
		for _, r := range in.Agents {
			a.Rules = append(a.Rules, oauth.CertificateRule{Agent: authz.AgentID(r.Agent), DNS: r.DNS, URI: r.URI, Email: r.Email, IP: r.IP, Subject: r.Subject})
		}
		c.Authorities = append(c.Authorities, a)
	}
	return nil
}

// lifetime reads a duration; "" leaves it to the default.
func lifetime(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("max_lifetime must be a duration such as 1h, not %.40q", text)
	}
	return d, nil
}

// readBounded returns the content of a file of at most that many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return b, err
}
