// Package lockfile takes a file for one process: by a lock of the operating system, which ends with the process, however
// that ends. Whoever does not ask for the lock is not kept out.
package lockfile

import "errors"

// ErrTaken says that another process has the file.
var ErrTaken = errors.New("another process has it")
