package streamable_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

func TestScan(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":"c","result":{"resultType":"complete"}}`},
		{`{"jsonrpc":"2.0","id":1,"result":{"a":[1,-0.5e+3,true,null,"\u00e9\"é"]}}`, `{"jsonrpc":"2.0","id":"c","result":{"a":[1,-0.5e+3,true,null,"\u00e9\"é"],"resultType":"complete"}}`},
		{`{"jsonrpc":"2.0","id":1,"result":{"resultType":"x"}}`, `{"jsonrpc":"2.0","id":"c","result":{"resultType":"x"}}`},
		{`{"jsonrpc":"2.0","id":1,"result":{"content":[{"uri":"a"},{"resource":{"uri":"b"}}],"structuredContent":{"uri":"c"},"_meta":{"uri":"d"}}}`,
			`{"jsonrpc":"2.0","id":"c","result":{"content":[{"uri":"up+a"},{"resource":{"uri":"up+b"}}],"structuredContent":{"uri":"c"},"_meta":{"uri":"d"},"resultType":"complete"}}`},
		{`{"jsonrpc":"2.0","id":1,"result":{"messages":[{"content":{"resource":{"u\u0072i":"b"}}}],"contents":[{"uri":"x"}]}}`,
			`{"jsonrpc":"2.0","id":"c","result":{"messages":[{"content":{"resource":{"u\u0072i":"up+b"}}}],"contents":[{"uri":"up+x"}],"resultType":"complete"}}`},
		{`{"jsonrpc":"2.0","method":"notifications/x","params":{"a":1}}`, `{"jsonrpc":"2.0","method":"notifications/x","params":{"a":1}}`},
		{`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}`, `{"jsonrpc":"2.0","id":"c","error":{"code":1,"message":"m"}}`},
	} {
		for n := 1; n < 9; n++ {
			got, err := streamable.Scan([]byte(c.in), n)
			if err != nil || got != c.want {
				t.Errorf("Scan(%s, %d) = %s, %v, want %s", c.in, n, got, err, c.want)
			}
		}
	}
}

// What passes is strict JSON, whatever came, and however it came in pieces.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"content":[{"uri":"a","n":-1.5e3}],"cacheScope":"public"}}`,
		`{"result":{"\u0061":"\ud83d\ude00"},"jsonrpc":"2.0","id":1}`, `{"jsonrpc":"2.0","method":"x","params":{}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}`,
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = 1 + (n&0x7fffffff)%64
		whole, err := streamable.Scan(b, max(len(b), 1))
		pieces, err2 := streamable.Scan(b, n)
		if (err == nil) != (err2 == nil) || whole != pieces {
			t.Fatalf("in pieces of %d: %q, %v; whole: %q, %v", n, pieces, err2, whole, err)
		}
		if err != nil {
			return
		}
		if strings.ContainsAny(whole, "\r\n") {
			t.Fatalf("a line break passes: %q", whole)
		}
		if !json.Valid([]byte(whole)) || !jsontext.Value(whole).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			t.Fatalf("what is no JSON passes: %q of %q", whole, b)
		}
		if !json.Valid(b) {
			t.Fatalf("what was no JSON passes: %q", b)
		}
		var m struct {
			ID string `json:"id"`
		}
		if !strings.Contains(whole, `"method"`) && (json.Unmarshal([]byte(whole), &m) != nil || m.ID != "c") {
			t.Fatalf("the answer has another id: %q", whole)
		}
	})
}

func FuzzEvents(f *testing.F) {
	const m = `{"jsonrpc":"2.0","id":1,"result":{}}`
	for _, s := range []string{"data: " + m + "\n\n", "event: x\rdata:" + m + "\r\r", ":c\nid: 1\nretry: 5\ndata: " + m[:10] + "\ndata: " + m[10:] + "\n\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = 1 + (n&0x7fffffff)%64
		whole, err := streamable.Events(b, max(len(b), 1))
		pieces, err2 := streamable.Events(b, n)
		if (err == nil) != (err2 == nil) || whole != pieces {
			t.Fatalf("in pieces of %d: %q, %v; whole: %q, %v", n, pieces, err2, whole, err)
		}
		if err == nil && whole != "" && !json.Valid([]byte(whole)) {
			t.Fatalf("what is no JSON passes: %q", whole)
		}
	})
}
