// Package sdktest has no code: its tests run the SDKs of other languages against the real service, so that a change
// here that breaks them there is seen at once.
//
// Each SDK has a test suite of its own, which needs no service for what it can be told by a hostile fake, and is
// told by the environment where the service is for the rest. The tests count what was run: a suite that ran
// less than it should, or skipped something, has failed.
package sdktest
