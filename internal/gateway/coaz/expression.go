package coaz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of expressions, which servers write and callers feed.
const (
	maxExpression = 4 << 10 // bytes of one
	maxCost       = 100_000 // of evaluating one, in CEL's units; less if a mapping has many
	maxTime       = 100 * time.Millisecond
	maxNesting    = 32       // of expressions, values and templates
	maxValue      = 64 << 10 // bytes of a resolved request
)

// environment knows params and token, and what the language itself has, with optional values.
var environment = sync.OnceValue(func() *cel.Env {
	claims := cel.MapType(cel.StringType, cel.DynType)
	env, err := cel.NewEnv(
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.Variable("params", claims),
		cel.Variable("token", claims),
	)
	if err != nil {
		panic(err) // options that do not go together
	}
	return env
})

// An expression is a compiled one.
type expression struct {
	text    string // with its $
	program cel.Program
	path    []string // of one that only names a member: a variable, and the names below it; nil of others
}

// compile compiles an expression, which text holds behind its $.
func compile(cost uint64, where, text string) (*expression, error) {
	fail := func(detail string) error { return &Error{Where: where, Expression: text, Detail: detail} }
	if len(text) > maxExpression {
		return nil, fail(fmt.Sprintf("it has more than %d bytes", maxExpression))
	}
	ast, issues := environment().Compile(text[1:])
	if issues != nil && issues.Err() != nil {
		return nil, fail(issues.Errors()[0].Message)
	}
	program, err := environment().Program(ast, cel.CostLimit(cost), cel.InterruptCheckFrequency(64))
	if err != nil {
		return nil, fail(err.Error())
	}
	e := &expression{text: text, program: program}
	if plainPath.MatchString(text) {
		e.path = strings.Split(strings.ReplaceAll(text[1:], ".?", "."), ".")
	}
	return e, nil
}

// plainPath are expressions that only name a member, as most do.
var plainPath = regexp.MustCompile(`^\$(params|token)(\.\??[A-Za-z_][A-Za-z0-9_]*){1,8}$`)

// member returns the text that a path names, for which nothing has to be evaluated. False: there is none, and what that means
// the language says.
func (e *expression) member(vars map[string]any) (text string, ok bool) {
	if e.path == nil {
		return "", false
	}
	var v any = vars
	for _, name := range e.path {
		m, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		v = m[name]
	}
	text, ok = v.(string)
	return text, ok
}

// absent is the value of a member that is left out.
type absent struct{}

// evaluate returns the expression's JSON value, or absent.
func (e *expression) evaluate(where string, vars map[string]any) (any, error) {
	if text, ok := e.member(vars); ok {
		return text, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	out, _, err := e.program.ContextEval(ctx, vars)
	if err == nil {
		if opt, ok := out.(*types.Optional); ok {
			if !opt.HasValue() {
				return absent{}, nil
			}
			out = opt.GetValue()
		}
		var v any
		if v, err = jsonOf(out, 0); err == nil {
			return v, nil
		}
	}
	return nil, &Error{Where: where, Expression: e.text, Detail: err.Error()}
}

// jsonOf returns a value of the language as encoding/json writes it.
func jsonOf(v ref.Val, depth int) (any, error) {
	if depth > maxNesting {
		return nil, errors.New("its value is nested too deeply")
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.String:
		return string(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
		return nil, errors.New("its value is no number that JSON has")
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			e, err := jsonOf(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	case traits.Mapper:
		out := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, errors.New("its value is a map whose keys are no strings")
			}
			e, err := jsonOf(v.Get(key), depth+1)
			if err != nil {
				return nil, err
			}
			out[string(name)] = e
		}
		return out, nil
	}
	return nil, fmt.Errorf("its value is a %s, which JSON does not have", v.Type().TypeName())
}

// Variables reads a JSON object, strictly, as an Input has it: integers that fit are int64, other numbers
// float64. Nothing, or null, is an empty one.
func Variables(object []byte) (map[string]any, error) {
	if len(object) == 0 || string(object) == "null" {
		return map[string]any{}, nil
	}
	v, err := read(object)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, &Error{Detail: "it is no JSON object"}
	}
	return m, nil
}

// decoders have memory to read by that was used before.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// read reads one JSON value without names that stand twice.
func read(text []byte) (any, error) {
	dec := decoders.Get().(*jsontext.Decoder)
	dec.Reset(bytes.NewBuffer(text))
	defer func() {
		dec.Reset(strings.NewReader("")) // so that it keeps nothing of it
		decoders.Put(dec)
	}()
	v, err := readValue(dec, 0)
	if err != nil {
		return nil, &Error{Detail: err.Error()}
	}
	if dec.PeekKind() != 0 {
		return nil, &Error{Detail: "something stands behind the JSON value"}
	}
	return v, nil
}

func readValue(dec *jsontext.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("it is nested more than %d deep", maxNesting)
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, errors.New("it is not JSON, or a name stands twice in an object")
	}
	switch tok.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return tok.Bool(), nil
	case '"':
		return tok.String(), nil
	case '0':
		return number(tok.String())
	case '[':
		list := []any{}
		for dec.PeekKind() != ']' {
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.ReadToken()
		return list, err
	case '{':
		object := map[string]any{}
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, errors.New("it is not JSON, or a name stands twice in an object")
			}
			key := name.String()
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			object[key] = v
		}
		_, err := dec.ReadToken()
		return object, err
	}
	return nil, errors.New("it is not JSON")
}

// number returns an integer where the text is one that fits, so that identifiers keep their digits.
func number(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New("it has a number that is too large")
	}
	return f, nil
}
