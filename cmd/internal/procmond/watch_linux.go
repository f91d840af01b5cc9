package procmond

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/sys/unix"
)

// connect learns of starts and exits from the kernel until ctx ends. Its error is an *unavailableError if that does
// not work, or no longer works, and a poll may be tried.
func (m *monitor) connect(ctx context.Context) error {
	c, err := dial(ctx)
	if ctx.Err() != nil {
		if c != nil {
			c.close()
		}
		return nil
	}
	if err != nil {
		return &unavailableError{err}
	}
	defer c.close()
	return m.watch(ctx, c)
}

func (m *monitor) watch(ctx context.Context, c *connector) error {
	// One that exited and was not waited for yet has nothing more to tell: if that event was lost, the scan is the last
	// chance to learn of the exit.
	m.ended = func(pid int32) bool { return !livesOn(pid) }
	defer func() { m.ended = nil }()
	w := &watch{monitor: m, connector: c, leaders: make(map[int32]*leader)}
	return w.run(ctx)
}

// watch turns events of the kernel into lines.
//
// The kernel tells of changes only, so that there is a scan first, and one after a loss. A scan and the queue of
// events overlap; scanBegin and scanEnd say by how much (see stale).
type watch struct {
	*monitor
	*connector

	scanBegin, scanEnd int64 // on CLOCK_MONOTONIC

	lostAt  time.Time // when events were lost that no scan has made up for, zero if none were
	leaders map[int32]*leader
}

// leader is a process whose first thread ended, while its pid lives on: be it with other threads, or because one of
// these took the pid over by an exec.
type leader struct {
	exit kernelEvent
	all  bool // whether the whole process is ending, and not this thread by itself
	wait time.Duration
	next time.Time
}

const (
	// drainLimit is how long events that arrive one after the other may delay the scan that a loss calls for.
	drainLimit = time.Second

	// A leader is looked at again after firstLook, then ever more rarely: nearly all of them are gone by then, and a
	// program whose main thread ended for good may run for years.
	firstLook, rarestLook = 5 * time.Millisecond, 2 * time.Second
)

func (w *watch) run(ctx context.Context) error {
	stop := w.interruptAfter(ctx)
	defer stop()

	if err := w.rescan(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if w.live == nil {
		return &unavailableError{errors.New("there is no list of processes to begin with")}
	}
	if err := w.out.Write(startedEvent{
		Head: w.out.Head("started"), Source: Connector, Reason: "the kernel confirmed that it reports to us",
		Processes: len(w.live),
	}); err != nil {
		return err
	}

	for ctx.Err() == nil {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step waits for one event and handles it, or does what is due.
func (w *watch) step(ctx context.Context) error {
	var e kernelEvent
	var err error
	if w.lostAt.IsZero() {
		e, err = w.receive(ctx, w.nextLook())
	} else {
		// What is left in the queue is read first: it has the exit codes that a scan has not.
		e, err = w.tryReceive()
	}
	switch {
	case err == nil:
		if err := w.handle(ctx, e); err != nil {
			return err
		}
	case errors.Is(err, errLost):
		if err := w.reportLoss(); err != nil {
			return err
		}
	case errors.Is(err, errEmpty), errors.Is(err, os.ErrDeadlineExceeded), ctx.Err() != nil:
	default:
		if err := w.out.Failure(err); err != nil {
			return err
		}
		return &unavailableError{err}
	}

	if !w.lostAt.IsZero() && (errors.Is(err, errEmpty) || time.Since(w.lostAt) > drainLimit) {
		w.lostAt = time.Time{}
		if err := w.rescan(ctx); err != nil {
			return err
		}
	}
	return w.lookAtLeaders(time.Now())
}

func (w *watch) reportLoss() error {
	if !w.lostAt.IsZero() {
		return nil // one line for one scan
	}
	w.lostAt = time.Now()
	return w.out.Write(lostEvent{Head: w.out.Head("lost"), Reason: errLost.Error()})
}

func (w *watch) rescan(ctx context.Context) error {
	begin := monotonic()
	if err := w.scan(ctx); err != nil {
		return err
	}
	w.scanBegin, w.scanEnd = begin, monotonic()
	for pid := range w.leaders {
		if w.live[pid] == nil {
			delete(w.leaders, pid) // the scan found and told what was waited for
		}
	}
	return nil
}

// stale reports whether the latest scan has told already what e tells. What happened before it began, it saw. What
// happened while it went on, it saw or not: a start if the process is known now, an exit if it is not.
func (w *watch) stale(e kernelEvent) bool {
	if e.at < w.scanBegin {
		return true
	}
	if e.at > w.scanEnd {
		return false
	}
	known := w.live[e.pid] != nil
	return e.what == whatFork && known || e.what == whatExit && !known
}

func (w *watch) handle(ctx context.Context, e kernelEvent) error {
	if w.stale(e) {
		return nil
	}
	switch e.what {
	case whatFork:
		return w.forked(ctx, e)
	case whatExec:
		return w.execed(ctx, e)
	case whatExit:
		return w.exited(e)
	case whatUID:
		if known := w.live[e.pid]; known != nil {
			known.UID = &e.uid
		}
	case whatComm:
		if known := w.live[e.pid]; known != nil {
			known.Name = e.comm
		}
	}
	return nil
}

// forked takes from the parent what a child has from it. Asking /proc would be slower, and too late for many.
func (w *watch) forked(ctx context.Context, e kernelEvent) error {
	if err := w.settleLeader(e.pid); err != nil { // a new process with this pid: the old one is gone
		return err
	}
	at := wallTime(e.at)
	child := &entry{ppid: e.ppid, began: at}
	if known := w.live[e.ppid]; known != nil {
		child.profile = known.profile
	} else {
		child.profile = describe(ctx, &process.Process{Pid: e.pid}, w.opts.CommandLines)
	}
	w.live[e.pid] = child
	return w.writeStart(at, e.pid, child)
}

func (w *watch) execed(ctx context.Context, e kernelEvent) error {
	delete(w.leaders, e.pid) // it was another thread that took over the pid
	p := &process.Process{Pid: e.pid}
	known := w.live[e.pid]
	if known == nil {
		known = &entry{ppid: parent(ctx, p)}
		w.live[e.pid] = known
	}
	uid := known.UID
	known.profile = describe(ctx, p, w.opts.CommandLines)
	if known.UID == nil {
		// Gone already. Its name was that of the program before; the user is still right.
		known.UID = uid
	}
	return w.writeExec(wallTime(e.at), e.pid, known)
}

func (w *watch) exited(e kernelEvent) error {
	// Of a pid that nobody has any more the process was reaped, or, for a moment, another thread of it is taking the pid
	// over in an exec, whose event follows.
	if _, err := readStat(procDir(e.pid)); err != nil || livesOn(e.pid) {
		w.leaders[e.pid] = &leader{
			exit: e, all: othersAreEnding(e.pid),
			wait: firstLook, next: time.Now().Add(firstLook),
		}
		return nil
	}
	delete(w.leaders, e.pid)
	return w.gone(e, endingOf(e.status))
}

func (w *watch) gone(e kernelEvent, end ending) error {
	known := w.live[e.pid]
	delete(w.live, e.pid)
	return w.writeExit(wallTime(e.at), e.pid, known, end)
}

// settleLeader reports the exit of the process with that pid if only its last threads were waited for.
func (w *watch) settleLeader(pid int32) error {
	l := w.leaders[pid]
	if l == nil {
		return nil
	}
	delete(w.leaders, pid)
	if !l.all {
		// It ended now, and not when, nor with the code that, its first thread did.
		l.exit.at = monotonic()
		return w.gone(l.exit, ending{})
	}
	return w.gone(l.exit, endingOf(l.exit.status))
}

func (w *watch) lookAtLeaders(now time.Time) error {
	for pid, l := range w.leaders {
		if now.Before(l.next) {
			continue
		}
		if livesOn(pid) {
			l.wait = min(2*l.wait, rarestLook)
			l.next = now.Add(l.wait)
			continue
		}
		if err := w.settleLeader(pid); err != nil {
			return err
		}
	}
	return nil
}

// nextLook returns when the first of the leaders is to be looked at, zero if there is none.
func (w *watch) nextLook() time.Time {
	var first time.Time
	for _, l := range w.leaders {
		if first.IsZero() || l.next.Before(first) {
			first = l.next
		}
	}
	return first
}

// livesOn reports whether there is more to a pid than a process that waits to be reaped.
//
// After the exit of its first thread that may well be so. The event of an exit comes after the thread became a zombie:
// if it is none, another thread has its pid now, and if it is one with other threads beside it, the process goes on,
// or these are about to end as well.
func livesOn(pid int32) bool {
	stat, err := readStat(procDir(pid))
	return err == nil && (stat.threads > 1 || stat.state != 'Z' && stat.state != 'X')
}

func procDir(pid int32) string { return "/proc/" + strconv.Itoa(int(pid)) }

// othersAreEnding reports whether all threads of a process except the first are about to end. When a process ends as a
// whole, each of its threads gets SIGKILL before the first one is gone, and the exit code of each is that of the process.
func othersAreEnding(pid int32) bool {
	const (
		exiting = 0x4          // PF_EXITING
		killed  = 1 << (9 - 1) // SIGKILL is pending
	)
	first := strconv.Itoa(int(pid))
	tasks := "/proc/" + first + "/task/"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return true // none is left
	}
	for _, thread := range threads {
		if thread.Name() == first {
			continue
		}
		stat, err := readStat(tasks + thread.Name())
		if err == nil && stat.flags&exiting == 0 && stat.pending&killed == 0 {
			return false
		}
	}
	return true
}

// threadStat is what we read from the stat of a process or thread in /proc.
type threadStat struct {
	state   byte
	threads uint64 // how many the process has
	flags   uint64
	pending uint64 // signals of the thread
}

func readStat(dir string) (threadStat, error) {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return threadStat{}, err
	}
	return parseStat(b)
}

// parseStat reads the fields of proc_pid_stat(5), which are counted from 1. The second one, the name in parentheses,
// may hold anything, parentheses too.
func parseStat(b []byte) (threadStat, error) {
	const state, flags, threads, pending = 3, 9, 20, 31

	i := bytes.LastIndex(b, []byte(") "))
	if i < 0 {
		return threadStat{}, fmt.Errorf("no name in %q", b)
	}
	fields := bytes.Fields(b[i+2:])
	if len(fields) <= pending-state {
		return threadStat{}, fmt.Errorf("too few fields in %q", b)
	}
	s := threadStat{state: fields[0][0]}
	for n, to := range map[int]*uint64{flags: &s.flags, threads: &s.threads, pending: &s.pending} {
		v, err := strconv.ParseUint(string(fields[n-state]), 10, 64)
		if err != nil {
			return threadStat{}, fmt.Errorf("field %d of %q: %w", n, b, err)
		}
		*to = v
	}
	return s, nil
}

func endingOf(status unix.WaitStatus) ending {
	if status.Signaled() {
		name := unix.SignalName(status.Signal())
		if name == "" {
			name = strconv.Itoa(int(status.Signal()))
		}
		return ending{signal: name, coreDumped: status.CoreDump()}
	}
	code := status.ExitStatus()
	return ending{code: &code}
}

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // it cannot fail, on a clock that every Linux has
	}
	return ts.Nano()
}

// wallTime converts the kernel's time of an event.
func wallTime(at int64) time.Time {
	return time.Now().Add(-time.Duration(monotonic() - at))
}
