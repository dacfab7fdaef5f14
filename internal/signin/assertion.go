package signin

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

// Evidence is a passkey assertion over a digest, with what verifies it: a proof, for anybody and for ever,
// that whoever held the passkey, and was verified by it, agreed to what the digest stands for. That the
// public key is the person's is in the log, in the passkey.put entry which registered it.
type Evidence struct {
	Type              string `json:"type"` // webauthn
	Person            string `json:"person"`
	Passkey           string `json:"passkey"`            // base64url of the credential id
	PublicKey         string `json:"public_key"`         // base64url of the COSE key
	RelyingParty      string `json:"rp_id"`              // whose SHA-256 is in the authenticator data
	Origin            string `json:"origin"`             // of the page
	AuthenticatorData string `json:"authenticator_data"` // base64url, like the two that follow
	ClientData        string `json:"client_data_json"`
	Signature         string `json:"signature"`
}

// evidenceType names the form of Evidence.
const evidenceType = "webauthn"

// Bounds of an assertion.
const (
	maxAssertion = 16 << 10
	maxEvidence  = 32 << 10
)

// VerifyAssertion verifies a passkey assertion, in the JSON form of PublicKeyCredential, whose challenge is
// the digest. The passkey must be one of the person's that counts, and must have verified its user. An
// assertion counts once in this process; in the whole installation that follows from the digest, in which
// the number of a view is that can be answered once.
//
// It returns the assertion as Evidence. It returns authz.ErrInvalid if there is no assertion to read, and
// authz.ErrForbidden if it does not count.
func (d *Door) VerifyAssertion(person *people.Person, digest [32]byte, assertion json.RawMessage) (evidence json.RawMessage, err error) {
	if d.wa == nil {
		return nil, errNoPasskeys
	}
	if len(assertion) == 0 || len(assertion) > maxAssertion {
		return nil, authz.Errorf(authz.ErrInvalid, "a passkey assertion has 1 to %d bytes", maxAssertion)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(assertion)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the passkey assertion cannot be read")
	}
	if person.Disabled {
		return nil, authz.Errorf(authz.ErrForbidden, "person %q is disabled", person.ID)
	}
	u, err := userOf(person)
	if err != nil {
		return nil, err
	}
	text := base64.RawURLEncoding.EncodeToString
	raw := parsed.Raw.AssertionResponse
	for _, k := range u.keys {
		if !bytes.Equal(k.ID, parsed.RawID) {
			continue
		}
		if h := parsed.Response.UserHandle; len(h) > 0 && !bytes.Equal(h, u.WebAuthnID()) {
			break
		}
		if k.Flags.BackupEligible != parsed.Response.AuthenticatorData.Flags.HasBackupEligible() {
			break // WebAuthn, 7.2, step 19: it never changes
		}
		e := Evidence{
			Type: evidenceType, Person: person.ID, Passkey: text(k.ID), PublicKey: text(k.PublicKey),
			RelyingParty: d.wa.Config.RPID, Origin: d.origins[0],
			AuthenticatorData: text(raw.AuthenticatorData), ClientData: text(raw.ClientDataJSON), Signature: text(raw.Signature),
		}
		if err := e.verify(digest); err != nil {
			return nil, err
		}
		if err := d.used.once(raw, k.ID, k.Authenticator.SignCount, parsed.Response.AuthenticatorData.Counter); err != nil {
			return nil, err
		}
		return json.Marshal(e)
	}
	return nil, authz.Errorf(authz.ErrForbidden, "the assertion is of no passkey of person %q", person.ID)
}

// ParseEvidence decodes what VerifyAssertion returned, and verifies that it is an assertion over the digest
// by its own public key. Anybody can do so, without the service. It returns authz.ErrInvalid if it cannot
// be read, and authz.ErrForbidden if it proves nothing.
func ParseEvidence(evidence json.RawMessage, digest [32]byte) (*Evidence, error) {
	var e Evidence
	dec := json.NewDecoder(bytes.NewReader(evidence))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); len(evidence) > maxEvidence || err != nil || dec.More() || e.Type != evidenceType {
		return nil, authz.Errorf(authz.ErrInvalid, "the evidence cannot be read")
	}
	if err := e.verify(digest); err != nil {
		return nil, err
	}
	return &e, nil
}

// verify verifies the assertion as WebAuthn, 7.2 says, steps 5 to 21.
func (e *Evidence) verify(digest [32]byte) error {
	var parts [5][]byte
	for i, s := range []string{e.Passkey, e.PublicKey, e.AuthenticatorData, e.ClientData, e.Signature} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(s)
		if err != nil || len(b) == 0 {
			return authz.Errorf(authz.ErrInvalid, "the evidence is not base64url")
		}
		parts[i] = b
	}
	car := protocol.CredentialAssertionResponse{
		PublicKeyCredential: protocol.PublicKeyCredential{Credential: protocol.Credential{ID: e.Passkey, Type: "public-key"}, RawID: parts[0]},
		AssertionResponse: protocol.AuthenticatorAssertionResponse{
			AuthenticatorResponse: protocol.AuthenticatorResponse{ClientDataJSON: parts[3]}, AuthenticatorData: parts[2], Signature: parts[4],
		},
	}
	parsed, err := car.Parse()
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "the assertion cannot be read")
	}
	challenge := base64.RawURLEncoding.EncodeToString(digest[:])
	if parsed.Response.CollectedClientData.Challenge != challenge {
		return authz.Errorf(authz.ErrForbidden, "the assertion is over something else")
	}
	if err := parsed.Verify(challenge, e.RelyingParty, "", []string{e.Origin}, nil, nil, protocol.TopOriginExplicitVerificationMode,
		false, true, true, parts[1], protocol.SignaturePolicy{}); err != nil {
		return authz.Errorf(authz.ErrForbidden, "the assertion does not verify")
	}
	return nil
}

// replays remembers the assertions of the last minutes, and the signature counters of passkeys.
type replays struct {
	now func() time.Time

	mu     sync.Mutex
	seen   map[[32]byte]time.Time
	counts map[string]uint32 // by credential id
}

// How long assertions are remembered, longer than a view can be answered, and how many.
const (
	keepSeen = 20 * time.Minute
	maxSeen  = 20_000
)

// once returns authz.ErrForbidden if the assertion was seen before, or if its counter did not grow: above
// known, which the log says, and above what was seen here since (WebAuthn, 7.2, step 22).
func (rs *replays) once(raw protocol.AuthenticatorAssertionResponse, id []byte, known, count uint32) error {
	client := sha256.Sum256(raw.ClientDataJSON)
	h := sha256.New()
	h.Write(client[:])
	data := sha256.Sum256(raw.AuthenticatorData)
	h.Write(data[:])
	key := [32]byte(h.Sum(nil))
	now := rs.now()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.seen == nil {
		rs.seen, rs.counts = map[[32]byte]time.Time{}, map[string]uint32{}
	}
	if at, ok := rs.seen[key]; ok && now.Sub(at) < keepSeen {
		return authz.Errorf(authz.ErrForbidden, "the assertion was used before: look at the ask anew")
	}
	known = max(known, rs.counts[string(id)])
	if (known != 0 || count != 0) && count <= known {
		return authz.Errorf(authz.ErrForbidden, "the passkey's signature counter did not grow: it may have been copied")
	}
	if len(rs.seen) >= maxSeen {
		for k, at := range rs.seen {
			if now.Sub(at) >= keepSeen {
				delete(rs.seen, k)
			}
		}
		if len(rs.seen) >= maxSeen {
			return authz.Errorf(authz.ErrUnavailable, "too many assertions at once")
		}
	}
	rs.seen[key] = now
	if count != 0 {
		rs.counts[string(id)] = count
	}
	return nil
}
