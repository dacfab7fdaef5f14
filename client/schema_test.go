package client_test

import (
	"errors"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func TestSchema(t *testing.T) {
	for _, tt := range []struct {
		schema, value string
		want          bool
	}{
		{`true`, `1`, true}, {`false`, `1`, false}, {`{}`, `1`, true}, {`[]`, `1`, false},
		{`{"type":"string"}`, `"a"`, true}, {`{"type":"string"}`, `1`, false}, {`{"type":["string","null"]}`, `null`, true}, {`{"type":"integer"}`, `1.0`, true}, {`{"type":"integer"}`, `1.5`, false},
		{`{"required":["a"]}`, `{"a":null}`, true}, {`{"required":["a"]}`, `{"b":1}`, false},
		{`{"properties":{"a":{"const":"x"}}}`, `{"a":"x"}`, true}, {`{"properties":{"a":{"const":"x"}}}`, `{"a":"y"}`, false}, {`{"properties":{"a":false}}`, `{"b":1}`, true},
		{`{"enum":[1,"x"]}`, `"x"`, true}, {`{"enum":[1,"x"]}`, `"y"`, false},
		{`{"minLength":2}`, `"ä"`, false}, {`{"maxLength":2}`, `"äöü"`, false}, {`{"minLength":2,"maxLength":3}`, `"äö"`, true}, {`{"minLength":2}`, `1`, true},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"a":1,"b":1}`, true},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"a":1}`, false},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{}`, false}, {`{"if":{"required":["a"]}}`, `{}`, true},
		{`{"allOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1,"b":1}`, true}, {`{"allOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1}`, false},
		{`{"anyOf":[{"required":["a"]},{"required":["b"]}]}`, `{"b":1}`, true}, {`{"anyOf":[{"required":["a"]}]}`, `{}`, false},
		{`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"b":1}`, true}, {`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1,"b":1}`, false},
		{`{"not":{"required":["a"]}}`, `{}`, true}, {`{"not":{"required":["a"]}}`, `{"a":1}`, false},
		{`{"title":"x","format":"date-time","$schema":"y"}`, `1`, true},
		{`{"$ref":"#"}`, `1`, false}, {`{"pattern":"a"}`, `"a"`, false}, {`{"not":{"pattern":"a"}}`, `"a"`, false}, // nobody can tell
	} {
		err := client.CheckSchema(tt.schema, tt.value)
		if (err == nil) != tt.want || err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s allows %s: %v, want %v", tt.schema, tt.value, err, tt.want)
		}
	}
	deep := `{}`
	for range 40 {
		deep = `{"not":` + deep + `}`
	}
	if err := client.CheckSchema(deep, `1`); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a schema of depth 40: %v, want ErrInvalid", err)
	}
}

func FuzzSchema(f *testing.F) {
	f.Add(`{"if":{"required":["a"]},"then":{"type":"object"}}`, `{"a":1}`)
	f.Add(`{"oneOf":[true,{"not":{"enum":[1]}}],"minLength":1}`, `"x"`)
	f.Fuzz(func(t *testing.T, schema, value string) { // it returns, whatever it is given
		if err := client.CheckSchema(schema, value); err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("CheckSchema(%q, %q): %v", schema, value, err)
		}
	})
}
