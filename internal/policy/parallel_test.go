package policy_test

import (
	"sync/atomic"
	"testing"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func TestInParallel(t *testing.T) {
	var sum atomic.Int64
	policy.InParallel(1000, func(i int) { sum.Add(int64(i)) })
	policy.InParallel(0, func(int) { t.Error("called with nothing to do") })
	if got, want := sum.Load(), int64(999*1000/2); got != want {
		t.Errorf("sum of what f was called with = %d, want %d", got, want)
	}
	defer func() {
		if got := recover(); got != "fault" {
			t.Errorf("recovered %v, want the panic of f", got)
		}
	}()
	policy.InParallel(1000, func(i int) {
		if i == 7 {
			panic("fault")
		}
	})
	t.Error("a panic of f is lost")
}
