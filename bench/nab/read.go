package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A line is a series as a file of series has it.
type line struct {
	Series     string      `json:"series"`
	Category   string      `json:"category"`
	Timestamps []string    `json:"timestamps"`
	Values     []float64   `json:"values"`
	Windows    [][2]string `json:"anomaly_windows"`
}

// readSeries reads a file of series: one JSON object a line.
func readSeries(name string) ([]*Series, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []*Series
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var l line
		if err := d.Decode(&l); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		s, err := l.parse()
		if err != nil {
			return nil, fmt.Errorf("reading series %q: %w", l.Series, err)
		}
		all = append(all, s)
	}
}

// parse turns times into numbers and the limits of windows into indexes.
func (l line) parse() (*Series, error) {
	if len(l.Timestamps) != len(l.Values) {
		return nil, fmt.Errorf("%d times, %d values", len(l.Timestamps), len(l.Values))
	}
	s := &Series{Name: l.Series, Family: l.Category, Values: l.Values}
	for _, t := range l.Timestamps {
		at, err := time.Parse(time.DateTime, t)
		if err != nil {
			return nil, err
		}
		s.Times = append(s.Times, at.Unix())
	}
	for _, w := range l.Windows {
		var limits [2]int
		for i, t := range w {
			at, err := time.Parse("2006-01-02 15:04:05", t) // accepts fractions of a second
			if err != nil {
				return nil, err
			}
			if limits[i] = slices.Index(s.Times, at.Unix()); limits[i] < 0 {
				return nil, fmt.Errorf("the limit %s of a window is not among the times", t)
			}
		}
		if limits[1] <= limits[0] || len(s.Windows) > 0 && limits[0] <= s.Windows[len(s.Windows)-1][1] {
			return nil, fmt.Errorf("the window from %s is empty, or not after the one before", w[0])
		}
		s.Windows = append(s.Windows, limits)
	}
	return s, nil
}

// published reads what a published detector said of the series, from a directory laid out as NAB's
// results/ is: DETECTOR/FAMILY/DETECTOR_NAME.csv with a column anomaly_score.
func published(dir, detector string, series []*Series) ([][]float64, error) {
	out := make([][]float64, len(series))
	for i, s := range series {
		family, name := filepath.Split(filepath.FromSlash(s.Name))
		f, err := os.Open(filepath.Join(dir, detector, family, detector+"_"+name))
		if err != nil {
			return nil, err
		}
		out[i], err = column(f, "anomaly_score")
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		if len(out[i]) != len(s.Values) {
			return nil, fmt.Errorf("%s has %d rows, the series %d", f.Name(), len(out[i]), len(s.Values))
		}
	}
	return out, nil
}

// column reads one column of numbers of a CSV file with a head.
func column(r io.Reader, name string) ([]float64, error) {
	c := csv.NewReader(r)
	head, err := c.Read()
	if err != nil {
		return nil, err
	}
	at := slices.Index(head, name)
	if at < 0 {
		return nil, fmt.Errorf("there is no column %q", name)
	}
	var out []float64
	for {
		row, err := c.Read()
		if err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		x, err := strconv.ParseFloat(row[at], 64)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
}
