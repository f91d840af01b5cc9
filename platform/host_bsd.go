//go:build darwin || freebsd

package platform

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This host has been compiled and vetted for macOS and FreeBSD, but the machines
// that it was written on can run neither.

// A host on macOS and FreeBSD has one kqueue, in which one goroutine waits for
// the exits of all processes, and a few spawners that keep their threads. What
// belongs to a process and how its tree is ended differs: tree_darwin.go and
// tree_freebsd.go.
type host struct {
	kq       int
	null     int
	trees    treeKeeper
	starts   *queue[*process]
	children chan os.Signal
	workers  sync.WaitGroup
	released chan struct{} // closed when the spawners may give their threads back
	gone     chan struct{} // closed by the loop when Close has nothing to wait for any more
	closing  atomic.Bool
	giveUp   atomic.Bool
	lookAll  atomic.Bool // a child has changed its state
	closed   sync.Once
	closeErr error

	mu    sync.Mutex
	byPID map[int]*process      // mains that have not been reaped, of whose numbers we can be sure
	left  map[*process]struct{} // from Start until Emptied
	asked []*process            // what the loop is to look at
	// Whose orphans the loop is to ask to end.
	orphaned []*process
	shut     bool

	// Of the loop: those in a tree, other than its process, whose exit is waited for.
	watched map[int]*process
	isGone  bool
}

var _ Host = (*host)(nil)

// wakeIdent is the user event that makes the loop go round.
const wakeIdent = 0

func newHost(o Options) (Host, error) {
	h := &host{
		kq:       -1,
		null:     -1,
		starts:   newQueue[*process](),
		children: make(chan os.Signal, 1),
		released: make(chan struct{}),
		gone:     make(chan struct{}),
		byPID:    map[int]*process{},
		left:     map[*process]struct{}{},
		watched:  map[int]*process{},
	}
	if err := h.open(); err != nil {
		h.closeFDs()
		return nil, err
	}
	spawners := o.Spawners
	if spawners <= 0 {
		spawners = min(max(runtime.GOMAXPROCS(0), 2), 4)
	}
	signal.Notify(h.children, unix.SIGCHLD)
	h.workers.Go(h.loop)
	h.workers.Go(func() {
		for range h.children {
			if !h.lookAll.Swap(true) {
				h.wake()
			}
		}
	})
	for range spawners {
		h.workers.Go(h.spawner)
	}
	return h, nil
}

func (h *host) open() (err error) {
	if h.null, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	if h.kq, err = unix.Kqueue(); err != nil {
		return fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(h.kq) // and a child that is just being forked does not get one at all
	if err := h.change(wakeIdent, unix.EVFILT_USER, unix.EV_ADD|unix.EV_CLEAR, 0); err != nil {
		return fmt.Errorf("kevent: %w", err)
	}
	return h.trees.open()
}

func (h *host) closeFDs() {
	for _, fd := range []int{h.null, h.kq} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (h *host) change(ident int, filter, flags int, fflags uint32) error {
	var ev unix.Kevent_t
	unix.SetKevent(&ev, ident, filter, flags)
	ev.Fflags = fflags
	_, err := ignoreEINTR(func() (int, error) { return unix.Kevent(h.kq, []unix.Kevent_t{ev}, nil, nil) })
	return err
}

func ignoreEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// watch has the loop told of the exit of pid. One that is dead already may be
// reported as an error; alive says whether it was there to be watched.
func (h *host) watch(pid int) (alive bool) {
	return h.change(pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT, unix.NOTE_EXIT) == nil
}

func (h *host) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shut {
		h.change(wakeIdent, unix.EVFILT_USER, 0, unix.NOTE_TRIGGER)
	}
}

// ask has the loop look at a tree.
func (h *host) ask(p *process) {
	h.mu.Lock()
	h.asked = append(h.asked, p)
	h.mu.Unlock()
	h.wake()
}

func (h *host) Start(spec Spec, notify func(Notice)) Process {
	p := &process{h: h, spec: spec, label: spec.Label, stop: spec.StopSignal}
	p.notify = notify
	if p.stop == 0 {
		p.stop = Signal(unix.SIGTERM)
	}
	h.mu.Lock()
	h.left[p] = struct{}{}
	h.mu.Unlock()
	if !h.starts.put(p) {
		go p.failed(closedError(&spec)) // not from here: the caller may hold what notify wants
	}
	return p
}

// spawner keeps its thread: on FreeBSD, as on Linux, the death signal is not to
// depend on a thread that Go may end.
func (h *host) spawner() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	idle := newChanParker()
	for {
		p, ok := h.starts.take(idle)
		if !ok {
			break
		}
		if h.closing.Load() {
			p.failed(closedError(&p.spec))
			continue
		}
		if err := p.spec.prepare(); err != nil {
			p.failed(err)
			continue
		}
		missing, err := limitsOf(&p.spec)
		if err != nil {
			p.spec.release()
			p.failed(err)
			continue
		}
		pid, err := h.forkExec(&p.spec)
		p.spec.release()
		if err != nil {
			p.failed(diagnose(&p.spec, err))
		} else {
			if n := p.spec.Limits.Nice; n != 0 { // all that it starts inherits it; what it has started already is in its group
				missing = append(missing, renice(pid, n)...)
			}
			p.started(pid, missing)
		}
	}
	<-h.released
}

func (h *host) forkExec(spec *Spec) (int, error) {
	null := uintptr(h.null)
	files := []uintptr{null, null, null}
	for i, f := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if f == nil {
			continue
		}
		if files[i] = f.Fd(); files[i] == ^uintptr(0) {
			return 0, &SpawnError{Path: spec.Path, Why: [...]string{"standard input", "standard output", "standard error"}[i] +
				" was closed before the process could be started", Err: os.ErrClosed}
		}
	}
	sys := sysProcAttr()
	var err error
	if sys.Credential, err = spec.credential(); err != nil {
		return 0, err
	}
	path, args := behindShell(spec.Path, spec.Args, &spec.Limits)
	pid, err := syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{
		Dir:   spec.Dir,
		Env:   spec.Env,
		Files: spec.descriptors(files),
		Sys:   sys,
	})
	runtime.KeepAlive(spec.Stdin)
	runtime.KeepAlive(spec.Stdout)
	runtime.KeepAlive(spec.Stderr)
	runtime.KeepAlive(spec.extra)
	return pid, spec.refused(sys.Credential, err)
}

func (h *host) loop() {
	events := make([]unix.Kevent_t, 128)
	for !h.giveUp.Load() {
		n, err := ignoreEINTR(func() (int, error) { return unix.Kevent(h.kq, nil, events, nil) })
		if err != nil {
			return // only if the kqueue were closed
		}
		for _, ev := range events[:n] {
			if ev.Filter == unix.EVFILT_PROC {
				h.exited(int(ev.Ident))
			}
		}
		h.doWork()
	}
}

// exited handles the end of a process or of another one in a tree.
func (h *host) exited(pid int) {
	h.mu.Lock()
	p := h.byPID[pid]
	h.mu.Unlock()
	if p == nil {
		if p = h.watched[pid]; p != nil {
			delete(h.watched, pid)
			h.settle(p)
		}
		return
	}
	if p.reap() {
		h.settle(p)
	}
}

func (h *host) doWork() {
	h.mu.Lock()
	asked, orphaned := h.asked, h.orphaned
	h.asked, h.orphaned = nil, nil
	if h.lookAll.Swap(false) {
		// Perhaps an orphan has died that has to be reaped, or the note of an
		// exit came too early for its status to be there.
		asked = slices.AppendSeq(asked, maps.Keys(h.left))
	}
	h.mu.Unlock()
	for _, p := range asked {
		p.reap()
		h.settle(p)
	}
	for _, p := range orphaned {
		h.terminateOrphans(p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing.Load() && len(h.left) == 0 && !h.isGone {
		h.isGone = true
		close(h.gone)
	}
}

// terminateOrphans asks what is left of a tree outside its group to end.
func (h *host) terminateOrphans(p *process) {
	for _, pid := range h.trees.members(p) {
		if group, err := unix.Getpgid(pid); err == nil && group != p.pid {
			unix.Kill(pid, unix.Signal(p.stop))
			unix.Kill(pid, unix.SIGCONT)
		}
	}
}

// settle ends what is to be ended in a tree, waits for what is left, and
// declares the tree empty if nothing is.
func (h *host) settle(p *process) {
	p.mu.Lock()
	state, killed, pid := p.phase, p.killed, p.pid
	p.mu.Unlock()
	if state != running && state != exited {
		return
	}
	if killed {
		h.trees.kill(p, state == running)
	}
	if state == running {
		return
	}
	empty := true
	for _, other := range h.trees.members(p) {
		if h.watched[other] != nil || h.watch(other) {
			h.watched[other] = p
			empty = false
		}
	}
	if !p.told {
		p.told = true
		p.write(Notice{Kind: Exited, PID: pid, Exit: p.exit, Empty: empty})
		p.tell()
	}
	if !empty {
		return
	}
	h.trees.forget(pid)
	p.mu.Lock()
	p.phase = over
	p.mu.Unlock()
	p.write(Notice{Kind: Emptied, PID: pid, Exit: p.exit})
	p.tell()
	h.forget(p)
}

func (h *host) forget(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.left, p)
}

func (h *host) Close() error {
	h.closed.Do(func() { h.closeErr = h.close() })
	return h.closeErr
}

func (h *host) close() error {
	h.closing.Store(true)
	h.starts.close()
	h.mu.Lock()
	left := slices.Collect(maps.Keys(h.left))
	h.mu.Unlock()
	for _, p := range left {
		p.Kill()
	}
	h.wake()
	patience := time.NewTimer(closeWithin)
	defer patience.Stop()
	select {
	case <-h.gone:
	case <-patience.C:
	}
	signal.Stop(h.children)
	close(h.children)
	close(h.released)
	h.giveUp.Store(true)
	h.wake()
	h.workers.Wait()
	h.mu.Lock()
	h.shut = true
	h.mu.Unlock()
	h.trees.close()
	h.closeFDs()
	var names []string
	for p := range h.left {
		names = append(names, p.abandon())
	}
	if len(names) > 0 {
		slices.Sort(names)
		return fmt.Errorf("still there %v after they were killed: %s", closeWithin, strings.Join(names, ", "))
	}
	return nil
}

type process struct {
	journal

	h     *host
	spec  Spec // until it is started
	label string
	stop  Signal

	// While the process is running its number is its own, as only the loop
	// reaps it, and does so under the lock.
	mu     sync.Mutex
	phase  phase
	pid    int
	killed bool
	limits Limits

	// Of the loop.
	exit Exit
	told bool // Exited has been told
}

var _ Process = (*process)(nil)

func (p *process) started(pid int, unmet []string) {
	p.mu.Lock()
	p.pid, p.phase = pid, running
	path := p.spec.Path
	p.limits = p.spec.Limits
	p.spec = Spec{} // lets go of the environment and the files
	p.h.trees.started(pid)
	p.h.mu.Lock()
	p.h.byPID[pid] = p
	p.h.mu.Unlock()
	p.write(Notice{Kind: Spawned, PID: pid, Path: path, Unmet: unmet})
	look := p.killed || !p.h.watch(pid)
	p.mu.Unlock()
	if look {
		p.h.ask(p)
	}
	p.tell()
}

func (p *process) failed(err error) {
	p.mu.Lock()
	p.phase = over
	p.spec = Spec{}
	p.mu.Unlock()
	p.write(Notice{Kind: SpawnFailed, Err: err})
	p.tell()
	p.h.forget(p)
	if p.h.closing.Load() {
		p.h.wake()
	}
}

// reap collects the process itself, if it is dead.
func (p *process) reap() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != running {
		return false
	}
	var ws unix.WaitStatus
	var use unix.Rusage
	pid, err := ignoreEINTR(func() (int, error) { return unix.Wait4(p.pid, &ws, unix.WNOHANG, &use) })
	switch {
	case err == nil && pid == 0:
		return false // it is told of by SIGCHLD
	case err == nil:
		p.exit = exitOf(ws, &use)
	default: // somebody else has reaped it; how it ended is not known
		p.exit = Exit{Code: -1, At: time.Now()}
	}
	p.h.mu.Lock()
	delete(p.h.byPID, p.pid)
	p.h.mu.Unlock()
	p.phase = exited
	return true
}

func (p *process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

func (p *process) Observe(notify func(Notice)) { p.observe(notify) }

func (p *process) Kill() {
	p.mu.Lock()
	ask := !p.killed && (p.phase == running || p.phase == exited)
	if p.phase != over {
		p.killed = true
	}
	p.mu.Unlock()
	if ask {
		p.h.ask(p)
	}
}

func (p *process) TerminateOrphans() {
	p.mu.Lock()
	ask := p.phase == exited
	p.mu.Unlock()
	if ask {
		p.h.mu.Lock()
		p.h.orphaned = append(p.h.orphaned, p)
		p.h.mu.Unlock()
		p.h.wake()
	}
}

func (p *process) Terminate() error { return p.Signal(p.stop, true) }
func (p *process) Suspend() error   { return p.Signal(Signal(unix.SIGSTOP), true) }
func (p *process) Resume() error    { return p.Signal(Signal(unix.SIGCONT), true) }

func (p *process) Signal(sig Signal, group bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := ErrNotRunning
	switch {
	case group && (p.phase == running || p.phase == exited):
		// After the process itself is reaped, the number is held by what is
		// left of the group, if anything is: see signalGroup in process_linux.go.
		err = unix.Kill(-p.pid, unix.Signal(sig))
	case !group && p.phase == running:
		err = unix.Kill(p.pid, unix.Signal(sig))
	}
	return signalFault(err, sig, group, p.label, p.pid)
}

func (p *process) Holds(pid int) bool {
	p.mu.Lock()
	root, over := p.pid, p.phase == over || p.pid == 0
	p.mu.Unlock()
	if over || pid <= 0 {
		return false
	}
	if pid == root {
		return true
	}
	if group, err := unix.Getpgid(pid); err == nil && group == root {
		return true
	}
	session, err := unix.Getsid(pid)
	return err == nil && session == root
}

func (p *process) abandon() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = over
	return fmt.Sprintf("%s (pid %d)", p.label, p.pid)
}
