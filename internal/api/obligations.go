package api

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
)

// obligationTypes are those that the AuthZEN obligations profile (draft 1) registers, and "custom".
// All of them can be issued, since a catalog may declare all of them; the metadata says so.
var obligationTypes = []string{"step-up", "notification", "session_termination", "custom"}

// obligationMember is the property of a custom obligation that holds its type in the catalog.
const obligationMember = "obligation"

func appendObligations(b []byte, list []authz.Obligation) []byte {
	b = append(b, '[')
	for i := range list {
		b = appendObligation(comma(b, i), &list[i])
	}
	return append(b, ']')
}

// appendObligation appends o as the profile has it: id, type and properties are always there, and the
// type is a registered one or "custom". A custom one tells its type in the catalog by a property,
// unless its properties say that already.
func appendObligation(b []byte, o *authz.Obligation) []byte {
	typ := o.ProfileType()
	b = append(b, `{"id":`...)
	b = appendString(b, o.ID)
	b = append(b, `,"type":`...)
	b = appendString(b, typ)
	b = append(b, `,"properties":`...)
	properties := []byte(o.Properties)
	if len(properties) == 0 {
		properties = []byte(`{}`)
	}
	if typ != o.Type {
		properties = named(properties, o.Type)
	}
	b = append(b, properties...)
	return append(b, '}')
}

// named returns properties with the type of their obligation among them.
func named(properties []byte, typ string) []byte {
	members := map[string]jsontext.Value{}
	if err := json.Unmarshal(properties, &members); err != nil {
		return properties
	}
	if _, ok := members[obligationMember]; ok {
		return properties
	}
	members[obligationMember] = appendString(nil, typ)
	out, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return properties
	}
	return out
}
