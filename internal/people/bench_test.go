package people_test

import (
	"fmt"
	"testing"

	"github.com/safeconduct/safeconduct/internal/people"
)

// full returns a registry of as many persons, each with a passkey and a session, and the tokens of these.
func full(b *testing.B, n int) (*people.Registry, []string) {
	b.Helper()
	r := newTape().registry(b, &shelf{rows: map[string]people.Account{}})
	tokens := make([]string, n)
	for i := range n {
		id := fmt.Sprintf("person-%d", i)
		subject := people.Profile{ID: id, Name: id, Issuer: "https://idp.example", Subject: id}
		if _, err := r.Put(b.Context(), admin, why, subject, 0); err != nil {
			b.Fatal(err)
		}
		var err error
		if tokens[i], _, err = r.SignIn(b.Context(), people.Login{Person: id, Challenge: id, Issuer: subject.Issuer, Subject: id,
			Claims: map[string][]string{"groups": {"finance", "ops"}}}); err != nil {
			b.Fatal(err)
		}
	}
	return r, tokens
}

// A session is looked up with every request of a page.
func BenchmarkAuthenticate(b *testing.B) {
	r, tokens := full(b, people.MaxPeople)
	for i := 0; b.Loop(); i++ {
		if _, err := r.Authenticate(tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}
