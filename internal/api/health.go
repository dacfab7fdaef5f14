package api

import (
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/internal/caller"
)

// Health says whether the service is well, and if it is not, why.
type Health struct {
	Status  string   `json:"status" doc:"ok, or unavailable"`
	Reasons []string `json:"reasons,omitempty"`
}

// healthz says that the process answers. It does not ask whether it can decide: a service that is
// restarted because its database is away does not come back sooner.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request, _ *call) error {
	return writeHealth(w, nil)
}

// readyz says whether the service can decide: policies are loaded, and the log is written and read.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request, _ *call) error {
	return writeHealth(w, s.Ready(r.Context()))
}

func writeHealth(w http.ResponseWriter, problems []error) error {
	h, status := Health{Status: "ok"}, http.StatusOK
	for _, err := range problems {
		h.Status, status = "unavailable", http.StatusServiceUnavailable
		h.Reasons = append(h.Reasons, discreet(err))
	}
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	writeBody(w, status, body)
	return nil
}

// A VerifierKey verifies the log's checkpoints.
type VerifierKey struct {
	Origin string `json:"origin"`
	Key    string `json:"key" doc:"in the form of a C2SP signed note's verifier key"`
}

func (s *Server) serveKey(w http.ResponseWriter, _ *http.Request, _ *call) error {
	body, err := json.Marshal(s.Key)
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, body)
	return nil
}

// A Status is the state of the service, for people who run it.
type Status struct {
	Version           string   `json:"version"`
	Ready             bool     `json:"ready"`
	Reasons           []string `json:"reasons"`
	Store             string   `json:"store" doc:"sqlite or postgres"`
	UptimeS           int64    `json:"uptime_seconds"`
	Policies          int64    `json:"policies" doc:"the active version; 0 if there is none"`
	Agents            int      `json:"agents"`
	Head              int64    `json:"head" doc:"number of the newest entry that this process has applied"`
	Indexed           int64    `json:"indexed" doc:"number of the newest entry that the search index holds"`
	Checkpoint        int64    `json:"checkpoint" doc:"batches under the newest signed checkpoint"`
	EnforcementPoints int      `json:"enforcement_points" doc:"that described themselves and have not said that they stop"`
	Embedded          int      `json:"enforcement_points_embedded" doc:"of them those that decide by themselves"`
	FailOpen          []string `json:"fail_open" doc:"routes of enforcement points that let through what cannot be decided: CALLER/GATEWAY ROUTE"`
	LogOrigin         string   `json:"log_origin"`
	LogVerifier       string   `json:"log_verifier"`
}

func (s *Server) readStatus(r *http.Request, _ *caller.Identity, _ none) (Status, error) {
	return s.StatusOf(r.Context())
}
