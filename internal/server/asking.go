package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/console"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
	"github.com/safeconduct/safeconduct/internal/token"
)

// newAsking makes what asks persons: who they are, the desk, who tells them, and the door they come in by.
func (s *Server) newAsking(commit *committer) (err error) {
	s.people = people.NewRegistry(people.Config{Store: s.db, Log: commit, Session: s.cfg.SignIn.Session, Now: s.cfg.now})
	s.desk = approval.New(approval.Config{Store: s.db, Log: commit, Catalog: s.catalogOf, Now: s.cfg.now})
	s.asks = newAskNumbers(s.desk, s.born)
	if s.cfg.Notify.Channels != "" {
		if s.channels, err = notify.Load(s.cfg.Notify.Channels); err != nil {
			return err
		}
	}
	if s.notifier, err = notify.New(notify.Config{Store: s.db, Log: commit, Asks: s.desk, People: s.people, Catalog: s.catalogOf,
		Channels: s.channels, Public: s.publicURL(), Now: s.cfg.now, Logger: s.logger}); err != nil {
		return err
	}
	provider, err := s.cfg.SignIn.provider()
	if err != nil {
		return err
	}
	s.persons, err = signin.New(signin.Config{People: s.people, Seal: s.seal, PublicURL: s.publicURL(), Provider: provider, Idle: s.cfg.SignIn.Idle, Home: console.Path + "/", Now: s.cfg.now, Logger: s.logger})
	return err
}

// maxSecret bounds a file that holds a client's secret, in bytes.
const maxSecret = 4 << 10

// provider returns the organisation's identity provider, nil if none is named.
func (c *SignIn) provider() (*signin.Provider, error) {
	if c.Issuer == "" {
		return nil, nil
	}
	p := &signin.Provider{Name: c.Name, Issuer: c.Issuer, ClientID: c.ClientID, Scopes: c.Scopes, Claims: c.Claims, Provision: c.Provision}
	for _, text := range c.Roles {
		g, err := signin.ParseGrant(text)
		if err != nil {
			return nil, err
		}
		p.Roles = append(p.Roles, g)
	}
	if c.ClientSecretFile != "" {
		info, err := os.Stat(c.ClientSecretFile)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			return nil, authz.Errorf(authz.ErrInvalid, "sign_in.client_secret_file %s is readable by others than its owner", c.ClientSecretFile)
		}
		secret, err := readBounded(c.ClientSecretFile, maxSecret)
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "reading sign_in.client_secret_file: %w", err)
		}
		p.ClientSecret = strings.TrimSpace(string(secret))
	}
	return p, nil
}

// requests is what the profile for access requests needs.
func (s *Server) requests() *api.Requests {
	return &api.Requests{
		Desk:      s.desk,
		Catalog:   s.catalogOf,
		Active:    s.catalog,
		Signer:    bindings{s.keys},
		KeySet:    s.publicURL() + "/.well-known/jwks.json",
		Callbacks: callbacks{s.notifier},
	}
}

// besidePersons returns a handler that gives the persons' pages what is theirs, and h the rest.
func (s *Server) besidePersons(h http.Handler) http.Handler {
	own := s.persons.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.persons.Serves(r.URL.Path) {
			own.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// callbacks says where enforcement points may be called back.
type callbacks struct{ *notify.Notifier }

// Allowed implements api.CallbackRules.
func (c callbacks) Allowed(ctx context.Context, pep, endpoint string) error {
	return c.CheckCallback(ctx, pep, &approval.Callback{Endpoint: endpoint})
}

// bindings signs, by the keys that sign passports, what enforcement points carry back to us. What is
// signed tells its type, so that neither is taken for a passport.
type bindings struct{ *keyring.Ring }

// SignBinding implements api.BindingSigner.
func (b bindings) SignBinding(_ context.Context, c *token.Binding) (string, error) {
	signer, err := b.Signer(keyring.Token, "")
	if err != nil {
		return "", err
	}
	return c.Sign(signer)
}

// SignState implements api.BindingSigner.
func (b bindings) SignState(_ context.Context, a *token.ApprovalState) (string, error) {
	signer, err := b.Signer(keyring.Token, "")
	if err != nil {
		return "", err
	}
	return a.Sign(signer)
}

// VerifyBinding implements api.BindingSigner.
func (b bindings) VerifyBinding(_ context.Context, text string) (*token.Binding, error) {
	payload, err := b.verify(text, token.BindingType)
	if err != nil {
		return nil, err
	}
	return token.ParseBinding(payload)
}

// VerifyState implements api.BindingSigner.
func (b bindings) VerifyState(_ context.Context, text string) (*token.ApprovalState, error) {
	payload, err := b.verify(text, token.ApprovalStateType)
	if err != nil {
		return nil, err
	}
	return token.ParseApprovalState(payload)
}

// verify returns what a JWS of the type says, if one of our keys signed it that counts now.
func (b bindings) verify(text, typ string) ([]byte, error) {
	j, err := token.Parse(text)
	if err != nil {
		return nil, err
	}
	if j.Type != typ {
		return nil, authz.Errorf(authz.ErrInvalid, "a JWS of type %.64q where one of type %s belongs", j.Type, typ)
	}
	key, _, err := b.Key(keyring.Token, j.KeyID)
	if errors.Is(err, authz.ErrNotFound) {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "no key of ours that counts has signed it")
	}
	if err != nil {
		return nil, err
	}
	if err := j.Verify(key); err != nil {
		return nil, err
	}
	return j.Payload, nil
}

// oauthDesk lets agents ask persons for authorization of a token (CIBA). Each capability that is asked for
// is one item of the ask, with its limits as arguments; the terms are the context, so that what a passkey signs
// holds them.
type oauthDesk struct{ s *Server }

// termsMembers are the members of oauth.Terms.
var termsMembers = []string{"acr_values", "audience", "client_id", "may_act", "openid"}

// Ask implements oauth.Desk.
func (d oauthDesk) Ask(ctx context.Context, c *oauth.Consent) (string, time.Time, error) {
	terms, err := json.Marshal(c.Terms)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("encoding what is asked: %w", err)
	}
	set := d.s.library.Active()
	if set == nil {
		return "", time.Time{}, authz.Errorf(authz.ErrUnavailable, "no policy is loaded")
	}
	a := approval.Ask{
		Kind: approval.CIBA,
		Bound: approval.Bound{
			Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: string(c.Agent)}},
			OnBehalf: []authz.Ref{approval.Person{ID: c.Person}.Ref()},
			Context:  terms, Members: termsMembers,
		},
		Bulk:      true,
		Agent:     c.Agent,
		Requester: "agent:" + string(c.Agent),
		Person:    c.Person,
		Message:   c.Message,
		Details:   token.AppendDetails(nil, c.Details),
		Passkey:   c.Passkey,
		Catalog:   set.Version(),
		ExpiresAt: c.Expires,
	}
	if agent, err := d.s.agents.Agent(c.Agent); err == nil {
		a.Owner, a.Creator = agent.Owner, agent.Creator
	}
	for i := range c.Details {
		detail, err := json.Marshal(c.Details[i])
		if err != nil {
			return "", time.Time{}, fmt.Errorf("encoding what is asked: %w", err)
		}
		a.Items = append(a.Items, approval.Item{
			Action:   authz.Action{Name: authz.ActionIssue, Properties: detail},
			Resource: authz.Entity{Ref: authz.Ref{Type: authz.CapabilityType, ID: c.Details[i].Identifier}},
		})
	}
	asked, _, err := d.s.desk.Ask(ctx, a)
	if err != nil {
		return "", time.Time{}, err
	}
	return asked.ID, asked.ExpiresAt, nil
}

// Consent implements oauth.Desk.
func (d oauthDesk) Consent(ctx context.Context, id string) (*oauth.Consent, error) {
	a, err := d.s.desk.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if a.Kind != approval.CIBA {
		return nil, authz.Errorf(authz.ErrNotFound, "ask %.64q is for something else", id)
	}
	details, err := token.ParseDetails(a.Details)
	if err != nil || len(details) != len(a.Items) {
		return nil, fmt.Errorf("reading the details of ask %s: %d for %d items: %w", a.ID, len(details), len(a.Items), err)
	}
	c := &oauth.Consent{Agent: a.Agent, Person: a.Person, Message: a.Message, Expires: a.ExpiresAt, Passkey: a.Passkey}
	if err := json.Unmarshal(a.Bound.Context, &c.Terms); err != nil {
		return nil, fmt.Errorf("reading the terms of ask %s: %w", a.ID, err)
	}
	for i := range a.Items {
		if g := a.Items[i].Approval; a.Items[i].Status == approval.Approved && g != nil && g.Revoked.IsZero() {
			c.Status = oauth.ConsentApproved
			c.Details = append(c.Details, details[i])
			if c.Until.IsZero() || g.Until.Before(c.Until) {
				c.Until = g.Until
			}
		}
	}
	// What may be said of who authorized it must hold of every answer by which something was granted.
	if c.AnsweredAt = a.ClosedAt; c.AnsweredAt.After(a.ExpiresAt) {
		c.AnsweredAt = a.ExpiresAt
	}
	signed := false
	for i := range a.Answers {
		if w := &a.Answers[i]; w.Yes {
			if signed = len(w.Evidence) > 0; !signed {
				break
			}
		}
	}
	if signed {
		c.AMR = oauth.PasskeyAMR
	}
	// What was said yes to counts once everything was answered. Of an ask that was ended, or ran out, before,
	// nothing does.
	left := func(st approval.Status) bool {
		return a.Status == st || slices.ContainsFunc(a.Items, func(it approval.Item) bool { return it.Status == st })
	}
	switch {
	case a.Status == approval.Pending && !d.s.cfg.now().Before(a.ExpiresAt), left(approval.Expired):
		c.Status, c.Details = oauth.ConsentExpired, details
	case a.Status == approval.Pending:
		c.Status, c.Details = oauth.ConsentPending, details
	case c.Status != oauth.ConsentApproved, left(approval.Cancelled), left(approval.Failed):
		c.Status, c.Details = oauth.ConsentRefused, details
	}
	return c, nil
}

// Asks implements oauth.Desk.
func (d oauthDesk) Asks(agent authz.AgentID, session string, at time.Time) authz.Asks {
	return d.s.desk.Asks(agent, session, at)
}

// oauthPeople shows the persons to the authorization server.
type oauthPeople struct{ *people.Registry }

// Hinted implements oauth.People.
func (p oauthPeople) Hinted(hint string) (string, error) {
	if who, err := p.Person(hint); err == nil && !who.Disabled {
		return who.ID, nil
	}
	var found []*people.Person
	for _, who := range p.People() {
		if who.Email != "" && strings.EqualFold(who.Email, hint) {
			found = append(found, who)
		}
	}
	if len(found) != 1 || found[0].Disabled {
		return "", authz.Errorf(authz.ErrNotFound, "nobody who may sign in is meant by the hint")
	}
	return found[0].ID, nil
}

// Epoch implements oauth.People.
func (p oauthPeople) Epoch(id string) (int64, bool) {
	who, err := p.Person(id)
	if err != nil {
		return 0, false
	}
	return who.AsOf, !who.Disabled
}
