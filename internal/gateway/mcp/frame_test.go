package mcp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

func TestParseFrame(t *testing.T) {
	deep := strings.Repeat(`{"a":`, mcp.MaxDepth) + "1" + strings.Repeat("}", mcp.MaxDepth)
	for _, tt := range []struct {
		name, text string
		why        string // part of the error, "" if it is a frame
	}{
		{"a request", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`, ""},
		{"a request with a text as id", `{"jsonrpc":"2.0","id":"a","method":"ping"}`, ""},
		{"a notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, ""},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, ""},
		{"an error", `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"no","data":[1]}}`, ""},
		{"an error about nobody knows what", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}`, ""},
		{"white space", " {\t\"jsonrpc\" : \"2.0\" ,\n \"id\":1, \"method\":\"ping\" }\r\n", ""},
		{"deep", `{"jsonrpc":"2.0","id":1,"result":` + deep[len(`{"a":`):len(deep)-1] + `}`, ""},
		{"brackets in texts are no nesting", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"` + strings.Repeat(`[{\"`, 500) + `"}}`, ""},

		{"nothing", ``, "no JSON object"},
		{"a batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "no JSON object"},
		{"two", `{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}`, "more than one"},
		{"cut off", `{"jsonrpc":"2.0","id":1,"method":"ping"`, "no strict JSON"},
		{"a name twice", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, "no strict JSON"},
		{"a name twice, escaped", `{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}`, "no strict JSON"},
		{"a name twice, deep", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":[{"b":1,"b":2}]}}}`, "no strict JSON"},
		{"bad UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"a\":\"\xff\"}}", "no strict JSON"},
		{"half a surrogate", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800"}}`, "no strict JSON"},
		{"a member of nobody's", `{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}`, "does not have"},
		{"a member in other letters", `{"jsonrpc":"2.0","id":1,"Method":"ping","method":"ping"}`, "does not have"},
		{"no version", `{"id":1,"method":"ping"}`, "not of JSON-RPC 2.0"},
		{"another version", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, "not of JSON-RPC 2.0"},
		{"request and response", `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, "a request and a response"},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}`, "neither"},
		{"neither", `{"jsonrpc":"2.0","id":1}`, "neither"},
		{"a response with params", `{"jsonrpc":"2.0","id":1,"params":{},"result":{}}`, "neither"},
		{"a response to nothing", `{"jsonrpc":"2.0","result":{}}`, "without an id"},
		{"a result to null", `{"jsonrpc":"2.0","id":null,"result":{}}`, "neither a string nor an integer"},
		{"a request as null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "neither a string nor an integer"},
		{"a fraction as id", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, "neither a string nor an integer"},
		{"an exponent as id", `{"jsonrpc":"2.0","id":1e3,"method":"ping"}`, "neither a string nor an integer"},
		{"minus nothing as id", `{"jsonrpc":"2.0","id":-0,"method":"ping"}`, "neither a string nor an integer"},
		{"an integer that is not exact", `{"jsonrpc":"2.0","id":123456789012345678,"method":"ping"}`, "neither a string nor an integer"},
		{"an object as id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, "neither a string nor an integer"},
		{"a long id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 300) + `","method":"ping"}`, "id is longer"},
		{"a method that is no text", `{"jsonrpc":"2.0","id":1,"method":1}`, "method is no text"},
		{"an empty method", `{"jsonrpc":"2.0","id":1,"method":""}`, "method is no text"},
		{"a long method", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("a", 129) + `"}`, "method is no text"},
		{"a line break in a method", `{"jsonrpc":"2.0","id":1,"method":"ping\nx"}`, "not printable"},
		{"a zero in a method", `{"jsonrpc":"2.0","id":1,"method":"ping\u0000"}`, "not printable"},
		{"letters that look alike", `{"jsonrpc":"2.0","id":1,"method":"tооls/call"}`, "not printable"},
		{"params as list", `{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}`, "params are no object"},
		{"params as null", `{"jsonrpc":"2.0","id":1,"method":"x","params":null}`, "params are no object"},
		{"a result that is a text", `{"jsonrpc":"2.0","id":1,"result":"x"}`, "result is no object"},
		{"an error without code", `{"jsonrpc":"2.0","id":1,"error":{"message":"x"}}`, "no code"},
		{"an error that is a text", `{"jsonrpc":"2.0","id":1,"error":"x"}`, "no code"},
		{"too deep", `{"jsonrpc":"2.0","id":1,"method":"x","params":` + deep + `}`, "nested deeper"},
		{"much too deep", strings.Repeat("[", 1<<16), "nested deeper"},
		{"too long", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"` + strings.Repeat("a", 1<<16) + `"}}`, "more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := mcp.ParseFrame([]byte(tt.text), 1<<16)
			switch {
			case tt.why == "" && err != nil:
				t.Errorf("ParseFrame(%.200s): %v", tt.text, err)
			case tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why) || !errors.Is(err, authz.ErrInvalid)):
				t.Errorf("ParseFrame(%.200s) = %+v, %v, want an error that says %q", tt.text, f, err, tt.why)
			}
		})
	}
}

// What cannot be read is answered under its id only if that is beyond doubt.
func TestFrameErrorID(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"jsonrpc":"2.0","id":7,"method":"x","params":[]}`, `"id":7,"error":{"code":-32600,`},
		{`{"jsonrpc":"2.0","id":7,"method":"x","method":"y"}`, `"id":null,"error":{"code":-32700,`},
		{`{"jsonrpc":"2.0","id":7.5,"method":"x"}`, `"id":null,"error":{"code":-32600,`},
		{`[]`, `"id":null,"error":{"code":-32700,`},
	} {
		_, err := mcp.ParseFrame([]byte(tt.text), 1000)
		var bad *mcp.FrameError
		if !errors.As(err, &bad) {
			t.Errorf("ParseFrame(%s): %v, want a FrameError", tt.text, err)
			continue
		}
		if got := string(bad.Frame().Append(nil)); !strings.Contains(got, tt.want) {
			t.Errorf("the answer to %s is %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestFrameKey(t *testing.T) {
	key := func(id string) string { return (&mcp.Frame{ID: json.RawMessage(id)}).Key() }
	if key(`"a"`) != key(`"\u0061"`) {
		t.Error("an id is another if it is written otherwise")
	}
	if key(`1`) == key(`"1"`) {
		t.Error("a number and a text are the same id")
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":[1,2,{"b":null}]},"_meta":{"safeconduct/refusal":{}}}}`,
		`{"jsonrpc":"2.0","id":"\u0061\n","result":{"content":[{"type":"text","text":"\u2028"}]}}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x","data":{"a":1e999}}}`,
		"{\"jsonrpc\":\"2.0\",\r\n\"method\":\"notifications/x\"}", `[]`, `{"jsonrpc":"2.0","id":-9007199254740991,"method":"p"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := mcp.ParseFrame(b, 1<<16)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("ParseFrame(%q): %v, which is of no kind", b, err)
			}
			return
		}
		line := one.Append(nil)
		if bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("%q is written in several lines: %q", b, line)
		}
		two, err := mcp.ParseFrame(line, 1<<17)
		if err != nil {
			t.Fatalf("%q is written as %q, which is no frame: %v", b, line, err)
		}
		if again := two.Append(nil); !bytes.Equal(again, line) {
			t.Fatalf("%q is written as %q, and then as %q", b, line, again)
		}
		if !json.Valid(line) {
			t.Fatalf("%q is written as %q, which is no JSON", b, line)
		}
	})
}
