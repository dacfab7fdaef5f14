package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

func FuzzParseEntry(f *testing.F) {
	f.Add(audit.AppendEntry(nil, audit.Entry{Seq: 7, At: time.UnixMicro(8).UTC(), Kind: "k.k", Actor: "admin:eve", Body: []byte(`{"a":1}`)}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := audit.ParseEntry(b)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("ParseEntry = %v, want ErrInvalid", err)
			}
			return
		}
		if again := append(audit.AppendEntry(nil, e), rest...); !bytes.Equal(again, b) {
			t.Fatalf("%x is written again as %x", b, again)
		}
	})
}

func FuzzParseLeaf(f *testing.F) {
	f.Add(audit.Leaf{First: 1, Count: 2, At: time.UnixMicro(3), Writer: "0123456789abcdef", Nth: 4, Root: tlog.RecordHash(nil)}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := audit.ParseLeaf(b)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("ParseLeaf = %v, want ErrInvalid", err)
			}
			return
		}
		if again := l.Bytes(); !bytes.Equal(again, b) {
			t.Fatalf("%q is written again as %q", b, again)
		}
	})
}

func FuzzDecodeSegment(f *testing.F) {
	store := &audittest.Memory{}
	l, stop := start(f, store, audit.Config{Heartbeat: -1})
	fill(f, l, 3, 1)
	if err := stop(); err != nil {
		f.Fatal(err)
	}
	segs, err := store.Segments(f.Context(), 0, 10)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range segs {
		f.Add(s.Batch, s.First, s.Count, s.Data, s.Leaf)
	}
	f.Fuzz(func(t *testing.T, batch, first int64, count int, data, leaf []byte) {
		s := audit.Segment{Batch: batch, First: first, Count: count, Data: data, Leaf: leaf}
		es, err := audit.DecodeSegment(s)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("DecodeSegment = %v, want ErrInvalid", err)
			}
			return
		}
		if len(es) != count || es[0].Seq != first {
			t.Fatalf("DecodeSegment = %d entries from %d, want %d from %d", len(es), es[0].Seq, count, first)
		}
	})
}

// fixed makes logs that are the same in every process that takes part in fuzzing.
func fixed(key *audit.Key) audit.Config {
	return audit.Config{Key: key, Heartbeat: -1, Rand: newRand(1), Now: func() time.Time { return time.UnixMicro(1) }}
}

func FuzzParseCheckpoint(f *testing.F) {
	key := testKey(f, "example.com/log")
	l, _ := start(f, &audittest.Memory{}, fixed(key))
	fill(f, l, 1)
	cp, err := l.Checkpoint(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cp.Note)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := audit.ParseCheckpoint(b, key.Verifier())
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("ParseCheckpoint = %v, want ErrInvalid", err)
			}
			return
		}
		if got.Size != cp.Size || got.Root != cp.Root {
			t.Fatalf("a checkpoint was forged: %q", b)
		}
	})
}

func FuzzParseEntryProof(f *testing.F) {
	key := testKey(f, "example.com/log")
	l, _ := start(f, &audittest.Memory{}, fixed(key))
	fill(f, l, 3, 2)
	p, err := l.Prove(f.Context(), 2)
	if err != nil {
		f.Fatal(err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := audit.ParseEntryProof(b)
		if err == nil {
			_, _, err = audit.VerifyEntryProof(q, key.Verifier())
		}
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("%v, want ErrInvalid", err)
			}
			return
		}
		if diff := cmp.Diff(p.Entry, q.Entry); diff != "" {
			t.Fatalf("a proof was forged: %s", b)
		}
	})
}

func FuzzTile(f *testing.F) {
	l, _ := start(f, &audittest.Memory{}, audit.Config{Heartbeat: -1})
	fill(f, l, 3, 2)
	if _, err := l.Checkpoint(f.Context()); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"tile/0/000.p/2", "tile/entries/000.p/1", "tile/1/x001/002"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		b, err := l.Tile(t.Context(), path)
		if err != nil {
			if !errors.Is(err, authz.ErrNotFound) {
				t.Fatalf("Tile(%q) = %v, want ErrNotFound", path, err)
			}
			return
		}
		if len(b) == 0 {
			t.Fatalf("Tile(%q) is empty", path)
		}
	})
}

// hostile is an IndexStore that says the first chunk is indexed and has a foreign block for all of it.
type hostile struct {
	audit.IndexStore
	block []byte
}

func (h hostile) IndexCursor(context.Context) (int64, error) { return audit.IndexChunk, nil }

func (h hostile) IndexBlocks(_ context.Context, bucket int, before int64, _ int) ([]audit.IndexBlock, error) {
	return []audit.IndexBlock{{Bucket: bucket, First: 1, Data: h.block}}, nil
}

// No body and no block of the index stops a search, or makes it find what does not match.
func FuzzFind(f *testing.F) {
	f.Add([]byte(`{"request":{"subject":{"type":"agent","id":"b"},"action":{"name":"x"}},"decision":{"code":"c"}}`), []byte{2, 0, 1, 0}, "x y")
	f.Add([]byte(`{"agent":[{"id":"b"}],"request":"\u00e9","decision":{"effect":{"x":[1]}}}`), []byte{2, 255, 255, 3}, "É")
	f.Fuzz(func(t *testing.T, body, block []byte, text string) {
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
		for _, kind := range []audit.Kind{audit.DecisionMade, audit.AgentPut} {
			if _, err := l.Record(t.Context(), audit.Draft{Kind: kind, Actor: "a", Body: body}); err != nil {
				return
			}
		}
		for _, store := range []audit.IndexStore{hostile{block: block}, &audittest.Memory{}} {
			es, err := audit.NewIndex(l, store).Find(t.Context(), audit.Query{Kind: audit.DecisionMade, Text: text})
			if err != nil {
				if !errors.Is(err, authz.ErrInvalid) && (len(block) == 0 || block[0] == 2 || !errors.Is(err, authz.ErrUnavailable)) {
					t.Fatalf("Find = %v, want ErrInvalid, or ErrUnavailable of another version", err)
				}
				continue
			}
			for _, e := range es {
				if e.Kind != audit.DecisionMade {
					t.Fatalf("Find of decisions found %s", e.Kind)
				}
			}
		}
	})
}
