package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
)

// checkSchema returns authz.ErrInvalid if the service wants something of an access request that this one does
// not have, or that we cannot tell (ARAP, Machine-Readable Forms): nothing is made up, and nothing
// incomplete is submitted.
//
// Of the JSON Schema it understands which members must be there, of the whole, of context and of
// requested_access. One that says more than that by conditions or references is for whoever made the offer
// usable, and is not guessed at.
func (c *Client) checkSchema(ctx context.Context, o *Offer, r *AccessRequest, body []byte) error {
	if o.CatalogsURL != "" && !r.Catalogs {
		return authz.Errorf(authz.ErrInvalid, "the service wants values out of its catalogs (%.200q): take them from there, and say so by Catalogs", o.CatalogsURL)
	}
	if o.SchemaURL == "" {
		return nil
	}
	resp, err := c.exchange(ctx, http.MethodGet, o.SchemaURL, nil, http.Header{"Accept": {"application/schema+json, application/json"}})
	if err != nil {
		return err
	}
	var schema jsonSchema
	if err := json.Unmarshal(resp.body, &schema); err != nil {
		return authz.Errorf(authz.ErrInvalid, "the schema of access requests cannot be read: %w", err)
	}
	return schema.check("the access request", body)
}

// jsonSchema is as much of a JSON Schema as we understand.
type jsonSchema struct {
	Required   []string                   `json:"required"`
	Properties map[string]json.RawMessage `json:"properties"`

	Ref   json.RawMessage `json:"$ref"`
	AllOf json.RawMessage `json:"allOf"`
	AnyOf json.RawMessage `json:"anyOf"`
	OneOf json.RawMessage `json:"oneOf"`
	If    json.RawMessage `json:"if"`
	Needs json.RawMessage `json:"dependentRequired"`
}

func (s *jsonSchema) check(what string, object json.RawMessage) error {
	for _, k := range []json.RawMessage{s.Ref, s.AllOf, s.AnyOf, s.OneOf, s.If, s.Needs} {
		if k != nil {
			return authz.Errorf(authz.ErrInvalid, "the schema of %s has conditions, which nobody here can tell", what)
		}
	}
	members := map[string]json.RawMessage{}
	if len(object) > 0 {
		if err := json.Unmarshal(object, &members); err != nil {
			return authz.Errorf(authz.ErrInvalid, "%s is no object", what)
		}
	}
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			return authz.Errorf(authz.ErrInvalid, "%s lacks the member %.64q, which the service wants", what, name)
		}
	}
	for _, name := range []string{"context", "requested_access"} {
		text, ok := s.Properties[name]
		if !ok || what != "the access request" {
			continue
		}
		var inner jsonSchema
		if err := json.Unmarshal(text, &inner); err != nil {
			return authz.Errorf(authz.ErrInvalid, "the schema of %s cannot be read: %w", name, err)
		}
		if err := inner.check(name, members[name]); err != nil {
			return err
		}
	}
	return nil
}
