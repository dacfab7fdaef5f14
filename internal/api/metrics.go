package api

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Metrics counts what the door does.
type Metrics interface {
	// Route returns a function that counts one request of a route. It is called once a route.
	Route(method, path string) func(status int, took time.Duration)

	// Asked counts one request for decisions, and how long the PDP took to make and record them.
	// Items is how many a batch had; 0 if it was none.
	Asked(took time.Duration, items int)

	// Decided counts one decision.
	Decided(effect authz.Effect, code string)

	// AuthFailed counts a request without a token that is known.
	AuthFailed()
}
