package api_test

import (
	"context"
	"encoding/csv"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/figures"
)

// fixedFigures report one part.
type fixedFigures struct {
	api.Figures
	part figures.Part
}

func (fixedFigures) Month(t time.Time) (from, to time.Time) { return t, t.AddDate(0, 1, 0) }

func (f fixedFigures) Report(_ context.Context, from, to time.Time) (*figures.Report, error) {
	return &figures.Report{From: from, To: to, Parts: []figures.Part{f.part}}, nil
}

// No cell of a report is a formula to a spreadsheet.
func TestReportCells(t *testing.T) {
	for in, want := range map[string]string{
		"billing":        "billing",
		" two words ":    " two words ",
		"a=b":            "a=b",
		"":               "",
		"=1+1":           "'=1+1",
		"+1":             "'+1",
		"-1":             "'-1",
		"@SUM(A1)":       "'@SUM(A1)",
		"＝1+1":           "'＝1+1",
		"\t=1+1":         "'\t=1+1",
		"\n=1+1":         "'\n=1+1",
		"\tbilling":      "'\tbilling",
		"\nbilling":      "'\nbilling",
		" =1+1":          "' =1+1",
		"\u00a0 \n=1+1":  "'\u00a0 \n=1+1",
		"\x00\ufeff-1":   "'\x00\ufeff-1",
		"\u00a0 \nwords": "\u00a0 \nwords",
	} {
		d := openDoor(t, func(c *api.Config) {
			c.Figures = fixedFigures{part: figures.Part{Purpose: in, Owner: in, Refusals: []figures.Refusal{{Text: in, N: 1}}}}
		})
		r := d.send("GET", "/v1/report?format=csv", "", "Authorization", "Bearer admin-token")
		lines, err := csv.NewReader(r.Body).ReadAll()
		if err != nil || len(lines) != 3 {
			t.Fatalf("%d: %d lines, %v, want a head and two", r.StatusCode, len(lines), err)
		}
		got := lines[1]
		if reason := len(got) - 2; got[0] != want || got[1] != want || got[reason] != want && in != "" {
			t.Errorf("%q is written as %q, %q and %q, want %q", in, got[0], got[1], got[reason], want)
		}
	}
}
