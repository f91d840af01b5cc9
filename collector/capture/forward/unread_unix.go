//go:build unix

package forward

import (
	"os"

	"golang.org/x/sys/unix"
)

// inheritsRest says that what one process of a program has not read can be given to
// the next one: its end of the pipe is kept.
const inheritsRest = true

// unread is what is in a pipe that nobody reads from any more.
func unread(f *os.File) (rest []byte) {
	fd := int(f.Fd())
	buf := make([]byte, 64<<10)
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(ready, 0); err == unix.EINTR {
			continue
		} else if err != nil || n == 0 || ready[0].Revents&unix.POLLIN == 0 {
			return rest
		}
		n, err := unix.Read(fd, buf)
		if n <= 0 && err != unix.EINTR {
			return rest
		}
		rest = append(rest, buf[:max(n, 0)]...)
	}
}
