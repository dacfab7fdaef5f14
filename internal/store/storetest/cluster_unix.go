//go:build unix

package storetest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// postgresUser returns whom to run PostgreSQL as, or ok false if as ourselves.
func postgresUser() (uid, gid int, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, false
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, true
}

func giveToPostgres(dir string) error {
	uid, gid, ok := postgresUser()
	if !ok {
		if os.Getuid() == 0 {
			return fmt.Errorf("PostgreSQL refuses to run as root, and there is no user postgres")
		}
		return nil
	}
	return os.Chown(dir, uid, gid)
}

func asPostgres(cmd *exec.Cmd) {
	if uid, gid, ok := postgresUser(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
}
