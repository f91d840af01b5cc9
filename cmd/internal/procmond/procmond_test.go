package procmond

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/proctord/proctor/cmd/internal/jsonlines"
)

// asChild, in the environment, makes the test binary a child that does as it is told by the lines of its input, so
// that the tests run wherever Go does: nothing waits for time to pass, and a child lives until it was seen.
const asChild = "PROCMOND_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	child(nextOrder())
	os.Exit(exitCode)
}

// exitCode is that of each child that is not killed.
const exitCode = 3

// nextOrder waits for an order, which is empty at the end of the input. It reads a byte at a time: what it does not
// need is for the program that comes after an exec.
func nextOrder() string {
	var order []byte
	for b := make([]byte, 1); ; {
		if n, err := os.Stdin.Read(b); n == 0 || err != nil || b[0] == '\n' {
			return string(order)
		}
		order = append(order, b[0])
	}
}

const patience = 30 * time.Second

// line is every field of every event.
type line struct {
	Time       time.Time
	Collector  string
	Event      string
	Source     Source
	Reason     string
	Processes  int
	PID        int
	PPID       int
	Name       string
	Exe        string
	UID        *int
	User       string
	CmdLine    []string
	ExitCode   *int `json:"exit_code"`
	Signal     string
	LifetimeMS *int64 `json:"lifetime_ms"`
	Error      string
}

// session is a running collector.
type session struct {
	t      *testing.T
	lines  chan line
	result chan error
	cancel context.CancelFunc
	queued bool // what it is told goes through a queue of the kernel's, which may overrun
}

// start starts a collector that stops with the test. It does not wait for a line.
func start(t *testing.T, o Options, list lister) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	s := &session{t: t, lines: make(chan line), result: make(chan error, 1), cancel: cancel}
	go func() { s.result <- run(ctx, w, o, list) }()

	done := make(chan struct{})
	go func() {
		defer close(s.lines)
		text := bufio.NewScanner(r)
		for text.Scan() {
			var l line
			if err := json.Unmarshal(text.Bytes(), &l); err != nil {
				t.Errorf("not JSON: %q: %v", text.Text(), err)
			}
			if l.Collector != Name || l.Time.IsZero() || l.Event == "" {
				t.Errorf("a line without its head: %q", text.Text())
			}
			select {
			case s.lines <- l:
			case <-done:
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		close(done)
		_ = r.Close()
		for range s.lines { // until the reader ended
		}
	})
	return s
}

// await returns the first line from here on for which is holds.
func (s *session) await(what string, is func(line) bool) line {
	s.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case l, more := <-s.lines:
			if !more {
				s.t.Fatalf("no more lines while waiting for %s", what)
			}
			if is(l) {
				return l
			}
			if s.queued && l.Event == "lost" {
				s.t.Skipf("this needs a machine on which fewer processes come and go: waiting for %s, the kernel's queue has overrun", what)
			}
		case err := <-s.result:
			s.t.Fatalf("Run returned %v while waiting for %s", err, what)
		case <-limit:
			s.t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func (s *session) awaitEvent(event string, pid int) line {
	s.t.Helper()
	return s.await(event, func(l line) bool { return l.Event == event && (pid == 0 || l.PID == pid) })
}

// running is a child of the test.
type running struct {
	*exec.Cmd
	orders io.WriteCloser
}

func startChild(t *testing.T, args ...string) *running {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asChild+"=1")
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = orders.Close()
		_ = cmd.Wait()
	})
	return &running{Cmd: cmd, orders: orders}
}

func (r *running) order(t *testing.T, order string) {
	t.Helper()
	if _, err := io.WriteString(r.orders, order+"\n"); err != nil {
		t.Fatal(err)
	}
}

// finish gives the child its last order and waits for it.
func (r *running) finish(t *testing.T, order string) {
	t.Helper()
	r.order(t, order)
	_ = r.Wait() // that it does not end with 0 is what the tests look at
}

func pollOptions() Options { return Options{Source: Poll, Interval: 10 * time.Millisecond} }

func TestAPollSeesAChildStartAndExit(t *testing.T) {
	begin := time.Now()
	s := start(t, pollOptions(), process.PidsWithContext)
	first := s.await("a line", func(line) bool { return true })
	if first.Event != "started" || first.Source != Poll || first.Reason == "" || first.Processes == 0 {
		t.Errorf("first line %+v, want a started that names the poll, why, and how many processes there are", first)
	}

	child := startChild(t)
	started := s.awaitEvent("start", child.Process.Pid)
	if started.PPID != os.Getpid() {
		t.Errorf("parent %d, want %d", started.PPID, os.Getpid())
	}
	if started.UID == nil && started.User == "" {
		t.Error("neither uid nor user is given")
	}
	child.finish(t, "exit")
	exited := s.awaitEvent("exit", child.Process.Pid)
	if exited.ExitCode != nil || exited.Signal != "" {
		t.Errorf("%+v: a poll cannot know how a process ended", exited)
	}
	if ms := exited.LifetimeMS; ms == nil || *ms < 0 || *ms > time.Since(begin).Milliseconds()+1 {
		t.Errorf("lifetime %v ms, want between 0 and %v", ms, time.Since(begin))
	}
}

func TestCommandLinesAreWrittenOnlyWhenAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		o := pollOptions()
		o.CommandLines = asked
		s := start(t, o, process.PidsWithContext)
		s.awaitEvent("started", 0)
		child := startChild(t, "--password=secret")
		l := s.awaitEvent("start", child.Process.Pid)
		// A poll may come between fork and exec, when the child still has our command line.
		if !asked && l.CmdLine != nil || asked && len(l.CmdLine) == 0 {
			t.Errorf("asked for: %v, command line: %q", asked, l.CmdLine)
		}
		child.finish(t, "exit")
		s.cancel()
	}
}

func TestAnUnreadableListIsOneErrorLineAndNothingIsTakenForDead(t *testing.T) {
	const failing, failures = 3, 20
	var calls atomic.Int32
	child := startChild(t)
	s := start(t, pollOptions(), func(ctx context.Context) ([]int32, error) {
		if n := calls.Add(1); n >= failing && n < failing+failures {
			return nil, errors.New("no list today")
		}
		pids, err := process.PidsWithContext(ctx)
		return slices.DeleteFunc(pids, func(pid int32) bool {
			return pid != int32(os.Getpid()) && pid != int32(child.Process.Pid)
		}), err
	})
	s.awaitEvent("started", 0)
	if l := s.await("a line", func(line) bool { return true }); l.Event != "error" || l.Error != "no list today" {
		t.Fatalf("line %+v, want the error", l)
	}
	child.finish(t, "exit")
	// Neither a repetition of the error nor the exit of ourselves comes before it.
	if l := s.await("a line", func(line) bool { return true }); l.Event != "exit" || l.PID != child.Process.Pid {
		t.Errorf("line %+v, want the exit of %d", l, child.Process.Pid)
	}
	if n := calls.Load(); n < failing+failures {
		t.Errorf("an exit after %d polls, the list was not readable before %d", n, failing+failures)
	}
}

func TestAPidThatIsUsedAgainIsAnExitAndAStart(t *testing.T) {
	var out bytes.Buffer
	self := int32(os.Getpid())
	m := newMonitor(jsonlines.New(&out, Name), pollOptions(), func(context.Context) ([]int32, error) {
		return []int32{self}, nil
	})
	for range 2 {
		if err := m.scan(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() > 0 {
		t.Fatalf("lines about a process that did not change:\n%s", out.String())
	}
	m.live[self].created -= 10 // as if it had been another one
	if err := m.scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	var events []string
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || l.PID != int(self) {
			t.Errorf("%q: %v", text, err)
		}
		events = append(events, l.Event)
	}
	if got := strings.Join(events, " "); got != "exit start" {
		t.Errorf("events %q, want exit and start", got)
	}
}

func TestTheEndOfItsContextEndsRunWithin100MillisecondsAndIsNoError(t *testing.T) {
	for name, blocked := range map[string]func(polls, stuck chan struct{}) (lister, io.Writer){
		"in the middle of a poll": func(polls, stuck chan struct{}) (lister, io.Writer) {
			return func(context.Context) ([]int32, error) { polls <- struct{}{}; <-stuck; return nil, nil }, io.Discard
		},
		"while nobody reads what it writes": func(polls, stuck chan struct{}) (lister, io.Writer) {
			return process.PidsWithContext, blockingWriter{polls, stuck}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				polls, stuck := make(chan struct{}, 1), make(chan struct{})
				defer close(stuck)
				list, w := blocked(polls, stuck)
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error, 1)
				go func() { result <- run(ctx, w, pollOptions(), list) }()
				<-polls
				checkEnds(t, cancel, result)
			})
		})
	}
}

func checkEnds(t *testing.T, cancel context.CancelFunc, result <-chan error) {
	t.Helper()
	begin := time.Now()
	cancel()
	if err, took := <-result, time.Since(begin); err != nil || took > 100*time.Millisecond {
		t.Errorf("Run returned %v after %v, want nil within 100ms", err, took)
	}
}

func TestAWriterThatFailsEndsRunWithItsError(t *testing.T) {
	for _, source := range []Source{Best, Poll} {
		r, w := io.Pipe()
		_ = r.Close()
		if err := Run(t.Context(), w, Options{Source: source}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("source %q: error %v, want %v", source, err, io.ErrClosedPipe)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, o := range []Options{{Source: "tea leaves"}, {Interval: -time.Second}} {
		if err := Run(t.Context(), io.Discard, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

type blockingWriter struct{ reached, release chan struct{} }

func (w blockingWriter) Write(p []byte) (int, error) {
	w.reached <- struct{}{}
	<-w.release
	return len(p), nil
}
