package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/people"
)

// redeem exchanges a code for an ID token, and returns what it says.
func (p *provider) redeem(ctx context.Context, found *oidc.Provider, code string, f flow) (l people.Login, who people.Profile, err error) {
	if code == "" || len(code) > maxCookie {
		return l, who, authz.Errorf(authz.ErrInvalid, "the identity provider's answer has no code")
	}
	ctx = oidc.ClientContext(ctx, p.Client)
	tokens, err := p.config(found).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		if _, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return l, who, errors.Join(authz.Errorf(authz.ErrForbidden, "the identity provider does not accept its own answer: begin again"), err)
		}
		return l, who, authz.Errorf(authz.ErrUnavailable, "exchanging the code: %w", err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return l, who, authz.Errorf(authz.ErrForbidden, "the identity provider gave no ID token")
	}
	bad := authz.Errorf(authz.ErrForbidden, "the identity provider's ID token does not count")
	id, err := found.VerifierContext(ctx, &oidc.Config{ClientID: p.ClientID, Now: p.now}).Verify(ctx, raw)
	if err != nil {
		return l, who, errors.Join(bad, err)
	}
	// OpenID Connect Core, 3.1.3.7: the nonce is ours; of several audiences, we are the authorized party.
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
		return l, who, bad
	}
	var said map[string]any
	if err := id.Claims(&said); err != nil {
		return l, who, bad
	}
	if azp, ok := said["azp"]; ok && azp != p.ClientID || !ok && len(id.Audience) > 1 {
		return l, who, bad
	}
	if id.AccessTokenHash != "" && id.VerifyAccessToken(tokens.AccessToken) != nil {
		return l, who, bad
	}
	l = people.Login{Challenge: f.Nonce, Issuer: id.Issuer, Subject: id.Subject, Claims: map[string][]string{}, Roles: p.granted(said)}
	for _, name := range p.Claims {
		if values := texts(said[name]); len(values) > 0 {
			l.Claims[name] = values
		}
	}
	// Verified or not: names keep somebody from being two persons, and from answering for an agent of their own.
	for _, name := range []string{"email", "preferred_username", "upn"} {
		for _, v := range texts(said[name]) {
			if len(l.Names) < people.MaxNames && !slices.Contains(l.Names, v) {
				l.Names = append(l.Names, v)
			}
		}
	}
	who = people.Profile{Issuer: id.Issuer, Subject: id.Subject, Name: plain(said["name"], people.MaxName)}
	if who.Name == "" {
		who.Name = plain(said["preferred_username"], people.MaxName)
	}
	if who.Name == "" {
		who.Name = "no name"
	}
	if verified, _ := said["email_verified"].(bool); verified {
		who.Email = people.PlainEmail(plain(said["email"], people.MaxName))
	}
	return l, who, nil
}

// texts returns the values of a claim that are texts: it is one, or a list of them. Others do not count.
func texts(claim any) (values []string) {
	switch c := claim.(type) {
	case string:
		values = []string{c}
	case bool:
		if c {
			values = []string{"true"}
		}
	case []any:
		for _, v := range c {
			if s, ok := v.(string); ok {
				values = append(values, s)
			}
		}
	}
	values = slices.DeleteFunc(values, func(s string) bool { return !people.PlainClaim(s) })
	slices.Sort(values)
	values = slices.Compact(values)
	return values[:min(len(values), maxClaimValues)]
}

// plain returns a claim if it is a printable text that is not longer than most bytes, else "".
func plain(claim any, most int) string {
	s, _ := claim.(string)
	if len(s) > most || !people.PlainClaim(s) {
		return ""
	}
	return s
}
