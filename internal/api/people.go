package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/people"
)

// PeopleAdmin knows and changes the persons who sign in. *people.Registry is one.
type PeopleAdmin interface {
	Person(id string) (*people.Person, error)
	People() []*people.Person
	Enrolment(id string, at time.Time) (people.Enrolment, bool)
	MakeLink(ctx context.Context, actor, why, id string, ttl time.Duration) (people.Link, error)
	Sessions(id string, at time.Time) []*people.Session
	Put(ctx context.Context, actor, why string, p people.Profile, ifAsOf int64) (*people.Person, error)
	Enrol(ctx context.Context, actor, why, id string, ttl time.Duration) (people.Enrolment, error)
	RevokePasskey(ctx context.Context, actor, why, id, passkey string) (*people.Person, error)
	EndSessions(ctx context.Context, actor, why, id string) (*people.Person, error)
}

// peopleRoutes are those by which administrators look after persons.
func (s *Server) peopleRoutes() []route {
	return []route{
		read("/v1/people", auditors, "List the persons who can sign in", known(s, s.listPeople)),
		read("/v1/people/{id}", auditors, "Read one person", known(s, s.readPerson)),
		change("PUT", "/v1/people/{id}", admins, "Make a person, change one, or disable one", known(s, s.putPerson)),
		change("POST", "/v1/people/{id}/enrolment", admins, "Make a link by which a person registers a passkey; it is shown once", known(s, s.enrolPerson)),
		change("POST", "/v1/people/{id}/link", admins, "Make a link by which a person signs in once; it is shown once", known(s, s.linkPerson)),
		change("POST", "/v1/people/{id}/passkeys/revoke", admins, "Revoke a passkey of a person", known(s, s.revokePasskey)),
		change("POST", "/v1/people/{id}/sign-out", admins, "End every session of a person", known(s, s.signOutPerson)),
	}
}

// known makes of f what says that there are no persons, where there are none.
func known[In, Out any](s *Server, f func(*http.Request, *caller.Identity, In) (Out, error)) func(*http.Request, *caller.Identity, In) (Out, error) {
	return func(r *http.Request, who *caller.Identity, in In) (out Out, err error) {
		if s.People == nil {
			return out, authz.Errorf(authz.ErrUnavailable, "no persons are known here")
		}
		return f(r, who, in)
	}
}

// A PersonView is a person as administrators and auditors see one.
type PersonView struct {
	people.Profile
	Passkeys  []PasskeyView   `json:"passkeys" doc:"the oldest first, also the revoked ones"`
	Enrolment *PendingPasskey `json:"enrolment,omitempty" doc:"a link that was made and not used yet"`
	Sessions  []PersonSession `json:"sessions" doc:"the oldest first"`
	AsOf      int64           `json:"as_of" doc:"number of the entry that changed the person last; a change names it"`
}

// A PasskeyView is a passkey of a person.
type PasskeyView struct {
	ID        string    `json:"id" doc:"base64url of the credential id"`
	Title     string    `json:"title"`
	CreatedAt time.Time `json:"created_at"`
	UsedAt    time.Time `json:"used_at,omitzero" doc:"of the last sign-in"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// A PendingPasskey is a link by which a passkey can still be registered. The link itself is not known here.
type PendingPasskey struct {
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// A PersonSession is a session that has not ended.
type PersonSession struct {
	Method    string              `json:"method" doc:"passkey, oidc or link"`
	Passkey   string              `json:"passkey,omitempty"`
	Roles     []people.Role       `json:"roles" doc:"the person's own, and those that the identity provider gave"`
	Claims    map[string][]string `json:"claims,omitempty" doc:"the person's own, and those of the identity provider"`
	At        time.Time           `json:"at"`
	ExpiresAt time.Time           `json:"expires_at" doc:"at the latest; in a browser where nobody is it ends before"`
}

func (s *Server) personView(p *people.Person) PersonView {
	now := s.Now()
	v := PersonView{Profile: p.Profile(), Passkeys: []PasskeyView{}, Sessions: []PersonSession{}, AsOf: p.AsOf}
	for _, k := range p.Passkeys {
		v.Passkeys = append(v.Passkeys, PasskeyView{k.ID, k.Title, k.CreatedAt, k.UsedAt, k.RevokedAt})
	}
	if e, ok := s.People.Enrolment(p.ID, now); ok {
		v.Enrolment = &PendingPasskey{e.CreatedAt, e.ExpiresAt}
	}
	for _, x := range s.People.Sessions(p.ID, now) {
		v.Sessions = append(v.Sessions, PersonSession{x.Method, x.Passkey, x.Roles, x.Claims, x.At, x.ExpiresAt})
	}
	return v
}

type listPeople struct {
	Text  string `query:"text" doc:"only persons with this text in their id, name or e-mail address"`
	After string `query:"after" doc:"begin after this id"`
	Limit int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

func (s *Server) listPeople(_ *http.Request, _ *caller.Identity, in listPeople) (List[PersonView], error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return List[PersonView]{}, err
	}
	out := List[PersonView]{Items: []PersonView{}}
	text := strings.ToLower(in.Text)
	for _, p := range s.People.People() {
		if p.ID <= in.After || !slices.ContainsFunc([]string{p.ID, p.Name, p.Email}, func(f string) bool { return strings.Contains(strings.ToLower(f), text) }) {
			continue
		}
		if len(out.Items) == n {
			out.Next = out.Items[n-1].ID
			break
		}
		out.Items = append(out.Items, s.personView(p))
	}
	return out, nil
}

type personID struct {
	ID string `path:"id" json:"-"`
}

func (s *Server) readPerson(_ *http.Request, _ *caller.Identity, in personID) (PersonView, error) {
	p, err := s.People.Person(in.ID)
	if err != nil {
		return PersonView{}, err
	}
	return s.personView(p), nil
}

type putPerson struct {
	personID `json:"-"`
	Name     string              `json:"name" doc:"1 to 100 bytes of printable text"`
	Email    string              `json:"email,omitempty" doc:"where the person is told of asks"`
	Issuer   string              `json:"issuer,omitempty" doc:"of the identity provider with which the person signs in"`
	Subject  string              `json:"subject,omitempty" doc:"the person's account there: sub of the ID token"`
	Claims   map[string][]string `json:"claims,omitempty" doc:"by which groups of approvers know the person"`
	Roles    []people.Role       `json:"roles,omitempty" doc:"what the person may do; none means approver: to answer what the catalog's groups let them"`
	Disabled bool                `json:"disabled,omitempty" doc:"a disabled person cannot sign in or answer; their sessions end"`
	IfAsOf   int64               `json:"if_as_of" doc:"as_of of the person that is changed; 0 makes a new one"`
	reason
}

func (s *Server) putPerson(r *http.Request, who *caller.Identity, in putPerson) (PersonView, error) {
	p, err := s.People.Put(r.Context(), who.Actor(), in.Why, people.Profile{
		ID: in.ID, Name: in.Name, Email: in.Email, Issuer: in.Issuer, Subject: in.Subject, Claims: in.Claims, Roles: in.Roles, Disabled: in.Disabled,
	}, in.IfAsOf)
	if err != nil {
		return PersonView{}, err
	}
	return s.personView(p), nil
}

type enrolPerson struct {
	personID `json:"-"`
	TTL      int64 `json:"ttl_seconds,omitempty" doc:"how long the link can be used: a day if left out, a minute to 7 days"`
	reason
}

// An EnrolmentLink registers one passkey for a person, once. It is never shown again.
type EnrolmentLink struct {
	Person    string    `json:"person"`
	URL       string    `json:"url" doc:"whoever opens it can become the person: hand it over as you would a password"`
	ExpiresAt time.Time `json:"expires_at"`
	AsOf      int64     `json:"as_of"`
}

func (s *Server) enrolPerson(r *http.Request, who *caller.Identity, in enrolPerson) (EnrolmentLink, error) {
	const most = int64(people.MaxEnrolment / time.Second) // and no overflow
	if in.TTL < 0 || in.TTL > most {
		return EnrolmentLink{}, invalid("ttl_seconds is %d: 60 to %d", in.TTL, most)
	}
	e, err := s.People.Enrol(r.Context(), who.Actor(), in.Why, in.ID, time.Duration(in.TTL)*time.Second)
	if err != nil {
		return EnrolmentLink{}, err
	}
	return EnrolmentLink{Person: in.ID, URL: people.EnrolmentURL(s.PublicURL, e.Token), ExpiresAt: e.ExpiresAt, AsOf: e.AsOf}, nil
}

type linkPerson struct {
	personID `json:"-"`
	TTL      int64 `json:"ttl_seconds,omitempty" doc:"how long the link can be used: 10 minutes if left out, which is the most; at least 10 seconds"`
	reason
}

// A SignInLink signs a person in, once. It is never shown again.
type SignInLink struct {
	Person    string    `json:"person"`
	URL       string    `json:"url" doc:"whoever opens it can be the person for as long as a session lasts: hand it over as you would a password"`
	ExpiresAt time.Time `json:"expires_at"`
	AsOf      int64     `json:"as_of"`
}

func (s *Server) linkPerson(r *http.Request, who *caller.Identity, in linkPerson) (SignInLink, error) {
	const most = int64(people.MaxLink / time.Second) // and no overflow
	if in.TTL < 0 || in.TTL > most {
		return SignInLink{}, invalid("ttl_seconds is %d: 10 to %d", in.TTL, most)
	}
	l, err := s.People.MakeLink(r.Context(), who.Actor(), in.Why, in.ID, time.Duration(in.TTL)*time.Second)
	if err != nil {
		return SignInLink{}, err
	}
	return SignInLink{Person: in.ID, URL: people.LinkURL(s.PublicURL, l.Token), ExpiresAt: l.ExpiresAt, AsOf: l.AsOf}, nil
}

type revokePasskey struct {
	personID `json:"-"`
	Passkey  string `json:"passkey" doc:"id of the passkey that is revoked; sessions that began with it end"`
	reason
}

func (s *Server) revokePasskey(r *http.Request, who *caller.Identity, in revokePasskey) (PersonView, error) {
	p, err := s.People.RevokePasskey(r.Context(), who.Actor(), in.Why, in.ID, in.Passkey)
	if err != nil {
		return PersonView{}, err
	}
	return s.personView(p), nil
}

type signOutPerson struct {
	personID `json:"-"`
	reason
}

func (s *Server) signOutPerson(r *http.Request, who *caller.Identity, in signOutPerson) (PersonView, error) {
	p, err := s.People.EndSessions(r.Context(), who.Actor(), in.Why, in.ID)
	if err != nil {
		return PersonView{}, err
	}
	return s.personView(p), nil
}
