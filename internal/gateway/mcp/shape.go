package mcp

import (
	"bytes"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// maxBlocks bounds the content of one result that is to be changed.
const maxBlocks = 10_000

// withheldText stands for what cannot be shown.
const withheldText = "[withheld: an obligation hides parts of the result, and this part is nothing in which they could be found]"

// withheldURI stands for a URI that cannot be shown.
const withheldURI = "safeconduct:withheld"

// seen returns a result as obligations let it be seen. They change objects and arrays: structuredContent, texts that are JSON, and
// what else MCP has. Everything else in which something could stand is withheld.
func (pa *Passage) seen(result object) (json.RawMessage, *Error) {
	if t, ok := text(result.get("resultType")); ok && t != "complete" { // a task, or a question to the client: the result would come another way
		return nil, withheld()
	}
	if result.get("task") != nil {
		return nil, withheld()
	}
	out := object{}
	for _, m := range result {
		var v json.RawMessage
		var err error
		switch m.name {
		case "content":
			v, err = pa.blocks(m.value, pa.block)
		case "contents":
			v, err = pa.blocks(m.value, pa.resource)
		case "messages":
			v, err = pa.blocks(m.value, pa.message)
		case "structuredContent", "_meta", "tools", "prompts", "resources", "resourceTemplates", "tasks", "capabilities", "serverInfo", "supportedVersions":
			if m.value[0] != '{' && m.value[0] != '[' {
				continue
			}
			v, err = pa.permit.Shape(m.value)
		case "isError", "resultType", "ttlMs", "cacheScope", "protocolVersion", "nextCursor":
			if !plainMember(m) {
				continue
			}
			v = m.value
		case "completion": // values are texts
			v = json.RawMessage(`{"values":[]}`)
		case "description", "instructions":
			v = encode(withheldText)
		default:
			continue
		}
		if err != nil {
			return nil, withheld()
		}
		out.set(m.name, v)
	}
	return out.json(), nil
}

// plainMember reports whether a member is what MCP has it be, in which nothing can stand. A cursor goes back to the server as it came.
func plainMember(m member) bool {
	s, isText := text(m.value)
	switch m.name {
	case "isError":
		return string(m.value) == "true" || string(m.value) == "false"
	case "resultType":
		return s == "complete"
	case "cacheScope":
		return s == "private" || s == "public"
	case "ttlMs":
		return len(m.value) <= 16 && (m.value[0] >= '0' && m.value[0] <= '9')
	case "protocolVersion":
		return isText && len(s) == len("2026-07-28")
	}
	return isText
}

func (pa *Passage) blocks(raw json.RawMessage, one func(object) (object, error)) (json.RawMessage, error) {
	all, err := readArray(raw, maxBlocks)
	if err != nil {
		return nil, err
	}
	for i := range all {
		o, err := readObject(all[i])
		if err != nil {
			return nil, err
		}
		if o, err = one(o); err != nil {
			return nil, err
		}
		all[i] = o.json()
	}
	return arrayJSON(all), nil
}

// block is one content block.
func (pa *Passage) block(o object) (object, error) {
	switch kind, _ := text(o.get("type")); kind {
	case "text":
		return object{{"type", json.RawMessage(`"text"`)}, {"text", pa.text(o.get("text"))}}, nil
	case "resource":
		inner, err := readObject(o.get("resource"))
		if err != nil {
			return nil, err
		}
		if inner, err = pa.resource(inner); err != nil {
			return nil, err
		}
		return object{{"type", json.RawMessage(`"resource"`)}, {"resource", inner.json()}}, nil
	}
	return object{{"type", json.RawMessage(`"text"`)}, {"text", encode(withheldText)}}, nil
}

// message is one message of a prompt.
func (pa *Passage) message(o object) (object, error) {
	inner, err := readObject(o.get("content"))
	if err != nil {
		return nil, err
	}
	if inner, err = pa.block(inner); err != nil {
		return nil, err
	}
	out := object{}
	if role, _ := text(o.get("role")); role == "user" || role == "assistant" {
		out.set("role", encode(role))
	}
	out.set("content", inner.json())
	return out, nil
}

// resource is what a resource holds.
func (pa *Passage) resource(o object) (object, error) {
	out := object{}
	uri, mime := o.get("uri"), o.get("mimeType")
	if asked, err := readObject(pa.Forward.Params); err != nil || uri == nil || asked.get("uri") == nil || textOf(asked.get("uri")) != textOf(uri) {
		uri = encode(withheldURI) // it is not the one that the client has named
	}
	out.set("uri", uri)
	if s := textOf(mime); s == "application/json" || s == "text/plain" {
		out.set("mimeType", mime)
	}
	out.set("text", pa.text(o.get("text")))
	return out, nil
}

// Beside returns what the client sees of what a server sends beside its answer: as it is but if a mask hides something in the
// result. Then a log message is dropped (nil), and progress has no words.
func (pa *Passage) Beside(f *Frame) *Frame {
	if pa.permit == nil || !pa.permit.Whole() {
		return f
	}
	switch f.Method {
	case "notifications/message":
		return nil
	case "notifications/progress":
		params, err := readObject(f.Params)
		if err != nil {
			return nil
		}
		params.drop(func(name string) bool { return name != "progressToken" && name != "progress" && name != "total" })
		return &Frame{Method: f.Method, Params: params.json()}
	}
	return f
}

func textOf(raw json.RawMessage) string {
	s, _ := text(raw)
	return s
}

// text is a text as it may be seen: JSON is changed, anything else is withheld. JSON within JSON, as text, is not looked into: it is
// a text like others, and hidden if its member is.
func (pa *Passage) text(raw json.RawMessage) json.RawMessage {
	s, ok := text(raw)
	if !ok {
		return encode(withheldText)
	}
	doc := jsontext.Value(bytes.TrimSpace([]byte(s)))
	if !doc.IsValid() || len(doc) == 0 || doc[0] != '{' && doc[0] != '[' {
		return encode(withheldText)
	}
	out, err := pa.permit.Shape(json.RawMessage(doc))
	if err != nil {
		return encode(withheldText)
	}
	return encode(string(out))
}
