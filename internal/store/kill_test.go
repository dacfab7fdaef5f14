package store_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// childVar holds the store.Config, as JSON, of a process that appends until it is killed.
const childVar = "SAFECONDUCT_TEST_APPEND"

func TestMain(m *testing.M) {
	if cfg := os.Getenv(childVar); cfg != "" {
		if err := appendForever(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if child := os.Getenv(recordVar); child != "" {
		fmt.Fprintln(os.Stderr, recordForever(child))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// appendForever prints the number of each batch once it is acknowledged.
func appendForever(config string) error {
	ctx := context.Background()
	var cfg store.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	db, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	for {
		h, err := db.Head(ctx)
		if err != nil {
			return err
		}
		s, err := segment(ctx, db, h, 1+int(h.Batches%7), killData(h.Batches))
		if err != nil {
			return err
		}
		switch err := db.Append(ctx, h, s); {
		case errors.Is(err, authz.ErrConflict): // another one that appends, or a dead one's last word
		case err != nil:
			return err
		default:
			fmt.Println(h.Batches)
		}
	}
}

// killData is what batch n holds: from nothing to several pages, so that what is torn is seen.
func killData(n int64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "batch %d;", n), int(n*n%1500))
}

// Whatever was acknowledged is there after the process was killed, at any moment, many times.
func TestKill(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		cfg := config(t)
		rounds := 25
		if testing.Short() {
			rounds = 5
		}
		acked := int64(-1)
		for round := range rounds {
			wait := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
			if round == 0 {
				wait = 0 // amid opening
			}
			acked = max(acked, runAndKill(t, cfg, wait))
			if round%5 == 4 {
				checkKilled(t, cfg, acked)
			}
		}
		checkKilled(t, cfg, acked)
		t.Logf("killed %d times, %d batches acknowledged", rounds, acked+1)
		if acked < int64(rounds) {
			t.Errorf("only %d batches were acknowledged in %d rounds: too few to show anything", acked+1, rounds)
		}
	})
}

// runAndKill returns the number of the last batch that the child said was acknowledged.
func runAndKill(t *testing.T, cfg store.Config, wait time.Duration) int64 {
	t.Helper()
	b, err := json.Marshal(struct{ SQLite, Postgres string }{cfg.SQLite, cfg.Postgres})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(-1)
	runChild(t, childVar+"="+string(b), wait, func(lines *bufio.Scanner, first func()) {
		for lines.Scan() {
			n, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil || n < last {
				continue // torn by the kill
			}
			last = n
			first()
		}
	})
	return last
}

// runChild runs this binary again and lets read read its output. It kills it some time after read
// has called first, so that a slow start does not matter, or amid the start if there is no time.
func runChild(t *testing.T, env string, wait time.Duration, read func(lines *bufio.Scanner, first func())) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := make(chan struct{})
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill(); close(killed) })
	if wait == 0 {
		kill.Reset(20 * time.Millisecond)
	}
	read(bufio.NewScanner(out), sync.OnceFunc(func() { kill.Reset(wait) }))
	cmd.Wait()
	if kill.Stop() {
		t.Fatalf("the child ended by itself: %s", &stderr)
	}
	<-killed
}

func checkKilled(t *testing.T, cfg store.Config, acked int64) {
	t.Helper()
	db := storetest.OpenConfig(t, cfg)
	defer db.Close()
	h := mustHead(t, db)
	if h.Batches <= acked {
		t.Fatalf("batch %d was acknowledged, and the log ends with %d", acked, h.Batches-1)
	}
	var seq, batch int64
	for seq < h.Entries {
		ss, err := db.Segments(context.Background(), seq, 500)
		if err != nil || len(ss) == 0 {
			t.Fatalf("Segments(%d): %d, %v", seq, len(ss), err)
		}
		for _, s := range ss {
			if s.Batch != batch || s.First != seq+1 || s.Count != 1+int(batch%7) || !bytes.Equal(s.Data, killData(batch)) {
				t.Fatalf("batch %d is damaged: number %d, %d entries from %d, %d bytes", batch, s.Batch, s.Count, s.First, len(s.Data))
			}
			batch, seq = batch+1, s.First+int64(s.Count)-1
		}
	}
	if batch != h.Batches {
		t.Fatalf("%d batches, want %d", batch, h.Batches)
	}
	checkTree(t, db, h.Batches)
}

// Whatever was acknowledged is there after PostgreSQL itself has crashed, and the store goes on.
func TestPostgresCrash(t *testing.T) {
	if os.Getenv(storetest.PostgresVar) == "" {
		t.Skipf("%s is not set", storetest.PostgresVar)
	}
	ctx := context.Background()
	c, err := storetest.StartCluster(ctx, storetest.ClusterConfig{Fsync: true})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	cfg := store.Config{Postgres: c.DSN}
	db := storetest.OpenConfig(t, cfg)

	var acked atomic.Int64
	acked.Store(-1)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- appendThroughCrashes(running, db, &acked) }()
	for range 3 {
		for before := acked.Load(); acked.Load() < before+50; {
			select {
			case err := <-ended:
				t.Fatal(err)
			case <-time.After(time.Millisecond):
			}
		}
		if err := c.Crash(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	before := acked.Load()
	for acked.Load() < before+50 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	checkKilled(t, cfg, acked.Load())
}

func appendThroughCrashes(ctx context.Context, db *store.DB, acked *atomic.Int64) error {
	for ctx.Err() == nil {
		var s audit.Segment
		h, err := db.Head(ctx)
		if err == nil {
			s, err = segment(ctx, db, h, 1+int(h.Batches%7), killData(h.Batches))
		}
		if err == nil {
			err = db.Append(ctx, h, s)
		}
		switch {
		case err == nil:
			acked.Store(h.Batches)
		case ctx.Err() != nil:
		case !errors.Is(err, authz.ErrUnavailable) && !errors.Is(err, authz.ErrConflict):
			return fmt.Errorf("amid a crash: %w, want unavailable", err)
		}
	}
	return nil
}
