// Package demo plays recorded agents to a running service. It is an enforcement point: it keeps a
// session for each trace, says where each argument came from, asks about every call over HTTP before
// it "lets it happen", and counts the answers.
//
// The traces were recorded without Safeconduct, so they cannot react: after a call that is denied or
// held the trace goes on as it was recorded, as if a person had agreed to the call. What an agent would
// have done instead is not known.
//
// Labels are for the score alone. Nothing that is asked depends on them.
package demo
