//go:build unix

package store_test

import (
	"syscall"
	"time"
)

// processCPU is what this process has used; a database server's share is not in it.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
