package audit

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// take looks at the next segment.
func (v *verification) take(ctx context.Context, j *job) error {
	s := &j.seg
	if s.Batch != v.tree.n {
		v.fault(s.Batch, s.First, "batch %d is in the place of batch %d", s.Batch, v.tree.n)
	}
	switch {
	case s.First > v.next:
		v.r.Gaps = append(v.r.Gaps, Gap{v.next, s.First - 1})
		v.fault(s.Batch, v.next, "entries %d to %d are missing", v.next, s.First-1)
	case s.First < v.next:
		v.fault(s.Batch, s.First, "entry %d is there twice", s.First)
	}
	v.r.Batches++
	v.r.Stored += int64(len(s.Data))
	v.next = max(v.next, s.First+int64(s.Count))
	if err := v.leaf(ctx, j.hash); err != nil {
		return err
	}
	if j.err != nil {
		var f *Fault
		if !errors.As(j.err, &f) {
			return j.err
		}
		v.note(f)
		return nil
	}
	v.count(j.block)
	for i := range j.block.entries {
		v.entry(s.Batch, &j.block.entries[i])
	}
	if v.opts.Progress != nil && v.r.Batches%64 == 0 {
		v.opts.Progress(v.r.Entries, v.head.Entries)
	}
	return nil
}

// leaf adds a leaf to the tree.
func (v *verification) leaf(ctx context.Context, h tlog.Hash) error {
	v.stored = append(v.stored, v.tree.stored(h)...)
	if p, ok := v.roots[v.tree.n]; ok && p == nil {
		root := v.tree.root()
		v.roots[v.tree.n] = &root
	}
	if len(v.stored) < 400 {
		return nil
	}
	return v.compare(ctx)
}

// compare compares the computed hashes of the tree with the stored ones.
func (v *verification) compare(ctx context.Context) error {
	if len(v.stored) == 0 {
		return nil
	}
	indexes := make([]int64, len(v.stored))
	for i := range indexes {
		indexes[i] = v.from + int64(i)
	}
	got, err := v.store.Hashes(ctx, indexes)
	switch {
	case errors.Is(err, authz.ErrNotFound):
		v.fault(-1, 0, "hashes of the tree are missing among %d to %d", v.from, indexes[len(indexes)-1])
	case err != nil:
		return fmt.Errorf("reading hashes of the tree: %w", err)
	case len(got) != len(indexes):
		v.fault(-1, 0, "hashes of the tree are missing among %d to %d", v.from, indexes[len(indexes)-1])
	default:
		for i := range got {
			if got[i] != v.stored[i] {
				level, n := tlog.SplitStoredHashIndex(indexes[i])
				v.fault(-1, 0, "stored hash %d of the tree's level %d is wrong", n, level)
				break
			}
		}
	}
	v.from += int64(len(v.stored))
	v.stored = v.stored[:0]
	return nil
}

// count checks that the process that wrote b has counted its entries without a gap.
func (v *verification) count(b *block) {
	nth, known := v.writers[b.leaf.Writer]
	if !known && len(v.writers) >= maxWriters {
		return
	}
	if b.leaf.Nth != nth+1 {
		v.fault(b.batch, b.leaf.First, "process %s goes on with its entry %d after %d", b.leaf.Writer, b.leaf.Nth, nth)
	}
	v.writers[b.leaf.Writer] = b.leaf.Nth + int64(b.leaf.Count) - 1
}

// entry looks at one entry, of a batch that is whole in itself.
func (v *verification) entry(batch int64, e *Entry) {
	v.r.Entries++
	if _, ok := v.r.Kinds[e.Kind]; ok || len(v.r.Kinds) < maxKinds {
		v.r.Kinds[e.Kind]++
	} else {
		v.r.Kinds["other"]++
	}
	if v.r.Entries == 1 {
		v.r.First = e.At
	} else {
		span := e.At.Sub(v.last.At)
		if span < 0 {
			v.fault(batch, e.Seq, "entry is older than the one before it")
		}
		v.r.Longest = max(v.r.Longest, span)
		if span > v.opts.Silence && len(v.r.Silences) < maxSilences {
			v.r.Silences = append(v.r.Silences, Silence{After: v.last.Seq, From: v.last.At, To: e.At,
				Announced: v.word == ServiceStopping})
		}
	}
	v.last = Entry{Seq: e.Seq, At: e.At}
	if e.Kind != Heartbeat {
		v.word = e.Kind
	}
	v.r.Last = e.At
}

// finish compares what was found with what is claimed.
func (v *verification) finish(ctx context.Context) error {
	if err := v.compare(ctx); err != nil {
		return err
	}
	root := v.tree.root()
	v.r.Root, v.r.Writers = root.String(), len(v.writers)
	if v.next-1 != v.head.Entries || v.tree.n != v.head.Batches {
		if v.next <= v.head.Entries {
			v.r.Gaps = append(v.r.Gaps, Gap{v.next, v.head.Entries})
		}
		v.fault(-1, v.next, "the log ends with entry %d of batch %d, its head says entry %d of batch %d",
			v.next-1, v.tree.n-1, v.head.Entries, v.head.Batches-1)
	}
	for _, cp := range v.signed {
		switch p := v.roots[cp.Size]; {
		case cp.Size == 0:
			if empty := new(rootBuilder).root(); cp.Root != empty {
				v.fault(-1, 0, "the checkpoint of the empty log has another root")
			}
		case p == nil:
			v.fault(-1, v.next, "the log has %d batches, a signed checkpoint %d", v.tree.n, cp.Size)
		case *p != cp.Root:
			v.fault(-1, 0, "the first %d batches are not those that a checkpoint was signed for", cp.Size)
		}
	}
	if v.opts.Progress != nil {
		v.opts.Progress(v.r.Entries, v.head.Entries)
	}
	return nil
}
