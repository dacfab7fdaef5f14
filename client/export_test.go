package client

import (
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Challenge is what a Transport reads of the challenges of a refusal.
var Challenge = challenge

// CheckSchema returns what of a value a schema does not allow.
func CheckSchema(schema, value string) error {
	var s, v any
	if json.Unmarshal([]byte(schema), &s) != nil || json.Unmarshal([]byte(value), &v) != nil {
		return authz.Errorf(authz.ErrInvalid, "no JSON")
	}
	problem, err := violation(s, v, "the value", maxSchemaDepth)
	if err == nil && problem != "" {
		err = authz.Errorf(authz.ErrInvalid, "%s", problem)
	}
	return err
}

// CopyPermit copies a Permit as reflection or unsafe code could, which the vet check on copies does not see.
func CopyPermit(to, from *Permit) {
	to.self, to.reporter, to.requests, to.answers, to.met, to.terms = from.self, from.reporter, from.requests, from.answers, from.met, from.terms
}

// TakeProof has a proof remembered of a key, as if it had been shown.
func TakeProof(s *Proofs, key, id string, made, now time.Time) error {
	_, err := s.take(&token.Proof{ID: id, Key: &token.Key{ID: key}, IssuedAt: made}, now, time.Minute)
	return err
}

// Age is how old a decision is.
var Age = age

// AnsweredAt has a Permit stand on an answer of that time.
func AnsweredAt(p *Permit, at time.Time) { p.answered = at }
