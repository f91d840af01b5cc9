//go:build unix

package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The programs that scripts have supervised, by the mode that is their first
// argument. Each says "ready <mode> <pid>" on standard output as soon as it is
// what it says it is.
var childModes = map[string]func(args []string){
	"run":      func([]string) { ready("run"); awaitTerm() },
	"deaf":     func([]string) { deafen(); ready("deaf"); select {} },
	"exit":     exitWith,
	"suspend":  suspendItself,
	"closed":   closeEverything,
	"fork":     func(args []string) { fork(args); ready("fork"); awaitTerm() },
	"leave":    func(args []string) { fork(args); ready("leave"); os.Exit(3) },
	"sessions": newSessions,
	"lines":    writeLines,

	// What fork starts.
	"plain":  func([]string) { signal.Reset(); tell(); select {} },
	"detach": func([]string) { start(&syscall.SysProcAttr{Setsid: true}, os.NewFile(3, "pids"), "hidden") },
	"hidden": func([]string) { deafen(); tell(); select {} },
}

// child is the program of this name in the scripts' PATH.
func child(args []string) {
	if len(args) == 0 || childModes[args[0]] == nil {
		fmt.Fprintf(os.Stderr, "child %q: no such mode\n", args)
		os.Exit(2)
	}
	// A test that was cancelled must not leave anything for long.
	time.AfterFunc(5*time.Minute, func() { os.Exit(9) })
	childModes[args[0]](args[1:])
}

var terminated = make(chan os.Signal, 1)

func init() {
	if filepath.Base(os.Args[0]) == "child" {
		signal.Notify(terminated, syscall.SIGTERM) // before it says that it is ready
	}
}

func ready(mode string) { fmt.Printf("ready %s %d\n", mode, os.Getpid()) }

func awaitTerm() {
	<-terminated
	fmt.Println("asked to end")
}

// deafen ignores every signal that can be ignored.
func deafen() {
	signal.Reset()
	for s := syscall.Signal(1); s < 32; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGABRT, syscall.SIGTRAP:
		default:
			signal.Ignore(s)
		}
	}
}

func exitWith(args []string) {
	code, _ := strconv.Atoi(args[0])
	fmt.Println("exiting with", code)
	os.Exit(code)
}

func suspendItself([]string) {
	ready("suspend")
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	awaitTerm()
}

// closeEverything leaves the supervisor nothing to be heard or seen by.
func closeEverything(args []string) {
	deafen()
	writePIDs(args[0], []string{strconv.Itoa(os.Getpid())})
	ready("closed")
	for fd := range 256 {
		target, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if !strings.HasPrefix(target, "anon_inode:") { // those are the Go runtime's own
			_ = syscall.Close(fd)
		}
	}
	select {}
}

// fork starts one process of each of the kinds that follow the file in args, and
// writes their pids to it: "plain" in its own session, "hidden" one that has
// left it by way of a parent that is gone, and ignores every signal.
func fork(args []string) {
	r, w, err := os.Pipe()
	check(err)
	for _, kind := range args[1:] {
		if kind == "plain" {
			start(nil, w, "plain")
		} else {
			check(start(&syscall.SysProcAttr{Setsid: true}, w, "detach").Wait())
		}
	}
	check(w.Close())
	var pids []string
	for in := bufio.NewScanner(r); len(pids) < len(args)-1 && in.Scan(); {
		pids = append(pids, in.Text())
	}
	writePIDs(args[0], pids)
}

// tell gives this process's id to the one that forks.
func tell() {
	pids := os.NewFile(3, "pids")
	_, err := fmt.Fprintln(pids, os.Getpid())
	check(err)
	check(pids.Close())
}

// newSessions makes args[0] processes, each the child of the one before it and
// in a session of its own, as fast as it can; none of them ends by itself. Each
// adds its pid to the file args[1].
func newSessions(args []string) {
	deafen()
	appendPID(args[1])
	left, _ := strconv.Atoi(args[0])
	if left > 1 {
		start(&syscall.SysProcAttr{Setsid: true}, nil, "sessions", strconv.Itoa(left-1), args[1])
	}
	select {}
}

func appendPID(file string) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	check(err)
	_, err = fmt.Fprintln(f, os.Getpid())
	check(err)
	check(f.Close())
}

// writeLines writes without an end, so that it notices when nobody reads.
func writeLines(args []string) {
	ready("lines")
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if _, err := fmt.Println(strings.Join(args, " ")); err != nil {
				os.Exit(4)
			}
		case <-terminated:
			return
		}
	}
}

func start(sys *syscall.SysProcAttr, pids *os.File, args ...string) *exec.Cmd {
	self, err := os.Executable()
	check(err)
	c := &exec.Cmd{Path: self, Args: append([]string{"child"}, args...), Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: sys}
	if pids != nil {
		c.ExtraFiles = []*os.File{pids}
	}
	check(c.Start())
	return c
}

// writePIDs makes the file at once, so that who waits for it finds all of it.
func writePIDs(file string, pids []string) {
	check(os.WriteFile(file+".new", []byte(strings.Join(pids, "\n")+"\n"), 0o666))
	check(os.Rename(file+".new", file))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}
