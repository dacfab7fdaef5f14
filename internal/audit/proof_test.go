package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// fill records batches of the given sizes.
func fill(t testing.TB, l *audit.Log, sizes ...int) {
	t.Helper()
	for b, n := range sizes {
		ds := make([]audit.Draft, n)
		for i := range ds {
			ds[i] = draft("k", `{"batch":%d,"i":%d}`, b, i)
		}
		if _, err := l.Record(context.Background(), ds...); err != nil {
			t.Fatal(err)
		}
	}
}

// Every entry of logs of all small shapes has a proof that holds, and no other.
func TestEntryProofs(t *testing.T) {
	key := testKey(t, "example.com/log")
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 12), 1, 20).Draw(rt, "sizes")
		store := &audittest.Memory{}
		l, stop := start(t, store, audit.Config{Key: key, Heartbeat: -1})
		defer func() { _ = stop() }()
		fill(t, l, sizes...)
		es := all(t, store)
		for _, want := range es {
			p, err := l.Prove(context.Background(), want.Seq)
			if err != nil {
				rt.Fatalf("Prove(%d): %v", want.Seq, err)
			}
			b, err := json.Marshal(p)
			if err != nil {
				rt.Fatal(err)
			}
			if p, err = audit.ParseEntryProof(b); err != nil {
				rt.Fatalf("ParseEntryProof: %v", err)
			}
			got, cp, err := audit.VerifyEntryProof(p, key.Verifier())
			if err != nil {
				rt.Fatalf("VerifyEntryProof(%d): %v", want.Seq, err)
			}
			if got.Seq != want.Seq || string(got.Body) != string(want.Body) || cp.Size != int64(len(sizes)) {
				rt.Fatalf("proof of %d is of %d under a checkpoint of %d", want.Seq, got.Seq, cp.Size)
			}
		}
		if _, err := l.Prove(context.Background(), int64(len(es)+1)); !errors.Is(err, authz.ErrNotFound) {
			rt.Errorf("Prove beyond the end = %v, want ErrNotFound", err)
		}
		// Any single change of a proof's parts makes it worthless.
		seq := rapid.Int64Range(1, int64(len(es))).Draw(rt, "seq")
		for name, change := range map[string]func(p *audit.EntryProof){
			"entry":       func(p *audit.EntryProof) { p.Entry[len(p.Entry)-2] ^= 1 },
			"number":      func(p *audit.EntryProof) { p.Entry[8] ^= 1 },
			"time":        func(p *audit.EntryProof) { p.Entry[16] ^= 1 },
			"salt":        func(p *audit.EntryProof) { p.Salt[3] ^= 1 },
			"short salt":  func(p *audit.EntryProof) { p.Salt = p.Salt[1:] },
			"batch":       func(p *audit.EntryProof) { p.Batch ^= 1 },
			"far batch":   func(p *audit.EntryProof) { p.Batch += 1 << 40 },
			"no batch":    func(p *audit.EntryProof) { p.Batch = -1 },
			"batch proof": func(p *audit.EntryProof) { p.BatchProof = append(p.BatchProof, tlog.Hash{}) },
			"log proof":   func(p *audit.EntryProof) { p.LogProof = append(p.LogProof, tlog.Hash{}) },
			"leaf":        func(p *audit.EntryProof) { p.Leaf = p.Leaf[:20] + "9" + p.Leaf[20:] },
			"checkpoint": func(p *audit.EntryProof) {
				c := []byte(p.Checkpoint)
				if i := len(c) - 20; c[i] == 'A' {
					c[i] = 'B'
				} else {
					c[i] = 'A'
				}
				p.Checkpoint = string(c)
			},
		} {
			p, err := l.Prove(context.Background(), seq)
			if err != nil {
				rt.Fatal(err)
			}
			change(p)
			if _, _, err := audit.VerifyEntryProof(p, key.Verifier()); !errors.Is(err, authz.ErrInvalid) {
				rt.Errorf("proof of %d with a changed %s: %v, want ErrInvalid", seq, name, err)
			}
		}
		p, _ := l.Prove(context.Background(), seq)
		if _, _, err := audit.VerifyEntryProof(p, testKey(t, "example.com/other").Verifier()); !errors.Is(err, authz.ErrInvalid) {
			rt.Errorf("proof under another key: %v, want ErrInvalid", err)
		}
	})
}

// Each size of a log is continued by each later one, and by no other log.
func TestGrowthProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := testKey(t, "example.com/log")
		v := key.Verifier()
		l, _ := start(t, &audittest.Memory{}, audit.Config{Key: key, Heartbeat: -1})
		other, _ := start(t, &audittest.Memory{}, audit.Config{Key: key, Heartbeat: -1})
		var cps, foreign []*audit.Checkpoint
		for n := 1; n <= 70; n++ {
			fill(t, l, 1)
			fill(t, other, 1)
			cp, err := l.Checkpoint(t.Context())
			if err != nil || cp.Size != int64(n) {
				t.Fatalf("Checkpoint = %+v, %v, want size %d", cp, err, n)
			}
			cps = append(cps, cp)
			if cp, err = other.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			foreign = append(foreign, cp)
			for _, old := range cps {
				p, err := l.ProveGrowth(t.Context(), old.Size)
				if err != nil {
					t.Fatalf("ProveGrowth(%d): %v", old.Size, err)
				}
				if got, err := audit.VerifyGrowthProof(p, old, v); err != nil || got.Size != int64(n) {
					t.Errorf("VerifyGrowthProof from %d to %d: %v", old.Size, n, err)
				}
				if _, err := audit.VerifyGrowthProof(p, foreign[old.Size-1], v); !errors.Is(err, authz.ErrInvalid) {
					t.Errorf("VerifyGrowthProof from another log's %d to %d = %v, want ErrInvalid", old.Size, n, err)
				}
			}
		}
	})
}

// A store that is not the one that was signed for stops the log.
func TestOpenRefusesAnotherHistory(t *testing.T) {
	for name, change := range map[string]func(s *audittest.Memory){
		"truncated": func(s *audittest.Memory) {
			s.Mutate(func(segs *[]audit.Segment, hs *[]tlog.Hash) {
				*segs = (*segs)[:4]
				*hs = (*hs)[:tlog.StoredHashIndex(0, 4)]
			})
		},
		"hash changed": func(s *audittest.Memory) {
			s.Mutate(func(_ *[]audit.Segment, hs *[]tlog.Hash) {
				for i := range *hs {
					(*hs)[i][0] ^= 1
				}
			})
		},
		"last segment changed": func(s *audittest.Memory) {
			s.Mutate(func(segs *[]audit.Segment, _ *[]tlog.Hash) { (*segs)[4].Data[9] ^= 1 })
		},
	} {
		store := &audittest.Memory{}
		l, stop := start(t, store, audit.Config{Heartbeat: -1})
		fill(t, l, 3, 1, 4, 1, 5)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		change(store)
		l, err := audit.New(store, audit.Config{Key: testKey(t, "example.com/log")})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context()); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: Run = %v, want ErrInvalid", name, err)
		}
		if _, err := l.Record(t.Context(), draft("k", `{}`)); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("%s: Record = %v, want ErrUnavailable", name, err)
		}
	}
}

func TestOpenRefusesAnotherKey(t *testing.T) {
	store := &audittest.Memory{}
	l, stop := start(t, store, audit.Config{Heartbeat: -1})
	fill(t, l, 1)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	old := testKey(t, "example.com/log")
	next, err := audit.NewKey(newRand(9), "example.com/log")
	if err != nil {
		t.Fatal(err)
	}
	l, err = audit.New(store, audit.Config{Key: next})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Run with another key = %v, want ErrInvalid", err)
	}
	// A key that succeeds another takes over if it is told of it.
	l, stop = start(t, store, audit.Config{Key: next, Former: []note.Verifier{old.Verifier()}, Heartbeat: -1})
	fill(t, l, 1)
	if err := stop(); err != nil {
		t.Errorf("Run with the next key: %v", err)
	}
	r, err := audit.Verify(t.Context(), store, []note.Verifier{next.Verifier()}, audit.VerifyOptions{})
	if err != nil || r.Err() != nil || r.Signed != 2 {
		t.Errorf("Verify under the next key: %v, %+v", err, r)
	}
}
