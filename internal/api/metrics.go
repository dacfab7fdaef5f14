package api

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Metrics counts what the door does.
type Metrics interface {
	// Route returns a function that counts one request of a route. It is called once a route.
	Route(method, path string) func(status int, took time.Duration)

	// Decided counts the decisions of one request, and how long the PDP took to make and record
	// them. Items is how many a batch had; 0 if it was none.
	Decided(took time.Duration, items int, decisions ...authz.Decision)

	// AuthFailed counts a request without a token that is known.
	AuthFailed()
}
