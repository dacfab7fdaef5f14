package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/safeconduct/safeconduct/authz"
)

// notify rings at the other replicas. That a ring is lost does no harm: readers also poll.
func (db *DB) notify() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := db.r.ExecContext(ctx, `select pg_notify($1, '')`, db.pg.channel()); err != nil {
		db.log.DebugContext(ctx, "ringing other replicas", "error", err)
	}
}

// channel is the one that replicas of this schema ring on.
func (p *postgres) channel() string {
	return "safeconduct_" + strconv.FormatUint(uint64(p.lockID("log")), 16)
}

// An ear is the one connection on which a process hears other replicas, for all that listen in it.
type ear struct {
	mu        sync.Mutex
	listeners int
	stop      context.CancelFunc
	closed    bool
}

// close stops listening, for the database is being closed.
func (e *ear) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.stop != nil {
		e.stop()
	}
}

// listen hears other replicas until ctx ends. A connection that breaks is made again; rings in
// between are lost, so the one after it rings by itself.
func (db *DB) listen(ctx context.Context) error {
	e := &db.pg.ear
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return authz.Errorf(authz.ErrUnavailable, "the database is closed")
	}
	if e.listeners == 0 {
		conn, err := db.ear(ctx)
		if err != nil {
			return db.kind(fmt.Errorf("listening for the log to grow: %w", err))
		}
		run, stop := context.WithCancel(context.Background())
		e.stop = stop
		db.bell.out.Add(1)
		go func() {
			defer db.bell.out.Done()
			db.hearOthers(run, conn)
		}()
	}
	e.listeners++
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.listeners--; e.listeners == 0 {
			e.stop()
		}
	})
	return nil
}

func (db *DB) ear(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, db.pg.conf.Copy())
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `listen `+db.pg.channel()); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

func (db *DB) hearOthers(ctx context.Context, conn *pgx.Conn) {
	for pause := ringEvery; ctx.Err() == nil; {
		var err error
		if conn == nil {
			if conn, err = db.ear(ctx); err == nil {
				db.bell.ring(nil)
			}
		}
		if err == nil {
			pause = ringEvery
			if _, err = conn.WaitForNotification(ctx); err == nil {
				db.bell.ring(nil)
				continue
			}
			conn.Close(context.WithoutCancel(ctx))
			conn = nil
		}
		if ctx.Err() != nil {
			return
		}
		db.log.WarnContext(ctx, "listening for the log to grow", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
	if conn != nil {
		conn.Close(context.WithoutCancel(ctx))
	}
}
