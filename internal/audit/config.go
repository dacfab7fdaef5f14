package audit

import (
	crand "crypto/rand"
	"io"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
)

// Config configures a Log. Only Key must be set.
type Config struct {
	// Key signs checkpoints; its name is the log's origin. Replicas of one log share it.
	Key *Key
	// Former are keys that signed this log's checkpoints earlier. A stored checkpoint signed by
	// neither Key nor one of these stops the log.
	Former []note.Verifier
	// Writer is told in heartbeats, for people. It is not secret.
	Writer string
	// Now is the clock that entries are dated by; time.Now by default. An entry is never dated
	// before the one that precedes it: a replica whose clock is ahead drags the others along.
	Now func() time.Time
	// Rand is the source of seeds; crypto/rand by default. If it can be foretold, leaf hashes give
	// away bodies that can be guessed.
	Rand io.Reader
	// Heartbeat is how long this process may write nothing before it writes a heartbeat; 10 s by
	// default, never if negative, and then silence cannot be told from loss.
	Heartbeat time.Duration
	// BatchEntries and BatchBytes bound a batch: 2048 and 4 MiB by default.
	BatchEntries, BatchBytes int
	// QueueEntries and QueueBytes bound what waits for its batch; callers of Record beyond it wait
	// for room. 16384 and 32 MiB by default.
	QueueEntries, QueueBytes int
	// Patience is how long a batch is retried after the store has failed before its callers are
	// refused, and how long any one answer of the store is waited for; 2 s by default. While the
	// store keeps failing, later batches are tried once.
	Patience time.Duration
	// Poll is how often the store is asked whether other replicas have written; 250 ms by default.
	Poll time.Duration
	// CheckpointEvery is how often at most a checkpoint is signed after growth; 1 s by default.
	CheckpointEvery time.Duration
	// MemoryBytes bounds the newest entries that are kept in memory for followers; 32 MiB by default.
	MemoryBytes int
	// Logger is told of trouble; none by default.
	Logger *slog.Logger
}

// withDefaults returns c complete, or authz.ErrInvalid.
func (c Config) withDefaults() (Config, error) {
	if c.Key == nil {
		return c, authz.Errorf(authz.ErrInvalid, "a log needs a key to sign checkpoints")
	}
	set := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	lasts := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	set(&c.BatchEntries, 2048)
	set(&c.BatchBytes, 4<<20)
	set(&c.QueueEntries, 16384)
	set(&c.QueueBytes, 32<<20)
	set(&c.MemoryBytes, 32<<20)
	lasts(&c.Heartbeat, 10*time.Second)
	lasts(&c.Patience, 2*time.Second)
	lasts(&c.Poll, 250*time.Millisecond)
	lasts(&c.CheckpointEvery, time.Second)
	if c.BatchEntries < 1 || c.BatchEntries > MaxBatchEntries || c.QueueEntries < c.BatchEntries {
		return c, authz.Errorf(authz.ErrInvalid, "a batch has 1 to %d entries and fits into the queue", MaxBatchEntries)
	}
	if c.BatchBytes < MaxBody+4096 || c.BatchBytes > MaxBatchBytes || c.QueueBytes < c.BatchBytes {
		return c, authz.Errorf(authz.ErrInvalid, "a batch has %d to %d bytes and fits into the queue", MaxBody+4096, MaxBatchBytes)
	}
	if c.Patience < 0 || c.Poll < 0 || c.CheckpointEvery < 0 || c.MemoryBytes < 0 {
		return c, authz.Errorf(authz.ErrInvalid, "a log's times and bounds are not negative")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = crand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
