package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// RFC 7638, section 3.1.
const (
	rfc7638Key = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	rfc7638ID  = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

// RFC 8037, appendix A.
const (
	rfc8037D   = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfc8037Key = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037ID  = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	rfc8037JWS = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

// RFC 7515, appendices A.2 and A.3.
const (
	rfc7515Payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	rfc7515RSAKey  = `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`
	rfc7515RSA     = "eyJhbGciOiJSUzI1NiJ9." + rfc7515Payload + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	rfc7515ECKey   = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	rfc7515EC      = "eyJhbGciOiJFUzI1NiJ9." + rfc7515Payload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	rfc7515HMAC    = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + rfc7515Payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfc7515None    = "eyJhbGciOiJub25lIn0." + rfc7515Payload + "."
)

// RFC 9449, sections 4.1 (the same as in section 5) and 7.1.
const (
	rfc9449Header   = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
	rfc9449Request  = rfc9449Header + ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	rfc9449Resource = rfc9449Header + ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	rfc9449Token    = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfc9449Hash     = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
	rfc9449ID       = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" // jkt of section 6.1
)

func mustKey(t testing.TB, jwk string) *token.Key {
	t.Helper()
	k, err := token.ParseKey([]byte(jwk))
	if err != nil {
		t.Fatalf("ParseKey(%s): %v", jwk, err)
	}
	return k
}

func TestThumbprints(t *testing.T) {
	for _, c := range []struct{ name, jwk, want string }{
		{"RFC 7638, 3.1", rfc7638Key, rfc7638ID},
		{"RFC 8037, A.3", rfc8037Key, rfc8037ID},
	} {
		if got := mustKey(t, c.jwk).ID; got != c.want {
			t.Errorf("%s: thumbprint = %s, want %s", c.name, got, c.want)
		}
	}
	if got := mustKey(t, rfc7638Key).Name; got != "2011-04-29" {
		t.Errorf("name = %q, want the kid of RFC 7638, 3.1", got)
	}
}

func TestRFC8037(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString(rfc8037D)
	if err != nil {
		t.Fatal(err)
	}
	s, err := token.NewSigner(ed25519.NewKeyFromSeed(seed)) // A.1 and A.2: the public key of the private one
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Key().ID; got != rfc8037ID {
		t.Errorf("A.2: thumbprint = %s, want %s", got, rfc8037ID)
	}
	if got, err := token.SignBare(s, []byte("Example of Ed25519 signing")); err != nil || got != rfc8037JWS {
		t.Errorf("A.4: signed %s, %v, want %s", got, err, rfc8037JWS)
	}
	j, err := token.Open(rfc8037JWS)
	if err != nil {
		t.Fatalf("A.5: %v", err)
	}
	if err := j.Verify(mustKey(t, rfc8037Key)); err != nil {
		t.Errorf("A.5: Verify = %v", err)
	}
	if _, err := token.Parse(rfc8037JWS); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("A.5: Parse = %v, want that the payload is no JSON object", err)
	}
}

func TestRFC7515(t *testing.T) {
	rsa, ec, ed := mustKey(t, rfc7515RSAKey), mustKey(t, rfc7515ECKey), mustKey(t, rfc8037Key)
	for _, c := range []struct {
		name, text string
		good       *token.Key
		others     []*token.Key
	}{
		{"A.2", rfc7515RSA, rsa, []*token.Key{ec, ed, mustKey(t, rfc7638Key), nil}},
		{"A.3", rfc7515EC, ec, []*token.Key{rsa, ed, nil}},
	} {
		j, err := token.Parse(c.text)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := j.Verify(c.good); err != nil {
			t.Errorf("%s: Verify = %v", c.name, err)
		}
		for _, k := range c.others {
			if err := j.Verify(k); !errors.Is(err, authz.ErrUnauthenticated) {
				t.Errorf("%s: Verify by another key (%+v) = %v, want a refusal", c.name, k, err)
			}
		}
	}
	for name, text := range map[string]string{"A.1": rfc7515HMAC, "A.5": rfc7515None, "A.5 with a signature": rfc7515None + "AA"} {
		if _, err := token.Parse(text); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: Parse = %v, want a refusal", name, err)
		}
	}
}

func TestRFC9449(t *testing.T) {
	p, err := token.ParseProof(rfc9449Request)
	if err != nil {
		t.Fatalf("4.1: %v", err)
	}
	if p.ID != "-BwC3ESc6acc2lTc" || p.Hash != "" || p.Key.ID != rfc9449ID {
		t.Errorf("4.1: proof = %+v by %s", p, p.Key.ID)
	}
	if err := p.Check("POST", "https://server.example.com/token", "", time.Unix(1562262618, 0), 5*time.Second); err != nil {
		t.Errorf("5: Check = %v", err)
	}
	if p, err = token.ParseProof(rfc9449Resource); err != nil {
		t.Fatalf("7.1: %v", err)
	}
	if p.ID != "e1j3V_bKic8-LAEB" || p.Key.ID != rfc9449ID {
		t.Errorf("7.1: proof = %+v by %s", p, p.Key.ID)
	}
	if got := token.AccessTokenHash(rfc9449Token); got != rfc9449Hash || p.Hash != got {
		t.Errorf("7.1: ath = %s, hash = %s, want %s", p.Hash, got, rfc9449Hash)
	}
	if err := p.Check("GET", "https://resource.example.org/protectedresource", rfc9449Token, time.Unix(1562262618, 0), 0); err != nil {
		t.Errorf("7.1: Check = %v", err)
	}
}

// TestStatusListVectors has the list of section 4.1 and the long one of appendix C.1.
func TestStatusListVectors(t *testing.T) {
	short := []bool{true, false, false, true, true, true, false, true, true, true, false, false, false, true, false, true}
	l, err := token.ParseStatusList("eNrbuRgAAhcBXQ", 16)
	if err != nil {
		t.Fatalf("4.1: %v", err)
	}
	made := token.NewStatusList(16)
	for i, want := range short {
		if got := l.Get(i); got != want {
			t.Errorf("4.1: status %d = %t, want %t", i, got, want)
		}
		if want {
			made.Set(i)
		}
	}
	if again, err := token.ParseStatusList(made.Encode(), 16); err != nil || !slices.Equal(statuses(again), short) {
		t.Errorf("4.1: what we encode is read as %v, %v", again, err)
	}

	long, err := hex.DecodeString(strings.Join(strings.Fields(`
		78daeddc010dc0200c0041a88249400ad2903e0f4b
		ba00bd93f002beb7a2a2010000a91e09000000000000000000000000000000807296
		04000000000000000000000000000000000000000000000000000000000000000000
		000000000000005c6f4800000000000000fc2c240000000000000000000000be1b12
		000000000000000000ecaa4b000000000000000000000000000000009b0b09000000
		00000000000038de9400000000000000002a30cc010000000080642f0bd8011b`), ""))
	if err != nil {
		t.Fatal(err)
	}
	revoked := []int{0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345}
	if l, err = token.ParseStatusList(base64.RawURLEncoding.EncodeToString(long), 1<<20); err != nil {
		t.Fatalf("C.1: %v", err)
	}
	var got []int
	for i, s := range statuses(l) {
		if s {
			got = append(got, i)
		}
	}
	if !slices.Equal(got, revoked) {
		t.Errorf("C.1: revoked = %v, want %v", got, revoked)
	}
}

func statuses(l *token.StatusList) []bool {
	list := make([]bool, l.Len())
	for i := range list {
		list[i] = l.Get(i)
	}
	return list
}

// TestRFC8693 reads the chain of actors of section 4.1 and who may act of section 4.4.
func TestRFC8693(t *testing.T) {
	const chain = `{"sub":"https://service16.example.com","act":{"sub":"https://service77.example.com"}}`
	const may = `{"sub":"admin@example.com"}`
	p, err := token.ParsePassport([]byte(`{"aud":"https://service26.example.com","iss":"https://issuer.example.com","exp":1443904100,"nbf":1443904000,"sub":"user@example.com",
		"act":` + chain + `,"may_act":` + may + `,"client_id":"https://service16.example.com","jti":"a","iat":1443904000}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Actor.Depth() != 2 || p.Actor.Subject != "https://service16.example.com" || p.Actor.Actor.Subject != "https://service77.example.com" {
		t.Errorf("act = %+v", p.Actor)
	}
	if p.MayAct.Subject != "admin@example.com" || p.MayAct.Depth() != 1 {
		t.Errorf("may_act = %+v", p.MayAct)
	}
}
