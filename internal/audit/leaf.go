package audit

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

const leafMagic = "safeconduct-batch/1"

// A Leaf is what the log's Merkle tree says of one batch. It holds no personal data.
type Leaf struct {
	First  int64     // number of the batch's first entry
	Count  int       // how many entries the batch has
	At     time.Time // time of its last entry
	Writer string    // process that wrote it: 16 hexadecimal digits, drawn at its start
	Nth    int64     // how many entries that process had recorded, with the first one of this batch
	Root   tlog.Hash // RFC 6962 root over the leaf hashes of its entries
}

// Last returns the number of the batch's last entry.
func (l Leaf) Last() int64 { return l.First + int64(l.Count) - 1 }

// Bytes returns the leaf's text; its RFC 6962 hash is the hash of the tree's leaf.
func (l Leaf) Bytes() []byte {
	b := make([]byte, 0, 160)
	b = append(b, leafMagic...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, l.First, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(l.Count), 10)
	b = append(b, '\n')
	b = strconv.AppendInt(b, l.At.UnixMicro(), 10)
	b = append(b, '\n')
	b = append(b, l.Writer...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, l.Nth, 10)
	b = append(b, '\n')
	b = base64.StdEncoding.AppendEncode(b, l.Root[:])
	return append(b, '\n')
}

// ParseLeaf decodes the text of a leaf. Anything that Bytes would not write is authz.ErrInvalid.
func ParseLeaf(b []byte) (Leaf, error) {
	if len(b) > 256 {
		return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf has %d bytes", len(b))
	}
	f := strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' || r == ' ' })
	if len(f) != 7 || f[0] != leafMagic {
		return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf is not a %s", leafMagic)
	}
	var (
		l    Leaf
		nums [4]int64
	)
	for i, s := range []string{f[1], f[2], f[3], f[5]} {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 || n >= 1<<62 {
			return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf has the number %q", s)
		}
		nums[i] = n
	}
	if nums[1] > MaxBatchEntries {
		return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf has %d entries", nums[1])
	}
	root, err := tlog.ParseHash(f[6])
	if err != nil {
		return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf has the root %q", f[6])
	}
	l = Leaf{First: nums[0], Count: int(nums[1]), At: timeOf(nums[2]), Writer: f[4], Nth: nums[3], Root: root}
	if len(l.Writer) != 16 || strings.Trim(l.Writer, "0123456789abcdef") != "" {
		return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf has the writer %q", l.Writer)
	}
	if string(l.Bytes()) != string(b) { // one text a leaf: no leading zeroes, no other spaces
		return Leaf{}, authz.Errorf(authz.ErrInvalid, "leaf is not written canonically")
	}
	return l, nil
}
