package audit_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// zipped packs files with the heads that the function makes of their names.
func zipped(t *testing.T, files map[string]string, names []string, head func(*zip.FileHeader)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		h := &zip.FileHeader{Name: name}
		if head != nil {
			head(h)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(files[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// extraField is an extra field of that kind.
func extraField(id uint16, text string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(text))), text...)
}

// A bundle that another program has packed again verifies if it has the same files and nothing besides.
func TestBundleRepacked(t *testing.T) {
	b, v := evidence(t, audit.Manifest{Entries: []int64{2, 5}})
	files, names := unpack(t, b)
	dirs := append([]string{"entries/", "proofs/"}, names...)
	deflate := func(h *zip.FileHeader) { h.Method = zip.Deflate }
	for what, same := range map[string][]byte{
		"as it was":        zipped(t, files, names, nil),
		"sorted":           zipped(t, files, slices.Sorted(maps.Keys(files)), nil),
		"compressed":       zipped(t, files, names, deflate),
		"with directories": zipped(t, files, dirs, nil),
		"with times and owners": zipped(t, files, names, func(h *zip.FileHeader) {
			h.Method, h.Modified, h.Extra = zip.Deflate, time.Unix(1e9, 0), extraField(0x7875, "\x01\x04\x00\x00\x00\x00\x04\x00\x00\x00\x00")
			h.SetMode(0o640)
		}),
		"by a program of another version": zipped(t, files, names, func(h *zip.FileHeader) { h.CreatorVersion = 63 }),
	} {
		if _, seen, err := verifyBundle(same, v); err != nil || !slices.Equal(seen, []int64{2, 5}) {
			t.Errorf("%s: %v, %v, want entries 2 and 5", what, seen, err)
		}
	}

	end := func(b []byte) int { return len(b) - 22 }
	start := func(b []byte) int { return int(binary.LittleEndian.Uint32(b[end(b)+16:])) }
	add := func(b []byte, at int, n uint32) []byte { // to a number
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+n)
		return b
	}
	commented := slices.Concat(b[:len(b)-2], []byte{4, 0}, []byte("true"))
	deflated := zipped(t, files, names, deflate)
	for what, c := range map[string]struct {
		bundle []byte
		why    string
	}{
		"a file more":              {zipped(t, files, append(names[:len(names):len(names)], "NOTE.txt"), nil), `also has "NOTE.txt"`},
		"a directory more":         {zipped(t, files, append(dirs, "more/"), nil), `also has "more/"`},
		"a file of the system's":   {zipped(t, files, append(dirs, "__MACOSX/._README.txt"), nil), "also has"},
		"a name twice":             {zipped(t, files, append(dirs, "README.txt"), nil), "twice"},
		"all in a directory":       {zipped(t, map[string]string{"x/README.txt": files["README.txt"]}, []string{"x/README.txt"}, nil), "no README.txt"},
		"a comment":                {commented, "has a comment"},
		"a file's comment":         {zipped(t, files, names, func(h *zip.FileHeader) { h.Comment = "true" }), "has a comment"},
		"another name for some":    {zipped(t, files, names, func(h *zip.FileHeader) { h.Extra = extraField(0x7075, "\x01....other.txt") }), "extra field"},
		"half an extra field":      {zipped(t, files, names, func(h *zip.FileHeader) { h.Extra = []byte{0x75, 0x78, 9, 0, 1} }), "extra field"},
		"another name in the head": {slices.Concat(b[:30], []byte("readme.txt"), b[40:]), "directory says"},
		"another size in the head": {add(b, 22, 1), "directory says"},
		"something before it":      {slices.Concat([]byte("x"), b), "before or behind"},
		"a program before it":      {add(slices.Concat([]byte("x"), b), len(b)+1-22+16, 1), "zip: not a valid zip file"},
		"something behind it":      {slices.Concat(b, []byte("x")), "does not end"},
		"something in between":     {add(slices.Concat(b[:start(b)], []byte("true"), b[start(b):]), len(b)+4-22+16, 4), "belong to none"},
		"something in the directory": {add(slices.Concat(b[:end(b)], []byte("true"), b[end(b):]), len(b)+4-22+12, 4),
			"belong to none"},
		"encrypted":        {zipped(t, files, names, func(h *zip.FileHeader) { h.Flags |= 1 }), "encrypted"},
		"other sums below": {add(deflated, bytes.Index(deflated, []byte("PK\x07\x08"))+4, 1), "directory says"},
	} {
		if _, _, err := verifyBundle(c.bundle, v); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want ErrInvalid with %q", what, err, c.why)
		}
	}
}

// A small file does not make the verifier read what is very large.
func TestBundleBomb(t *testing.T) {
	b, _ := evidence(t, audit.Manifest{Entries: []int64{2, 5}})
	files, names := unpack(t, b)
	long := zipped(t, map[string]string{"README.txt": strings.Repeat("0", 4<<20)}, []string{"README.txt"}, func(h *zip.FileHeader) { h.Method = zip.Deflate })
	many := map[string]string{}
	for i := range 100 {
		many["x"+strings.Repeat("x", i)] = strings.Repeat("0", 1<<20)
	}
	// One whose data are longer, or end earlier, than it says.
	lies := func(say int, behind string) []byte {
		var packed bytes.Buffer
		w := zip.NewWriter(&packed)
		inner := zipped(t, files, names[:1], func(h *zip.FileHeader) { h.Method = zip.Deflate })
		z, err := zip.NewReader(bytes.NewReader(inner), int64(len(inner)))
		if err != nil {
			t.Fatal(err)
		}
		at, err := z.File[0].DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		data := slices.Concat(inner[at:at+int64(z.File[0].CompressedSize64)], []byte(behind))
		f, err := w.CreateRaw(&zip.FileHeader{Name: names[0], Method: zip.Deflate, CRC32: crc32.ChecksumIEEE([]byte(files[names[0]])),
			CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(files[names[0]]) + say)})
		if err == nil {
			_, err = f.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return packed.Bytes()
	}
	for what, c := range map[string]struct {
		bundle []byte
		why    string
	}{
		"a long file":             {long, "at most"},
		"many files":              {zipped(t, nil, make([]string, 12000), nil), "at most"},
		"many long files":         {zipped(t, many, slices.Sorted(maps.Keys(many)), func(h *zip.FileHeader) { h.Method = zip.Deflate }), "more than"},
		"more than it says":       {lies(-1, ""), "more bytes"},
		"less than it says":       {lies(1, ""), "unexpected EOF"},
		"something behind a file": {lies(0, "true"), "behind its end"},
	} {
		if _, _, err := verifyBundle(c.bundle); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want ErrInvalid with %q", what, err, c.why)
		}
	}
	if _, err := audit.VerifyBundle(bytes.NewReader(b), audit.MaxArchive+1, nil); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a file of %d bytes: %v, want ErrInvalid", audit.MaxArchive+1, err)
	}
}

// What is in a bundle is written as the log writes it: nobody else's signature, key or writing is taken for verified.
func TestBundleIsCanonical(t *testing.T) {
	b, v := evidence(t, audit.Manifest{Entries: []int64{2, 5}})
	files, names := unpack(t, b)
	everywhere := func(f func(name, text string) string) []byte {
		m := map[string]string{}
		for name, text := range files {
			m[name] = f(name, text)
		}
		return pack(t, m, names)
	}
	// resigned puts another note into the place of the checkpoint, in all proofs, too.
	resigned := func(signed string) []byte {
		quote := func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
		old := files["checkpoint.txt"]
		return everywhere(func(name, text string) string {
			if name == "checkpoint.txt" {
				return signed
			}
			return strings.ReplaceAll(text, quote(old), quote(signed))
		})
	}
	in := func(file, old, new string) []byte {
		return everywhere(func(name, text string) string {
			if name == file {
				if !strings.Contains(text, old) {
					t.Fatalf("%s has no %q:\n%s", name, old, text)
				}
				return strings.Replace(text, old, new, 1)
			}
			return text
		})
	}
	checkpoint := files["checkpoint.txt"]
	if _, _, err := verifyBundle(resigned(checkpoint), v); err != nil {
		t.Fatalf("with the checkpoint that it has: %v", err)
	}
	other := testKey(t, "witness.example/honest")
	foreign := strings.TrimSuffix(checkpoint, "\n") + "\n\u2014 witness.example/honest " + base64.StdEncoding.EncodeToString([]byte("abcdefgh")) + "\n"
	line := checkpoint[strings.LastIndex(checkpoint, "\u2014"):]
	// The last bits of the signature's base64 mean nothing.
	loose := strings.TrimSuffix(checkpoint, "=\n")
	loose = loose[:len(loose)-1] + string(loose[len(loose)-1]+1) + "=\n"
	key := files["key.txt"]
	for what, c := range map[string]struct {
		bundle []byte
		why    string
	}{
		"a foreign signature":         {resigned(foreign), "nobody has verified"},
		"the signature twice":         {resigned(checkpoint + line), "as the log writes it"},
		"a signature with loose bits": {resigned(loose), "as the log writes it"},
		"another key behind":          {in("key.txt", key, key+other.Public()+"\n"), "public key alone"},
		"words behind the key":        {in("key.txt", key, key+"verified by a notary\n"), "public key alone"},
		"a key without an end":        {in("key.txt", "\n", ""), "public key alone"},
		"a key in two lines":          {in("key.txt", key, key[:len(key)-9]+"\n"+key[len(key)-9:]), "public key alone"},
		"another key":                 {in("key.txt", key, other.Public()+"\n"), "not the key that you trust"},
		"spaces in a proof":           {in("proofs/2.json", `"batch":`, `"batch": `), "written otherwise"},
		"a line behind a proof":       {in("proofs/2.json", "}", "}\n"), "written otherwise"},
		"escapes in a proof":          {in("proofs/2.json", "safeconduct-batch", `saf\u0065conduct-batch`), "written otherwise"},
		"nothing for an empty list":   {in("proofs/export.json", `"batch_proof":[]`, `"batch_proof":null`), "written otherwise"},
		"a member more":               {in("proofs/2.json", `{"entry"`, `{"verified":true,"entry"`), "reading proof"},
		"a member twice":              {in("proofs/2.json", `"batch":`, `"batch":0,"batch":`), "reading proof"},
	} {
		for _, trusted := range [][]note.Verifier{{v}, nil} {
			if _, _, err := verifyBundle(c.bundle, trusted...); trusted == nil && what == "another key" {
				if !errors.Is(err, authz.ErrInvalid) {
					t.Errorf("%s: %v, want ErrInvalid", what, err)
				}
			} else if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s, with %d keys: %v, want ErrInvalid with %q", what, len(trusted), err, c.why)
			}
		}
	}
}
