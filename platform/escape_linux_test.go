package platform

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// What can become of one who tries to get away.
const (
	caught = "ended"
	later  = "ended by Close" // of an exclusive host; found, but not known whose it was
	gets   = "may get away"
)

// An escape is a way out of a tree, and how far it goes: by mechanism, when the
// tree is killed, when it is killed after its process has crashed, and when the
// supervisor is killed.
type escape struct {
	way    string
	tricks string
	cgroup [3]string
	walk   [3]string
}

// A fugitive ignores all signals that can be ignored, in all of these.
var escapes = []escape{
	{"another session", "session", [3]string{caught, caught, caught}, [3]string{caught, caught, caught}},
	{"a daemon: another session, no parent", "session orphan", [3]string{caught, caught, caught}, [3]string{caught, caught, caught}},
	{"a daemon that has stopped itself", "session orphan stop", [3]string{caught, caught, caught}, [3]string{caught, caught, caught}},
	{"a daemon under a name that fakes /proc/PID/stat", "session orphan name", [3]string{caught, caught, caught}, [3]string{caught, caught, caught}},
	// The guardian is told of a group just after that has been made.
	{"no parent, no mark", "orphan mark", [3]string{caught, caught, caught}, [3]string{caught, caught, gets}},
	{"another session, no mark", "session mark", [3]string{caught, caught, caught}, [3]string{caught, later, gets}},
	{"a daemon without a mark", "session orphan mark", [3]string{caught, caught, caught}, [3]string{later, later, gets}},
	{"a daemon that leaves the cgroup", "session orphan group", [3]string{caught, caught, caught}, [3]string{}},
	{"a daemon without a mark that leaves the cgroup", "session orphan mark group", [3]string{later, later, gets}, [3]string{}},
}

func TestTheEscapeArtist(t *testing.T) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "mechanism\tway out\tKill\tcrash, Kill\tsupervisor killed\t")
	ways(t, func(t *testing.T, parent string) {
		for _, e := range escapes {
			want, name := e.cgroup, "cgroup"
			if parent == NoCgroup {
				want, name = e.walk, "walk"
			}
			if want[0] == "" {
				continue
			}
			if strings.Contains(e.tricks, "group") && os.Getuid() != 0 {
				continue // only who may write to another group can go there
			}
			t.Run(e.way, func(t *testing.T) {
				got := [3]string{tryKill(t, parent, e.tricks, false), tryKill(t, parent, e.tricks, true), want[2]}
				if want[2] == caught {
					got[2] = trySupervisor(t, parent, e.tricks)
				}
				if got != want {
					t.Errorf("%q, want %q", got, want)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", name, e.way, got[0], got[1], got[2])
			})
		}
	})
	w.Flush()
	t.Logf("\n%s", table.String())
}

// gone reports whether the process is, after waiting for that for so many ms.
func gone(pidfd, ms int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, ms)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// pursue holds on to the fugitive that says that it is out.
func pursue(t *testing.T, line string) (pidfd int) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscanf(line, "out %d", &pid); err != nil {
		t.Fatalf("it said %q", line)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		unix.Close(fd)
	})
	return fd
}

// tryKill has the tree killed, after its process if it crashes.
func tryKill(t *testing.T, parent, tricks string, crash bool) string {
	t.Helper()
	h, err := New(Options{CgroupParent: parent, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	spec := childSpec(t, "escape", tricks)
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	fugitive := pursue(t, out.line())
	if crash {
		kill(t, p.PID(), syscall.SIGKILL)
		w.next(Exited)
	}
	p.Kill()
	if !crash {
		w.next(Exited)
	}
	w.next(Emptied)
	result := caught
	if !gone(fugitive, 0) {
		result = later
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if !gone(fugitive, 0) {
		result = gets
	}
	return result
}

// trySupervisor has the supervisor killed.
func trySupervisor(t *testing.T, parent, tricks string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", parent, "escape", tricks)
	cmd.Env = childEnv("supervisor")
	spec := Spec{}
	out := listen(t, &spec)
	cmd.Stdout, cmd.Stderr = spec.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fugitive := pursue(t, out.line())
	cmd.Process.Kill()
	cmd.Wait()
	if !gone(fugitive, int(patience.Milliseconds())) {
		return gets
	}
	return caught
}

func init() {
	children["escape"] = func(args []string) int {
		next := "fugitive"
		if strings.Contains(args[0], "orphan") {
			next = "accomplice"
		}
		c := flee(next, args[0])
		if err := c.Start(); err != nil {
			return 97
		}
		if next == "accomplice" {
			c.Wait()
		}
		forever()
		return 0
	}
	children["accomplice"] = func(args []string) int {
		// It leaves when the fugitive has done all that it can do: before that it
		// might be seen as an orphan that can still be told.
		done, tell, err := os.Pipe()
		if err != nil {
			return 96
		}
		c := flee("fugitive", args[0])
		c.ExtraFiles = []*os.File{tell}
		if err := c.Start(); err != nil {
			return 97
		}
		tell.Close()
		done.Read(make([]byte, 1))
		return 0
	}
	children["fugitive"] = func(args []string) int {
		ignoreAll()
		if strings.Contains(args[0], "name") {
			for _, tid := range listNumbers("/proc/self/task") {
				os.WriteFile("/proc/self/task/"+strconv.Itoa(tid)+"/comm", []byte("a)\nZ 1 1 1"), 0)
			}
		}
		if strings.Contains(args[0], "group") {
			mounts, _ := os.ReadFile("/proc/self/mountinfo")
			_, point, _ := findMount(mounts)
			if err := writeFile(filepath.Join(point, "cgroup.procs"), "0"); err != nil {
				fmt.Println("cannot leave the cgroup:", err)
				return 1
			}
		}
		// With a parent it could be found below that.
		if strings.Contains(args[0], "orphan") {
			syscall.Close(3)
		}
		for strings.Contains(args[0], "orphan") && os.Getppid() == accomplice(args) {
			syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 1000})
		}
		fmt.Println("out", os.Getpid())
		if strings.Contains(args[0], "stop") {
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
		forever()
		return 0
	}
}

// accomplice is the pid of the parent that was there at the start.
func accomplice(args []string) int {
	pid, _ := strconv.Atoi(args[1])
	return pid
}

func flee(name, tricks string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", tricks, strconv.Itoa(os.Getpid()))
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.Env = childEnv(name)
	if strings.Contains(tricks, "mark") {
		c.Env = []string{childKey + "=" + name}
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: strings.Contains(tricks, "session")}
	return c
}
