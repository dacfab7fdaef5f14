package streamable

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// Sweep ends idle sessions and processes at once.
func (d *Door) Sweep(ctx context.Context) {
	d.sweep(ctx)
	d.sweepChildren()
}

// Scan reads a message in pieces of n bytes, as the answer to the request with the id 1, and returns what goes to the client.
func Scan(text []byte, n int) (string, error) {
	var out bytes.Buffer
	s := &scanner{want: json.RawMessage("1"), as: json.RawMessage(`"c"`), out: &out, max: 1 << 20, uris: "up+", private: true,
		begin: func() error { return nil },
		frame: func(f *mcp.Frame) error { out.Write(f.Append(nil)); return nil },
		add:   []member{{"resultType", `"complete"`}}}
	for len(text) > 0 {
		k := min(n, len(text))
		if _, err := s.Write(text[:k]); err != nil {
			return "", err
		}
		text = text[k:]
	}
	if err := s.end(); err != nil {
		return "", err
	}
	return out.String(), nil
}

// Events reads a stream of events in pieces of n bytes, and returns the answer in it, "" if there is none.
func Events(text []byte, n int) (string, error) {
	var out bytes.Buffer
	s := &scanner{want: json.RawMessage("1"), as: json.RawMessage("1"), out: &out, max: 1 << 20,
		begin: func() error { return nil }, frame: func(*mcp.Frame) error { return nil }}
	e := &eventReader{msg: s}
	for len(text) > 0 && !s.answered {
		k := min(n, len(text))
		if _, err := e.Write(text[:k]); err != nil {
			return "", err
		}
		text = text[k:]
	}
	if !s.answered {
		return "", nil
	}
	return out.String(), nil
}
