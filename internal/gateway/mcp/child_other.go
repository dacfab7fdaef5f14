//go:build !unix

package mcp

import "os/exec"

// alone does nothing where there are no groups of processes: what a server has started outlives it there.
func alone(*exec.Cmd) {}

func terminate(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
func kill(cmd *exec.Cmd)      { _ = cmd.Process.Kill() }
