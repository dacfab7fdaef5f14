package mcp

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// An object is a JSON object, member by member in order. What is not changed stays as it was written.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

// decoders have memory to read by that was used before.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// decoderOf returns a decoder of b that is strict: it refuses duplicate names and bad UTF-8. It is to be freed.
func decoderOf(b []byte) *jsontext.Decoder {
	dec := decoders.Get().(*jsontext.Decoder)
	dec.Reset(bytes.NewBuffer(b))
	return dec
}

// free has a decoder be used again, without what it has read.
func free(dec *jsontext.Decoder) {
	dec.Reset(strings.NewReader(""))
	decoders.Put(dec)
}

// readObject reads an object strictly. Nothing is an empty one.
func readObject(b []byte) (object, error) {
	if len(b) == 0 {
		return nil, nil
	}
	dec := decoderOf(b)
	defer free(dec)
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, authz.Errorf(authz.ErrInvalid, "it is no JSON object")
	}
	o := make(object, 0, 4) // most have no more
	for dec.PeekKind() != '}' {
		t, err := dec.ReadToken()
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "it is no strict JSON: %v", cause(err))
		}
		name := t.String()
		v, err := dec.ReadValue()
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "it is no strict JSON: %v", cause(err))
		}
		end := dec.InputOffset()
		o = append(o, member{name, b[end-int64(len(v)) : end : end]})
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "it is no strict JSON: %v", cause(err))
	}
	return o, nil
}

// get returns a member, nil if there is none.
func (o object) get(name string) json.RawMessage {
	for i := range o {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

// only returns the members of some names.
func (o object) only(names []string) object {
	some := make(object, 0, len(names))
	for _, m := range o {
		if slices.Contains(names, m.name) {
			some = append(some, m)
		}
	}
	return some
}

// set sets a member where it stands, or at the end.
func (o *object) set(name string, value json.RawMessage) {
	for i := range *o {
		if (*o)[i].name == name {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{name, value})
}

// drop takes members out and reports whether there were any.
func (o *object) drop(f func(name string) bool) bool {
	before := len(*o)
	*o = slices.DeleteFunc(*o, func(m member) bool { return f(m.name) })
	return len(*o) < before
}

// json writes the object.
func (o object) json() json.RawMessage {
	size := 2
	for i := range o {
		size += len(o[i].name) + len(o[i].value) + 4
	}
	b := append(make([]byte, 0, size), '{')
	for i := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(appendText(b, o[i].name), ':'), o[i].value...)
	}
	return append(b, '}')
}

// readArray reads an array of at most that many values.
func readArray(b []byte, most int) ([]json.RawMessage, error) {
	dec := decoderOf(b)
	defer free(dec)
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '[' {
		return nil, authz.Errorf(authz.ErrInvalid, "it is no JSON array")
	}
	var all []json.RawMessage
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "it is no strict JSON: %v", cause(err))
		}
		if len(all) == most {
			return nil, authz.Errorf(authz.ErrInvalid, "it has more than %d elements", most)
		}
		end := dec.InputOffset()
		all = append(all, b[end-int64(len(v)):end:end])
	}
	return all, nil
}

func arrayJSON(all []json.RawMessage) json.RawMessage {
	b := []byte{'['}
	for i, v := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}

// Names in _meta.
const (
	// MetaPrefix begins the names of what only this gateway says. It is taken out of what anybody else sends.
	MetaPrefix = "safeconduct/"

	metaRefusal      = MetaPrefix + "refusal"
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaRelatedTask  = "io.modelcontextprotocol/related-task"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
	tasksExtension   = "io.modelcontextprotocol/tasks"
)

// withoutOurs takes out of o's _meta what only this gateway says. It reports whether there was something.
func withoutOurs(o *object) bool {
	raw := o.get("_meta")
	if raw == nil {
		return false
	}
	meta, err := readObject(raw)
	if err != nil {
		o.drop(func(name string) bool { return name == "_meta" })
		return true
	}
	if !meta.dropOurs() {
		return false
	}
	o.set("_meta", meta.json())
	return true
}

// dropOurs is withoutOurs of a _meta.
func (o *object) dropOurs() bool {
	return o.drop(func(name string) bool { return strings.HasPrefix(strings.ToLower(name), MetaPrefix) })
}

// withoutRefusal is withoutOurs of an error's data.
func withoutRefusal(data json.RawMessage) (json.RawMessage, bool) {
	o, err := readObject(data)
	if err != nil || len(o) == 0 {
		return data, false
	}
	ours := o.dropOurs()
	if withoutOurs(&o) {
		ours = true
	}
	if !ours {
		return data, false
	}
	return o.json(), true
}

// encode writes what always can be written.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // what is encoded here is of our own types
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
