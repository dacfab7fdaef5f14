package risk

import "slices"

// A shelf holds things by id, in the order of ids. The zero shelf is empty.
type shelf[T any] struct {
	byID map[string]*T
	ids  []string // sorted
}

func (s *shelf[T]) len() int { return len(s.ids) }

// at returns the thing of that id, or nil.
func (s *shelf[T]) at(id string) *T { return s.byID[id] }

func (s *shelf[T]) put(id string, v *T) {
	if s.byID == nil {
		s.byID = map[string]*T{}
	}
	if i, ok := slices.BinarySearch(s.ids, id); !ok {
		s.ids = slices.Insert(s.ids, i, id)
	}
	s.byID[id] = v
}

func (s *shelf[T]) remove(id string) {
	if i, ok := slices.BinarySearch(s.ids, id); ok {
		s.ids = slices.Delete(s.ids, i, i+1)
		delete(s.byID, id)
	}
}

// drop removes whatever gone reports, and calls then with each.
func (s *shelf[T]) drop(gone func(*T) bool, then func(*T)) {
	s.ids = slices.DeleteFunc(s.ids, func(id string) bool {
		v := s.byID[id]
		if !gone(v) {
			return false
		}
		delete(s.byID, id)
		if then != nil {
			then(v)
		}
		return true
	})
}

// page returns copies of up to limit things that f selects and whose ids follow the given one.
func (s *shelf[T]) page(after string, limit int, f func(*T) bool) []T {
	found := []T{}
	i, ok := slices.BinarySearch(s.ids, after)
	if ok {
		i++
	}
	for ; i < len(s.ids) && len(found) < limit; i++ {
		if v := s.byID[s.ids[i]]; f(v) {
			found = append(found, *v)
		}
	}
	return found
}
