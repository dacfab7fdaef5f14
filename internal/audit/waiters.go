package audit

import "container/heap"

// waiters are those who wait for entries to be applied, the earliest entry first, so that an entry
// wakes who waits for it and nobody else.
type waiters []*waiter

type waiter struct {
	seq  int64
	done chan struct{} // closed when the entry is applied
	at   int           // place in the heap, -1 outside it
}

// add lets somebody wait for the entry of that number.
func (w *waiters) add(seq int64) *waiter {
	one := &waiter{seq: seq, done: make(chan struct{})}
	heap.Push(w, one)
	return one
}

// remove forgets somebody who waits no more.
func (w *waiters) remove(one *waiter) {
	if one.at >= 0 {
		heap.Remove(w, one.at)
	}
}

// wake wakes everybody who waits for entries up to that number.
func (w *waiters) wake(seq int64) {
	for len(*w) > 0 && (*w)[0].seq <= seq {
		close(heap.Pop(w).(*waiter).done)
	}
}

// Len implements heap.Interface.
func (w waiters) Len() int { return len(w) }

// Less implements heap.Interface.
func (w waiters) Less(i, j int) bool { return w[i].seq < w[j].seq }

// Swap implements heap.Interface.
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].at, w[j].at = i, j
}

// Push implements heap.Interface.
func (w *waiters) Push(x any) {
	one := x.(*waiter)
	one.at = len(*w)
	*w = append(*w, one)
}

// Pop implements heap.Interface.
func (w *waiters) Pop() any {
	old := *w
	one := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	one.at = -1
	return one
}
