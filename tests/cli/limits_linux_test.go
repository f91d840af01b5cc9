package cli_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// limited is the program of this name in the scripts' PATH: it becomes another
// program that has less.
func limited(args []string) {
	flags := flag.NewFlagSet("limited", flag.ExitOnError)
	limits := map[int]*uint64{
		unix.RLIMIT_NOFILE: flags.Uint64("nofile", 0, "descriptors"),
		unix.RLIMIT_NPROC:  flags.Uint64("nproc", 0, "processes of its user"),
		unix.RLIMIT_STACK:  flags.Uint64("stack", 0, "bytes of stack"),
	}
	uid := flags.Int("uid", 0, "its user")
	_ = flags.Parse(args) // exits on an error
	program, err := exec.LookPath(flags.Arg(0))
	check(err)
	for what, limit := range limits {
		if *limit != 0 {
			// The hard limit too: a Go program raises the soft one as soon as it starts.
			check(syscall.Setrlimit(what, &syscall.Rlimit{Cur: *limit, Max: *limit}))
		}
	}
	if *uid != 0 {
		check(syscall.Setgroups(nil))
		check(syscall.Setgid(*uid))
		check(syscall.Setuid(*uid))
	}
	check(syscall.Exec(program, flags.Args(), os.Environ()))
}

// stranger is a user id that nobody else uses, so that a limit on its
// processes counts only ours.
func stranger() string { return fmt.Sprint(200000 + os.Getpid()%100000) }
