// Package gateway is what all doors before other people's servers share: who is calling, what is asked before an
// act, which credentials the act is done with, what is told when it was refused, and what is said of the gateway
// itself.
//
// Nothing passes that was not decided. What cannot be decided is refused, but on routes that say on_unavailable:
// allow and only if the gateway was started with the flag that permits it; every such route is told to whoever
// looks at the gateway's health, and to the control plane.
package gateway
