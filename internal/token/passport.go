package token

import (
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// PassportType is the typ of a passport (RFC 9068, section 2.1).
const PassportType = "at+jwt"

// ConductClaim is the name of the one claim that is of our invention.
const ConductClaim = "urn:safeconduct:conduct"

// A Passport has the claims of an access token. Those that are zero are not written.
//
// Scope and Details name the same capabilities. A detail that narrows nothing is not written if the
// scope names its capability, which keeps passports short; ParsePassport puts it back. So what the
// scope names and no detail narrows is carried in full.
type Passport struct {
	// RFC 9068, section 2.2: all of them are required.
	Issuer   string
	Subject  string // whom it is about: the agent, or the person for whom agents act
	ClientID string // the agent it was issued to
	Audience []string
	ID       string // jti
	IssuedAt time.Time
	Expires  time.Time

	NotBefore time.Time
	AuthTime  time.Time
	Scope     []string       // ids of the capabilities
	Details   []authz.Detail // authorization_details (RFC 9396), by identifier
	ACR       string
	AMR       []string // how the subject authenticated (RFC 8176)
	Txn       string   // correlates what one transaction issues

	Actor        *Actor // who acts (RFC 8693, section 4.1), nil if the subject itself does
	MayAct       *Actor // who may act for the subject (RFC 8693, section 4.4)
	Confirmation Confirmation
	Status       *StatusRef
	Conduct      *Conduct
}

// An Actor is who acts for a subject, by a token of its own, and before it whoever acted for that one. The
// first of them has no ID if the subject is a person: nothing was exchanged, the person was asked.
type Actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
	ID       string `json:"jti,omitempty"` // of the token that was exchanged
	Actor    *Actor `json:"act,omitempty"`
}

// A Confirmation says to which key a passport is bound (RFC 7800).
type Confirmation struct {
	JKT     string `json:"jkt,omitempty"`      // thumbprint of a DPoP key (RFC 9449, section 6.1)
	X5TS256 string `json:"x5t#S256,omitempty"` // hash of a certificate (RFC 8705, section 3.1)
}

// A StatusRef says where a passport's status is kept (draft-ietf-oauth-status-list, section 6.2).
type StatusRef struct {
	Index int64  `json:"idx"`
	URI   string `json:"uri"`
}

// Conduct is how the agent has behaved, for verifiers that cannot ask us.
type Conduct struct {
	Level     string   `json:"level"`
	Score     float64  `json:"score"`
	Window    string   `json:"window"` // what was looked at, an ISO 8601 duration
	Decisions int64    `json:"decisions"`
	Denied    int64    `json:"denied"`
	AsOf      int64    `json:"as_of"` // number of the newest log entry looked at
	History   *History `json:"history,omitempty"`
}

// A History is where the record of the conduct is, and what it must hash to.
type History struct {
	URI    string `json:"uri"`    // may be relative to the issuer, to be short
	Digest string `json:"digest"` // root of the log's tree, SHA-256 in base64, as in its checkpoint
	Size   int64  `json:"size"`
}

// Depth returns how many actors the chain has.
func (a *Actor) Depth() int {
	n := 0
	for ; a != nil; a = a.Actor {
		n++
	}
	return n
}

// ParsePassport reads the payload of a verified JWS of PassportType. It returns authz.ErrInvalid if a
// required claim is missing or one is not as we write it. Claims it does not know are skipped, except
// where one might narrow the token: in authorization_details, cnf, act, may_act and status.
func ParsePassport(payload []byte) (*Passport, error) {
	p := new(Passport)
	if err := readObject("the passport", payload, p.read); err != nil {
		return nil, err
	}
	if p.Issuer == "" || p.Subject == "" || p.ClientID == "" || p.Audience == nil || p.ID == "" || p.IssuedAt.IsZero() || p.Expires.IsZero() {
		return nil, authz.Errorf(authz.ErrInvalid, "the passport lacks one of iss, sub, client_id, aud, jti, iat, exp")
	}
	p.complete()
	return p, nil
}

// complete adds the details that Append left out.
func (p *Passport) complete() {
	n := len(p.Details)
	for _, id := range p.Scope {
		if _, ok := slices.BinarySearchFunc(p.Details[:n], id, byIdentifier); !ok {
			p.Details = append(p.Details, authz.Detail{Type: authz.DetailType, Identifier: id})
		}
	}
	sortDetails(p.Details)
}

// carries reports whether the scope says all that d does.
func (p *Passport) carries(d *authz.Detail) bool {
	return len(d.Actions) == 0 && len(d.Locations) == 0 && d.Limits == nil && slices.Contains(p.Scope, d.Identifier)
}

func (p *Passport) read(r *reader, name string) {
	switch name {
	case "iss":
		p.Issuer = r.text()
	case "sub":
		p.Subject = r.text()
	case "client_id":
		p.ClientID = r.text()
	case "aud":
		p.Audience = r.oneOrMore()
	case "jti":
		p.ID = r.text()
	case "iat":
		p.IssuedAt = r.second()
	case "exp":
		p.Expires = r.second()
	case "nbf":
		p.NotBefore = r.second()
	case "auth_time":
		p.AuthTime = r.second()
	case "scope":
		p.Scope = r.scope()
	case "authorization_details":
		p.Details = r.details()
	case "acr":
		p.ACR = r.text()
	case "amr":
		p.AMR = r.texts()
	case "txn":
		p.Txn = r.text()
	case "act":
		p.Actor = r.actor(MaxActors)
	case "may_act":
		p.MayAct = r.actor(1)
	case "cnf":
		p.Confirmation = r.confirmation()
	case "status":
		p.Status = r.status()
	case ConductClaim:
		p.Conduct = r.conduct()
	default:
		r.skip()
	}
}

// scope returns the scope that comes next (RFC 6749, section 3.3).
func (r *reader) scope() []string {
	s := r.text()
	if r.err != nil {
		return nil
	}
	list := strings.Split(s, " ")
	for _, id := range list {
		if id == "" || strings.ContainsFunc(id, notScope) {
			r.fail("must be words with one space between them")
		}
	}
	if sorted := slices.Sorted(slices.Values(list)); len(slices.Compact(sorted)) < len(list) {
		r.fail("has a word twice")
	}
	return list
}

func notScope(c rune) bool { return c < '!' || c > '~' || c == '"' || c == '\\' }

func (r *reader) actor(most int) *Actor {
	if most == 0 {
		r.fail("names too many actors")
		return nil
	}
	a := new(Actor)
	r.members(func(name string) {
		switch name {
		case "sub":
			a.Subject = r.text()
		case "client_id":
			a.ClientID = r.text()
		case "jti":
			a.ID = r.text()
		case "act":
			a.Actor = r.actor(most - 1)
		default:
			r.fail("holds what is not known: %.40q", name)
		}
	})
	if a.Subject == "" {
		r.fail("names no actor")
	}
	return a
}

func (r *reader) confirmation() (c Confirmation) {
	r.members(func(name string) {
		switch name {
		case "jkt":
			c.JKT = r.hash()
		case "x5t#S256":
			c.X5TS256 = r.hash()
		default:
			r.fail("binds in a way that is not known: %.40q", name)
		}
	})
	if c == (Confirmation{}) {
		r.fail("binds to nothing")
	}
	return c
}

// hash returns the SHA-256 hash in base64url that comes next.
func (r *reader) hash() string {
	s := r.text()
	if b, err := decode(r.name, s); err != nil || len(b) != 32 {
		r.fail("must be a SHA-256 hash in base64url")
	}
	return s
}

func (r *reader) status() *StatusRef {
	s, index := new(StatusRef), false
	r.members(func(name string) {
		if name != "status_list" {
			r.fail("is kept in a way that is not known: %.40q", name)
			return
		}
		r.members(func(name string) {
			switch name {
			case "idx":
				s.Index, index = r.integer(), true
			case "uri":
				s.URI = r.text()
			default:
				r.skip()
			}
		})
	})
	if !index || s.URI == "" {
		r.fail("lacks idx or uri")
	}
	return s
}

func (r *reader) conduct() *Conduct {
	c := new(Conduct)
	r.members(func(name string) {
		switch name {
		case "level":
			c.Level = r.text()
		case "score":
			c.Score = r.number()
		case "window":
			c.Window = r.text()
		case "decisions":
			c.Decisions = r.integer()
		case "denied":
			c.Denied = r.integer()
		case "as_of":
			c.AsOf = r.integer()
		case "history":
			c.History = r.history()
		default:
			r.skip()
		}
	})
	return c
}

func (r *reader) history() *History {
	h := new(History)
	r.members(func(name string) {
		switch name {
		case "uri":
			h.URI = r.text()
		case "digest":
			h.Digest = r.text()
		case "size":
			h.Size = r.integer()
		default:
			r.skip()
		}
	})
	return h
}
