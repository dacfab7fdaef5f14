package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// testKey returns a key that is the same for the same origin.
func testKey(t testing.TB, origin string) *audit.Key {
	t.Helper()
	k, err := audit.NewKey(rand.NewChaCha8([32]byte{1}), origin)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// start runs a log over store until the test ends or stop is called, which returns Run's error.
func start(t testing.TB, store audit.Store, cfg audit.Config) (l *audit.Log, stop func() error) {
	t.Helper()
	if cfg.Key == nil {
		cfg.Key = testKey(t, "example.com/log")
	}
	l, err := audit.New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return l, stop
}

func draft(kind audit.Kind, format string, args ...any) audit.Draft {
	return audit.Draft{Kind: kind, Actor: "admin:eve", Body: json.RawMessage(fmt.Sprintf(format, args...))}
}

// all returns every entry of a store, each segment checked.
func all(t testing.TB, store audit.Store) []audit.Entry {
	t.Helper()
	var es []audit.Entry
	for {
		segs, err := store.Segments(context.Background(), int64(len(es)), 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(segs) == 0 {
			return es
		}
		for _, s := range segs {
			more, err := audit.DecodeSegment(s)
			if err != nil {
				t.Fatal(err)
			}
			es = append(es, more...)
		}
	}
}

func TestRecordAndFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
		first, err := l.Record(ctx, draft("agent.put", `{"n":%d}`, 1), draft("agent.put", `{"n":2}`))
		if err != nil || first != 1 {
			t.Fatalf("Record = %d, %v, want 1", first, err)
		}
		next, err := l.Record(ctx, draft("alert.put", `{"n":3}`))
		if err != nil || next != 3 {
			t.Fatalf("Record = %d, %v, want 3", next, err)
		}
		enough := errors.New("enough")
		for after := range int64(3) {
			var got []string
			err := l.Follow(ctx, after, func(_ context.Context, es []audit.Entry) error {
				for _, e := range es {
					got = append(got, fmt.Sprintf("%d %s %s %s", e.Seq, e.Kind, e.Actor, e.Body))
				}
				if len(got) == 3-int(after) {
					return enough
				}
				return nil
			})
			if err != enough {
				t.Fatalf("Follow(%d) = %v", after, err)
			}
			want := []string{`1 agent.put admin:eve {"n":1}`, `2 agent.put admin:eve {"n":2}`, `3 alert.put admin:eve {"n":3}`}
			if diff := cmp.Diff(want[after:], got); diff != "" {
				t.Errorf("Follow(%d) (-want +got):\n%s", after, diff)
			}
		}
	})
}

func TestRecordRefuses(t *testing.T) {
	l, err := audit.New(&audittest.Memory{}, audit.Config{Key: testKey(t, "o")})
	if err != nil {
		t.Fatal(err)
	}
	ok := draft("k", `{}`)
	for name, change := range map[string]func(d *audit.Draft){
		"no kind":             func(d *audit.Draft) { d.Kind = "" },
		"long kind":           func(d *audit.Draft) { d.Kind = audit.Kind(strings.Repeat("k", 65)) },
		"kind with capitals":  func(d *audit.Draft) { d.Kind = "Agent" },
		"no actor":            func(d *audit.Draft) { d.Actor = "" },
		"long actor":          func(d *audit.Draft) { d.Actor = strings.Repeat("a", 513) },
		"actor with newline":  func(d *audit.Draft) { d.Actor = "a\nb" },
		"actor not UTF-8":     func(d *audit.Draft) { d.Actor = "\xff" },
		"no body":             func(d *audit.Draft) { d.Body = nil },
		"body is no object":   func(d *audit.Draft) { d.Body = json.RawMessage(`[]`) },
		"body not UTF-8":      func(d *audit.Draft) { d.Body = json.RawMessage("{\"a\":\"\xff\"}") },
		"body over its bound": func(d *audit.Draft) { d.Body = json.RawMessage(`{"a":"` + strings.Repeat("x", audit.MaxBody) + `"}`) },
	} {
		d := ok
		change(&d)
		if _, err := l.Record(t.Context(), ok, d); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: Record = %v, want ErrInvalid", name, err)
		}
	}
	if _, err := l.Record(t.Context()); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Record of nothing = %v, want ErrInvalid", err)
	}
}

// Callers in parallel, on two replicas: every number is given once, and the store has what was
// acknowledged under it.
func TestReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &audittest.Memory{}
		var logs []*audit.Log
		for range 2 {
			l, _ := start(t, store, audit.Config{Heartbeat: -1, BatchEntries: 50, QueueEntries: 60})
			logs = append(logs, l)
		}
		var (
			mu    sync.Mutex
			acked = map[int64]string{}
			wg    sync.WaitGroup
		)
		for c := range 40 {
			wg.Go(func() {
				for i := range 25 {
					d := draft("k", `{"caller":%d,"i":%d}`, c, i)
					seq, err := logs[c%2].Record(ctx, d)
					if err != nil {
						t.Errorf("Record: %v", err)
						return
					}
					mu.Lock()
					if was, ok := acked[seq]; ok {
						t.Errorf("number %d given to %s and %s", seq, was, d.Body)
					}
					acked[seq] = string(d.Body)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		es := all(t, store)
		if len(es) != 1000 || len(acked) != 1000 {
			t.Fatalf("%d entries, %d acknowledged, want 1000", len(es), len(acked))
		}
		for i, e := range es {
			if e.Seq != int64(i+1) || acked[e.Seq] != string(e.Body) {
				t.Fatalf("entry %d is numbered %d and has body %s, acknowledged %s", i+1, e.Seq, e.Body, acked[e.Seq])
			}
		}
		// Both replicas deliver all of it, in the same order.
		for i, l := range logs {
			var got []audit.Entry
			stop := errors.New("stop")
			if err := l.Follow(ctx, 0, func(_ context.Context, more []audit.Entry) error {
				if got = append(got, more...); len(got) >= 1000 {
					return stop
				}
				return nil
			}); err != stop {
				t.Fatal(err)
			}
			if diff := cmp.Diff(es, got); diff != "" {
				t.Errorf("replica %d delivers otherwise:\n%s", i, diff)
			}
		}
	})
}

// A follower that has fallen behind what is in memory reads from the store and misses nothing.
func TestFollowBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1, MemoryBytes: 2000})
		for i := range 100 {
			if _, err := l.Record(ctx, draft("k", `{"i":%d}`, i), draft("k", `{"i":%d}`, i)); err != nil {
				t.Fatal(err)
			}
		}
		for _, after := range []int64{0, 1, 7, 150, 199} {
			next, stop := after+1, errors.New("stop")
			err := l.Follow(ctx, after, func(_ context.Context, es []audit.Entry) error {
				for _, e := range es {
					if e.Seq != next {
						t.Fatalf("after %d: got entry %d, want %d", after, e.Seq, next)
					}
					next++
				}
				if next == 201 {
					return stop
				}
				return nil
			})
			if err != stop {
				t.Fatal(err)
			}
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, stop := start(t, store, audit.Config{Heartbeat: 10 * time.Second, Writer: "one"})
		if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(35 * time.Second) // in the bubble
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		es := all(t, store)
		if len(es) != 4 {
			t.Fatalf("%d entries after 35 s, want 1 and 3 heartbeats", len(es))
		}
		var body struct {
			Name     string
			Recorded int64
		}
		for i, e := range es[1:] {
			if err := json.Unmarshal(e.Body, &body); err != nil || e.Kind != audit.Heartbeat || body.Name != "one" || body.Recorded != int64(i+1) {
				t.Errorf("heartbeat %d is %s %s (%v)", i, e.Kind, e.Body, err)
			}
		}
	})
}

// An entry is never dated before the one that precedes it, whatever the clocks of replicas say.
func TestTimesNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		day := time.Date(2026, 3, 1, 0, 0, 0, 123456789, time.FixedZone("", 3600))
		for i, now := range []time.Time{day, day.Add(-time.Hour), day.Add(time.Minute)} {
			l, stop := start(t, store, audit.Config{Heartbeat: -1, Now: func() time.Time { return now }})
			if _, err := l.Record(t.Context(), draft("k", `{"i":%d}`, i)); err != nil {
				t.Fatal(err)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		var got []time.Time
		for _, e := range all(t, store) {
			got = append(got, e.At)
		}
		want := day.UTC().Truncate(time.Microsecond)
		if diff := cmp.Diff([]time.Time{want, want, want.Add(time.Minute)}, got); diff != "" {
			t.Errorf("times (-want +got):\n%s", diff)
		}
	})
}

// A full queue makes callers wait, and lets them go when their context ends.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Faulty{Store: &audittest.Memory{}}
		l, _ := start(t, store, audit.Config{Heartbeat: -1, BatchEntries: 4, QueueEntries: 4, Patience: time.Minute})
		if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
			t.Fatal(err)
		}
		store.On(func(m string) audittest.Cue {
			if m == "Append" {
				return audittest.Before
			}
			return audittest.Fine
		})
		var wg sync.WaitGroup
		for range 5 { // one is being committed, four wait
			wg.Go(func() {
				if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
					t.Errorf("Record: %v", err)
				}
			})
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Record(ctx, draft("k", `{}`)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Record into a full queue = %v, want DeadlineExceeded", err)
		}
		store.On(nil)
		wg.Wait()
		if n := len(all(t, store)); n != 6 {
			t.Errorf("%d entries, want 6", n)
		}
	})
}

func TestBodiesSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, _ := start(t, store, audit.Config{Heartbeat: -1})
		rnd := rand.New(rand.NewPCG(1, 2))
		var want [][]byte
		for i := range 60 {
			body := []byte(`{"x":"` + strings.Repeat(string(rune('a'+i%26)), rnd.IntN(1<<(i%18))) + "<>&\u2028\"}")
			if _, err := l.Record(t.Context(), audit.Draft{Kind: "k", Actor: "a", Body: body}); err != nil {
				t.Fatal(err)
			}
			want = append(want, bytes.Clone(body))
			body[0] = 'X' // the log has its own copy
		}
		for i, e := range all(t, store) {
			if !bytes.Equal(e.Body, want[i]) {
				t.Errorf("entry %d has another body", i+1)
			}
		}
	})
}

// newRand is a source of chance that is always the same.
func newRand(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }
