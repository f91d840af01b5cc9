//go:build unix

package platform

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// limitShell sets limits and becomes the program that follows: where a process
// cannot be given limits from outside before it runs, it has to take them itself.
// They are in the units of ulimit, or empty.
const limitShell = `
[ -z "$1" ] || ulimit -n "$1"
[ -z "$2" ] || ulimit -c "$2"
shift 2
exec "$@"
`

// ulimitBlock is what POSIX has ulimit -c count in.
const ulimitBlock = 512

// behindShell is what to execute for a program that is to have limits. A program
// that is not there, or may not be executed, is left to say so itself.
func behindShell(path string, args []string, l *Limits) (string, []string) {
	if l.OpenFiles == 0 && l.Core == 0 || unix.Access(path, unix.X_OK) != nil {
		return path, args
	}
	files, core := "", ""
	if l.OpenFiles != 0 {
		files = strconv.Itoa(l.OpenFiles)
	}
	if l.Core != 0 {
		core = strconv.FormatInt(max(l.Core, 0)/ulimitBlock, 10)
	}
	return "/bin/sh", append([]string{"-c", limitShell, path, files, core, path}, args...)
}
