package gateway

import (
	"log/slog"
	"net"
	"time"
)

// doorEnvoy is the door that answers Envoy: requests reach Envoy, and not the gateway.
const doorEnvoy = "envoy"

// Options are what a door says when it opens a gateway.
type Options struct {
	Logger  *slog.Logger // of nothing by default
	Version string       // of the program, for reports
	Door    string       // which door: mcp, http, envoy
	Stdio   bool         // the door serves standard input: nobody comes over the network
	// Paths are those of the door's protected resources below the public URL, such as /mcp; one that is the public URL
	// itself ("") by default. A request belongs to the longest that its path begins with.
	Paths []string
	// AllowFailOpen permits routes that allow when no decision can be had. FailOpen lists them by name; without the
	// permission it must be empty, or Open refuses.
	AllowFailOpen bool
	FailOpen      []string
	// Process is whether the process is nothing but what Serve serves, so that it may change how many processors that runs on.
	Process bool
	// Listening is called once Serve listens. May be nil.
	Listening func(net.Addr)
	Now       func() time.Time // time.Now by default
}
