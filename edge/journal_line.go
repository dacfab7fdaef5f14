package edge

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An entry is a record before it has a number.
type entry struct {
	kind byte   // d or o
	of   int64  // of an outcome: the id of its decision, until it has a number itself
	body []byte // JSON on one line
}

func fileName(gen, first int64) string {
	if gen > 0 {
		return fmt.Sprintf("r%09d-%020d%s", gen, first, suffix)
	}
	return fmt.Sprintf("%020d%s", first, suffix)
}

func headLine(name string, first, base int64) []byte {
	b := strconv.AppendInt(append([]byte(magic+name), ' '), first, 10)
	if base > 0 {
		b = strconv.AppendInt(append(b, ' '), base, 10)
	}
	return append(b, '\n')
}

func seedOf(head []byte) uint32 { return crc32.Checksum(head, castagnoli) }

// parseHead reads the first line of a file.
func parseHead(line string) (name string, first, base int64, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), magic)
	if !ok {
		return "", 0, 0, false
	}
	name, rest, _ = strings.Cut(rest, " ")
	number, more, has := strings.Cut(rest, " ")
	first, ok = count([]byte(number))
	if has && ok {
		base, ok = count([]byte(more))
	}
	if !ok || first < 1 || name == "" || len(name) > 64 || string(headLine(name, first, base)) != line {
		return "", 0, 0, false
	}
	return name, first, base, true
}

// A record is one line of a journal.
type record struct {
	kind       byte
	number, of int64
	body       []byte
}

// appendLine appends a line.
func appendLine(b []byte, seed uint32, number int64, e *entry) []byte {
	start := len(b)
	b = append(b, "00000000 "...)
	b = append(b, e.kind, ' ')
	b = strconv.AppendInt(b, number, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.of, 10)
	b = append(b, ' ')
	b = append(b, e.body...)
	sum := sumOf(seed, b[start+9:])
	copy(b[start:], sum[:])
	return append(b, '\n')
}

// sumOf returns the CRC of a line, in hex, over what follows it.
func sumOf(seed uint32, text []byte) (sum [8]byte) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], crc32.Update(seed, castagnoli, text))
	hex.Encode(sum[:], n[:])
	return sum
}

// parseLine reads a line, and reports whether it is what was written.
func parseLine(line []byte, seed uint32) (rec record, ok bool) {
	text, ok := bytes.CutSuffix(line, []byte{'\n'})
	if !ok || len(text) < 16 || text[8] != ' ' || text[10] != ' ' {
		return rec, false
	}
	if sum := sumOf(seed, text[9:]); string(text[:8]) != string(sum[:]) {
		return rec, false
	}
	number, rest, _ := bytes.Cut(text[11:], []byte{' '})
	of, body, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return rec, false
	}
	rec = record{kind: text[9], body: body}
	var okNumber, okOf bool
	rec.number, okNumber = count(number)
	rec.of, okOf = count(of)
	return rec, okNumber && okOf && (rec.kind == 'd' || rec.kind == 'o')
}

// count reads a number as it is written: without a sign, and without zeros before it.
func count(b []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == string(b)
}
