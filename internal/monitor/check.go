package monitor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Where a Difference of a Check is.
const (
	OnlyLog   = "log"   // the log gives the finding, and it is not kept so
	OnlyTable = "table" // it is kept, and the log does not give it so
)

// A Check says whether what is kept of findings is what the log gives.
type Check struct {
	Entries     int64            `json:"entries"`     // that were taken in
	Findings    int64            `json:"findings"`    // that they give
	Same        int64            `json:"same"`        // of those, that are kept so
	Pending     int64            `json:"pending"`     // that are not kept yet in their newest version, because of entries that are too new
	Counts      map[string]int64 `json:"counts"`      // findings that the log gives, by kind
	Differences []Difference     `json:"differences"` // oldest first; at most 10,000
	More        int64            `json:"more,omitempty"`
}

// OK reports whether nothing differs.
func (c *Check) OK() bool { return len(c.Differences) == 0 }

// An everything is a sink that keeps all findings in their newest version.
type everything struct {
	recorder
	findings map[findingKey]*conduct.Finding
}

func (x *everything) found(f *conduct.Finding) {
	own := *f // what it points to is never changed in place
	x.findings[keyOf(f)] = &own
}

// CheckFindings takes in the log from its beginning up to the entry to, and compares the findings with those in the
// store, which somebody may be writing to. It needs memory for all findings. It returns authz.ErrConflict if
// what is kept is of another version of the program.
func CheckFindings(ctx context.Context, log Reader, catalogs func(context.Context, int64) (*catalog.Catalog, error), store Store, to int64) (*Check, error) {
	x := &everything{findings: map[findingKey]*conduct.Finding{}}
	core := newCore(catalogs, x)
	c := &Check{Counts: map[string]int64{}, Differences: []Difference{}}
	err := log.Follow(ctx, 0, func(ctx context.Context, es []audit.Entry) error {
		for i := range es {
			if es[i].Seq > to {
				return errReplayed
			}
			if err := take(ctx, core, &es[i]); err != nil {
				return err
			}
			if c.Entries++; es[i].Seq == to {
				return errReplayed
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errReplayed) {
		return nil, err
	}
	head, _, err := store.MonitorHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what is kept of conduct: %w", err)
	}
	if head.Format != Format && head.Seq != 0 {
		return nil, authz.Errorf(authz.ErrConflict, "the findings were kept by another version of the program; once the service runs in this one they are worked out anew")
	}
	c.Findings = int64(len(x.findings))
	for _, f := range x.findings {
		c.Counts[string(f.Kind)]++
	}
	for page := (Query{Seq: 1 << 62}); ; {
		rows, err := store.Findings(ctx, page, maxPage)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			key := keyOf(&rows[i])
			if err := c.row(&rows[i], x.findings[key], head.Seq, to); err != nil {
				return nil, err
			}
			delete(x.findings, key)
		}
		if len(rows) < maxPage {
			break
		}
		page.Seq, page.Nth, _ = conduct.ParseID(rows[len(rows)-1].ID)
	}
	for _, key := range slices.SortedFunc(maps.Keys(x.findings), compareKeys) {
		if key.seq > head.Seq {
			c.Pending++
		} else {
			c.differ(OnlyLog, x.findings[key])
		}
	}
	slices.SortStableFunc(c.Differences, func(a, b Difference) int { return compareKeys(keyOf(&a.Finding), keyOf(&b.Finding)) })
	return c, nil
}

// row compares a finding that is kept with the one of the same id that the log gives, which is nil if there is none.
func (c *Check) row(kept, given *conduct.Finding, head, to int64) error {
	if given == nil {
		if keyOf(kept).seq <= to { // else it came since
			c.differ(OnlyTable, kept)
		}
		return nil
	}
	a, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	b, err := json.Marshal(given)
	if err != nil {
		return err
	}
	switch {
	case bytes.Equal(a, b):
		c.Same++
	case kept.AsOf > to, kept.AsOf < given.AsOf && given.AsOf > head:
		c.Pending++
	default:
		c.differ(OnlyLog, given)
		c.differ(OnlyTable, kept)
	}
	return nil
}

func (c *Check) differ(only string, f *conduct.Finding) {
	if len(c.Differences) >= maxDifferences {
		c.More++
		return
	}
	c.Differences = append(c.Differences, Difference{Only: only, Finding: *f})
}

func compareKeys(a, b findingKey) int {
	return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.nth, b.nth))
}
