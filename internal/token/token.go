// Package token reads and writes what is signed: compact JWS (RFC 7515), public keys and sets of
// them (RFC 7517), passports (RFC 9068), assertions (RFC 7523), DPoP proofs (RFC 9449), status lists
// (draft-ietf-oauth-status-list), and what binds an access request and an approval to one act (AuthZEN
// Access Request and Approval Profile, draft 1; ARAP here). go-jose does the signatures, and stays
// behind this package.
//
// What comes in is read twice: first by the strict reader here, then by go-jose, which verifies it,
// and both must have seen the same payload. (Where the algorithm has the name Ed25519, which go-jose
// does not know, crypto/ed25519 verifies what the strict reader saw.) The strict reader takes one form of each thing. It
// refuses text that is not canonical base64url, members that occur twice, JSON that is nested more
// than MaxDepth deep, algorithms outside the closed list (none and the symmetric ones above all),
// headers that point to keys elsewhere, and extensions marked critical. A key that a token brings
// along verifies nothing unless the caller asks for just that key. Other header members are ignored,
// as RFC 7515, section 4, demands.
//
// Nothing here does I/O, keeps state, or knows the time: the caller fetches keys, decides which of
// them may sign for whom, compares audiences and times, and remembers identifiers that count once.
//
// What is not solved: a JWS is not encrypted, so whoever sees a passport reads it. An ECDSA signature
// can be altered into another valid one without the key, so the text of a token does not identify it;
// its jti does. JOSE fixes no encoding of claims, so two texts may mean the same passport. RSA-PSS is
// verified with whatever length of salt the signer took, as go-jose does it. An Ed25519 key that is
// no point of the curve is taken for a key, and verifies nothing. Status lists have one bit a token;
// lists of two, four and eight bits are refused.
package token

const (
	// MaxToken is the most bytes of any compact JWS that is read or made, status lists apart.
	MaxToken = 8 << 10

	// MaxStatusToken is the most bytes of a status list token that is read or made.
	MaxStatusToken = 1 << 20

	// MaxDepth is how deep the JSON of a header or a payload may be nested.
	MaxDepth = 16

	// MaxActors is how many actors the chain of a passport may name.
	MaxActors = 8
)
