package client_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

const (
	noticeSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the Standard Webhooks specification
	otherSecret  = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// noticeOf returns a signed callback.
func noticeOf(secret, id string, at time.Time, body string) *http.Request {
	r := httptest.NewRequest("POST", "https://pep.example.com/callbacks", strings.NewReader(body))
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + seconds + "." + body))
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", seconds)
	r.Header.Set("Webhook-Signature", "v1a,xyz v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return r
}

// Callback Completion and Callback Security: authenticated or not believed, bound to the task that is known,
// and a notification only.
func TestNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		const body = `{"state":"b3Blbi1kb2N1bWVudC1mbG93","task":{"id":"arq_1","status":"approved","status_endpoint":"https://evil.example.com/x"},"result":{"mode":"reevaluate","approval":{"id":"apr_x","approved_until":"2100-01-01T00:00:00Z"}}}`
		for name, tt := range map[string]struct {
			r    *http.Request
			kind error
		}{
			"signed":             {noticeOf(noticeSecret, "msg_1", now, body), nil},
			"by a former secret": {noticeOf(otherSecret, "msg_1", now, body), nil},
			"a little old":       {noticeOf(noticeSecret, "msg_1", now.Add(-4*time.Minute), body), nil},
			"replayed later":     {noticeOf(noticeSecret, "msg_1", now.Add(-6*time.Minute), body), authz.ErrUnauthenticated},
			"of the future":      {noticeOf(noticeSecret, "msg_1", now.Add(6*time.Minute), body), authz.ErrUnauthenticated},
			"by a stranger":      {noticeOf("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "msg_1", now, body), authz.ErrUnauthenticated},
			"no id":              {noticeOf(noticeSecret, "", now, body), authz.ErrUnauthenticated},
			"no task":            {noticeOf(noticeSecret, "msg_1", now, `{"task":{}}`), authz.ErrInvalid},
			"no JSON":            {noticeOf(noticeSecret, "msg_1", now, `approved`), authz.ErrInvalid},
			"unsigned":           {httptest.NewRequest("POST", "/", strings.NewReader(body)), authz.ErrUnauthenticated},
			"too long":           {noticeOf(noticeSecret, "msg_1", now, `{"task":{"id":"`+strings.Repeat("a", 70<<10)+`"}}`), authz.ErrInvalid},
		} {
			n, err := client.ReadNotice(tt.r, now, noticeSecret, otherSecret)
			if tt.kind == nil && (err != nil || n.Task != "arq_1" || n.State != "b3Blbi1kb2N1bWVudC1mbG93" || n.Status != client.TaskApproved) || tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Errorf("%s: %+v, %v; want %v", name, n, err, tt.kind)
			}
		}
		if _, err := client.ReadNotice(noticeOf("whsec_", "msg_1", now, body), now, "", "whsec_", "whsec_AAAA"); !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("with no secret worth the name: %v", err)
		}

		// What counts is what the service says of the task that we submitted, where it said then.
		s := &script{answers: map[string][]string{evaluateLine: {offered("")}, submitLine: {task("pending", "")}, statusLine: {task("denied", "")}}}
		c, err := client.New("https://pdp.example.com", "t0ken")
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP = &http.Client{Transport: s}
		a, err := c.Evaluate(t.Context(), act, nil)
		if err != nil {
			t.Fatal(err)
		}
		known, err := c.RequestAccess(t.Context(), client.AccessRequest{Acts: []client.Refused{{Request: act, Offer: a.Offer}}, Callback: &client.Callback{Endpoint: "https://pep.example.com/callbacks", State: "s"}})
		if err != nil || !strings.Contains(s.last(submitLine).body, `"callback":{"endpoint":"https://pep.example.com/callbacks","state":"s"}`) {
			t.Fatalf("%v: %s", err, s.last(submitLine).body)
		}
		n, err := client.ReadNotice(noticeOf(noticeSecret, "msg_1", now, body), now, noticeSecret)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Settled(t.Context(), n, known); err != nil || got.Status != client.TaskDenied || got.Approval(0) != nil {
			t.Errorf("settled: %+v, %v; want what the service says", got, err)
		}
		n.Task = "arq_2"
		if _, err := c.Settled(t.Context(), n, known); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("about another task: %v", err)
		}
		if _, err := c.Settled(t.Context(), n, nil); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("about no task: %v", err)
		}
	})
}
