package audit

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// maxProof bounds the JSON form of a proof, most of which is the entry.
const maxProof = 2 << 20

// An EntryProof shows that an entry is in a log, with nothing else but the log's public key: the
// entry is in its batch, and the batch is in the log that the checkpoint was signed for. It tells
// of other entries only how many there are.
type EntryProof struct {
	Entry      []byte      `json:"entry"`       // encoded; see ParseEntry
	Salt       []byte      `json:"salt"`        // of the entry
	BatchProof []tlog.Hash `json:"batch_proof"` // from the entry's hash to the root in Leaf
	Leaf       string      `json:"leaf"`        // text of the batch's leaf
	Batch      int64       `json:"batch"`       // index of the leaf in the tree
	LogProof   []tlog.Hash `json:"log_proof"`   // from the leaf's hash to the root in Checkpoint
	Checkpoint string      `json:"checkpoint"`  // a signed note
}

// A GrowthProof shows that a log only grew between two of its sizes.
type GrowthProof struct {
	Old        int64       `json:"old"` // size of the older tree, at least 1
	Proof      []tlog.Hash `json:"proof"`
	Checkpoint string      `json:"checkpoint"` // of the newer tree, a signed note
}

// Prove returns the proof that the entry numbered seq is in the log that cp was signed for. It
// returns authz.ErrNotFound if cp does not cover that entry.
func Prove(ctx context.Context, store Store, cp *Checkpoint, seq int64) (*EntryProof, error) {
	return (&prover{store: store, cp: cp}).prove(ctx, seq)
}

// readBlock reads the batch that holds an entry, with the hashes that proofs are made of.
func readBlock(ctx context.Context, store Store, seq int64) (*block, []byte, error) {
	if seq < 1 {
		return nil, nil, authz.Errorf(authz.ErrNotFound, "no entry has the number %d", seq)
	}
	segs, err := store.Segments(ctx, seq-1, 1)
	if err != nil {
		return nil, nil, fmt.Errorf("reading entry %d: %w", seq, err)
	}
	if len(segs) == 0 {
		return nil, nil, authz.Errorf(authz.ErrNotFound, "no entry has the number %d", seq)
	}
	dec, err := newDecoder()
	if err != nil {
		return nil, nil, err
	}
	defer dec.Close()
	b, err := (&codec{dec: dec}).unpack(segs[0], true)
	if err != nil {
		return nil, nil, err
	}
	if _, err := b.from(seq); err != nil {
		return nil, nil, err
	}
	return b, segs[0].Leaf, nil
}

// storedHashes is a tlog.HashReader over the tree of the given leaf hashes.
func storedHashes(leaves []tlog.Hash) tlog.HashReader {
	var (
		tree rootBuilder
		all  []tlog.Hash
	)
	for _, h := range leaves {
		all = append(all, tree.stored(h)...)
	}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hs := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index < 0 || index >= int64(len(all)) {
				return nil, authz.Errorf(authz.ErrNotFound, "no hash %d", index)
			}
			hs[i] = all[index]
		}
		return hs, nil
	})
}

// notNil makes JSON show an empty list as one.
func notNil(hs []tlog.Hash) []tlog.Hash {
	if hs == nil {
		return []tlog.Hash{}
	}
	return hs
}

// Prove returns the proof that the entry numbered seq is in the log, under a checkpoint that is
// signed for it if need be.
func (l *Log) Prove(ctx context.Context, seq int64) (*EntryProof, error) {
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	return Prove(ctx, l.store, cp, seq)
}

// ProveGrowth returns the proof that the log's newest checkpoint continues the tree of old batches.
// It returns authz.ErrNotFound if the log has fewer.
func (l *Log) ProveGrowth(ctx context.Context, old int64) (*GrowthProof, error) {
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if old < 1 || old > cp.Size {
		return nil, authz.Errorf(authz.ErrNotFound, "the log has 1 to %d batches, not %d", cp.Size, old)
	}
	proof, err := tlog.ProveTree(cp.Size, old, hashReader(ctx, l.store))
	if err != nil {
		return nil, fmt.Errorf("proving growth from %d batches: %w", old, err)
	}
	return &GrowthProof{Old: old, Proof: notNil(proof), Checkpoint: string(cp.Note)}, nil
}

// ParseEntryProof decodes the JSON form of a proof; it does not verify it.
func ParseEntryProof(b []byte) (*EntryProof, error) { return parseProof[EntryProof](b) }

// ParseGrowthProof decodes the JSON form of a proof; it does not verify it.
func ParseGrowthProof(b []byte) (*GrowthProof, error) { return parseProof[GrowthProof](b) }

func parseProof[P any](b []byte) (*P, error) {
	if len(b) > maxProof {
		return nil, authz.Errorf(authz.ErrInvalid, "proof has %d bytes: at most %d", len(b), maxProof)
	}
	p := new(P)
	if err := json.Unmarshal(b, p, json.RejectUnknownMembers(true)); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading proof: %w", err)
	}
	return p, nil
}

// VerifyEntryProof returns the entry that p proves to be in the log of one of the verifiers, and the
// checkpoint it is proved under. It needs nothing but public keys.
func VerifyEntryProof(p *EntryProof, verifiers ...note.Verifier) (Entry, *Checkpoint, error) {
	e, rest, err := ParseEntry(p.Entry)
	if err == nil && len(rest) != 0 {
		err = authz.Errorf(authz.ErrInvalid, "%d bytes follow the entry", len(rest))
	}
	if err != nil {
		return Entry{}, nil, err
	}
	if len(p.Salt) != saltSize {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "salt has %d bytes", len(p.Salt))
	}
	leaf, err := ParseLeaf([]byte(p.Leaf))
	if err != nil {
		return Entry{}, nil, err
	}
	if e.Seq < leaf.First || e.Seq > leaf.Last() {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry %d is not one of the batch's, %d to %d", e.Seq, leaf.First, leaf.Last())
	}
	if e.At.After(leaf.At) {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry is younger than its batch")
	}
	h := EntryHash(Salt(p.Salt), p.Entry)
	if err := tlog.CheckRecord(p.BatchProof, int64(leaf.Count), leaf.Root, e.Seq-leaf.First, h); err != nil {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "entry %d is not in the batch", e.Seq)
	}
	cp, err := ParseCheckpoint([]byte(p.Checkpoint), verifiers...)
	if err != nil {
		return Entry{}, nil, err
	}
	if p.Batch < 0 || p.Batch >= cp.Size {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "batch %d is not one of the checkpoint's %d", p.Batch, cp.Size)
	}
	if err := tlog.CheckRecord(p.LogProof, cp.Size, cp.Root, p.Batch, tlog.RecordHash([]byte(p.Leaf))); err != nil {
		return Entry{}, nil, authz.Errorf(authz.ErrInvalid, "batch %d is not in the log", p.Batch)
	}
	return e, cp, nil
}

// VerifyGrowthProof returns the newer checkpoint if it continues the older one, whose signature was
// checked when it was parsed. Both must be of the same log.
func VerifyGrowthProof(p *GrowthProof, old *Checkpoint, verifiers ...note.Verifier) (*Checkpoint, error) {
	cp, err := ParseCheckpoint([]byte(p.Checkpoint), verifiers...)
	if err != nil {
		return nil, err
	}
	if cp.Origin != old.Origin {
		return nil, authz.Errorf(authz.ErrInvalid, "the checkpoints are of two logs, %q and %q", old.Origin, cp.Origin)
	}
	if p.Old != old.Size || old.Size < 1 || cp.Size < old.Size {
		return nil, authz.Errorf(authz.ErrInvalid, "the proof is from %d to %d batches, the older checkpoint has %d", p.Old, cp.Size, old.Size)
	}
	if err := tlog.CheckTree(p.Proof, cp.Size, cp.Root, old.Size, old.Root); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the log of %d batches does not continue that of %d", cp.Size, old.Size)
	}
	return cp, nil
}

// Entry returns the entry numbered seq, authz.ErrNotFound if there is none.
func (l *Log) Entry(ctx context.Context, seq int64) (Entry, error) {
	if b := l.tail.block(seq); b != nil {
		return b.entries[seq-b.leaf.First], nil
	}
	b, _, err := readBlock(ctx, l.store, seq)
	if err != nil {
		return Entry{}, err
	}
	return b.entries[seq-b.leaf.First], nil
}

// Pick calls f with the entries of some numbers, which must be in ascending order, until f returns false. A batch that has
// several of them is read once. A number that the log has not reached is authz.ErrNotFound.
func (l *Log) Pick(ctx context.Context, seqs []int64, f func(Entry) bool) error {
	var b *block
	for _, seq := range seqs {
		if b == nil || seq < b.leaf.First || seq > b.leaf.Last() {
			if b = l.tail.block(seq); b == nil {
				segs, err := l.segments(ctx, seq-1, 1)
				if err != nil {
					return err
				}
				if len(segs) == 0 {
					return authz.Errorf(authz.ErrNotFound, "no entry has the number %d", seq)
				}
				if b, err = l.codec.unpack(segs[0], false); err != nil {
					return err
				}
				if _, err := b.from(seq); err != nil {
					return err
				}
			}
		}
		if !f(b.entries[seq-b.leaf.First]) {
			return nil
		}
	}
	return nil
}
