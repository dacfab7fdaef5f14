// Package keyfile reads and writes files that hold a secret: for their owner alone, whole or not there
// whatever happens while one is written, and never over another by mistake.
//
// It knows nothing of what the files say, and imports nothing of ours.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Why a file is refused.
var (
	// ErrExposed: others than its owner may read it.
	ErrExposed = errors.New("may be read by others")
	// ErrTooLarge: it cannot be what it is taken for.
	ErrTooLarge = errors.New("is too large")
)

// Read returns what a file says, of at most that many bytes. Its errors are fs.ErrNotExist, ErrExposed,
// ErrTooLarge, and those of the file system.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o077 != 0 { // Windows has no such bits
		return nil, fmt.Errorf("%s %w (mode %04o): chmod 600 it", path, ErrExposed, perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s %w: it has at most %d bytes", path, ErrTooLarge, most)
	}
	return b, err
}

// Create writes a new file. It returns fs.ErrExist if there is one of that name. After a crash the
// file is whole or not there.
func Create(path string, text []byte) error {
	return write(path, text, func(tmp string) error { return os.Link(tmp, path) }) // unlike a rename, never over another file
}

// Replace writes a file in place of the one of that name, if there is one. After a crash there is the
// whole file, or what was there before.
func Replace(path string, text []byte) error {
	return write(path, text, func(tmp string) error { return os.Rename(tmp, path) })
}

func write(path string, text []byte, put func(tmp string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyfile-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = put(tmp.Name())
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // where directories cannot be synced
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
