package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// An Issued is the body of a token.issued entry: what was granted to whom, when, and under which
// conditions. The entries that precede it, as many as Decisions says, are the decisions by which it
// was granted. The token itself is not here; whoever has it can show by Digest that it is the one.
//
// Its first members, up to Grant, come in this order and without spaces: every process reads them
// of every token, and nothing else.
type Issued struct {
	Uses      []RecordedUse `json:"uses"`                  // assertions that are used up by this
	ID        string        `json:"jti"`                   // says which status it has, too
	IssuedAt  int64         `json:"iat"`                   // seconds since 1970
	Expires   int64         `json:"exp"`                   // likewise
	Ancestors []string      `json:"ancestors"`             // ids of the tokens it was exchanged from, nearest first
	Address   string        `json:"ip,omitempty"`          // of the client
	Method    string        `json:"method,omitempty"`      // by which it authenticated
	AuthReqID string        `json:"auth_req_id,omitempty"` // of the ask by which a person authorized it
	Grant     string        `json:"grant"`                 // its type

	ClientID  string             `json:"client_id"`
	Key       string             `json:"key,omitempty"` // that the client authenticated with
	Subject   string             `json:"sub"`
	Actors    []string           `json:"actors,omitempty"` // who acts for the subject, the nearest first
	MayAct    string             `json:"may_act,omitempty"`
	Audience  []string           `json:"aud"`
	Scope     []string           `json:"scope"`
	Details   []authz.Detail     `json:"authorization_details,omitempty"`
	ACR       string             `json:"acr"`
	AMR       []string           `json:"amr,omitempty"`
	AuthTime  int64              `json:"auth_time"` // 0: not known
	Txn       string             `json:"txn,omitempty"`
	Bound     token.Confirmation `json:"cnf,omitzero"`
	Refused   []Refusal          `json:"refused,omitempty"` // what was asked for and left out
	Signer    string             `json:"kid"`
	Digest    string             `json:"digest"`           // SHA-256 of the token, base64url
	Parent    string             `json:"parent,omitempty"` // Digest of the token that was exchanged
	Decisions int                `json:"decisions"`
}

// A RecordedUse is a single-use assertion as an entry has it.
type RecordedUse struct {
	Hash  string `json:"hash"`  // see UseOf; base64url
	Until int64  `json:"until"` // seconds since 1970; afterwards it is refused for its age
}

// A Refusal tells which capability was not granted, and why.
type Refusal struct {
	Identifier string `json:"identifier"`
	Code       string `json:"code"`
	Message    string `json:"message"`
}

// ParseIssued reads the body of a token.issued entry.
func ParseIssued(body []byte) (*Issued, error) {
	i := new(Issued)
	if err := json.Unmarshal(body, i); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading a recorded token: %w", err)
	}
	return i, nil
}

// Append appends i's JSON form to b. It writes what encoding/json would, at a fraction of the cost.
func (i *Issued) Append(b []byte) []byte {
	b = appendUses(b, i.Uses)
	b = append(b, `,"jti":`...)
	b = appendString(b, i.ID)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, i.IssuedAt, 10)
	b = append(b, `,"exp":`...)
	b = strconv.AppendInt(b, i.Expires, 10)
	b = append(b, `,"ancestors":`...)
	b = appendStrings(b, i.Ancestors)
	b = appendText(b, `,"ip":`, i.Address)
	b = appendText(b, `,"method":`, i.Method)
	b = appendText(b, `,"auth_req_id":`, i.AuthReqID)
	b = append(b, `,"grant":`...)
	b = appendString(b, i.Grant)

	b = append(b, `,"client_id":`...)
	b = appendString(b, i.ClientID)
	b = appendText(b, `,"key":`, i.Key)
	b = append(b, `,"sub":`...)
	b = appendString(b, i.Subject)
	if len(i.Actors) > 0 {
		b = append(b, `,"actors":`...)
		b = appendStrings(b, i.Actors)
	}
	b = appendText(b, `,"may_act":`, i.MayAct)
	b = append(b, `,"aud":`...)
	b = appendStrings(b, i.Audience)
	b = append(b, `,"scope":`...)
	b = appendStrings(b, i.Scope)
	if len(i.Details) > 0 {
		b = append(b, `,"authorization_details":`...)
		b = token.AppendDetails(b, i.Details)
	}
	b = append(b, `,"acr":`...)
	b = appendString(b, i.ACR)
	if len(i.AMR) > 0 {
		b = append(b, `,"amr":`...)
		b = appendStrings(b, i.AMR)
	}
	b = append(b, `,"auth_time":`...)
	b = strconv.AppendInt(b, i.AuthTime, 10)
	b = appendText(b, `,"txn":`, i.Txn)
	if i.Bound != (token.Confirmation{}) {
		b = append(b, `,"cnf":{`...)
		if i.Bound.JKT != "" {
			b = appendString(append(b, `"jkt":`...), i.Bound.JKT)
		}
		if i.Bound.X5TS256 != "" {
			if i.Bound.JKT != "" {
				b = append(b, ',')
			}
			b = appendString(append(b, `"x5t#S256":`...), i.Bound.X5TS256)
		}
		b = append(b, '}')
	}
	if len(i.Refused) > 0 {
		b = append(b, `,"refused":`...)
		b = appendRefusals(b, i.Refused)
	}
	b = append(b, `,"kid":`...)
	b = appendString(b, i.Signer)
	b = append(b, `,"digest":`...)
	b = appendString(b, i.Digest)
	b = appendText(b, `,"parent":`, i.Parent)
	b = append(b, `,"decisions":`...)
	b = strconv.AppendInt(b, int64(i.Decisions), 10)
	return append(b, '}')
}

// appendRefusals appends the JSON form of refusals.
func appendRefusals(b []byte, list []Refusal) []byte {
	b = append(b, '[')
	for n, r := range list {
		b = append(comma(b, n), `{"identifier":`...)
		b = appendString(b, r.Identifier)
		b = append(b, `,"code":`...)
		b = appendString(b, r.Code)
		b = append(b, `,"message":`...)
		b = append(appendString(b, r.Message), '}')
	}
	return append(b, ']')
}

// A Revoked is the body of a token.revoked entry: the token and all that was exchanged from it count
// no more.
type Revoked struct {
	ID       string `json:"jti"`
	Expires  int64  `json:"exp"` // seconds since 1970
	ClientID string `json:"client_id,omitempty"`
	Subject  string `json:"sub,omitempty"`
	Why      string `json:"why,omitempty"`
}

// ParseRevoked reads the body of a token.revoked entry.
func ParseRevoked(body []byte) (*Revoked, error) {
	r := new(Revoked)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading a recorded revocation: %w", err)
	}
	return r, nil
}

// draft returns the entry that records r.
func (r *Revoked) draft(actor string) (audit.Draft, error) {
	body, err := json.Marshal(r)
	return audit.Draft{Kind: audit.TokenRevoked, Actor: actor, Body: body}, err
}

// A head is what every process reads of a token.issued entry.
type head struct {
	uses      []Use
	id        tokenID
	exp       int64
	ancestors []tokenID
	ask       string // by which a person authorized it, "" if nobody was asked
	origin    origin
}

// parseHead reads the first members of a token.issued entry, exactly as Append writes them.
func parseHead(body []byte) (h head, ok bool) {
	p := prefix{rest: body}
	h.uses = p.uses()
	p.skip(`,"jti":`)
	p.bytes(h.id[:])
	p.skip(`,"iat":`)
	p.number()
	p.skip(`,"exp":`)
	h.exp = p.number()
	p.skip(`,"ancestors":[`)
	for n := 0; p.ok() && p.rest[0] != ']'; n++ {
		if n > 0 {
			p.skip(`,`)
		}
		var id tokenID
		p.bytes(id[:])
		h.ancestors = append(h.ancestors, id)
	}
	p.skip(`]`)
	if p.has(`,"ip":`) {
		var err error
		if h.origin.address, err = netip.ParseAddr(p.text()); err != nil {
			p.bad = true
		}
	}
	if p.has(`,"method":`) {
		h.origin.method = known(p.text())
	}
	if p.has(`,"auth_req_id":`) {
		h.ask = p.text()
	}
	p.skip(`,"grant":`)
	h.origin.grant = known(p.text())
	return h, !p.bad && h.id.block() > 0
}

// uses reads the assertions that begin an entry.
func (p *prefix) uses() (all []Use) {
	p.skip(`{"uses":[`)
	for n := 0; p.ok() && p.rest[0] != ']'; n++ {
		var u Use
		if n > 0 {
			p.skip(`,`)
		}
		p.skip(`{"hash":`)
		p.bytes(u.Hash[:])
		p.skip(`,"until":`)
		u.Until = time.Unix(p.number(), 0)
		p.skip(`}`)
		all = append(all, u)
	}
	p.skip(`]`)
	return all
}

// parseUsed reads the body of an assertion.used entry: {"uses": [{"hash", "until"}]}.
func parseUsed(body []byte) ([]Use, bool) {
	p := prefix{rest: body}
	uses := p.uses()
	p.skip(`}`)
	return uses, !p.bad && len(p.rest) == 0 && len(uses) > 0
}

// appendUses appends the member uses, with the brace that begins its entry.
func appendUses(b []byte, uses []RecordedUse) []byte {
	b = append(b, `{"uses":[`...)
	for n, u := range uses {
		b = append(comma(b, n), `{"hash":`...)
		b = appendString(b, u.Hash)
		b = append(b, `,"until":`...)
		b = append(strconv.AppendInt(b, u.Until, 10), '}')
	}
	return append(b, ']')
}

// recordedUses returns assertions as entries have them. Nil ones are none.
func recordedUses(uses []*Use) (all []RecordedUse) {
	for _, u := range uses {
		if u != nil {
			all = append(all, RecordedUse{base64.RawURLEncoding.EncodeToString(u.Hash[:]), u.Until.Unix()})
		}
	}
	return all
}

// known returns the constant that s is equal to, so that no copy is kept of every token.
func known(s string) string {
	for _, c := range [...]string{methodKey, methodTLS, methodSelfSigned, methodSPIFFEJWT, methodSPIFFEX509, methodWorkload, grantClient, grantAssertion, grantExchange, grantCIBA} {
		if c == s {
			return c
		}
	}
	return s
}

// A prefix reads a text from its beginning. The first thing that is not as expected makes it bad.
type prefix struct {
	rest []byte
	bad  bool
}

func (p *prefix) ok() bool { return !p.bad && len(p.rest) > 0 }

// has skips s if it comes next.
func (p *prefix) has(s string) bool {
	if p.bad || len(p.rest) < len(s) || string(p.rest[:len(s)]) != s {
		return false
	}
	p.rest = p.rest[len(s):]
	return true
}

func (p *prefix) skip(s string) { p.bad = !p.has(s) || p.bad }

// text returns a string without escapes.
func (p *prefix) text() string {
	if !p.has(`"`) {
		p.bad = true
		return ""
	}
	n := bytes.IndexByte(p.rest, '"')
	if n < 0 || bytes.IndexByte(p.rest[:n], '\\') >= 0 {
		p.bad = true
		return ""
	}
	s := string(p.rest[:n])
	p.rest = p.rest[n+1:]
	return s
}

// bytes fills b from a string in base64url.
func (p *prefix) bytes(b []byte) {
	n := base64.RawURLEncoding.EncodedLen(len(b))
	if p.bad || len(p.rest) < n+2 || p.rest[0] != '"' || p.rest[n+1] != '"' {
		p.bad = true
		return
	}
	if m, err := base64.RawURLEncoding.Strict().Decode(b, p.rest[1:n+1]); err != nil || m != len(b) {
		p.bad = true
		return
	}
	p.rest = p.rest[n+2:]
}

// number returns a whole number that is not negative.
func (p *prefix) number() int64 {
	n, digits := int64(0), 0
	for p.ok() && p.rest[0] >= '0' && p.rest[0] <= '9' && digits < 18 {
		n = n*10 + int64(p.rest[0]-'0')
		p.rest = p.rest[1:]
		digits++
	}
	p.bad = p.bad || digits == 0
	return n
}
