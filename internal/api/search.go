package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A Searcher finds what would be permitted. Results come in the order of their names, without
// duplicates; nothing is found, and it is no error, for types that nobody knows. *pdp.PDP is one.
type Searcher interface {
	SearchSubjects(ctx context.Context, req authz.Request, page pdp.Page) (pdp.Found[authz.Ref], error)
	SearchResources(ctx context.Context, req authz.Request, page pdp.Page) (pdp.Found[authz.Ref], error)
	SearchActions(ctx context.Context, req authz.Request, page pdp.Page) (pdp.Found[string], error)
}

// page reads the "page" object of a search.
func (p *parser) page(q *question) error {
	return p.object("page", func(name []byte) (err error) {
		switch string(name) {
		case "token":
			q.pageToken, err = p.str("page", ".token", 8192)
		case "limit":
			if p.dec.PeekKind() != '0' {
				return invalid("page.limit must be a non-negative integer")
			}
			var text []byte
			if text, err = p.raw(); err != nil {
				return err
			}
			n, perr := strconv.ParseUint(string(text), 10, 31)
			if perr != nil {
				return invalid("page.limit must be a non-negative integer")
			}
			q.pageLimit = int(n)
		default:
			err = p.skip()
		}
		return err
	})
}

// searchSubject is the Subject Search API (AuthZEN 1.0, section 8.4).
func (s *Server) searchSubject(w http.ResponseWriter, r *http.Request, c *call) error {
	return search(s, w, r, c, 's', s.PDP.SearchSubjects, appendRefResult)
}

// searchResource is the Resource Search API (AuthZEN 1.0, section 8.5).
func (s *Server) searchResource(w http.ResponseWriter, r *http.Request, c *call) error {
	return search(s, w, r, c, 'r', s.PDP.SearchResources, appendRefResult)
}

// searchAction is the Action Search API (AuthZEN 1.0, section 8.6).
func (s *Server) searchAction(w http.ResponseWriter, r *http.Request, c *call) error {
	return search(s, w, r, c, 'a', s.PDP.SearchActions, func(b []byte, name string) []byte {
		return appendString(append(b, `{"name":`...), name)
	})
}

func appendRefResult(b []byte, r authz.Ref) []byte {
	b = appendString(append(b, `{"type":`...), r.Type)
	return appendString(append(b, `,"id":`...), r.ID)
}

// search answers one page. target is s, r or a; write appends a result without its closing brace. What has to
// be met with a result stands in it (obligations profile, Obligations and Search Requests).
func search[T any](s *Server, w http.ResponseWriter, r *http.Request, c *call, target byte,
	find func(context.Context, authz.Request, pdp.Page) (pdp.Found[T], error), write func([]byte, T) []byte) error {
	q, err := s.ask(c, searching)
	if err != nil {
		return err
	}
	if q.seen != nil && q.seen.presented != nil && target == 's' {
		return invalid("a search for subjects is about no agent's passport")
	}
	if err := s.bear(r, c, &q); q.isRefusal(err) {
		return authz.Errorf(authz.ErrForbidden, "context.observed.passport: %v", err)
	} else if err != nil {
		return err
	}
	if err := q.complete(target != 's', target != 'a', target != 'r'); err != nil {
		return err
	}
	req := authz.Request{Subject: q.subject, Action: q.action, Resource: q.resource, Context: q.context}
	switch target { // what is searched for is ignored where it may not be
	case 's':
		req.Subject.ID = ""
	case 'r':
		req.Resource.ID = ""
	case 'a':
		req.Action = authz.Action{}
	}
	if err := q.look(&req, c); err != nil {
		return err
	}
	page, err := s.openPage(&q, &req, target)
	if err != nil {
		return err
	}
	found, err := find(r.Context(), req, page)
	if err != nil {
		return err
	}
	paged := q.pageToken != "" || q.pageLimit > 0 || found.Next != ""
	next := ""
	if found.Next != "" {
		next = pageToken(&req, target, page.Limit, found.Next)
	}
	answer(w, func(b []byte) []byte {
		b = append(b, '{')
		if paged {
			b = append(b, `"page":{"next_token":`...)
			b = appendString(b, next)
			b = append(b, `,"count":`...)
			b = strconv.AppendInt(b, int64(len(found.Results)), 10)
			b = append(b, `},`...)
		}
		b = append(b, `"results":[`...)
		for i, res := range found.Results {
			b = write(comma(b, i), res)
			if i < len(found.Obligations) && len(found.Obligations[i]) > 0 {
				b = appendObligations(append(b, `,"obligations":`...), found.Obligations[i])
			}
			b = append(b, '}')
		}
		return append(b, `]}`...)
	})
	return nil
}

// A page token is stateless: 16 bytes that bind it to the request, the limit, and the name after
// which the next page begins. It grants nothing, since every page is judged anew; the binding
// only catches a request that changed on the way ("PDPs SHOULD return an error").

// pageToken returns the token of the page that begins after the given name.
func pageToken(req *authz.Request, target byte, limit int, after string) string {
	b := bind(req, target, limit, after)
	b = binary.AppendUvarint(b, uint64(limit))
	b = append(b, after...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// openPage returns the page that q asks for.
func (s *Server) openPage(q *question, req *authz.Request, target byte) (pdp.Page, error) {
	page := pdp.Page{Limit: s.limits.Results}
	if q.pageLimit > 0 {
		page.Limit = min(page.Limit, q.pageLimit)
	}
	if q.pageToken == "" {
		return page, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(q.pageToken)
	if err != nil || len(b) < 17 {
		return page, invalid("page.token is none of ours")
	}
	limit, n := binary.Uvarint(b[16:])
	if n <= 0 || limit < 1 || limit > uint64(s.limits.Results) {
		return page, invalid("page.token is none of ours")
	}
	if q.pageLimit > 0 && uint64(page.Limit) != limit {
		return page, invalid("page.limit has changed since the first page")
	}
	page.Limit, page.After = int(limit), string(b[16+n:])
	if !bytes.Equal(b[:16], bind(req, target, page.Limit, page.After)) {
		return page, invalid("page.token belongs to another request")
	}
	return page, nil
}

// bind returns 16 bytes of a hash over everything that must stay the same from page to page.
func bind(req *authz.Request, target byte, limit int, after string) []byte {
	h := sha256.New()
	h.Write([]byte("safeconduct page token 1"))
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	object := func(c authz.Claimed) { // written differently is still the same
		v := jsontext.Value(append([]byte(nil), c...))
		if err := v.Canonicalize(); err != nil {
			v = jsontext.Value(c)
		}
		field(v)
	}
	h.Write([]byte{target})
	field([]byte(strconv.Itoa(limit)))
	field([]byte(after))
	for _, f := range []string{req.Subject.Type, req.Subject.ID, req.Action.Name, req.Resource.Type, req.Resource.ID} {
		field([]byte(f))
	}
	for _, c := range []authz.Claimed{req.Subject.Properties, req.Action.Properties, req.Resource.Properties, req.Context} {
		object(c)
	}
	for _, p := range req.OnBehalf {
		field([]byte(p.Type))
		field([]byte(p.ID))
	}
	return h.Sum(nil)[:16]
}
