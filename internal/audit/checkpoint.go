package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// maxCheckpoint bounds a signed checkpoint, cosignatures of witnesses included.
const maxCheckpoint = 64 << 10

// A Checkpoint is the signed state of a log: a C2SP tlog-checkpoint.
type Checkpoint struct {
	Origin string
	Size   int64 // batches, which are the leaves of the tree
	Root   tlog.Hash
	Note   []byte // the signed note
}

// ParseCheckpoint opens a signed checkpoint. It returns authz.ErrInvalid unless a verifier whose
// name is the checkpoint's origin has signed it.
func ParseCheckpoint(b []byte, verifiers ...note.Verifier) (*Checkpoint, error) {
	if len(b) > maxCheckpoint {
		return nil, authz.Errorf(authz.ErrInvalid, "checkpoint has %d bytes", len(b))
	}
	n, err := note.Open(b, note.VerifierList(distinct(verifiers)...))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "opening checkpoint: %w", err)
	}
	cp, err := parseCheckpointText(n.Text)
	if err != nil {
		return nil, err
	}
	for _, s := range n.Sigs {
		if s.Name == cp.Origin {
			cp.Note = append([]byte(nil), b...)
			return cp, nil
		}
	}
	return nil, authz.Errorf(authz.ErrInvalid, "checkpoint of %q is not signed by that log", cp.Origin)
}

// parseCheckpointText decodes what is signed. Extension lines are allowed and mean nothing to us.
func parseCheckpointText(text string) (*Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		return nil, authz.Errorf(authz.ErrInvalid, "checkpoint has %d lines", len(lines)-1)
	}
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			return nil, authz.Errorf(authz.ErrInvalid, "checkpoint has an empty line")
		}
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size >= 1<<62 || strconv.FormatInt(size, 10) != lines[1] {
		return nil, authz.Errorf(authz.ErrInvalid, "checkpoint has the size %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return nil, authz.Errorf(authz.ErrInvalid, "checkpoint has the root %q", lines[2])
	}
	return &Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// text returns what is signed.
func (cp *Checkpoint) text() string {
	return cp.Origin + "\n" + strconv.FormatInt(cp.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(cp.Root[:]) + "\n"
}

// distinct drops verifiers that are named twice, which a note would refuse.
func distinct(vs []note.Verifier) []note.Verifier {
	type id struct {
		name string
		hash uint32
	}
	seen := map[id]bool{}
	var ds []note.Verifier
	for _, v := range vs {
		if k := (id{v.Name(), v.KeyHash()}); !seen[k] {
			seen[k] = true
			ds = append(ds, v)
		}
	}
	return ds
}

// continuedBy checks that the tree of size n with that root begins with the checkpoint's tree.
func (cp *Checkpoint) continuedBy(ctx context.Context, s Store, n int64, root tlog.Hash) error {
	fault := func(format string, args ...any) error {
		return &Fault{Batch: -1, Err: authz.Errorf(authz.ErrInvalid, format, args...)}
	}
	switch {
	case cp.Size > n:
		return fault("the log has %d batches, its signed checkpoint %d", n, cp.Size)
	case cp.Size == n && cp.Root != root:
		return fault("the log of %d batches is not the one that was signed", n)
	case cp.Size == n || cp.Size == 0:
		return nil
	}
	proof, err := tlog.ProveTree(n, cp.Size, hashReader(ctx, s))
	if err != nil {
		return fmt.Errorf("proving that the log continues its checkpoint: %w", err)
	}
	if err := tlog.CheckTree(proof, n, root, cp.Size, cp.Root); err != nil {
		return fault("the log does not continue its signed checkpoint of %d batches", cp.Size)
	}
	return nil
}

// verifiers returns all keys that this log's checkpoints may be signed with.
func (l *Log) verifiers() []note.Verifier {
	return append([]note.Verifier{l.cfg.Key.Verifier()}, l.cfg.Former...)
}

// storedCheckpoint reads the store's newest checkpoint, nil if there is none.
func (l *Log) storedCheckpoint(ctx context.Context) (*Checkpoint, error) {
	b, err := l.store.Checkpoint(ctx)
	if errors.Is(err, authz.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	cp, err := ParseCheckpoint(b, l.verifiers()...)
	if err != nil {
		return nil, fmt.Errorf("the stored checkpoint: %w", err)
	}
	if cp.Origin != l.cfg.Key.Origin() {
		return nil, authz.Errorf(authz.ErrInvalid, "the stored checkpoint is of the log %q, the key is for %q", cp.Origin, l.cfg.Key.Origin())
	}
	return cp, nil
}

// Signed returns the newest signed checkpoint that this process knows, nil if it knows none. It does
// no I/O.
func (l *Log) Signed() *Checkpoint { return l.checkpoint.Load() }

// Checkpoint returns a signed checkpoint that covers at least everything that was recorded through
// this Log before the call; it signs one if need be.
func (l *Log) Checkpoint(ctx context.Context) (*Checkpoint, error) {
	if err := l.tail.wait(ctx); err != nil {
		return nil, err
	}
	need, _ := l.tail.size()
	if cp := l.checkpoint.Load(); cp != nil && cp.Size >= need {
		return cp, nil
	}
	select {
	case <-l.signing:
		defer func() { l.signing <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if cp := l.checkpoint.Load(); cp != nil && cp.Size >= need {
		return cp, nil
	}
	e := l.tail.end()
	cp := &Checkpoint{Origin: l.cfg.Key.Origin(), Size: e.head.Batches, Root: e.edge.root()}
	var err error
	if cp.Note, err = note.Sign(&note.Note{Text: cp.text()}, l.cfg.Key.signer); err != nil {
		return nil, fmt.Errorf("signing the checkpoint: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	if err := l.store.PutCheckpoint(ctx, cp.Size, cp.Note); err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "storing the checkpoint: %w", err)
	}
	l.checkpoint.Store(cp)
	return cp, nil
}

// sign signs a checkpoint after growth, not too often, until ctx ends.
func (l *Log) sign(ctx context.Context) {
	failed := false
	for {
		size, grown := l.tail.size()
		if cp := l.checkpoint.Load(); cp != nil && cp.Size >= size {
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
		_, err := l.Checkpoint(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			l.cfg.Logger.ErrorContext(ctx, "checkpoint not signed", "error", err)
		}
		failed = err != nil
		t := time.NewTimer(l.cfg.CheckpointEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}
