package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	statusPath = "/oauth2/status/"
	statusType = "application/statuslist+jwt"
	// statusTTL is how long a verifier may go by its copy of a list. It is the time for which a token
	// that was revoked may still be taken by those who look at nothing but the list.
	statusTTL = 15 * time.Second
	// statusFresh is how long a signed list is served before it is signed again.
	statusFresh = statusTTL / 3
	// statusLife is for how long a list can be verified.
	statusLife = 2 * time.Minute
)

// listURL returns the URL of the status list of a block, which tokens name.
func (s *Server) listURL(block int64) string {
	return s.cfg.Issuer + statusPath + strconv.FormatInt(block, 10)
}

// lists keeps the status list tokens that were signed lately. There are as many as there are blocks of
// tokens that have not expired.
type lists struct {
	mu     sync.Mutex
	signed map[int64]*signedList
}

type signedList struct {
	at      time.Time
	changes int
	body    []byte
}

// status answers with a status list token (draft-ietf-oauth-status-list, section 8). Lists are public: a
// bit tells nothing to who has not got the token.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	notFound := &Error{Status: http.StatusNotFound, Code: invalidRequest, Description: "there is no such status list, or all of its tokens have expired"}
	text := r.PathValue("n")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != text {
		return notFound
	}
	if accept := r.Header.Get("Accept"); accept != "" && !strings.Contains(accept, statusType) && !strings.Contains(accept, "*/*") && !strings.Contains(accept, "application/*") {
		return &Error{Status: http.StatusNotAcceptable, Code: invalidRequest, Description: "status lists are served as " + statusType}
	}
	if err := s.cfg.Fresh(); err != nil {
		return err
	}
	l, err := s.list(n, s.cfg.Now())
	if err != nil {
		return err
	}
	if l == nil {
		return notFound
	}
	h := w.Header()
	h["Content-Type"] = []string{statusType}
	h["Cache-Control"] = []string{"public, max-age=" + strconv.Itoa(int(statusTTL/time.Second))}
	h["Access-Control-Allow-Origin"] = []string{"*"}
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(l.body)
	return nil
}

// list returns the signed list of a block, nil if there is no such block. A list whose bits have changed
// is signed anew at once.
func (s *Server) list(n int64, now time.Time) (*signedList, error) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	bits, changes, ok := s.state.bits(n)
	if !ok {
		delete(s.lists.signed, n)
		return nil, nil
	}
	if l := s.lists.signed[n]; l != nil && l.changes == changes && !now.Before(l.at) && now.Sub(l.at) < statusFresh {
		return l, nil
	}
	signer, err := s.cfg.Keys.StatusSigner()
	if err != nil {
		return nil, err
	}
	t := token.StatusToken{Subject: s.listURL(n), IssuedAt: now.Truncate(time.Second), Expires: now.Truncate(time.Second).Add(statusLife), TTL: statusTTL, List: bits}
	text, err := signer.Sign(token.StatusListType, t.Append(nil))
	if err != nil {
		return nil, err
	}
	if s.lists.signed == nil {
		s.lists.signed = map[int64]*signedList{}
	}
	for old, l := range s.lists.signed {
		if now.Sub(l.at) > statusLife {
			delete(s.lists.signed, old)
		}
	}
	l := &signedList{now, changes, []byte(text)}
	s.lists.signed[n] = l
	return l, nil
}

// bits returns a copy of a block's list, and how often it has changed.
func (t *state) bits(n int64) (list *token.StatusList, changes int, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	b := t.blocks[n]
	if b == nil {
		return nil, 0, false
	}
	list = token.NewStatusList(blockSize)
	for _, index := range b.set {
		list.Set(index)
	}
	return list, len(b.set), true
}
