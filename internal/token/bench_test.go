package token_test

import (
	"testing"

	"github.com/safeconduct/safeconduct/internal/token"
)

func BenchmarkAppend(b *testing.B) {
	p, buf := typical(), make([]byte, 0, 2<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = p.Append(buf[:0])
	}
}

func BenchmarkParsePassport(b *testing.B) {
	payload := typical().Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.ParsePassport(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	payload := typical().Append(nil)
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(b, alg)
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sign(token.PassportType, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	payload := typical().Append(nil)
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(b, alg)
		text, err := s.Sign(token.PassportType, payload)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				j, err := token.Parse(text)
				if err != nil {
					b.Fatal(err)
				}
				if err := j.Verify(s.Key()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseProof(b *testing.B) {
	for _, alg := range []string{"EdDSA", "ES256"} {
		s, _ := newSigner(b, alg)
		text, err := token.SignProof(s, token.Proof{ID: "q3nWvXkHk9s2cLrT8yB1fA", Method: "POST", URL: "https://safeconduct.example.com/oauth2/token", IssuedAt: noon}, "")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := token.ParseProof(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSignProof(b *testing.B) {
	s, _ := newSigner(b, "EdDSA")
	p := token.Proof{ID: "q3nWvXkHk9s2cLrT8yB1fA", Method: "POST", URL: "https://safeconduct.example.com/oauth2/token", IssuedAt: noon}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.SignProof(s, p, rfc9449Token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatusList(b *testing.B) {
	l := token.NewStatusList(1 << 16)
	for i := 0; i < l.Len(); i += 97 {
		l.Set(i)
	}
	b.Run("Encode", func(b *testing.B) {
		for b.Loop() {
			l.Encode()
		}
	})
	lst := l.Encode()
	b.Run("Parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := token.ParseStatusList(lst, 1<<16); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBindingHash(b *testing.B) {
	r := readBound(b, boundAct)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.hash([]string{"tenant"}); err != nil {
			b.Fatal(err)
		}
	}
}
