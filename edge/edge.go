// Package edge is a decision point inside another process: a gateway, a sidecar, or a program of an agent. It is
// fed by a control plane, decides from memory, writes what it decided into a journal before it answers, and sends the journal
// to the control plane, where it becomes part of the one log.
//
// Its invariant: it refuses when what it knows is older than it may be, when its journal cannot be written, and
// when too much of the journal has not reached the control plane.
//
// It is not a replica: it appends nothing to the log itself, asks no person, and knows of the conduct of agents what it is told.
package edge
