package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// What follows is a verifier as a stranger would write it who has docs/log-format.md and nothing else.

func sum(parts ...[]byte) []byte {
	h := sha256.Sum256(bytes.Join(parts, nil))
	return h[:]
}

// merkle is MTH of RFC 6962 over leaf hashes.
func merkle(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return sum([]byte{1}, merkle(leaves[:k]), merkle(leaves[k:]))
}

// strange verifies segments against a checkpoint and a verifier's key, and returns the bodies.
func strange(segs []audit.Segment, note, vkey string) (bodies []string, err error) {
	var leaves [][]byte
	number, clock, counts := uint64(1), uint64(0), map[string]int{}
	for i, s := range segs {
		dec, err := zstd.NewReader(nil)
		if err != nil {
			return nil, err
		}
		data, err := dec.DecodeAll(s.Data, nil)
		if err != nil {
			return nil, err
		}
		if data[0] != 1 {
			return nil, fmt.Errorf("segment %d has version %d", i, data[0])
		}
		seed, data := data[1:33], data[33:]
		lines := strings.Split(string(s.Leaf), "\n")
		var (
			first, count, nth int
			at                uint64
			writer            string
		)
		if _, err := fmt.Sscanf(lines[1]+" "+lines[2]+" "+lines[3], "%d %d %d %s %d", &first, &count, &at, &writer, &nth); err != nil {
			return nil, err
		}
		if lines[0] != "safeconduct-batch/1" || uint64(first) != number || nth != counts[writer]+1 || lines[5] != "" {
			return nil, fmt.Errorf("leaf %q", s.Leaf)
		}
		counts[writer] += count
		var hashes [][]byte
		for range count {
			start := data
			if data[0] != 1 || binary.BigEndian.Uint64(data[1:]) != number || binary.BigEndian.Uint64(data[9:]) < clock {
				return nil, fmt.Errorf("entry %d begins with %x", number, data[:17])
			}
			clock = binary.BigEndian.Uint64(data[9:])
			data = data[18+int(data[17]):]
			data = data[2+int(binary.BigEndian.Uint16(data)):]
			n := int(binary.BigEndian.Uint32(data))
			bodies = append(bodies, string(data[4:4+n]))
			data = data[4+n:]
			encoded := start[:len(start)-len(data)]
			salt := sum([]byte{2}, seed, binary.BigEndian.AppendUint64(nil, number))[:16]
			hashes = append(hashes, sum([]byte{0}, salt, encoded))
			number++
		}
		if len(data) != 0 || clock != at || base64.StdEncoding.EncodeToString(merkle(hashes)) != lines[4] {
			return nil, fmt.Errorf("batch %d is not what its leaf says", i)
		}
		leaves = append(leaves, sum([]byte{0}, s.Leaf))
	}
	text, signature, _ := strings.Cut(note, "\n\n")
	lines := strings.Split(text, "\n")
	if want := fmt.Sprintf("%d\n%s", len(leaves), base64.StdEncoding.EncodeToString(merkle(leaves))); strings.Join(lines[1:], "\n") != want {
		return nil, fmt.Errorf("checkpoint is of %q, the log %q", lines[1:], want)
	}
	key := strings.SplitN(vkey, "+", 3)
	public, err := base64.StdEncoding.DecodeString(key[2])
	if err != nil || public[0] != 1 {
		return nil, fmt.Errorf("verifier's key %q", vkey)
	}
	id, err := hex.DecodeString(key[1])
	if err != nil || !bytes.Equal(id, sum([]byte(key[0]+"\n"), public)[:4]) {
		return nil, fmt.Errorf("key id %q", key[1])
	}
	prefix := "— " + lines[0] + " "
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(signature, prefix), "\n"))
	if err != nil || lines[0] != key[0] || !bytes.Equal(sig[:4], id) || !ed25519.Verify(public[1:], []byte(text+"\n"), sig[4:]) {
		return nil, fmt.Errorf("signature %q", signature)
	}
	return bodies, nil
}

// The log of fixed chance and clock has always the same bytes, and a stranger can verify it.
func TestFormat(t *testing.T) {
	store := &audittest.Memory{}
	key := testKey(t, "example.com/log")
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l, stop := start(t, store, audit.Config{Key: key, Heartbeat: -1, Rand: newRand(1), Now: func() time.Time { return day }})
	fill(t, l, 3)
	day = day.Add(1500 * time.Microsecond)
	fill(t, l, 1, 5)
	cp, err := l.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	segs, err := store.Segments(context.Background(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := strange(segs, string(cp.Note), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 9 || bodies[8] != `{"batch":1,"i":4}` {
		t.Errorf("bodies %q", bodies)
	}
	if got := string(segs[0].Leaf); got != goldenLeaf {
		t.Errorf("first leaf is\n%swant\n%s", got, goldenLeaf)
	}
	if got := string(cp.Note); got != goldenCheckpoint {
		t.Errorf("checkpoint is\n%swant\n%s", got, goldenCheckpoint)
	}
}

const (
	goldenLeaf = `safeconduct-batch/1
1 3
1772323200000000
6ae6783f4fbde91b 1
eynlMjJy4UafGQqblw5Iv4+Mrk6RhDk0J2yYtH+s9LY=
`
	goldenCheckpoint = `example.com/log
3
PFkxMSUj8hAHdGUAvcsvt+8X/M+kVwvv8zvBBx3JLeg=

— example.com/log xyzaJvJmKQvSHvn7XFclLFHu8RYt8ju+WDk/5gBMygT7eZKmURX+UsxnNpYOFG1T+od/CE1C5kNoImjh64M7d8rvTgk=
`
)
