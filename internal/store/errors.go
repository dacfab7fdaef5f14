package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/safeconduct/safeconduct/authz"
)

// kind gives err the kind that the package promises. Errors that have one keep it.
func (db *DB) kind(err error) error {
	switch {
	case err == nil:
		return nil
	case hasKind(err):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return errNotFound
	case db.d.isUnique != nil && db.d.isUnique(err):
		return authz.Errorf(authz.ErrConflict, "already exists: %w", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case db.d.isDown != nil && db.d.isDown(err), isDown(err), db.closed.Load():
		return authz.Errorf(authz.ErrUnavailable, "database unavailable: %w", err)
	}
	return err
}

// It does not wrap sql.ErrNoRows: that never leaves this package.
var errNotFound = authz.Errorf(authz.ErrNotFound, "not found")

func hasKind(err error) bool {
	for _, k := range []error{
		authz.ErrInvalid, authz.ErrUnauthenticated, authz.ErrForbidden,
		authz.ErrNotFound, authz.ErrConflict, authz.ErrUnavailable,
	} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// isDown recognises what any driver and the operating system say when a database is out of reach.
func isDown(err error) bool {
	for _, e := range []error{
		driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne net.Error
	return errors.As(err, &ne)
}
