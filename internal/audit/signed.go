package audit

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A PastCheckpoint is a checkpoint that this log was signed with.
type PastCheckpoint struct {
	Checkpoint
	At         time.Time   // when it was signed, by the clock of who signed it; zero if that is not known
	Entries    int64       // number of the last entry that it covers
	Signatures []Signature // in the order of the note
}

// A Signature is one line of a signed note.
type Signature struct {
	Name string // of the key
	Key  string // its id: eight hexadecimal digits
	Ours bool   // whether it was checked: by the log's own key, or by one that the log had before
}

// MaxCheckpoints is how many checkpoints Checkpoints returns at most.
const MaxCheckpoints = 200

// Checkpoints returns up to limit signed checkpoints of fewer than before batches, the newest first; before 0 means
// all. Which are kept is the store's to say. One that is not signed by the log's keys is a *Fault.
func (l *Log) Checkpoints(ctx context.Context, before int64, limit int) ([]PastCheckpoint, error) {
	if limit < 1 || limit > MaxCheckpoints || before < 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "1 to %d checkpoints can be read at once", MaxCheckpoints)
	}
	if before == 0 {
		before = 1 << 62
	}
	var notes []SignedNote
	if s, ok := l.store.(CheckpointStore); ok {
		var err error
		if notes, err = s.Checkpoints(ctx, before, limit); err != nil {
			return nil, fmt.Errorf("reading the checkpoints: %w", err)
		}
	} else if cp := l.checkpoint.Load(); cp != nil && cp.Size < before {
		notes = []SignedNote{{Note: cp.Note}}
	}
	past := make([]PastCheckpoint, 0, len(notes))
	for _, n := range notes {
		cp, err := ParseCheckpoint(n.Note, l.verifiers()...)
		if err == nil && cp.Origin != l.cfg.Key.Origin() {
			err = authz.Errorf(authz.ErrInvalid, "a checkpoint of another log, %q", cp.Origin)
		}
		if err != nil {
			return nil, &Fault{Batch: -1, Err: err}
		}
		p := PastCheckpoint{Checkpoint: *cp, At: n.At, Signatures: l.signatures(n.Note)}
		if cp.Size > 0 {
			texts, err := leaves(ctx, l.store, cp.Size-1, 1)
			if err == nil && len(texts) != 1 {
				err = &Fault{Batch: cp.Size - 1, Err: authz.Errorf(authz.ErrInvalid, "the last batch under a checkpoint is missing")}
			}
			if err != nil {
				return nil, err
			}
			leaf, err := ParseLeaf(texts[0])
			if err != nil {
				return nil, &Fault{Batch: cp.Size - 1, Err: err}
			}
			p.Entries = leaf.Last()
		}
		past = append(past, p)
	}
	return past, nil
}

// signatures lists who signed a note that was parsed before.
func (l *Log) signatures(signed []byte) []Signature {
	var sigs []Signature
	_, lines, _ := strings.Cut(string(signed), "\n\n")
	for line := range strings.Lines(lines) {
		name, sig, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "\u2014 "), "\n"), " ")
		raw, err := base64.StdEncoding.DecodeString(sig)
		if !ok || err != nil || len(raw) < 5 {
			continue
		}
		s := Signature{Name: name, Key: fmt.Sprintf("%x", raw[:4])}
		for _, v := range l.verifiers() {
			s.Ours = s.Ours || v.Name() == name && v.KeyHash() == binary.BigEndian.Uint32(raw)
		}
		sigs = append(sigs, s)
	}
	return sigs
}
