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

// seen returns a result as obligations let it be seen. They change JSON: structuredContent, and texts that are
// JSON. Everything else in which something could stand is withheld.
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
		case "structuredContent":
			v, err = pa.permit.Shape(m.value)
		case "isError", "resultType", "ttlMs", "cacheScope":
			v = m.value
		default: // _meta, description and whatever else
			v, err = pa.permit.Shape(m.value)
		}
		if err != nil {
			return nil, withheld()
		}
		out.set(m.name, v)
	}
	return out.json(), nil
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
	if role := o.get("role"); role != nil {
		out.set("role", role)
	}
	out.set("content", inner.json())
	return out, nil
}

// resource is what a resource holds.
func (pa *Passage) resource(o object) (object, error) {
	out := object{}
	for _, name := range []string{"uri", "mimeType"} {
		if v := o.get(name); v != nil {
			out.set(name, v)
		}
	}
	out.set("text", pa.text(o.get("text")))
	return out, nil
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
