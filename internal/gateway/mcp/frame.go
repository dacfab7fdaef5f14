package mcp

import "encoding/json"

// A Frame is one JSON-RPC 2.0 message, strictly read.
type Frame struct {
	// ID is that of a request or response, as it was written: a string or an integer. nil of a notification.
	ID     json.RawMessage
	Method string          // "" of a response
	Params json.RawMessage // an object, or nil
	Result json.RawMessage // of a response; nil if it is an error
	Error  *Error
}

// An Error is that of a response (JSON-RPC 2.0, section 5.1).
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}
