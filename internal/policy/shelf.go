package policy

import (
	"slices"
	"sync"
)

// A shelf keeps the pairs that were compiled lately, so that a version that was checked is not
// compiled again to be applied.
type shelf struct {
	mu   sync.Mutex
	sets []shelved // the newest use last
}

type shelved struct {
	source, catalog string // digests
	set             *Set
}

// maxShelved bounds the compiled pairs that are kept besides the active one.
const maxShelved = 3

// set returns the set of v's pair, under v's number; nil if it is not kept.
func (s *shelf) set(v Version) *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range s.sets {
		if k.source == v.SourceDigest && k.catalog == v.CatalogDigest {
			s.sets = append(slices.Delete(s.sets, i, i+1), k)
			return k.set.At(v.Number)
		}
	}
	return nil
}

// keep keeps the set of v's pair, in place of the one that was not used for longest.
func (s *shelf) keep(v Version, set *Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sets) >= maxShelved {
		s.sets = slices.Delete(s.sets, 0, 1)
	}
	s.sets = append(s.sets, shelved{v.SourceDigest, v.CatalogDigest, set})
}
