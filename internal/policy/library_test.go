package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A spine is the log and its followers, in one step: Commit numbers an entry, applies it to every
// replica and returns the first one's verdict.
type spine struct {
	mu       sync.Mutex
	entries  []audit.Entry
	verdicts []error
	replicas []audit.Applier
	down     error
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func (s *spine) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return 0, s.down
	}
	seq := int64(len(s.entries) + 1)
	e := audit.Entry{Seq: seq, At: noon.Add(time.Duration(seq) * time.Minute), Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	s.entries = append(s.entries, e)
	var verdict error
	for i, r := range s.replicas {
		if err := r.Apply(ctx, e); i == 0 {
			verdict = err
		}
	}
	s.verdicts = append(s.verdicts, verdict)
	return seq, verdict
}

const librarySchema = `
entity Doc;
action "read" appliesTo { principal: [Agent, User], resource: Doc, context: { observed: Observed } };`

func source(policies string) *policy.Source {
	return &policy.Source{Schema: librarySchema, Files: []policy.File{{Name: "p.cedar", Text: policies}}}
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want %v", what, err, kind)
	}
}

func TestLibrary(t *testing.T) {
	ctx := context.Background()
	db := storetest.Open(t)
	s := &spine{}
	open := func() *policy.Library {
		l := policy.NewLibrary(policy.LibraryConfig{Store: db, Log: s})
		wantKind(t, "Load", l.Load(ctx), nil)
		return l
	}
	l, other := open(), open()
	s.replicas = []audit.Applier{l, other}
	if l.Active() != nil {
		t.Fatalf("Active of an empty library = %v, want none", l.Active())
	}
	reads := func(l *policy.Library, version int64, want authz.Effect) {
		t.Helper()
		set := l.Active()
		d := set.Evaluate(&authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: "user", ID: "ann"}},
			Action:   authz.Action{Name: "read"},
			Resource: authz.Entity{Ref: authz.Ref{Type: "Doc", ID: "d"}},
		}, &authz.Facts{At: noon})
		if set.Version() != version || d.PolicySet != version || d.Catalog != version || d.Effect != want {
			t.Errorf("version %d (decision %d/%d) says %v, want version %d to say %v", set.Version(), d.PolicySet, d.Catalog, d.Effect, version, want)
		}
	}
	permit, forbid := source(`permit (principal, action, resource);`), source(`forbid (principal, action, resource);`)

	v1, err := l.Publish(ctx, policy.Publication{Source: permit, Author: "admin:ann", Message: "first"})
	wantKind(t, "Publish", err, nil)
	if v1.Number != 1 || v1.Author != "admin:ann" || v1.Message != "first" || v1.Seq != 1 || !v1.At.Equal(noon.Add(time.Minute)) {
		t.Errorf("first version = %+v", v1)
	}
	reads(l, 1, authz.Allow)
	reads(other, 1, authz.Allow)

	// A second author who has not seen version 1 is refused, before and after recording.
	_, err = l.Publish(ctx, policy.Publication{Source: forbid, Author: "admin:bob", Message: "blind"})
	wantKind(t, "Publish without having seen version 1", err, authz.ErrConflict)
	body, _ := json.Marshal(map[string]any{"version": 1, "source": v1.SourceDigest, "catalog": v1.CatalogDigest, "author": "admin:bob", "message": "blind", "if_version": 0})
	_, err = s.Commit(ctx, audit.Draft{Kind: audit.PolicyPublish, Actor: "admin:bob", Body: body})
	wantKind(t, "entry that follows no version", err, authz.ErrConflict)

	// What does not compile is refused before it is recorded, with its problems.
	n := len(s.entries)
	for what, p := range map[string]policy.Publication{
		"unknown attribute":                             {Source: source(`permit (principal, action, resource) when { resource.nothing };`)},
		"a catalog that is no catalog":                  {Catalog: []byte("nothing: true\n")},
		"a catalog that takes away what a policy names": {Source: source(`@reason("late") forbid (principal, action, resource);`)},
		"a NUL":      {Catalog: []byte("zone: \x00\n")},
		"no message": {Source: forbid, Message: " "},
	} {
		p.IfVersion, p.Author = 1, "admin:ann"
		if p.Message == "" {
			p.Message = what
		}
		_, err := l.Publish(ctx, p)
		wantKind(t, "Publish of "+what, err, authz.ErrInvalid)
	}
	if len(s.entries) != n {
		t.Errorf("%d entries were recorded for publications that were refused", len(s.entries)-n)
	}
	reads(l, 1, authz.Allow)

	v2, err := l.Publish(ctx, policy.Publication{Source: forbid, Author: "admin:ann", Message: "stop", IfVersion: 1})
	wantKind(t, "Publish", err, nil)
	if v2.CatalogDigest != v1.CatalogDigest || v2.SourceDigest == v1.SourceDigest {
		t.Errorf("second version %+v, want the catalog of the first and another source", v2)
	}
	reads(l, 2, authz.Deny)
	v3, err := l.Publish(ctx, policy.Publication{Catalog: []byte("zone: Europe/Berlin\n"), Author: "admin:ann", Message: "zone", IfVersion: 2})
	wantKind(t, "Publish of a catalog", err, nil)
	reads(other, 3, authz.Deny)
	if got := other.Active().Catalog().Zone().String(); got != "Europe/Berlin" || v3.SourceDigest != v2.SourceDigest {
		t.Errorf("third version has zone %s, source %s; want Europe/Berlin, %s", got, v3.SourceDigest, v2.SourceDigest)
	}
	_, err = l.Rollback(ctx, 1, 2, "admin:bob", "too strict")
	wantKind(t, "Rollback without having seen version 3", err, authz.ErrConflict)
	v4, err := l.Rollback(ctx, 1, 3, "admin:bob", "too strict")
	wantKind(t, "Rollback", err, nil)
	if v4.Number != 4 || v4.Restores != 1 || v4.SourceDigest != v1.SourceDigest || v4.CatalogDigest != v1.CatalogDigest {
		t.Errorf("Rollback = %+v, want version 4 with the documents of 1", v4)
	}
	reads(l, 4, authz.Allow)
	_, err = l.Rollback(ctx, 9, 0, "admin:bob", "nowhere")
	wantKind(t, "Rollback to a version that is not there", err, authz.ErrNotFound)

	vs, err := l.Versions(ctx, 4, 2)
	wantKind(t, "Versions", err, nil)
	if diff := cmp.Diff([]policy.Version{v3, v2}, vs); diff != "" {
		t.Errorf("Versions before 4 (-want +got):\n%s", diff)
	}
	texts, err := l.Version(ctx, 3)
	wantKind(t, "Version", err, nil)
	if diff := cmp.Diff(policy.Texts{Version: v3, Source: *forbid, Catalog: "zone: Europe/Berlin\n"}, texts); diff != "" {
		t.Errorf("Version (-want +got):\n%s", diff)
	}
	old, err := l.Compiled(ctx, 2)
	wantKind(t, "Compiled", err, nil)
	if old.Version() != 2 || old.Len() != 1 {
		t.Errorf("Compiled(2) has version %d and %d policies", old.Version(), old.Len())
	}
	_, err = l.Compiled(ctx, 5)
	wantKind(t, "Compiled of a version that is not there", err, authz.ErrNotFound)

	// A log that cannot be written publishes nothing.
	s.down = authz.Errorf(authz.ErrUnavailable, "log is full")
	_, err = l.Publish(ctx, policy.Publication{Source: forbid, Author: "admin:ann", Message: "lost", IfVersion: 4})
	wantKind(t, "Publish without a log", err, authz.ErrUnavailable)
	reads(l, 4, authz.Allow)

	// After a restart the newest version is active, and entries that are seen again change nothing.
	again := open()
	reads(again, 4, authz.Allow)
	for _, e := range s.entries {
		wantKind(t, "Apply again", again.Apply(ctx, e), nil)
	}
	reads(again, 4, authz.Allow)

	// A replica that follows from the beginning gets to the same place with the same verdicts.
	db2 := storetest.Open(t)
	late := policy.NewLibrary(policy.LibraryConfig{Store: db2, Log: s})
	for _, v := range []policy.Version{v1, v2, v3} {
		for _, d := range []string{v.SourceDigest, v.CatalogDigest} {
			text, err := db.Document(ctx, d)
			wantKind(t, "Document", err, nil)
			wantKind(t, "PutDocument", db2.PutDocument(ctx, d, text), nil)
		}
	}
	for i, e := range s.entries {
		if got, want := late.Apply(ctx, e), s.verdicts[i]; (got == nil) != (want == nil) {
			t.Errorf("entry %d: a late replica says %v, the first one said %v", e.Seq, got, want)
		}
	}
	reads(late, 4, authz.Allow)
}

// What an entry names must be there and be what was published; whoever applies it waits for it.
func TestLibraryMistrustsDocuments(t *testing.T) {
	ctx := context.Background()
	db := storetest.Open(t)
	s := &spine{}
	l := policy.NewLibrary(policy.LibraryConfig{Store: db, Log: s})
	s.replicas = []audit.Applier{l}
	v, err := l.Publish(ctx, policy.Publication{Source: source(`permit (principal, action, resource);`), Author: "a", Message: "m"})
	wantKind(t, "Publish", err, nil)

	fresh := storetest.Open(t)
	for what, text := range map[string]string{"missing": "", "forged": `{"schema":"","files":[]}`} {
		if text != "" {
			wantKind(t, "PutDocument", fresh.PutDocument(ctx, v.SourceDigest, text), nil)
		}
		err := policy.NewLibrary(policy.LibraryConfig{Store: fresh, Log: s}).Apply(ctx, s.entries[0])
		if err == nil || errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrNotFound) || errors.Is(err, authz.ErrConflict) {
			t.Errorf("Apply with a %s document: %v, want an error without a kind, so that it is tried again", what, err)
		}
	}
}

func TestLibraryRefusesWhatDoesNotGoTogether(t *testing.T) {
	ctx := context.Background()
	s := &spine{}
	l := policy.NewLibrary(policy.LibraryConfig{Store: storetest.Open(t), Log: s})
	s.replicas = []audit.Applier{l}
	const with = "reasons:\n  late:\n    message: Come back tomorrow.\n"
	v, err := l.Publish(ctx, policy.Publication{
		Source: source(`@reason("late") forbid (principal, action, resource);`), Catalog: []byte(with), Author: "a", Message: "m",
	})
	wantKind(t, "Publish", err, nil)
	_, err = l.Publish(ctx, policy.Publication{Catalog: []byte("{}\n"), Author: "a", Message: "m", IfVersion: v.Number})
	wantKind(t, "Publish of a catalog without the reason", err, authz.ErrInvalid)
}
