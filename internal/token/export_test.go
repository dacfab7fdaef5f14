package token

import "github.com/go-jose/go-jose/v4"

// Open is Parse for a payload that is anything, as RFC 8037 has one.
func Open(text string) (*JWS, error) { return open(text, MaxToken) }

// SignBare signs with nothing but alg in the header.
func SignBare(s *Signer, payload []byte) (string, error) {
	signer, err := jose.NewSigner(s.in, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Target is how URLs are compared.
func Target(url string) (string, error) { return target(url) }
