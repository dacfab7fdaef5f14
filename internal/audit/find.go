package audit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Query selects entries. Fields that are set must all match; the zero Query matches every entry.
type Query struct {
	Kind     Kind
	Actor    string    // agent:ID, pep:NAME, admin:NAME, safeconduct
	Agent    string    // id of an agent that acted, or that the entry is about
	Action   string    // name of a decision's action
	Resource string    // type:id of a decision's resource
	Outcome  string    // effect of a decision: deny, require_approval, step_up, allow
	Code     string    // code of a decision
	Session  string    // session of a decision
	Behalf   string    // type:id of somebody for whom the agent of a decision acts
	Decision int64     // number of a decision that the entry is about: the report of its outcome, an ask for approval
	Text     string    // words, all of which occur in the names of a decision or in the strings of another body
	From, To time.Time // inclusive; zero means open
	Before   int64     // only entries numbered below; 0 means all. The next page begins before the last number of this one.
	After    int64     // only entries numbered above
	Limit    int       // at most MaxFound; 0 means 100
	// Patience is how long Search goes on before it stops where it is; 0 means to the end. Find has all the patience.
	Patience time.Duration
}

// Found is what a search found.
type Found struct {
	Entries []Entry // newest first
	// Next, if it is not 0, is the next page's Before: there may be more.
	Next int64
	// Stopped is whether the search stopped because it had taken long enough.
	Stopped bool
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
		{tagResource, q.Resource}, {tagOutcome, q.Outcome}, {tagCode, q.Code}, {tagSession, q.Session}, {tagBehalf, q.Behalf},
	} {
		if f.value != "" {
			ts = append(ts, termOf(f.tag, f.value))
		}
	}
	if q.Decision > 0 {
		ts = append(ts, termOf(tagDecision, strconv.FormatInt(q.Decision, 10)))
	}
	eachWord([]byte(q.Text), func(w []byte) bool {
		ts = append(ts, termOf(tagWord, w))
		return len(ts) < maxWords
	})
	return ts
}

func (q *Query) check() error {
	for _, s := range []string{string(q.Kind), q.Actor, q.Agent, q.Action, q.Resource, q.Outcome, q.Code, q.Session, q.Behalf, q.Text} {
		if len(s) > maxQuery {
			return authz.Errorf(authz.ErrInvalid, "a query's strings have at most %d bytes", maxQuery)
		}
	}
	if q.Limit < 0 || q.Limit > MaxFound || q.Before < 0 || q.After < 0 || q.Decision < 0 {
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
	ahead  int    // how many blocks of chunks are read at once
	found  []Entry

	until   time.Time // it stops then; zero: never
	stopped bool      // and everything from number reached on was looked at
	reached int64
}

// tired reports whether the search has to stop, all entries from that number on having been looked at.
func (s *search) tired(reached int64) bool {
	if s.until.IsZero() || time.Now().Before(s.until) {
		return false
	}
	s.stopped, s.reached = true, reached
	return true
}

// Find returns the entries that match q, newest first. It returns authz.ErrUnavailable if the index
// lags so far behind that the search would take too long, if a program of another version has written it, or if it was
// reset during the search.
func (x *Index) Find(ctx context.Context, q Query) ([]Entry, error) {
	q.Patience = 0
	f, err := x.Search(ctx, q)
	return f.Entries, err
}

// Search is Find with a bound of time: what it found until then, and where to go on. It goes on for at least one chunk
// of the index, so that who does go on comes to an end.
func (x *Index) Search(ctx context.Context, q Query) (Found, error) {
	s, err := x.search(ctx, q)
	if err != nil {
		return Found{}, err
	}
	f := Found{Entries: s.found, Stopped: s.stopped}
	if s.stopped {
		f.Next = s.reached
	} else if n := len(s.found); n == s.limit {
		f.Next = s.found[n-1].Seq
	}
	return f, nil
}

func (x *Index) search(ctx context.Context, q Query) (*search, error) {
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
	s := &search{x: x, want: q.terms(), limit: q.Limit, lo: q.After + 1}
	if s.limit == 0 {
		s.limit = 100
	}
	if q.Patience != 0 { // what is over already stops as soon as it can
		s.until = time.Now().Add(q.Patience)
	}
	last, _ := x.log.tail.position()
	s.hi = last + 1
	if q.Before > 0 {
		s.hi = min(s.hi, q.Before)
	}
	if !q.From.IsZero() {
		lo, err := s.numberAt(ctx, q.From, last)
		if err != nil {
			return nil, err
		}
		s.lo = max(s.lo, lo)
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
	} else if err = s.scan(ctx, max(s.lo, cursor+1)); err == nil && !s.stopped {
		err = s.lookUp(ctx, cursor)
	}
	if err != nil {
		return nil, fmt.Errorf("searching the log: %w", err)
	}
	return s, nil
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
		if looked%256 == 255 && s.tired(s.hi) {
			return nil
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
	end    bool // there is nothing older than blocks
}

// at returns the block that begins with first, nil if the bucket has none. Blocks must be asked for in descending
// order. If it has to read, it reads so many blocks at once.
func (c *cursor) at(ctx context.Context, store IndexStore, first int64, read int) ([]byte, error) {
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
		blocks, err := store.IndexBlocks(ctx, c.bucket, first+1, read)
		if err != nil {
			return nil, fmt.Errorf("reading the search index: %w", err)
		}
		c.blocks, c.end = blocks, len(blocks) < read
	}
}

// A level of the index is its blocks of chunks or of groups.
type level struct {
	store   IndexStore
	want    []term
	cursors []*cursor         // of each term
	unknown [bitmapBytes]byte // places that may have any term where there is no block
}

func (s *search) level(buckets int) *level {
	l := &level{store: s.x.store, want: slices.Clone(s.want)}
	for _, t := range l.want {
		l.cursors = append(l.cursors, &cursor{bucket: buckets + t.bucket()})
	}
	return l
}

// places sets set to the places that have all terms, in the blocks that begin with first.
func (l *level) places(ctx context.Context, first int64, read int, set *[bitmapBytes]byte) (some bool, err error) {
	for i, t := range l.want {
		var one [bitmapBytes]byte
		data, err := l.cursors[i].at(ctx, l.store, first, read)
		if err != nil {
			return false, err
		}
		if data != nil {
			if err := places(data, t, &one); err != nil {
				return false, err
			}
		} else {
			one = l.unknown
		}
		left := byte(0)
		for j := range set {
			if i > 0 {
				one[j] &= set[j]
			}
			left |= one[j]
		}
		if *set = one; left == 0 {
			// The term that rules out is asked first from here on, so that of the others little is read.
			c := l.cursors[i]
			copy(l.want[1:i+1], l.want[:i])
			copy(l.cursors[1:i+1], l.cursors[:i])
			l.want[0], l.cursors[0] = t, c
			return false, nil
		}
	}
	return true, nil
}

// lookUp looks at the entries that the index has for all terms, up to the one it has got to.
func (s *search) lookUp(ctx context.Context, indexed int64) error {
	if s.hi = min(s.hi, indexed+1); s.hi <= s.lo || len(s.found) >= s.limit {
		return nil
	}
	if err := s.lookUpGroups(ctx, indexed); err != nil {
		return err
	}
	// Blocks that are gone meanwhile look like entries that are not there.
	now, err := s.x.store.IndexCursor(ctx)
	if err != nil {
		return fmt.Errorf("reading the cursor of the search index: %w", err)
	}
	if now < indexed {
		return authz.Errorf(authz.ErrUnavailable, "the search index was reset during the search, and is built again: search once more in a moment")
	}
	return nil
}

// lookUpGroups looks at the groups of the index, the newest first.
func (s *search) lookUpGroups(ctx context.Context, indexed int64) error {
	groups, chunks := s.level(IndexBuckets), s.level(0)
	for i := range s.x.group / IndexChunk { // a group without sums is searched chunk by chunk
		groups.unknown[i/8] |= 1 << (i % 8)
	}
	read := 4 // groups at once
	newest := (s.hi-2)/s.x.group*s.x.group + 1
	for first := newest; first > 0 && first+s.x.group > s.lo && len(s.found) < s.limit && !s.stopped; first -= s.x.group {
		if first < newest && s.tired(first+s.x.group) {
			return nil
		}
		set := groups.unknown
		if first+s.x.group-1 <= indexed { // otherwise it is not full, and so not summed up
			some, err := groups.places(ctx, first, read, &set)
			if err != nil {
				return err
			}
			if read = min(2*read, 64); !some {
				continue
			}
		}
		if err := s.lookUpGroup(ctx, chunks, first, &set); err != nil {
			return err
		}
	}
	return nil
}

// lookUpGroup looks at the entries of those chunks of a group that are in set.
func (s *search) lookUpGroup(ctx context.Context, chunks *level, group int64, set *[bitmapBytes]byte) (err error) {
	left, begun := 0, false // chunks
	lowest := int64(-1)
	descending(set, func(place int64) bool {
		left, lowest = left+1, place
		return true
	})
	descending(set, func(place int64) bool {
		first := group + place*IndexChunk
		if first >= s.hi {
			left--
			return true
		}
		if first+IndexChunk <= s.lo || len(s.found) >= s.limit {
			return false
		}
		if begun && s.tired(first+IndexChunk) {
			return false
		}
		begun = true
		// Blocks lie beside each other: unless most are not wanted, they are read at once.
		read := 1
		if span := int(place-lowest) + 1; left > span/4 {
			s.ahead = min(max(2*s.ahead, 4), 64) // few at first, for what is found soon
			read = min(span, s.ahead)
		}
		left--
		var (
			one  [bitmapBytes]byte
			some bool
		)
		if some, err = chunks.places(ctx, first, read, &one); err != nil || !some {
			return err == nil
		}
		descending(&one, func(place int64) bool {
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
		return err == nil
	})
	return err
}

// numberAt returns the number of the first entry that is not before t, last+1 if there is none.
func (s *search) numberAt(ctx context.Context, t time.Time, last int64) (int64, error) {
	// First the batch that has it: a leaf says when its last entry was made.
	lo, hi := int64(1), last+1
	for lo < hi {
		leaf, err := s.leaf(ctx, lo+(hi-lo)/2)
		if err != nil {
			return 0, err
		}
		if leaf.At.Before(t) {
			lo = leaf.Last() + 1
		} else {
			hi = leaf.First
		}
	}
	if lo > last {
		return last + 1, nil
	}
	if err := s.load(ctx, lo); err != nil {
		return 0, err
	}
	for _, e := range s.block.entries {
		if !e.At.Before(t) {
			return e.Seq, nil
		}
	}
	return s.block.leaf.Last() + 1, nil
}

// leaf returns the leaf of the batch that holds an entry.
func (s *search) leaf(ctx context.Context, seq int64) (Leaf, error) {
	if b := s.x.log.tail.block(seq); b != nil {
		return b.leaf, nil
	}
	segs, err := s.x.log.segments(ctx, seq-1, 1)
	if err != nil {
		return Leaf{}, err
	}
	if len(segs) == 0 {
		return Leaf{}, authz.Errorf(authz.ErrNotFound, "no entry has the number %d", seq)
	}
	leaf, err := ParseLeaf(segs[0].Leaf)
	if err == nil && (leaf.First != segs[0].First || leaf.Count != segs[0].Count || seq < leaf.First || seq > leaf.Last()) {
		err = authz.Errorf(authz.ErrInvalid, "leaf is not that of the segment")
	}
	if err != nil {
		return Leaf{}, &Fault{Batch: segs[0].Batch, Seq: seq, Err: err}
	}
	return leaf, nil
}
