package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// CIBA, in short: the agent names a person and what it wants to carry; the person is asked at the desk,
// sees exactly that, and answers; the agent polls the token endpoint, or is told by a ping that it is
// worth asking. Push, in which tokens are sent to an address, is not done: they would be bound to nothing.
//
// Before anybody is asked, the policies judge whether the agent could carry it, as they do again when the
// token is issued. A person is not troubled with what would be refused anyway, and a yes opens nothing
// that policy keeps shut.

// backchannelPath is where agents ask for a person's authorization.
const backchannelPath = "/oauth2/bc-authorize"

// Bounds of a question.
const (
	pollInterval   = 5 * time.Second  // between two polls
	defaultPending = 10 * time.Minute // how long a person has to answer
	maxPending     = time.Hour
	maxMessage     = 128 // characters of a binding message
	maxHint        = 256
	// notificationToken bounds client_notification_token: 128 bits of chance in base64url at least, and
	// what section 7.1 allows at most.
	minNotification, maxNotification = 22, 1024
)

// Codes of errors of CIBA Core 1.0, sections 11 and 13.
const (
	authorizationPending = "authorization_pending"
	slowDown             = "slow_down"
	expiredToken         = "expired_token"
	unknownUser          = "unknown_user_id"
	invalidMessage       = "invalid_binding_message"
)

// An inquiry is a request to ask a person.
type inquiry struct {
	form    url.Values
	client  *Client
	catalog *catalog.Catalog
	now     time.Time
	address netip.Addr
	consent Consent
	notify  string // client_notification_token, "" unless the client is to be told
}

// backchannel answers the backchannel authentication endpoint (CIBA Core 1.0, section 7).
func (s *Server) backchannel(w http.ResponseWriter, r *http.Request) error {
	form, err := s.form(r)
	if err != nil {
		return err
	}
	q := &inquiry{now: s.cfg.Now(), catalog: s.cfg.Catalog(), address: s.cfg.Address(r)}
	if q.catalog == nil {
		return authz.Errorf(authz.ErrUnavailable, "no catalog is published")
	}
	if err := s.cfg.Fresh(); err != nil {
		return err
	}
	if q.client, err = s.authenticate(r, form); err != nil {
		return err
	}
	if s.used(q.client.Use) {
		return clientReplayed
	}
	uses := []*Use{q.client.Use}
	if q.form, uses, err = s.signedRequest(r.Context(), form, q, uses); err != nil {
		return err
	}
	if err := s.inquire(q); err != nil {
		return err
	}
	refused, err := s.foresee(r.Context(), q, uses)
	if err != nil {
		return err
	}
	id, expires, err := s.cfg.Desk.Ask(r.Context(), &q.consent)
	switch {
	case errors.Is(err, authz.ErrForbidden):
		return tooMuchAsked(err)
	case errors.Is(err, authz.ErrInvalid):
		return badRequest("the question is not one that can be put to a person", err)
	case err != nil:
		return err
	}
	if q.notify != "" {
		s.pings.add(ping{ask: id, address: s.cfg.Clients.Pings[q.client.Agent.ID], bearer: q.notify, until: expires})
	}
	b := append(make([]byte, 0, 256), `{"auth_req_id":`...)
	b = appendString(b, id)
	b = append(b, `,"expires_in":`...)
	b = strconv.AppendInt(b, max(1, int64(expires.Sub(q.now).Round(time.Second)/time.Second)), 10)
	b = append(b, `,"interval":`...)
	b = strconv.AppendInt(b, int64(pollInterval/time.Second), 10)
	if len(refused) > 0 {
		b = append(b, `,"refused":`...)
		b = appendRefusals(b, refused)
	}
	writeAnswer(w, http.StatusOK, jsonType, append(b, '}'))
	return nil
}

// inquire reads the parameters of a question (CIBA Core 1.0, section 7.1).
func (s *Server) inquire(q *inquiry) (err error) {
	c, f := &q.consent, q.form
	c.Agent, c.Terms.ClientID = q.client.Agent.ID, q.client.ID
	if c.Person, err = s.whom(f, q.client); err != nil {
		return err
	}
	if err := s.wanted(q); err != nil {
		return err
	}
	if c.Message = f.Get("binding_message"); !isMessage(c.Message) {
		return &Error{Status: http.StatusBadRequest, Code: invalidMessage,
			Description: "binding_message must be plain text on one line of at most 128 characters"}
	}
	pending := defaultPending
	if text := f.Get("requested_expiry"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil || n == 0 {
			return badRequest("requested_expiry must be a positive number of seconds", err)
		}
		pending = min(time.Duration(n)*time.Second, maxPending)
	}
	c.Expires = q.now.Add(pending)
	if c.Terms.MayAct = f.Get("may_act"); c.Terms.MayAct == string(c.Agent) || !isName(c.Terms.MayAct) {
		return badRequest("may_act must be the id of another agent", nil)
	}
	if err := s.demand(q); err != nil {
		return err
	}
	if _, ping := s.cfg.Clients.Pings[c.Agent]; ping {
		// A client that may be told may also just poll: then it sends no token to be told by.
		if q.notify = f.Get("client_notification_token"); q.notify != "" && !isNotification(q.notify) {
			return badRequest("client_notification_token must be a bearer token of 22 to 1024 characters", nil)
		}
	}
	return nil
}

// whom returns who is meant: exactly one hint says so.
func (s *Server) whom(f url.Values, client *Client) (string, error) {
	n := 0
	for _, name := range []string{"login_hint", "id_token_hint", "login_hint_token"} {
		if f.Has(name) {
			n++
		}
	}
	unknown := &Error{Status: http.StatusBadRequest, Code: unknownUser, Description: "the hint names nobody who can be asked"}
	switch hint := f.Get("login_hint"); {
	case n != 1:
		return "", badRequest("want exactly one of login_hint and id_token_hint", nil)
	case f.Has("login_hint_token"):
		return "", badRequest("login_hint_token is not supported: use login_hint or id_token_hint", nil)
	case f.Has("id_token_hint"):
		person, ok := s.hinted(f.Get("id_token_hint"), client)
		if !ok {
			return "", badRequest("the id_token_hint is none that was issued to this client", nil)
		}
		if _, active := s.cfg.People.Epoch(person); !active {
			return "", unknown
		}
		return person, nil
	case len(hint) > maxHint:
		return "", unknown
	default:
		person, err := s.cfg.People.Hinted(strings.TrimPrefix(hint, personPrefix))
		if errors.Is(err, authz.ErrNotFound) {
			return "", unknown
		}
		return person, err
	}
}

// wanted reads what the agent wants to carry. What a person is asked to authorize has a name and a limit:
// capabilities that are not named are not asked for, and limits that are left out are written out as the
// catalog has them now, so that what is granted is what was shown.
func (s *Server) wanted(q *inquiry) error {
	c, f := &q.consent, q.form
	scope := f.Get("scope")
	if words := strings.Split(scope, " "); slices.Contains(words, "openid") {
		scope = strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "openid" }), " ")
		c.Terms.OpenID = true
	}
	if scope == "" && !f.Has("authorization_details") {
		return badScope("name the capabilities that the person is to authorize")
	}
	out, err := ask(scope, f.Get("authorization_details"), bareDetails(q.client.Agent.Capabilities), q.catalog)
	if err != nil {
		return err
	}
	for i := range out.details {
		d, err := within(&out.details[i], out.details[i:i+1], q.catalog)
		if err != nil {
			return err
		}
		c.Details = append(c.Details, d)
	}
	if c.Terms.Audience, err = target(f, s.audience, s.audience[:1]); err != nil {
		return err
	}
	return located(c.Details, c.Terms.Audience, true)
}

// demand reads acr_values. Whether one of the levels can be reached is known now: they demand something
// of the client, which is what it is, and of the person, who can answer by a passkey. The preferred one of
// those that can be reached says whether the person must.
func (s *Server) demand(q *inquiry) (err error) {
	c := &q.consent
	if c.Terms.ACR, err = parseACR(q.form.Get("acr_values")); err != nil || len(c.Terms.ACR) == 0 {
		return err
	}
	most := expected(q)
	least := most
	least.AMR, least.At = nil, time.Time{}
	for _, acr := range c.Terms.ACR {
		if s.reaches(acr, &most, q.now) {
			c.Passkey = !s.reaches(acr, &least, q.now)
			return nil
		}
	}
	return unmet("none of acr_values can be reached by this client and a person")
}

// expected returns how a person who answers by a passkey will have authenticated.
func expected(q *inquiry) authz.Authentication {
	bound := "dpop"
	if q.client.Certificate != nil {
		bound = "mtls"
	}
	return authz.Authentication{AMR: PasskeyAMR, Method: q.client.Method, Bound: bound, At: q.now, Person: q.consent.Person}
}

// foresee asks the policies whether the agent could carry what it wants if the person said yes. What they
// refuse is left out of the question, and if nothing is left, nobody is asked. A refusal that stronger
// authentication would lift is none yet. The answer is recorded, which uses up the assertions.
func (s *Server) foresee(ctx context.Context, q *inquiry, uses []*Use) ([]Refusal, error) {
	c := &q.consent
	asked, budget := s.cfg.Desk.Asks(c.Agent, "", q.now), q.catalog.AskBudget()
	if budget.Hour > 0 && asked.Hour >= budget.Hour || budget.Pending > 0 && asked.Pending >= budget.Pending {
		return nil, tooMuchAsked(nil)
	}
	auth := expected(q)
	p := &authz.Passport{Details: c.Details, Bound: auth.Bound, Expires: q.now.Add(s.cfg.Lifetime), Auth: auth}
	as := question{[]authz.AgentID{c.Agent}, c.Person, origin{address: q.address, method: q.client.Method, grant: grantCIBA}, c.Terms.Audience, p}
	v, err := s.judge(&as, c.Details, q.now)
	if err != nil {
		return nil, err
	}
	drafts := v.drafts
	if used, ok := usedDraft("agent:"+string(c.Agent), uses); ok {
		drafts = append(drafts, used)
	}
	if _, err := s.cfg.Log.CommitAll(ctx, drafts...); errors.Is(err, errUsed) {
		return nil, clientReplayed
	} else if err != nil {
		return nil, err
	}
	if s.lost(q.client) {
		return nil, clientRevoked
	}
	c.Details = append(v.granted, v.liftable...)
	slices.SortFunc(c.Details, func(a, b authz.Detail) int { return strings.Compare(a.Identifier, b.Identifier) })
	refused := slices.DeleteFunc(v.refused, func(r Refusal) bool { return findDetail(v.liftable, r.Identifier) != nil })
	if len(c.Details) == 0 {
		return nil, &Error{Status: http.StatusForbidden, Code: accessDenied, Description: refused[0].Message, Refused: refused}
	}
	return refused, nil
}

// tooMuchAsked answers an agent that has asked too much of persons.
func tooMuchAsked(cause error) *Error {
	return &Error{Status: http.StatusForbidden, Code: accessDenied, Description: "too much has been asked of persons already: try again later", Cause: cause}
}

// isMessage reports whether a person can be shown s on one line, as it is: letters, digits, punctuation,
// symbols and single spaces; nothing that is invisible or turns the direction of what follows.
func isMessage(s string) bool {
	if utf8.RuneCountInString(s) > maxMessage || s != strings.TrimSpace(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c != ' ' && (!unicode.IsGraphic(c) || isInvisible(c)) })
}

// isInvisible reports whether nothing is seen of a character that is not a control: spaces of every kind,
// characters that may be left out (Default_Ignorable_Code_Point), those that only choose how the one before
// is drawn, and blank ones that count as letters and symbols.
func isInvisible(c rune) bool {
	switch c {
	case 0x115f, 0x1160, 0x3164, 0xffa0, // fillers of Hangul
		0x2800,  // a Braille pattern of no dots
		0x1d159: // a musical note without a head
		return true
	}
	return unicode.In(c, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// isNotification reports whether s is a bearer token (RFC 6750, section 2.1) that nobody guesses.
func isNotification(s string) bool {
	body := strings.TrimRight(s, "=")
	return len(s) >= minNotification && len(s) <= maxNotification && !strings.ContainsFunc(body, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-._~+/", c)
	})
}
