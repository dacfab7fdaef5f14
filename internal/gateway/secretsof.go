package gateway

import (
	"bytes"
	"cmp"
	"io"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// SecretsOf returns which file of secrets a door's document names, and which key: the defaults if it names none. What else the
// document says is not looked at.
func SecretsOf(path string) (file, key string, err error) {
	text, err := readBounded(path, maxDocument)
	if err != nil {
		return "", "", authz.Errorf(authz.ErrInvalid, "reading the configuration: %w", err)
	}
	ps := &Problems{file: path, text: text}
	if ps.parse(); ps.err() != nil {
		return "", "", ps
	}
	var d struct {
		Secrets Secrets `yaml:"secrets"`
	}
	if err := decodeLoosely(text, &d); err != nil {
		ps.yaml(err)
		return "", "", ps
	}
	d.Secrets.fill()
	c := Common{dir: filepath.Dir(path)}
	return c.Path(d.Secrets.File), c.Path(d.Secrets.Key), nil
}

// fill sets what was left out.
func (s *Secrets) fill() {
	if s.File == "" {
		s.File, s.Key = secret.DefaultFile(), cmp.Or(s.Key, secret.DefaultKey())
	}
	s.Key = cmp.Or(s.Key, s.File+".key")
}

func decodeLoosely(text []byte, into any) (err error) {
	defer recovered(&err)
	if err = yaml.NewDecoder(bytes.NewReader(text)).Decode(into); err == io.EOF {
		return nil
	}
	return err
}
