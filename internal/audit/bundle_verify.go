package audit

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
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
// that there is nothing in the archive besides, in whichever way it is packed. Each file has the bytes that the log
// writes: there is no text in them that is not verified, such as signatures of others. It calls f, which may be nil, with
// each entry once it is proved. Without verifiers the bundle's own key is believed. What does not verify is
// authz.ErrInvalid.
func VerifyBundle(r io.ReaderAt, size int64, f func(Entry) error, verifiers ...note.Verifier) (*BundleReport, error) {
	files, err := unpack(r, size)
	if err != nil {
		return nil, err
	}
	v := bundleVerification{files: files, verifiers: verifiers}
	return v.verify(f)
}

// A bundleVerification takes the files of a bundle, one after the other, until none is left.
type bundleVerification struct {
	files     map[string]*zip.File
	verifiers []note.Verifier
	cp        *Checkpoint
}

// take reads a file that must be there.
func (v *bundleVerification) take(name string) ([]byte, error) {
	f := v.files[name]
	if f == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the bundle has no %s", name)
	}
	delete(v.files, name)
	return contents(f)
}

func (v *bundleVerification) verify(f func(Entry) error) (*BundleReport, error) {
	rep := &BundleReport{Trusted: len(v.verifiers) > 0}
	readme, err := v.take("README.txt")
	if err != nil {
		return nil, err
	}
	manifest, err := v.take("manifest.json")
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
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		if name != "entries/" && name != "proofs/" || v.files[name].UncompressedSize64 > 0 {
			return nil, authz.Errorf(authz.ErrInvalid, "the bundle also has %.100q, which the manifest does not name", name)
		}
	}
	return rep, nil
}

// checkpoint reads the key and the checkpoint.
func (v *bundleVerification) checkpoint(rep *BundleReport) error {
	key, err := v.take("key.txt")
	if err != nil {
		return err
	}
	text, ended := strings.CutSuffix(string(key), "\n")
	own, err := ParseVerifier(text)
	if err != nil || !ended {
		return authz.Errorf(authz.ErrInvalid, "key.txt does not hold a public key alone")
	}
	rep.Key = text
	if !rep.Trusted {
		v.verifiers = []note.Verifier{own}
	} else if !slices.ContainsFunc(v.verifiers, func(k note.Verifier) bool { return k.Name() == own.Name() && k.KeyHash() == own.KeyHash() }) {
		return authz.Errorf(authz.ErrInvalid, "the bundle's key is %s with the id %08x, which is not the key that you trust", own.Name(), own.KeyHash())
	}
	signed, err := v.take("checkpoint.txt")
	if err != nil {
		return err
	}
	if v.cp, err = ParseCheckpoint(signed, v.verifiers...); err != nil {
		return err
	}
	if v.cp.Origin != rep.Manifest.Log {
		return authz.Errorf(authz.ErrInvalid, "the checkpoint is of the log %q, the manifest of %.200q", v.cp.Origin, rep.Manifest.Log)
	}
	rep.Checkpoint = v.cp
	return onlySigned(v.cp, own)
}

// onlySigned checks that a checkpoint has one signature, of that key, and nothing that is not signed by it: who reads a
// bundle that verifies would take the signatures of others for verified, too.
func onlySigned(cp *Checkpoint, own note.Verifier) error {
	n, err := note.Open(cp.Note, note.VerifierList(own))
	if err != nil { // two keys can have one id
		return authz.Errorf(authz.ErrInvalid, "the checkpoint is not signed by the bundle's key: %w", err)
	}
	for _, s := range n.UnverifiedSigs {
		return authz.Errorf(authz.ErrInvalid, "the checkpoint has a signature of %.200q with the id %08x, which nobody has verified", s.Name, s.Hash)
	}
	sig, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading the checkpoint's signature: %w", err)
	}
	if want := cp.text() + "\n\u2014 " + own.Name() + " " + base64.StdEncoding.EncodeToString(sig) + "\n"; string(cp.Note) != want {
		return authz.Errorf(authz.ErrInvalid, "the checkpoint is not as the log writes it: origin, size, root, and one signature")
	}
	return nil
}

// entry reads an entry and its proof.
func (v *bundleVerification) entry(name string) (Entry, error) {
	text, err := v.take("entries/" + name + ".json")
	if err != nil {
		return Entry{}, err
	}
	proof, err := v.take("proofs/" + name + ".json")
	if err != nil {
		return Entry{}, err
	}
	fault := func(err error) (Entry, error) { return Entry{}, fmt.Errorf("entry %s: %w", name, err) }
	p, err := ParseEntryProof(proof)
	if err != nil {
		return fault(err)
	}
	if again, err := json.Marshal(p); err != nil || !bytes.Equal(again, proof) {
		return fault(authz.Errorf(authz.ErrInvalid, "its proof is written otherwise than the log writes proofs"))
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
