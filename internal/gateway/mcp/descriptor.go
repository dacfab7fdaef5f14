package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// Bounds of what servers say of their tools.
const (
	maxName       = 200       // bytes: 128 of the protocol, and a prefix
	maxDescriptor = 256 << 10 // bytes of one
	maxListed     = 50_000    // tools, prompts or resources in one page, of all servers
	maxPages      = 100
	maxURI        = 4 << 10
)

// A descriptor is what a server says of one tool.
type descriptor struct {
	name, server string
	raw          json.RawMessage
	digest       string
	hints        hints
	tasks        string // execution.taskSupport
	declared     *coaz.Mapping
	badMapping   error // why what is declared cannot be used; nil if it can, or nothing is declared
}

// hints are the annotations: what the server claims of a tool's effects. What is left out is what the protocol says it
// stands for.
type hints struct{ readOnly, destructive, idempotent, openWorld bool }

// checkName refuses names that a person could take for another, or that act on a terminal.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return authz.Errorf(authz.ErrInvalid, "it has %d bytes, not 1 to %d", len(name), maxName)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return authz.Errorf(authz.ErrInvalid, "it has a character that is not printable ASCII")
		}
	}
	return nil
}

// readDescriptor reads one element of tools/list.
func readDescriptor(raw json.RawMessage, parse func([]byte) (*coaz.Mapping, error)) (*descriptor, error) {
	if len(raw) > maxDescriptor {
		return nil, authz.Errorf(authz.ErrInvalid, "its descriptor has more than %d bytes", maxDescriptor)
	}
	o, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	d := &descriptor{raw: raw}
	name, ok := text(o.get("name"))
	if !ok {
		return nil, authz.Errorf(authz.ErrInvalid, "it has no name")
	}
	d.name = name
	if err := checkName(name); err != nil {
		return d, err
	}
	if d.digest, err = digest(o); err != nil {
		return d, err
	}
	if d.hints, err = readHints(o.get("annotations")); err != nil {
		return d, err
	}
	if execution, err := readObject(o.get("execution")); err == nil {
		d.tasks, _ = text(execution.get("taskSupport"))
	}
	schema, err := readObject(o.get("inputSchema"))
	if err != nil {
		return d, fmt.Errorf("its inputSchema: %w", err)
	}
	if m := schema.get("x-authzen-mapping"); m != nil {
		d.declared, d.badMapping = parse(m)
	}
	return d, nil
}

// digest is over everything that a client or a model is shown: the descriptor without _meta, in the canonical form of
// RFC 8785.
func digest(o object) (string, error) {
	shown := append(object(nil), o...)
	shown.drop(func(name string) bool { return name == "_meta" })
	v := jsontext.Value(shown.json())
	if err := v.Canonicalize(); err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "its descriptor has no canonical form: %v", cause(err))
	}
	sum := sha256.Sum256(v)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func readHints(raw json.RawMessage) (hints, error) {
	h := hints{destructive: true, openWorld: true}
	o, err := readObject(raw)
	if err != nil {
		return h, fmt.Errorf("its annotations: %w", err)
	}
	for name, into := range map[string]*bool{
		"readOnlyHint": &h.readOnly, "destructiveHint": &h.destructive, "idempotentHint": &h.idempotent, "openWorldHint": &h.openWorld,
	} {
		switch v := o.get(name); string(v) {
		case "":
		case "true", "false":
			*into = string(v) == "true"
		default:
			return h, authz.Errorf(authz.ErrInvalid, "its annotation %s is neither true nor false", name)
		}
	}
	if h.readOnly { // the other two mean something only if it is not
		h.destructive, h.idempotent = false, true
	}
	return h, nil
}

// properties are what policies see of a tool.
func (d *descriptor) properties(changed bool) object {
	truth := func(b bool) json.RawMessage { return strconv.AppendBool(nil, b) }
	return object{
		{"changed", truth(changed)},
		{"destructive", truth(d.hints.destructive)},
		{"digest", appendText(nil, d.digest)},
		{"idempotent", truth(d.hints.idempotent)},
		{"open_world", truth(d.hints.openWorld)},
		{"read_only", truth(d.hints.readOnly)},
		{"server", appendText(nil, d.server)},
	}
}

// printable returns what foreign text may be in a message: bounded, without control characters.
func printable(s string, most int) string {
	out := make([]rune, 0, min(len(s), most))
	for _, r := range s {
		if len(out) == most {
			out = append(out, '…')
			break
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}
