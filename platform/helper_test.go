package platform

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary impersonates the processes that the tests start, so that the
// same tests run on every system: with childKey set it is not a test but the
// child that the variable names.
const childKey = "PLATFORM_TEST_CHILD"

// children are what the test binary can be.
var children = map[string]func(args []string) int{}

func TestMain(m *testing.M) {
	if name := os.Getenv(childKey); name != "" {
		child, ok := children[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "no child called %q\n", name)
			os.Exit(99)
		}
		os.Exit(child(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// patience bounds every wait: it is only ever used up by a failing test.
const patience = 30 * time.Second

// childSpec is the spec of a child of that name.
func childSpec(t testing.TB, name string, args ...string) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{
		Label: name,
		Path:  self,
		Args:  args,
		Env:   childEnv(name),
	}
}

func childEnv(name string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, childKey+"=") })
	// The race detector would have each child wait for a second at its end.
	return append(env, childKey+"="+name, "GORACE=atexit_sleep_ms=0")
}

// cgroups is Options.CgroupParent in tests that do not set it themselves.
var cgroups = flag.String("cgroup", "", `the cgroup to use, or "none"; default: what a host finds`)

func newTestHost(t testing.TB, o Options) Host {
	t.Helper()
	if o.CgroupParent == "" {
		o.CgroupParent = *cgroups
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return h
}

// A watcher receives the notices of one process and checks the order in which
// they come.
type watcher struct {
	t       testing.TB
	notices chan Notice

	mu   sync.Mutex
	seen []NoticeKind
	busy bool
}

func newWatcher(t testing.TB) *watcher {
	return &watcher{t: t, notices: make(chan Notice, 16)}
}

func (w *watcher) notify(n Notice) {
	w.mu.Lock()
	if w.busy {
		w.t.Error("two notices at a time")
	}
	w.busy = true
	w.seen = append(w.seen, n.Kind)
	w.mu.Unlock()
	w.notices <- n
	w.mu.Lock()
	w.busy = false
	w.mu.Unlock()
}

// next is the next notice, which has to be of that kind.
func (w *watcher) next(kind NoticeKind) Notice {
	w.t.Helper()
	select {
	case n := <-w.notices:
		if n.Kind != kind {
			w.t.Fatalf("got %q (%+v), want %q", n.Kind, n, kind)
		}
		return n
	case <-time.After(patience):
		w.t.Fatalf("no notice %q within %v", kind, patience)
	}
	panic("not reached")
}

// none checks that there has been no further notice so far.
func (w *watcher) none() {
	w.t.Helper()
	select {
	case n := <-w.notices:
		w.t.Fatalf("got %q (%+v), want none yet", n.Kind, n)
	default:
	}
}

// end is the rest of the life of a process that has been spawned.
func (w *watcher) end() Exit {
	w.t.Helper()
	exit := w.next(Exited).Exit
	if emptied := w.next(Emptied).Exit; emptied != exit {
		w.t.Errorf("Emptied tells of %+v, Exited of %+v", emptied, exit)
	}
	return exit
}

// run starts spec and waits until it is spawned.
func run(t testing.TB, h Host, spec Spec) (Process, *watcher) {
	t.Helper()
	w := newWatcher(t)
	p := h.Start(spec, w.notify)
	n := <-w.notices
	if n.Kind != Spawned {
		t.Fatalf("start %s: %q: %v", spec.Label, n.Kind, n.Err)
	}
	if n.PID == 0 || n.PID != p.PID() {
		t.Errorf("Spawned has pid %d, the process %d", n.PID, p.PID())
	}
	return p, w
}

// spawnError starts spec and returns the reason why it could not be started.
func spawnError(t testing.TB, h Host, spec Spec) *SpawnError {
	t.Helper()
	w := newWatcher(t)
	h.Start(spec, w.notify)
	err := w.next(SpawnFailed).Err
	var failure *SpawnError
	if !errors.As(err, &failure) {
		t.Fatalf("got %T (%v), want a *SpawnError", err, err)
	}
	return failure
}

// A console is what a child says on its standard output, line by line. Children
// say "ready" when a test may go on.
type console struct {
	t     testing.TB
	w     *os.File
	lines chan string // closed at the end of the output
}

// listen gives spec a standard output to be read by the test.
func listen(t testing.TB, spec *Spec) *console {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	spec.Stdout = w
	spec.Stderr = os.Stderr
	c := &console{t: t, w: w, lines: make(chan string, 1000)}
	enough := make(chan struct{})
	go func() {
		defer close(c.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case c.lines <- s.Text():
			case <-enough:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(enough)
		w.Close()
	})
	return c
}

// line is the next line.
func (c *console) line() string {
	c.t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatal("the child's output has ended")
		}
		return line
	case <-time.After(patience):
		c.t.Fatalf("nothing from the child within %v", patience)
	}
	panic("not reached")
}

func (c *console) expect(want string) {
	c.t.Helper()
	if got := c.line(); got != want {
		c.t.Fatalf("the child said %q, want %q", got, want)
	}
}

// silence waits until nothing has been said for a while: silence has no event.
func (c *console) silence() {
	for {
		select {
		case <-c.lines:
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

// eof waits until nobody holds the output open any more: everything that has
// inherited it is gone.
func (c *console) eof() {
	c.t.Helper()
	c.w.Close()
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-c.lines:
			if !ok {
				return
			}
		case <-timeout:
			c.t.Fatalf("after %v somebody still holds the output", patience)
		}
	}
}

// tempDir is t.TempDir, but does not mind if the directory cannot be removed:
// wine 8 lacks what Go's RemoveAll uses.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "platform")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// forever is how long children stay if nobody ends them: they are not to
// outlive a test run that was itself killed.
func forever() { time.Sleep(10 * time.Minute) }
