package audit_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// A tileClient reads a log as any client of C2SP tlog-tiles does, with golang.org/x/mod's code, which
// checks every tile that it reads against the signed root.
type tileClient struct {
	t     *testing.T
	url   string
	tree  tlog.Tree
	reads int
}

func (c *tileClient) get(path string) ([]byte, *http.Response) {
	c.t.Helper()
	r, err := http.Get(c.url + "/" + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return b, r
}

func (c *tileClient) Height() int                     { return 8 }
func (c *tileClient) SaveTiles([]tlog.Tile, [][]byte) {}

func (c *tileClient) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, t := range tiles {
		path := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		b, r := c.get(path)
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/octet-stream" ||
			!strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			return nil, fmt.Errorf("%s: %s %v", path, r.Status, r.Header)
		}
		data = append(data, b)
		c.reads++
	}
	return data, nil
}

// open reads the checkpoint with golang.org/x/mod/sumdb/note.
func (c *tileClient) open(vkey string) {
	c.t.Helper()
	v, err := note.NewVerifier(vkey)
	if err != nil {
		c.t.Fatal(err)
	}
	b, r := c.get("checkpoint")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		c.t.Fatalf("checkpoint: %s %v", r.Status, r.Header)
	}
	n, err := note.Open(b, note.VerifierList(v))
	if err != nil {
		c.t.Fatalf("checkpoint: %v", err)
	}
	var origin, root string
	if _, err := fmt.Sscanf(n.Text, "%s\n%d\n%s\n", &origin, &c.tree.N, &root); err != nil || origin != v.Name() {
		c.t.Fatalf("checkpoint %q: %v", n.Text, err)
	}
	if c.tree.Hash, err = tlog.ParseHash(root); err != nil {
		c.t.Fatal(err)
	}
}

// leaf reads an entry bundle and returns one leaf of it.
func (c *tileClient) leaf(i int64) []byte {
	c.t.Helper()
	path := fmt.Sprintf("tile/entries/%03d", i/256)
	n := i / 256
	if n >= 1000 {
		path = fmt.Sprintf("tile/entries/x%03d/%03d", n/1000, n%1000)
	}
	if w := c.tree.N - n*256; w < 256 {
		path += fmt.Sprintf(".p/%d", w)
	}
	b, r := c.get(path)
	if r.StatusCode != 200 {
		c.t.Fatalf("%s: %s", path, r.Status)
	}
	for j := n * 256; ; j++ {
		size := binary.BigEndian.Uint16(b)
		if j == i {
			return b[2 : 2+size]
		}
		b = b[2+size:]
	}
}

// leafless hides that a store finds leaves by their index.
type leafless struct{ audit.Store }

// Public tools verify our checkpoint, tiles and entry bundles, for logs of more than one full tile.
func TestTiles(t *testing.T) {
	for _, plain := range []bool{false, true} {
		memory := &audittest.Memory{}
		var store audit.Store = memory
		if plain {
			store = leafless{memory}
		}
		key := testKey(t, "example.com/log")
		l, _ := start(t, store, audit.Config{Key: key, Heartbeat: -1})
		srv := httptest.NewServer(audit.TileHandler(l))
		defer srv.Close()
		var sizes []int
		for i := range 700 {
			sizes = append(sizes, 1+i%3)
		}
		fill(t, l, sizes...)
		if _, err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := &tileClient{t: t, url: srv.URL}
		c.open(key.Public())
		if c.tree.N != 700 {
			t.Fatalf("checkpoint has size %d, want 700", c.tree.N)
		}
		hr := tlog.TileHashReader(c.tree, c)
		for _, i := range []int64{0, 1, 255, 256, 511, 512, 699} {
			leaf := c.leaf(i)
			p, err := tlog.ProveRecord(c.tree.N, i, hr)
			if err != nil {
				t.Fatalf("ProveRecord(%d): %v", i, err)
			}
			if err := tlog.CheckRecord(p, c.tree.N, c.tree.Hash, i, tlog.RecordHash(leaf)); err != nil {
				t.Errorf("leaf %d is not in the tree: %v", i, err)
			}
			if got, err := audit.ParseLeaf(leaf); err != nil || got.Count != sizes[i] {
				t.Errorf("leaf %d is %+v, %v, want %d entries", i, got, err, sizes[i])
			}
		}
		for old := int64(1); old < 700; old += 37 {
			if _, err := tlog.ProveTree(c.tree.N, old, hr); err != nil {
				t.Errorf("ProveTree(%d): %v", old, err)
			}
		}
		if c.reads == 0 {
			t.Error("no tile was read")
		}

		// What the checkpoint does not cover, and what is no tile, is not there.
		for _, path := range []string{
			"tile/0/003", "tile/0/002", "tile/0/002.p/189", "tile/1/000", "tile/1/000.p/3", "tile/2/000.p/1", "tile/entries/002",
			"tile/entries/002.p/189", "tile/8/000", "tile/63/000", "tile/64/000", "tile/7/000", "tile/0/0", "tile/0/00", "tile/0/x000/000",
			"tile/00/000", "tile/-1/000", "tile/data/000", "tile/8/0/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01",
			"tile/0/x999/x999/x999/x999/x999/x999/999", "tile/0/-01", "tile/entries/", "tile/0/000/", "tile/0", "tile/entries/000.p/",
		} {
			if _, err := l.Tile(t.Context(), path); !errors.Is(err, authz.ErrNotFound) {
				t.Errorf("Tile(%q) = %v, want ErrNotFound", path, err)
			}
			if _, r := c.get(path); r.StatusCode != 404 || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("GET %s: %s, %v", path, r.Status, r.Header)
			}
		}
		for _, path := range []string{"tile/0/000", "tile/0/000.p/7", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/000.p/255"} {
			if _, err := l.Tile(t.Context(), path); err != nil {
				t.Errorf("Tile(%q): %v", path, err)
			}
		}
	}
}

// What is not yet signed is not served.
func TestTilesNeedACheckpoint(t *testing.T) {
	memory := &audittest.Memory{}
	store := &audittest.Faulty{Store: memory}
	store.On(func(m string) audittest.Cue {
		if m == "PutCheckpoint" {
			return audittest.Before
		}
		return audittest.Fine
	})
	l, _ := start(t, store, audit.Config{Heartbeat: -1})
	fill(t, l, 1)
	if _, err := l.Tile(context.Background(), "tile/0/000.p/1"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Tile before a checkpoint is stored = %v, want ErrNotFound", err)
	}
	srv := httptest.NewServer(audit.TileHandler(l))
	defer srv.Close()
	if r, err := http.Get(srv.URL + "/checkpoint"); err != nil || r.StatusCode != 404 {
		t.Errorf("GET /checkpoint = %v, %v, want 404", r, err)
	}
}
