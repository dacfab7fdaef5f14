package audit

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// What a term of the search index is about. Released tags keep their meaning; changing what terms an
// entry has means building the index again, under a new version of its blocks.
const (
	tagKind     = 'k'
	tagActor    = 'a'
	tagAgent    = 'g'
	tagAction   = 'c'
	tagResource = 'r'
	tagOutcome  = 'o'
	tagCode     = 'd'
	tagWord     = 'w'
	tagSession  = 's'
	tagBehalf   = 'b'
	tagDecision = 'n'
)

// Bounds of what is indexed of one entry; what is beyond them is found by its other terms only.
const (
	maxWords     = 64
	maxWord      = 64
	maxDepth     = 16
	maxTermBytes = 1024
	maxDecisions = 32 // as many as an ask has items
)

// A term is the hash of one thing that can be searched for. Two may collide: what the index finds is
// looked at again.
type term uint64

// termOf hashes a value under its tag: FNV-1a, and a last stir because chunks keep its upper bits.
func termOf[S string | []byte](tag byte, value S) term {
	h := (uint64(14695981039346656037) ^ uint64(tag)) * 1099511628211
	for i := range min(len(value), maxTermBytes) {
		h = (h ^ uint64(value[i])) * 1099511628211
	}
	h ^= h >> 32
	return term(h * 0x9e3779b97f4a7c15)
}

// A termReader reads the terms of entries. It is not safe for concurrent use.
type termReader struct {
	scan  scanner          // of a decision
	dec   jsontext.Decoder // of anything else
	src   bytes.Buffer
	terms []term
	words int
	whole []byte    // TYPE:ID of a resource
	room  [2][]byte // for strings with escapes
}

// read returns the terms of e, some perhaps twice. They are good until the next call. A body that is not
// what its kind says has fewer terms; that is never an error.
func (r *termReader) read(e *Entry) []term {
	r.terms, r.words = r.terms[:0], 0
	r.terms = append(r.terms, termOf(tagKind, string(e.Kind)), termOf(tagActor, e.Actor))
	if id, ok := strings.CutPrefix(e.Actor, "agent:"); ok {
		r.terms = append(r.terms, termOf(tagAgent, id))
	}
	switch e.Kind {
	case Heartbeat:
	case DecisionMade:
		r.scan = scanner{text: e.Body}
		r.decision()
	default:
		r.src.Reset()
		r.src.Write(e.Body)
		r.dec.Reset(&r.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		r.wordsOf([]byte(e.Actor))
		member, depth := agentMember(e.Kind)
		r.everything(e, member, depth)
	}
	return r.terms
}

// text reads a string of a decision; anything else is "". Room says where it may be put.
func (r *termReader) text(room int) (text []byte, ok bool) {
	if r.scan.next() != '"' {
		return nil, r.scan.skip()
	}
	text, r.room[room], ok = r.scan.string(r.room[room])
	return text, ok
}

// decision reads {"request":{"subject":{"type","id"},"on_behalf":[{"type","id"}],"action":{"name"},
// "resource":{"type","id"},"observed":{"session"}},"decision":{"effect","code"}} and skips the rest.
func (r *termReader) decision() {
	left := 2
	r.scan.members(func(name []byte) bool {
		switch string(name) {
		case "request":
			left--
			if !r.request() {
				return false
			}
		case "decision":
			left--
			if !r.outcome() {
				return false
			}
		default:
			return r.scan.skip()
		}
		return left > 0
	})
}

func (r *termReader) request() bool {
	return r.scan.members(func(name []byte) bool {
		switch string(name) {
		case "subject":
			typ, id, ok := r.ref()
			if string(typ) == "agent" && len(id) > 0 {
				r.terms = append(r.terms, termOf(tagAgent, id))
			}
			r.wordsOf(id)
			return ok
		case "resource":
			typ, id, ok := r.ref()
			r.wordsOf(id)
			r.whole = append(append(append(r.whole[:0], typ...), ':'), id...)
			r.terms = append(r.terms, termOf(tagResource, r.whole))
			return ok
		case "on_behalf":
			return r.scan.elements(func() bool {
				typ, id, ok := r.ref()
				r.wordsOf(id)
				r.whole = append(append(append(r.whole[:0], typ...), ':'), id...)
				r.terms = append(r.terms, termOf(tagBehalf, r.whole))
				return ok
			})
		case "observed":
			return r.scan.members(func(name []byte) bool {
				if string(name) != "session" {
					return r.scan.skip()
				}
				text, ok := r.text(0)
				r.terms = append(r.terms, termOf(tagSession, text))
				return ok
			})
		case "action":
			return r.scan.members(func(name []byte) bool {
				if string(name) != "name" {
					return r.scan.skip()
				}
				text, ok := r.text(0)
				r.terms = append(r.terms, termOf(tagAction, text))
				r.wordsOf(text)
				return ok
			})
		}
		return r.scan.skip()
	})
}

// ref reads {"type","id"}.
func (r *termReader) ref() (typ, id []byte, ok bool) {
	ok = r.scan.members(func(name []byte) bool {
		var ok bool
		switch string(name) {
		case "type":
			typ, ok = r.text(0)
		case "id":
			id, ok = r.text(1)
		default:
			ok = r.scan.skip()
		}
		return ok
	})
	return typ, id, ok
}

func (r *termReader) outcome() bool {
	left := 2
	return r.scan.members(func(name []byte) bool {
		tag := byte(tagOutcome)
		switch string(name) {
		case "code":
			tag = tagCode
		case "effect":
		default:
			return r.scan.skip()
		}
		text, ok := r.text(0)
		r.terms = append(r.terms, termOf(tag, text))
		left--
		return ok && left > 0
	})
}

// agentMember says which member of a body names an agent besides the actor, and how deep it is at
// most; "" if none does.
func agentMember(k Kind) (member string, depth int) {
	switch {
	case strings.HasPrefix(string(k), "agent."):
		return "id", 2
	case k == CredentialPut, k == EnrolmentPut, k == TrustPut, k == OutcomeReported, k == ApprovalAsked, k == ApprovalUsed:
		return "agent", 1
	case k == TokenIssued:
		return "sub", 1
	}
	return "", 0
}

// everything reads the words of all strings of e's body, the agent that the member names, and the numbers of decisions
// that the body is about: {"decision"} or {"back"} of a report, {"items":[{"decision"}]} of an ask. Elsewhere members
// of these names are an agent's.
func (r *termReader) everything(e *Entry, member string, depth int) {
	id, number, back := false, false, false // whether the value of such a member comes next
	items := false                          // whether the last member of the body was that
	decisions := 0
	for r.dec.StackDepth() <= maxDepth {
		name := false
		if kind, n := r.dec.StackIndex(r.dec.StackDepth()); kind == '{' {
			name = n%2 == 0
		}
		switch r.dec.PeekKind() {
		case '"':
			var (
				text []byte
				ok   bool
			)
			if text, ok = r.decoded(); !ok {
				return
			}
			if name {
				id = string(text) == member && r.dec.StackDepth() <= depth
				switch deep := r.dec.StackDepth(); {
				case e.Kind == OutcomeReported && deep == 1:
					number, back = string(text) == "decision", string(text) == "back"
				case e.Kind == ApprovalAsked && deep == 1:
					items = string(text) == "items"
				case e.Kind == ApprovalAsked && deep == 3 && items:
					in, _ := r.dec.StackIndex(2)
					number = in == '[' && string(text) == "decision"
				}
				continue
			}
			if id {
				r.terms = append(r.terms, termOf(tagAgent, text))
			}
			r.wordsOf(text)
		default:
			t, err := r.dec.ReadToken()
			if err != nil {
				return
			}
			if (number || back) && t.Kind() == '0' && decisions < maxDecisions {
				if n, err := t.Int(); err == nil {
					if back {
						n = e.Seq - n
					}
					r.terms = append(r.terms, termOf(tagDecision, strconv.FormatInt(n, 10)))
					decisions++
				}
			}
		}
		id, number, back = false, false, false
	}
}

// decoded reads the string that comes next.
func (r *termReader) decoded() (text []byte, ok bool) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, false
	}
	r.room[0], err = jsontext.AppendUnquote(r.room[0][:0], v)
	return r.room[0], err == nil
}

// wordsOf adds the words of a text: runs of letters and digits, in lower case.
func (r *termReader) wordsOf(text []byte) {
	if r.words >= maxWords {
		return
	}
	eachWord(text, func(w []byte) bool {
		r.terms = append(r.terms, termOf(tagWord, w))
		r.words++
		return r.words < maxWords
	})
}

// eachWord calls f with each word of a text until f returns false.
func eachWord(text []byte, f func([]byte) bool) {
	var word [maxWord]byte
	n := 0
	for i := 0; i <= len(text); {
		c, size := rune(-1), 1
		if i < len(text) {
			if c, size = rune(text[i]), 1; c >= utf8.RuneSelf {
				c, size = utf8.DecodeRune(text[i:])
			}
		}
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case c >= utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)):
			c = unicode.ToLower(c)
		default:
			c = -1
		}
		if c >= 0 {
			if n+utf8.UTFMax <= len(word) { // the rest of a longer word does not count
				n += utf8.EncodeRune(word[n:], c)
			}
		} else if n > 0 {
			if !f(word[:n]) {
				return
			}
			n = 0
		}
		i += size
	}
}
