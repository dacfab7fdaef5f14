package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

const tileHeight = 8

// parseTile decodes a path of C2SP tlog-tiles, tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]. The
// level of an entry bundle is -1.
func parseTile(path string) (tlog.Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > 100 {
		return tlog.Tile{}, authz.Errorf(authz.ErrNotFound, "not the path of a tile")
	}
	if bundle, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + bundle // x/mod's name for it
	} else if strings.HasPrefix(rest, "data/") {
		return tlog.Tile{}, authz.Errorf(authz.ErrNotFound, "not the path of a tile")
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", tileHeight, rest))
	if err != nil || t.L > 7 { // no tree has 2^64 leaves
		return tlog.Tile{}, authz.Errorf(authz.ErrNotFound, "not the path of a tile")
	}
	return t, nil
}

// covers reports whether a tree of that size has all of t.
func covers(size int64, t tlog.Tile) bool {
	n := size >> (tileHeight * max(t.L, 0)) // nodes at the tile's level
	return t.N <= n>>tileHeight && t.N<<tileHeight+int64(t.W) <= n
}

// Tile returns the tile or entry bundle at a path of C2SP tlog-tiles. It returns authz.ErrNotFound
// unless a signed checkpoint covers all of it. The leaves that bundles have are those of batches.
func (l *Log) Tile(ctx context.Context, path string) ([]byte, error) {
	t, err := parseTile(path)
	if err != nil {
		return nil, err
	}
	if cp := l.checkpoint.Load(); cp == nil || !covers(cp.Size, t) {
		// Another replica may have signed a newer one.
		cp, err := l.storedCheckpoint(ctx)
		if err != nil {
			return nil, err
		}
		if cp == nil || !covers(cp.Size, t) {
			return nil, authz.Errorf(authz.ErrNotFound, "no checkpoint covers that tile")
		}
	}
	if t.L < 0 {
		return l.bundle(ctx, t.N<<tileHeight, t.W)
	}
	b, err := tlog.ReadTileData(t, hashReader(ctx, l.store))
	if err != nil {
		return nil, fmt.Errorf("reading tile: %w", err)
	}
	return b, nil
}

// bundle returns n leaves from that batch on, each after its length.
func (l *Log) bundle(ctx context.Context, batch int64, n int) ([]byte, error) {
	leaves, err := leaves(ctx, l.store, batch, n)
	if err != nil {
		return nil, fmt.Errorf("reading leaves: %w", err)
	}
	if len(leaves) != n {
		return nil, fmt.Errorf("reading leaves: %d of %d", len(leaves), n)
	}
	var b []byte
	for _, leaf := range leaves {
		b = binary.BigEndian.AppendUint16(b, uint16(len(leaf)))
		b = append(b, leaf...)
	}
	return b, nil
}

// leaves reads n leaves from that batch on. A store that finds batches by number of entry only is
// searched by halves.
func leaves(ctx context.Context, store Store, batch int64, n int) ([][]byte, error) {
	if s, ok := store.(LeafStore); ok {
		return s.Leaves(ctx, batch, n)
	}
	head, err := store.Head(ctx)
	if err != nil {
		return nil, err
	}
	// The first number after which segments begin with batch: a batch has at least one entry.
	after := sort.Search(int(head.Entries), func(after int) bool {
		if err != nil {
			return true
		}
		var segs []Segment
		segs, err = store.Segments(ctx, int64(after), 1)
		return len(segs) == 0 || segs[0].Batch >= batch
	})
	var ls [][]byte
	for err == nil && len(ls) < n {
		var segs []Segment
		if segs, err = store.Segments(ctx, int64(after), min(n-len(ls), 16)); len(segs) == 0 {
			break
		}
		for _, s := range segs {
			ls = append(ls, s.Leaf)
			after = int(s.First) + s.Count - 1
		}
	}
	return ls, err
}

// TileHandler serves the log's checkpoint, tiles and entry bundles as C2SP tlog-tiles says, at the
// paths /checkpoint and /tile/. They hold no personal data and need no authentication; mount it
// under the URL that is the log's origin.
func TileHandler(l *Log) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", func(w http.ResponseWriter, r *http.Request) {
		cp := l.checkpoint.Load()
		if cp == nil {
			var err error
			if cp, err = l.storedCheckpoint(r.Context()); err != nil || cp == nil {
				tileError(w, r, l, errors.Join(err, authz.Errorf(authz.ErrNotFound, "nothing signed yet")))
				return
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		write(w, cp.Note)
	})
	mux.HandleFunc("GET /tile/", func(w http.ResponseWriter, r *http.Request) {
		b, err := l.Tile(r.Context(), strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			tileError(w, r, l, err)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		write(w, b)
	})
	return mux
}

func write(w http.ResponseWriter, b []byte) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// tileError answers without details: what is not there is not there yet, and must not be cached.
func tileError(w http.ResponseWriter, r *http.Request, l *Log, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if errors.Is(err, authz.ErrNotFound) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	l.cfg.Logger.WarnContext(r.Context(), "tile not readable", "path", r.URL.Path, "error", err)
	http.Error(w, "unavailable", http.StatusServiceUnavailable)
}
