package server

import "github.com/safeconduct/safeconduct/internal/audit"

// WrapLog puts f's store between the log and the database.
func (c *Config) WrapLog(f func(audit.Store) audit.Store) { c.wrapLog = f }
