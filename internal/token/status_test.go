package token_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

func pack(t testing.TB, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(out.Bytes())
}

func TestStatusList(t *testing.T) {
	l := token.NewStatusList(1 << 16)
	set := map[int]bool{0: true, 7: true, 8: true, 4711: true, 1<<16 - 1: true}
	for i := range set {
		l.Set(i)
	}
	got, err := token.ParseStatusList(l.Encode(), 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1 << 16 {
		if got.Get(i) != set[i] {
			t.Errorf("Get(%d) = %t, want %t", i, got.Get(i), set[i])
		}
	}
	for _, i := range []int{-1, 1 << 16, 1 << 40} {
		if !got.Get(i) {
			t.Errorf("Get(%d) = false: a token that the list does not know must count as revoked", i)
		}
	}
}

func TestParseStatusListRefuses(t *testing.T) {
	good := pack(t, []byte{1, 2})
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	wrong := bytes.Clone(raw)
	wrong[len(wrong)-1] ^= 1
	enc := base64.RawURLEncoding.EncodeToString
	for name, c := range map[string]struct {
		lst  string
		most int
	}{
		"nothing":             {"", 16},
		"no base64url":        {"????", 16},
		"no zlib":             {enc([]byte("hello")), 16},
		"an empty list":       {pack(t, nil), 16},
		"too many":            {good, 8},
		"too many by one":     {pack(t, make([]byte, 3)), 16},
		"a bomb":              {pack(t, make([]byte, 64<<20)), 1 << 16},
		"cut short":           {enc(raw[:len(raw)-5]), 16},
		"a wrong checksum":    {enc(wrong), 16},
		"something behind it": {enc(append(bytes.Clone(raw), 0)), 16},
		"a dictionary":        {enc([]byte{0x78, 0xbb, 0, 0, 0, 1}), 16},
	} {
		if l, err := token.ParseStatusList(c.lst, c.most); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: ParseStatusList = %+v, %v, want a refusal", name, l, err)
		}
	}
	if _, err := token.ParseStatusList(good, 16); err != nil {
		t.Errorf("ParseStatusList of as many as are allowed: %v", err)
	}
}

func TestStatusToken(t *testing.T) {
	l := token.NewStatusList(1 << 16)
	for i := 0; i < l.Len(); i += 3 {
		l.Set(i)
	}
	want := &token.StatusToken{Subject: "https://auth.example.com/oauth2/status/3", IssuedAt: noon, Expires: noon.Add(time.Hour), TTL: time.Minute, List: l}
	s, _ := newSigner(t, "EdDSA")
	text, err := s.Sign(token.StatusListType, want.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	j, err := token.ParseStatusJWS(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Verify(s.Key()); err != nil || !j.Is(token.StatusListType) {
		t.Errorf("typ = %q, Verify = %v", j.Type, err)
	}
	got, err := token.ParseStatusToken(j.Payload, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(token.StatusList{})); d != "" {
		t.Errorf("read again (-want +got):\n%s", d)
	}

	// The example of section 5.1 of the draft, and what is wrong with others.
	const example = `{"exp":2291720170,"iat":1686920170,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"},"sub":"https://example.com/statuslists/1","ttl":43200}`
	if got, err := token.ParseStatusToken([]byte(example), 16); err != nil || got.TTL != 12*time.Hour || !got.List.Get(0) || got.List.Get(1) {
		t.Errorf("section 5.1: %+v, %v", got, err)
	}
	for _, c := range [][2]string{
		{`"bits":1`, `"bits":2`}, {`"bits":1,`, ``}, {`"lst":"eNrbuRgAAhcBXQ"`, `"lst":""`}, {`"lst":"eNrbuRgAAhcBXQ"`, `"x":""`},
		{`"sub"`, `"x"`}, {`"iat"`, `"x"`}, {`"ttl":43200`, `"ttl":-1`}, {`"ttl":43200`, `"ttl":9e18`}, {`"ttl":43200`, `"ttl":9000000000000000000`}, {`"exp"`, `"iat":1,"x"`},
	} {
		if got, err := token.ParseStatusToken([]byte(strings.Replace(example, c[0], c[1], 1)), 16); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("with %s for %s: %+v, %v, want a refusal", c[1], c[0], got, err)
		}
	}
}
