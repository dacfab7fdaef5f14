package oauth

import "net/http"

// administrator is the role of API callers who may revoke any token.
const administrator = "administrator"

// revoke takes a token back (RFC 7009), and with it every token that was exchanged from it. Agents may
// revoke their own, administrators any; they may name it by its jti besides, as the log has it. The
// answer is the same whether there was anything to revoke. It is sent once the revocation is recorded
// and in effect here; other replicas follow with the log.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) error {
	form, err := s.form(r)
	if err != nil {
		return err
	}
	text := form.Get("token")
	if text == "" {
		return badRequest("token is missing", nil)
	}
	// All tokens of ours are access tokens, so token_type_hint tells nothing new.
	who, err := s.asker(r, form)
	if err != nil {
		return err
	}
	client, now := who.client, s.cfg.Now()
	rec, actor := Revoked{Why: form.Get("why")}, who.name
	switch {
	case len(rec.Why) > 1000:
		return badRequest("why must have at most 1000 characters", nil)
	case client != nil:
		actor = "agent:" + string(client.Agent.ID)
	case who.role != administrator:
		return &Error{Status: http.StatusForbidden, Code: unauthorizedClient, Description: "only administrators revoke the tokens of others"}
	}
	var id tokenID
	if p, err := s.read(text); err == nil {
		if client != nil && client.ID != p.claims.ClientID {
			return &Error{Status: http.StatusBadRequest, Code: invalidGrant, Description: "the token was issued to another client"}
		}
		id = p.id
		rec.ID, rec.Expires, rec.ClientID, rec.Subject = p.claims.ID, p.claims.Expires.Unix(), p.claims.ClientID, p.claims.Subject
	} else if named, ok := parseTokenID(text); ok && client == nil {
		id, rec.ID, rec.Expires = named, text, now.Add(maxLifetime).Unix()
	}
	if revoked, _, _ := s.state.standing(id, nil); rec.ID != "" && !revoked && rec.Expires > now.Unix()-grace {
		d, err := rec.draft(actor)
		if err != nil {
			return err
		}
		if _, err := s.cfg.Log.CommitAll(r.Context(), d); err != nil {
			return err
		}
	}
	h := w.Header()
	h["Cache-Control"], h["Pragma"] = noStore, noCache
	w.WriteHeader(http.StatusOK)
	return nil
}
