package audit

import (
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
)

// An archive writes the files of a bundle as a zip: stored, not compressed, without times.
type archive struct {
	zip *zip.Writer
	err error
}

func newArchive(w io.Writer) *archive { return &archive{zip: zip.NewWriter(w)} }

func (a *archive) add(name string, data []byte) {
	if a.err != nil {
		return
	}
	w, err := a.zip.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data),
		CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data))})
	if err == nil {
		_, err = w.Write(data)
	}
	a.err = err
}

// addProof adds an entry as it is read, and its proof.
func (a *archive) addProof(name string, p *EntryProof) {
	text, err := json.Marshal(p)
	if err == nil && a.err == nil {
		var e Entry
		if e, _, err = ParseEntry(p.Entry); err == nil {
			a.add("entries/"+name+".json", entryText(&e))
			a.add("proofs/"+name+".json", text)
		}
	}
	if a.err == nil {
		a.err = err
	}
}

func (a *archive) close() error {
	if a.err != nil {
		return a.err
	}
	return a.zip.Close()
}

// Bounds of what is unpacked.
const (
	maxFiles     = 6 + 2*MaxBundle + 2 // with two directories
	maxDirectory = maxFiles * 256      // bytes
)

// Parts of a zip, as the numbers that they begin with and their sizes without what varies (APPNOTE 6.3.10, 4.3).
const (
	zipLocal, zipLocalSize = 0x04034b50, 30
	zipCentralSize         = 46
	zipEnd, zipEndSize     = 0x06054b50, 22
	zipDescriptor          = 0x08074b50
)

const (
	zipDescribed = 0x8                // the sizes follow the data
	zipFlags     = zipDescribed | 0x6 // how well it is compressed
	zipUTF8      = 0x800
)

// zipExtras are the extra fields that say no more than when a file was made and whose it was.
var zipExtras = []uint16{0x000a, 0x5455, 0x5855, 0x7855, 0x7875}

// unpack reads the directory of a zip archive that any program may have packed. Files may be in any order, compressed,
// and have times and owners. But all programs that unpack it, also those that do not begin with the directory, must find
// the same files and show nothing besides, so it is authz.ErrInvalid if a name is there twice, if the directory and the
// heads of the files differ, if there are bytes that belong to no file, or comments, or extra fields that could say
// something else; and if it is larger than a bundle can be.
func unpack(r io.ReaderAt, size int64) (map[string]*zip.File, error) {
	if size > MaxArchive {
		return nil, authz.Errorf(authz.ErrInvalid, "a bundle has at most %d bytes, not %d", MaxArchive, size)
	}
	start, err := zipDirectory(r, size)
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "opening the bundle: %w", err)
	}
	var (
		files   = make(map[string]*zip.File, len(z.File))
		places  = make(map[*zip.File]int64, len(z.File)) // where the data begin
		central = int64(zipEndSize)
		total   uint64
	)
	for _, f := range z.File {
		switch {
		case files[f.Name] != nil:
			return nil, authz.Errorf(authz.ErrInvalid, "the bundle has %.100q twice", f.Name)
		case f.Comment != "":
			return nil, authz.Errorf(authz.ErrInvalid, "%.100q has a comment, which nothing proves", f.Name)
		case f.Method != zip.Store && f.Method != zip.Deflate || f.Flags&^(zipFlags|zipUTF8) != 0:
			return nil, authz.Errorf(authz.ErrInvalid, "%.100q is encrypted, or compressed otherwise than by deflate", f.Name)
		case f.UncompressedSize64 > maxProof || f.CompressedSize64 > uint64(size):
			return nil, authz.Errorf(authz.ErrInvalid, "%.100q has %d bytes: at most %d", f.Name, f.UncompressedSize64, maxProof)
		}
		if total += f.UncompressedSize64; total > MaxArchive {
			return nil, authz.Errorf(authz.ErrInvalid, "the files of the bundle have more than %d bytes", MaxArchive)
		}
		if places[f], err = f.DataOffset(); err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "opening %.100q: %w", f.Name, err)
		}
		files[f.Name] = f
		central += zipCentralSize + int64(len(f.Name)+len(f.Extra))
	}
	slices.SortFunc(z.File, func(a, b *zip.File) int { return cmp.Compare(places[a], places[b]) })
	at := int64(0)
	for _, f := range z.File {
		if at, err = zipFile(r, f, at, places[f]); err != nil {
			return nil, err
		}
	}
	if at != start || start+central != size {
		return nil, authz.Errorf(authz.ErrInvalid, "the archive has bytes that belong to none of its files")
	}
	return files, nil
}

// zipDirectory returns where the directory begins, which must be the last thing in the archive.
func zipDirectory(r io.ReaderAt, size int64) (int64, error) {
	var b [zipEndSize]byte
	if size < zipEndSize {
		return 0, authz.Errorf(authz.ErrInvalid, "a file of %d bytes is no zip archive", size)
	}
	if _, err := r.ReadAt(b[:], size-zipEndSize); err != nil && err != io.EOF {
		return 0, authz.Errorf(authz.ErrInvalid, "reading the bundle: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint32(b[:]) != zipEnd || le.Uint16(b[20:]) != 0 {
		return 0, authz.Errorf(authz.ErrInvalid, "the file does not end as a zip archive does: it is none, was cut off, or has a comment")
	}
	n, length, start := le.Uint16(b[10:]), le.Uint32(b[12:]), le.Uint32(b[16:])
	switch {
	case le.Uint32(b[4:]) != 0 || le.Uint16(b[8:]) != n:
		return 0, authz.Errorf(authz.ErrInvalid, "the archive is one of several parts")
	case n > maxFiles || length > maxDirectory:
		return 0, authz.Errorf(authz.ErrInvalid, "the archive has %d files: at most %d", n, maxFiles)
	case int64(start)+int64(length) != size-zipEndSize:
		return 0, authz.Errorf(authz.ErrInvalid, "the archive has bytes before or behind its files")
	}
	return int64(start), nil
}

// zipFile looks at a file whose head is expected at one place and whose data begin at another, and returns where it ends.
func zipFile(r io.ReaderAt, f *zip.File, at, data int64) (int64, error) {
	differs := func() (int64, error) {
		return 0, authz.Errorf(authz.ErrInvalid, "%.100q is not where, or what, the archive's directory says", f.Name)
	}
	if data < at+zipLocalSize || data-at > zipLocalSize+1<<12 {
		return differs()
	}
	b := make([]byte, data-at)
	if _, err := r.ReadAt(b, at); err != nil {
		return differs()
	}
	le := binary.LittleEndian
	name, extra := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	if le.Uint32(b) != zipLocal || le.Uint16(b[6:]) != f.Flags || le.Uint16(b[8:]) != f.Method ||
		zipLocalSize+name+extra != len(b) || string(b[zipLocalSize:zipLocalSize+name]) != f.Name {
		return differs()
	}
	if !plainExtra(b[zipLocalSize+name:]) || !plainExtra(f.Extra) {
		return 0, authz.Errorf(authz.ErrInvalid, "%.100q has an extra field that could say something else of it", f.Name)
	}
	sums := le.AppendUint32(nil, f.CRC32)
	sums = le.AppendUint32(sums, uint32(f.CompressedSize64))
	sums = le.AppendUint32(sums, uint32(f.UncompressedSize64))
	end := data + int64(f.CompressedSize64)
	if f.Flags&zipDescribed == 0 {
		if !bytes.Equal(b[14:26], sums) {
			return differs()
		}
		return end, nil
	}
	if !bytes.Equal(b[14:26], sums) && !bytes.Equal(b[14:26], make([]byte, len(sums))) {
		return differs()
	}
	d := make([]byte, 4+len(sums)) // there is always a directory behind it
	if _, err := r.ReadAt(d, end); err != nil {
		return differs()
	}
	switch {
	case le.Uint32(d) == zipDescriptor && bytes.Equal(d[4:], sums):
		return end + int64(len(d)), nil
	case bytes.Equal(d[:len(sums)], sums): // the number before it may be left out
		return end + int64(len(sums)), nil
	}
	return differs()
}

// plainExtra reports whether extra fields say no more than times and owners.
func plainExtra(b []byte) bool {
	for len(b) >= 4 {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if !slices.Contains(zipExtras, id) || len(b) < 4+n {
			return false
		}
		b = b[4+n:]
	}
	return len(b) == 0
}

// contents reads a file.
func contents(f *zip.File) ([]byte, error) {
	raw, err := f.OpenRaw()
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading %s: %w", f.Name, err)
	}
	packed := bufio.NewReader(raw)
	data := make([]byte, f.UncompressedSize64)
	r := io.Reader(packed)
	if f.Method == zip.Deflate {
		r = flate.NewReader(packed)
	}
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading %s: %w", f.Name, err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != io.EOF {
		return nil, authz.Errorf(authz.ErrInvalid, "%s has more bytes than the archive says", f.Name)
	}
	if _, err := packed.ReadByte(); err != io.EOF {
		return nil, authz.Errorf(authz.ErrInvalid, "%s has bytes behind its end", f.Name)
	}
	if crc32.ChecksumIEEE(data) != f.CRC32 {
		return nil, authz.Errorf(authz.ErrInvalid, "%s was changed: its checksum is another", f.Name)
	}
	return data, nil
}
