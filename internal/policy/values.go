package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of what one JSON object of a request may hold. Who decodes requests bounds them too; these
// hold whoever calls.
const (
	maxDepth    = 32      // of arrays and objects
	maxElements = 10_000  // of all arrays and objects together
	maxSet      = 1000    // of one array: Cedar's sets degrade if their elements' hashes collide
	maxObject   = 1 << 20 // bytes
	maxMissing  = 8       // required attributes that one refusal names
)

type valueKind uint8

const (
	stringValue valueKind = iota
	boolValue
	longValue
	decimalValue
	datetimeValue
	durationValue
	ipValue
	entityValue
	setValue
	recordValue
)

var valueNames = [...]string{
	"a string", "true or false", "an integer", "a decimal number", "a date and time as text",
	"a duration as text", "an IP address as text", "an entity", "an array", "an object",
}

// A valueType is a type of the schema, laid out for decoding JSON.
type valueType struct {
	kind     valueKind
	entity   types.EntityType // of an entity
	elem     *valueType       // of a set
	attrs    map[string]attribute
	required []types.String // names of the required attributes, sorted
}

type attribute struct {
	name types.String
	typ  *valueType
}

// newValueType lays out t. It returns nil for a nil record, which has no attributes.
func newValueType(t resolved.IsType) *valueType {
	switch t := t.(type) {
	case resolved.StringType:
		return &valueType{kind: stringValue}
	case resolved.BoolType:
		return &valueType{kind: boolValue}
	case resolved.LongType:
		return &valueType{kind: longValue}
	case resolved.ExtensionType:
		switch t {
		case "decimal":
			return &valueType{kind: decimalValue}
		case "datetime":
			return &valueType{kind: datetimeValue}
		case "duration":
			return &valueType{kind: durationValue}
		case "ipaddr":
			return &valueType{kind: ipValue}
		}
	case resolved.EntityType:
		return &valueType{kind: entityValue, entity: types.EntityType(t)}
	case resolved.SetType:
		return &valueType{kind: setValue, elem: newValueType(t.Element)}
	case resolved.RecordType:
		if t == nil {
			return nil
		}
		v := &valueType{kind: recordValue, attrs: make(map[string]attribute, len(t))}
		for name, a := range t {
			v.attrs[string(name)] = attribute{name, newValueType(a.Type)}
			if !a.Optional {
				v.required = append(v.required, name)
			}
		}
		slices.Sort(v.required)
		return v
	}
	panic(fmt.Sprintf("unknown type %T", t))
}

// A fault is what is wrong with a request, in the agent's terms.
type fault struct {
	code    string   // of authz
	missing []string // paths, of CodeSignalMissing
	detail  string
}

func (f *fault) Error() string {
	if f.detail != "" {
		return f.detail
	}
	return "missing: " + strings.Join(f.missing, ", ")
}

func invalid(path, format string, args ...any) *fault {
	return &fault{code: authz.CodeInvalid, detail: path + ": " + fmt.Sprintf(format, args...)}
}

// A decoder turns JSON into Cedar values as a valueType says: names that the type does not know are
// skipped, and what it knows must have its type.
type decoder struct {
	dec   *jsontext.Decoder
	src   bytes.Buffer // of whole, from which dec reads without a copy, and which it does not change
	whole []byte
	path  []string
	count int
	miss  []string
	want  *shape                      // of the outermost record
	idle  bool                        // nobody wants the value being read
	key   []byte                      // says what want has of the outermost record; see decode
	names map[string]types.EntityType // entity types by AuthZEN name, for references
}

var decoders = sync.Pool{New: func() any {
	return &decoder{dec: jsontext.NewDecoder(new(bytes.Buffer))}
}}

// decode reads the JSON object of text into m as a record of type t, whose path in messages is root.
// Only names in keep are read, all if it is nil; of those that want lacks, if it is not nil, the
// type is checked and the value may be another. Required attributes that are missing from records
// within are returned by their paths; those missing from the record itself are the caller's to find,
// for what is stored may have them.
//
// It adds to key the names and texts of those that want has: with the same type and want, the same key of up to maxSaid bytes is
// the same values.
func (s *schema) decode(m types.RecordMap, root string, t *valueType, text authz.Claimed, keep map[string]bool, want *shape, key []byte) (missing []string, said []byte, flt *fault) {
	if len(text) > maxObject {
		return nil, key, invalid(root, "larger than %d bytes", maxObject)
	}
	if len(text) == 0 {
		text = authz.Claimed("{}")
	}
	d := decoders.Get().(*decoder)
	defer d.free()
	d.whole, d.src = text, *bytes.NewBuffer(text)
	d.dec.Reset(&d.src)
	d.path = append(d.path[:0], root)
	d.key = key
	d.count, d.miss, d.names, d.want, d.idle = 0, nil, s.entityTypes, want, false
	err := d.object(m, t, keep)
	if err == nil {
		if _, e := d.dec.ReadToken(); e != io.EOF {
			err = d.malformed(e)
		}
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return nil, key, f
	} else if err != nil {
		return nil, key, invalid(root, "%v", err)
	}
	return d.miss, d.key, nil
}

// free lets go of d, but for the text, to which dec holds on until it reads the next one.
func (d *decoder) free() {
	d.whole, d.miss, d.want, d.names, d.key = nil, nil, nil, nil, nil
	decoders.Put(d)
}

func (d *decoder) at() string { return strings.Join(d.path, ".") }

func (d *decoder) malformed(err error) error {
	if err == nil {
		return invalid(d.at(), "more than one value")
	}
	return invalid(d.at(), "malformed JSON")
}

func (d *decoder) wrong(t *valueType) error {
	return invalid(d.at(), "must be %s", valueNames[t.kind])
}

// object reads an object as the attributes of t.
func (d *decoder) object(m types.RecordMap, t *valueType, keep map[string]bool) error {
	if d.dec.PeekKind() != '{' {
		return invalid(d.at(), "must be an object")
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return d.malformed(err)
	}
	for d.dec.PeekKind() != '}' {
		if d.count++; d.count > maxElements {
			return invalid(d.at(), "more than %d elements", maxElements)
		}
		raw, err := d.dec.ReadValue()
		if err != nil {
			return d.malformed(err)
		}
		a, ok := t.attribute(raw)
		if !ok || keep != nil && !keep[string(a.name)] {
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		d.path = append(d.path, string(a.name))
		if len(d.path) == 2 {
			d.idle = d.want != nil && !d.want.has(a.name)
		}
		begin := d.dec.InputOffset()
		v, err := d.value(a.typ)
		if err != nil {
			return err
		}
		if len(d.path) == 2 && d.want != nil && !d.idle && len(d.key) <= maxSaid {
			said := d.whole[begin:d.dec.InputOffset()]
			d.key = appendText(appendText(d.key, string(a.name)), said[:min(len(said), maxSaid+1)])
		}
		d.path = d.path[:len(d.path)-1]
		if v != nil {
			m[a.name] = v
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return d.malformed(err)
	}
	if len(d.path) > 1 {
		d.miss = t.missing(d.miss, d.at(), m)
	}
	return nil
}

// missing adds to list the paths of the required attributes that m lacks.
func (t *valueType) missing(list []string, path string, m types.RecordMap) []string {
	for _, name := range t.required {
		if _, ok := m[name]; !ok && len(list) < maxMissing {
			list = append(list, path+"."+string(name))
		}
	}
	return list
}

// attribute finds the attribute that a JSON name, with its quotes, names.
func (t *valueType) attribute(raw jsontext.Value) (attribute, bool) {
	if len(raw) < 2 {
		return attribute{}, false
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		a, ok := t.attrs[string(inner)]
		return a, ok
	}
	name, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return attribute{}, false
	}
	a, ok := t.attrs[string(name)]
	return a, ok
}

// skip passes over a value that the schema does not know, within the bounds.
func (d *decoder) skip() error {
	if d.dec.StackDepth() > maxDepth {
		return invalid(d.at(), "nested more than %d deep", maxDepth)
	}
	v, err := d.dec.ReadValue()
	if err != nil {
		return d.malformed(err)
	}
	if k := v.Kind(); k == '{' || k == '[' {
		depth := d.dec.StackDepth()
		for _, c := range v { // brackets in strings count too: it is a bound
			switch c {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if depth > maxDepth {
				return invalid(d.at(), "nested more than %d deep", maxDepth)
			}
		}
	}
	return nil
}

// value reads one value of type t. It returns nil for null, which is as if the name were absent.
func (d *decoder) value(t *valueType) (types.Value, error) {
	if d.dec.StackDepth() > maxDepth {
		return nil, invalid(d.at(), "nested more than %d deep", maxDepth)
	}
	switch k := d.dec.PeekKind(); k {
	case 'n':
		if _, err := d.dec.ReadToken(); err != nil {
			return nil, d.malformed(err)
		}
		return nil, nil
	case '{':
		switch t.kind {
		case recordValue:
			m := make(types.RecordMap, len(t.attrs))
			if err := d.object(m, t, nil); err != nil {
				return nil, err
			}
			return types.NewRecord(m), nil
		case entityValue:
			return d.reference(t)
		}
		return nil, d.wrong(t)
	case '[':
		if t.kind != setValue {
			return nil, d.wrong(t)
		}
		return d.set(t)
	case 't', 'f':
		if t.kind != boolValue {
			return nil, d.wrong(t)
		}
		if _, err := d.dec.ReadToken(); err != nil {
			return nil, d.malformed(err)
		}
		return types.Boolean(k == 't'), nil
	case '0':
		raw, err := d.dec.ReadValue()
		if err != nil {
			return nil, d.malformed(err)
		}
		return d.number(t, raw)
	case '"':
		if d.idle && t.kind == stringValue {
			raw, err := d.dec.ReadValue()
			if err != nil {
				return nil, d.malformed(err)
			}
			if bytes.Contains(raw, []byte(`\u0000`)) {
				s, err := jsontext.AppendUnquote(nil, raw)
				if err != nil {
					return nil, d.malformed(err)
				}
				return d.text(t, string(s))
			}
			return idleText, nil
		}
		tok, err := d.dec.ReadToken()
		if err != nil {
			return nil, d.malformed(err)
		}
		return d.text(t, tok.String())
	}
	_, err := d.dec.ReadToken()
	return nil, d.malformed(err)
}

// idleText stands for a text that nobody wants.
var idleText types.Value = types.String("")

func (d *decoder) number(t *valueType, raw []byte) (types.Value, error) {
	switch t.kind {
	case longValue:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return nil, invalid(d.at(), "does not fit into 64 bits")
		} else if err != nil {
			return nil, d.wrong(t)
		}
		return types.Long(n), nil
	case decimalValue:
		return d.decimal(string(raw))
	}
	return nil, d.wrong(t)
}

func (d *decoder) text(t *valueType, s string) (types.Value, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return nil, invalid(d.at(), "contains a NUL character")
	}
	switch t.kind {
	case stringValue:
		return types.String(s), nil
	case entityValue:
		return types.NewEntityUID(t.entity, types.String(s)), nil
	case decimalValue:
		return d.decimal(s)
	case datetimeValue:
		v, err := types.ParseDatetime(s)
		if err != nil {
			return nil, d.wrong(t)
		}
		return v, nil
	case durationValue:
		v, err := types.ParseDuration(s)
		if err != nil {
			return nil, d.wrong(t)
		}
		return v, nil
	case ipValue:
		v, err := types.ParseIPAddr(s)
		if err != nil {
			return nil, d.wrong(t)
		}
		return v, nil
	}
	return nil, d.wrong(t)
}

// decimal reads a decimal number: digits, and at most four after the point.
func (d *decoder) decimal(s string) (types.Value, error) {
	n, ok := parseDecimal(s)
	if !ok {
		return nil, invalid(d.at(), "must be a decimal number of at most 4 fraction digits, from -922337203685477.5808 to 922337203685477.5807")
	}
	v, err := types.NewDecimal(n, -4)
	if err != nil {
		return nil, invalid(d.at(), "must be a decimal number")
	}
	return v, nil
}

// parseDecimal returns the number of ten-thousandths that s says.
func parseDecimal(s string) (int64, bool) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole == "" || point && fraction == "" || len(fraction) > 4 || len(whole) > 15 {
		return 0, false
	}
	var n uint64
	for _, part := range [...]string{whole, fraction, "0000"[len(fraction):]} {
		for i := 0; i < len(part); i++ {
			if part[i] < '0' || part[i] > '9' {
				return 0, false
			}
			n = n*10 + uint64(part[i]-'0') // at most 19 digits: no overflow
		}
	}
	if negative {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n <= math.MaxInt64
}

func (d *decoder) set(t *valueType) (types.Value, error) {
	if _, err := d.dec.ReadToken(); err != nil {
		return nil, d.malformed(err)
	}
	var vs []types.Value
	for i := 0; d.dec.PeekKind() != ']'; i++ {
		if d.count++; d.count > maxElements || i >= maxSet {
			return nil, invalid(d.at(), "more than %d elements", min(maxSet, maxElements))
		}
		d.path = append(d.path, strconv.Itoa(i))
		v, err := d.value(t.elem)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, d.wrong(t.elem)
		}
		d.path = d.path[:len(d.path)-1]
		vs = append(vs, v)
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return nil, d.malformed(err)
	}
	return types.NewSet(vs...), nil
}

// reference reads {"type": ..., "id": ...}, whose type must be t's.
func (d *decoder) reference(t *valueType) (types.Value, error) {
	if _, err := d.dec.ReadToken(); err != nil {
		return nil, d.malformed(err)
	}
	var ref authz.Ref
	var typ, id bool
	for d.dec.PeekKind() != '}' {
		name, err := d.dec.ReadToken()
		if err != nil {
			return nil, d.malformed(err)
		}
		key := name.String()
		if key != "type" && key != "id" {
			if err := d.skip(); err != nil {
				return nil, err
			}
			continue
		}
		if d.dec.PeekKind() != '"' {
			return nil, d.wrong(t)
		}
		val, err := d.dec.ReadToken()
		if err != nil {
			return nil, d.malformed(err)
		}
		if key == "type" {
			ref.Type, typ = val.String(), true
		} else {
			ref.ID, id = val.String(), true
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return nil, d.malformed(err)
	}
	if !typ || !id {
		return nil, invalid(d.at(), `must be {"type", "id"}`)
	}
	if d.names[ref.Type] != t.entity {
		return nil, invalid(d.at(), "must be an entity of type %s", t.entity)
	}
	if strings.IndexByte(ref.ID, 0) >= 0 {
		return nil, invalid(d.at(), "contains a NUL character")
	}
	return types.NewEntityUID(t.entity, types.String(ref.ID)), nil
}

// address turns a network address into Cedar's. An IPv4 address in IPv6 clothes is undressed, so
// that no policy can be walked around by spelling.
func address(a netip.Addr) types.IPAddr {
	a = a.Unmap().WithZone("")
	return types.IPAddr(netip.PrefixFrom(a, a.BitLen()))
}

// appendAddress adds to a key what address makes of a.
func appendAddress(key []byte, a netip.Addr) []byte {
	a = a.Unmap()
	key = append(key, byte(a.BitLen()))
	if a.IsValid() {
		room := a.As16()
		key = append(key, room[:]...)
	}
	return key
}
