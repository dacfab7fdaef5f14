package client

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Notice is what a callback says: a task that we submitted has come to its end. It is a notification, and
// never an approval; Settled asks the service what became of the task.
type Notice struct {
	Task   string // its id
	State  string // as Callback.State was; "" if there was none
	Status string // as it is told; Settled says what counts
}

const (
	maxNotice    = 64 << 10
	skewOfNotice = 5 * time.Minute // as Standard Webhooks recommends
)

// ReadNotice reads a callback that the service sent, signed by Standard Webhooks with one of the secrets: as
// they stand in its secret_file, whsec_ and base64. authz.ErrUnauthenticated: it is not signed so, or not
// now; nothing of it is to be believed.
//
// One that is sent again is not told apart here: asking for the task twice harms nobody.
func ReadNotice(r *http.Request, now time.Time, secrets ...string) (*Notice, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxNotice+1))
	if err != nil || len(body) > maxNotice {
		return nil, authz.Errorf(authz.ErrInvalid, "the callback cannot be read, or has more than %d bytes", maxNotice)
	}
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if skew := now.Sub(time.Unix(seconds, 0)); err != nil || id == "" || skew > skewOfNotice || skew < -skewOfNotice {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "the callback is not signed, or was not sent now")
	}
	if !signedBy(secrets, id+"."+at+"."+string(body), r.Header.Get("Webhook-Signature")) {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "the callback is not signed by a secret that we know")
	}
	var w struct {
		State json.RawMessage `json:"state"`
		Task  struct {
			ID     string `json:"id"`
			Status string `json:"status"`
		} `json:"task"`
	}
	if err := json.Unmarshal(body, &w); err != nil || w.Task.ID == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "the callback names no task")
	}
	n := &Notice{Task: w.Task.ID, Status: w.Task.Status}
	if len(w.State) > 0 && json.Unmarshal(w.State, &n.State) != nil {
		n.State = string(w.State)
	}
	return n, nil
}

// signedBy reports whether one of the signatures is by one of the secrets.
func signedBy(secrets []string, content, signatures string) bool {
	for _, s := range secrets {
		text, ok := strings.CutPrefix(strings.TrimSpace(s), "whsec_")
		key, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(key) < 24 {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(content))
		want := mac.Sum(nil)
		for sig := range strings.FieldsSeq(signatures) {
			got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sig, "v1,"))
			if strings.HasPrefix(sig, "v1,") && err == nil && hmac.Equal(got, want) {
				return true
			}
		}
	}
	return false
}

// Settled asks the service for the task that a notice is about. Known is the task as it was submitted: a
// notice about another one is authz.ErrInvalid, and where to ask is what the service said then.
func (c *Client) Settled(ctx context.Context, n *Notice, known *Task) (*Task, error) {
	if known == nil || known.ID != n.Task {
		return nil, authz.Errorf(authz.ErrInvalid, "the callback is about the task %.64q, which is not the one we know", n.Task)
	}
	return c.Task(ctx, known)
}
