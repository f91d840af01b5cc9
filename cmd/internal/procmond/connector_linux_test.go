package procmond

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/sys/unix"

	"github.com/proctord/proctor/cmd/internal/jsonlines"
)

func init() {
	// The first thread of a child is to be where its main goroutine is.
	if os.Getenv(asChild) != "" {
		runtime.LockOSThread()
	}
}

// child does what only Linux's children are ordered to do.
func child(order string) {
	switch order {
	case "exec from another thread":
		go func() { // main holds the first thread
			err := syscall.Exec("/proc/self/exe", []string{"again"}, os.Environ())
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}()
		select {}

	case "leave the first thread":
		go func() {
			for {
				if stat, err := readStat(fmt.Sprintf("/proc/self/task/%d", os.Getpid())); err == nil && stat.state == 'Z' {
					break
				}
				runtime.Gosched()
			}
			// A sign, in the same stream of events, that the first thread is gone.
			_ = exec.Command("/proc/self/exe").Run()
			nextOrder()
			os.Exit(exitCode)
		}()
		_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0)

	case "collect":
		_ = Run(context.Background(), os.Stdout, Options{})
	}
}

// startConnector starts a collector on the process connector, or skips the test.
func startConnector(t *testing.T) *session {
	t.Helper()
	requireConnector(t)
	s := start(t, Options{Source: Connector}, process.PidsWithContext)
	s.queued = true
	first := s.await("a line", func(line) bool { return true })
	if first.Event != "started" || first.Source != Connector || first.Reason == "" || first.Processes == 0 {
		t.Fatalf("first line %+v, want a started that names the connector, why, and how many processes there are", first)
	}
	return s
}

func requireConnector(t *testing.T) {
	t.Helper()
	c, err := dial(t.Context())
	if errors.Is(err, unix.EPERM) {
		t.Skipf("%v: before Linux 6.6 the process connector takes CAP_NET_ADMIN", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.close()
}

func TestTheConnectorSeesAChildStartExecAndExitWithItsCode(t *testing.T) {
	s := startConnector(t)
	child := startChild(t)
	pid := child.Process.Pid
	started := s.awaitEvent("start", pid)
	if started.PPID != os.Getpid() || started.UID == nil || *started.UID != os.Geteuid() {
		t.Errorf("%+v, want parent %d and uid %d", started, os.Getpid(), os.Geteuid())
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	execed := s.awaitEvent("exec", pid)
	if execed.Exe != self || execed.Name == "" || execed.CmdLine != nil {
		t.Errorf("%+v, want program %s, a name, and no command line", execed, self)
	}
	child.finish(t, "exit")
	exited := s.awaitEvent("exit", pid)
	if exited.ExitCode == nil || *exited.ExitCode != exitCode || exited.Signal != "" {
		t.Errorf("%+v, want exit code %d", exited, exitCode)
	}
	want := exited.Time.Sub(started.Time).Milliseconds()
	if ms := exited.LifetimeMS; ms == nil || *ms < want-1 || *ms > want+1 {
		t.Errorf("lifetime %v ms, want %d as by the times of the two lines", ms, want)
	}
}

func TestTheConnectorNamesTheSignalThatKilled(t *testing.T) {
	s := startConnector(t)
	child := startChild(t)
	s.awaitEvent("exec", child.Process.Pid)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	exited := s.awaitEvent("exit", child.Process.Pid)
	if exited.ExitCode != nil || exited.Signal != "SIGKILL" {
		t.Errorf("%+v, want SIGKILL and no exit code", exited)
	}
}

func TestAnExecFromAnotherThreadIsNoExit(t *testing.T) {
	s := startConnector(t)
	child := startChild(t)
	pid := child.Process.Pid
	s.awaitEvent("exec", pid)
	child.order(t, "exec from another thread")
	ofChild := func(l line) bool { return l.PID == pid }
	if l := s.await("a line", ofChild); l.Event != "exec" {
		t.Fatalf("%+v, want exec: the end of the first thread is not that of the process", l)
	}
	child.finish(t, "exit")
	if l := s.await("a line", ofChild); l.Event != "exit" || l.ExitCode == nil || *l.ExitCode != exitCode {
		t.Errorf("%+v, want exit with %d", l, exitCode)
	}
}

func TestAProcessThatOutlivesItsFirstThreadExitsWhenItsLastOneDoes(t *testing.T) {
	s := startConnector(t)
	child := startChild(t)
	pid := child.Process.Pid
	s.awaitEvent("exec", pid)
	child.order(t, "leave the first thread")
	l := s.await("exit of the child, or start of its child", func(l line) bool { return l.PID == pid || l.PPID == pid })
	if l.PID == pid {
		t.Fatalf("%+v, before its last thread ended", l)
	}
	child.finish(t, "exit")
	l = s.awaitEvent("exit", pid)
	if l.ExitCode != nil {
		t.Errorf("exit code %d: that is the one of the first thread, which was not that of the process", *l.ExitCode)
	}
}

func TestALossIsReportedAndMadeUpForByAScan(t *testing.T) {
	requireConnector(t)
	c, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1) // the kernel makes a few events of it
		if err != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
		}
	}); err != nil {
		t.Fatal(err)
	}

	// The first list is old when it is used: in the meantime came more than the buffer holds, and last a child.
	var child *running
	var once sync.Once
	overrun := func(ctx context.Context) ([]int32, error) {
		pids, err := process.PidsWithContext(ctx)
		once.Do(func() {
			for range 20 {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), asChild+"=1")
				_ = cmd.Run() // there is no input: it ends at once
			}
			child = startChild(t)
		})
		return pids, err
	}

	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		m := newMonitor(jsonlines.New(w, Name), Options{Source: Connector}, overrun)
		result <- m.watch(ctx, c)
		c.close()
		_ = w.Close()
	}()
	lines := json.NewDecoder(r)
	var seen []string
	next := func(event string, pid int) {
		t.Helper()
		for {
			var l line
			if err := lines.Decode(&l); err != nil {
				t.Fatalf("no %s of %d after %q: %v", event, pid, seen, err)
			}
			seen = append(seen, l.Event)
			if l.Event == event && l.PID == pid {
				return
			}
		}
	}
	next("started", 0)
	next("lost", 0)
	next("start", child.Process.Pid)
	child.order(t, "exit")
	next("exit", child.Process.Pid)
	go func() { _, _ = io.Copy(io.Discard, r) }()
	cancel()
	if err := <-result; err != nil {
		t.Errorf("the loss ended the collector: %v", err)
	}
}

func TestWhereTheKernelDoesNotReportToUsAPollDoes(t *testing.T) {
	for namespace, flag := range map[string]uintptr{"network": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID} {
		t.Run(namespace+" namespace", func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), asChild+"=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
			cmd.Stdin = strings.NewReader("collect\n")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); errors.Is(err, unix.EPERM) {
				t.Skipf("%v: a namespace takes CAP_SYS_ADMIN", err)
			} else if err != nil {
				t.Fatal(err)
			}
			first, readErr := bufio.NewReader(out).ReadBytes('\n')
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			var l line
			if err := errors.Join(readErr, json.Unmarshal(first, &l)); err != nil {
				t.Fatal(err)
			}
			if l.Event != "started" || l.Source != Poll || !strings.Contains(l.Reason, "process connector") {
				t.Errorf("%s, want a poll, and why there is no connector", first)
			}
		})
	}
}

func TestTheEndOfItsContextEndsAConnectorThatWaits(t *testing.T) {
	s := startConnector(t)
	go func() {
		for range s.lines { // other processes of the host come and go
		}
	}()
	s.cancel()
	select {
	case err := <-s.result:
		if err != nil {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(patience):
		t.Errorf("Run did not return within %v", patience)
	}
}

func TestEventsOfSingleThreadsAreLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		what  uint32
		words []uint32
		want  bool
	}{
		"fork of a process": {whatFork, []uint32{10, 10, 20, 20}, true},
		"start of a thread": {whatFork, []uint32{10, 10, 20, 10}, false},
		"exit of a process": {whatExit, []uint32{20, 20, 0, 17}, true},
		"exit of a thread":  {whatExit, []uint32{21, 20, 0, 17}, false},
		"setuid":            {whatUID, []uint32{20, 20, 0, 0}, true},
		"setuid elsewhere":  {whatUID, []uint32{21, 20, 0, 0}, false},
		"new session":       {0x80, []uint32{20, 20}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, ok := decode(datagram(c.what, c.words...))
			if ok != c.want || ok && e.pid != 20 {
				t.Errorf("%+v, %v; want pid 20, %v", e, ok, c.want)
			}
		})
	}
}

func FuzzAnyDatagramIsDecodedOrRefused(f *testing.F) {
	f.Add([]byte{})
	f.Add(datagram(whatExit, 20, 20, 256, 17))
	f.Add(datagram(whatComm, 20, 20, ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = decode(b) })
}

func TestANameMayHoldWhatSeparatesTheFieldsOfStat(t *testing.T) {
	stat, err := parseStat([]byte("42 (a) R 7 (b) Z 1 2 3 4 5 4194316 7 8 9 10 11 12 13 14 15 16 3 19 20 21 22 23 24 25 26 27 28 256 30\n"))
	want := threadStat{state: 'Z', threads: 3, flags: 4194316, pending: 256}
	if err != nil || stat != want {
		t.Errorf("%+v, %v; want %+v", stat, err, want)
	}
}

func FuzzAnyStatIsParsedOrRefused(f *testing.F) {
	f.Add([]byte("42 (a) R"))
	f.Add([]byte(") "))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStat(b) })
}

// datagram is an event as the kernel would send it.
func datagram(what uint32, words ...uint32) []byte {
	b := make([]byte, offData+40)
	order := binary.NativeEndian
	order.PutUint32(b[16:], cnIdxProc)
	order.PutUint32(b[20:], cnValProc)
	order.PutUint32(b[offWhat:], what)
	for i, w := range words {
		order.PutUint32(b[offData+4*i:], w)
	}
	return b
}
