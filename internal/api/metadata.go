package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
)

const wellKnownPath = "/.well-known/authzen-configuration"

// Metadata is the policy decision point metadata of AuthZEN 1.0, section 9, with the member that
// the obligations profile adds.
type Metadata struct {
	PolicyDecisionPoint       string   `json:"policy_decision_point"`
	AccessEvaluationEndpoint  string   `json:"access_evaluation_endpoint"`
	AccessEvaluationsEndpoint string   `json:"access_evaluations_endpoint"`
	SearchSubjectEndpoint     string   `json:"search_subject_endpoint"`
	SearchResourceEndpoint    string   `json:"search_resource_endpoint"`
	SearchActionEndpoint      string   `json:"search_action_endpoint"`
	Capabilities              []string `json:"capabilities"`
	SupportedObligations      []string `json:"supported_obligations"`
}

// makeMetadata returns the metadata document of the service known under that URL. No capability is
// registered yet for what AuthZEN's own sections require, so the list is empty.
func makeMetadata(publicURL string) ([]byte, error) {
	b, err := json.Marshal(Metadata{
		PolicyDecisionPoint:       publicURL,
		AccessEvaluationEndpoint:  publicURL + "/access/v1/evaluation",
		AccessEvaluationsEndpoint: publicURL + "/access/v1/evaluations",
		SearchSubjectEndpoint:     publicURL + "/access/v1/search/subject",
		SearchResourceEndpoint:    publicURL + "/access/v1/search/resource",
		SearchActionEndpoint:      publicURL + "/access/v1/search/action",
		Capabilities:              []string{},
		SupportedObligations:      obligationTypes,
	})
	if err != nil {
		return nil, fmt.Errorf("making the metadata: %w", err)
	}
	return b, nil
}

func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request, c *call) error {
	w.Header()["Cache-Control"] = []string{"public, max-age=3600"}
	writeBody(w, http.StatusOK, s.metadata)
	return nil
}
