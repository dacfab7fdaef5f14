package mcp

import (
	"context"

	"github.com/safeconduct/safeconduct/internal/gateway"
)

// A Peer is the client's side of one conversation, as the door that serves it knows it.
type Peer struct {
	Who     *gateway.Who
	Session string // what the decisions call the session
	Version string // of the protocol, "" before it is known
	// Tasks is whether the client can be given a task instead of a result.
	Tasks bool
	// Notify sends the client a notification that belongs to the request under way: progress. nil if it cannot be
	// told anything before the answer.
	Notify func(*Frame) error
}

// A Gate judges what clients ask of one MCP server: one that stands behind the gateway, or all of them under names
// that keep them apart. It knows names as clients see them.
type Gate struct {
	cfg Config
}

// Config is what a Gate needs.
type Config struct {
	Gateway *gateway.Gateway

	// Options are the operator's.
	Options Options
	// Pins remember descriptors of tools; nil: nothing is remembered beyond this Gate.
	Pins *Pins

	// Server returns which server behind the gateway has a tool, prompt or resource ("tool", "prompt", "resource")
	// of that name, as clients see the name; "" if none has.
	Server func(kind, name string) string
	// Fetch asks the servers one whole question, tools/list, on behalf of a client: to learn descriptors before a
	// client has asked for them.
	Fetch func(ctx context.Context, p *Peer, f *Frame) (*Frame, error)
}

// Options are what an operator says of how messages are judged: the members of a gateway's document that speak
// of MCP.
type Options struct{}

// Pins are what is remembered of the descriptors of tools.
type Pins struct{}

// A Passage is one request of a client on its way.
type Passage struct {
	Answer  *Frame // if not nil, this is the answer, and nothing is passed on
	Forward *Frame // what is passed on
	// Whole is whether the response must go through Result before the client sees any of it. If not, it may
	// be streamed, and Streamed is called at its end.
	Whole bool
}

// NewGate returns a Gate.
func NewGate(cfg Config) (*Gate, error) { return &Gate{cfg}, nil }

// Admit judges a request of a client. The Passage is never nil; it is not to be used by two goroutines at once.
func (g *Gate) Admit(ctx context.Context, p *Peer, f *Frame) *Passage {
	return &Passage{Answer: &Frame{ID: f.ID, Error: &Error{Code: -32603, Message: "Authorization service unavailable"}}}
}

// Result returns what the client sees of a response: with what obligations hide hidden, lists filtered, and what
// only this gateway may say taken out. The outcome is reported.
func (pa *Passage) Result(ctx context.Context, f *Frame) *Frame { return nil }

// Streamed says that a response has gone to the client as it came, with so many bytes, or that it failed: the
// outcome is reported.
func (pa *Passage) Streamed(bytes int64, err error) {}

// Learn reads the descriptors of tools in a response to tools/list that a door has seen, under names as clients
// see them.
func (g *Gate) Learn(f *Frame) {}
