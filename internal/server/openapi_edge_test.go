package server_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// callEdge calls what decision points elsewhere and enforcement points call. Decision is the answer to a question.
func (d *apiDoc) callEdge(t *testing.T, s *running, decision map[string]any, call func(method, path, token, body string, want int) map[string]any) {
	t.Helper()
	token := s.edge("documented")
	call("GET", "/v1/edge/feed", token, "", 200)
	call("GET", "/v1/edge/feed", adminToken, "", 403)
	call("GET", "/v1/edge/feed?after=1", token, "", 400)
	if v := call("GET", "/v1/edge/policies/1", token, "", 200); v["catalog"] == "" || len(v["policies"].([]any)) == 0 {
		t.Errorf("version 1: %v", v)
	}
	call("GET", "/v1/edge/policies/99", token, "", 404)

	id := decision["context"].(map[string]any)["evaluation_id"].(string)
	record, err := json.Marshal(call("GET", "/v1/decisions/"+id, adminToken, "", 200)["record"])
	if err != nil {
		t.Fatal(err)
	}
	ack := call("POST", "/v1/edge/records", token, `{"journal":"J","first":1,"records":[{"decision":`+string(record)+`},{"outcome":{},"of":1}]}`, 200)
	if ack["last"] != 2.0 || len(ack["refused"].([]any)) != 1 { // it is about no agent
		t.Errorf("acknowledged: %v", ack)
	}
	call("POST", "/v1/edge/records", token, `{"journal":"J","first":9,"records":[{"outcome":{},"of":1}]}`, 409)
	call("POST", "/v1/edge/records", token, `{"journal":"","first":1,"records":[]}`, 400)
	if b := call("POST", "/v1/edge/passport", token, `{"token":"a.b.c","audience":"https://api.example"}`, 200); b["active"] != false || b["code"] != "invalid_token" {
		t.Errorf("a passport that is none: %v", b)
	}
	call("POST", "/v1/edge/passport", token, `{"token":"a.b.c","audience":""}`, 400)

	call("POST", "/v1/enforcement/reports", token, `{"kind":"hello","gateway":"mcp-1","version":"1.0","detail":{"decide":"local","doors":["mcp"],"fail_open":["health"]}}`, 200)
	call("POST", "/v1/enforcement/reports", pepToken, `{"kind":"tool_changed","gateway":"http-1","detail":{"server":"files","tool":"read","was":"a","now":"b"}}`, 200)
	call("POST", "/v1/enforcement/reports", pepToken, `{"kind":"tool_changed","gateway":"http-1","detail":{"server":"files"}}`, 400)
	call("POST", "/v1/enforcement/reports", adminToken, `{"kind":"bye","gateway":"http-1"}`, 403)
	points := call("GET", "/v1/enforcement/points", adminToken, "", 200)["items"].([]any)
	if len(points) != 2 || points[0].(map[string]any)["embedded"] != true {
		t.Errorf("points: %v", points)
	}
	first := call("GET", "/v1/enforcement/points?limit=1", adminToken, "", 200)
	rest := call("GET", "/v1/enforcement/points?after="+url.QueryEscape(first["next"].(string)), adminToken, "", 200)
	if diff := cmp.Diff(points, append(first["items"].([]any), rest["items"].([]any)...)); diff != "" || rest["next"] != nil {
		t.Errorf("points by pages, next %v (-want +got):\n%s", rest["next"], diff)
	}
	st := call("GET", "/v1/status", adminToken, "", 200)
	if open, _ := st["fail_open"].([]any); len(open) != 1 || open[0] != "edge:documented/mcp-1 health" || st["enforcement_points"] != 2.0 || st["enforcement_points_embedded"] != 1.0 {
		t.Errorf("status: %v", st)
	}
	findings := call("GET", "/v1/findings?kind=enforcement", adminToken, "", 200)["items"].([]any)
	if len(findings) != 1 || findings[0].(map[string]any)["point"] != "edge:documented/mcp-1" || !strings.Contains(findings[0].(map[string]any)["sentence"].(string), "health") {
		t.Errorf("findings: %v", findings)
	}
	findings = call("GET", "/v1/findings?kind=tool.changed", adminToken, "", 200)["items"].([]any)
	if len(findings) != 1 || findings[0].(map[string]any)["severity"] != "high" {
		t.Errorf("findings: %v", findings)
	}
	call("POST", "/v1/findings/"+findings[0].(map[string]any)["id"].(string)+"/judge", adminToken, `{"verdict":"dismissed","why":"an update"}`, 200)
}
