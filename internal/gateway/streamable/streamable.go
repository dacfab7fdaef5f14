// Package streamable is MCP's streamable HTTP endpoint before many servers: HTTP servers and processes, of the revision 2026-07-28
// and those that begin with initialize, whichever the client speaks.
//
// Every request is read strictly and judged by a Gate before any of it goes on. Results stream through: the text of a
// result is checked against the grammar of JSON while it passes, and what turns out to be no answer to the request is
// broken off before it is complete, so that no client takes it for one. Only what an obligation must change is held.
//
// What is not solved: a server can put anything into a result that a client is fool enough to follow. Within a result that
// streams, a name can stand twice, which is refused elsewhere; readers differ in which they take. Streams to clients of
// earlier revisions cannot be resumed after a broken connection.
package streamable

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Transport returns connections to a server: over HTTP/1.1, without proxy, cookies or redirects, with a client certificate if
// there is one.
func Transport(cert *tls.Certificate) *http.Transport {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if cert != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	}
	return t
}
