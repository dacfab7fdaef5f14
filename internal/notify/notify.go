// Package notify tells people and programs of asks: webhooks (Standard Webhooks), Slack-compatible ones,
// e-mail, callbacks of enforcement points, and external evaluators that may answer. What could not be
// delivered is tried again with growing pauses, and in the end lies where an operator sees it.
package notify
