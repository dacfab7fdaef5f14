package api

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// requestRoutes are those of the access request service (ARAP): for enforcement points and agents, who ask.
func (s *Server) requestRoutes() []route {
	task := reflect.TypeFor[TaskResponse]()
	id := parameter{name: "id", inPath: true, typ: reflect.TypeFor[string](), doc: "task.id"}
	rt := func(method, path, summary string, f func(http.ResponseWriter, *http.Request, *call) error) route {
		return route{
			method: method, path: path, roles: points, summary: summary, serve: f, agents: true, problems: true,
			doc: operationDoc{out: task, params: []parameter{id}},
		}
	}
	submit := rt("POST", requestsPath, "Ask about a refusal that persons can lift", s.submitRequest)
	submit.limit = maxSubmission
	submit.doc = operationDoc{in: reflect.TypeFor[AccessRequest](), out: task, hasBody: true, open: true, statuses: []string{"201", "202"}}
	schema := rt("GET", schemasPath+"/{template}", "Read what a request may add", s.requestSchema)
	schema.doc = operationDoc{media: "application/schema+json", out: reflect.TypeFor[map[string]any](), params: []parameter{{name: "template", inPath: true, typ: reflect.TypeFor[string]()}}}
	return []route{
		submit,
		schema,
		rt("GET", requestsPath+"/{id}", "Read how far a request has come", s.readTask),
		rt("POST", requestsPath+"/{id}/cancel", "Cancel a request that waits", s.cancelTask),
		rt("DELETE", requestsPath+"/{id}/cancel", "Cancel a request that waits", s.cancelTask),
	}
}

// requestSchema serves the JSON Schema of what a submission may add to the context that was refused, and in
// requested_access (ARAP, Machine-Readable Forms). Nothing is required, so that a program without words of
// its own can ask as well.
func (s *Server) requestSchema(w http.ResponseWriter, r *http.Request, c *call) error {
	if s.Requests == nil {
		return errNobodyAsked
	}
	cat := s.Requests.Active()
	name := r.PathValue("template")
	if cat == nil || len(name) > maxTemplate {
		return authz.Errorf(authz.ErrNotFound, "there is no such template")
	}
	titles := strings.Split(name, "+")
	for i, id := range titles {
		route, ok := cat.Route(id)
		if !ok {
			return authz.Errorf(authz.ErrNotFound, "there is no such template")
		}
		titles[i] = route.Title
	}
	body, err := json.Marshal(object{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"$id":         s.public() + schemasPath + "/" + name,
		"title":       "Ask for approval",
		"description": "Asked: " + strings.Join(titles, ", ") + ".",
		"type":        "object",
		"properties": object{
			"context": object{
				"type": "object",
				"properties": object{
					"business_justification": object{
						"type": "string", "minLength": 1, "maxLength": approval.MaxText,
						"description": "Why the act is needed, for the person who decides. At most 2000 bytes of UTF-8.",
					},
				},
			},
			"requested_access": object{
				"type": "object",
				"properties": object{
					"requested_until": object{"type": "string", "format": "date-time", "description": "Until when it is wanted. The approver decides, within what the organisation permits."},
					"emergency":       object{"type": "boolean", "description": "Whether it is urgent. It needs a business_justification, and grants nothing."},
				},
			},
		},
		"if":   object{"properties": object{"requested_access": object{"properties": object{"emergency": object{"const": true}}, "required": []any{"emergency"}}}, "required": []any{"requested_access"}},
		"then": object{"properties": object{"context": object{"required": []any{"business_justification"}}}, "required": []any{"context"}},
	}, json.Deterministic(true))
	if err != nil {
		return err
	}
	w.Header()["Cache-Control"] = []string{"private, max-age=300"}
	writeAs(w, http.StatusOK, "application/schema+json", body)
	return nil
}
