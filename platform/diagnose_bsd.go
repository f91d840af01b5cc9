//go:build darwin || freebsd

package platform

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	rlimitNPROC     = unix.RLIMIT_NPROC
	systemFileLimit = "kern.maxfiles"
)

func onNoexec(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && uint64(fs.Flags)&unix.MNT_NOEXEC != 0
}

func argLimit() string {
	if n, err := unix.SysctlUint32("kern.argmax"); err == nil {
		return fmt.Sprintf("%d bytes", n)
	}
	return "less"
}
