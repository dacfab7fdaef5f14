package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestPolicies(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		_, err := db.Document(ctx, "d1")
		wantKind(t, "Document that is not there", err, authz.ErrNotFound)
		_, err = db.PolicyVersion(ctx, 1)
		wantKind(t, "PolicyVersion that is not there", err, authz.ErrNotFound)
		vs, err := db.PolicyVersions(ctx, 0, 10)
		wantKind(t, "PolicyVersions of an empty database", err, nil)
		if len(vs) != 0 {
			t.Errorf("PolicyVersions of an empty database = %v", vs)
		}

		const text = "permit (principal, action, resource); // 'ä' \"\\ \u2028\n"
		wantKind(t, "PutDocument", db.PutDocument(ctx, "d1", text), nil)
		wantKind(t, "PutDocument again", db.PutDocument(ctx, "d1", text), nil)

		at := time.Date(2026, 11, 23, 16, 0, 0, 123000, time.UTC)
		var want []policy.Version
		for n := int64(1); n <= 5; n++ {
			v := policy.Version{Number: n, At: at, Author: "admin:ann", Message: "why 'not'", SourceDigest: "d1", CatalogDigest: "d2", Seq: 10 * n}
			want = append([]policy.Version{v}, want...)
			wantKind(t, "PutPolicyVersion", db.PutPolicyVersion(ctx, v), nil)
		}
		// A version never changes, whoever puts it again.
		other := want[4]
		other.Author = "nobody"
		wantKind(t, "PutPolicyVersion of a number that is taken", db.PutPolicyVersion(ctx, other), nil)

		db = storetest.Reopen(t, db)
		got, err := db.Document(ctx, "d1")
		wantKind(t, "Document", err, nil)
		if got != text {
			t.Errorf("Document = %q, want %q", got, text)
		}
		for _, c := range []struct {
			before int64
			limit  int
			want   []policy.Version
		}{{0, 10, want}, {0, 2, want[:2]}, {4, 2, want[2:4]}, {1, 10, nil}, {99, 1, want[:1]}} {
			vs, err := db.PolicyVersions(ctx, c.before, c.limit)
			wantKind(t, "PolicyVersions", err, nil)
			if diff := cmp.Diff(c.want, vs); diff != "" {
				t.Errorf("PolicyVersions(%d, %d) (-want +got):\n%s", c.before, c.limit, diff)
			}
		}
		v, err := db.PolicyVersion(ctx, 1)
		wantKind(t, "PolicyVersion", err, nil)
		if diff := cmp.Diff(want[4], v); diff != "" {
			t.Errorf("PolicyVersion(1) (-want +got):\n%s", diff)
		}
	})
}
