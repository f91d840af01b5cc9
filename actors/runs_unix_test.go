//go:build unix

package actors_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/runs"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// hogKey has the test binary be a program that uses more and more memory, itself
// or by a child.
const hogKey = "PROCTOR_TEST_HOG"

func init() {
	switch os.Getenv(hogKey) {
	case "self":
		for all := [][]byte{}; ; {
			page := make([]byte, 1<<20)
			for i := 0; i < len(page); i += 4096 {
				page[i] = 1
			}
			all = append(all, page)
		}
	case "child":
		self, err := os.Executable()
		if err != nil {
			os.Exit(4)
		}
		p, err := os.StartProcess(self, []string{self}, &os.ProcAttr{Env: []string{hogKey + "=self"}})
		if err != nil {
			os.Exit(5)
		}
		state, _ := p.Wait()
		if state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			os.Exit(6)
		}
		os.Exit(0)
	}
}

// recorded is a supervisor of real processes that keeps records.
type recorded struct {
	*actors.Supervisor
	t *testing.T
}

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	dir := t.TempDir()
	host, err := platform.New(platform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := actors.OpenCapture(dir, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	store := runs.Open(runs.Options{Dir: dir, Output: kept.LastLines, Notify: func(err error) { t.Error(err) }})
	sup, err := actors.New(config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}},
		actors.WithHost(host), actors.WithCapture(kept), actors.WithRuns(store))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
		store.Close()
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return &recorded{sup, t}
}

// start starts a collector, and returns its pid and a channel for its exit.
func (r *recorded) start(id string, c config.Collector) (pid int, exited <-chan messages.Exited) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	events, err := r.Events(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	ends := make(chan messages.Exited, 1)
	go func() {
		defer cancel()
		for e := range events {
			if f, ok := e.Fact.(messages.Exited); ok && e.ID == id {
				ends <- f
				return
			}
		}
	}()
	if pid, err = r.Start(r.t.Context(), id, "", &c); err != nil {
		r.t.Fatal(err)
	}
	return pid, ends
}

func (r *recorded) last(id string) messages.Run {
	r.t.Helper()
	all, err := r.Runs(r.t.Context(), id, 1)
	if err != nil || len(all) != 1 {
		r.t.Fatal(all, err)
	}
	return all[0]
}

func await(t *testing.T, exited <-chan messages.Exited) messages.Exit {
	t.Helper()
	select {
	case f := <-exited:
		return f.Exit
	case <-time.After(time.Minute):
		t.Fatal("it has not ended")
		return messages.Exit{}
	}
}

func shell(script string) config.Collector {
	return config.Collector{BinaryPath: "/bin/sh", Args: []string{"-c", script}}
}

func TestAnExitAKillFromOutsideAndOneOfOurOwnAreToldApart(t *testing.T) {
	r := newRecorded(t)
	_, exited := r.start("done", shell("echo on errors >&2; echo done; exit 0"))
	await(t, exited)
	if run := r.last("done"); run.End != messages.EndExit || run.Crash != 0 || len(run.Exit.Tail) != 2 || run.Binary != "/bin/sh" || len(run.BinarySHA256) != 64 {
		t.Errorf("%+v", run)
	}
	pid, exited := r.start("outside", shell("exec sleep 600"))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, exited)
	if run := r.last("outside"); run.End != messages.EndSignal || run.Exit.Signal != "SIGKILL" || run.Crash == 0 {
		t.Errorf("%+v", run)
	}
	_, exited = r.start("ours", shell("exec sleep 600"))
	if _, err := r.Kill(t.Context(), "ours"); err != nil {
		t.Fatal(err)
	}
	await(t, exited)
	if run := r.last("ours"); run.End != messages.EndOperator || !run.Exit.Forced || run.Crash != 0 {
		t.Errorf("%+v", run)
	}
	if _, err := r.Shutdown(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

func TestACrashOfARealProgramHasItsTraceAndItsCoreDump(t *testing.T) {
	r := newRecorded(t)
	c := shell(`printf 'panic: no\n\ngoroutine 1 [running]:\nmain.boom(0x1)\n\t/x.go:1 +0x1\n' >&2; for i in $(seq 100); do echo $i; done; ulimit -c 100000; kill -SEGV $$`)
	c.WorkingDir = t.TempDir()
	_, exited := r.start("agent", c)
	exit := await(t, exited)
	crash, err := r.Crash(t.Context(), r.last("agent").Crash)
	if err != nil || crash.Reason != "panic: no" || strings.Join(crash.Trace, " ") != "main.boom" || crash.Exit.Signal != "SIGSEGV" || len(crash.Output) != 60 {
		t.Errorf("%+v, %v", crash, err)
	}
	if pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern"); exit.CoreDumped && strings.TrimSpace(string(pattern)) == "core" {
		if want := filepath.Join(c.WorkingDir, "core"); !strings.HasPrefix(crash.Core.Path, want) || crash.Core.Size == 0 {
			t.Errorf("%+v", crash.Core)
		}
	}
}

// It needs a memory limit, which the virtual machine of tests/vm/run has.
func TestAnOOMKillOfAChildIsToldApartFromOneOfTheCollectorItself(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorded(t)
	hog := func(which string) config.Collector {
		return config.Collector{BinaryPath: self, Env: map[string]string{hogKey: which}, ClearEnv: true,
			ResourceLimits: config.ResourceLimits{MemoryMaxMB: 64, Required: true}}
	}
	for _, test := range []struct {
		id   string
		want messages.End
		code int
	}{{"self", messages.EndOOM, -1}, {"child", messages.EndExit, 0}} {
		events, err := r.Events(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := hog(test.id)
		if _, err := r.Start(t.Context(), test.id, "", &c); err != nil {
			t.Skipf("there are no memory limits here: %v; tests/vm/run has them", err)
		}
		for e := range events {
			if _, ok := e.Fact.(messages.Exited); ok && e.ID == test.id {
				break
			}
		}
		run := r.last(test.id)
		if run.End != test.want || run.Exit.OOMKills == 0 || run.Exit.Code != test.code {
			t.Errorf("%s: %+v %+v", test.id, run, run.Exit)
		}
	}
}

// Real processes, all at once: the supervisor answers meanwhile, and what is kept
// stays within its bound.
func TestManyRealCrashesAtOnceAreRecorded(t *testing.T) {
	r := newRecorded(t)
	const n = 100
	events, err := r.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		c := shell("read x; exit 3")
		if _, err := r.Start(t.Context(), fmt.Sprint("c", i), "", &c); err != nil {
			t.Fatal(err)
		}
	}
	exits := 0
	for e := range events {
		if _, ok := e.Fact.(messages.Exited); ok {
			if exits++; exits == n {
				break
			}
		}
	}
	crashes, err := r.Crashes(t.Context(), "")
	if err != nil || len(crashes) != 1 || crashes[0].Count != n {
		t.Errorf("%+v, %v", crashes, err)
	}
}
