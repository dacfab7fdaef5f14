package audit_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// evidence returns a bundle of some entries of a log, and the log's key.
func evidence(t testing.TB, m audit.Manifest) ([]byte, note.Verifier) {
	t.Helper()
	l, _ := start(t, &audittest.Memory{}, fixed(testKey(t, "example.com/log")))
	for i := range 7 {
		ds := []audit.Draft{draft("agent.put", `{"agent":{"id":"bot-%d","purpose":"<b>&\u2028 ü"}}`, i), draft("x.y", `{"n": %d }`, i)}
		if _, err := l.Record(context.Background(), ds...); err != nil {
			t.Fatal(err)
		}
	}
	m.By, m.Why = "admin:eve", "somebody asked"
	b, err := l.Bundle(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := b.Write(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), testKey(t, "example.com/log").Verifier()
}

func verifyBundle(b []byte, vs ...note.Verifier) (*audit.BundleReport, []int64, error) {
	var seen []int64
	rep, err := audit.VerifyBundle(bytes.NewReader(b), int64(len(b)), func(e audit.Entry) error {
		seen = append(seen, e.Seq)
		return nil
	}, vs...)
	return rep, seen, err
}

func TestBundle(t *testing.T) {
	b, v := evidence(t, audit.Manifest{Entries: []int64{9, 2, 9, 5}, Search: []byte(`{"kind":"agent.put"}`), Before: 2})
	for _, trusted := range [][]note.Verifier{nil, {v}} {
		rep, seen, err := verifyBundle(b, trusted...)
		if err != nil {
			t.Fatalf("VerifyBundle with %d keys: %v", len(trusted), err)
		}
		if got := fmt.Sprint(seen); got != "[2 5 9]" {
			t.Errorf("proved %s, want [2 5 9]", got)
		}
		m := rep.Manifest
		if rep.Trusted != (trusted != nil) || m.By != "admin:eve" || m.Why != "somebody asked" || string(m.Search) != `{"kind":"agent.put"}` || m.Before != 2 {
			t.Errorf("report = %+v", rep)
		}
		if rep.Export.Kind != audit.LogExported || rep.Export.Actor != "admin:eve" || rep.Export.Seq != 15 {
			t.Errorf("the export is recorded as %+v", rep.Export)
		}
	}
	other, err := audit.NewKey(strings.NewReader(strings.Repeat("k", 64)), v.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := verifyBundle(b, other.Verifier()); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("with another key: %v, want ErrInvalid", err)
	}
}

// Whatever byte is changed, cut off or added, the bundle does not verify, or it has the same files: when they were made
// is no evidence.
func TestBundleTampered(t *testing.T) {
	if testing.Short() {
		t.Skip("verifies thousands of bundles, by one goroutine")
	}
	b, v := evidence(t, audit.Manifest{Entries: []int64{2, 5}})
	files, _ := unpack(t, b)
	for i := range b {
		for flip, trusted := range map[byte][]note.Verifier{1: nil, 0x80: {v}} {
			bad := bytes.Clone(b)
			bad[i] ^= flip
			_, seen, err := verifyBundle(bad, trusted...)
			if err == nil {
				if same, _ := unpack(t, bad); !maps.Equal(same, files) || !slices.Equal(seen, []int64{2, 5}) {
					t.Fatalf("byte %d of %d flipped by %#x: it verifies, and has other files", i, len(b), flip)
				}
			} else if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("byte %d of %d flipped by %#x: %v, want ErrInvalid", i, len(b), flip, err)
			}
		}
	}
	for n := range len(b) {
		if _, _, err := verifyBundle(b[:n]); !errors.Is(err, authz.ErrInvalid) {
			t.Fatalf("cut to %d bytes: %v, want ErrInvalid", n, err)
		}
	}
	for _, bad := range [][]byte{append(bytes.Clone(b), 0), append([]byte{0}, b...), append(bytes.Clone(b), b...)} {
		if _, _, err := verifyBundle(bad); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("with more bytes: %v, want ErrInvalid", err)
		}
	}
}

// A bundle that was packed again with other files does not verify, however well it is packed.
func TestBundleOfOtherFiles(t *testing.T) {
	b, _ := evidence(t, audit.Manifest{Entries: []int64{2, 5}})
	other, _ := evidence(t, audit.Manifest{Entries: []int64{2, 4, 5}})
	files, names := unpack(t, b)
	more, _ := unpack(t, other)
	with := func(name, old, new string) map[string]string {
		m := map[string]string{}
		for k, v := range files {
			m[k] = v
		}
		if !strings.Contains(m[name], old) {
			t.Fatalf("%s has no %q:\n%s", name, old, m[name])
		}
		m[name] = strings.Replace(m[name], old, new, 1)
		return m
	}
	if _, _, err := verifyBundle(pack(t, files, names)); err != nil {
		t.Fatalf("packed again as it was: %v", err)
	}
	for what, bad := range map[string][]byte{
		"another reason":        pack(t, with("manifest.json", "somebody", "nobody--"), names),
		"a number left out":     pack(t, with("manifest.json", "[2,5]", "[2]"), names),
		"another body":          pack(t, with("entries/2.json", `"n": 0`, `"n": 9`), names),
		"another actor":         pack(t, with("entries/export.json", "admin:eve", "admin:bob"), names),
		"another readme":        pack(t, with("README.txt", "does not prove", "also proves"), names),
		"another checkpoint":    pack(t, with("checkpoint.txt", "\n8\n", "\n7\n"), names),
		"another log":           pack(t, with("proofs/5.json", `"batch":2`, `"batch":1`), names),
		"proofs changed places": pack(t, map[string]string{"proofs/2.json": files["proofs/5.json"]}, names, files),
		"an entry too few":      pack(t, files, names[:len(names)-2]),
		"half an entry":         pack(t, files, names[:len(names)-1]),
		"another manifest":      pack(t, map[string]string{"manifest.json": more["manifest.json"]}, names, files),
		"a file too many":       pack(t, map[string]string{"more.txt": "x"}, append(names[:len(names):len(names)], "more.txt"), files),
		"nothing":               pack(t, nil, nil),
	} {
		if _, _, err := verifyBundle(bad); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
}

func TestBundleRefused(t *testing.T) {
	l, _ := start(t, &audittest.Memory{}, audit.Config{})
	if _, err := l.Record(context.Background(), draft("x.y", `{}`)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		numbers []int64
		want    error
	}{
		{nil, authz.ErrNotFound}, {[]int64{0}, authz.ErrNotFound}, {[]int64{1, 2}, authz.ErrNotFound}, {[]int64{-1, 1}, authz.ErrNotFound},
		{make([]int64, audit.MaxBundle+1), authz.ErrInvalid},
	} {
		if _, err := l.Bundle(context.Background(), audit.Manifest{Entries: tt.numbers, By: "admin:eve", Why: "x"}); !errors.Is(err, tt.want) {
			t.Errorf("Bundle of %d entries: %v, want %v", len(tt.numbers), err, tt.want)
		}
	}
	if got := l.Stats().Entries; got != 1 {
		t.Errorf("the log has %d entries: what was refused was recorded", got)
	}
}

// A bundle of as much as there can be in one is no larger than what is read of one, and one byte more is refused.
func TestBundleAtItsBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("it has 70 MB")
	}
	key := testKey(t, "example.com/log")
	l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1, Key: key})
	const each = audit.MaxBundleBytes / audit.MaxBundle
	var ds []audit.Draft
	for i := range audit.MaxBundle + 1 {
		size := each
		switch i {
		case 0:
			size += audit.MaxBundleBytes % audit.MaxBundle
		case audit.MaxBundle: // the byte too much
			size++
		}
		d := draft(audit.Kind(strings.Repeat("k", audit.MaxKind)), `{"a":"%s"}`, strings.Repeat("x", size-len(`{"a":""}`)))
		d.Actor = strings.Repeat(`"`, audit.MaxActor)
		ds = append(ds, d)
	}
	for len(ds) > 0 {
		n := min(len(ds), 500)
		if _, err := l.Record(t.Context(), ds[:n]...); err != nil {
			t.Fatal(err)
		}
		ds = ds[n:]
	}
	var numbers []int64
	for i := range audit.MaxBundle {
		numbers = append(numbers, int64(i+1))
	}
	m := audit.Manifest{Entries: numbers, By: "admin:eve", Why: "all of it", Search: []byte(`{"text":"` + strings.Repeat("x", 250<<10) + `"}`)}
	b, err := l.Bundle(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := b.Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	// The log is short. In one of 2^40 batches, with a long name, each proof has as much more.
	const longer = 40*47 + 2*256
	if n := out.Len() + audit.MaxBundle*longer; n > audit.MaxArchive {
		t.Errorf("the bundle has %d bytes, and could have %d: more than %d", out.Len(), n, audit.MaxArchive)
	}
	if _, seen, err := verifyBundle(out.Bytes(), key.Verifier()); err != nil || len(seen) != audit.MaxBundle {
		t.Errorf("proved %d entries, %v, want %d", len(seen), err, audit.MaxBundle)
	}
	before := l.Stats().Entries
	m.Entries = append(numbers[:1:1], numbers[2:]...)
	m.Entries = append(m.Entries, audit.MaxBundle+1)
	if _, err := l.Bundle(t.Context(), m); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a bundle of a byte more: %v, want ErrInvalid", err)
	}
	if got := l.Stats().Entries; got != before {
		t.Errorf("the log has %d entries, not %d: what was refused was recorded", got, before)
	}
}

func unpack(t *testing.T, b []byte) (files map[string]string, names []string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(data)
		names = append(names, f.Name)
	}
	return files, names
}

// pack packs files as a bundle is packed; those that the first map lacks come from the others.
func pack(t *testing.T, files map[string]string, names []string, others ...map[string]string) []byte {
	t.Helper()
	return audit.Pack(names, func(name string) string {
		for _, m := range append([]map[string]string{files}, others...) {
			if s, ok := m[name]; ok {
				return s
			}
		}
		t.Fatalf("no %s", name)
		return ""
	})
}

func FuzzVerifyBundle(f *testing.F) {
	b, _ := evidence(f, audit.Manifest{Entries: []int64{2, 5}})
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, seen, err := verifyBundle(data); err == nil && !slices.Equal(seen, []int64{2, 5}) {
			t.Errorf("another bundle verifies") // one would need a signature
		}
	})
}
