package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/client"
)

func TestMask(t *testing.T) {
	for _, tt := range []struct{ name, properties, result, want string }{
		{"a name, however deep", `{"fields":["iban"]}`, `{"iban":"DE1","to":{"iban":7,"x":[{"iban":{"a":1}},2]}}`, `{"iban":"***","to":{"iban":"***","x":[{"iban":"***"},2]}}`},
		{"only that name", `{"fields":["iban"]}`, `{"ibans":2,"an iban":"iban"}`, `{"ibans":2,"an iban":"iban"}`},
		{"in any case", `{"fields":["iBan","straße"]}`, `{"IBAN":1,"Iban":2,"STRAẞE":3,"strasse":4}`, `{"IBAN":"***","Iban":"***","STRAẞE":"***","strasse":4}`},
		{"letters of other scripts in any case", `{"fields":["kοδος"]}`, `{"\u212aΟΔΟΣ":1,"kοδοσ":2}`, `{"KΟΔΟΣ":"***","kοδοσ":"***"}`},
		{"a pointer in any case", `{"fields":["/to/iban"]}`, `{"To":{"IBAN":1,"x":2},"to":{"iban":3}}`, `{"To":{"IBAN":"***","x":2},"to":{"iban":"***"}}`},
		{"a name that is written otherwise", `{"fields":["iban"]}`, `{"\u0069ban":1}`, `{"iban":"***"}`},
		{"a pointer", `{"fields":["/to/iban"]}`, `{"iban":1,"to":{"iban":2}}`, `{"iban":1,"to":{"iban":"***"}}`},
		{"a pointer through a list", `{"fields":["/items/1/iban"]}`, `{"items":[{"iban":1},{"iban":2}]}`, `{"items":[{"iban":1},{"iban":"***"}]}`},
		{"a pointer to an element", `{"fields":["/1"]}`, `[1,2,3]`, `[1,"***",3]`},
		{"an index is written in one way", `{"fields":["/01","/-","/+1","/9"]}`, `[1,2]`, `[1,2]`},
		{"a number that is a name", `{"fields":["/1"]}`, `{"1":true,"0":false}`, `{"1":"***","0":false}`},
		{"a pointer to an object", `{"fields":["/to","/to/iban"]}`, `{"to":{"iban":2,"bic":3},"z":null}`, `{"to":"***","z":null}`},
		{"escapes", `{"fields":["/a~1b","/m~0n","/~01"]}`, `{"a/b":1,"m~n":2,"~1":3,"/":4}`, `{"a/b":"***","m~n":"***","~1":"***","/":4}`},
		{"the empty name", `{"fields":["/"]}`, `{"":1,"a":{"":2}}`, `{"":"***","a":{"":2}}`},
		{"with", `{"fields":["a"],"with":"<hidden> & \"gone\""}`, `{"a":1}`, `{"a":"<hidden> & \"gone\""}`},
		{"with nothing", `{"fields":["a"],"with":""}`, `{"a":1}`, `{"a":""}`},
		{"as the service sends it", `{"fields":["a"],"obligation":"mask"}`, `{"a":1}`, `{"a":"***"}`},
		{"what is not there", `{"fields":["/a/b/c","x"]}`, `{"a":[1]}`, `{"a":[1]}`},
		{"order and numbers stay", `{"fields":["x"]}`, ` { "z": 1.50, "a": 12345678901234567890.00, "x": 1 , "e": 1e400 }`, `{"z":1.50,"a":12345678901234567890.00,"x":"***","e":1e400}`},
		{"no object", `{"fields":["x"]}`, `"x"`, `"x"`},
		{"no result", `{"fields":["x"]}`, ``, ``},
		{"deep, and hidden", `{"fields":["x"]}`, `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, `{"x":"***"}`},

		{"no JSON", `{"fields":["x"]}`, `<x>1</x>`, "withheld"},
		{"two values", `{"fields":["x"]}`, `{"x":1} {"x":2}`, "withheld"},
		{"cut off", `{"fields":["x"]}`, `{"x":1`, "withheld"},
		{"a name twice", `{"fields":["/a/x"]}`, `{"a":{"x":1},"a":[]}`, "withheld"},
		{"a name twice, deep", `{"fields":["y"]}`, `[{"a":1,"\u0061":2}]`, "withheld"},
		{"too deep", `{"fields":["x"]}`, strings.Repeat("[", 200) + strings.Repeat("]", 200), "withheld"},

		{"no fields", `{}`, `{}`, "refused"},
		{"an empty list", `{"fields":[]}`, `{}`, "refused"},
		{"an empty field", `{"fields":[""]}`, `{}`, "refused"},
		{"no list", `{"fields":"x"}`, `{}`, "refused"},
		{"no text", `{"fields":[1]}`, `{}`, "refused"},
		{"a broken escape", `{"fields":["/a~2"]}`, `{}`, "refused"},
		{"half an escape", `{"fields":["/a~"]}`, `{}`, "refused"},
		{"a member that nobody understands", `{"fields":["x"],"except":["y"]}`, `{}`, "refused"},
		{"too many", `{"fields":["a"` + strings.Repeat(`,"a"`, 64) + `]}`, `{}`, "refused"},
		{"too long", `{"fields":["` + strings.Repeat("a", 257) + `"]}`, `{}`, "refused"},
		{"too much in its place", `{"fields":["a"],"with":"` + strings.Repeat("a", 257) + `"}`, `{}`, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := masked(t, tt.properties, tt.result); got != tt.want {
				t.Errorf("mask %s of %s is\n%s, want\n%s", tt.properties, tt.result, got, tt.want)
			}
		})
	}
}

// masked returns a result as it is seen under one obligation to mask, or how it is not.
func masked(t testing.TB, properties, result string) string {
	t.Helper()
	done, err := obliged(t, client.Handlers{"mask": client.MeetMask}, `{"id":"o","type":"custom","properties":`+withName(properties, "mask")+`}`, client.Act{
		Do: func(context.Context) (json.RawMessage, error) { return json.RawMessage(result), nil },
	})
	switch {
	case done == nil:
		return "refused"
	case err != nil && (done.Result != nil || len(done.Met) != 0):
		t.Errorf("withheld, and yet %s, met %q", done.Result, done.Met)
		return string(done.Result)
	case err != nil:
		return "withheld"
	}
	return string(done.Result)
}

// withName returns properties with the name of a custom obligation.
func withName(properties, name string) string {
	if strings.Contains(properties, `"obligation"`) || !strings.HasPrefix(properties, "{") {
		return properties
	}
	if properties == "{}" {
		return `{"obligation":"` + name + `"}`
	}
	return `{"obligation":"` + name + `",` + properties[1:]
}

// obliged lets an act happen that the service allows with obligations.
func obliged(t testing.TB, h client.Handlers, obligations string, act client.Act) (*client.Done, error) {
	t.Helper()
	e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {`{"decision":true,"context":{"obligations":[` + obligations + `]}}`}}}, h)
	return e.Do(t.Context(), act0, act)
}

// act0 is an act with arguments of all kinds.
var act0 = withArguments(`{"amount":"500.00","lines":[{"amount":1.5},{"amount":499}],"to":{"iban":"DE1"},"odd":"x\u001b[2J\u202e","n":-1}`)

// enforcer is one before a script.
func enforcer(t testing.TB, s *script, h client.Handlers) *client.Enforcer {
	t.Helper()
	c, err := client.New("https://pdp.example.com", "t0ken")
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = &http.Client{Transport: s}
	return &client.Enforcer{Guard: &client.Guard{Client: c}, Handlers: h}
}

// Whatever a mask and a result are: either nothing is seen, or JSON in which a reader of pointers finds nothing
// but what was put there where the mask points, and in which all the rest is as it was.
func FuzzMask(f *testing.F) {
	f.Add("/to/iban", `{"to":{"iban":1},"a":[1,{"iban":2}]}`)
	f.Add("iban", `{"to":{"iban":1},"a":[1,{"iban":2}]}`)
	f.Add("/a~1b/0/~01", `{"a/b":[{"~1":true}]}`)
	f.Add("/", `{"":{"":1}}`)
	f.Add("/to/IBAN", `{"To":{"iban":1},"a":[1,{"iban":2}]}`)
	f.Add("kς", `{"\u212aΣ":1,"Kσ":2,"kß":3}`)
	f.Add("/0/1", `[[1,2],3]`)
	f.Add("/a~", `{"a~":1}`)
	f.Add("\xff", "{\"\xff\":1}")
	f.Fuzz(func(t *testing.T, field, result string) {
		properties, err := json.Marshal(map[string]any{"fields": []string{field}, "with": "hidden!"})
		if err != nil {
			t.Fatal(err)
		}
		got := masked(t, string(properties), result)
		if got == "refused" || got == "withheld" || result == "" {
			return
		}
		var before, after any
		if json.Unmarshal([]byte(result), &before) != nil || json.Unmarshal([]byte(got), &after) != nil {
			t.Fatalf("mask %q of %q is %q, which is no JSON", field, result, got)
		}
		var names []string
		if err := json.Unmarshal(properties, &struct{ Fields *[]string }{&names}); err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(hideByHand(before, names[0], ""))
		if have, _ := json.Marshal(after); !bytes.Equal(have, want) {
			t.Errorf("mask %q of %s is\n%s, want\n%s", field, result, have, want)
		}
	})
}

// hideByHand masks by comparing the pointer of every value with the field.
func hideByHand(v any, field, pointer string) any {
	if pointer != "" && strings.EqualFold(pointer, field) {
		return "hidden!"
	}
	switch v := v.(type) {
	case map[string]any:
		for name, below := range v {
			if strings.EqualFold(name, field) && !strings.HasPrefix(field, "/") {
				v[name] = "hidden!"
				continue
			}
			v[name] = hideByHand(below, field, pointer+"/"+strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
		}
	case []any:
		for i, below := range v {
			v[i] = hideByHand(below, field, pointer+"/"+strconv.Itoa(i))
		}
	}
	return v
}
