package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Query selects entries. Fields that are set must all match; the zero Query matches every entry.
type Query struct {
	Kind     Kind
	Actor    string    // agent:ID, pep:NAME, admin:NAME, safeconduct
	Agent    string    // id of an agent that acted, or whose record was changed
	Action   string    // name of a decision's action
	Resource string    // type:id of a decision's resource
	Outcome  string    // effect of a decision: deny, require_approval, step_up, allow
	Code     string    // code of a decision
	Text     string    // words, all of which occur in the names of a decision or in the strings of another body
	From, To time.Time // inclusive; zero means open
	Before   int64     // only entries numbered below; 0 means all. The next page begins before the last number of this one.
	Limit    int       // at most MaxFound; 0 means 100
}

// Bounds of a search.
const (
	MaxFound   = 1000
	maxQuery   = 2048   // bytes of each of a query's strings
	maxNoIndex = 200000 // entries that are searched without the index before Find gives up
)

// terms returns what an entry must have.
func (q *Query) terms() []term {
	var ts []term
	for _, f := range []struct {
		tag   byte
		value string
	}{
		{tagKind, string(q.Kind)}, {tagActor, q.Actor}, {tagAgent, q.Agent}, {tagAction, q.Action},
		{tagResource, q.Resource}, {tagOutcome, q.Outcome}, {tagCode, q.Code},
	} {
		if f.value != "" {
			ts = append(ts, termOf(f.tag, f.value))
		}
	}
	eachWord([]byte(q.Text), func(w []byte) bool {
		ts = append(ts, termOf(tagWord, w))
		return len(ts) < maxWords
	})
	return ts
}

func (q *Query) check() error {
	for _, s := range []string{string(q.Kind), q.Actor, q.Agent, q.Action, q.Resource, q.Outcome, q.Code, q.Text} {
		if len(s) > maxQuery {
			return authz.Errorf(authz.ErrInvalid, "a query's strings have at most %d bytes", maxQuery)
		}
	}
	if q.Limit < 0 || q.Limit > MaxFound || q.Before < 0 {
		return authz.Errorf(authz.ErrInvalid, "a query's limit is 1 to %d", MaxFound)
	}
	return nil
}

// A search is one Find under way.
type search struct {
	x      *Index
	want   []term
	limit  int
	lo, hi int64 // numbers that may be found: lo <= seq < hi
	reader termReader
	block  *block // the last one that was read
	found  []Entry
}

// Find returns the entries that match q, newest first. It returns authz.ErrUnavailable if the index
// lags so far behind that the search would take too long.
func (x *Index) Find(ctx context.Context, q Query) ([]Entry, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	// The cursor first: the index may go on meanwhile, but nothing falls between it and the tail.
	cursor, err := x.store.IndexCursor(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the cursor of the search index: %w", err)
	}
	if err := x.log.tail.wait(ctx); err != nil {
		return nil, err
	}
	s := &search{x: x, want: q.terms(), limit: q.Limit, lo: 1}
	if s.limit == 0 {
		s.limit = 100
	}
	last, _ := x.log.tail.position()
	s.hi = last + 1
	if q.Before > 0 {
		s.hi = min(s.hi, q.Before)
	}
	if !q.From.IsZero() {
		if s.lo, err = s.numberAt(ctx, q.From, last); err != nil {
			return nil, err
		}
	}
	if !q.To.IsZero() {
		// Entries have whole microseconds: what is not after To is before the next one.
		hi, err := s.numberAt(ctx, q.To.Truncate(time.Microsecond).Add(time.Microsecond), last)
		if err != nil {
			return nil, err
		}
		s.hi = min(s.hi, hi)
	}
	if len(s.want) == 0 {
		err = s.scan(ctx, s.lo)
	} else if err = s.scan(ctx, max(s.lo, cursor+1)); err == nil {
		err = s.lookUp(ctx, cursor)
	}
	if err != nil {
		return nil, fmt.Errorf("searching the log: %w", err)
	}
	return s.found, nil
}

// load makes s.block the one that holds an entry.
func (s *search) load(ctx context.Context, seq int64) error {
	if b := s.block; b != nil && b.leaf.First <= seq && seq <= b.leaf.Last() {
		return nil
	}
	if b := s.x.log.tail.block(seq); b != nil {
		s.block = b
		return nil
	}
	segs, err := s.x.log.segments(ctx, seq-1, 1)
	if err != nil {
		return err
	}
	if len(segs) == 0 {
		return authz.Errorf(authz.ErrNotFound, "no entry has the number %d", seq)
	}
	b, err := s.x.log.codec.unpack(segs[0], false)
	if err != nil {
		return err
	}
	if _, err := b.from(seq); err != nil {
		return err
	}
	s.block = b
	return nil
}

// look adds the entry numbered seq if it matches, and returns whether there is room for more.
func (s *search) look(ctx context.Context, seq int64) (more bool, err error) {
	if err := s.load(ctx, seq); err != nil {
		return false, err
	}
	e := &s.block.entries[seq-s.block.leaf.First]
	if s.matches(e) {
		s.found = append(s.found, *e)
	}
	return len(s.found) < s.limit, nil
}

func (s *search) matches(e *Entry) bool {
	if len(s.want) == 0 {
		return true
	}
	has := s.reader.read(e)
next:
	for _, t := range s.want {
		for _, h := range has {
			if h == t {
				continue next
			}
		}
		return false
	}
	return true
}

// scan looks at every entry from the newest that may be found down to the one numbered lo.
func (s *search) scan(ctx context.Context, lo int64) error {
	for looked := 0; s.hi > lo && len(s.found) < s.limit; looked++ {
		if looked >= maxNoIndex {
			return authz.Errorf(authz.ErrUnavailable, "the search index lags %d entries behind", s.hi-lo+int64(looked))
		}
		s.hi--
		if _, err := s.look(ctx, s.hi); err != nil {
			return err
		}
	}
	return nil
}

// A cursor walks through the blocks of a bucket, newest first.
type cursor struct {
	bucket int
	blocks []IndexBlock
	before int64
	end    bool
}

// at returns the block of the chunk that begins with first, nil if the bucket has none. Chunks must
// be asked for in descending order.
func (c *cursor) at(ctx context.Context, store IndexStore, first int64) ([]byte, error) {
	for {
		for len(c.blocks) > 0 && c.blocks[0].First > first {
			c.blocks = c.blocks[1:]
		}
		if len(c.blocks) > 0 {
			if c.blocks[0].First == first {
				return c.blocks[0].Data, nil
			}
			return nil, nil
		}
		if c.end {
			return nil, nil
		}
		blocks, err := store.IndexBlocks(ctx, c.bucket, min(c.before, first+1), 32)
		if err != nil {
			return nil, fmt.Errorf("reading the search index: %w", err)
		}
		c.blocks, c.end = blocks, len(blocks) < 32
		if n := len(blocks); n > 0 {
			c.before = blocks[n-1].First
		}
	}
}

// lookUp looks at the entries that the index has for all terms, up to the one it has got to.
func (s *search) lookUp(ctx context.Context, indexed int64) error {
	cs := make([]*cursor, len(s.want))
	for i, t := range s.want {
		cs[i] = &cursor{bucket: t.bucket(), before: 1<<63 - 1}
	}
	s.hi = min(s.hi, indexed+1)
	if s.hi <= s.lo {
		return nil
	}
	for first := (s.hi-2)/IndexChunk*IndexChunk + 1; first > 0 && first+IndexChunk > s.lo; first -= IndexChunk {
		if len(s.found) >= s.limit {
			return nil
		}
		var set [bitmapBytes]byte
		for i, t := range s.want {
			var one [bitmapBytes]byte
			data, err := cs[i].at(ctx, s.x.store, first)
			if err != nil {
				return err
			}
			if data == nil {
				set = one
				break
			}
			if err := places(data, t, &one); err != nil {
				return err
			}
			if i == 0 {
				set = one
				continue
			}
			for j := range set {
				set[j] &= one[j]
			}
		}
		var err error
		descending(&set, func(place int64) bool {
			seq := first + place
			if seq >= s.hi {
				return true
			}
			if seq < s.lo {
				return false
			}
			var more bool
			more, err = s.look(ctx, seq)
			return more && err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// numberAt returns the number of the first entry that is not before t, last+1 if there is none.
func (s *search) numberAt(ctx context.Context, t time.Time, last int64) (int64, error) {
	lo, hi := int64(1), last+1
	for lo < hi {
		if err := s.load(ctx, lo+(hi-lo)/2); err != nil {
			return 0, err
		}
		b := s.block
		switch {
		case b.leaf.At.Before(t):
			lo = b.leaf.Last() + 1
		case !b.entries[0].At.Before(t):
			hi = b.leaf.First
		default:
			for _, e := range b.entries {
				if !e.At.Before(t) {
					return e.Seq, nil
				}
			}
		}
	}
	return lo, nil
}
