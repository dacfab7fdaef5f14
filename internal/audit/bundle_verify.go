package audit

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
)

// A BundleReport says what a bundle that verifies has proved.
type BundleReport struct {
	Manifest   Manifest
	Checkpoint *Checkpoint
	Key        string // the public key in the bundle
	Trusted    bool   // whether the key was given; otherwise it is the bundle's own word
	Export     Entry  // the entry that recorded the export
}

// VerifyBundle verifies all of a bundle: that each entry is in the log under the one checkpoint, that entries and
// proofs are those that the manifest names and no others, that the manifest is the one whose digest was recorded, and
// that there is not a byte in the archive besides. It calls f, which may be nil, with each entry once it is proved.
// Without verifiers the bundle's own key is believed. What does not verify is authz.ErrInvalid.
func VerifyBundle(r io.ReaderAt, size int64, f func(Entry) error, verifiers ...note.Verifier) (*BundleReport, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "opening the bundle: %w", err)
	}
	v := bundleVerification{files: z.File, same: &comparer{r: r}, verifiers: verifiers}
	v.again = newArchive(v.same)
	rep, err := v.verify(f)
	if err != nil {
		return nil, err
	}
	if v.same.off != size {
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle goes on for %d bytes after its end", size-v.same.off)
	}
	return rep, nil
}

// A bundleVerification reads the files of a bundle in their order, and writes the archive again: one that has the
// same files has the same bytes.
type bundleVerification struct {
	files     []*zip.File
	again     *archive
	same      *comparer
	verifiers []note.Verifier
	cp        *Checkpoint
}

// A comparer is a writer that fails unless it is given the bytes of r.
type comparer struct {
	r   io.ReaderAt
	off int64
}

var errRepacked = authz.Errorf(authz.ErrInvalid, "the archive is not as it was written: it was changed, or packed anew")

func (c *comparer) Write(b []byte) (int, error) {
	was := make([]byte, len(b))
	if n, err := c.r.ReadAt(was, c.off); n < len(b) && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading the bundle: %w", err)
	} else if !bytes.Equal(was[:n], b) {
		return 0, errRepacked
	}
	c.off += int64(len(b))
	return len(b), nil
}

// next reads the next file, which must have that name.
func (v *bundleVerification) next(name string) ([]byte, error) {
	if len(v.files) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle has no %s", name)
	}
	f := v.files[0]
	v.files = v.files[1:]
	if f.Name != name {
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle has %.100q in the place of %s", f.Name, name)
	}
	if f.Method != zip.Store || f.UncompressedSize64 > maxProof {
		return nil, authz.Errorf(authz.ErrInvalid, "%s is compressed, or too large", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading %s: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxProof+1))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading %s: %w", name, err)
	}
	v.again.add(name, data)
	return data, v.again.err
}

func (v *bundleVerification) verify(f func(Entry) error) (*BundleReport, error) {
	rep := &BundleReport{Trusted: len(v.verifiers) > 0}
	readme, err := v.next("README.txt")
	if err != nil {
		return nil, err
	}
	manifest, err := v.next("manifest.json")
	if err != nil {
		return nil, err
	}
	m := &rep.Manifest
	if err := json.Unmarshal(manifest, m, json.RejectUnknownMembers(true)); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading the manifest: %w", err)
	}
	switch {
	case m.Format != bundleFormat:
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle has the format %.64q, not %s", m.Format, bundleFormat)
	case m.Readme != digestOf(readme):
		return nil, authz.Errorf(authz.ErrInvalid, "README.txt is not the one that the manifest names")
	case len(m.Entries) > MaxBundle:
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle has %d entries: at most %d", len(m.Entries), MaxBundle)
	}
	if err := v.checkpoint(rep); err != nil {
		return nil, err
	}
	if rep.Export, err = v.entry("export"); err != nil {
		return nil, err
	}
	var x Exported
	if err := json.Unmarshal(rep.Export.Body, &x); rep.Export.Kind != LogExported || err != nil || x.Manifest != digestOf(manifest) {
		return nil, authz.Errorf(authz.ErrInvalid, "the manifest is not the one that entry %d recorded", rep.Export.Seq)
	}
	for i, seq := range m.Entries {
		if i > 0 && seq <= m.Entries[i-1] {
			return nil, authz.Errorf(authz.ErrInvalid, "the manifest's numbers do not grow")
		}
		e, err := v.entry(strconv.FormatInt(seq, 10))
		if err == nil && e.Seq != seq {
			err = authz.Errorf(authz.ErrInvalid, "the proof of entry %d is of entry %d", seq, e.Seq)
		}
		if err == nil && f != nil {
			err = f(e)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(v.files) > 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle also has %.100q, which the manifest does not name", v.files[0].Name)
	}
	return rep, v.again.close()
}

// checkpoint reads the key and the checkpoint.
func (v *bundleVerification) checkpoint(rep *BundleReport) error {
	key, err := v.next("key.txt")
	if err != nil {
		return err
	}
	rep.Key = strings.TrimSuffix(string(key), "\n")
	own, err := note.NewVerifier(rep.Key)
	if err != nil || rep.Key+"\n" != string(key) {
		return authz.Errorf(authz.ErrInvalid, "key.txt holds no public key")
	}
	if !rep.Trusted {
		v.verifiers = []note.Verifier{own}
	} else if !slices.ContainsFunc(v.verifiers, func(k note.Verifier) bool { return k.Name() == own.Name() && k.KeyHash() == own.KeyHash() }) {
		return authz.Errorf(authz.ErrInvalid, "the bundle's key is %s with the id %08x, which is not the key that you trust", own.Name(), own.KeyHash())
	}
	text, err := v.next("checkpoint.txt")
	if err != nil {
		return err
	}
	if v.cp, err = ParseCheckpoint(text, v.verifiers...); err != nil {
		return err
	}
	if v.cp.Origin != rep.Manifest.Log {
		return authz.Errorf(authz.ErrInvalid, "the checkpoint is of the log %q, the manifest of %.200q", v.cp.Origin, rep.Manifest.Log)
	}
	rep.Checkpoint = v.cp
	return nil
}

// entry reads an entry and its proof.
func (v *bundleVerification) entry(name string) (Entry, error) {
	text, err := v.next("entries/" + name + ".json")
	if err != nil {
		return Entry{}, err
	}
	proof, err := v.next("proofs/" + name + ".json")
	if err != nil {
		return Entry{}, err
	}
	fault := func(err error) (Entry, error) { return Entry{}, fmt.Errorf("entry %s: %w", name, err) }
	p, err := ParseEntryProof(proof)
	if err != nil {
		return fault(err)
	}
	if p.Checkpoint != string(v.cp.Note) {
		return fault(authz.Errorf(authz.ErrInvalid, "it is proved under another checkpoint"))
	}
	e, _, err := VerifyEntryProof(p, v.verifiers...)
	if err != nil {
		return fault(err)
	}
	if !bytes.Equal(text, entryText(&e)) {
		return fault(authz.Errorf(authz.ErrInvalid, "what is to be read is not what is proved"))
	}
	return e, nil
}
