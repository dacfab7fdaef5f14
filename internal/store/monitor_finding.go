package store

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

const findingColumns = `(seq, nth, format, agent, kind, severity, state, as_of, record)`

// newerFinding lets a row in that is newer than the one before it.
const newerFinding = `
	on conflict (seq, nth) do update
	set format = excluded.format, agent = excluded.agent, kind = excluded.kind, severity = excluded.severity,
		state = excluded.state, as_of = excluded.as_of, record = excluded.record
	where finding.format < excluded.format
	or finding.format = excluded.format and finding.as_of < excluded.as_of`

var (
	putFindings = `insert into finding ` + findingColumns + ` values ` + tuples(monitorRows, 9) + newerFinding
	putFinding  = `insert into finding ` + findingColumns + ` values ` + tuples(1, 9) + newerFinding
)

// PutFindings keeps findings, each of which has another id, unless newer versions (by format, and then by
// AsOf) are kept already.
func (db *DB) PutFindings(ctx context.Context, format int64, fs []conduct.Finding) error {
	records := make([]string, len(fs))
	keys := make([][2]int64, len(fs))
	for i := range fs {
		seq, nth, ok := conduct.ParseID(fs[i].ID)
		record, err := json.Marshal(&fs[i])
		if err != nil || !ok {
			return fmt.Errorf("encoding finding %q: %w", fs[i].ID, err)
		}
		keys[i], records[i] = [2]int64{seq, int64(nth)}, string(record)
	}
	err := db.inChunks(ctx, len(fs), putFindings, putFinding, func(args []any, i int) []any {
		f := &fs[i]
		return append(args, keys[i][0], keys[i][1], format, string(f.Agent), string(f.Kind), int64(f.Severity), string(f.State), f.AsOf, records[i])
	})
	if err != nil {
		return fmt.Errorf("keeping %d findings: %w", len(fs), err)
	}
	return nil
}

// Findings returns up to limit findings that a query selects, newest first. Once a newer program has worked out
// everything anew, what an older one had found and it does not is not among them.
func (db *DB) Findings(ctx context.Context, q monitor.Query, limit int) ([]conduct.Finding, error) {
	const (
		head = `
		select record
		from finding
		where (seq, nth) < ($1, $2)
		and severity >= $3
		and ($4 = '' or state = $4)
		and ($5 = '' or kind = $5 or substr(kind, 1, cast($6 as integer)) = $7)
		and format >= coalesce((select format from monitor_head where id = 1), 0)
		`
		tail = `
		order by seq desc, nth desc
		limit $8`
	)
	prefix := q.Kind + "."
	args := []any{q.Seq, int64(q.Nth), int64(q.Severity), string(q.State), q.Kind, int64(utf8.RuneCountInString(prefix)), prefix, limit}
	query := head + tail
	if q.Agent != "" {
		query = head + `and agent = $9` + tail
		args = append(args, string(q.Agent))
	}
	fs, err := many(ctx, db, scanFinding, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading findings: %w", err)
	}
	return fs, nil
}

// CountFindings returns how many findings there are of each state, severity and kind, as Findings would list them.
func (db *DB) CountFindings(ctx context.Context) ([]monitor.Count, error) {
	counts, err := many(ctx, db, func(s scanner) (c monitor.Count, err error) {
		var severity int64
		err = s.Scan(&c.State, &severity, &c.Kind, &c.Findings)
		c.Severity = conduct.Severity(severity)
		return c, err
	}, `
		select state, severity, kind, count(*)
		from finding
		where format >= coalesce((select format from monitor_head where id = 1), 0)
		group by state, severity, kind
		order by state, severity desc, kind`)
	if err != nil {
		return nil, fmt.Errorf("counting findings: %w", err)
	}
	return counts, nil
}

// OpenFindings returns how many findings of each severity nobody has judged, up to most of each: for whoever asks again and again,
// however many there are. CountFindings reads of all.
func (db *DB) OpenFindings(ctx context.Context, most int) (by [4]int, err error) {
	for sev := conduct.Low; sev <= conduct.Critical; sev++ {
		if by[sev], err = one(ctx, db, func(s scanner) (n int, err error) {
			return n, s.Scan(&n)
		}, `
			select count(*)
			from (
				select 1
				from finding
				where state = 'open'
				and severity = $1
				and format >= coalesce((select format from monitor_head where id = 1), 0)
				limit $2
			) as found`, int64(sev), most); err != nil {
			return by, fmt.Errorf("counting open findings: %w", err)
		}
	}
	return by, nil
}

func scanFinding(s scanner) (f conduct.Finding, err error) {
	var record string
	if err := s.Scan(&record); err != nil {
		return f, err
	}
	if err := json.Unmarshal([]byte(record), &f); err != nil {
		return f, fmt.Errorf("decoding a finding: %w", err)
	}
	return f, nil
}
