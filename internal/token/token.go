// Package token reads and writes what is signed: compact JWS (RFC 7515), public keys (RFC 7517),
// passports (RFC 9068), DPoP proofs (RFC 9449) and status lists.
package token

import (
	"crypto"
	"encoding/json"
	"io"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// MaxToken is the most bytes of any compact JWS that is read.
const MaxToken = 8 << 10

// A Key is a public key: Ed25519, P-256, or RSA of at least 2048 bits.
type Key struct {
	ID     string // RFC 7638 thumbprint, SHA-256, base64url
	Name   string // what its publisher calls it: the kid of the JWK it was read from, "" if it had none
	Public crypto.PublicKey
}

func NewKey(pub crypto.PublicKey) (*Key, error) { return nil, errSkeleton }
func ParseKey(jwk []byte) (*Key, error)         { return nil, errSkeleton }
func ParseKeySet(doc []byte) ([]*Key, error)    { return nil, errSkeleton }
func (k *Key) JWK() json.RawMessage             { return nil }
func (k *Key) Algorithms() []string             { return nil }

// A Signer signs compact JWS.
type Signer struct{ key *Key }

func NewSigner(s crypto.Signer) (*Signer, error) { return nil, errSkeleton }
func GenerateSigner(alg string, rand io.Reader) (*Signer, crypto.Signer, error) {
	return nil, nil, errSkeleton
}
func (s *Signer) Key() *Key                                              { return s.key }
func (s *Signer) Algorithm() string                                      { return "" }
func (s *Signer) Sign(typ string, payload []byte) (string, error)        { return "", errSkeleton }
func (s *Signer) SignWithKey(typ string, payload []byte) (string, error) { return "", errSkeleton }

// A JWS is a compact JWS that was read, and not verified yet.
type JWS struct {
	Algorithm, Type, KeyID string
	JWK                    *Key // the embedded public key, nil if there is none
	Payload                []byte
}

func Parse(text string) (*JWS, error) { return nil, errSkeleton }
func (j *JWS) Verify(k *Key) error    { return errSkeleton }

// Is reports whether j says that it is of the type: "at+jwt" and "application/at+jwt" are the same.
func (j *JWS) Is(typ string) bool { return false }

// An Assertion has the claims of a client assertion, a JWT bearer grant, or a workload's token.
type Assertion struct {
	Issuer, Subject              string
	Audience                     []string
	ID                           string
	IssuedAt, NotBefore, Expires time.Time
	Claims                       json.RawMessage
}

func ParseAssertion(payload []byte) (*Assertion, error) { return nil, errSkeleton }

const (
	PassportType = "at+jwt"
	ConductClaim = "urn:safeconduct:conduct"
)

// A Passport has the claims of an access token.
type Passport struct {
	Issuer, Subject, ClientID              string
	Audience                               []string
	ID                                     string
	IssuedAt, NotBefore, Expires, AuthTime time.Time
	Scope                                  []string
	Details                                []authz.Detail
	ACR, Txn                               string
	Actor, MayAct                          *Actor
	Confirmation                           Confirmation
	Status                                 *StatusRef
	Conduct                                *Conduct
}

type Actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
	ID       string `json:"jti,omitempty"`
	Actor    *Actor `json:"act,omitempty"`
}

type Confirmation struct {
	JKT     string `json:"jkt,omitempty"`
	X5TS256 string `json:"x5t#S256,omitempty"`
}

type StatusRef struct {
	Index int64  `json:"idx"`
	URI   string `json:"uri"`
}

type Conduct struct {
	Level             string  `json:"level"`
	Score             float64 `json:"score"`
	Window            string  `json:"window"`
	Decisions, Denied int64
	AsOf              int64    `json:"as_of"`
	History           *History `json:"history,omitempty"`
}

type History struct {
	URI    string `json:"uri"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

func (p *Passport) Append(b []byte) []byte { return b }

// ParseDetails reads authorization_details (RFC 9396) strictly: what it does not know is refused.
func ParseDetails(array []byte) ([]authz.Detail, error)     { return nil, errSkeleton }
func AppendDetails(b []byte, details []authz.Detail) []byte { return b }

func ParsePassport(payload []byte) (*Passport, error) { return nil, errSkeleton }

const ProofType = "dpop+jwt"

// A Proof is a DPoP proof.
type Proof struct {
	ID, Nonce, Method, URL, Hash string
	IssuedAt                     time.Time
	Key                          *Key
}

func ParseProof(text string) (*Proof, error) { return nil, errSkeleton }
func (p *Proof) Check(method, url, accessToken string, now time.Time, skew time.Duration) error {
	return errSkeleton
}
func SignProof(s *Signer, p Proof, accessToken string) (string, error) { return "", errSkeleton }
func AccessTokenHash(token string) string                              { return "" }

const StatusListType = "statuslist+jwt"

// A StatusList has one bit for each of many tokens.
type StatusList struct{ bits []byte }

func NewStatusList(size int) *StatusList                        { return &StatusList{make([]byte, (size+7)/8)} }
func (l *StatusList) Set(i int)                                 {}
func (l *StatusList) Get(i int) bool                            { return false }
func (l *StatusList) Encode() string                            { return "" }
func ParseStatusList(lst string, most int) (*StatusList, error) { return nil, errSkeleton }

// A StatusToken has the claims of a status list token.
type StatusToken struct {
	Subject           string // URI of the list
	IssuedAt, Expires time.Time
	TTL               time.Duration
	List              *StatusList
}

func (t *StatusToken) Append(b []byte) []byte { return b }

// ParseStatusToken reads the payload of a verified status list token.
func ParseStatusToken(payload []byte, most int) (*StatusToken, error) { return nil, errSkeleton }

// ParseStatusJWS is Parse for a status list token, which may be as long as MaxStatusToken.
func ParseStatusJWS(text string) (*JWS, error) { return nil, errSkeleton }

// MaxStatusToken is the most bytes of a status list token that is read.
const MaxStatusToken = 1 << 20

var errSkeleton = authz.Errorf(authz.ErrUnavailable, "not yet")
