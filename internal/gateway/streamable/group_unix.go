//go:build unix

package streamable

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process lead a group of its own, so that what it starts ends with it.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
