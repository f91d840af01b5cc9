package platform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func openFiles(t testing.TB) int {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func threads(t testing.TB) int {
	t.Helper()
	return len(listNumbers("/proc/self/task"))
}

// ownChildren are the processes, zombies too, whose parent is this one.
func ownChildren() []int {
	return (&procReader{}).childrenBySearch(nil, os.Getpid())
}

func TestManyLivesLeakNothing(t *testing.T) {
	n := *cycles
	if testing.Short() || raceEnabled {
		n = min(n, 1000)
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	files := openFiles(t)
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	hostFiles := openFiles(t)
	var goroutines int
	var spawned, exited, emptied atomic.Int64
	done := make(chan struct{}, n)
	start := func() {
		h.Start(Spec{Label: "true", Path: "/bin/true"}, func(n Notice) {
			switch n.Kind {
			case Spawned:
				spawned.Add(1)
			case SpawnFailed:
				t.Error(n.Err)
				done <- struct{}{}
			case Exited:
				exited.Add(1)
			case Emptied:
				emptied.Add(1)
				done <- struct{}{}
			}
		})
	}
	start()
	<-done
	goroutines = runtime.NumGoroutine()
	for range n - 1 {
		start()
	}
	for range n - 1 {
		<-done
	}
	if spawned.Load() != int64(n) || exited.Load() != int64(n) || emptied.Load() != int64(n) {
		t.Errorf("%d spawned, %d exited, %d emptied; want %d each", spawned.Load(), exited.Load(), emptied.Load(), n)
	}
	if got := openFiles(t); got > hostFiles+1 { // /dev/null and the like may come late
		t.Errorf("%d descriptors, %d before", got, hostFiles)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	for _, pid := range ownChildren() {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		t.Errorf("left: %.60s", stat)
	}
	h2 := h.(*host)
	if n := len(h2.trees) + len(h2.byPID) + len(h2.members) + len(h2.watched) + len(h2.known) + len(h2.touched); n != 0 {
		t.Errorf("the host remembers %d things", n)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if got := openFiles(t); got > files+1 {
		t.Errorf("%d descriptors after Close, %d before", got, files)
	}
}

func TestAThousandIdleProcessesCostNoThreadsAndNoGoroutines(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 200
	}
	h := newTestHost(t, Options{})
	before := runtime.NumGoroutine()
	notices := make(chan Notice, 4*n)
	for range n {
		h.Start(Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}}, func(n Notice) { notices <- n })
	}
	for range n {
		if n := await(notices); n.Kind != Spawned {
			t.Fatalf("%+v", n)
		}
	}
	if got := threads(t); got > 20 {
		t.Errorf("%d threads", got)
	}
	if got := runtime.NumGoroutine(); got > before {
		t.Errorf("%d goroutines, %d before", got, before)
	}
}

func TestCloseTakesTheGoroutinesAlong(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for range 20 {
		h := mustHost(Options{Spawners: 8})
		h.Start(Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}}, nil)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := threads(t); got > 40 {
		t.Errorf("%d threads", got)
	}
}

func TestAHostWithNothingToDoUsesNoCPU(t *testing.T) { asProcess(t, "idle", nil) }

func TestWhatIsRunningEndsWithTheSupervisor(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = childEnv("killed-supervisor")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cmd.Process.Kill()
	cmd.Wait()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(patience/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 {
			t.Errorf("process %d outlives its supervisor: %d %v", pid, n, err)
		}
		return
	}
}

func TestThreadsThatComeAndGoDoNotEndWhatIsRunning(t *testing.T) {
	h := newTestHost(t, Options{})
	_, w := run(t, h, childSpec(t, "quiet"))
	for range 50 {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		}()
		<-gone
	}
	w.none()
}

func TestTheProgramsOwnChildrenAreLeftAlone(t *testing.T) { asProcess(t, "embedder", nil) }

func TestAnExclusiveHostEndsAndReapsWhatItCannotTell(t *testing.T) { asProcess(t, "exclusive", nil) }

func TestHostsInOneProgramLeaveEachOthersAlone(t *testing.T) {
	one, two := newTestHost(t, Options{}), newTestHost(t, Options{})
	spec := childSpec(t, "daemon", "leave")
	out := listen(t, &spec)
	p, w := run(t, one, spec)
	out.line()
	w.next(Exited)
	q, v := run(t, two, childSpec(t, "quiet"))
	q.Kill()
	v.end()
	w.none()
	p.Kill()
	w.next(Emptied)
	out.eof()
}

func TestWhatANestedSupervisorLosesIsStillFound(t *testing.T) {
	// Exclusive, as the inner host's process dies with it, perhaps before it
	// can be looked at, in a session of its own: a zombie without any sign.
	h := newTestHost(t, Options{Exclusive: true})
	spec := childSpec(t, "nested")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	if line := out.line(); !strings.HasPrefix(line, "ready ") {
		t.Fatal(line)
	}
	kill(t, p.PID(), syscall.SIGKILL) // the inner supervisor crashes
	w.next(Exited)
	w.none() // a daemon of its daemon is left
	p.Kill()
	w.next(Emptied)
	out.eof()
}

func TestAGroupMemberBelowAnotherSubreaperKeepsEmptiedBack(t *testing.T) {
	h := newTestHost(t, Options{CgroupParent: NoCgroup})
	spec := childSpec(t, "subreaper")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	adopter, err := strconv.Atoi(out.line())
	if err != nil {
		t.Fatal(err)
	}
	out.expect("ready")
	kill(t, p.PID(), syscall.SIGKILL)
	w.next(Exited)
	w.none()
	p.Kill()
	w.next(Emptied)
	out.eof()
	// The subreaper itself bears no sign of having been started here; the
	// zombie that it leaves does.
	kill(t, adopter, syscall.SIGKILL)
	if _, err := syscall.Wait4(adopter, nil, 0, nil); err != nil {
		t.Error(err)
	}
}

func TestOneThatDiesUnderADebuggerIsToldOnceTheDebuggerLetsGo(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "stay")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")

	debugger := again("debugger", strconv.Itoa(p.PID()))
	debugger.Stderr = os.Stderr
	debugger.Stdout = nil
	said, err := debugger.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	letGo, err := debugger.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := debugger.Start(); err != nil {
		t.Fatal(err)
	}
	defer debugger.Wait()
	defer letGo.Close()
	var word string
	if fmt.Fscan(said, &word); word != "attached" {
		t.Skipf("no process can be debugged here (%s)", word)
	}
	p.Kill()
	out.eof()
	w.none()
	fmt.Fprintln(letGo, "go")
	w.end()
}

func TestWithoutListsOfChildrenOrphansAreFoundAllTheSame(t *testing.T) {
	withoutChildrenLists.Store(true)
	defer withoutChildrenLists.Store(false)
	t.Run("daemon", TestADaemonInASessionOfItsOwnIsEndedByKill)
	t.Run("left behind", TestADaemonThatIsLeftBehindKeepsEmptiedBackUntilItEnds)
	t.Run("bare", TestOneInAnotherSessionWithoutAMarkIsFoundBelowItsParent)
	t.Run("many", func(t *testing.T) {
		h := newTestHost(t, Options{Exclusive: true})
		for range 100 {
			_, w := run(t, h, Spec{Label: "true", Path: "/bin/true"})
			w.end()
		}
	})
	t.Run("exclusive", TestAnExclusiveHostEndsAndReapsWhatItCannotTell)
}

func init() {
	children["killed-supervisor"] = func([]string) int {
		h := mustHost(Options{})
		h.Start(Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}}, func(n Notice) { fmt.Println(n.PID) })
		forever()
		return 0
	}
	// idle counts what a second of nothing to do costs, with processes running and an orphan adopted.
	children["idle"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{})
		notices := make(chan Notice, 1000)
		for range 50 {
			h.Start(Spec{Label: "sleep", Path: sleeper, Args: []string{"600"}}, func(n Notice) { notices <- n })
		}
		h.Start(Spec{Label: "daemon", Path: os.Args[0], Args: []string{"leave"}, Env: childEnv("daemon")}, func(n Notice) { notices <- n })
		for range 52 {
			await(notices)
		}
		runtime.GC()
		// A second, because idleness has no event. What the runtime itself does after a burst
		// of work (it looks for garbage, lets threads go to sleep) is over before it.
		for range 5 {
			before := usage()
			time.Sleep(time.Second)
			after := usage()
			used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			if used <= 10*time.Millisecond && after.Nvcsw-before.Nvcsw < 50 {
				h.Close()
				return c.result()
			}
			c.errorf("idle for a second, it used %v and switched context %d times", used, after.Nvcsw-before.Nvcsw)
			if !raceEnabled {
				break
			}
		}
		h.Close()
		return c.result()
	}
	children["embedder"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{})
		// Children of any thread, and of the main thread, which init has to itself.
		own := []*exec.Cmd{again("quiet"), again("quiet")}
		for _, cmd := range own {
			if err := cmd.Start(); err != nil {
				panic(err)
			}
		}
		dead := again("exit", "6") // a zombie for as long as nobody waits for it
		onMainThread(func() {
			own = append(own, again("quiet"))
			if err := own[2].Start(); err != nil {
				panic(err)
			}
			if err := dead.Start(); err != nil {
				panic(err)
			}
		})
		if err := unix.Waitid(unix.P_PID, dead.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			c.errorf("wait for the zombie: %v", err)
		}
		// There is something to be found and ended meanwhile.
		notices := make(chan Notice, 8)
		p := h.Start(Spec{Label: "daemon", Path: os.Args[0], Args: []string{"leave"}, Env: childEnv("daemon")}, func(n Notice) { notices <- n })
		await(notices)
		await(notices)
		p.Kill()
		await(notices)
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		if err := dead.Wait(); dead.ProcessState == nil || dead.ProcessState.ExitCode() != 6 {
			c.errorf("the program's own child was reaped: %v", err)
		}
		for i, cmd := range own {
			if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
				c.errorf("the program's own child %d is gone: %v", i, err)
			}
			cmd.Process.Kill()
			cmd.Wait()
		}
		return c.result()
	}
	children["exclusive"] = func([]string) int {
		c := &check{}
		h := mustHost(Options{Exclusive: true})
		// Its daemon has dropped the mark and left the session, and is orphaned while nobody looks.
		spec := Spec{Label: "unmarked", Path: "/bin/sh", Args: []string{"-c", `env -i setsid sh -c 'sleep 600 & echo' & wait; sleep 600`}}
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		spec.Stdout = w
		spec.Env = []string{"PATH=/usr/bin:/bin"}
		notices := make(chan Notice, 8)
		p := h.Start(spec, func(n Notice) { notices <- n })
		await(notices)
		r.Read(make([]byte, 1))
		p.Kill()
		await(notices)
		await(notices)
		if err := h.Close(); err != nil {
			c.errorf("Close: %v", err)
		}
		if left := ownChildren(); len(left) > 0 {
			c.errorf("left: %d", left)
		}
		w.Close()
		r.SetReadDeadline(time.Now().Add(patience))
		if n, err := r.Read(make([]byte, 1)); n != 0 || !strings.Contains(err.Error(), "EOF") {
			c.errorf("somebody holds the output: %v", err)
		}
		return c.result()
	}
	children["nested"] = func([]string) int {
		h := mustHost(Options{Exclusive: true})
		h.Start(Spec{Label: "daemon", Path: os.Args[0], Env: childEnv("daemon"), Stdout: os.Stdout}, nil)
		forever()
		return 0
	}
	// subreaper has a child without a mark that goes into a session of its own,
	// but leaves a child in this one.
	children["subreaper"] = func([]string) int {
		c := again("adopter")
		c.Env = append(c.Env, markKey+"=")
		if err := c.Start(); err != nil {
			return 97
		}
		forever()
		return 0
	}
	children["adopter"] = func([]string) int {
		fmt.Println(os.Getpid())
		c := again("stay")
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		if err := c.Start(); err != nil {
			return 97
		}
		syscall.Setsid()
		os.Stdout.Close()
		os.Stderr.Close()
		forever()
		return 0
	}
	children["debugger"] = func(args []string) int {
		pid, _ := strconv.Atoi(args[0])
		runtime.LockOSThread()
		const ptraceSeize = 0x4206
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, ptraceSeize, uintptr(pid), 0, 0, 0, 0); errno != 0 {
			fmt.Println(errno)
			return 0
		}
		fmt.Println("attached")
		os.Stdin.Read(make([]byte, 1))
		return 0 // the tracee is let go
	}
}

func usage() (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u
}

// onMainThread runs f on the process's first thread, as far as the children of
// asProcess are concerned: TestMain runs there, as the init functions lock it.
func onMainThread(f func()) {
	if unix.Gettid() != os.Getpid() {
		panic("not on the main thread")
	}
	f()
}

func init() {
	if os.Getenv(childKey) == "embedder" {
		runtime.LockOSThread() // for main, too
	}
}
