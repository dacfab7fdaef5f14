package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The committed selection is made again, byte for byte, if the source is at hand.
func TestReproducible(t *testing.T) {
	from := os.Getenv("SAFECONDUCT_TEST_TRACES")
	if from == "" {
		t.Skip("SAFECONDUCT_TEST_TRACES does not name the directory of the unpacked traces")
	}
	dir := t.TempDir()
	if err := run(from, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"traces.jsonl.zst", "tools.jsonl"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what is committed", name)
		}
	}
}

// The models take turns, each in the order of its hashes, whatever the order of the source.
func TestInTurn(t *testing.T) {
	var a, b []*trace
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		a = append(a, &trace{Trace: "a" + id, Model: "a"})
	}
	b = append(b, &trace{Trace: "b1", Model: "b"})
	first := ids(inTurn(map[string][]*trace{"a": a, "b": b}, 4))
	reversed := []*trace{a[4], a[3], a[2], a[1], a[0]}
	second := ids(inTurn(map[string][]*trace{"b": b, "a": reversed}, 4))
	if first != second {
		t.Errorf("inTurn = %s, and %s from another order", first, second)
	}
	if first[0] != 'a' || first[2:4] != "b1" || len(first) != 8 {
		t.Errorf("inTurn = %s, want one of a, b1, and two more of a", first)
	}
	if got := ids(inTurn(map[string][]*trace{"b": b}, 4)); got != "b1" {
		t.Errorf("inTurn = %s, want all there are", got)
	}
}

func ids(ts []*trace) (s string) {
	for _, t := range ts {
		s += t.Trace
	}
	return s
}
