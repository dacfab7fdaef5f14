package client_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program that would take something else for permission does not compile.
func TestPermitIsAType(t *testing.T) {
	const program = `package main

import (
	"context"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

var (
	decision authz.Decision
	answer   *client.Answer
	answers  []*client.Answer
	allowed  bool
	permit   *client.Permit
	_, _, _, _, _ = decision, answer, answers, allowed, permit
)

func act(ctx context.Context, p *client.Permit) { _, _ = client.Run(ctx, p, func(context.Context) (int, error) { return 0, nil }) }

func main() { %s }
`
	build := func(statement string) (string, error) { return compiles(t, fmt.Sprintf(program, statement)) }
	if out, err := build(`act(context.Background(), permit)`); err != nil {
		t.Fatalf("a program with a permit: %v\n%s", err, out)
	}
	for statement, want := range map[string]string{
		`act(context.Background(), decision)`:                               "cannot use decision",
		`act(context.Background(), answer)`:                                 "cannot use answer",
		`act(context.Background(), answers[0])`:                             "cannot use answers[0]",
		`act(context.Background(), allowed)`:                                "cannot use allowed",
		`act(context.Background(), (*client.Permit)(answer))`:               "cannot convert answer",
		`act(context.Background(), &client.Permit{answers: answers})`:       "unexported field answers",
		`permit.begun = permit.begun`:                                       "permit.begun undefined",
		`_ = client.Act{Do: nil}; _, _ = decision.Do(context.Background())`: "decision.Do undefined",
	} {
		if out, err := build(statement); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s\nwant %q", statement, err, out, want)
		}
	}
}

// The program of the documentation compiles.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/sdk-go.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```go\npackage main")
	program, _, ended := strings.Cut(rest, "\n```\n")
	if !ok || !ended {
		t.Fatal("docs/sdk-go.md has no program")
	}
	if out, err := compiles(t, "package main"+program+"\n"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// compiles compiles a program as if it stood in this module.
func compiles(t *testing.T, program string) (output string, err error) {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, "program", "main.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, "-overlay", overlay, "./program").CombinedOutput()
	return string(out), err
}
