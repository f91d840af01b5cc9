package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// underWine reports whether this Windows is wine.
func underWine() bool { return ntdll.NewProc("wine_get_version").Find() == nil }

// skipWithoutConsoleEvents skips a test under wine, whose GenerateConsoleCtrlEvent
// fails: version 8.0 does on a terminal (where GetConsoleCP works), off it, and
// after AllocConsole.
func skipWithoutConsoleEvents(t *testing.T, err error) {
	t.Helper()
	if underWine() && (errors.Is(err, windows.ERROR_INVALID_HANDLE) || errors.Is(err, windows.ERROR_INVALID_ACCESS)) {
		t.Skip("GenerateConsoleCtrlEvent does not work in this wine: ", err)
	}
}

func TestTerminateSendsABreak(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "obey")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	err := p.Terminate()
	skipWithoutConsoleEvents(t, err)
	if err != nil {
		t.Fatal(err)
	}
	out.expect("interrupt")
	if exit := w.end(); exit.Code != 7 {
		t.Errorf("%+v", exit)
	}
}

func TestABreakEndsOneThatDoesNotHandleIt(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "stay")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	err := p.Signal(sigInt, false)
	skipWithoutConsoleEvents(t, err)
	if err != nil {
		t.Fatal(err)
	}
	if exit := w.end(); exit.Success() {
		t.Errorf("%+v", exit)
	}
}

func TestKillIsToldAsASignal(t *testing.T) {
	h := newTestHost(t, Options{})
	p, w := run(t, h, childSpec(t, "quiet"))
	p.Kill()
	if exit := w.end(); exit.Signal != sigKill || exit.Code != -1 || exit.Success() {
		t.Errorf("%+v", exit)
	}
}

func TestASignalGoesToTheProcessOnlyOrToItsGroup(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "parent")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	if err := p.Signal(sigKill, false); err != nil {
		t.Fatal(err)
	}
	w.next(Exited)
	w.none() // its child is still there
	if err := p.Signal(sigKill, true); err != nil {
		t.Fatal(err)
	}
	w.next(Emptied)
	out.eof()
}

func TestThereAreNoOtherSignals(t *testing.T) {
	h := newTestHost(t, Options{})
	p, _ := run(t, h, childSpec(t, "quiet"))
	if err := p.Signal(1, true); !errors.Is(err, ErrNotSupported) {
		t.Errorf("%v", err)
	}
}

func TestSuspendStopsTheWholeJobAndResumeLetsItGoOn(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "relay")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("tick")
	for range 2 { // the second one changes nothing
		if err := p.Suspend(); err != nil {
			t.Fatal(err)
		}
	}
	out.silence() // after what is still in the pipe
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	out.expect("tick")
	p.Kill()
	w.end()
}

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
	var pid uint32
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	handle, err := windows.OpenProcess(windows.SYNCHRONIZE, false, pid)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(handle)
	cmd.Process.Kill()
	cmd.Wait()
	if event, err := windows.WaitForSingleObject(handle, uint32(patience/time.Millisecond)); event != windows.WAIT_OBJECT_0 {
		t.Errorf("process %d outlives its supervisor: %d %v", pid, event, err)
	}
}

func TestManyLivesLeakNoHandles(t *testing.T) {
	h := newTestHost(t, Options{})
	_, w := run(t, h, childSpec(t, "exit", "0"))
	w.end()
	before := handles(t)
	for range 50 {
		_, w := run(t, h, childSpec(t, "exit", "0"))
		w.end()
	}
	if after := handles(t); after > before+5 {
		t.Errorf("%d handles, %d before", after, before)
	}
}

func handles(t *testing.T) uint32 {
	var n uint32
	if ok, _, err := kernel32.NewProc("GetProcessHandleCount").Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&n))); ok == 0 {
		t.Skip(err)
	}
	return n
}

func TestTheReasonWhyAProcessCannotBeStartedIsExplained(t *testing.T) {
	h := newTestHost(t, Options{})
	dir := tempDir(t)
	text := filepath.Join(dir, "text.exe")
	if err := os.WriteFile(text, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		spec Spec
		err  error
		word string
	}{
		{"missing", Spec{Path: filepath.Join(dir, "missing.exe")}, fs.ErrNotExist, "does not exist"},
		{"without exe", Spec{Path: filepath.Join(dir, "text")}, nil, "text.exe does"},
		{"empty", Spec{}, nil, "no executable"},
		{"text", Spec{Path: text}, nil, "not a program that runs here"},
		{"directory", Spec{Path: dir}, nil, "a directory"},
		{"Dir missing", Spec{Path: self, Dir: filepath.Join(dir, "no")}, nil, "working directory does not exist"},
		{"Dir a file", Spec{Path: self, Dir: text}, nil, "not a directory"},
		{"NUL", Spec{Path: self, Args: []string{"a\x00b"}}, nil, "NUL"},
	} {
		failure := spawnError(t, h, c.spec)
		if c.err != nil && !errors.Is(failure, c.err) {
			t.Errorf("%s: %v, want %v", c.name, failure.Err, c.err)
		}
		if !strings.Contains(failure.Why, c.word) {
			t.Errorf("%s: %q (%v) says nothing of %q", c.name, failure.Why, failure.Err, c.word)
		}
	}
}

func init() {
	children["killed-supervisor"] = func([]string) int {
		h, err := New(Options{})
		if err != nil {
			panic(err)
		}
		self, _ := os.Executable()
		h.Start(Spec{Label: "quiet", Path: self, Env: childEnv("quiet")}, func(n Notice) { fmt.Println(n.PID) })
		forever()
		return 0
	}
	// relay has a child that says "tick" all the time.
	children["relay"] = func([]string) int {
		if err := again("ticker").Run(); err != nil {
			return 97
		}
		return 0
	}
	children["ticker"] = func([]string) int {
		for {
			fmt.Println("tick")
			time.Sleep(10 * time.Millisecond)
		}
	}
}
