package gateway

import (
	"net/netip"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Who sent something to a gateway, as far as the gateway has verified it. Values are immutable once shared.
type Who struct {
	// Claims are those of the validated access token, decoded: COAZ's input variable "token". nil without one.
	Claims map[string]any
	// Subject is who acts, and OnBehalf for whom, nearest first. The Subject is empty if Presented says who.
	Subject  authz.Entity
	OnBehalf []authz.Ref
	// Presented is the passport of our own service that came with the request, to be passed on with the
	// question; nil if there is none.
	Presented *authz.Presented
	// Scopes are the token's.
	Scopes []string
	// Address is that of the connection.
	Address netip.Addr
	// Key tells callers apart: what is kept for one (a session, a credential, a process) is never used for another.
	// It names issuer, subject and client, who acts and for whom, and not the token.
	Key string
	// Expires is when the token does; zero without one.
	Expires time.Time
	// Token is the access token itself, only for exchanging it (RFC 8693). It is never passed on.
	Token string
	// Issuer is whose token it is: nobody else is sent it for an exchange but whom the document names.
	Issuer string
}

// Ask returns the question whether that caller may do all of reqs: subject, for whom, passport and address are filled in.
// What reqs say of these is replaced. Observed.Session, Task and the like are left as they are.
func (g *Gateway) Ask(w *Who, reqs ...authz.Request) client.Question {
	q := client.Question{Requests: make([]authz.Request, len(reqs)), Presented: w.Presented}
	for i, r := range reqs {
		r.Subject, r.OnBehalf = authz.Entity{}, nil
		if w.Presented == nil {
			r.Subject, r.OnBehalf = w.Subject, w.OnBehalf
		}
		r.Observed.Address, r.Observed.Passport, r.Observed.Method = w.Address, nil, ""
		q.Requests[i] = r
	}
	return q
}
