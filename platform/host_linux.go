package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A host on Linux consists of
//
//   - a few spawners, each a goroutine that gets ready what a process needs, with
//     a forker, the thread that starts it;
//   - one loop, the only one to reap and to read /proc. It sleeps in Go's own
//     poller on an epoll set that holds a pidfd of each process, so a process
//     costs a descriptor and neither a thread nor a goroutine;
//   - one goroutine that turns SIGCHLD into a look at the orphans.
//
// The program becomes a subreaper, so that what loses its parent anywhere below
// becomes its child and can be found, ended and reaped: see tree_linux.go.
type host struct {
	exclusive bool
	self      int
	nonce     string
	outer     string // the mark of the host's own environment, if it is nested
	null      int    // /dev/null, open for reading and writing

	cgroups   *cgroupTree // nil: there are none to be had
	noCgroups error       // and this is why
	guardian  *guardian   // nil: there is none

	epoll   *os.File
	epfd    int
	wakefd  int // an eventfd in the epoll set, with token 0
	adopted adoptedList
	// Held for reading from before the fork until the process is registered,
	// but only where the kernel does not list children by thread: there the
	// loop would take what is being started for an orphan.
	forking sync.RWMutex

	// Held for reading while somebody looks at what is used, which takes the
	// descriptors of the cgroups; blind is set before they are closed.
	looking sync.RWMutex
	blind   bool

	starts   *queue[*process]
	children chan os.Signal
	workers  sync.WaitGroup
	released chan struct{} // closed when the spawners may give their threads back
	gone     chan struct{} // closed by the loop when Close has nothing to wait for any more
	look     atomic.Bool   // the loop is to look for orphans
	closing  atomic.Bool
	closed   sync.Once
	closeErr error

	mu    sync.Mutex
	seq   uint64
	trees map[uint64]*process // from Start until Emptied, by number; the number is the epoll token too
	byPID map[int]*process    // whose session and group have this number
	kills []*process          // what the loop is asked to end
	asks  []*process          // whose orphans the loop is asked to have terminated
	shut  bool                // the descriptors are closed

	looker // what only the loop may touch
}

var _ Host = (*host)(nil)

func newHost(o Options) (Host, error) {
	h := &host{
		exclusive: o.Exclusive,
		self:      os.Getpid(),
		nonce:     newNonce(),
		outer:     os.Getenv(markKey),
		starts:    newQueue[*process](),
		children:  make(chan os.Signal, 1),
		released:  make(chan struct{}),
		gone:      make(chan struct{}),
		trees:     map[uint64]*process{},
		byPID:     map[int]*process{},
		null:      -1,
		epfd:      -1,
		wakefd:    -1,
	}
	if err := h.open(); err != nil {
		h.closeFDs()
		return nil, err
	}
	if o.CgroupParent == NoCgroup {
		h.noCgroups = errNoCgroups("cgroups are not wanted")
	} else if h.cgroups, h.noCgroups = openCgroups(o.CgroupParent, h.nonce); h.noCgroups != nil && !o.canDoWithout(h.noCgroups) {
		h.closeFDs()
		return nil, h.noCgroups
	}
	if o.Guardian {
		if err := h.guard(); err != nil {
			h.closeFDs()
			return nil, err
		}
	}
	givenFDs()
	if o.Exclusive {
		// Go opens nothing that a child would inherit; whoever started us may
		// have. Before Linux 5.11 that cannot be mended in one call, nor at all
		// without a race.
		_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	}
	h.looker.init(h)
	spawners := o.Spawners
	if spawners <= 0 {
		// Go lets only one fork happen at a time; a second spawner gets the
		// next one ready. More help little.
		spawners = min(max(runtime.GOMAXPROCS(0), 2), 4)
	}
	subreaper.acquire()
	signal.Notify(h.children, unix.SIGCHLD)
	h.workers.Go(h.loop)
	h.workers.Go(h.watchOrphans)
	var forkers []*forker
	for range spawners {
		f, err := newForker(h.self, &h.workers, false, h.null)
		if err != nil {
			for _, f := range forkers {
				f.end()
			}
			h.Close()
			return nil, err
		}
		forkers = append(forkers, f)
	}
	for _, f := range forkers {
		h.workers.Go(func() { h.spawner(f) })
	}
	return h, nil
}

func (h *host) open() error {
	fd, err := unix.PidfdOpen(h.self, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w (Linux 5.4 or later is needed)", err)
	}
	unix.Close(fd)
	if h.null, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	if h.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if h.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if err := h.watch(h.wakefd, 0); err != nil {
		return err
	}
	if err := unix.SetNonblock(h.epfd, true); err != nil { // that os.NewFile gives it to Go's poller
		return fmt.Errorf("make epoll descriptor non-blocking: %w", err)
	}
	h.epoll = os.NewFile(uintptr(h.epfd), "epoll")
	h.adopted = openAdoptedList(h.self)
	return nil
}

func (h *host) closeFDs() {
	if h.epoll != nil {
		h.epoll.Close()
	} else if h.epfd >= 0 {
		unix.Close(h.epfd)
	}
	for _, fd := range []int{h.null, h.wakefd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if h.guardian != nil {
		h.guardian.dismiss()
	}
	if h.cgroups != nil {
		h.cgroups.close()
	}
	h.adopted.close()
}

// subreaper counts the hosts of this program, which is a subreaper while there are any.
var subreaper subreaping

type subreaping struct {
	mu    sync.Mutex
	hosts int
	was   int32 // whether it was one before
}

func (s *subreaping) acquire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts++; s.hosts == 1 {
		s.was = 0
		// Neither call can fail on a kernel that has pidfds.
		unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&s.was)), 0, 0, 0)
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
}

func (s *subreaping) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts--; s.hosts == 0 && s.was == 0 {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	}
}

func (h *host) Start(spec Spec, notify func(Notice)) Process {
	p := &process{h: h, spec: spec, label: spec.Label, stop: spec.StopSignal, pidfd: -1}
	p.notify = notify
	if p.stop == 0 {
		p.stop = Signal(unix.SIGTERM)
	}
	h.mu.Lock()
	h.seq++
	p.seq = h.seq
	h.trees[p.seq] = p
	h.mu.Unlock()
	if !h.starts.put(p) {
		go p.failed(closedError(&spec)) // not from here: the caller may hold what notify wants
	}
	return p
}

// watch puts fd into the epoll set.
func (h *host) watch(fd int, token uint64) error { return h.watchFor(unix.EPOLLIN, fd, token) }

func (h *host) watchFor(events uint32, fd int, token uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(token), Pad: int32(token >> 32)}
	if err := unix.EpollCtl(h.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// unwatch takes fd out of the epoll set and closes it. Closing alone is not
// enough: a child that is just being forked has a copy, and the set would go on
// reporting the descriptor until that child has exec'ed.
func (h *host) unwatch(fd int) {
	unix.EpollCtl(h.epfd, unix.EPOLL_CTL_DEL, fd, &unix.EpollEvent{})
	unix.Close(fd)
}

var one = binary.NativeEndian.AppendUint64(nil, 1)

// wake makes the loop go round.
func (h *host) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shut {
		unix.Write(h.wakefd, one) // fails only if it is about to wake up anyway
	}
}

// requestKill has the loop end the tree of p.
func (h *host) requestKill(p *process) {
	h.mu.Lock()
	h.kills = append(h.kills, p)
	h.mu.Unlock()
	h.wake()
}

// requestTerminate has the loop ask the orphans of p to end.
func (h *host) requestTerminate(p *process) {
	h.mu.Lock()
	h.asks = append(h.asks, p)
	h.mu.Unlock()
	h.wake()
}

// watchOrphans has the loop look for orphans when a child has changed its state.
// Processes that were started here tell by their pidfd and need no look; only
// when there are adopted ones, too, does the loop have to be woken.
func (h *host) watchOrphans() {
	list := openAdoptedList(h.self)
	defer list.close()
	for range h.children {
		if (list.any() || h.anyTraced.Load()) && !h.look.Swap(true) {
			h.wake()
		}
	}
}

// mostAtOnce bounds how many events are taken in before anything is made of them.
const mostAtOnce = 1024

// loop receives all events until Close has what it waits for.
func (h *host) loop() {
	conn, err := h.epoll.SyscallConn()
	if err != nil {
		return // only of a closed file
	}
	events := make([]unix.EpollEvent, 128)
	_ = conn.Read(func(uintptr) bool { // fails only on a closed file
		for taken := 0; ; {
			n, err := unix.EpollWait(h.epfd, events, 0)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 && taken == 0 {
				return h.finished() // or sleep until the set is readable again
			}
			for _, ev := range events[:max(n, 0)] {
				token := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
				if token == 0 {
					h.drainWake()
				} else {
					h.ended(token)
				}
			}
			// What follows reads the list of all orphans, and most of those are members:
			// the more there are, the more of what has happened is taken in before.
			if taken += n; n > 0 && taken < min(len(h.members)/4, mostAtOnce) {
				continue
			}
			taken = 0
			h.doWork()
		}
	})
}

func (h *host) drainWake() {
	var b [8]byte
	unix.Read(h.wakefd, b[:])
}

func (h *host) Close() error {
	h.closed.Do(func() { h.closeErr = h.close() })
	return h.closeErr
}

func (h *host) close() error {
	h.closing.Store(true)
	h.starts.close() // what is still in it is not started any more
	h.mu.Lock()
	left := slices.Collect(maps.Values(h.trees))
	h.mu.Unlock()
	for _, p := range left {
		p.Kill()
	}
	h.wake()

	patience := time.NewTimer(closeWithin)
	defer patience.Stop()
	var gaveUp bool
	select {
	case <-h.gone:
	case <-patience.C:
		gaveUp = true
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
	h.looking.Lock()
	h.blind = true
	h.looking.Unlock()
	var err error
	if gaveUp {
		err = h.abandon()
	}
	h.closeFDs()
	subreaper.release()
	return err
}

// abandon says what Close could not end.
func (h *host) abandon() error {
	var names []string
	for _, seq := range slices.Sorted(maps.Keys(h.trees)) {
		names = append(names, h.trees[seq].abandon())
	}
	for _, stray := range []*process{h.late, h.strays} {
		for _, m := range stray.members {
			names = append(names, fmt.Sprintf("orphan (pid %d)", m.pid))
		}
	}
	for _, m := range h.members {
		if m.fd >= 0 {
			unix.Close(m.fd)
		}
	}
	for _, p := range h.emptying {
		unix.Close(p.events)
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("still there %v after they were killed: %s", closeWithin, strings.Join(names, ", "))
}

// A spawner starts processes by way of one thread, and by way of another one those
// that may gain no privileges.
type spawner struct {
	h      *host
	forker *forker
	binder *forker // nil: none was needed so far
	reader procReader
	argv   []string
	env    []string
	files  []uintptr // as ForkExec wants them
	send   []int     // descriptors that the forker has to get
	from   []int     // which of those files[i] is; negative: none
	sys    syscall.SysProcAttr
	attr   syscall.ProcAttr
}

func (h *host) spawner(f *forker) {
	s := &spawner{h: h, forker: f}
	defer s.end()
	s.sys = syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	s.attr.Sys = &s.sys
	idle := newChanParker()
	for {
		p, ok := h.starts.take(idle)
		if !ok {
			break
		}
		s.start(p)
	}
	<-h.released // not before the children are gone: they would be sent the death signal
}

func (s *spawner) end() {
	s.forker.end()
	if s.binder != nil {
		s.binder.end()
	}
}

// forkerFor is the one that forks what is confined in that way.
func (s *spawner) forkerFor(bounce *trampolining) (f *forker, err error) {
	if bounce == nil || !bounce.byThread {
		return s.forker, nil
	}
	if s.binder == nil {
		s.binder, err = newForker(s.h.self, &s.h.workers, true, s.h.null)
	}
	return s.binder, err
}

func (s *spawner) start(p *process) {
	if s.h.closing.Load() {
		p.failed(closedError(&p.spec))
		return
	}
	if s.h.adopted.fd < 0 {
		s.h.forking.RLock()
		defer s.h.forking.RUnlock()
	}
	err := p.spec.prepare()
	if err != nil {
		p.failed(err)
		return
	}
	pid, err := s.spawn(p)
	p.spec.release()
	if err != nil {
		p.failed(diagnose(&p.spec, err))
		return
	}
	// It has not been reaped, by whomever: its number is its own.
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		unix.Kill(-pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
		s.undo(p)
		p.failed(diagnose(&p.spec, fmt.Errorf("pidfd_open: %w", err)))
		return
	}
	if err := p.started(pid, pidfd); err != nil {
		p.failed(&SpawnError{Path: p.spec.Path, Why: "started, but ended again: it cannot be watched: " + err.Error(), Err: err})
	}
}

// undo removes what was made for a process that there is not any more.
func (s *spawner) undo(p *process) {
	if p.leaf != "" {
		s.h.cgroups.remove(p.leaf)
		p.leaf = ""
	}
}

// spawn starts p in a leaf of its own, where there are cgroups, with its limits.
func (s *spawner) spawn(p *process) (pid int, err error) {
	groups, limits := s.h.cgroups, &p.spec.Limits
	who, err := p.spec.credential()
	if err != nil {
		return 0, err
	}
	bounce, err := p.spec.trampolining(who)
	if err != nil {
		return 0, err
	}
	if groups == nil {
		p.withoutGroups(&p.spec)
		return s.fork(p, -1, who, bounce)
	}
	place, missing, lacking, err := groups.place(p.spec.Within)
	if err != nil {
		return 0, &SpawnError{Path: p.spec.Path, Why: err.Error(), Err: err}
	}
	leaf := place + leafName(p.label, p.seq)
	fd, err := groups.make(leaf)
	if err != nil {
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
			return 0, err // it is as if the fork had failed
		}
		return 0, &SpawnError{Path: p.spec.Path, Why: err.Error(), Err: err}
	}
	p.unmet, p.lacking = missing, lacking
	if !bounce.executes() { // else they are set when it is there, which may need more
		p.lack(groups.setTree(leaf, &Limits{}, limits))
	}
	p.leaf = leaf
	pid, err = s.fork(p, fd, who, bounce)
	unix.Close(fd)
	if err != nil {
		s.undo(p)
		return 0, err
	}
	return pid, nil
}

// fork has the forker start p, in the leaf that leaf is a descriptor of, if it is
// not negative, as somebody, confined as bounce says, if it is not nil.
func (s *spawner) fork(p *process, leaf int, who *syscall.Credential, bounce *trampolining) (pid int, err error) {
	spec := &p.spec
	forker, err := s.forkerFor(bounce)
	if err != nil {
		return 0, err
	}
	if bounce != nil && forker.unbound != nil {
		bounce.word.Unmet = []string{"no new privileges: " + forker.unbound.Error()}
		if err := bounce.missing(spec); err != nil {
			return 0, err
		}
	}
	s.argv = append(append(s.argv[:0], spec.Path), spec.Args...)
	s.env = markEnv(s.env[:0], spec.Env, s.h.outer, s.h.nonce, p.seq)
	s.files = append(s.files[:0], uintptr(s.h.null), uintptr(s.h.null), uintptr(s.h.null))
	for i, f := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if f == nil {
			continue
		}
		if s.files[i] = f.Fd(); s.files[i] == ^uintptr(0) {
			return 0, &SpawnError{Path: spec.Path, Why: [...]string{"standard input", "standard output", "standard error"}[i] +
				" was closed before the process could be started", Err: os.ErrClosed}
		}
	}
	s.files = spec.descriptors(s.files)
	if len(spec.KeepFDs)+len(spec.Secrets) > 0 {
		var ours []*os.File
		if s.files, s.env, ours, err = spec.keep(s.files, s.env, who); err != nil {
			return 0, err
		}
		defer func() {
			for _, f := range ours {
				_ = f.Close()
			}
		}()
	}
	path, dir, asWhom := spec.Path, spec.Dir, who
	if bounce.executes() {
		if err := bounce.open(); err != nil {
			bounce.close()
			return 0, err
		}
		defer bounce.close()
		bounce.task.Path, bounce.task.Dir = octets(spec.Path), octets(spec.Dir)
		bounce.task.Argv, bounce.task.Env = allOctets(s.argv), allOctets(s.env)
		if what := withNUL(spec); what != "" { // the fork would not see it
			return 0, unix.EINVAL
		}
		path, dir, asWhom = "/proc/self/exe", "", nil
		s.argv = append(s.argv[:0], trampolineName, strconv.Itoa(len(s.files)))
		s.env = markEnv(s.env[:0], os.Environ(), s.h.outer, s.h.nonce, p.seq)
		s.files = append(s.files, bounce.theirs.Fd())
	} else if who != nil {
		handOver(int(who.Uid), s.files[:3])
	}
	s.send, s.from = s.send[:0], s.from[:0]
	for _, fd := range s.files {
		if fd == uintptr(s.h.null) || fd == ^uintptr(0) {
			s.from = append(s.from, -1)
			continue
		}
		s.from = append(s.from, len(s.send))
		s.send = append(s.send, int(fd))
	}
	if leaf >= 0 {
		s.send = append(s.send, leaf)
	}
	s.attr.Dir, s.attr.Env, s.attr.Files = dir, s.env, s.files
	s.sys.Credential = asWhom
	pid, err = forker.do(s.send, func(received []int) (int, error) {
		for i, n := range s.from {
			if n >= 0 {
				s.files[i] = uintptr(received[n])
			}
		}
		s.sys.UseCgroupFD = leaf >= 0
		if leaf >= 0 {
			s.sys.CgroupFD = received[len(received)-1]
		}
		if bounce.executes() {
			return s.forkExec(p, path)
		}
		return s.limited(p)
	})
	if err == nil && bounce != nil && bounce.byThread {
		p.unmet = append(p.unmet, bounce.word.Unmet...)
		p.inForce = bounce.inForce(&s.reader, spec, pid)
	}
	if err == nil && bounce.executes() {
		p.interruptible(bounce.interrupt)
		defer p.interruptible(nil)
		if err = bounce.confine(&s.reader, p, pid, func() error { return s.limit(p, pid) }); err != nil {
			var ws unix.WaitStatus
			unix.Kill(-pid, unix.SIGKILL)
			_, _ = ignoreEINTR(func() (int, error) { return unix.Wait4(pid, &ws, unix.WALL, nil) })
			err = explainLoss(spec, err, ws)
		}
	}
	runtime.KeepAlive(spec.Stdin)
	runtime.KeepAlive(spec.Stdout)
	runtime.KeepAlive(spec.Stderr)
	runtime.KeepAlive(spec.extra)
	clear(s.argv)
	clear(s.env)
	return pid, err
}

// limited starts p with the limits that belong to a process. It is for the
// forker: who has traced a process is the thread.
func (s *spawner) limited(p *process) (pid int, err error) {
	limits := &p.spec.Limits
	if len(p.lacking) > 0 {
		return 0, missingLimits(&p.spec, p.lacking)
	}
	if !anySet(limits.ofProcess()) {
		return s.forkExec(p, p.spec.Path)
	}
	s.sys.Ptrace = true
	pid, err = s.forkExec(p, p.spec.Path)
	s.sys.Ptrace = false
	if err != nil {
		return 0, err
	}
	missing, ok := setStopped(pid, limits, &p.original)
	if !ok {
		return 0, &SpawnError{Path: p.spec.Path, Why: "it was killed when it had just been started", Err: unix.ESRCH}
	}
	p.lack(missing)
	if len(p.lacking) > 0 {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, unix.WALL, nil)
		return 0, missingLimits(&p.spec, p.lacking)
	}
	if err := unix.PtraceDetach(pid); err != nil && err != unix.ESRCH {
		return 0, err
	}
	return pid, nil
}

// limit sets all limits of a process that is confined, and waits to be executed.
func (s *spawner) limit(p *process, pid int) error {
	limits := &p.spec.Limits
	if p.leaf != "" {
		p.lack(s.h.cgroups.setTree(p.leaf, &Limits{}, limits))
	}
	p.lack(p.original.set(pid, []int{pid}, &Limits{}, limits))
	if len(p.lacking) > 0 {
		return missingLimits(&p.spec, p.lacking)
	}
	return nil
}

func (s *spawner) forkExec(p *process, path string) (pid int, err error) {
	pid, err = syscall.ForkExec(path, s.argv, &s.attr)
	return pid, p.spec.refused(s.sys.Credential, err)
}
