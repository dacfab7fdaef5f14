package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
)

const wellKnownPath = "/.well-known/authzen-configuration"

// accessRequestCapability says that refusals can be asked about (ARAP, Discovery).
const accessRequestCapability = "urn:openid:authzen:capability:access-request"

// Metadata is the policy decision point metadata of AuthZEN 1.0, section 9, with the members that
// the obligations profile and the access request profile add.
type Metadata struct {
	PolicyDecisionPoint       string   `json:"policy_decision_point"`
	AccessEvaluationEndpoint  string   `json:"access_evaluation_endpoint"`
	AccessEvaluationsEndpoint string   `json:"access_evaluations_endpoint"`
	SearchSubjectEndpoint     string   `json:"search_subject_endpoint"`
	SearchResourceEndpoint    string   `json:"search_resource_endpoint"`
	SearchActionEndpoint      string   `json:"search_action_endpoint"`
	AccessRequestEndpoint     string   `json:"access_request_endpoint,omitempty" doc:"if persons can be asked"`
	KeySet                    string   `json:"jwks_uri,omitempty" doc:"keys that verify binding_token and approval.state"`
	Capabilities              []string `json:"capabilities"`
	SupportedObligations      []string `json:"supported_obligations"`
}

// makeMetadata returns the metadata document of the service known under that URL. No capability is
// registered yet for what AuthZEN's own sections require.
func makeMetadata(publicURL string, q *Requests) ([]byte, error) {
	m := Metadata{
		PolicyDecisionPoint:       publicURL,
		AccessEvaluationEndpoint:  publicURL + "/access/v1/evaluation",
		AccessEvaluationsEndpoint: publicURL + "/access/v1/evaluations",
		SearchSubjectEndpoint:     publicURL + "/access/v1/search/subject",
		SearchResourceEndpoint:    publicURL + "/access/v1/search/resource",
		SearchActionEndpoint:      publicURL + "/access/v1/search/action",
		Capabilities:              []string{},
		SupportedObligations:      obligationTypes,
	}
	if q != nil {
		m.AccessRequestEndpoint, m.KeySet = publicURL+requestsPath, q.KeySet
		m.Capabilities = append(m.Capabilities, accessRequestCapability)
	}
	b, err := json.Marshal(m)
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
