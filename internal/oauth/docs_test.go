package oauth_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/oauth"
)

// The page about passports names every endpoint and every error that there is, and its example of
// authorization_details is one.
func TestPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/passports.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, path := range newOffice(t, 1, nil).replicas[0].server.Paths() {
		if !strings.Contains(page, strings.TrimSuffix(path, "{n}")) && !strings.HasPrefix(path, "/.well-known/o") {
			t.Errorf("the page does not name %s", path)
		}
	}
	for _, code := range append(oauth.TokenErrors, oauth.PersonErrors...) {
		if !strings.Contains(page, "`"+code+"`") {
			t.Errorf("the page does not name the error %s", code)
		}
	}
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(page, -1)
	i := slices.IndexFunc(examples, func(m []string) bool { return strings.HasPrefix(m[1], "[") })
	if i < 0 {
		t.Fatal("the page has no example of authorization_details")
	}
	if _, err := oauth.ParseDetails(examples[i][1]); err != nil {
		t.Errorf("the example: %v", err)
	}
}
