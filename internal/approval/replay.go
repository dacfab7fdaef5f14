package approval

import (
	"context"
	"errors"

	"github.com/safeconduct/safeconduct/authz"
)

// A process begins with what is in the tables, and reads the log from an entry on of which the tables know
// already what became of it: from the very first, if what else reads the log has lost its own. Who wrote
// down what an entry made had judged every entry before, and had written down what those made. So nothing
// up to the newest entry that the tables name is judged again: the desk does not remember any more what it
// depended on, asks that are forgotten, and absences that have ended.
//
// There are two exceptions. What was joined to an ask is written down late; but an ask has all that was joined
// to it once it has changed otherwise, and until then nothing else about it is different. And an entry may
// make several versions, so that the newest one may have come half its way.

// loaded returns what follows from an ask that is stored. One whose catalog cannot be read any more is kept,
// so that it expires, and nothing else is lost with it.
func (d *Desk) loaded(ctx context.Context, a *Ask) (*record, error) {
	r, err := d.newRecord(ctx, a)
	if unreadable(err) {
		d.cfg.Logger.ErrorContext(ctx, "an ask cannot be answered any more", "ask", a.ID, "catalog", a.Catalog, "err", err)
		return &record{ask: a, acts: make([]string, len(a.Items)), same: a.ID, size: int64(a.weight()) + 1024, unread: true}, nil
	}
	return r, err
}

// unreadable reports whether an error says that the catalog of an ask cannot be read, now or later.
func unreadable(err error) bool {
	return errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrNotFound)
}
