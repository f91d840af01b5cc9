package platform

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var cycles = flag.Int("cycles", 10_000, "how many processes the leak test starts; 1,000 with -short or -race")

func init() {
	// daemon starts "stay" in a session of its own, twice removed, ignoring all
	// signals, and itself stays or leaves.
	children["daemon"] = func(args []string) int {
		middle := again("middle")
		middle.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := middle.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 98
		}
		if len(args) > 0 && args[0] == "leave" {
			return 4
		}
		forever()
		return 0
	}
	children["middle"] = func([]string) int {
		c := again("deaf")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return 97
		}
		return 0
	}
	// deaf ignores every signal that can be ignored.
	children["deaf"] = func([]string) int {
		ignoreAll()
		fmt.Println("ready", os.Getpid())
		forever()
		return 0
	}
	// bare starts, below a process that stays, one in another session without a
	// mark in its environment.
	children["bare"] = func([]string) int {
		c := again("stay")
		c.Env = []string{childKey + "=stay"}
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return 97
		}
		forever()
		return 0
	}
	children["suspend-self"] = func([]string) int {
		fmt.Println("ready")
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		fmt.Println("on")
		forever()
		return 0
	}
	children["close-all"] = func([]string) int {
		for fd := range 256 {
			syscall.Close(fd)
		}
		forever()
		return 0
	}
	// storm forks in new sessions as fast as it can, as another user with room
	// for args[1] processes.
	children["storm"] = func(args []string) int {
		uid, _ := strconv.Atoi(args[0])
		room, _ := strconv.ParseUint(args[1], 10, 64)
		var lim = syscall.Rlimit{Cur: room, Max: room}
		if err := syscall.Setrlimit(rlimitNPROC, &lim); err != nil {
			return 96
		}
		if err := syscall.Setuid(uid); err != nil {
			return 95
		}
		fmt.Println("ready")
		runtime.LockOSThread()
		storm()
		return 0
	}
}

func ignoreAll() {
	for s := syscall.Signal(1); s < 32; s++ {
		if s != syscall.SIGKILL && s != syscall.SIGSTOP && s != syscall.SIGCHLD && s != syscall.SIGURG && s != syscall.SIGSEGV {
			signal.Ignore(s)
		}
	}
}

// storm forks without end. In the forked processes there is no Go runtime to
// speak of, so that it can make raw system calls only.
//
//go:norace
//go:nosplit
func storm() {
	for {
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
		}
	}
}

func kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

func TestTheSignalThatEndedAProcessIsTold(t *testing.T) {
	h := newTestHost(t, Options{})
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGUSR1} {
		p, w := run(t, h, Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}})
		kill(t, p.PID(), sig)
		if exit := w.end(); exit.Signal != Signal(sig) || exit.Code != -1 || exit.Core || exit.Success() {
			t.Errorf("%v is told as %+v", sig, exit)
		}
	}
}

func TestACoreDumpIsTold(t *testing.T) {
	h := newTestHost(t, Options{})
	// Whether there will be one depends on the limit alone, where cores go to a file.
	for limit, want := range map[string]bool{"0": false, "unlimited": true} {
		spec := Spec{Label: "abort", Path: "/bin/sh", Dir: tempDir(t), Args: []string{"-c", "ulimit -c " + limit + "; kill -ABRT $$"}}
		_, w := run(t, h, spec)
		exit := w.end()
		if exit.Signal != Signal(syscall.SIGABRT) {
			t.Fatalf("%+v", exit)
		}
		pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
		if bytes.HasPrefix(pattern, []byte("|")) || bytes.HasPrefix(pattern, []byte("/")) {
			t.Skip("core dumps do not go to the working directory")
		}
		if exit.Core != want {
			t.Errorf("with ulimit -c %s: %+v", limit, exit)
		}
	}
}

func TestTerminateSendsTheStopSignalToTheGroup(t *testing.T) {
	h := newTestHost(t, Options{})
	for want, sig := range map[string]Signal{"terminated": 0, "user defined signal 1": Signal(syscall.SIGUSR1)} {
		spec := childSpec(t, "obey")
		spec.StopSignal = sig
		out := listen(t, &spec)
		p, w := run(t, h, spec)
		out.expect("ready")
		if err := p.Terminate(); err != nil {
			t.Fatal(err)
		}
		out.expect(want)
		if exit := w.end(); exit.Code != 7 {
			t.Errorf("%+v", exit)
		}
	}
}

func TestOneThatIgnoresTheStopSignalIsEndedByKill(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "stubborn")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	out.expect("no terminated")
	w.none()
	p.Kill()
	if exit := w.end(); exit.Signal != Signal(syscall.SIGKILL) {
		t.Errorf("%+v", exit)
	}
}

func TestTerminateReachesTheGroupAfterTheProcessItselfIsGone(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "parent", "leave")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	w.next(Exited)
	if err := p.Signal(15, false); !errors.Is(err, ErrNotRunning) {
		t.Errorf("the process itself was signalled: %v", err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	w.next(Emptied)
}

func TestASignalGoesToTheProcessOnlyOrToItsGroup(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "parent")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	if err := p.Signal(Signal(syscall.SIGKILL), false); err != nil {
		t.Fatal(err)
	}
	w.next(Exited)
	w.none() // its child is still there
	if err := p.Signal(Signal(syscall.SIGKILL), true); err != nil {
		t.Fatal(err)
	}
	w.next(Emptied)
}

// stateOf is the state of a process as /proc shows it.
func stateOf(t testing.TB, pid int) byte {
	t.Helper()
	st, err := (&procReader{}).stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return st.state
}

// awaitStop waits until a child of this process has been stopped, and leaves the fact for others.
func awaitStop(t testing.TB, pid int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

func TestSuspendStopsTheGroupAndResumeLetsItGoOn(t *testing.T) {
	h := newTestHost(t, Options{CgroupParent: NoCgroup})
	spec := childSpec(t, "obey")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	if err := p.Suspend(); err != nil {
		t.Fatal(err)
	}
	awaitStop(t, p.PID())
	if s := stateOf(t, p.PID()); s != 'T' {
		t.Errorf("state %c after Suspend", s)
	}
	if err := p.Signal(Signal(syscall.SIGUSR1), false); err != nil {
		t.Fatal(err)
	}
	w.none()
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	// Both signals were waiting for it.
	if line := out.line(); line != "user defined signal 1" && line != "continued" {
		t.Errorf("resumed, it said %q", line)
	}
	w.end()
}

func TestOneThatStopsItselfCanBeResumedAndKilled(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "suspend-self")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	awaitStop(t, p.PID())
	w.none() // being stopped is not an end
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	out.expect("on")
	if err := p.Suspend(); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	w.end()
}

func TestOneThatClosesAllItsFilesIsStillWatched(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "close-all")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.eof()
	w.none()
	p.Kill()
	w.end()
}

func TestOneThatEndsAtOnceIsToldOfInOrder(t *testing.T) {
	h := newTestHost(t, Options{})
	for range 300 {
		_, w := run(t, h, Spec{Label: "true", Path: "/bin/true"})
		w.end()
	}
}

func TestADaemonInASessionOfItsOwnIsEndedByKill(t *testing.T) {
	for _, exclusive := range []bool{false, true} {
		h := newTestHost(t, Options{Exclusive: exclusive})
		spec := childSpec(t, "daemon")
		out := listen(t, &spec)
		p, w := run(t, h, spec)
		if line := out.line(); !strings.HasPrefix(line, "ready ") {
			t.Fatal(line)
		}
		p.Kill()
		w.end()
		out.eof()
	}
}

func TestADaemonThatIsLeftBehindKeepsEmptiedBackUntilItEnds(t *testing.T) {
	h := newTestHost(t, Options{})
	for _, ending := range []string{"by itself", "by Kill"} {
		spec := childSpec(t, "daemon", "leave")
		out := listen(t, &spec)
		p, w := run(t, h, spec)
		var pid int
		if _, err := fmt.Sscanf(out.line(), "ready %d", &pid); err != nil {
			t.Fatal(err)
		}
		if exit := w.next(Exited).Exit; exit.Code != 4 {
			t.Fatalf("%+v", exit)
		}
		w.none()
		if ending == "by itself" {
			kill(t, pid, syscall.SIGKILL)
		} else {
			p.Kill()
		}
		w.next(Emptied)
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("%s: process %d is not gone: %v", ending, pid, err)
		}
	}
}

func TestOneInAnotherSessionWithoutAMarkIsFoundBelowItsParent(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "bare")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	p.Kill()
	w.end()
	out.eof()
}

func TestAForkStormIsEndedCompletely(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, in order to limit the storm by means of another user")
	}
	const uid = 64221
	h := newTestHost(t, Options{})
	spec := childSpec(t, "storm", strconv.Itoa(uid), "200")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	p.Kill()
	w.end()
	out.eof()
	if left := processesOf(uid); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
}

func TestAForkStormThatIsLeftBehindIsEndedCompletely(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, in order to limit the storm by means of another user")
	}
	const uid = 64222
	h := newTestHost(t, Options{})
	spec := childSpec(t, "storm", strconv.Itoa(uid), "200")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	kill(t, p.PID(), syscall.SIGKILL) // as in a crash: all the others are orphans now
	w.next(Exited)
	p.Kill()
	w.next(Emptied)
	out.eof()
	if left := processesOf(uid); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
}

// A tree is done with when nothing new appears in it, whatever else is ended at the
// same time.
func TestManyTreesAreEndedAtOnceAndCompletely(t *testing.T) {
	ways(t, func(t *testing.T, parent string) {
		h := newTestHost(t, Options{CgroupParent: parent})
		family := Spec{Label: "family", Path: "/bin/sh", Env: []string{"PATH=/usr/bin:/bin"}, Args: []string{"-c",
			"sleep 600 & setsid sh -c 'sleep 600 & sleep 600 & echo; wait' & (sleep 600 &) ; wait"}}
		specs := slices.Repeat([]Spec{family}, 100)
		if os.Getuid() == 0 {
			specs[50] = childSpec(t, "storm", "64226", "100")
		}
		out := listen(t, &family)
		var all []Process
		var watchers []*watcher
		for _, spec := range specs {
			spec.Stdout, spec.Stderr = family.Stdout, family.Stderr
			p, w := run(t, h, spec)
			all, watchers = append(all, p), append(watchers, w)
		}
		for range specs {
			out.line()
		}
		for _, p := range all {
			p.Kill()
		}
		for _, w := range watchers {
			w.end()
		}
		out.eof()
		if left := processesOf(64226); len(left) > 0 {
			t.Errorf("%d processes of the storm are left", len(left))
		}
	})
}

func processesOf(uid uint32) []int {
	var found []int
	for _, pid := range listNumbers("/proc") {
		var st unix.Stat_t
		if unix.Stat("/proc/"+strconv.Itoa(pid), &st) == nil && st.Uid == uid {
			found = append(found, pid)
		}
	}
	return found
}

// asProcess runs a function of this test binary in a process of its own, for
// what would disturb other tests, and fails with what it says.
func asProcess(t *testing.T, name string, cred *syscall.Credential) {
	t.Helper()
	c := exec.Command("/proc/self/exe") // may be executed by any user, wherever it is
	c.Env = append(os.Environ(), childKey+"="+name, "GORACE=atexit_sleep_ms=0")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out[:min(len(out), 2000)])
	} else if bytes.HasPrefix(out, []byte("skip: ")) {
		t.Skip(string(out[6:]))
	}
}

// check is what a function run by asProcess has instead of a testing.T.
type check struct{ failed bool }

func (c *check) errorf(format string, args ...any) {
	c.failed = true
	fmt.Printf(format+"\n", args...)
}

func (c *check) result() int {
	if c.failed {
		return 1
	}
	return 0
}

// await is the next notice.
func await(notices <-chan Notice) Notice {
	select {
	case n := <-notices:
		return n
	case <-time.After(patience):
		panic("no notice")
	}
}

func mustHost(o Options) Host {
	h, err := New(o)
	if err != nil {
		panic(err)
	}
	return h
}

func wantSpawnError(c *check, h Host, errno syscall.Errno, words ...string) {
	notices := make(chan Notice, 4)
	h.Start(Spec{Label: "true", Path: "/bin/true"}, func(n Notice) { notices <- n })
	n := await(notices)
	if n.Kind != SpawnFailed || !errors.Is(n.Err, errno) {
		c.errorf("%v: %v, want %v", n.Kind, n.Err, errno)
		return
	}
	for _, word := range words {
		if !strings.Contains(n.Err.Error(), word) {
			c.errorf("%q says nothing of %q", n.Err, word)
		}
	}
}

func TestRunningOutOfDescriptorsIsSurvivedAndExplained(t *testing.T) { asProcess(t, "few-files", nil) }

func init() {
	children["few-files"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{})
		lim := syscall.Rlimit{Cur: 64, Max: 64}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			panic(err)
		}
		notices := make(chan Notice, 16)
		daemon := Spec{Label: "daemon", Path: os.Args[0], Args: []string{"leave"}, Env: childEnv("daemon")}
		p := h.Start(daemon, func(n Notice) { notices <- n })
		if n := await(notices); n.Kind != Spawned {
			c.errorf("%+v", n)
		}
		if n := await(notices); n.Kind != Exited { // and leaves an orphan
			c.errorf("%+v", n)
		}
		var files []int
		for {
			fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
			if err != nil {
				break
			}
			files = append(files, fd)
		}
		wantSpawnError(c, h, syscall.EMFILE, "64", "ulimit -n")
		p.Kill()
		for _, fd := range files {
			syscall.Close(fd)
		}
		// Nothing is broken for good.
		h.Start(Spec{Label: "true", Path: "/bin/true"}, func(n Notice) { notices <- n })
		seen := map[NoticeKind]int{}
		for range 4 {
			seen[await(notices).Kind]++
		}
		if seen[Spawned] != 1 || seen[Exited] != 1 || seen[Emptied] != 2 {
			c.errorf("%v", seen)
		}
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		return c.result()
	}
	children["few-processes"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{})
		// Go must not need another thread while there is no room for one.
		var spare sync.WaitGroup
		ready, done := make(chan struct{}), make(chan struct{})
		for range 16 {
			spare.Go(func() {
				runtime.LockOSThread()
				ready <- struct{}{}
				<-done
				runtime.UnlockOSThread()
			})
		}
		for range 16 {
			<-ready
		}
		close(done)
		spare.Wait()
		lim := syscall.Rlimit{Cur: 1, Max: 1}
		if err := syscall.Setrlimit(rlimitNPROC, &lim); err != nil {
			panic(err)
		}
		wantSpawnError(c, h, syscall.EAGAIN, "(1)", "ulimit -u")
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		return c.result()
	}
}

func TestRunningOutOfProcessesIsExplained(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, in order to run as another user")
	}
	asProcess(t, "few-processes", &syscall.Credential{Uid: 64223, Gid: 64223})
}

func TestTheReasonWhyAProcessCannotBeStartedIsExplained(t *testing.T) {
	asProcess(t, "bad-files", nil)
	if os.Getuid() == 0 {
		t.Run("by another user", func(t *testing.T) {
			asProcess(t, "closed-files", &syscall.Credential{Uid: 65534, Gid: 65534})
		})
	}
}

type spawnCase struct {
	name  string
	spec  Spec
	err   error
	path  string
	words []string
}

func (c *check) spawnErrors(cases []spawnCase) {
	h := mustHost(Options{})
	for _, sc := range cases {
		notices := make(chan Notice, 4)
		sc.spec.Label = sc.name
		h.Start(sc.spec, func(n Notice) { notices <- n })
		n := await(notices)
		var failure *SpawnError
		if n.Kind != SpawnFailed || !errors.As(n.Err, &failure) {
			c.errorf("%s: %v %v", sc.name, n.Kind, n.Err)
			continue
		}
		if !errors.Is(n.Err, sc.err) {
			c.errorf("%s: %v (%v), want %v", sc.name, failure.Err, failure, sc.err)
		}
		if sc.path != "" && failure.Path != sc.path {
			c.errorf("%s: it is about %s, not %s", sc.name, failure.Path, sc.path)
		}
		for _, word := range sc.words {
			if !strings.Contains(failure.Why, word) {
				c.errorf("%s: %q says nothing of %q", sc.name, failure.Why, word)
			}
		}
	}
	if err := h.Close(); err != nil {
		c.errorf("Close: %v", err)
	}
}

func makeFile(path string, contents []byte, mode os.FileMode) string {
	if err := os.WriteFile(path, contents, mode); err != nil {
		panic(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		panic(err)
	}
	return path
}

func init() {
	children["bad-files"] = func([]string) int {
		dir, err := os.MkdirTemp("", "platform")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		in := func(name string) string { return filepath.Join(dir, name) }
		file := func(name, contents string) string { return makeFile(in(name), []byte(contents), 0o755) }
		self, err := os.ReadFile("/bin/true")
		if err != nil {
			panic(err)
		}
		foreign := bytes.Clone(self)
		foreign[18], foreign[19] = 0xf3, 0 // RISC-V
		os.Symlink("/nowhere/at/all", in("dangling"))
		os.Symlink("circle", in("circle"))
		busy, err := os.OpenFile(makeFile(in("busy"), self, 0o755), os.O_WRONLY, 0)
		if err != nil {
			panic(err)
		}
		defer busy.Close()
		plain := file("plain", "x")
		loader := bytes.Replace(self, []byte("/ld-linux"), []byte("/no-linux"), 1)
		c := &check{}
		cases := []spawnCase{
			{"missing", Spec{Path: in("missing")}, fs.ErrNotExist, in("missing"), []string{"does not exist"}},
			{"missing directory", Spec{Path: in("a/b/c")}, syscall.ENOENT, in("a/b/c"), []string{"no directory " + in("a")}},
			{"file for a directory", Spec{Path: in("plain/x")}, syscall.ENOTDIR, "", []string{plain + " is not a directory"}},
			{"empty path", Spec{}, syscall.ENOENT, "", []string{"no executable"}},
			{"dangling", Spec{Path: in("dangling")}, syscall.ENOENT, "", []string{"symbolic link to /nowhere/at/all"}},
			{"circle", Spec{Path: in("circle")}, syscall.ELOOP, "", []string{"circle"}},
			{"directory", Spec{Path: dir}, syscall.EACCES, dir, []string{"a directory"}},
			{"device", Spec{Path: "/dev/null"}, syscall.EACCES, "", []string{"not a file"}},
			{"not executable", Spec{Path: makeFile(in("data"), self, 0o640)}, fs.ErrPermission, "", []string{"mode 0640", "chmod +x"}},
			{"interpreter", Spec{Path: file("script", "#!/no/such/interpreter -x\n")}, syscall.ENOENT, "", []string{"/no/such/interpreter,", "first line"}},
			{"carriage return", Spec{Path: file("dos", "#!/bin/sh\r\nexit 0\r\n")}, syscall.ENOENT, "", []string{"Windows line endings"}},
			{"no interpreter", Spec{Path: file("text", "echo hello\n")}, syscall.ENOEXEC, "", []string{"#!/bin/sh"}},
			{"interpreter not executable", Spec{Path: file("script2", "#!"+in("data")+"\n")}, syscall.EACCES, "", []string{in("data"), "chmod +x"}},
			{"empty", Spec{Path: file("empty", "")}, syscall.ENOEXEC, "", []string{"empty"}},
			{"truncated", Spec{Path: file("cut", string(self[:100]))}, syscall.ENOEXEC, "", []string{"incomplete"}},
			{"foreign", Spec{Path: file("foreign", string(foreign))}, syscall.ENOEXEC, "", []string{"RISCV"}},
			{"garbage", Spec{Path: file("garbage", "\x00\x01\x02\x03")}, syscall.ENOEXEC, "", []string{"not a program"}},
			{"Windows", Spec{Path: file("w.exe", "MZ\x00")}, syscall.ENOEXEC, "", []string{"Windows"}},
			{"busy", Spec{Path: in("busy")}, syscall.ETXTBSY, "", []string{"being written"}},
			{"Dir missing", Spec{Path: "/bin/true", Dir: in("nodir")}, syscall.ENOENT, in("nodir"), []string{"working directory does not exist"}},
			{"Dir a file", Spec{Path: "/bin/true", Dir: plain}, syscall.ENOTDIR, plain, []string{"not a directory"}},
			{"relative", Spec{Path: "./missing", Dir: dir}, syscall.ENOENT, in("missing"), nil},
			{"NUL argument", Spec{Path: "/bin/true", Args: []string{"a", "b\x00c"}}, syscall.EINVAL, "", []string{"argument 2", "NUL"}},
			{"NUL environment", Spec{Path: "/bin/true", Env: []string{"KEY=\x00"}}, syscall.EINVAL, "", []string{`"KEY"`, "NUL"}},
			{"NUL path", Spec{Path: "/bin/\x00true"}, syscall.EINVAL, "", []string{"path", "NUL"}},
			{"too long", Spec{Path: "/bin/true", Args: []string{strings.Repeat("x", 1<<20)}}, syscall.E2BIG, "", []string{"1048", "131072"}},
			{"name too long", Spec{Path: in(strings.Repeat("x", 300))}, syscall.ENAMETOOLONG, "", []string{"too long"}},
			{"closed output", Spec{Path: "/bin/true", Stdout: closedFile()}, os.ErrClosed, "", []string{"standard output was closed"}},
		}
		if !bytes.Equal(loader, self) {
			cases = append(cases, spawnCase{"loader", Spec{Path: file("loader", string(loader))}, syscall.ENOENT, "", []string{"no-linux"}})
		}
		c.spawnErrors(cases)
		return c.result()
	}
	children["closed-files"] = func([]string) int {
		dir, err := os.MkdirTemp("", "platform")
		if err != nil {
			panic(err)
		}
		closed := filepath.Join(dir, "closed")
		os.MkdirAll(filepath.Join(closed, "below"), 0o755)
		makeFile(filepath.Join(closed, "program"), []byte("#!/bin/sh\n"), 0o755)
		os.Chmod(closed, 0o600)
		defer func() {
			os.Chmod(closed, 0o700)
			os.RemoveAll(dir)
		}()
		c := &check{}
		c.spawnErrors([]spawnCase{
			{"closed directory", Spec{Path: filepath.Join(closed, "program")}, fs.ErrPermission, "", []string{"permission denied in the directory " + closed, "0600"}},
			{"closed Dir", Spec{Path: "/bin/true", Dir: closed}, syscall.EACCES, closed, []string{"may not be entered", "0600"}},
			{"Dir below", Spec{Path: "/bin/true", Dir: filepath.Join(closed, "below")}, syscall.EACCES, "", []string{"cannot be reached", closed + " (mode 0600)"}},
			{"others only", Spec{Path: makeFile(filepath.Join(dir, "x"), []byte("#!/bin/sh\n"), 0o611)}, syscall.EACCES, "", []string{"this user may not execute it (mode 0611)"}},
		})
		return c.result()
	}
}

func closedFile() *os.File {
	f, err := os.Open("/dev/null")
	if err != nil {
		panic(err)
	}
	f.Close()
	return f
}

func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clean := rapid.StringMatching(`[A-Z]{1,5}=[a-z:.=]{0,8}`)
		env := rapid.SliceOf(clean).Draw(t, "env")
		outer, inner, other := newNonce(), newNonce(), newNonce()
		seqOuter, seqInner := rapid.Uint64().Draw(t, "outer"), rapid.Uint64().Draw(t, "inner")

		one := markEnv(nil, env, "", outer, seqOuter)
		mark := strings.TrimPrefix(one[len(one)-1], markKey+"=")
		if len(one) != len(env)+1 {
			t.Fatalf("%q became %q", env, one)
		}
		// The inner host was started with that; its processes get it handed on, or not.
		handed := env
		if rapid.Bool().Draw(t, "handed on") {
			handed = one
		}
		two := markEnv(nil, handed, mark, inner, seqInner)
		environ := []byte(strings.Join(two, "\x00") + "\x00")
		if seq, ok := findMark(environ, outer); !ok || seq != seqOuter {
			t.Fatalf("the outer host does not know %q", environ)
		}
		if seq, ok := findMark(environ, inner); !ok || seq != seqInner {
			t.Fatalf("the inner host does not know %q", environ)
		}
		if _, ok := findMark(environ, other); ok {
			t.Fatalf("another host knows %q", environ)
		}
		if len(two) != len(env)+1 {
			t.Fatalf("%q became %q", handed, two)
		}
	})
}

func FuzzStatIsReadWhateverTheNameIs(f *testing.F) {
	f.Add("sleep", 1, 2, 3)
	f.Add("a) Z 1 (b", 4, 5, 6)
	f.Fuzz(func(t *testing.T, name string, ppid, pgrp, session int) {
		rest := strings.Repeat(" 0", 15)
		line := fmt.Sprintf("17 (%s) S %d %d %d%s 4711 0\n", name, ppid, pgrp, session, rest)
		st, ok := parseStat([]byte(line))
		if !ok || st.state != 'S' || st.ppid != ppid || st.pgrp != pgrp || st.session != session || st.start != 4711 {
			t.Errorf("%q is read as %+v, %v", line, st, ok)
		}
		parseStat([]byte(name)) // does not panic
	})
}

func TestAnExclusiveHostPassesOnNothingThatTheProgramInherited(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pipe[0]); unix.Close(pipe[1]) })
	newTestHost(t, Options{Exclusive: true})
	for _, fd := range pipe {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %#x, %v", fd, flags, err)
		}
	}
}
