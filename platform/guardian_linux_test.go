package platform

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// survivors starts a supervisor in a process of its own, which starts the named
// child, waits until n lines have been said, kills the supervisor, and waits
// until nobody is left who holds the output.
func survivors(t *testing.T, parent, name string, n int, args ...string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", append([]string{parent, name}, args...)...)
	cmd.Env = childEnv("supervisor")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := make(chan string)
	go func() {
		defer close(lines)
		b := make([]byte, 4096)
		for {
			k, err := r.Read(b)
			if err != nil {
				return
			}
			for range strings.Count(string(b[:k]), "\n") {
				lines <- ""
			}
		}
	}()
	timeout := time.After(patience)
	for range n {
		select {
		case <-lines:
		case <-timeout:
			t.Fatal("nothing was started")
		}
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for {
		select {
		case _, ok := <-lines:
			if !ok {
				return
			}
		case <-timeout:
			t.Fatal("somebody has outlived the supervisor")
		}
	}
}

// ways are the ways in which a host on Linux keeps its trees together.
func ways(t *testing.T, f func(t *testing.T, parent string)) {
	t.Run("cgroup", func(t *testing.T) {
		// The host that finds out is closed before: while there is one, this program
		// is given orphans that are not the host's to reap.
		some := false
		t.Run("there are some", func(t *testing.T) { some = grouped(t, Options{}) != nil })
		if some {
			f(t, *cgroups)
		}
	})
	t.Run("walk", func(t *testing.T) { f(t, NoCgroup) })
}

func TestNothingOutlivesASupervisorThatWasKilled(t *testing.T) {
	ways(t, func(t *testing.T, parent string) {
		t.Run("a daemon", func(t *testing.T) { survivors(t, parent, "daemon", 1) })
		t.Run("a daemon that was left behind", func(t *testing.T) { survivors(t, parent, "daemon", 1, "leave") })
		t.Run("a group", func(t *testing.T) { survivors(t, parent, "parent", 1) })
		t.Run("one that has changed its name", func(t *testing.T) { survivors(t, parent, "renamed", 1) })
		if os.Getuid() == 0 {
			t.Run("a fork storm", func(t *testing.T) { survivors(t, parent, "storm", 1, "64224", "100") })
		}
		if parent != NoCgroup {
			t.Run("one in another session without a mark", func(t *testing.T) { survivors(t, parent, "bare", 1) })
		}
	})
}

func TestAGuardianThatWasKilledIsReplacedAtOnce(t *testing.T) {
	ways(t, func(t *testing.T, parent string) {
		h, err := New(Options{Guardian: true, CgroupParent: parent, Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		g := h.(*host).guardian
		first := int(g.pid.Load())
		<-g.begun
		kill(t, first, syscall.SIGKILL)
		// There is no event for it.
		for start := time.Now(); int(g.pid.Load()) == first; time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				t.Fatal("it was not replaced")
			}
		}
	})
}

func init() {
	children["supervisor"] = func(args []string) int {
		h := mustHost(Options{Guardian: true, CgroupParent: args[0], Exclusive: true})
		spec := Spec{Label: args[1], Path: "/proc/self/exe", Args: args[2:], Env: childEnv(args[1]), Stdout: os.Stdout, Stderr: os.Stderr,
			Within: []Group{{Name: "outer"}, {Name: "inner"}}}
		h.Start(spec, func(n Notice) {
			if n.Err != nil {
				fmt.Fprintln(os.Stderr, n.Err)
			}
		})
		forever()
		return 0
	}
	// renamed is in a session of its own and has a name that looks like the end of /proc/PID/stat.
	children["renamed"] = func([]string) int {
		c := again("renamed-child")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return 97
		}
		forever()
		return 0
	}
	children["renamed-child"] = func([]string) int {
		for _, tid := range listNumbers("/proc/self/task") {
			os.WriteFile("/proc/self/task/"+strconv.Itoa(tid)+"/comm", []byte("a)\nZ 1 1 1"), 0)
		}
		unix.Setsid()
		ignoreAll()
		fmt.Println("ready")
		forever()
		return 0
	}
}
