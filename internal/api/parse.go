package api

import (
	"bytes"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// Limits bound what a request may be. Zero values mean the defaults.
type Limits struct {
	Body      int64 // bytes of a request body; default 1 MiB
	Object    int   // bytes of one properties or context object; default 64 KiB
	Depth     int   // nesting of arrays and objects; default 32
	Batch     int   // items of an evaluations request; default 256
	Results   int   // results on one page of a search; default 1000
	Publish   int64 // bytes of a body that publishes policies or a catalog; default 32 MiB
	Streams   int   // streams of signals that are open at once; default 100
	Feeds     int   // feeds of decision points elsewhere that are open at once; default 256
	FeedsEach int   // of them by one caller, of which the oldest is cut off if there are more; default 8
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if l.Body <= 0 {
		l.Body = 1 << 20
	}
	if l.Publish <= 0 {
		l.Publish = 32 << 20
	}
	def(&l.Object, 64<<10)
	def(&l.Depth, 32)
	def(&l.Batch, 256)
	def(&l.Results, 1000)
	def(&l.Streams, 100)
	def(&l.Feeds, 256)
	def(&l.FeedsEach, 8)
	return l
}

const (
	maxName    = 512 // bytes of a type, an action's name
	maxID      = 4096
	maxSession = 256
	maxTask    = 128 // bytes of what kind of task it is
	maxPersons = 8   // in on_behalf_of
	maxNames   = 256 // in a list of argument names or obligations

	maxApproval      = 128     // bytes of an approval's id
	maxApprovalState = 9 << 10 // bytes of its state, quoted
)

// invalid returns an authz.ErrInvalid with the message.
func invalid(format string, args ...any) error {
	return authz.Errorf(authz.ErrInvalid, format, args...)
}

// checkText refuses what no decoder after it needs to fear then: a body that nests too deeply, and
// the character NUL, which some databases and many programs in C cannot hold.
func checkText(body []byte, maxDepth int) error {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		c := body[i]
		if inString {
			switch c {
			case '"':
				inString = false
			case '\\':
				if i+5 < len(body) && string(body[i+1:i+6]) == "u0000" {
					return invalid("the character NUL is not allowed (at byte %d)", i)
				}
				i++
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			if depth++; depth > maxDepth {
				return invalid("nested more than %d deep (at byte %d)", maxDepth, i)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// A parser reads one JSON text by its members. Raw values that it returns are parts of the text.
// Duplicate names and invalid UTF-8 are refused wherever they are.
type parser struct {
	text []byte
	buf  bytes.Buffer
	dec  jsontext.Decoder
	lim  Limits
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

func newParser(text []byte, lim Limits) *parser {
	p := parsers.Get().(*parser)
	p.text, p.lim = text, lim
	p.buf = *bytes.NewBuffer(text)
	p.dec.Reset(&p.buf)
	return p
}

// free returns p to the pool; the text is not kept.
func (p *parser) free() {
	p.text, p.buf = nil, bytes.Buffer{}
	p.dec.Reset(&p.buf)
	parsers.Put(p)
}

// object calls f with the name of each member; f must consume its value.
func (p *parser) object(what string, f func(name []byte) error) error {
	switch p.dec.PeekKind() {
	case '{', 0:
	default:
		return invalid("%s must be a JSON object", what)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.syntax(err)
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.raw()
		if err != nil {
			return err
		}
		if name, err = unquote(name); err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
	}
	_, err := p.dec.ReadToken()
	return p.syntax(err)
}

// unquote returns what a JSON string that the decoder has accepted says.
func unquote(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	s, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil, invalid("not an acceptable JSON string: %v", err)
	}
	return s, nil
}

// array calls f before each element; f must consume it.
func (p *parser) array(what string, f func() error) error {
	if p.dec.PeekKind() != '[' {
		return invalid("%s must be a JSON array", what)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.syntax(err)
	}
	for p.dec.PeekKind() != ']' {
		if p.dec.PeekKind() == 0 {
			_, err := p.dec.ReadToken()
			return p.syntax(err)
		}
		if err := f(); err != nil {
			return err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.syntax(err)
	}
	return nil
}

// end refuses whatever follows the value.
func (p *parser) end() error {
	if _, err := p.dec.ReadToken(); err != io.EOF {
		if err == nil {
			return invalid("more than one JSON value")
		}
		return p.syntax(err)
	}
	return nil
}

func (p *parser) skip() error { return p.syntax(p.dec.SkipValue()) }

// raw returns the next value as it stands in the text.
func (p *parser) raw() ([]byte, error) {
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, p.syntax(err)
	}
	end := p.dec.InputOffset()
	return p.text[int(end)-len(v) : end : end], nil
}

// bool reads true or false.
func (p *parser) bool(what string) (bool, error) {
	switch p.dec.PeekKind() {
	case 't', 'f':
	default:
		return false, invalid("%s is not true or false", what)
	}
	tok, err := p.dec.ReadToken()
	if err != nil {
		return false, p.syntax(err)
	}
	return tok.Bool(), nil
}

// claimed returns the next value, an object of bounded size; null counts as absent.
func (p *parser) claimed(what, member string) (authz.Claimed, error) {
	switch p.dec.PeekKind() {
	case 'n':
		return nil, p.skip()
	case '{', 0:
	default:
		return nil, invalid("%s%s must be a JSON object", what, member)
	}
	v, err := p.raw()
	if err != nil {
		return nil, err
	}
	if len(v) > p.lim.Object {
		return nil, invalid("%s%s has more than %d bytes", what, member, p.lim.Object)
	}
	return authz.Claimed(v), nil
}

// str returns the next value, a string of up to limit bytes.
func (p *parser) str(what, member string, limit int) (string, error) {
	switch p.dec.PeekKind() {
	case '"', 0:
	default:
		return "", invalid("%s%s must be a string", what, member)
	}
	v, err := p.raw()
	if err != nil {
		return "", err
	}
	if v, err = unquote(v); err != nil {
		return "", err
	}
	if len(v) > limit {
		return "", invalid("%s%s has more than %d bytes", what, member, limit)
	}
	return string(v), nil
}

// syntax turns an error of the decoder into authz.ErrInvalid. The decoder's messages name offsets
// and what it expected; they never quote more of the text than a character or a name.
func (p *parser) syntax(err error) error {
	switch {
	case err == nil:
		return nil
	case err == io.EOF:
		return invalid("the body is empty")
	case err == io.ErrUnexpectedEOF:
		return invalid("the JSON text ends too early")
	}
	msg := err.Error()
	const max = 300
	if len(msg) > max {
		msg = msg[:max]
	}
	return invalid("not acceptable JSON: %s", bytes.ToValidUTF8([]byte(msg), nil))
}

// entity reads a subject or a resource. Whether it is complete is for the caller to judge.
func (p *parser) entity(what string) (e authz.Entity, err error) {
	err = p.object(what, func(name []byte) (err error) {
		switch string(name) {
		case "type":
			e.Type, err = p.str(what, ".type", maxName)
		case "id":
			e.ID, err = p.str(what, ".id", maxID)
		case "properties":
			e.Properties, err = p.claimed(what, ".properties")
		default:
			err = p.skip()
		}
		return err
	})
	return e, err
}

func (p *parser) action() (a authz.Action, err error) {
	err = p.object("action", func(name []byte) (err error) {
		switch string(name) {
		case "name":
			a.Name, err = p.str("action", ".name", maxName)
		case "properties":
			a.Properties, err = p.claimed("action", ".properties")
		default:
			err = p.skip()
		}
		return err
	})
	return a, err
}
