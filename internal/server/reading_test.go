package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// approvalEvent returns what the stream tells a session of the end of an ask.
func (r *running) approvalEvent(cookie, ask string) (ev struct{ What, Ask, By, Agent string }) {
	r.Helper()
	req, err := http.NewRequest("GET", r.URL()+"/v1/stream?types=approval", nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Cookie", cookie)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Last-Event-ID", "0")
	resp, err := r.http.Transport.RoundTrip(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		r.Fatalf("the stream: %d", resp.StatusCode)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if ok && json.Unmarshal([]byte(data), &ev) == nil && ev.What == "approved" && ev.Ask == ask {
			return ev
		}
	}
	r.Fatal("the stream does not tell of the end of the ask")
	return ev
}

// What somebody may not read of an ask by its own route, no other route tells them: who answered, and what they said.
func TestWhoReadsAnAsk(t *testing.T) {
	s := start(t, asking(t))
	people := s.persons("anna")
	refused := s.evaluate(payment("clerk", "acme", "900.0", ""))
	ask := s.request("clerk", "acme", "900.0", refused)
	if rep := s.answer(people["anna"], ask, true, `,"comment":"as agreed"`); rep.status != 200 {
		t.Fatalf("anna: status %d: %s", rep.status, rep.body)
	}
	used := s.evaluate(payment("clerk", "acme", "900.0", s.approved(ask)))
	if !used.Decision {
		t.Fatalf("the approved act: %+v", used)
	}

	// Ben is of those who may answer, eve is not.
	for _, tt := range []struct {
		id, roles       string
		decisions       bool // are open to them
		whole, verbatim bool // of the ask
	}{
		{"vera", `"viewer"`, true, false, false},
		{"oscar", `"operator"`, true, false, false},
		{"ada", `"author"`, true, false, false},
		{"ben", `"approver"`, false, true, false},
		{"eve", `"approver"`, false, false, false},
		{"cleo", `"viewer","approver"`, true, true, false},
		{"erik", `"viewer","approver"`, true, false, false},
		{"paul", `"auditor"`, true, true, true},
		{"root", `"administrator"`, true, true, true},
	} {
		s.into(s.do("PUT", "/v1/people/"+tt.id, adminToken, fmt.Sprintf(`{"name":%q,"roles":[%s],"if_as_of":0,"why":"test"}`, tt.id, tt.roles)), new(any))
		cookie := s.session(tt.id)
		own := s.page(cookie, "GET", "/v1/approvals/"+ask, "")
		story := s.page(cookie, "GET", "/v1/approvals/"+ask+"/story", "")
		if got := own.status == 200; got != tt.whole || got != (story.status == 200) || got != strings.Contains(own.body, "as agreed") {
			t.Errorf("%s (%s): the ask: %d %s, its story: %d", tt.id, tt.roles, own.status, own.body, story.status)
		}
		if got := strings.Contains(story.body, `"body"`); got != tt.verbatim {
			t.Errorf("%s (%s): the story has entries: %v, want %v", tt.id, tt.roles, got, tt.verbatim)
		}
		for how, id := range map[string]string{"asked": refused.Context.EvaluationID, "lifted": used.Context.EvaluationID} {
			read, explained := s.page(cookie, "GET", "/v1/decisions/"+id, ""), s.page(cookie, "GET", "/v1/decisions/"+id+"/explain", "")
			if !tt.decisions {
				if read.status != 403 || explained.status != 403 {
					t.Errorf("%s (%s): the decision: %d, explained: %d", tt.id, tt.roles, read.status, explained.status)
				}
				continue
			}
			var x struct {
				Asks []struct {
					ID, How, Status, Title string
					Steps                  []struct{ What string }
					Readable               bool
				}
			}
			s.into(explained, &x)
			if len(x.Asks) != 1 || x.Asks[0].ID != ask || x.Asks[0].How != how || x.Asks[0].Status != "approved" || x.Asks[0].Title == "" ||
				x.Asks[0].Readable != tt.whole || (len(x.Asks[0].Steps) > 0) != tt.whole {
				t.Errorf("%s (%s): the decision is explained by %+v", tt.id, tt.roles, x.Asks)
			}
			for what, body := range map[string]string{"read": read.body, "explained": explained.body} {
				said := strings.Contains(body, "as agreed")
				named := strings.Contains(body, "person:anna")
				if (what == "read" || !tt.whole) && said || !tt.whole && named || how == "lifted" && tt.whole && !named {
					t.Errorf("%s (%s): the decision %s, %s: %s", tt.id, tt.roles, how, what, body)
				}
			}
		}
		if tt.decisions {
			if ev := s.approvalEvent(cookie, ask); (ev.By == "person:anna") != tt.whole || ev.By != "" && !tt.whole || ev.Agent != "clerk" {
				t.Errorf("%s (%s): the stream tells %+v", tt.id, tt.roles, ev)
			}
		}
	}
}
