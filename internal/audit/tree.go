package audit

import (
	"context"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// A rootBuilder computes the RFC 6962 root of leaves that are added in order. It is also the right
// edge of a growing tree: peak[i] is the root of the perfect subtree of 2^i leaves that the i-th bit
// of n stands for. The zero rootBuilder is the empty tree. Copies are independent.
type rootBuilder struct {
	n    int64
	peak [63]tlog.Hash
}

// add adds a leaf.
func (r *rootBuilder) add(h tlog.Hash) {
	i := 0
	for ; r.n>>i&1 == 1; i++ {
		h = tlog.NodeHash(r.peak[i], h)
	}
	r.peak[i] = h
	r.n++
}

// stored adds a leaf and returns the hashes that it adds to tlog's stored ones.
func (r *rootBuilder) stored(h tlog.Hash) []tlog.Hash {
	hs := make([]tlog.Hash, 1, 1+bits.TrailingZeros64(^uint64(r.n)))
	hs[0] = h
	for i := 0; r.n>>i&1 == 1; i++ {
		h = tlog.NodeHash(r.peak[i], h)
		hs = append(hs, h)
	}
	r.peak[len(hs)-1] = h
	r.n++
	return hs
}

// root returns the root of the tree so far.
func (r *rootBuilder) root() tlog.Hash {
	if r.n == 0 {
		h, _ := tlog.TreeHash(0, nil)
		return h
	}
	i := bits.TrailingZeros64(uint64(r.n))
	h := r.peak[i]
	for i++; r.n>>i != 0; i++ {
		if r.n>>i&1 == 1 {
			h = tlog.NodeHash(r.peak[i], h)
		}
	}
	return h
}

// loadEdge reads the right edge of the tree of n leaves.
func loadEdge(ctx context.Context, s Store, n int64) (rootBuilder, error) {
	r := rootBuilder{n: n}
	var (
		indexes []int64
		levels  []int
	)
	for i := 0; n>>i != 0; i++ {
		if n>>i&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(i, n>>i-1))
			levels = append(levels, i)
		}
	}
	if n == 0 {
		return r, nil
	}
	hs, err := hashReader(ctx, s).ReadHashes(indexes)
	if err != nil {
		return r, err
	}
	for i, level := range levels {
		r.peak[level] = hs[i]
	}
	return r, nil
}

// hashReader reads the stored hashes of s for tlog.
func hashReader(ctx context.Context, s Store) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		hs, err := s.Hashes(ctx, indexes)
		if err != nil {
			return nil, fmt.Errorf("reading hashes of the tree: %w", err)
		}
		if len(hs) != len(indexes) {
			return nil, fmt.Errorf("reading hashes of the tree: %d of %d", len(hs), len(indexes))
		}
		return hs, nil
	})
}
