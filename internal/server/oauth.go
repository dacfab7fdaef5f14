package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/risk"
	"github.com/safeconduct/safeconduct/internal/stop"
	"github.com/safeconduct/safeconduct/internal/token"
)

// newOAuth makes the authorization server over the rooms that it needs.
func (s *Server) newOAuth(commit *committer) (*oauth.Server, error) {
	c := s.cfg.OAuth
	clients := oauth.ClientConfig{
		TokenURLAudience: c.TokenURLAudience,
		Certificates:     s.cfg.TLS.ClientCertificates,
		Documents:        c.Documents,
		Registration:     c.Registration,
		Registrations:    s.agents,
	}
	if c.Workloads != "" {
		if err := loadWorkloads(c.Workloads, &clients); err != nil {
			return nil, err
		}
		if len(clients.Authorities) > 0 && !s.cfg.TLS.ClientCertificates {
			return nil, authz.Errorf(authz.ErrInvalid, "%s: certificates need tls.client_certificates", c.Workloads)
		}
	}
	return oauth.New(oauth.Config{
		Issuer:      s.publicURL(),
		Agents:      s.oauthAgents(),
		Enrolment:   s.oauthAgents(),
		Keys:        oauthKeys{s.keys},
		Judge:       oauthJudge{s.pdp, s.library, s.risks, s.stops, s.monitor},
		Log:         together{commit},
		Callers:     oauthCallers{s.callers},
		Catalog:     s.catalog,
		Fresh:       s.fresh,
		Desk:        oauthDesk{s},
		People:      oauthPeople{s.people},
		Clients:     clients,
		Lifetime:    c.Lifetime,
		Depth:       c.Depth,
		Algorithm:   c.Algorithm,
		Audiences:   c.Audiences,
		AllowBearer: c.AllowBearer,
		Conduct:     s.conduct,
		Now:         s.cfg.now,
		Logger:      s.logger,
	})
}

// besideOAuth returns a handler that gives the authorization server what is its, and h the rest.
func (s *Server) besideOAuth(h http.Handler) http.Handler {
	own := s.oauth.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.oauth.Serves(r.URL.Path) {
			own.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ErrSealMissing is why a service does not start whose signing keys are sealed by a key that is not there.
var ErrSealMissing = keyring.ErrSealMissing

// newKeyring makes the ring of signing keys.
func (s *Server) newKeyring(ctx context.Context, commit *committer) (*keyring.Ring, error) {
	c := s.cfg.Keys
	cfg := keyring.Config{Store: s.db, Log: commit, Publish: c.Publish, Active: c.Active, VerifyOnly: c.VerifyOnly,
		ReplaceLost: c.ReplaceLost, Now: s.cfg.now, Logger: s.logger}
	for _, text := range c.Slots {
		slot, err := keyring.ParseSlot(text)
		if err != nil {
			return nil, err
		}
		cfg.Slots = append(cfg.Slots, slot)
	}
	for _, text := range c.External {
		x, err := keyring.ParseExternal(c.KMS, text)
		if err != nil {
			return nil, err
		}
		cfg.External = append(cfg.External, x)
	}
	seal := keyring.SealConfig{Text: c.SealText, File: c.Seal, Former: c.Former, ReplaceLost: c.ReplaceLost}
	if seal.File == "" {
		seal.File = filepath.Join(s.cfg.Data, "seal.key")
	}
	if c.KMSKey != "" {
		seal.KMS, seal.Key = c.KMS, c.KMSKey
	}
	var err error
	if s.seal, err = keyring.LoadSealing(ctx, seal, s.db, rand.Reader); err != nil {
		return nil, err
	}
	cfg.Seal = s.seal
	return keyring.New(cfg)
}

// catalog returns the active catalog, nil if there is none.
func (s *Server) catalog() *catalog.Catalog {
	if set := s.library.Active(); set != nil {
		return set.Catalog()
	}
	return nil
}

// conduct returns how far an agent is trusted, and what a passport says of its conduct. The agent reads its
// passports: of the score it learns the tenth, too little to see what one act has cost it.
func (s *Server) conduct(id authz.AgentID) (authz.Trust, *token.Conduct) {
	trust, _ := s.monitor.Conduct(id, "", s.cfg.now())
	made, refused := s.tally.Of(id, s.cfg.now())
	return trust, &token.Conduct{Level: trust.Level, Score: math.Floor(trust.Score*10+1e-9) / 10, Window: conductWindow, Decisions: made, Denied: refused,
		AsOf: s.follow.Seq(), History: s.history()}
}

// conductWindow is pdp.TallyWindow as ISO 8601 has it.
var conductWindow = fmt.Sprintf("PT%dM", int(pdp.TallyWindow.Minutes()))

// history returns where the log stands by its newest checkpoint that this process has seen.
func (s *Server) history() *token.History {
	cp := s.log.Signed()
	if cp == nil || cp.Size == 0 {
		return nil
	}
	return &token.History{URI: s.publicURL() + "/checkpoint", Digest: cp.Root.String(), Size: cp.Size}
}

// together records several changes as one.
type together struct{ *committer }

// Commit implements oauth.Log.
func (t together) Commit(ctx context.Context, drafts ...audit.Draft) (int64, error) {
	return t.CommitAll(ctx, drafts...)
}

// oauthAgents shows the registry of agents to the authorization server. There an agent that conduct has taken
// everything from is as one that a person has quarantined: it does not authenticate, nor register a key that would
// outlast the quarantine. One that is stopped is as one that is suspended.
type oauthAgents struct {
	*agent.Registry
	monitor *monitor.Monitor
	stops   *stop.Board
	now     func() time.Time
}

func (s *Server) oauthAgents() oauthAgents {
	return oauthAgents{s.agents, s.monitor, s.stops, s.now}
}

// Agent implements oauth.Agents.
func (a oauthAgents) Agent(id authz.AgentID) (*authz.Agent, error) {
	who, err := a.Registry.Agent(id)
	if err != nil || who.State != authz.AgentActive {
		return who, err
	}
	stopped := a.stops.Some() && a.stops.Agent(who, a.now()) != ""
	if !stopped && !a.monitor.Quarantined(id) {
		return who, nil
	}
	shut := *who
	if shut.State = authz.AgentQuarantined; stopped {
		shut.State = authz.AgentSuspended
	}
	return &shut, nil
}

func oauthCredential(c *agent.Credential) *oauth.Credential {
	return &oauth.Credential{Agent: c.Agent, ID: c.ID, Key: c.Key, CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, RevokedAt: c.RevokedAt}
}

func oauthCredentialOr(c *agent.Credential, err error) (*oauth.Credential, error) {
	if err != nil {
		return nil, err
	}
	return oauthCredential(c), nil
}

// Credential implements oauth.Agents.
func (a oauthAgents) Credential(id string) (*oauth.Credential, error) {
	return oauthCredentialOr(a.Registry.Credential(id))
}

// Credentials implements oauth.Agents.
func (a oauthAgents) Credentials(id authz.AgentID) []*oauth.Credential {
	all := a.Registry.Credentials(id)
	out := make([]*oauth.Credential, len(all))
	for i, c := range all {
		out[i] = oauthCredential(c)
	}
	return out
}

// Register implements oauth.Enrolment.
func (a oauthAgents) Register(ctx context.Context, enrolment string, key *token.Key) (*oauth.Credential, error) {
	return oauthCredentialOr(a.Registry.Register(ctx, enrolment, key))
}

// Rotate implements oauth.Enrolment.
func (a oauthAgents) Rotate(ctx context.Context, actor string, id authz.AgentID, old string, key *token.Key) (*oauth.Credential, error) {
	return oauthCredentialOr(a.Registry.Rotate(ctx, actor, id, old, key))
}

// RevokeCredential implements oauth.Enrolment.
func (a oauthAgents) RevokeCredential(ctx context.Context, actor, why string, id authz.AgentID, credential string) (*oauth.Credential, error) {
	return oauthCredentialOr(a.Registry.RevokeCredential(ctx, actor, why, id, credential))
}

// oauthKeys shows our signing keys to the authorization server.
type oauthKeys struct{ *keyring.Ring }

// TokenSigner implements oauth.Keys.
func (k oauthKeys) TokenSigner(alg string) (*token.Signer, error) {
	return k.Signer(keyring.Token, alg)
}

// StatusSigner implements oauth.Keys.
func (k oauthKeys) StatusSigner() (*token.Signer, error) {
	return k.Signer(keyring.Status, "")
}

// TokenKey implements oauth.Keys.
func (k oauthKeys) TokenKey(kid string) (*token.Key, error) {
	key, _, err := k.Key(keyring.Token, kid)
	return key, err
}

// Historical implements oauth.Keys.
func (k oauthKeys) Historical() ([]byte, error) {
	b, err := json.Marshal(struct {
		Keys []keyring.Past `json:"keys"`
	}{k.Ring.Historical()})
	if err != nil {
		return nil, fmt.Errorf("encoding former keys: %w", err)
	}
	return b, nil
}

// oauthJudge lets the decision point judge what a passport may carry.
type oauthJudge struct {
	*pdp.PDP
	library *policy.Library
	risks   *risk.Book
	stops   *stop.Board
	monitor *monitor.Monitor
}

// Generation implements oauth.Judge.
func (j oauthJudge) Generation() (policies, risks int64) {
	if set := j.library.Active(); set != nil {
		policies = set.Version()
	}
	// All only grow, so that their sum changes whenever one does.
	return policies, j.risks.Generation() + j.stops.Generation() + int64(j.monitor.Generation())
}

// oauthCallers shows the callers of the API to the authorization server.
type oauthCallers struct{ *caller.Registry }

// Caller implements oauth.Callers.
func (c oauthCallers) Caller(token string) (actor, role string, err error) {
	who, err := c.Authenticate(token)
	if err != nil {
		return "", "", err
	}
	i := who.Identity()
	return i.Actor(), string(who.Role), nil
}
