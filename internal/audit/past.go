package audit

import (
	"context"
	"fmt"
)

// A Past is a log up to where it ended when it was opened, read from its store without its key, beside
// whoever writes to it. That each batch is what its leaf says is checked; that the leaves are those of the
// signed tree is Verify's work.
type Past struct {
	store Store
	codec *codec
	head  Head
}

// NewPast returns what is in a store now.
func NewPast(ctx context.Context, store Store) (*Past, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	head, err := store.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the end of the log: %w", err)
	}
	return &Past{store, c, head}, nil
}

// Head returns the end of what there is.
func (p *Past) Head() Head { return p.head }

// Follow calls f with every entry after the given number, in order and in slices, and returns nil after the
// last. It returns the first error of f, and a *Fault if the log is damaged.
func (p *Past) Follow(ctx context.Context, after int64, f func(context.Context, []Entry) error) error {
	for after < p.head.Entries {
		segs, err := p.store.Segments(ctx, after, 8)
		if err != nil {
			return fmt.Errorf("reading the log after entry %d: %w", after, err)
		}
		if len(segs) == 0 {
			return &Fault{Batch: -1, Seq: after + 1, Err: fmt.Errorf("no segment has entry %d", after+1)}
		}
		for _, s := range segs {
			b, err := p.codec.unpack(s, false)
			if err != nil {
				return err
			}
			es, err := b.from(after + 1)
			if err != nil {
				return err
			}
			es = es[:min(int64(len(es)), p.head.Entries-after)]
			if len(es) == 0 {
				return nil
			}
			if err := f(ctx, es); err != nil {
				return err
			}
			after = es[len(es)-1].Seq
		}
	}
	return nil
}
