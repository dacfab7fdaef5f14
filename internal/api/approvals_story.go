package api

import (
	"net/http"

	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Story is everything that came of an ask, oldest first.
type Story struct {
	Ask   AskView `json:"ask"`
	Steps []Step  `json:"steps"`
}

// A Step is one entry of the log.
type Step struct {
	Seq   int64      `json:"seq"`
	Kind  audit.Kind `json:"kind"`
	Actor string     `json:"actor"`
}

func (s *Server) askStory(r *http.Request, c *call, in askID) (Story, error) {
	a, _, err := s.askOf(r.Context(), c, in.ID)
	if err != nil {
		return Story{}, err
	}
	return Story{Ask: viewOf(a), Steps: []Step{}}, nil
}
