//go:build unix && !aix && !solaris

package lockfile

import (
	"errors"
	"os"
	"syscall"
)

// Take takes f for this process until f is closed or the process ends, however it ends:
// ErrTaken if another process has it.
func Take(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrTaken
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}
