package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
)

// checkSchema returns authz.ErrInvalid if the service wants something of an access request that this one does
// not have, or that we cannot tell (ARAP, Machine-Readable Forms): nothing is made up, and nothing
// incomplete is submitted.
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
	var schema, value any
	if err := json.Unmarshal(resp.body, &schema); err != nil {
		return authz.Errorf(authz.ErrInvalid, "the schema of access requests cannot be read: %w", err)
	}
	if err := json.Unmarshal(body, &value); err != nil {
		return authz.Errorf(authz.ErrInvalid, "the access request cannot be read: %w", err)
	}
	problem, err := violation(schema, value, "the access request", maxSchemaDepth)
	if err == nil && problem != "" {
		err = authz.Errorf(authz.ErrInvalid, "the service wants more: %s", problem)
	}
	return err
}

const maxSchemaDepth = 32

// annotations are keywords of JSON Schema that demand nothing.
var annotations = []string{"$schema", "$id", "$comment", "title", "description", "default", "examples", "format", "deprecated", "readOnly", "writeOnly"}

// violation returns what of a value a JSON Schema does not allow, "" if it allows the value. It knows the
// keywords that say what must be there, and in what form; at one that it does not know it returns
// authz.ErrInvalid, for nobody can say then whether the value is allowed.
func violation(schema, value any, what string, depth int) (problem string, err error) {
	if depth == 0 {
		return "", authz.Errorf(authz.ErrInvalid, "the schema of access requests is too deep")
	}
	s, ok := schema.(map[string]any)
	if b, isBool := schema.(bool); isBool {
		if b {
			return "", nil
		}
		return what + " must not be there", nil
	} else if !ok {
		return "", authz.Errorf(authz.ErrInvalid, "the schema of %s is none", what)
	}
	c := schemaCheck{s, value, what, depth - 1}
	// In the order of their names, so that the same is said each time.
	for _, k := range sortedKeys(s) {
		if slices.Contains(annotations, k) {
			continue
		}
		if problem, err = c.keyword(k); problem != "" || err != nil {
			return problem, err
		}
	}
	return "", nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A schemaCheck is a value under one schema.
type schemaCheck struct {
	schema map[string]any
	value  any
	what   string
	depth  int
}

func (c *schemaCheck) keyword(k string) (string, error) {
	v := c.schema[k]
	members, _ := c.value.(map[string]any)
	list, _ := v.([]any)
	text, isText := c.value.(string)
	number, isNumber := v.(float64)
	switch k {
	case "type":
		if !slices.Contains(append(list, v), any(jsonType(c.value))) && !(v == "integer" && isWhole(c.value)) {
			return fmt.Sprintf("%s must be of type %v", c.what, v), nil
		}
		return "", nil
	case "required":
		for _, name := range list {
			if s, ok := name.(string); ok && members != nil {
				if _, ok := members[s]; !ok {
					return fmt.Sprintf("%s lacks %.64q", c.what, s), nil
				}
			}
		}
		return "", nil
	case "properties":
		props, _ := v.(map[string]any)
		for _, name := range sortedKeys(props) {
			if m, ok := members[name]; ok {
				if problem, err := violation(props[name], m, name, c.depth); problem != "" || err != nil {
					return problem, err
				}
			}
		}
		return "", nil
	case "const":
		if !reflect.DeepEqual(v, c.value) {
			return fmt.Sprintf("%s must be %v", c.what, v), nil
		}
		return "", nil
	case "enum":
		if !slices.ContainsFunc(list, func(e any) bool { return reflect.DeepEqual(e, c.value) }) {
			return fmt.Sprintf("%s must be one of %v", c.what, v), nil
		}
		return "", nil
	case "minLength", "maxLength":
		if n := float64(utf8.RuneCountInString(text)); isText && isNumber && (k == "minLength" && n < number || k == "maxLength" && n > number) {
			return fmt.Sprintf("%s has %v characters, and %s is %v", c.what, n, k, number), nil
		}
		return "", nil
	case "if":
		return c.conditional()
	case "then", "else":
		return "", nil // by if
	case "allOf", "anyOf", "oneOf":
		return c.combined(k, list)
	case "not":
		problem, err := violation(v, c.value, c.what, c.depth)
		if err == nil && problem == "" {
			return c.what + " is what it must not be", nil
		}
		return "", err
	}
	return "", authz.Errorf(authz.ErrInvalid, "the schema of %s has the keyword %.64q, which nobody here can tell", c.what, k)
}

func (c *schemaCheck) conditional() (string, error) {
	problem, err := violation(c.schema["if"], c.value, c.what, c.depth)
	if err != nil {
		return "", err
	}
	branch := "then"
	if problem != "" {
		branch = "else"
	}
	if next, ok := c.schema[branch]; ok {
		return violation(next, c.value, c.what, c.depth)
	}
	return "", nil
}

func (c *schemaCheck) combined(k string, list []any) (string, error) {
	fit, first := 0, ""
	for _, sub := range list {
		problem, err := violation(sub, c.value, c.what, c.depth)
		if err != nil {
			return "", err
		}
		if problem == "" {
			fit++
		} else if first == "" {
			first = problem
		}
	}
	if k == "allOf" && fit < len(list) || k == "anyOf" && fit == 0 || k == "oneOf" && fit != 1 {
		if first == "" {
			first = c.what + " fits more than one form of which it must be one"
		}
		return first, nil
	}
	return "", nil
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func isWhole(v any) bool {
	n, ok := v.(float64)
	return ok && n == float64(int64(n))
}
