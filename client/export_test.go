package client

import (
	"encoding/json"

	"github.com/safeconduct/safeconduct/authz"
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
