package token

import "github.com/go-jose/go-jose/v4"

// Open is Parse for a payload that is anything, as RFC 8037 has one.
func Open(text string) (*JWS, error) { return open(text, MaxToken) }

// SignBare signs with nothing but alg in the header.
func SignBare(s *Signer, payload []byte) (string, error) {
	return s.compact(new(jose.SignerOptions), payload)
}

// Target is how URLs are compared.
func Target(url string) (string, error) { return target(url) }
