package platform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// grouped is a host that has cgroups, or there is no test.
func grouped(t testing.TB, o Options) *host {
	t.Helper()
	h := newTestHost(t, o).(*host)
	if h.cgroups == nil {
		t.Skip("no cgroups to be had here: ", h.noCgroups)
	}
	return h
}

func groupOf(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	return unifiedGroup(text)
}

func TestAProcessIsBornInALeafOfItsOwnThatGoesWithIt(t *testing.T) {
	h := grouped(t, Options{})
	spec := childSpec(t, "stay")
	spec.Label = "über/web-1"
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	leaf := leafName(spec.Label, 1)
	if got := groupOf(t, p.PID()); !strings.HasSuffix(got, "/"+h.cgroups.name+"/"+leaf) {
		t.Errorf("it is in %s, want %s", got, leaf)
	}
	p.Kill()
	w.end()
	// It is removed after it was said to be empty, and before anything else is done.
	_, w = run(t, h, Spec{Label: "true", Path: "/bin/true"})
	w.end()
	if left := subgroups(h.cgroups.path()); slices.Contains(left, leaf) {
		t.Errorf("left: %v", left)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.cgroups.path()); !os.IsNotExist(err) {
		t.Errorf("the group of the host is left: %v", err)
	}
}

func TestAFrozenProcessDoesNotNoticeAndCanBeKilled(t *testing.T) {
	h := grouped(t, Options{})
	spec := childSpec(t, "obey")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	frozen := func(want string) {
		t.Helper()
		// The kernel says when it has changed.
		fd, err := h.cgroups.events(p.(*process).leaf)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		for {
			var b [128]byte
			n, err := unix.Pread(fd, b[:], 0)
			if err == unix.ENODEV && want == "0" {
				return // it has ended already, and its leaf is gone
			}
			if strings.Contains(string(b[:max(n, 0)]), "frozen "+want) {
				return
			}
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(patience.Milliseconds())); n == 0 && err == nil {
				t.Fatalf("not frozen %s after %v", want, patience)
			}
		}
	}
	if err := p.Suspend(); err != nil {
		t.Fatal(err)
	}
	frozen("1")
	if err := p.Signal(Signal(syscall.SIGUSR1), false); err != nil {
		t.Fatal(err)
	}
	w.none()
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	frozen("0")
	if line := out.line(); line != "user defined signal 1" && line != "continued" {
		t.Errorf("resumed, it said %q", line)
	}
	w.end()

	p, w = run(t, h, childSpec(t, "stubborn"))
	if err := p.Suspend(); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	w.end()
}

func TestWhatIsInTheLeafKeepsEmptiedBackAndIsKilledWhereverItIs(t *testing.T) {
	// It is below another subreaper, which has left the session, without a mark.
	for _, ending := range []string{"by itself", "by Kill"} {
		h := grouped(t, Options{})
		spec := childSpec(t, "subreaper")
		out := listen(t, &spec)
		p, w := run(t, h, spec)
		adopter, err := strconv.Atoi(out.line())
		if err != nil {
			t.Fatal(err)
		}
		out.expect("ready")
		kill(t, p.PID(), syscall.SIGKILL)
		if n := w.next(Exited); n.Empty {
			t.Errorf("%s: said to be empty", ending)
		}
		w.none()
		if ending == "by Kill" {
			p.Kill()
		} else {
			pids, err := os.ReadFile(filepath.Join(h.cgroups.path(), p.(*process).leaf, "cgroup.procs"))
			if err != nil {
				t.Fatal(err)
			}
			for _, pid := range numbers(nil, pids) {
				kill(t, pid, syscall.SIGKILL)
			}
		}
		w.next(Emptied)
		if err := syscall.Kill(adopter, 0); err != syscall.ESRCH {
			t.Errorf("%s: the subreaper is left: %v", ending, err)
		}
		out.eof()
	}
}

func TestSomethingInTheLeafThatIsNobodysChildIsWaitedForAndKilled(t *testing.T) {
	for _, ending := range []string{"by itself", "by Kill", "by Kill while the process runs"} {
		h := grouped(t, Options{})
		p, w := run(t, h, childSpec(t, "stay"))
		// It comes in from outside: neither its parent nor any exit tells of it.
		guest := exec.Command(sleeper, "600")
		guest.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := guest.Start(); err != nil {
			t.Fatal(err)
		}
		if err := h.cgroups.write(p.(*process).leaf+"/cgroup.procs", strconv.Itoa(guest.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		if ending != "by Kill while the process runs" {
			kill(t, p.PID(), syscall.SIGKILL)
			if n := w.next(Exited); n.Empty {
				t.Errorf("%s: said to be empty", ending)
			}
			w.none()
		}
		if ending == "by itself" {
			guest.Process.Kill()
		} else {
			p.Kill()
		}
		ended(t, guest)
		if ending == "by Kill while the process runs" {
			w.next(Exited)
		}
		w.next(Emptied)
	}
}

func TestAHostWithinALeafDividesIt(t *testing.T) {
	h := grouped(t, Options{})
	spec := childSpec(t, "inner-host")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	inner, err := strconv.Atoi(out.line())
	if err != nil {
		t.Fatal("no cgroups in a leaf: ", err)
	}
	if got := groupOf(t, inner); !strings.Contains(got, p.(*process).leaf+"/"+groupPrefix) {
		t.Errorf("the inner process is in %s", got)
	}
	p.Kill()
	w.end()
	out.eof()
}

func TestTheGroupOfAHostThatIsGoneIsEndedByTheNext(t *testing.T) {
	h := grouped(t, Options{})
	dir := filepath.Join(h.cgroups.parent, groupPrefix+"0000000000000000")
	leaf := filepath.Join(dir, "c-web.1", "nested")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		t.Fatal(err)
	}
	left := again("stay")
	left.Stdout = nil
	left.Env = childEnv("stay")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(left.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	p, w := run(t, h, childSpec(t, "stay"))
	newTestHost(t, Options{})
	left.Wait()
	newTestHost(t, Options{}) // removes what the one before could not yet
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
	w.none() // a host that is there keeps what it has
	p.Kill()
	w.end()
}

func TestACgroupParentThatIsNoneIsRefused(t *testing.T) {
	for dir, words := range map[string]string{"/proc": "not a directory of a cgroup v2", "/nowhere": "no such file"} {
		h, err := New(Options{CgroupParent: dir})
		if err == nil {
			h.Close()
			t.Errorf("%s was taken", dir)
		} else if !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestTheHierarchyIsFoundInTheMounts(t *testing.T) {
	const pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const hybrid = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n40 30 0:30 /docker/1 /mnt/a\\040b rw - cgroup2 cgroup rw\n"
	for _, c := range []struct{ text, root, point string }{{pure, "/", "/sys/fs/cgroup"}, {hybrid, "/docker/1", "/mnt/a b"}, {"", "", ""}} {
		root, point, ok := findMount([]byte(c.text))
		if root != c.root || point != c.point || ok != (c.point != "") {
			t.Errorf("%q: %q %q %v", c.text, root, point, ok)
		}
	}
	g := &cgroupTree{name: "proctor.ab"}
	for text, want := range map[string]uint64{
		"1:cpu:/x\n0::/a/proctor.ab/c-web.1.17\n":         17,
		"0::/proctor.ab/c-web.3/proctor.cd/c-y.8\n":       3,
		"0::/proctor.cd/c-w.9/proctor.ab/c-x.4 (deleted)": 4,
		"0::/proctor.abc/c-w.9\n":                         0,
		"0::/\n":                                          0,
	} {
		if seq, ok := g.findLeaf([]byte(text)); seq != want || ok != (want != 0) {
			t.Errorf("%q: %d %v", text, seq, ok)
		}
	}
}

func init() {
	children["inner-host"] = func([]string) int {
		h := mustHost(Options{Exclusive: true})
		if h.(*host).cgroups == nil {
			fmt.Println(h.(*host).noCgroups)
			return 1
		}
		notices := make(chan Notice, 4)
		h.Start(Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}, Stdout: os.Stdout}, func(n Notice) { notices <- n })
		n := await(notices)
		fmt.Println(n.PID)
		if n.Err != nil {
			fmt.Fprintln(os.Stderr, n.Err)
		}
		forever()
		return 0
	}
}
