package api

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/internal/figures"
)

type reportQuery struct {
	Month  string    `query:"month" json:"-" doc:"a month in the organisation's zone, such as 2026-11; not together with from and to"`
	From   time.Time `query:"from" json:"-" doc:"days that begin at or after this moment; the begin of this month in the organisation's zone, if left out"`
	To     time.Time `query:"to" json:"-" doc:"and before this one; the end of the month, if left out. At most 370 days"`
	Format string    `query:"format" json:"-" doc:"json, or csv: one line for each purpose and owner"`
}

// reportRoute is the route of the report.
func (s *Server) reportRoute() route {
	rt := route{
		method: "GET", path: "/v1/report", roles: readers, summary: "Report what agents did on whose behalf, what was refused and why, how often persons were asked, and what it cost in time",
		doc: operationDoc{params: parameters(reflect.TypeFor[reportQuery]()), out: reflect.TypeFor[figures.Report]()},
	}
	rt.serve = func(w http.ResponseWriter, r *http.Request, c *call) error {
		var in reportQuery
		if err := decode(r, c, rt.doc.params, &in); err != nil {
			return err
		}
		if in.Format != "" && in.Format != "json" && in.Format != "csv" {
			return invalid("unknown format %.64q: json or csv", in.Format)
		}
		if s.Figures == nil {
			return errNoFigures
		}
		at := s.Now()
		if in.Month != "" {
			m, err := time.Parse("2006-01", in.Month)
			if err != nil || !in.From.IsZero() || !in.To.IsZero() {
				return invalid("month is such as 2026-11, and does not go with from and to")
			}
			at = m.AddDate(0, 0, 14)
		}
		if !in.From.IsZero() {
			at = in.From
		}
		from, to := s.Figures.Month(at)
		if !in.From.IsZero() {
			from = in.From
		}
		if !in.To.IsZero() {
			to = in.To
		}
		rep, err := s.Figures.Report(r.Context(), from, to)
		if err != nil {
			return err
		}
		if in.Format == "csv" {
			body := reportCSV(rep)
			h := w.Header()
			h.Set("Content-Type", "text/csv; charset=utf-8")
			h.Set("Content-Disposition", `attachment; filename="report-`+rep.From.Format(time.DateOnly)+`.csv"`)
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(body)
			return nil
		}
		body, err := json.Marshal(rep)
		if err != nil {
			return err
		}
		writeBody(w, http.StatusOK, body)
		return nil
	}
	return rt
}

// reportCSV writes a report as RFC 4180 has it.
func reportCSV(rep *figures.Report) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	write := func(cells ...string) { _ = w.Write(cells) } // into memory
	write("purpose", "owner", "from", "to", "decisions", "allowed", "allowed_after_approval", "person_asked_for", "step_up", "refused",
		"agents", "persons_on_behalf", "asked", "approved", "denied", "expired", "withdrawn", "answer_p50_seconds", "answer_p90_seconds", "waited_seconds",
		"tasks_undisturbed", "tasks_went_on", "tasks_stopped", "decision_p50_us", "decision_p99_us", "reported_right", "reported_wrong", "reported_harmful", "reported_reverted",
		"top_reason", "top_reason_count")
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	for i, p := range append(rep.Parts[:len(rep.Parts):len(rep.Parts)], rep.All) {
		purpose, owner := p.Purpose, p.Owner
		switch {
		case i == len(rep.Parts):
			purpose, owner = "(all)", "(all)"
		case p.Others:
			purpose, owner = "(others)", "(others)"
		}
		why, often := "", int64(0)
		if len(p.Refusals) > 0 {
			if why, often = p.Refusals[0].Text, p.Refusals[0].N; why == "" {
				why = p.Refusals[0].Code
			}
		}
		write(plainCell(purpose), plainCell(owner), rep.From.Format(time.RFC3339), rep.To.Format(time.RFC3339), n(p.Decisions), n(p.Allow), n(p.Lifted), n(p.Ask), n(p.StepUp), n(p.Deny),
			strconv.Itoa(p.AgentsN), strconv.Itoa(p.PersonsN), n(p.Asks.Asked), n(p.Asks.Approved), n(p.Asks.Denied), n(p.Asks.Expired), n(p.Asks.Withdrawn),
			n(p.Waits.P50), n(p.Waits.P90), n(p.Waits.Sum), n(p.Tasks.Undisturbed), n(p.Tasks.WentOn), n(p.Tasks.Stopped), n(p.Latency.P50), n(p.Latency.P99),
			n(p.Results.Right), n(p.Results.Wrong), n(p.Results.Harmful), n(p.Results.Reverted), plainCell(why), n(often))
	}
	w.Flush()
	return b.Bytes()
}

// plainCell keeps spreadsheets from taking a text for a formula. Some pass over what is blank at its beginning, and take the wide
// forms of the signs for them.
func plainCell(s string) string {
	rest := strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\ufeff' })
	if strings.IndexAny(rest, "=+-@＝＋－＠") == 0 || strings.IndexAny(s, "\t\r\n") == 0 {
		return "'" + s
	}
	return s
}
