package audit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of a bundle.
const (
	MaxBundle      = 5000     // entries
	MaxBundleBytes = 16 << 20 // of their bodies, together: what is found beyond it waits for the next bundle
	MaxArchive     = 80 << 20 // of the file: bodies as they are and again in base64, and up to 8 kB of what is around each

	// BundlePatience is how long a reader may take for it.
	BundlePatience = 5 * time.Minute
)

const bundleFormat = "safeconduct-bundle/1"

// A Manifest says what a bundle of evidence holds, and how it came about. The entry of kind log.exported that
// recorded the export has its digest, so that the manifest is proved like the entries are.
type Manifest struct {
	Format  string         `json:"format"`           // safeconduct-bundle/1
	Log     string         `json:"log"`              // origin of the log
	At      time.Time      `json:"at"`               // when it was asked for
	By      string         `json:"by"`               // the actor who asked
	Why     string         `json:"why"`              // as he said
	Search  jsontext.Value `json:"search,omitempty"` // what was searched, an object; absent if entries were named
	Entries []int64        `json:"entries"`          // numbers, growing
	Before  int64          `json:"before,omitzero"`  // not everything that was found is here: the rest has numbers below this one
	Readme  string         `json:"readme"`           // SHA-256 of README.txt, base64
}

// An Exported is the body of a log.exported entry.
type Exported struct {
	Manifest string         `json:"manifest"` // SHA-256 of the bundle's manifest, base64
	Entries  int            `json:"entries"`  // how many
	First    int64          `json:"first,omitzero"`
	Last     int64          `json:"last,omitzero"`
	Search   jsontext.Value `json:"search,omitempty"`
	Why      string         `json:"why"`
}

// A Bundle is evidence that stands for itself: entries, the proofs that they are in the log, the checkpoint that
// these lead to, the key that verifies it, and what was asked for. It is a zip archive whose files are stored as
// they are; docs/log-format.md says which.
type Bundle struct {
	log      *Log
	cp       *Checkpoint
	manifest []byte
	numbers  []int64
	seq      int64 // of the export's own entry
	export   *EntryProof
}

// Bundle records that entries are exported, and returns what Write then writes. It fills in what the manifest says
// of the log. Entries whose bodies have more than MaxBundleBytes are authz.ErrInvalid.
func (l *Log) Bundle(ctx context.Context, m Manifest) (*Bundle, error) {
	switch {
	case len(m.Entries) == 0:
		return nil, authz.Errorf(authz.ErrNotFound, "nothing was found that could be exported")
	case len(m.Entries) > MaxBundle:
		return nil, authz.Errorf(authz.ErrInvalid, "a bundle has at most %d entries", MaxBundle)
	}
	m.Entries = slices.Compact(slices.Sorted(slices.Values(m.Entries)))
	if err := l.tail.wait(ctx); err != nil {
		return nil, err
	}
	if last, _ := l.tail.position(); m.Entries[0] < 1 || m.Entries[len(m.Entries)-1] > last {
		return nil, authz.Errorf(authz.ErrNotFound, "the log has the entries 1 to %d", last)
	}
	size := 0
	if err := l.Pick(ctx, m.Entries, func(e Entry) bool { size += len(e.Body); return size <= MaxBundleBytes }); err != nil {
		return nil, err
	} else if size > MaxBundleBytes {
		return nil, authz.Errorf(authz.ErrInvalid, "a bundle has at most %d MiB of bodies: export fewer entries at once", MaxBundleBytes>>20)
	}
	m.Format, m.Log, m.At, m.Readme = bundleFormat, l.cfg.Key.Origin(), l.cfg.Now().UTC().Truncate(time.Microsecond), digestOf([]byte(bundleReadme))
	b := &Bundle{log: l, numbers: m.Entries}
	var err error
	if b.manifest, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	body, err := json.Marshal(Exported{digestOf(b.manifest), len(b.numbers), b.numbers[0], b.numbers[len(b.numbers)-1], m.Search, m.Why})
	if err != nil {
		return nil, fmt.Errorf("writing the entry of the export: %w", err)
	}
	if b.seq, err = l.Record(ctx, Draft{Kind: LogExported, Actor: m.By, Body: body}); err != nil {
		return nil, fmt.Errorf("recording the export: %w", err)
	}
	// The export's own entry is the newest that is proved: a checkpoint that covers it covers all.
	if b.cp, err = l.Checkpoint(ctx); err != nil {
		return nil, err
	}
	if b.export, err = Prove(ctx, l.store, b.cp, b.seq); err != nil {
		return nil, err
	}
	return b, nil
}

func digestOf(b []byte) string {
	h := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(h[:])
}

// Export returns the number of the entry that recorded the export.
func (b *Bundle) Export() int64 { return b.seq }

// Write writes the bundle. After an error what was written is a bundle that does not verify.
func (b *Bundle) Write(ctx context.Context, w io.Writer) error {
	a := newArchive(w)
	a.add("README.txt", []byte(bundleReadme))
	a.add("manifest.json", b.manifest)
	a.add("key.txt", []byte(b.log.cfg.Key.Public()+"\n"))
	a.add("checkpoint.txt", b.cp.Note)
	a.addProof("export", b.export)
	p := prover{store: b.log.store, cp: b.cp}
	for _, seq := range b.numbers {
		proof, err := p.prove(ctx, seq)
		if err != nil {
			return err
		}
		if a.addProof(strconv.FormatInt(seq, 10), proof); a.err != nil {
			return a.err
		}
	}
	return a.close()
}

// entryText returns an entry as it is read: one line of JSON, with the body byte for byte.
func entryText(e *Entry) []byte {
	b := append([]byte(`{"seq":`), strconv.FormatInt(e.Seq, 10)...)
	b = e.At.AppendFormat(append(b, `,"at":"`...), time.RFC3339Nano)
	b = append(append(b, `","kind":"`...), e.Kind...)
	b, _ = jsontext.AppendQuote(append(b, `","actor":`...), e.Actor) // an actor is valid UTF-8
	b = append(append(b, `,"body":`...), e.Body...)
	return append(b, "}\n"...)
}

// A prover proves entries under one checkpoint. It keeps the batch that the last one was in.
type prover struct {
	store Store
	cp    *Checkpoint
	block *block
	leaf  string
	tree  tlog.HashReader // of the batch
	path  []tlog.Hash     // of the batch in the log
}

func (p *prover) prove(ctx context.Context, seq int64) (*EntryProof, error) {
	if p.block == nil || seq < p.block.leaf.First || seq > p.block.leaf.Last() {
		b, leaf, err := readBlock(ctx, p.store, seq)
		if err != nil {
			return nil, err
		}
		if b.batch >= p.cp.Size {
			return nil, authz.Errorf(authz.ErrNotFound, "no checkpoint covers entry %d yet", seq)
		}
		path, err := tlog.ProveRecord(p.cp.Size, b.batch, hashReader(ctx, p.store))
		if err != nil {
			return nil, fmt.Errorf("proving that batch %d is in the log: %w", b.batch, err)
		}
		p.block, p.leaf, p.tree, p.path = b, string(leaf), storedHashes(b.hashes), notNil(path)
	}
	b := p.block
	path, err := tlog.ProveRecord(int64(len(b.hashes)), seq-b.leaf.First, p.tree)
	if err != nil {
		return nil, fmt.Errorf("proving that entry %d is in its batch: %w", seq, err)
	}
	salt := b.seed.salt(seq)
	return &EntryProof{
		Entry:      AppendEntry(nil, b.entries[seq-b.leaf.First]),
		Salt:       salt[:],
		BatchProof: notNil(path),
		Leaf:       p.leaf,
		Batch:      b.batch,
		LogProof:   p.path,
		Checkpoint: string(p.cp.Note),
	}, nil
}

const bundleReadme = `This is a bundle of evidence out of the audit log of a Safeconduct service.

  manifest.json    what was asked for, by whom, when and why, and the numbers of the entries
  checkpoint.txt   the signed state of the log: a C2SP signed note (c2sp.org/tlog-checkpoint)
  key.txt          the public key that is said to verify it
  entries/N.json   entry N of the log, to be read
  proofs/N.json    the proof that entry N, with exactly these bytes, is in the log
  entries/export.json, proofs/export.json
                   the entry that recorded this export, which has the SHA-256 of manifest.json

To verify everything, without any service and without a network:

  safeconduct audit verify-bundle FILE --key KEY

KEY is the log's public key as you got it from elsewhere: from whoever runs the service, or from
"safeconduct status" before there was a dispute. Without it the key in this bundle is believed, and
then the bundle only agrees with itself: anybody can make such a bundle with a key of their own.

Single proofs can be checked with "safeconduct audit prove --check proofs/N.json --key KEY", or by a
program of your own: docs/log-format.md of Safeconduct says how, and needs SHA-256 and Ed25519 only.

What it proves: these entries were in the log when the checkpoint was signed, and nobody has changed
them since. What it does not prove: that nothing else would have matched, or that what was recorded
is true. To see that the log was not rewritten as a whole, compare the checkpoint with one that you
kept (safeconduct audit verify --checkpoint).

The entries can name persons. Keep the bundle as you would keep the log.
`
