// Command testcount reads the output of go test -json and tells it briefly: the output of what
// failed, then the line of each package as go test prints it, then "N passed, N failed".
//
// A test with subtests counts as itself and as each of them. A package that fails without a failed
// test (it did not build, or its process died) counts as one failure, and so does a test that was
// still running when its package ended. The exit status is 1 if anything failed or nothing passed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// An event is one line of go test -json; see "go doc test2json".
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	FailedBuild string
}

func main() {
	c, err := count(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
	c.report(os.Stdout)
	if c.failed > 0 || c.passed == 0 {
		os.Exit(1)
	}
}

// counts is what was read.
type counts struct {
	passed, failed, skipped int
	failures                []string // output of what failed, in order
	closing                 []string // one line a package
}

func count(r io.Reader) (*counts, error) {
	c := &counts{}
	type key struct{ pkg, test string }
	output := map[key][]string{} // of tests and packages
	build := map[string]string{} // of builds
	running := map[key]bool{}    // tests without an outcome
	badTests := map[string]int{} // failed tests of a package
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			// What is not JSON is the go command's own complaint.
			c.failures = append(c.failures, s.Text()+"\n")
			c.failed++
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "run":
			running[k] = true
		case "output":
			output[k] = append(output[k], e.Output)
		case "build-output":
			build[e.ImportPath] += e.Output
		case "pass", "skip", "fail":
			delete(running, k)
			if e.Test != "" {
				switch e.Action {
				case "pass":
					c.passed++
				case "skip":
					c.skipped++
				case "fail":
					c.failed++
					badTests[e.Package]++
					c.failures = append(c.failures, strings.Join(output[k], ""))
				}
				delete(output, k)
				continue
			}
			if e.Action == "fail" {
				for t := range running {
					if t.pkg == e.Package {
						c.failed++
						badTests[e.Package]++
						c.failures = append(c.failures, strings.Join(output[t], ""))
						delete(running, t)
					}
				}
				if badTests[e.Package] == 0 {
					c.failed++
					c.failures = append(c.failures, build[e.FailedBuild]+strings.Join(output[k], ""))
				}
			}
			if line := closing(output[k]); line != "" {
				c.closing = append(c.closing, line)
			}
		}
	}
	for t := range running {
		c.failed++
		c.failures = append(c.failures, fmt.Sprintf("%s %s: the output ends before it does\n", t.pkg, t.test))
	}
	return c, s.Err()
}

// closing returns the line by which go test closes a package, unless it has no tests.
func closing(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "FAIL\t") {
			return line
		}
	}
	return ""
}

func (c *counts) report(w io.Writer) {
	for _, f := range c.failures {
		fmt.Fprint(w, f)
	}
	slices.Sort(c.closing)
	for _, line := range c.closing {
		fmt.Fprintln(w, line)
	}
	if c.skipped > 0 {
		fmt.Fprintf(w, "%d skipped\n", c.skipped)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", c.passed, c.failed)
}
