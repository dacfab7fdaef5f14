// Command nab scores the numeric detector of internal/monitor/series on labelled series, with the standard
// score of the Numenta Anomaly Benchmark (A. Lavin and S. Ahmad, "Evaluating Real-time Anomaly Detection
// Algorithms: the Numenta Anomaly Benchmark", ICMLA 2015), and prints the tables of docs/monitoring.md.
//
//	go run ./bench/nab -series nab.jsonl [-published NAB/results] [-seed 1] [-trials 150]
//
// A line of the file of series is one: series, category, timestamps, values, anomaly_windows. With
// -published, the scores that NAB publishes of other detectors are scored on the same series; whatever is
// there is compared. A detector is run once over each series from its first value on, with the same
// parameters; only the threshold is chosen by the labels, as NAB does for every detector.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

func main() {
	file := flag.String("series", "", "file of labelled series, JSON Lines")
	others := flag.String("published", "", "directory of published detectors' scores, laid out as NAB's results/; none by default")
	seed := flag.Uint64("seed", 1, "seed of the cross-validation")
	trials := flag.Int("trials", 150, "how many parameters cross-validation draws; 0 for none")
	flag.Parse()
	if err := run(os.Stdout, *file, *others, *seed, *trials); err != nil {
		fmt.Fprintln(os.Stderr, "nab:", err)
		os.Exit(1)
	}
}

// run prints the tables.
func run(w io.Writer, file, others string, seed uint64, trials int) error {
	all, err := readSeries(file)
	if err != nil {
		return err
	}
	values, windows := 0, 0
	for _, s := range all {
		values += len(s.Values)
		windows += len(s.Windows)
	}
	tuning := series.DefaultTuning()
	began := time.Now()
	scores := detect(all, &tuning)
	took := time.Since(began)
	fmt.Fprintf(w, "%d series, %d values, %d windows; %.0f ns a value\n\n", len(all), values, windows, float64(took.Nanoseconds())/float64(max(1, values)))

	families := familiesOf(all)
	head(w, families)
	row(w, "series.Detector", all, scores, families, seed)
	if others != "" {
		dirs, err := os.ReadDir(others)
		if err != nil {
			return err
		}
		for _, d := range dirs {
			if !d.IsDir() {
				continue
			}
			scores, err := published(others, d.Name(), all)
			if err != nil {
				return fmt.Errorf("reading what %s said: %w", d.Name(), err)
			}
			row(w, d.Name(), all, scores, families, seed)
		}
	}
	c := NewCorpus(all, scores)
	best, _ := c.Best(Profiles[0])
	fmt.Fprintln(w)
	for _, threshold := range []float64{best, series.DetectorAlarm} {
		found, vain := c.Count(threshold)
		fmt.Fprintf(w, "From %.3f on, series.Detector finds %d of %d windows, and %d times something in %d values that are scored where there is nothing.\n",
			threshold, found, windows, vain, len(c.points))
	}
	if trials > 0 {
		fmt.Fprintln(w)
		crossValidate(w, all, seed, trials)
	}
	return nil
}

// detect runs a Detector over each series.
func detect(all []*Series, t *series.Tuning) [][]float64 {
	out := make([][]float64, len(all))
	for i, s := range all {
		var d series.Detector
		out[i] = make([]float64, len(s.Values))
		for j, x := range s.Values {
			out[i][j] = d.AddTuned(t, time.Unix(s.Times[j], 0), x)
		}
	}
	return out
}

// familiesOf returns the families in which there is something to find, in order of the alphabet.
func familiesOf(all []*Series) []string {
	var out []string
	for _, s := range all {
		if len(s.Windows) > 0 && !slices.Contains(out, s.Family) {
			out = append(out, s.Family)
		}
	}
	slices.Sort(out)
	return out
}

func head(w io.Writer, families []string) {
	fmt.Fprint(w, "| detector ")
	for _, p := range Profiles {
		fmt.Fprintf(w, "| %s ", p.Name)
	}
	fmt.Fprintf(w, "| crossed | threshold | %s |\n|%s\n", strings.Join(families, " | "), strings.Repeat(" --- |", 3+len(Profiles)+len(families)))
}

// thresholdPartitions is how often series are divided anew for the column "crossed".
const thresholdPartitions = 5

// row prints one detector: each profile with its own best threshold, as NAB does; crossed, the standard
// profile with the threshold of each fifth of the series chosen by the others; and each family by the
// standard profile with the threshold that is best for all series, which is printed before them.
func row(w io.Writer, name string, all []*Series, scores [][]float64, families []string, seed uint64) {
	c := NewCorpus(all, scores)
	fmt.Fprintf(w, "| %s ", name)
	for _, p := range Profiles {
		_, raw := c.Best(p)
		fmt.Fprintf(w, "| %.1f ", c.Normal(p, raw))
	}
	var crossed float64
	rng := rand.New(rand.NewPCG(seed, 2))
	for range thresholdPartitions {
		crossed += foldsOfThreshold(all, scores, rng.Perm(len(all)), 5, Profiles[0]) / thresholdPartitions
	}
	threshold, _ := c.Best(Profiles[0])
	fmt.Fprintf(w, "| %.1f | %.3f ", crossed, threshold)
	for _, f := range families {
		var of []*Series
		var said [][]float64
		for i, s := range all {
			if s.Family == f {
				of, said = append(of, s), append(said, scores[i])
			}
		}
		c := NewCorpus(of, said)
		fmt.Fprintf(w, "| %.0f ", c.Normal(Profiles[0], c.Raw(Profiles[0], threshold)))
	}
	fmt.Fprintln(w, "|")
}
