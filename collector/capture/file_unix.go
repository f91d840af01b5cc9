//go:build unix

package capture

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameOpen says that a file can be renamed while it is open.
const renameOpen = true

// openAppend opens a log. O_NONBLOCK: a FIFO that has its name must not block.
func openAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|unix.O_NONBLOCK, 0o640)
}

// openRead opens a log to be read, while others may do with it what they like.
func openRead(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// unlinked reports whether the file has no name any more.
func unlinked(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}
