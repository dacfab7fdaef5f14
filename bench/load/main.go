// Command load asks a decision service, from a number of connections that stay open, the mix of
// bench/fixture, and tells how many answers a second it got, how long they took, and how much
// processor time the service spent on each.
//
//	load -write DIR                              writes the fixture's documents and ends
//	load -opa URL,PID -ours URL,PID -token FILE  measures both, by turns
//
// Before it measures, it asks every case once and compares the effect with the one the fixture says:
// what answers wrongly is not measured. While one side is measured the other is idle. Processor
// time is that of the service's process as the kernel counts it, so that what the generator itself
// uses of a small machine stays out of that figure; it does not stay out of the rate.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/safeconduct/safeconduct/bench/fixture"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	var (
		write    = flag.String("write", "", "write the fixture's documents into this directory and end")
		opa      = flag.String("opa", "", "URL,PID of OPA")
		ours     = flag.String("ours", "", "URL,PID of Safeconduct")
		token    = flag.String("token", "", "file that holds the enforcement point's bearer token")
		conns    = flag.Int("conns", 16, "connections")
		rounds   = flag.Int("rounds", 4, "turns of each side")
		duration = flag.Duration("duration", 8*time.Second, "of a turn")
		warm     = flag.Duration("warm", 3*time.Second, "load before a turn that is not measured, the first time")
		cases    = flag.Int("cases", 4000, "different requests")
	)
	flag.Parse()
	if *write != "" {
		return documents(*write)
	}
	mix := fixture.Mix(*cases)
	var sides []*side
	if *opa != "" {
		s, err := newSide("opa", *opa, "/v1/data/organisation/answer", "", mix, opaBody, opaEffect)
		if err != nil {
			return err
		}
		sides = append(sides, s)
	}
	if *ours != "" {
		t, err := os.ReadFile(*token)
		if err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
		s, err := newSide("safeconduct", *ours, "/access/v1/evaluation", strings.TrimSpace(string(t)), mix, same, authzenEffect)
		if err != nil {
			return err
		}
		sides = append(sides, s)
	}
	if len(sides) == 0 {
		return errors.New("nothing to measure: give -opa, -ours or both")
	}
	for _, s := range sides {
		if err := s.check(mix); err != nil {
			return fmt.Errorf("checking %s: %w", s.name, err)
		}
		if _, err := s.measure(*conns, *warm); err != nil {
			return fmt.Errorf("warming up %s: %w", s.name, err)
		}
	}
	for range *rounds {
		for _, s := range sides {
			if err := s.turn(*conns, *duration); err != nil {
				return fmt.Errorf("measuring %s: %w", s.name, err)
			}
		}
	}
	report(sides, *conns)
	return nil
}

// documents writes what the two services are loaded with.
func documents(dir string) error {
	for name, text := range map[string][]byte{
		"organisation.cedarschema": []byte(fixture.Schema),
		"organisation.cedar":       []byte(fixture.Policies),
		"organisation.rego":        []byte(fixture.Rego),
		"catalog.json":             fixture.Catalog(),
		"agents.json":              fixture.AgentsDocument(),
		"data.json":                fixture.Data(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func report(sides []*side, conns int) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d connections\tdecisions/s\tmedian turn\tp50\tp99\tCPU a decision\t\n", conns)
	for _, s := range sides {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%v\t%v\t%.1f µs\t\n", s.name, s.rate(), s.medianRate(),
			s.quantile(0.50).Round(time.Microsecond), s.quantile(0.99).Round(time.Microsecond), s.cpu())
	}
	w.Flush()
	if len(sides) == 2 {
		fmt.Printf("\n%s answers %.2f times the decisions/s of %s, at %.2f times the CPU a decision\n",
			sides[1].name, sides[1].rate()/sides[0].rate(), sides[0].name, sides[1].cpu()/sides[0].cpu())
	}
}
