package lockfile

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

var lockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

// Take takes f for this process until f is closed or the process ends, however it ends:
// ErrTaken if another process has it. It locks one byte far behind the end, so that others can still read what the file says.
func Take(f *os.File) error {
	const exclusive, failImmediately = 2, 1
	at := syscall.Overlapped{OffsetHigh: 1}
	ok, _, err := lockFileEx.Call(f.Fd(), exclusive|failImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&at)))
	const lockViolation = syscall.Errno(33)
	switch {
	case ok != 0:
		return nil
	case errors.Is(err, lockViolation):
		return ErrTaken
	}
	return err
}
