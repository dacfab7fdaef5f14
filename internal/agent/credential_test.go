package agent_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

const noGood = "the enrolment token is unknown, used or expired"

const day = 24 * time.Hour

func newKey(t testing.TB) *token.Key {
	t.Helper()
	s, _, err := token.GenerateSigner("EdDSA", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s.Key()
}

// openBots is open with agents registered.
func openBots(t testing.TB, ids ...string) (*agent.Registry, *spine) {
	t.Helper()
	r, s := open(t)
	for _, id := range ids {
		_, err := r.Put(context.Background(), "admin:anna", "new", bot(id), 0)
		wantKind(t, "Put", err, nil)
	}
	return r, s
}

// enrol gives an agent a key, by a fresh enrolment token.
func enrol(t testing.TB, r *agent.Registry, id authz.AgentID, key *token.Key) *agent.Credential {
	t.Helper()
	e, err := r.Enrol(context.Background(), "admin:anna", "new key", id, 0)
	wantKind(t, "Enrol", err, nil)
	c, err := r.Register(context.Background(), e.Token, key)
	wantKind(t, "Register", err, nil)
	return c
}

// active returns the ids of an agent's active credentials.
func active(r *agent.Registry, id authz.AgentID, at time.Time) []string {
	ids := []string{}
	for _, c := range r.Credentials(id) {
		if c.Active(at) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func wantActive(t *testing.T, r *agent.Registry, id authz.AgentID, at time.Time, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), active(r, id, at)); diff != "" {
		t.Errorf("active credentials of %s at %v (-want +got):\n%s", id, at, diff)
	}
	if got := r.KeyFacts(id, at).Keys; !strings.Contains(strings.Join(want, " "), "https:") && got != len(want) {
		t.Errorf("KeyFacts(%s).Keys = %d, want %d", id, got, len(want))
	}
}

func TestEnrol(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot")
	if f := r.KeyFacts("bot", s.now()); f != (authz.Credential{}) {
		t.Errorf("KeyFacts before there is a key = %+v, want nothing", f)
	}
	e, err := r.Enrol(ctx, "admin:anna", "new", "bot", time.Hour)
	wantKind(t, "Enrol", err, nil)
	made := start.Add(2 * time.Minute)
	if !strings.HasPrefix(e.Token, "sc_enrol_") || len(e.Token) != len("sc_enrol_")+43 || e.Agent != "bot" || !e.ExpiresAt.Equal(made.Add(time.Hour)) {
		t.Errorf("Enrol = %+v, want a token for bot that expires an hour after %v", e, made)
	}
	if p, ok := r.Enrolment("bot", s.now()); !ok || p.Token != "" || !p.ExpiresAt.Equal(e.ExpiresAt) {
		t.Errorf("Enrolment = %+v, %v, want what is pending, without the token", p, ok)
	}
	id, err := r.PendingEnrolment(e.Token, s.now())
	if err != nil || id != "bot" {
		t.Errorf("PendingEnrolment = %q, %v, want bot", id, err)
	}

	key := newKey(t)
	got, err := r.Register(ctx, e.Token, key)
	wantKind(t, "Register", err, nil)
	at := start.Add(3 * time.Minute)
	want := &agent.Credential{
		Agent: "bot", ID: key.ID, Kind: agent.KindKey, JWK: key.JWK(), CreatedAt: at, ExpiresAt: at.Add(90 * day),
		Why: "registered with an enrolment token", Since: 3, AsOf: 3,
	}
	c := *got
	c.Key = nil
	if diff := cmp.Diff(want, &c); diff != "" {
		t.Errorf("Register (-want +got):\n%s", diff)
	}
	if got.Key == nil || got.Key.ID != key.ID || !cmp.Equal(got.Key.Public, key.Public) {
		t.Errorf("the registered key is %+v, want %+v", got.Key, key)
	}
	if again, err := r.Credential(key.ID); err != nil || again != got {
		t.Errorf("Credential = %+v, %v, want what Register returned", again, err)
	}
	if f, want := r.KeyFacts("bot", at), (authz.Credential{Keys: 1, Since: at, ExpiresAt: at.Add(90 * day)}); f != want {
		t.Errorf("KeyFacts = %+v, want %+v", f, want)
	}
	if got := r.Epoch("bot"); got != 3 {
		t.Errorf("Epoch = %d, want 3", got)
	}
	if _, ok := r.Enrolment("bot", s.now()); ok {
		t.Error("the enrolment is still pending")
	}
	if s.entries[2].Actor != "agent:bot" || s.entries[2].Kind != audit.CredentialPut {
		t.Errorf("the log says that %s did %s, want agent:bot and credential.put", s.entries[2].Actor, s.entries[2].Kind)
	}
	for _, entry := range s.entries {
		if strings.Contains(string(entry.Body), e.Token[len("sc_enrol_"):]) {
			t.Errorf("entry %d holds the token", entry.Seq)
		}
	}
	// After its end the key authenticates nobody, and is there still.
	wantActive(t, r, "bot", at.Add(90*day-1), key.ID)
	wantActive(t, r, "bot", at.Add(90*day))
	if _, err := r.Credential(newKey(t).ID); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Credential of nobody = %v, want ErrNotFound", err)
	}
}

// Whatever is wrong with an enrolment token, the answer is the same.
func TestEnrolmentTokensThatAreNoGood(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "used", "expired", "replaced", "withdrawn", "retired", "good")
	tokens := map[string]string{}
	for _, id := range []authz.AgentID{"used", "expired", "replaced", "withdrawn", "retired"} {
		e, err := r.Enrol(ctx, "admin:anna", "new", id, day)
		wantKind(t, "Enrol", err, nil)
		tokens[string(id)] = e.Token
	}
	_, err := r.Register(ctx, tokens["used"], newKey(t))
	wantKind(t, "Register", err, nil)
	s.pass(day + time.Hour)
	for _, id := range []authz.AgentID{"replaced", "withdrawn", "retired"} {
		e, err := r.Enrol(ctx, "admin:anna", "again", id, day)
		wantKind(t, "Enrol", err, nil)
		if id != "replaced" {
			tokens[string(id)] = e.Token
		}
	}
	_, err = r.RevokeCredential(ctx, "admin:anna", "stop", "withdrawn", "")
	wantKind(t, "RevokeCredential", err, nil)
	_, err = r.SetState(ctx, "admin:anna", "old", "retired", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	good, err := r.Enrol(ctx, "admin:anna", "new", "good", day)
	wantKind(t, "Enrol", err, nil)
	tokens["cut short"] = good.Token[:len(good.Token)-1]
	tokens["longer"] = good.Token + "A"
	tokens["in upper case"] = strings.ToUpper(good.Token)
	tokens["the hash"] = good.Hash
	tokens["nothing"] = ""
	tokens["the prefix"] = agent.EnrolmentPrefix

	n := len(s.entries)
	for what, text := range tokens {
		if id, err := r.PendingEnrolment(text, s.now()); id != "" || !errors.Is(err, authz.ErrUnauthenticated) || err.Error() != noGood {
			t.Errorf("%s: PendingEnrolment = %q, %v, want %q", what, id, err, noGood)
		}
		if c, err := r.Register(ctx, text, newKey(t)); c != nil || !errors.Is(err, authz.ErrUnauthenticated) || err.Error() != noGood {
			t.Errorf("%s: Register = %+v, %v, want %q", what, c, err, noGood)
		}
	}
	if len(s.entries) != n {
		t.Errorf("%d entries are recorded of what was refused, want none", len(s.entries)-n)
	}
	_, err = r.Register(ctx, good.Token, newKey(t))
	wantKind(t, "Register with a good token", err, nil)
}

func TestEnrolRefuses(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot", "gone")
	_, err := r.SetState(ctx, "admin:anna", "old", "gone", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	n := len(s.entries)
	refuse := func(why string, id authz.AgentID, ttl time.Duration, kind error) {
		t.Helper()
		_, err := r.Enrol(ctx, "admin:anna", why, id, ttl)
		wantKind(t, fmt.Sprintf("Enrol(%q, %q, %v)", why, id, ttl), err, kind)
	}
	refuse("new", "nobody", 0, authz.ErrNotFound)
	refuse("new", "Not An Id", 0, authz.ErrInvalid)
	refuse("new", "gone", 0, authz.ErrConflict)
	refuse("", "bot", 0, authz.ErrInvalid)
	refuse("a\nb", "bot", 0, authz.ErrInvalid)
	refuse("new", "bot", time.Second, authz.ErrInvalid)
	refuse("new", "bot", 31*day, authz.ErrInvalid)
	refuse("new", "bot", -time.Hour, authz.ErrInvalid)
	if len(s.entries) != n {
		t.Errorf("%d entries are recorded of what was refused, want none", len(s.entries)-n)
	}
	// A suspended agent can be given a key: that is how it is mended before it is let in again.
	_, err = r.SetState(ctx, "admin:anna", "odd", "bot", authz.AgentSuspended, 0)
	wantKind(t, "SetState", err, nil)
	enrol(t, r, "bot", newKey(t))
	s.down = authz.Errorf(authz.ErrUnavailable, "the log is down")
	refuse("new", "bot", 0, authz.ErrUnavailable)
}

// A key is one agent's, for ever: no other agent can register it, nor the same one again.
func TestKeyBelongsToOneAgent(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot", "thief")
	key := newKey(t)
	enrol(t, r, "bot", key)
	e, err := r.Enrol(ctx, "admin:anna", "new", "thief", 0)
	wantKind(t, "Enrol", err, nil)
	own := newKey(t)
	refuse := func(when string) {
		t.Helper()
		_, err := r.Register(ctx, e.Token, key)
		wantKind(t, "Register "+when, err, authz.ErrConflict)
		if strings.Contains(err.Error(), "bot") {
			t.Errorf("Register %s tells whose key it is: %v", when, err)
		}
		_, err = r.Rotate(ctx, "agent:thief", "thief", own.ID, key)
		if !errors.Is(err, authz.ErrConflict) && !errors.Is(err, authz.ErrNotFound) {
			t.Errorf("Rotate %s = %v, want a refusal", when, err)
		}
	}
	refuse("of another's key")
	_, err = r.Register(ctx, e.Token, own)
	wantKind(t, "Register with the token that a refusal did not use up", err, nil)
	e, err = r.Enrol(ctx, "admin:anna", "new", "thief", 365*time.Hour)
	wantKind(t, "Enrol", err, nil)
	_, err = r.RevokeCredential(ctx, "admin:anna", "lost", "bot", key.ID)
	wantKind(t, "RevokeCredential", err, nil)
	refuse("of another's revoked key")
	_, err = r.SetState(ctx, "admin:anna", "old", "bot", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	refuse("of a retired agent's key")

	_, err = r.RevokeCredential(ctx, "admin:anna", "lost", "thief", own.ID)
	wantKind(t, "RevokeCredential", err, nil)
	_, err = r.Register(ctx, e.Token, own)
	wantKind(t, "Register of one's own revoked key", err, authz.ErrConflict)
	s.pass(time.Hour)
	if c, err := r.Credential(key.ID); err != nil || c.Agent != "bot" {
		t.Errorf("Credential = %+v, %v, want bot's, for ever", c, err)
	}
}

func TestRotate(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot", "other")
	one, two, three := newKey(t), newKey(t), newKey(t)
	enrol(t, r, "bot", one)
	enrol(t, r, "other", newKey(t))
	s.pass(30 * day)
	c, err := r.Rotate(ctx, "agent:bot", "bot", one.ID, two)
	wantKind(t, "Rotate", err, nil)
	at := s.now()
	if c.ID != two.ID || c.Replaces != one.ID || !c.ExpiresAt.Equal(at.Add(90*day)) {
		t.Errorf("Rotate = %+v, want key %s that replaces %s for 90 days from %v", c, two.ID, one.ID, at)
	}
	// Both are good for an hour, then only the new one is.
	wantActive(t, r, "bot", at, one.ID, two.ID)
	wantActive(t, r, "bot", at.Add(time.Hour-1), one.ID, two.ID)
	wantActive(t, r, "bot", at.Add(time.Hour), two.ID)
	if f := r.KeyFacts("bot", at); f.Keys != 2 || !f.Since.Equal(at) {
		t.Errorf("KeyFacts = %+v, want two keys, the newest since %v", f, at)
	}

	// An answer was lost: the same again is the same.
	n := len(s.entries)
	again, err := r.Rotate(ctx, "agent:bot", "bot", one.ID, two)
	if err != nil || again.ID != two.ID || len(s.entries) != n {
		t.Errorf("Rotate again = %+v, %v with %d new entries, want the same and none", again, err, len(s.entries)-n)
	}
	// What was replaced cannot be replaced once more, by whoever still has it.
	_, err = r.Rotate(ctx, "agent:bot", "bot", one.ID, three)
	wantKind(t, "Rotate of a replaced key", err, authz.ErrConflict)
	_, err = r.Rotate(ctx, "agent:other", "other", two.ID, three)
	wantKind(t, "Rotate of another's key", err, authz.ErrNotFound)
	_, err = r.Rotate(ctx, "agent:bot", "bot", three.ID, newKey(t))
	wantKind(t, "Rotate of an unknown key", err, authz.ErrNotFound)
	_, err = r.Rotate(ctx, "agent:bot", "bot", two.ID, one)
	wantKind(t, "Rotate to a past key", err, authz.ErrConflict)
	_, err = r.Rotate(ctx, "agent:bot", "bot", two.ID, two)
	wantKind(t, "Rotate to itself", err, authz.ErrConflict)

	// An overlap never lengthens a life.
	s.pass(90*day - 10*time.Minute)
	_, err = r.Rotate(ctx, "agent:bot", "bot", two.ID, three)
	wantKind(t, "Rotate shortly before the end", err, nil)
	if old, _ := r.Credential(two.ID); !old.ExpiresAt.Equal(at.Add(90 * day)) {
		t.Errorf("the replaced key expires at %v, want %v", old.ExpiresAt, at.Add(90*day))
	}
	s.pass(100 * day)
	_, err = r.Rotate(ctx, "agent:bot", "bot", three.ID, newKey(t))
	wantKind(t, "Rotate of an expired key", err, authz.ErrNotFound)
	_, err = r.SetState(ctx, "admin:anna", "old", "other", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	_, err = r.Rotate(ctx, "agent:other", "other", r.Credentials("other")[0].ID, newKey(t))
	wantKind(t, "Rotate of a retired agent's key", err, authz.ErrConflict)
	if got := len(r.Credentials("bot")); got != 3 {
		t.Errorf("%d keys are kept of the past, want 3", got)
	}
}

// Lifetime and overlap are the configuration's.
func TestLifetimes(t *testing.T) {
	ctx := context.Background()
	s := &spine{}
	r := agent.NewRegistry(agent.Config{Store: hole{}, Log: s, Now: s.now, KeyLifetime: -1, Overlap: -1})
	s.replicas = []audit.Applier{r}
	_, err := r.Put(ctx, "admin:anna", "new", bot("bot"), 0)
	wantKind(t, "Put", err, nil)
	one, two := newKey(t), newKey(t)
	if c := enrol(t, r, "bot", one); !c.ExpiresAt.IsZero() {
		t.Errorf("a key without end expires at %v", c.ExpiresAt)
	}
	s.pass(1000 * day)
	wantActive(t, r, "bot", s.now(), one.ID)
	_, err = r.Rotate(ctx, "agent:bot", "bot", one.ID, two)
	wantKind(t, "Rotate", err, nil)
	wantActive(t, r, "bot", s.now(), two.ID)

	// However short the overlap is, an agent cannot fill the memory with past keys.
	for range 7 {
		one, two = two, newKey(t)
		_, err = r.Rotate(ctx, "agent:bot", "bot", one.ID, two)
		wantKind(t, "Rotate", err, nil)
	}
	_, err = r.Rotate(ctx, "agent:bot", "bot", two.ID, newKey(t))
	wantKind(t, "Rotate once more within the hour", err, authz.ErrConflict)
	s.pass(time.Hour)
	_, err = r.Rotate(ctx, "agent:bot", "bot", two.ID, newKey(t))
	wantKind(t, "Rotate an hour later", err, nil)
}

func TestRevoke(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot", "other")
	one, two, three := newKey(t), newKey(t), newKey(t)
	enrol(t, r, "bot", one)
	enrol(t, r, "bot", two)
	wantActive(t, r, "bot", s.now(), one.ID, two.ID)

	c, err := r.RevokeCredential(ctx, "admin:anna", "published", "bot", one.ID)
	wantKind(t, "RevokeCredential", err, nil)
	if c.ID != one.ID || !c.RevokedAt.Equal(s.now()) || c.Why != "published" {
		t.Errorf("RevokeCredential = %+v, want key %s, revoked now", c, one.ID)
	}
	// At once: also for a clock that is behind.
	wantActive(t, r, "bot", s.now().Add(-time.Hour), two.ID)
	n := len(s.entries)
	again, err := r.RevokeCredential(ctx, "admin:anna", "again", "bot", one.ID)
	if err != nil || again != c || len(s.entries) != n {
		t.Errorf("RevokeCredential again = %+v, %v with %d new entries, want the same and none", again, err, len(s.entries)-n)
	}
	for _, tt := range []struct {
		why string
		id  authz.AgentID
		key string
		err error
	}{
		{"x", "bot", newKey(t).ID, authz.ErrNotFound},
		{"x", "other", two.ID, authz.ErrNotFound},
		{"x", "nobody", two.ID, authz.ErrNotFound},
		{"x", "nobody", "", authz.ErrNotFound},
		{"", "bot", two.ID, authz.ErrInvalid},
		{"", "bot", "", authz.ErrInvalid},
		{"x", "bot", strings.Repeat("k", 600), authz.ErrInvalid},
	} {
		_, err := r.RevokeCredential(ctx, "admin:anna", tt.why, tt.id, tt.key)
		wantKind(t, fmt.Sprintf("RevokeCredential(%q, %s, %.50s)", tt.why, tt.id, tt.key), err, tt.err)
	}

	// All in one call: keys, documents, and the token that nobody has used yet. Nobody else is touched.
	enrol(t, r, "bot", three)
	enrol(t, r, "other", newKey(t))
	_, err = r.LinkDocument(ctx, "admin:anna", "link", "bot", "https://bot.example/id.json")
	wantKind(t, "LinkDocument", err, nil)
	e, err := r.Enrol(ctx, "admin:anna", "new", "bot", 0)
	wantKind(t, "Enrol", err, nil)
	before := r.Epoch("bot")
	c, err = r.RevokeCredential(ctx, "admin:anna", "stolen", "bot", "")
	if c != nil || err != nil {
		t.Errorf("RevokeCredential of all = %+v, %v, want nothing", c, err)
	}
	wantActive(t, r, "bot", s.now())
	_, err = r.PendingEnrolment(e.Token, s.now())
	wantKind(t, "PendingEnrolment after all is revoked", err, authz.ErrUnauthenticated)
	if got := len(active(r, "other", s.now())); got != 1 {
		t.Errorf("%d keys of another agent are active, want 1", got)
	}
	if got := r.Epoch("bot"); got <= before {
		t.Errorf("Epoch = %d, want more than %d", got, before)
	}
	if c, _ := r.Credential(one.ID); c.Why != "published" {
		t.Errorf("what was revoked before says %q, want the first reason", c.Why)
	}
	// A retired agent's keys can be revoked: it says that they were stolen.
	_, err = r.SetState(ctx, "admin:anna", "old", "other", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	_, err = r.RevokeCredential(ctx, "admin:anna", "stolen too", "other", "")
	wantKind(t, "RevokeCredential of a retired agent", err, nil)
	wantActive(t, r, "other", s.now())
}

func TestMaxActive(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot")
	first := newKey(t)
	enrol(t, r, "bot", first)
	for range agent.MaxActive - 1 {
		enrol(t, r, "bot", newKey(t))
	}
	e, err := r.Enrol(ctx, "admin:anna", "one more", "bot", 0)
	wantKind(t, "Enrol", err, nil)
	_, err = r.Register(ctx, e.Token, newKey(t))
	wantKind(t, "Register of one too many", err, authz.ErrConflict)
	_, err = r.Rotate(ctx, "agent:bot", "bot", first.ID, newKey(t))
	wantKind(t, "Rotate to one too many", err, authz.ErrConflict)
	_, err = r.LinkDocument(ctx, "admin:anna", "link", "bot", "https://bot.example/id.json")
	wantKind(t, "LinkDocument of one too many", err, authz.ErrConflict)
	_, err = r.RevokeCredential(ctx, "admin:anna", "make room", "bot", first.ID)
	wantKind(t, "RevokeCredential", err, nil)
	_, err = r.Register(ctx, e.Token, newKey(t))
	wantKind(t, "Register when there is room", err, nil)
	if got := len(active(r, "bot", s.now())); got != agent.MaxActive {
		t.Errorf("%d keys are active, want %d", got, agent.MaxActive)
	}
}

func TestLinkDocument(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "bot", "other")
	const url = "https://agents.example:8443/orders/id.json"
	c, err := r.LinkDocument(ctx, "admin:anna", "keys in our KMS", "bot", url)
	wantKind(t, "LinkDocument", err, nil)
	want := &agent.Credential{Agent: "bot", ID: url, Kind: agent.KindDocument, CreatedAt: s.now(), Why: "keys in our KMS", Since: 3, AsOf: 3}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("LinkDocument (-want +got):\n%s", diff)
	}
	if f := r.KeyFacts("bot", s.now()); f.Keys != 0 {
		t.Errorf("KeyFacts = %+v, want no key: the document's are not known here", f)
	}
	wantActive(t, r, "bot", s.now().Add(1000*day), url)
	_, err = r.LinkDocument(ctx, "admin:anna", "again", "bot", url)
	wantKind(t, "LinkDocument twice", err, authz.ErrConflict)
	_, err = r.Rotate(ctx, "agent:bot", "bot", url, newKey(t))
	wantKind(t, "Rotate of a document", err, authz.ErrNotFound)
	_, err = r.RevokeCredential(ctx, "admin:anna", "domain lost", "bot", url)
	wantKind(t, "RevokeCredential", err, nil)
	wantActive(t, r, "bot", s.now())
	_, err = r.LinkDocument(ctx, "admin:anna", "mine now", "other", url)
	wantKind(t, "LinkDocument of what was another's", err, authz.ErrConflict)
	c, err = r.LinkDocument(ctx, "admin:anna", "domain is back", "bot", url)
	wantKind(t, "LinkDocument again after it was revoked", err, nil)
	if !c.RevokedAt.IsZero() || len(r.Credentials("bot")) != 1 {
		t.Errorf("linked again: %+v of %d, want one, active", c, len(r.Credentials("bot")))
	}

	for _, bad := range []string{
		"", "id.json", "http://agents.example/id.json", "https://agents.example", "https://agents.example/",
		"https://u:p@agents.example/id", "https://u@agents.example/id", "https://agents.example/id#f", "https://agents.example/id#",
		"https://agents.example/id?x=1", "https://agents.example/id?", "https://agents.example/a/../id", "https://agents.example/./id",
		"https://agents.example/%2e%2e/id", "https://agents.example/a b", "https://agents.example/a\x00b", "https:agents.example/id",
		"https:///id", "HTTPS://agents.example/id", "https://Agents.example/id", "https://agents.example/" + strings.Repeat("x", 600),
	} {
		_, err := r.LinkDocument(ctx, "admin:anna", "bad", "bot", bad)
		wantKind(t, fmt.Sprintf("LinkDocument(%.60q)", bad), err, authz.ErrInvalid)
	}
}

// Entries that nobody of ours would have written are refused, the same everywhere.
func TestApplyRefusesCredentials(t *testing.T) {
	r, s := openBots(t, "bot")
	jwk := string(newKey(t).JWK())
	refuse := func(kind audit.Kind, body string, want error) {
		t.Helper()
		err := r.Apply(context.Background(), audit.Entry{Seq: 99, At: s.now(), Kind: kind, Body: []byte(body)})
		wantKind(t, "Apply of "+body, err, want)
	}
	refuse(audit.EnrolmentPut, ``, authz.ErrInvalid)
	refuse(audit.EnrolmentPut, `{}`, authz.ErrInvalid)
	refuse(audit.EnrolmentPut, `{"agent":"bot","hash":"00","ttl_seconds":60,"why":"x"}`, authz.ErrInvalid)
	hash := strings.Repeat("0f", 32)
	refuse(audit.EnrolmentPut, `{"agent":"bot","hash":"`+hash+`","ttl_seconds":1e18,"why":"x"}`, authz.ErrInvalid)
	refuse(audit.EnrolmentPut, `{"agent":"bot","hash":"`+hash+`","ttl_seconds":9223372036854775807,"why":"x"}`, authz.ErrInvalid)
	refuse(audit.EnrolmentPut, `{"agent":"nobody","hash":"`+hash+`","ttl_seconds":60,"why":"x"}`, authz.ErrNotFound)
	for _, body := range []string{
		``, `{}`, `[]`, `{"agent":"bot","op":"grow","why":"x"}`, `{"agent":"bot","op":"revoke_all"}`,
		`{"agent":"bot","op":"revoke","why":"x"}`, `{"agent":"bot","op":"link","id":"http://x/y","why":"x"}`,
		`{"agent":"bot","op":"register","why":"x"}`, `{"agent":"bot","op":"register","jwk":{"kty":"oct","k":"AAAA"},"why":"x"}`,
		`{"agent":"bot","op":"register","jwk":` + jwk + `,"lifetime_seconds":-1,"why":"x"}`,
		`{"agent":"bot","op":"register","jwk":` + jwk + `,"lifetime_seconds":9223372036854775807,"why":"x"}`,
		`{"agent":"bot","op":"rotate","jwk":` + jwk + `,"overlap_seconds":9223372036854775807,"why":"x"}`,
		`{"agent":"BOT","op":"revoke_all","why":"x"}`,
	} {
		refuse(audit.CredentialPut, body, authz.ErrInvalid)
	}
	// An empty hash is nobody's token.
	refuse(audit.CredentialPut, `{"agent":"bot","op":"register","jwk":`+jwk+`,"why":"x"}`, authz.ErrConflict)
	refuse(audit.CredentialPut, `{"agent":"bot","op":"rotate","jwk":`+jwk+`,"why":"x"}`, authz.ErrNotFound)
	if got := r.Credentials("bot"); len(got) != 0 {
		t.Errorf("credentials = %+v, want none", got)
	}
}
