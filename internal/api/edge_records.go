package api

import (
	"bytes"
	"context"
	jsonv1 "encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

const (
	late     = time.Minute      // how far the time of a decision may be from that of its entry, before it is marked
	uploadIn = 25 * time.Second // within which an upload is recorded, also if its caller is gone

	chunkRecords = 256     // that are recorded together
	chunkBytes   = 1 << 20 // and at most as many bytes, unless one record has more
)

// A gap is an error that says that records are missing.
type gap struct{ first, next int64 }

func (g *gap) Error() string {
	return fmt.Sprintf("the upload begins with record %d, and record %d is the next that is expected", g.first, g.next)
}

func (g *gap) Unwrap() error { return authz.ErrConflict }

// recordsRoute is the route by which decisions come that were made elsewhere. Its body is read in two steps: whatever is wrong
// with one record must not stand in the way of the others. It is read when it is the caller's turn.
func (s *Server) recordsRoute() route {
	return route{
		method: "POST", path: "/v1/edge/records", roles: edges, summary: "Upload decisions that were made elsewhere, and what came of them",
		doc: operationDoc{in: reflect.TypeFor[feed.Records](), out: reflect.TypeFor[feed.Acknowledged](), hasBody: true},
		serve: func(w http.ResponseWriter, r *http.Request, c *call) error {
			if err := decode(r, &call{}, nil, &none{}); err != nil {
				return err
			}
			if s.Edge == nil {
				return errNoEdge
			}
			size := r.ContentLength
			if size < 0 || size > feed.MaxUpload {
				size = feed.MaxUpload
			}
			leave, err := s.uploads.enter(r.Context(), c.who.ID, size)
			if err != nil {
				return err
			}
			defer leave()
			body, err := readBody(r, feed.MaxUpload)
			if err != nil {
				return err
			}
			in, err := readUpload(body)
			if err != nil {
				return err
			}
			ack, err := s.upload(r.Context(), c.who, in)
			if err != nil {
				return err
			}
			answer, err := json.Marshal(ack)
			if err != nil {
				return err
			}
			writeBody(w, http.StatusOK, answer)
			return nil
		},
	}
}

// An upload is feed.Records whose records are not read yet.
type upload struct {
	Journal string
	First   int64
	Records []jsontext.Value // of the body
}

// readUpload reads the body of an upload, strictly but for what is in its records.
func readUpload(body []byte) (*upload, error) {
	in, seen := new(upload), map[string]bool{}
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	err := opened(d, '{')
	for err == nil && d.PeekKind() == '"' {
		var name string
		if err = json.UnmarshalDecode(d, &name); err != nil {
			break
		}
		if seen[name] {
			return nil, invalid("the body has the member %.32q twice", name)
		}
		seen[name] = true
		switch name {
		case "journal":
			err = json.UnmarshalDecode(d, &in.Journal)
		case "first":
			err = json.UnmarshalDecode(d, &in.First)
		case "records":
			in.Records, err = readRecords(d, body)
		default:
			return nil, invalid("the body: it has the member %.32q, which no upload has", name)
		}
	}
	if err == nil {
		_, err = d.ReadToken() // the end of the object
	}
	if err == nil {
		if _, err = d.ReadToken(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = errors.New("something stands behind it")
		}
	}
	if err != nil {
		return nil, invalid("the body: %.300s", err.Error())
	}
	switch {
	case !isJournal(in.Journal):
		return nil, invalid("a journal's name has 1 to %d letters, digits, '-' and '_'", feed.MaxJournal)
	case in.First < 1 || in.First > 1<<60:
		return nil, invalid("records of a journal are counted from 1")
	}
	return in, nil
}

// opened reads the beginning of an object or array.
func opened(d *jsontext.Decoder, kind jsontext.Kind) error {
	t, err := d.ReadToken()
	if err == nil && t.Kind() != kind {
		err = fmt.Errorf("%v stands where %v should", t.Kind(), kind)
	}
	return err
}

// readRecords reads the records of an upload, which d reads from body: they are parts of it.
func readRecords(d *jsontext.Decoder, body []byte) (all []jsontext.Value, err error) {
	if d.PeekKind() == 'n' {
		return nil, d.SkipValue()
	}
	err = opened(d, '[')
	for err == nil && d.PeekKind() != ']' {
		var v jsontext.Value
		if len(all) == feed.MaxRecords {
			return nil, fmt.Errorf("it has more than %d records", feed.MaxRecords)
		}
		if v, err = d.ReadValue(); err != nil {
			break
		}
		end := d.InputOffset()
		all = append(all, jsontext.Value(body[end-int64(len(v)):end:end]))
	}
	if err == nil {
		_, err = d.ReadToken()
	}
	return all, err
}

func isJournal(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= feed.MaxJournal
}

// upload records what is not in the log yet, and returns how far the journal has come. What is recorded is so in order, and
// nothing of it twice: the answer goes by what the log's followers have taken in, whoever brought it.
func (s *Server) upload(ctx context.Context, who *caller.Identity, in *upload) (ack feed.Acknowledged, err error) {
	// It goes on when the caller is gone: else nobody would know how it ended, and the next would begin too early.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), uploadIn)
	defer cancel()
	if err := s.Edge.CatchUp(ctx); err != nil {
		return ack, err
	}
	actor, end := who.Actor(), in.First+int64(len(in.Records)) // end is the number after the last
	next := s.Edge.Last(actor, in.Journal) + 1
	switch {
	case len(in.Records) == 0: // it asks how far the journal has come
		end = next
	case in.First > next:
		return ack, &gap{in.First, next}
	}
	made := map[int64][]byte{} // bodies of decisions of this upload
	for next < end {
		var chunk []audit.Draft
		for size := 0; next+int64(len(chunk)) < end && len(chunk) < chunkRecords && size < chunkBytes; {
			number := next + int64(len(chunk))
			d, why, err := s.draft(ctx, who, in, number, next, made)
			if err != nil {
				return ack, err
			}
			if why != "" {
				ack.Refused = append(ack.Refused, feed.Refusal{Number: number, Why: why})
			}
			chunk = append(chunk, d)
			size += len(d.Body)
		}
		if _, err := s.Edge.CommitAll(ctx, chunk...); err != nil && !isVerdict(err) {
			return ack, err
		}
		before := next
		if next = s.Edge.Last(actor, in.Journal) + 1; next == before {
			return ack, authz.Errorf(authz.ErrUnavailable, "record %d could not be recorded in its turn: send it again", before)
		}
	}
	ack.Last, ack.Seqs = s.Edge.Last(actor, in.Journal), make([]int64, len(in.Records))
	for i := range in.Records {
		ack.Seqs[i] = s.Edge.Seq(actor, in.Journal, in.First+int64(i))
	}
	return ack, nil
}

// isVerdict reports whether an error says that an entry is recorded and does not count, or not for all.
func isVerdict(err error) bool {
	for _, kind := range []error{authz.ErrInvalid, authz.ErrNotFound, authz.ErrConflict, authz.ErrForbidden} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// draft returns the entry of a record. Every record is one entry: of one that is not understood, it says why. Next is the number of the
// record that comes first of those that are recorded together, made has the decisions of the upload. The error is
// authz.ErrUnavailable.
func (s *Server) draft(ctx context.Context, who *caller.Identity, in *upload, number, next int64, made map[int64][]byte) (d audit.Draft, why string, err error) {
	d, err = s.understand(ctx, who, in, number, next, made)
	if err == nil && len(d.Body) > audit.MaxBody {
		err = invalid("it has more than %d bytes", audit.MaxBody)
	}
	switch {
	case err == nil && d.Kind == audit.DecisionMade:
		made[number] = d.Body
		return d, "", nil
	case err == nil:
		return d, "", nil
	case !isVerdict(err):
		return d, "", err
	}
	why = plainText(discreet(err), 500)
	body, err := jsonv1.Marshal(struct {
		Why      string           `json:"why"`
		Decision *refusedDecision `json:"decision,omitempty"`
		Edge     conduct.Place    `json:"edge"`
	}{why, saidOf(in.Records[number-in.First]), conduct.Place{Journal: in.Journal, Number: number}})
	return audit.Draft{Kind: audit.EdgeRefused, Actor: who.Actor(), Body: body}, why, err
}

// plainText returns at most n bytes of s, in one line and printable.
func plainText(s string, n int) string {
	out := make([]rune, 0, min(len(s), n))
	size := 0
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		if size += len(string(c)); size > n {
			break
		}
		out = append(out, c)
	}
	return string(out)
}

// understand reads a record.
func (s *Server) understand(ctx context.Context, who *caller.Identity, in *upload, number, next int64, made map[int64][]byte) (d audit.Draft, err error) {
	text := in.Records[number-in.First]
	var rec feed.Record
	if err := json.Unmarshal(text, &rec, json.RejectUnknownMembers(true)); err != nil {
		return d, invalid("it cannot be read: %.300s", err.Error())
	}
	switch {
	case (rec.Decision == nil) == (rec.Outcome == nil):
		return d, invalid("a record is either a decision or an outcome")
	case rec.Decision != nil && rec.Of != 0:
		return d, invalid("a decision is of no other record")
	case rec.Decision != nil:
		return s.decided(who, rec.Decision, pdp.Edge{Journal: in.Journal, Number: number})
	}
	if err := checkText(text, maxAdminDepth); err != nil {
		return d, err
	}
	return s.cameOf(ctx, who, in, &rec, number, next, made)
}

// cameOf returns the entry of an outcome.
func (s *Server) cameOf(ctx context.Context, who *caller.Identity, in *upload, rec *feed.Record, number, next int64, made map[int64][]byte) (d audit.Draft, err error) {
	if rec.Of < 1 || rec.Of >= number {
		return d, invalid("an outcome is of an earlier record of its journal, not of %d", rec.Of)
	}
	var out reportOutcome
	if err := json.Unmarshal(rec.Outcome, &out, json.RejectUnknownMembers(true)); err != nil {
		return d, invalid("its outcome cannot be read: %.300s", err.Error())
	}
	if err := out.check(who); err != nil {
		return d, err
	}
	now := s.Now().UTC()
	e := audit.Entry{Seq: s.Edge.Seq(who.Actor(), in.Journal, rec.Of), At: now, Kind: audit.DecisionMade, Body: made[rec.Of]}
	switch {
	case e.Seq > 0:
		if e, err = s.Log.Entry(ctx, e.Seq); err != nil {
			return d, err
		}
	case rec.Of < next:
		return d, authz.Errorf(authz.ErrNotFound, "where record %d is in the log is not known any more", rec.Of)
	}
	if e.Kind != audit.DecisionMade || e.Body == nil {
		return d, authz.Errorf(authz.ErrNotFound, "record %d is no decision", rec.Of)
	}
	o, err := out.about(who, &e)
	if err != nil {
		return d, err
	}
	if e.Seq == 0 { // it is recorded with this
		o.Back = number - rec.Of
	}
	o.Edge = &conduct.Place{Journal: in.Journal, Number: number}
	if err := o.Check(); err != nil {
		return d, err
	}
	body, err := jsonv1.Marshal(&o)
	if err != nil {
		return d, err
	}
	return audit.Draft{Kind: audit.OutcomeReported, Actor: o.By, Body: body}, nil
}
