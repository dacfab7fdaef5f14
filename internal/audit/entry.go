package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of an entry. A Draft beyond them is authz.ErrInvalid.
const (
	MaxKind  = 64      // bytes of a kind: lower case letters, digits, '.', '_' and '-'
	MaxActor = 512     // bytes of an actor: UTF-8 without control characters
	MaxBody  = 1 << 20 // bytes of a body
)

const (
	entryVersion = 1
	entryFixed   = 1 + 8 + 8 + 1 + 2 + 4 // version, number, time, and the three lengths
	saltSize     = 16
	seedSize     = 32
)

// check returns authz.ErrInvalid if d cannot become an entry. Bodies come from our own encoders, so
// of JSON only the outermost shape is looked at.
func (d *Draft) check() error {
	if n := len(d.Kind); n == 0 || n > MaxKind {
		return authz.Errorf(authz.ErrInvalid, "the kind of an entry has %d bytes: 1 to %d", n, MaxKind)
	}
	for _, c := range []byte(d.Kind) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return authz.Errorf(authz.ErrInvalid, "the kind of an entry has the character %q", c)
		}
	}
	if n := len(d.Actor); n == 0 || n > MaxActor {
		return authz.Errorf(authz.ErrInvalid, "the actor of an entry has %d bytes: 1 to %d", n, MaxActor)
	}
	if !utf8.ValidString(d.Actor) {
		return authz.Errorf(authz.ErrInvalid, "the actor of an entry is not UTF-8")
	}
	for _, c := range []byte(d.Actor) {
		if c < ' ' || c == 0x7f {
			return authz.Errorf(authz.ErrInvalid, "the actor of an entry has a control character")
		}
	}
	n := len(d.Body)
	if n > MaxBody {
		return authz.Errorf(authz.ErrInvalid, "the body of an entry has %d bytes: at most %d", n, MaxBody)
	}
	if n < 2 || d.Body[0] != '{' || d.Body[n-1] != '}' || !utf8.Valid(d.Body) {
		return authz.Errorf(authz.ErrInvalid, "the body of an entry is not a JSON object")
	}
	return nil
}

// encodedSize is the length of d's entry in its encoded form.
func (d *Draft) encodedSize() int {
	return entryFixed + len(d.Kind) + len(d.Actor) + len(d.Body)
}

// appendDraft appends the encoded form of d's entry, with number and time still zero, and returns
// also where the body begins.
func appendDraft(b []byte, d *Draft) (_ []byte, body int) {
	b = append(b, entryVersion)
	b = append(b, make([]byte, 16)...)
	b = append(b, byte(len(d.Kind)))
	b = append(b, d.Kind...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Actor)))
	b = append(b, d.Actor...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Body)))
	return append(b, d.Body...), len(b)
}

// stamp writes number and time into the encoded entry that b begins with.
func stamp(b []byte, seq, micros int64) {
	binary.BigEndian.PutUint64(b[1:], uint64(seq))
	binary.BigEndian.PutUint64(b[9:], uint64(micros))
}

// AppendEntry appends the encoded form of e: the bytes that its leaf hash covers.
func AppendEntry(b []byte, e Entry) []byte {
	start := len(b)
	b, _ = appendDraft(b, &Draft{Kind: e.Kind, Actor: e.Actor, Body: e.Body})
	stamp(b[start:], e.Seq, e.At.UnixMicro())
	return b
}

// ParseEntry decodes the entry that b begins with and returns what follows it. The entry's Body is
// part of b. Anything that AppendEntry would not write is authz.ErrInvalid.
func ParseEntry(b []byte) (e Entry, rest []byte, err error) {
	short := func(what string) (Entry, []byte, error) {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry ends within its %s", what)
	}
	if len(b) < 18 {
		return short("head")
	}
	if b[0] != entryVersion {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry has version %d, not %d", b[0], entryVersion)
	}
	seq, micros := binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])
	if seq == 0 || seq >= 1<<62 || micros >= 1<<62 {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry has number %d and time %d", seq, micros)
	}
	n := int(b[17])
	b = b[18:]
	if len(b) < n+2 {
		return short("kind")
	}
	d := Draft{Kind: kindOf(b[:n])}
	b = b[n:]
	n = int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > MaxActor {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry's actor has %d bytes", n)
	}
	if len(b) < n+4 {
		return short("actor")
	}
	d.Actor = string(b[:n])
	b = b[n:]
	m := binary.BigEndian.Uint32(b)
	b = b[4:]
	if m > MaxBody {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry's body has %d bytes", m)
	}
	if len(b) < int(m) {
		return short("body")
	}
	d.Body = b[:m:m]
	if err := d.check(); err != nil {
		return Entry{}, nil, err
	}
	return Entry{Seq: int64(seq), At: timeOf(int64(micros)), Kind: d.Kind, Actor: d.Actor, Body: d.Body}, b[m:], nil
}

// timeOf is the time of that many microseconds.
func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// kindOf spares an allocation for the kinds that fill a log.
func kindOf(b []byte) Kind {
	switch string(b) {
	case string(DecisionMade):
		return DecisionMade
	case string(Heartbeat):
		return Heartbeat
	case string(SearchMade):
		return SearchMade
	}
	return Kind(b)
}

// A Salt keeps the leaf hash of an entry from giving away a body that can be guessed.
type Salt [saltSize]byte

// A seed is a batch's secret, from which the salts of its entries are derived: whoever is shown one
// entry's salt learns nothing about the others.
type seed [seedSize]byte

// salt returns the salt of the entry numbered seq.
func (s *seed) salt(seq int64) (salt Salt) {
	var b [1 + seedSize + 8]byte
	b[0] = 2 // RFC 6962 uses 0 for leaves and 1 for nodes
	copy(b[1:], s[:])
	binary.BigEndian.PutUint64(b[1+seedSize:], uint64(seq))
	h := sha256.Sum256(b[:])
	copy(salt[:], h[:])
	return salt
}

// EntryHash returns the RFC 6962 leaf hash of an encoded entry under its salt.
func EntryHash(salt Salt, encoded []byte) tlog.Hash {
	h, _ := entryHash(nil, salt, encoded)
	return h
}

// entryHash is EntryHash with a buffer that is used again.
func entryHash(buf []byte, salt Salt, encoded []byte) (tlog.Hash, []byte) {
	buf = append(buf[:0], 0)
	buf = append(buf, salt[:]...)
	buf = append(buf, encoded...)
	return sha256.Sum256(buf), buf
}
