package api_test

import (
	"context"

	"github.com/safeconduct/safeconduct/internal/audit"
)

// unread is the part of a log that most tests do not read.
type unread struct{}

func (unread) Checkpoints(context.Context, int64, int) ([]audit.PastCheckpoint, error) {
	return nil, nil
}
func (unread) Stats() audit.Stats                                            { return audit.Stats{} }
func (unread) Bundle(context.Context, audit.Manifest) (*audit.Bundle, error) { return nil, nil }
func (unread) Search(context.Context, audit.Query) (audit.Found, error)      { return audit.Found{}, nil }
