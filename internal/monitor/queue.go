package monitor

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

const (
	maxQueue = 16384 // findings that are not written yet
	batch    = 512   // that are written together
)

// A queue holds findings that are not written yet, each in its newest version.
type queue struct {
	findings map[findingKey]*conduct.Finding
	order    []findingKey // oldest first
	points   []KeptPoint  // likewise
}

func newQueue() queue { return queue{findings: map[findingKey]*conduct.Finding{}} }

func (q *queue) len() int   { return len(q.findings) }
func (q *queue) full() bool { return len(q.findings) >= maxQueue || len(q.points) >= maxQueue }

// found takes in a finding. See sink.
func (m *Monitor) found(f *conduct.Finding) {
	key := keyOf(f)
	if m.queue.findings[key] == nil {
		m.queue.order = append(m.queue.order, key)
	}
	own := *f // what it points to is never changed in place
	m.queue.findings[key] = &own
}

// flush writes some of the queued findings. The caller holds m.mu.
func (m *Monitor) flush(ctx context.Context) error {
	if ps := m.queue.points[:min(batch, len(m.queue.points))]; len(ps) > 0 {
		if err := m.cfg.Store.PutPoints(ctx, Format, ps); err != nil {
			return err
		}
		m.queue.points = m.queue.points[len(ps):]
	}
	fs := m.queue.first()
	if err := m.cfg.Store.PutFindings(ctx, Format, fs); err != nil {
		return err
	}
	m.queue.written(fs)
	return nil
}

// flushAll writes what is queued when it is called.
func (m *Monitor) flushAll(ctx context.Context) error {
	if err := m.flushPoints(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	left := m.queue.len()
	m.mu.Unlock()
	for left > 0 {
		m.mu.Lock()
		fs := m.queue.first()
		m.mu.Unlock()
		if len(fs) == 0 {
			return nil
		}
		if err := m.cfg.Store.PutFindings(ctx, Format, fs); err != nil {
			return err
		}
		m.mu.Lock()
		m.queue.written(fs)
		m.mu.Unlock()
		left -= len(fs)
	}
	return nil
}

// first returns the oldest findings of the queue.
func (q *queue) first() []conduct.Finding {
	fs := make([]conduct.Finding, 0, min(batch, len(q.order)))
	for _, key := range q.order[:cap(fs)] {
		fs = append(fs, *q.findings[key])
	}
	return fs
}

// written drops findings that were written, unless they have changed since: those go to the end.
func (q *queue) written(fs []conduct.Finding) {
	done := make(map[findingKey]int64, len(fs))
	for i := range fs {
		done[keyOf(&fs[i])] = fs[i].AsOf
	}
	var again []findingKey
	q.order = slices.DeleteFunc(q.order, func(key findingKey) bool {
		asOf, ok := done[key]
		if !ok {
			return false
		}
		if q.findings[key].AsOf > asOf {
			again = append(again, key)
		} else {
			delete(q.findings, key)
		}
		return true
	})
	q.order = append(q.order, again...)
}

// queued returns findings that a query selects, newest first: from the queue as far as it has them, else
// from the table.
func (m *Monitor) queued(ctx context.Context, q Query, limit int) ([]conduct.Finding, error) {
	if q.Seq == 0 {
		q.Seq, q.Nth = 1<<62, 0
	}
	var found []conduct.Finding
	fresh := map[string]bool{}
	m.mu.Lock()
	for key, f := range m.queue.findings {
		fresh[f.ID] = true
		if q.selects(key, f) {
			found = append(found, *f)
		}
	}
	m.mu.Unlock()
	for page, want := q, limit; want > 0; {
		n := min(want+len(fresh), maxPage)
		rows, err := m.cfg.Store.Findings(ctx, page, n)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if !fresh[rows[i].ID] {
				found = append(found, rows[i])
				want--
			}
		}
		if len(rows) < n {
			break
		}
		page.Seq, page.Nth, _ = conduct.ParseID(rows[n-1].ID)
	}
	slices.SortFunc(found, func(a, b conduct.Finding) int {
		x, y := keyOf(&a), keyOf(&b)
		return cmp.Or(cmp.Compare(y.seq, x.seq), cmp.Compare(y.nth, x.nth))
	})
	return found[:min(limit, len(found))], nil
}

// selects reports whether q selects a finding.
func (q *Query) selects(key findingKey, f *conduct.Finding) bool {
	return (q.Agent == "" || q.Agent == f.Agent) &&
		(q.Kind == "" || q.Kind == string(f.Kind) || strings.HasPrefix(string(f.Kind), q.Kind+".")) &&
		f.Severity >= q.Severity && (q.State == "" || q.State == f.State) &&
		(key.seq < q.Seq || key.seq == q.Seq && int(key.nth) < q.Nth)
}
