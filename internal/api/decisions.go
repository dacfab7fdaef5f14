package api

import (
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

type decisionID struct {
	ID string `path:"id" json:"-" doc:"as evaluation_id gives it: d123"`
}

// A RecordedDecision is a decision as the log has it: the request, what was known, the answer. Who approved it is left
// out for those who may not read the ask.
type RecordedDecision struct {
	ID     string     `json:"id"`
	Seq    int64      `json:"seq"` // number of its log entry
	At     time.Time  `json:"at"`
	Actor  string     `json:"actor"`
	Record pdp.Record `json:"record"`
}

func (s *Server) readDecision(r *http.Request, c *call, in decisionID) (RecordedDecision, error) {
	var d RecordedDecision
	seq, err := pdp.ParseDecisionID(in.ID)
	if err != nil {
		return d, err
	}
	e, err := s.Log.Entry(r.Context(), seq)
	if err != nil {
		return d, err
	}
	if e.Kind != audit.DecisionMade {
		return d, authz.Errorf(authz.ErrNotFound, "entry %d is no decision", seq)
	}
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return d, err
	}
	if a := rec.Facts.Approval; a != nil {
		if ok, err := s.readsWhole(r.Context(), c, a.Ask); err != nil {
			return d, err
		} else if !ok {
			a.By = []string{}
		}
	}
	return RecordedDecision{ID: in.ID, Seq: e.Seq, At: e.At, Actor: e.Actor, Record: *rec}, nil
}
