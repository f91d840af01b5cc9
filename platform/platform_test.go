package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAnExitCodeIsToldAsItIs(t *testing.T) {
	h := newTestHost(t, Options{})
	for _, code := range []int{0, 1, 77, 255} {
		_, w := run(t, h, childSpec(t, "exit", fmt.Sprint(code)))
		if exit := w.end(); exit.Code != code || exit.Signal != 0 || exit.Core {
			t.Errorf("exit %d is told as %+v", code, exit)
		} else if exit.Success() != (code == 0) {
			t.Errorf("exit %d: Success is %v", code, exit.Success())
		} else if age := time.Since(exit.At); age < 0 || age > patience {
			t.Errorf("exit %d happened at %v", code, exit.At)
		}
	}
}

func TestWhatAProcessUsedIsTold(t *testing.T) {
	h := newTestHost(t, Options{})
	_, w := run(t, h, childSpec(t, "work"))
	exit := w.end()
	if exit.UserTime+exit.SystemTime <= 0 {
		t.Errorf("no processor time: %+v", exit)
	}
	if runtime.GOOS != "windows" && (exit.MaxRSS < 32<<20 || exit.MaxRSS > 32<<30) {
		t.Errorf("it filled 32 MB, but its resident size was %d bytes", exit.MaxRSS)
	}
}

func TestTheProcessGetsItsDirectoryArgumentsEnvironmentAndAnEmptyInput(t *testing.T) {
	h := newTestHost(t, Options{})
	dir := tempDir(t)
	args := []string{"plain", "two words", `quo"te\`, "", "ünïcödé"}
	spec := childSpec(t, "where", args...)
	spec.Dir = dir
	spec.Env = append(spec.Env, "PLATFORM_TEST_VALUE=a=b c")
	out := listen(t, &spec)
	_, w := run(t, h, spec)
	out.expect(fmt.Sprintf("%q", dir))
	out.expect(fmt.Sprintf("%q", args))
	out.expect(`"a=b c"`)
	out.expect("0 EOF")
	if exit := w.end(); !exit.Success() {
		t.Errorf("%+v", exit)
	}
}

func TestKillEndsTheProcessAndItsChildren(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "parent")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	p.Kill()
	w.end()
	out.eof()
}

func TestWhatAProcessLeavesBehindKeepsEmptiedBack(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "parent", "leave")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	exit := w.next(Exited).Exit
	if exit.Code != 3 {
		t.Errorf("%+v", exit)
	}
	w.none()
	p.Kill()
	if got := w.next(Emptied).Exit; got != exit {
		t.Errorf("Emptied tells of %+v, Exited of %+v", got, exit)
	}
	out.eof()
}

func TestAKillBeforeThereIsAProcessTakesEffectOnceThereIs(t *testing.T) {
	h := newTestHost(t, Options{Spawners: 1})
	var ws []*watcher
	for range 20 {
		w := newWatcher(t)
		h.Start(childSpec(t, "quiet"), w.notify).Kill()
		ws = append(ws, w)
	}
	for _, w := range ws {
		w.next(Spawned)
		if exit := w.end(); exit.Success() {
			t.Errorf("%+v", exit)
		}
	}
}

func TestAnObserverIsToldWhatHasAlreadyHappened(t *testing.T) {
	h := newTestHost(t, Options{})
	p, first := run(t, h, childSpec(t, "exit", "5"))
	first.end()
	for range 3 {
		heir := newWatcher(t)
		p.Observe(heir.notify)
		if n := heir.next(Spawned); n.PID != p.PID() {
			t.Errorf("%+v", n)
		}
		if exit := heir.end(); exit.Code != 5 {
			t.Errorf("%+v", exit)
		}
		heir.none()
	}
	first.none()
}

func TestAnObserverMayUseTheProcess(t *testing.T) {
	h := newTestHost(t, Options{})
	w := newWatcher(t)
	var p Process
	set := make(chan struct{})
	p = h.Start(childSpec(t, "quiet"), func(n Notice) {
		<-set
		if n.Kind == Spawned {
			p.Kill()
			p.Observe(w.notify)
		}
	})
	close(set)
	w.next(Spawned)
	w.end()
}

func TestNoticesComeOnceAndInOrderWhateverIsCalledMeanwhile(t *testing.T) {
	h := newTestHost(t, Options{})
	for range 20 {
		var mu sync.Mutex
		var watchers []*watcher
		first := newWatcher(t)
		p := h.Start(childSpec(t, "quiet"), first.notify)
		var calls sync.WaitGroup
		for i := range 8 {
			calls.Go(func() {
				switch i % 4 {
				case 0:
					p.Kill()
				case 1:
					p.Terminate()
				case 2:
					p.Signal(15, false)
					p.PID()
				default:
					w := newWatcher(t)
					mu.Lock()
					watchers = append(watchers, w)
					mu.Unlock()
					p.Observe(w.notify)
				}
			})
		}
		calls.Wait()
		last := newWatcher(t)
		p.Observe(last.notify)
		last.next(Spawned)
		last.end()
		for _, w := range append(watchers, first) {
			w.mu.Lock()
			if !slices.IsSorted(w.seen) || len(slices.Compact(slices.Clone(w.seen))) != len(w.seen) {
				t.Errorf("somebody was told %v", w.seen)
			}
			w.mu.Unlock()
		}
	}
}

func TestWhatIsNotThereCannotBeSignalled(t *testing.T) {
	h := newTestHost(t, Options{})
	p, w := run(t, h, childSpec(t, "exit", "0"))
	w.end()
	for name, err := range map[string]error{
		"Terminate":      p.Terminate(),
		"Suspend":        p.Suspend(),
		"Resume":         p.Resume(),
		"Signal":         p.Signal(15, false),
		"Signal a group": p.Signal(15, true),
	} {
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
	p.Kill() // does nothing
	w.none()
}

func TestAMissingExecutableIsNamed(t *testing.T) {
	h := newTestHost(t, Options{})
	path := filepath.Join(tempDir(t), "nothing")
	w := newWatcher(t)
	p := h.Start(Spec{Label: "x", Path: path}, w.notify)
	err := w.next(SpawnFailed).Err
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if p.PID() != 0 {
		t.Errorf("pid %d", p.PID())
	}
	p.Kill() // does nothing
	if err := p.Terminate(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Terminate: %v", err)
	}
	w.none()
}

func TestCloseEndsEverything(t *testing.T) {
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var outs []*console
	var ws []*watcher
	for range 5 {
		spec := childSpec(t, "parent")
		out := listen(t, &spec)
		_, w := run(t, h, spec)
		out.expect("ready")
		outs, ws = append(outs, out), append(ws, w)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	for i := range ws {
		ws[i].end()
		outs[i].eof()
	}
	if err := h.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestNothingIsStartedOnAClosedHost(t *testing.T) {
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := spawnError(t, h, childSpec(t, "quiet")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestSignalsHaveNames(t *testing.T) {
	for _, name := range []string{"SIGTERM", "term", "sigTerm", "15"} {
		s, err := ParseSignal(name)
		if err != nil || s != 15 || s.Name() != "SIGTERM" || s.String() != "SIGTERM" {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
	for _, name := range []string{"", "SIG", "SIGNOTHING", "0", "-1", "1000"} {
		if s, err := ParseSignal(name); err == nil {
			t.Errorf("%q is taken for %v", name, s)
		}
	}
	if got := Signal(99).Name(); got != "signal 99" {
		t.Error(got)
	}
}
