package monitor_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// Replicas on different processors conclude the same only if no compiler joins a product and a sum into one
// operation that rounds once, which the language allows also across statements. The compiler for arm64 does it
// wherever it may: what it makes of these packages has no such operation.
func TestProductsAreRoundedBeforeTheyAreAdded(t *testing.T) {
	if testing.Short() {
		return // compiles for another processor
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", "./...", "../conduct")
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	if !regexp.MustCompile(`\bFMUL[SD]\b`).Match(out) {
		t.Fatal("the compiler does not show what it makes")
	}
	for _, line := range regexp.MustCompile(`(?m)^.*\bFN?M(ADD|SUB)[SD]\b.*$`).FindAll(out, -1) {
		t.Errorf("a product and a sum are one operation; write float64(x*y) + z: %s", line)
	}
}
