package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// FuzzSubmission shows that whatever is submitted is answered by a task or a problem of the caller's, never by a
// fault of ours; and that an ask which comes of it is bound to what was refused, and to nothing that was submitted.
func FuzzSubmission(f *testing.F) {
	d := openRequests(f)
	refused := d.evaluate(paymentRequest)
	f.Add(submission(refused))
	f.Add(withoutToken(refused))
	f.Add(bundle(refused, d.evaluate(strings.Replace(paymentRequest, `"id":"7"`, `"id":"8"`, 1))))
	f.Add(submission(refused, `"denial":`, `"requested_access":{"requested_until":"2027-01-01T00:00:00Z","emergency":true},"client":{"actor":{"id":"bot","act":{"sub":"dora"}}},"denial":`))
	f.Add(`{"subject":{"type":"agent","id":"bot","properties":{"act":{"sub":"x"}}},"items":[{"denial":{}}],"callback":{"endpoint":"https://x","events":["approved"]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		d.door.TB = t
		clear(d.asks)
		r := d.send("POST", "/access/v1/requests", body)
		answer := text(t, r)
		if r.StatusCode >= 500 || r.StatusCode != http.StatusAccepted && (r.Header.Get("Content-Type") != "application/problem+json" || len(d.asks) > 0) {
			t.Fatalf("%s: answered %d %s %s with %d asks", body, r.StatusCode, r.Header.Get("Content-Type"), answer, len(d.asks))
		}
		for _, a := range d.asks {
			if a.Bound.Subject.ID != "bot" || string(a.Bound.Context) != `{"tenant":"acme"}` || len(a.Bound.OnBehalf) != 1 || len(a.Justification) > approval.MaxText {
				t.Errorf("%s: asked %+v", body, *a)
			}
			for _, it := range a.Items {
				if it.Action.Name != "pay" || string(it.Action.Properties) != `{"amount":500,"to":"NL01"}` || it.Routes[0] != "finance" || it.Decision < 100 {
					t.Errorf("%s: asked for %+v", body, it)
				}
			}
		}
	})
}

// FuzzReference shows that whatever stands at context.approval is answered, and never becomes a claim.
func FuzzReference(f *testing.F) {
	d := openRequests(f)
	_, reference := d.approved()
	for _, s := range []string{reference, `{"id":"apr_x"}`, `null`, `{"id":"x","state":{"a":1}}`, `{"id":"x","state":"a.b.c"}`, `{"id":"x","id":"y"}`, `7`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, reference string) {
		d.door.TB = t
		d.pdp.asked = nil
		r := d.send("POST", "/access/v1/evaluation", strings.Replace(paymentRequest, `"tenant"`, `"approval":`+reference+`,"tenant"`, 1))
		if answer := text(t, r); r.StatusCode >= 500 || !strings.Contains(answer, `"decision":false`) {
			t.Fatalf("%s: answered %d %s", reference, r.StatusCode, answer)
		}
		for _, req := range d.pdp.asked {
			if ref := req.Approval; ref != nil && (ref.ID == "" || len(ref.ID) > 200) {
				t.Errorf("%s: decided with the approval %+v", reference, ref)
			}
			if !strings.Contains(string(req.Context), `"tenant"`) || strings.Contains(string(req.Context), `"approval"`) && !strings.Contains(reference, ",") {
				t.Errorf("%s: decided with the context %s", reference, req.Context)
			}
		}
	})
}

// BenchmarkRefusal is the door's own work for a refusal that can be asked about: the act is hashed, and the
// binding token signed.
func BenchmarkRefusal(b *testing.B) {
	d := openRequests(b)
	dec := d.record(authz.Request{}, d.refusal)
	d.pdp.answer = func(authz.Request) (authz.Decision, error) {
		d.pdp.asked = d.pdp.asked[:0]
		return dec, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := d.post("/access/v1/evaluation", paymentRequest); r.StatusCode != http.StatusOK {
			b.Fatalf("answered %d", r.StatusCode)
		}
	}
}

// BenchmarkSubmission is the door's own work for an access request, without the desk and the log's database.
func BenchmarkSubmission(b *testing.B) {
	d := openRequests(b)
	body := submission(d.evaluate(paymentRequest))
	b.ReportAllocs()
	for b.Loop() {
		if r := d.post("/access/v1/requests", body); r.StatusCode != http.StatusAccepted {
			b.Fatalf("answered %d", r.StatusCode)
		}
	}
}
