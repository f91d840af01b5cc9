package platform

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	rlimitNPROC     = unix.RLIMIT_NPROC
	systemFileLimit = "/proc/sys/fs/file-max"
	errBadArch      = unix.ELIBBAD
)

func onNoexec(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}

// argLimit is the limit on arguments and environment: a quarter of the stack,
// at least 128 KiB, at most 6 MiB; and 32 pages for one string.
func argLimit() string {
	all := uint64(6 << 20)
	var stack unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &stack) == nil {
		all = max(min(all, stack.Cur/4), 128<<10)
	}
	return fmt.Sprintf("%d bytes together and %d for one string", all, 32*os.Getpagesize())
}
