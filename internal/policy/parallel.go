package policy

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls f with every number below n, on as many cores as there are, and returns when all
// calls have. A panic of f becomes one of the caller's, who may survive it.
func inParallel(n int, f func(i int)) {
	var (
		next    atomic.Int64
		workers sync.WaitGroup
		once    sync.Once
		fault   any
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					next.Store(int64(n))
					once.Do(func() { fault = p })
				}
			}()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	workers.Wait()
	if fault != nil {
		panic(fault)
	}
}
