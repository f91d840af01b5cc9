package capture

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RunDir is a good place for the FIFOs of the store that belongs to a state
// directory: the same one each time, so that a program finds what one before it
// has left. It is in memory where that can be had: a disk's file system may take
// half a millisecond for a FIFO where thousands come and go (ext4 looks at each
// that was deleted just now).
func RunDir(stateDir string) string {
	stateDir, err := filepath.Abs(stateDir)
	if err != nil {
		return filepath.Join(stateDir, "run")
	}
	name := fmt.Sprintf("proctor-%d-%08x", os.Geteuid(), crc32.ChecksumIEEE([]byte(stateDir)))
	for _, parent := range []string{"/run", os.Getenv("XDG_RUNTIME_DIR"), "/dev/shm"} {
		if parent == "" || !inMemory(parent) {
			continue
		}
		if dir := filepath.Join(parent, name); ours(dir) {
			return dir
		}
	}
	return filepath.Join(stateDir, "run")
}

func inMemory(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Type == unix.TMPFS_MAGIC
}

// ours makes the directory, or sees that it is nobody else's: others may make
// what they like in some of these places.
func ours(dir string) bool {
	_ = unix.Mkdir(dir, 0o700)
	var s unix.Stat_t
	return unix.Lstat(dir, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFDIR && s.Mode&0o777 == 0o700 && int(s.Uid) == os.Geteuid()
}
