package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/internal/audit"
)

const tileHeight = 8

// A liveReport says what was verified over the network.
type liveReport struct {
	Origin  string `json:"origin"`
	Entries int64  `json:"entries"` // that the batches say they hold
	Batches int64  `json:"batches"`
	Root    string `json:"root"`
	Proved  int    `json:"proved_entries"`        // chosen at random, fetched and proved
	Old     int64  `json:"old_batches,omitempty"` // under the checkpoint that was kept

	note []byte // the checkpoint
}

// verifyLive verifies what a service shows of its log: the checkpoint's signature, every leaf up to
// the root that is signed, that the batches' entries are numbered without gaps, some entries chosen
// at random, and that the log continues the checkpoint that was kept, if there is one.
func verifyLive(ctx context.Context, api *remote, v note.Verifier, old []byte, samples int, progress func(done, total int64)) (*liveReport, error) {
	var text []byte
	if err := api.call(ctx, "GET", "/checkpoint", nil, &text); err != nil {
		return nil, err
	}
	cp, err := audit.ParseCheckpoint(text, v)
	if err != nil {
		return nil, fmt.Errorf("the service's checkpoint: %w", err)
	}
	r := &liveReport{Origin: cp.Origin, Batches: cp.Size, Root: cp.Root.String(), note: cp.Note}

	// The tree's hashes are few enough to keep: 32 bytes for each node.
	var tree []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if x >= int64(len(tree)) {
				return nil, fmt.Errorf("hash %d is not there", x)
			}
			out[i] = tree[x]
		}
		return out, nil
	})
	for first := int64(0); first < cp.Size; first += 1 << tileHeight {
		leaves, err := bundle(ctx, api, first, min(1<<tileHeight, cp.Size-first))
		if err != nil {
			return nil, err
		}
		for i, text := range leaves {
			n := first + int64(i)
			leaf, err := audit.ParseLeaf(text)
			if err != nil {
				return nil, fmt.Errorf("batch %d: %w", n, err)
			}
			if leaf.First != r.Entries+1 {
				return nil, fmt.Errorf("batch %d begins with entry %d, not %d", n, leaf.First, r.Entries+1)
			}
			r.Entries = leaf.Last()
			hashes, err := tlog.StoredHashes(n, text, reader)
			if err != nil {
				return nil, err
			}
			tree = append(tree, hashes...)
		}
		progress(first+int64(len(leaves)), cp.Size)
	}
	root, err := tlog.TreeHash(cp.Size, reader)
	if err != nil {
		return nil, err
	}
	if root != cp.Root {
		return nil, fmt.Errorf("the batches have the root %s, and the service signed %s", root, cp.Root)
	}
	if old != nil {
		kept, err := audit.ParseCheckpoint(old, v)
		if err != nil {
			return nil, fmt.Errorf("the checkpoint that was kept: %w", err)
		}
		if kept.Size > cp.Size {
			return nil, fmt.Errorf("the log has %d batches, and had %d when the checkpoint was kept", cp.Size, kept.Size)
		}
		if was, err := tlog.TreeHash(kept.Size, reader); err != nil {
			return nil, err
		} else if was != kept.Root {
			return nil, fmt.Errorf("the log of %d batches is not the one whose checkpoint was kept", kept.Size)
		}
		r.Old = kept.Size
	}
	for range min(int64(samples), r.Entries) {
		seq := 1 + rand.Int64N(r.Entries)
		if err := proveLive(ctx, api, v, seq); err != nil {
			return nil, fmt.Errorf("entry %d: %w", seq, err)
		}
		r.Proved++
	}
	return r, nil
}

// proveLive fetches the proof of one entry and checks it.
func proveLive(ctx context.Context, api *remote, v note.Verifier, seq int64) error {
	var text []byte
	if err := api.call(ctx, "GET", fmt.Sprintf("/v1/audit/entries/%d/proof", seq), nil, &text); err != nil {
		return err
	}
	p, err := audit.ParseEntryProof(text)
	if err != nil {
		return err
	}
	e, _, err := audit.VerifyEntryProof(p, v)
	if err == nil && e.Seq != seq {
		err = fmt.Errorf("the proof is of entry %d", e.Seq)
	}
	return err
}

// bundle returns n leaves from that batch on, as C2SP tlog-tiles serves them: each after its length
// in two bytes.
func bundle(ctx context.Context, api *remote, first, n int64) ([][]byte, error) {
	path := (tlog.Tile{H: tileHeight, L: -1, N: first >> tileHeight, W: int(n)}).Path()
	var b []byte
	if err := api.call(ctx, "GET", "/tile/entries/"+path[len("tile/8/data/"):], nil, &b); err != nil {
		return nil, err
	}
	var leaves [][]byte
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[0])<<8+int(b[1]) {
			return nil, fmt.Errorf("the leaves from batch %d on are cut short", first)
		}
		size := int(b[0])<<8 + int(b[1])
		leaves, b = append(leaves, b[2:2+size]), b[2+size:]
	}
	if int64(len(leaves)) != n {
		return nil, fmt.Errorf("%d leaves from batch %d on, not %d", len(leaves), first, n)
	}
	return leaves, nil
}
