package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write writes a file of two series, the second of which has a spike in a window, and what a detector
// that knows says of them.
func write(t *testing.T) (file, others string) {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	var lines []string
	for _, name := range []string{"quiet/a.csv", "loud/b.csv"} {
		family, base := filepath.Split(name)
		l := line{Series: name, Category: filepath.Clean(family)}
		var csv strings.Builder
		csv.WriteString("timestamp,value,anomaly_score,label\n")
		for i := range 600 {
			at := time.Date(2026, 1, 1, 0, 5*i, 0, 0, time.UTC).Format(time.DateTime)
			x, s := 10+rng.Float64(), 0
			if name == "loud/b.csv" && i == 450 {
				x, s = 50, 1
			}
			l.Timestamps, l.Values = append(l.Timestamps, at), append(l.Values, x)
			fmt.Fprintf(&csv, "%s,%v,%d,0\n", at, x, s)
		}
		if name == "loud/b.csv" {
			l.Windows = [][2]string{{l.Timestamps[450], l.Timestamps[480] + ".000000"}}
		}
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
		at := filepath.Join(dir, "results", "oracle", family)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "oracle_"+base), []byte(csv.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(dir, "series.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, filepath.Join(dir, "results")
}

func TestRun(t *testing.T) {
	file, others := write(t)
	var first string
	for range 2 {
		var out strings.Builder
		if err := run(&out, file, others, 1, 3); err != nil {
			t.Fatal(err)
		}
		_, tables, _ := strings.Cut(out.String(), "\n") // the first line has what it took
		for _, want := range []string{
			"| detector | standard | reward low FP | reward low FN | crossed | threshold | loud |\n",
			"| series.Detector | 100.0 | 100.0 | 100.0 |",
			"| oracle | 100.0 | 100.0 | 100.0 |",
			"Of 3 drawings of parameters, seed 1",
			"| five folds: parameters and threshold from the other four |",
		} {
			if !strings.Contains(tables, want) {
				t.Errorf("run printed\n%s\nwithout %q", tables, want)
			}
		}
		if first == "" {
			first = tables
		} else if tables != first {
			t.Errorf("run printed\n%s\nand then\n%s", first, tables)
		}
	}
}

func TestRefuses(t *testing.T) {
	file, others := write(t)
	if err := run(&strings.Builder{}, file+"x", "", 1, 0); err == nil {
		t.Error("a missing file of series is accepted")
	}
	if err := os.Remove(filepath.Join(others, "oracle", "loud", "oracle_b.csv")); err != nil {
		t.Fatal(err)
	}
	if err := run(&strings.Builder{}, file, others, 1, 0); err == nil {
		t.Error("a detector that lacks a series is accepted")
	}
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	at := `"timestamps":["2026-01-01 00:00:00","2026-01-01 00:05:00","2026-01-01 00:10:00"]`
	for _, text := range []string{
		`{`,
		`{"series":"s",` + at + `,"values":[1,2]}`,
		`{"series":"s","timestamps":["today"],"values":[1]}`,
		`{"series":"s",` + at + `,"values":[1,2,3],"anomaly_windows":[["2026-01-01 00:01:00","2026-01-01 00:05:00"]]}`,
		`{"series":"s",` + at + `,"values":[1,2,3],"anomaly_windows":[["2026-01-01 00:05:00","2026-01-01 00:05:00"]]}`,
		`{"series":"s",` + at + `,"values":[1,2,3],"anomaly_windows":[["2026-01-01 00:00:00","2026-01-01 00:05:00"],["2026-01-01 00:05:00","2026-01-01 00:10:00"]]}`,
	} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(&strings.Builder{}, bad, "", 1, 0); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
