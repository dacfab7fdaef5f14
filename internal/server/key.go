package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Why a log's key is refused. Both are authz.ErrInvalid.
var (
	// ErrKeyMissing: the log has entries, and the key that signs for it is not there. A new one is made
	// only if the configuration names the former ones.
	ErrKeyMissing = authz.Errorf(authz.ErrInvalid, "the log has entries, and its key is missing")
	// ErrKeyDiffers: the log's checkpoint is signed with another key.
	ErrKeyDiffers = authz.Errorf(authz.ErrInvalid, "the log's newest checkpoint is not signed with this key, nor with one of log.former_keys")
)

// A logHead is what tells whether a log has begun, and who signed for it.
type logHead interface {
	Head(ctx context.Context) (audit.Head, error)
	Checkpoint(ctx context.Context) ([]byte, error)
}

// loadKey reads the log's key, or makes it at the first start, and makes sure that it is the one that
// signs for the log in the database. Replicas share one key: two keys would sign by turns, and whoever
// watches the log would take one of them for a forger's.
func loadKey(ctx context.Context, c Log, db logHead) (*audit.Key, error) {
	key, err := audit.LoadKey(c.Key)
	if errors.Is(err, authz.ErrNotFound) {
		key, err = makeKey(ctx, c, db)
	}
	if err != nil {
		return nil, err
	}
	if key.Origin() != c.Origin {
		return nil, authz.Errorf(authz.ErrInvalid, "the key in %s signs for the log %q, the configuration says %q: a log's origin cannot change", c.Key, key.Origin(), c.Origin)
	}
	text, err := db.Checkpoint(ctx)
	switch {
	case errors.Is(err, authz.ErrNotFound), errors.Is(err, authz.ErrUnavailable): // none yet, or the log itself will look
		return key, nil
	case err != nil:
		return nil, fmt.Errorf("reading the log's checkpoint: %w", err)
	}
	former, err := verifiers(c.FormerKeys)
	if err != nil {
		return nil, err
	}
	if cp, err := audit.ParseCheckpoint(text, append(former, key.Verifier())...); err != nil {
		signed, _, _ := strings.Cut(string(text), "\n")
		return nil, fmt.Errorf("%w: the key in %s is %s, the checkpoint is of the log %.200q", ErrKeyDiffers, c.Key, key.Public(), signed)
	} else if cp.Origin != key.Origin() {
		return nil, fmt.Errorf("%w: it is of the log %.200q, the key in %s signs for %q", ErrKeyDiffers, cp.Origin, c.Key, key.Origin())
	}
	return key, nil
}

// makeKey makes a key and keeps it, unless a log that has entries would get another than it had and
// nobody says so.
func makeKey(ctx context.Context, c Log, db logHead) (*audit.Key, error) {
	head, err := db.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("making the log's key: %w", err)
	}
	if head.Entries > 0 && len(c.FormerKeys) == 0 {
		return nil, fmt.Errorf("%w: %d entries, no file %s", ErrKeyMissing, head.Entries, c.Key)
	}
	key, err := audit.NewKey(rand.Reader, c.Origin)
	if err != nil {
		return nil, err
	}
	if err := key.Save(c.Key); errors.Is(err, authz.ErrConflict) { // another replica was first
		return audit.LoadKey(c.Key)
	} else if err != nil {
		return nil, err
	}
	return key, nil
}

// verifiers returns the keys of which texts are the public halves.
func verifiers(texts []string) ([]note.Verifier, error) {
	var all []note.Verifier
	for _, text := range texts {
		v, err := audit.ParseVerifier(text)
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "log.former_keys: %.100q is no verifier's key, origin+hash+key", text)
		}
		all = append(all, v)
	}
	return all, nil
}
