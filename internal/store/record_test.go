package store_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// Here the log itself runs over the real stores, and is verified as a whole after every trouble.

func newKey(t testing.TB) *audit.Key {
	t.Helper()
	key, err := audit.NewKey(rand.Reader, "test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// runLog runs a log over db until stop is called or the test ends.
func runLog(t testing.TB, db audit.Store, key *audit.Key) (log *audit.Log, stop func()) {
	t.Helper()
	log, err := audit.New(db, audit.Config{Key: key, Patience: patience(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("log: %v", err)
		}
	})
	t.Cleanup(stop)
	return log, stop
}

func draft(body []byte) audit.Draft {
	return audit.Draft{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: body}
}

// verify verifies the whole log, and that it holds what was acknowledged: number to body.
func verify(t testing.TB, db audit.Store, key *audit.Key, acked map[int64]string) {
	t.Helper()
	ctx := context.Background()
	r, err := audit.Verify(ctx, db, []note.Verifier{key.Verifier()}, audit.VerifyOptions{})
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	if r.Err() != nil {
		t.Fatalf("the log is damaged: %v", r.Err())
	}
	found := 0
	for after := int64(0); after < r.Entries; {
		ss, err := db.Segments(ctx, after, 100)
		if err != nil || len(ss) == 0 {
			t.Fatalf("Segments(%d): %d, %v", after, len(ss), err)
		}
		for _, s := range ss {
			es, err := audit.DecodeSegment(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range es {
				if want, ok := acked[e.Seq]; ok {
					if found++; want != string(e.Body) {
						t.Fatalf("entry %d is %s, %s was acknowledged", e.Seq, e.Body, want)
					}
				}
				after = e.Seq
			}
		}
	}
	if found != len(acked) {
		t.Fatalf("%d entries were acknowledged, %d of them are in the log", len(acked), found)
	}
}

// A journal is what callers were told.
type journal struct {
	mu    sync.Mutex
	acked map[int64]string
	next  atomic.Int64
}

// record records until ctx ends; an error must have the kind unavailable.
func (j *journal) record(ctx context.Context, t *testing.T, log *audit.Log) {
	for ctx.Err() == nil {
		body := fmt.Sprintf(`{"n":%d,"pad":%q}`, j.next.Add(1), strings.Repeat("x", mrand.IntN(3000)))
		seq, err := log.Record(context.Background(), draft([]byte(body)))
		if err != nil {
			if !errors.Is(err, authz.ErrUnavailable) {
				t.Errorf("Record: %v, want unavailable", err)
				return
			}
			continue
		}
		j.mu.Lock()
		if j.acked == nil {
			j.acked = map[int64]string{}
		}
		j.acked[seq] = body
		j.mu.Unlock()
	}
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.acked)
}

// grow waits until more was acknowledged.
func (j *journal) grow(t *testing.T, by int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for want := j.len() + by; j.len() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing is recorded any more: %d of %d", j.len(), want)
		}
	}
}

// Two replicas, many callers, a store whose calls fail at random, also after they have done what
// they were asked for.
func TestRecordAmidFaults(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db, key := storetest.OpenConfig(t, config(t)), newKey(t)
		var j journal
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		var stops []func()
		var faulty []*audittest.Faulty
		for range 2 {
			f := &audittest.Faulty{Store: db}
			log, stop := runLog(t, f, key)
			stops, faulty = append(stops, stop), append(faulty, f)
			for range 16 {
				wg.Go(func() { j.record(ctx, t, log) })
			}
		}
		j.grow(t, 100)
		for _, f := range faulty {
			f.On(func(method string) audittest.Cue {
				switch {
				case mrand.IntN(10) != 0:
					return audittest.Fine
				case method == "Append":
					return audittest.Before + audittest.Cue(mrand.IntN(3)) // also long after it was asked for
				}
				return audittest.Before
			})
		}
		for range 5 {
			j.grow(t, 200)
			for _, f := range faulty {
				f.Land()
			}
		}
		for _, f := range faulty {
			f.On(nil)
			f.Land()
		}
		j.grow(t, 100)
		cancel()
		wg.Wait()
		for _, stop := range stops {
			stop()
		}
		verify(t, db, key, j.acked)
	})
}

// The disk is full, or the network gone: refused, and recorded again when it is back.
func TestRecordThroughOutage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db, b := storetest.OpenBreakable(t, config(t))
		key := newKey(t)
		log, stop := runLog(t, db, key)
		var j journal
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		for range 8 {
			wg.Go(func() { j.record(ctx, t, log) })
		}
		for range 3 {
			j.grow(t, 200)
			b.Break()
			tiny := 0
			for { // a full disk may have room for a few small ones
				_, err := log.Record(context.Background(), draft([]byte(`{}`)))
				if err != nil {
					wantKind(t, "Record", err, authz.ErrUnavailable)
					break
				}
				if tiny++; tiny > 10_000 {
					t.Fatal("the store is broken, and goes on")
				}
			}
			b.Mend()
		}
		j.grow(t, 200)
		cancel()
		wg.Wait()
		stop()
		verify(t, db, key, j.acked)
	})
}

// recordVar holds what a process needs that records until it is killed.
const recordVar = "SAFECONDUCT_TEST_RECORD"

type recordChild struct{ SQLite, Postgres, Key string }

// recordForever records from many callers and prints number and body of each acknowledged entry.
func recordForever(text string) error {
	var c recordChild
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx := context.Background()
	key, err := audit.LoadKey(c.Key)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{SQLite: c.SQLite, Postgres: c.Postgres})
	if err != nil {
		return err
	}
	log, err := audit.New(db, audit.Config{Key: key, CheckpointEvery: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- log.Run(ctx) }()
	for caller := range 24 {
		go func() {
			for n := 0; ; n++ {
				body := fmt.Sprintf(`{"process":%d,"caller":%d,"n":%d}`, os.Getpid(), caller, n)
				seq, err := log.Record(ctx, draft([]byte(body)))
				if err != nil {
					failed <- err
					return
				}
				fmt.Printf("%d %s\n", seq, body) // one write, so lines stay whole
			}
		}()
	}
	return <-failed
}

// Whoever was told that his entry is recorded finds it in a log that verifies, although the process
// was killed, many times.
func TestKillRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		cfg, key := config(t), newKey(t)
		keyFile := filepath.Join(t.TempDir(), "key")
		if err := key.Save(keyFile); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(recordChild{cfg.SQLite, cfg.Postgres, keyFile})
		if err != nil {
			t.Fatal(err)
		}
		rounds := 12
		if testing.Short() {
			rounds = 3
		}
		acked := map[int64]string{}
		for round := range rounds {
			wait := time.Duration(mrand.Int64N(int64(80 * time.Millisecond)))
			runChild(t, recordVar+"="+string(b), wait, func(lines *bufio.Scanner, first func()) {
				for lines.Scan() {
					num, body, _ := strings.Cut(lines.Text(), " ")
					seq, err := strconv.ParseInt(num, 10, 64)
					if err != nil || !json.Valid([]byte(body)) {
						continue // torn by the kill
					}
					if was, ok := acked[seq]; ok {
						t.Fatalf("number %d was given to %s and to %s", seq, was, body)
					}
					acked[seq] = body
					first()
				}
			})
			if round%4 == 3 || round == rounds-1 {
				db := storetest.OpenConfig(t, cfg)
				verify(t, db, key, acked)
				db.Close()
			}
		}
		t.Logf("killed %d times, %d entries acknowledged", rounds, len(acked))
		if len(acked) < 10*rounds {
			t.Errorf("only %d entries were acknowledged in %d rounds: too few to show anything", len(acked), rounds)
		}
	})
}

// patience is that of the log; in tests of outages, which are many, less.
func patience(t testing.TB) time.Duration {
	if _, ok := t.(*testing.B); ok {
		return 0 // the log's own
	}
	return 200 * time.Millisecond
}
