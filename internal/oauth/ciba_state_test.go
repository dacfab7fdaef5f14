package oauth_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

// Whatever comes in whatever order: an ask gives one token at most, none after it was taken back, every
// replica judges alike, also one that sees entries twice, and nothing of it is kept for good.
func TestAskedTokensModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t, 2, nil)
		defer func() {
			for _, r := range h.replicas {
				r.http.Close()
			}
		}()
		one, two := h.replicas[0].server, h.replicas[1].server
		given, taken, seq := map[string]bool{}, map[string]bool{}, int64(1)
		apply := func(kind audit.Kind, body []byte) error {
			seq++
			e := audit.Entry{Seq: seq, At: h.Now(), Kind: kind, Actor: "agent:teller", Body: json.RawMessage(body)}
			first, second := one.Apply(t.Context(), e), two.Apply(t.Context(), e)
			if (first == nil) != (second == nil) {
				rt.Fatalf("entry %d: %v at one replica, %v at the other", seq, first, second)
			}
			if err := two.Apply(t.Context(), e); err != nil {
				rt.Fatalf("entry %d seen again: %v", seq, err)
			}
			return first
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			ask := rapid.SampledFrom([]string{"arq_a", "arq_b", "arq_c"}).Draw(rt, "ask")
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				h.advance(time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second)
			case 1:
				to := rapid.SampledFrom([]string{"revoked", "revoked", "escalated"}).Draw(rt, "to")
				if err := apply(audit.ApprovalMoved, fmt.Appendf(nil, `{"ask":%q,"to":%q}`, ask, to)); err != nil {
					rt.Fatalf("taking back: %v", err)
				}
				taken[ask] = taken[ask] || to == "revoked"
			default:
				hash := oauth.UseOf(grantCIBA, ask)
				var id [18]byte
				binary.BigEndian.PutUint64(id[:], 1<<16|uint64(seq))
				rec := oauth.Issued{
					Uses: []oauth.RecordedUse{{Hash: base64.RawURLEncoding.EncodeToString(hash[:]), Until: time.Date(2026, 11, 25, 11, 0, 0, 0, time.UTC).Unix()}},
					ID:   base64.RawURLEncoding.EncodeToString(id[:]), IssuedAt: h.Now().Unix(), Expires: h.Now().Add(time.Minute).Unix(), AuthReqID: ask, Grant: grantCIBA,
				}
				err := apply(audit.TokenIssued, rec.Append(nil))
				if want := !given[ask] && !taken[ask]; (err == nil) != want {
					rt.Fatalf("a token by %s, given before %t, taken back %t: %v", ask, given[ask], taken[ask], err)
				}
				if err != nil && !errors.Is(err, authz.ErrConflict) {
					rt.Fatalf("a token by %s: %v, want a conflict", ask, err)
				}
				given[ask] = given[ask] || err == nil
			}
		}
		h.advance(2 * time.Hour)
		if err := apply(audit.ApprovalMoved, []byte(`{"ask":"arq_d","to":"escalated"}`)); err != nil {
			rt.Fatal(err)
		}
		h.advance(2 * time.Minute)
		if err := apply(audit.StatusBlock, []byte(`{}`)); err != nil {
			rt.Fatal(err)
		}
		if k := one.Kept(); k.Asks != 0 || k.Used != 0 || k.Revoked != 0 {
			rt.Fatalf("kept %+v", k)
		}
	})
}
