package api

import (
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// exportEntries says what a bundle of evidence is made of: the entries of those numbers, or those that a search finds,
// the newest first, up to limit.
type exportEntries struct {
	reason
	Entries []int64     `json:"entries,omitempty" doc:"numbers of entries, 5000 at most, whose bodies have 16 MiB together at most"`
	Search  *EntryQuery `json:"search,omitempty"`
	Limit   int         `json:"limit,omitempty" doc:"at most so many of what is found, 1000 by default and 5000 at most, and no more than 16 MiB of bodies"`
}

// bundleRoute writes an archive, in no haste. That somebody took entries out is recorded before the first byte leaves.
func (s *Server) bundleRoute(path, summary string) route {
	rt := route{method: "POST", path: path, roles: auditors, summary: summary, limit: 256 << 10,
		doc: operationDoc{in: reflect.TypeFor[exportEntries](), hasBody: true, media: "application/zip"}}
	rt.serve = func(w http.ResponseWriter, r *http.Request, c *call) error {
		var in exportEntries
		if err := decode(r, c, nil, &in); err != nil {
			return err
		}
		if err := checkWhy(in); err != nil {
			return err
		}
		m, err := s.manifest(r, &in)
		if err != nil {
			return err
		}
		m.By = c.who.Actor()
		b, err := s.Log.Bundle(r.Context(), m)
		if err != nil {
			return err
		}
		// The server's own deadline is for answers that are short.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(audit.BundlePatience)); err != nil {
			return err
		}
		h := w.Header()
		h.Set("Content-Type", "application/zip")
		h.Set("Content-Disposition", `attachment; filename="safeconduct-bundle-`+strconv.FormatInt(b.Export(), 10)+`.zip"`)
		h.Set("Safeconduct-Export-Entry", strconv.FormatInt(b.Export(), 10))
		if err := b.Write(r.Context(), w); err != nil {
			s.Logger.WarnContext(r.Context(), "bundle not written", "entry", b.Export(), "request_id", c.id, "error", err)
			panic(http.ErrAbortHandler) // so that nobody takes half of it for all
		}
		return nil
	}
	return rt
}

// manifest says which entries are exported. The newest come first, as far as their number and their size go.
func (s *Server) manifest(r *http.Request, in *exportEntries) (m audit.Manifest, err error) {
	m.Why = in.Why
	switch {
	case (in.Search == nil) == (in.Entries == nil):
		return m, invalid("say which entries: by entries, or by search")
	case in.Entries != nil && in.Limit != 0:
		return m, invalid("limit is for what is searched")
	case in.Limit < 0 || in.Limit > audit.MaxBundle || len(in.Entries) > audit.MaxBundle:
		return m, invalid("a bundle has at most %d entries", audit.MaxBundle)
	case in.Entries != nil:
		m.Entries = in.Entries
		return m, nil
	}
	text, err := json.Marshal(in.Search)
	if err != nil {
		return m, err
	}
	m.Search = jsontext.Value(text)
	left := in.Limit
	if left == 0 {
		left = 1000
	}
	q, err := in.Search.audit(0)
	if err != nil {
		return m, err
	}
	size := 0
	for {
		q.Limit = min(left+1, audit.MaxFound) // one more tells whether there is more
		found, err := s.Index.Find(r.Context(), q)
		if err != nil {
			return m, err
		}
		for i := range found {
			if size += len(found[i].Body); left == 0 || size > audit.MaxBundleBytes {
				m.Before = found[i].Seq + 1
				return m, nil
			}
			m.Entries = append(m.Entries, found[i].Seq)
			left--
		}
		if len(found) < q.Limit {
			if len(m.Entries) == 0 {
				return m, authz.Errorf(authz.ErrNotFound, "nothing was found")
			}
			return m, nil
		}
		q.Before = found[len(found)-1].Seq
	}
}
