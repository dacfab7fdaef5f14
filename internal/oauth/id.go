package oauth

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A tokenID is the jti of a token, before it is written as text: the block and the index of the
// token's status, and 80 bits of chance. Because it says where the status is, nobody need remember
// what was issued.
type tokenID [18]byte

const tokenIDText = 24 // characters of its text

// String returns the jti.
func (id tokenID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// block returns the number of the status.block entry that the token's index is of.
func (id tokenID) block() int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

// index returns the token's index in its status list.
func (id tokenID) index() int { return int(binary.BigEndian.Uint16(id[6:8])) }

// parseTokenID reads a jti of ours.
func parseTokenID(s string) (id tokenID, ok bool) {
	if len(s) != tokenIDText {
		return id, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(s))
	return id, err == nil && n == len(id) && id.block() > 0
}

// blockSize is how many tokens one status list speaks of.
const blockSize = 1 << 16

// ids hands out token ids.
type ids struct {
	mu     sync.Mutex
	block  int64  // number of the entry that drew it; 0 at the start
	next   uint32 // how many of the block are used up
	step   uint16 // odd, so that its multiples are each index once
	offset uint16
}

// newID returns an id that was never used. Once in blockSize times it draws a block of indexes, and
// whoever comes meanwhile waits. Indexes do not follow one another, so that a token does not tell
// how many were issued between two others.
func (s *Server) newID(ctx context.Context) (id tokenID, err error) {
	if _, err := io.ReadFull(s.cfg.Rand, id[8:]); err != nil {
		return id, fmt.Errorf("drawing a token id: %w", err)
	}
	q := &s.ids
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.block == 0 || q.next == blockSize {
		block, err := s.drawBlock(ctx)
		if err != nil {
			return id, err
		}
		var chance [4]byte
		if _, err := io.ReadFull(s.cfg.Rand, chance[:]); err != nil {
			return id, fmt.Errorf("drawing a token id: %w", err)
		}
		q.block, q.next = block, 0
		q.step, q.offset = binary.BigEndian.Uint16(chance[:2])|1, binary.BigEndian.Uint16(chance[2:])
	}
	index := uint16(q.next)*q.step + q.offset
	q.next++
	binary.BigEndian.PutUint64(id[:8], uint64(q.block)<<16|uint64(index))
	return id, nil
}

// drawBlock records that this process draws a block. The number of the entry is the block's: nobody
// else can have it.
func (s *Server) drawBlock(ctx context.Context) (int64, error) {
	body := append([]byte(`{"size":65536,"writer":"`), s.nonces.name...)
	seq, err := s.cfg.Log.CommitAll(ctx, audit.Draft{Kind: audit.StatusBlock, Actor: "safeconduct", Body: append(body, `"}`...)})
	if err != nil {
		return 0, fmt.Errorf("drawing a block of status indexes: %w", err)
	}
	if seq >= 1<<48 {
		return 0, authz.Errorf(authz.ErrUnavailable, "the log has more entries than a token id can name")
	}
	return seq, nil
}
