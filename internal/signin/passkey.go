package signin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

// errNoPasskeys is for services that browsers reach by an address.
var errNoPasskeys = authz.Errorf(authz.ErrInvalid, "there are no passkeys here: browsers need https and a host name in public_url, or http://localhost")

// A user is a person as the WebAuthn library knows one.
type user struct {
	p    *people.Person
	keys []webauthn.Credential
}

// userOf returns the person with the passkeys that count.
func userOf(p *people.Person) (*user, error) {
	u := &user{p: p}
	for _, k := range p.Passkeys {
		if !k.Active() {
			continue
		}
		var c webauthn.Credential
		if err := json.Unmarshal(k.Record, &c); err != nil {
			return nil, fmt.Errorf("decoding passkey %q of person %q: %w", k.ID, p.ID, err)
		}
		c.Authenticator.SignCount = uint32(k.Count)
		u.keys = append(u.keys, c)
	}
	return u, nil
}

// WebAuthnID is the user handle, which authenticators keep and show to whoever holds them: the hash of the
// id, so that it tells no name.
func (u *user) WebAuthnID() []byte {
	h := sha256.Sum256([]byte("safeconduct person " + u.p.ID))
	return h[:]
}

func (u *user) WebAuthnName() string                       { return u.p.ID }
func (u *user) WebAuthnDisplayName() string                { return u.p.Name }
func (u *user) WebAuthnCredentials() []webauthn.Credential { return u.keys }

type beginEnrol struct {
	Token string `json:"token"`
}

// An Enrolling is what a page needs to make a passkey.
type Enrolling struct {
	Person  string                       `json:"person"` // the name
	Options *protocol.CredentialCreation `json:"options"`
}

func (d *Door) beginEnrol(w http.ResponseWriter, r *http.Request) (any, error) {
	var in beginEnrol
	if err := d.read(r, &in); err != nil {
		return nil, err
	}
	if d.wa == nil {
		return nil, errNoPasskeys
	}
	p, err := d.cfg.People.PendingEnrolment(in.Token, d.cfg.Now())
	if err != nil {
		return nil, err
	}
	u, err := userOf(p)
	if err != nil {
		return nil, err
	}
	var has []protocol.CredentialDescriptor
	for i := range u.keys {
		has = append(has, u.keys[i].Descriptor())
	}
	options, session, err := d.wa.BeginRegistration(u, webauthn.WithExclusions(has))
	if err != nil {
		return nil, fmt.Errorf("beginning to register a passkey: %w", err)
	}
	if err := d.keepFlow(w, flowEnrol, flow{Challenge: session.Challenge, Person: p.ID}); err != nil {
		return nil, err
	}
	return Enrolling{p.Name, options}, nil
}

type finishEnrol struct {
	Token      string          `json:"token"`
	Title      string          `json:"title"`
	Credential json.RawMessage `json:"credential"`
}

// finishEnrol registers the passkey, and signs its holder in: they have just proved that they hold it.
func (d *Door) finishEnrol(w http.ResponseWriter, r *http.Request) (any, error) {
	var in finishEnrol
	if err := d.read(r, &in); err != nil {
		return nil, err
	}
	if d.wa == nil {
		return nil, errNoPasskeys
	}
	f, err := d.takeFlow(w, r, flowEnrol)
	if err != nil {
		return nil, err
	}
	p, err := d.cfg.People.PendingEnrolment(in.Token, d.cfg.Now())
	if err != nil {
		return nil, err
	}
	if p.ID != f.Person {
		return nil, people.ErrToken
	}
	u, err := userOf(p)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(in.Credential)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the passkey cannot be read")
	}
	made, err := d.wa.CreateCredential(u, webauthn.SessionData{
		Challenge: f.Challenge, UserID: u.WebAuthnID(), UserVerification: protocol.VerificationRequired,
		CredParams: webauthn.CredentialParametersDefault(),
	}, parsed)
	if err != nil {
		d.warn(r, "passkey not registered", "person", p.ID, "err", err)
		return nil, authz.Errorf(authz.ErrForbidden, "the passkey does not fit what was asked for")
	}
	// What is kept of the attestation could only be checked against lists of makers, which we have none of.
	made.Attestation = webauthn.CredentialAttestation{}
	record, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("encoding a passkey: %w", err)
	}
	id := base64.RawURLEncoding.EncodeToString(made.ID)
	if p, err = d.cfg.People.Register(r.Context(), in.Token, people.Passkey{
		ID: id, Title: in.Title, Record: record, Count: int64(made.Authenticator.SignCount),
	}); err != nil {
		return nil, err
	}
	d.cfg.Logger.InfoContext(r.Context(), "passkey registered", "person", p.ID)
	return struct {
		Person string `json:"person"`
	}{p.Name}, nil
}

// An Asserting is what a page needs to use a passkey.
type Asserting struct {
	Options *protocol.CredentialAssertion `json:"options"`
}

func (d *Door) beginSignIn(w http.ResponseWriter, r *http.Request) (any, error) {
	var in struct{}
	if err := d.read(r, &in); err != nil {
		return nil, err
	}
	if d.wa == nil {
		return nil, errNoPasskeys
	}
	// The passkey says whose it is, so nobody can find out here who has one.
	options, session, err := d.wa.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("beginning to sign in: %w", err)
	}
	if err := d.keepFlow(w, flowSignIn, flow{Challenge: session.Challenge}); err != nil {
		return nil, err
	}
	return Asserting{options}, nil
}

type finishSignIn struct {
	Credential json.RawMessage `json:"credential"`
}

func (d *Door) finishSignIn(w http.ResponseWriter, r *http.Request) (any, error) {
	var in finishSignIn
	if err := d.read(r, &in); err != nil {
		return nil, err
	}
	if d.wa == nil {
		return nil, errNoPasskeys
	}
	f, err := d.takeFlow(w, r, flowSignIn)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(in.Credential)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the passkey's answer cannot be read")
	}
	id := base64.RawURLEncoding.EncodeToString(parsed.RawID)
	p, err := d.cfg.People.Holder(id)
	if err != nil {
		d.warn(r, "sign-in with an unknown or revoked passkey")
		return nil, err
	}
	u, err := userOf(p)
	if err != nil {
		return nil, err
	}
	key, err := d.wa.ValidateLogin(u, webauthn.SessionData{
		Challenge: f.Challenge, UserID: u.WebAuthnID(), UserVerification: protocol.VerificationRequired,
	}, parsed)
	if err != nil || len(parsed.Response.UserHandle) == 0 {
		d.warn(r, "sign-in refused", "person", p.ID, "err", err)
		return nil, authz.Errorf(authz.ErrUnauthenticated, "the passkey's answer does not count")
	}
	token, s, err := d.cfg.People.SignIn(r.Context(), people.Login{
		Person: p.ID, Challenge: f.Challenge, Passkey: id, Count: int64(parsed.Response.AuthenticatorData.Counter),
	})
	if err != nil {
		return nil, err
	}
	if key.Authenticator.CloneWarning { // cannot be: the log has refused a counter that did not grow
		d.cfg.Logger.ErrorContext(r.Context(), "passkey may have been copied", "person", p.ID)
	}
	if err := d.setSession(w, token, s); err != nil {
		return nil, err
	}
	return me(s), nil
}
