package platform

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A host on Windows gives each process a job object, which everything that the
// process starts belongs to as well and cannot leave. All jobs report to one
// completion port, which one goroutine reads. The jobs are closed with the
// program, whatever ends it, and take all that is in them along.
type host struct {
	port    windows.Handle
	null    *os.File
	starts  *queue[*process]
	workers sync.WaitGroup
	closed  sync.Once
	err     error

	mu      sync.Mutex
	seq     uintptr
	trees   map[uintptr]*process // from Start until Emptied, by completion key
	closing bool
	gone    chan struct{} // closed when closing and there are no trees any more
}

var _ Host = (*host)(nil)

func newHost(o Options) (Host, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	port, err := windows.CreateIoCompletionPort(windows.InvalidHandle, 0, 0, 1)
	if err != nil {
		null.Close()
		return nil, fmt.Errorf("create a completion port: %w", err)
	}
	if o.Exclusive {
		allocConsole()
	}
	h := &host{
		port:   port,
		null:   null,
		starts: newQueue[*process](),
		trees:  map[uintptr]*process{},
		gone:   make(chan struct{}),
	}
	spawners := o.Spawners
	if spawners <= 0 {
		spawners = 4
	}
	for range spawners {
		h.workers.Go(func() {
			idle := newChanParker()
			for {
				p, ok := h.starts.take(idle)
				if !ok {
					return
				}
				p.start()
			}
		})
	}
	h.workers.Go(h.loop)
	return h, nil
}

func (h *host) Start(spec Spec, notify func(Notice)) Process {
	p := &process{h: h, spec: spec, label: spec.Label, stop: spec.StopSignal}
	p.notify = notify
	if p.stop == 0 {
		p.stop = sigTerm
	}
	h.mu.Lock()
	h.seq++
	p.key = h.seq
	h.trees[p.key] = p
	h.mu.Unlock()
	if !h.starts.put(p) {
		go p.failed(closedError(&spec)) // not from here: the caller may hold what notify wants
	}
	return p
}

func (h *host) isClosing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closing
}

// forget is called when there is nothing more to tell of p.
func (h *host) forget(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.trees, p.key)
	h.checkGone()
}

func (h *host) checkGone() {
	if h.closing && len(h.trees) == 0 {
		select {
		case <-h.gone:
		default:
			close(h.gone)
		}
	}
}

// The messages of a job object. Key 0 is nobody's: it ends the loop.
const (
	msgActiveProcessZero   = 4
	msgExitProcess         = 7
	msgAbnormalExitProcess = 8
)

func (h *host) loop() {
	for {
		var message uint32
		var key uintptr
		var value *windows.Overlapped // a process id, in the shape of a pointer
		if err := windows.GetQueuedCompletionStatus(h.port, &message, &key, &value, windows.INFINITE); err != nil {
			return
		}
		if key == 0 {
			return
		}
		h.mu.Lock()
		p := h.trees[key]
		h.mu.Unlock()
		if p != nil {
			p.look(message, uint32(uintptr(unsafe.Pointer(value))))
		}
	}
}

func (h *host) Close() error {
	h.closed.Do(func() { h.err = h.close() })
	return h.err
}

func (h *host) close() error {
	h.mu.Lock()
	h.closing = true
	left := slices.Collect(maps.Values(h.trees))
	h.checkGone()
	h.mu.Unlock()
	h.starts.close()
	for _, p := range left {
		p.Kill()
	}
	patience := time.NewTimer(closeWithin)
	defer patience.Stop()
	select {
	case <-h.gone:
	case <-patience.C:
	}
	windows.PostQueuedCompletionStatus(h.port, 0, 0, nil)
	h.workers.Wait()
	var names []string
	for _, key := range slices.Sorted(maps.Keys(h.trees)) {
		names = append(names, h.trees[key].abandon())
	}
	windows.CloseHandle(h.port)
	h.null.Close()
	if len(names) > 0 {
		return fmt.Errorf("still there %v after they were killed: %s", closeWithin, strings.Join(names, ", "))
	}
	return nil
}

type process struct {
	journal

	h     *host
	key   uintptr
	spec  Spec // until it is started
	label string
	stop  Signal

	// The handles are open, and so the pid is not given to others, until
	// nothing of the tree is left.
	mu        sync.Mutex
	phase     phase
	pid       int
	handle    windows.Handle
	job       windows.Handle
	killed    bool
	suspended bool
	limits    Limits
	exit      Exit
}

var _ Process = (*process)(nil)

// killedCode is the exit code of what the host ends: there are no signals that it could have died of.
const killedCode = 137

// controlCode is the exit code of a program that ends because of CTRL_BREAK without having a handler for it.
const controlCode = 0xC000013A

// start runs on a spawner.
func (p *process) start() {
	if p.h.isClosing() {
		p.failed(closedError(&p.spec))
		return
	}
	if err := p.spec.prepare(); err != nil {
		p.failed(err)
		return
	}
	spec := p.spec
	defer spec.release()
	if who := p.spec.As; who.User != "" || who.Group != "" || len(who.Groups) > 0 {
		p.failed(&SpawnError{Path: p.spec.Path, Why: "processes are not started as other users on Windows: run the supervisor as that user", Err: ErrNotSupported})
		return
	}
	job, err := p.newJob()
	if err != nil {
		p.failed(&SpawnError{Path: p.spec.Path, Why: err.Error(), Err: err})
		return
	}
	missing, err := limitJob(job, &p.spec)
	if err != nil {
		windows.CloseHandle(job)
		p.failed(err)
		return
	}
	pid, handle, err := p.create()
	if err != nil {
		windows.CloseHandle(job)
		p.failed(diagnose(&p.spec, err))
		return
	}
	// It has not run yet, so that nothing that it starts can be outside of the job.
	err = windows.AssignProcessToJobObject(job, handle)
	if err == nil {
		p.mu.Lock()
		p.phase, p.pid, p.handle, p.job = running, pid, handle, job
		p.write(Notice{Kind: Spawned, PID: pid, Path: p.spec.Path, Unmet: missing})
		p.limits, p.spec = p.spec.Limits, Spec{}
		if p.killed {
			windows.TerminateJobObject(job, killedCode)
		}
		ntProcess(procNtResumeProcess, handle) // cannot fail, as the handle is new
		p.mu.Unlock()
		p.tell()
		return
	}
	windows.TerminateProcess(handle, killedCode)
	windows.CloseHandle(handle)
	windows.CloseHandle(job)
	p.failed(&SpawnError{Path: p.spec.Path, Why: "started, but ended again: it cannot be given a job object: " + err.Error(), Err: err})
}

func (p *process) newJob() (job windows.Handle, err error) {
	job, err = windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("create a job object: %w", err)
	}
	if missing := setJob(job, &Limits{}, &Limits{}); len(missing) > 0 {
		err = errors.New(strings.Join(missing, "; "))
		windows.CloseHandle(job)
		return 0, fmt.Errorf("set up a job object: %w", err)
	}
	port := struct {
		key  uintptr
		port windows.Handle
	}{p.key, p.h.port}
	if _, err = windows.SetInformationJobObject(job, windows.JobObjectAssociateCompletionPortInformation,
		uintptr(unsafe.Pointer(&port)), uint32(unsafe.Sizeof(port))); err != nil {
		windows.CloseHandle(job)
		return 0, fmt.Errorf("connect a job object with the completion port: %w", err)
	}
	return job, nil
}

// create makes a process that does not run yet.
func (p *process) create() (pid int, handle windows.Handle, err error) {
	spec := &p.spec
	if spec.extra != nil {
		return 0, 0, &SpawnError{Path: spec.Path, Why: "on Windows a process cannot be given a descriptor by its number", Err: ErrNotSupported}
	}
	files := []uintptr{p.h.null.Fd(), p.h.null.Fd(), p.h.null.Fd()}
	for i, f := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if f == nil {
			continue
		}
		if files[i] = f.Fd(); files[i] == ^uintptr(0) {
			return 0, 0, &SpawnError{Path: spec.Path, Why: [...]string{"standard input", "standard output", "standard error"}[i] +
				" was closed before the process could be started", Err: os.ErrClosed}
		}
	}
	pid, h, err := syscall.StartProcess(spec.Path, append([]string{spec.Path}, spec.Args...), &syscall.ProcAttr{
		Dir:   spec.Dir,
		Env:   withSystemRoot(spec.Env),
		Files: files,
		Sys: &syscall.SysProcAttr{
			CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP,
			HideWindow:    true,
		},
	})
	return pid, windows.Handle(h), err
}

// withSystemRoot adds what hardly any program can do without.
func withSystemRoot(env []string) []string {
	for _, kv := range env {
		if key, _, _ := strings.Cut(kv, "="); strings.EqualFold(key, "SYSTEMROOT") {
			return env
		}
	}
	return append(slices.Clip(env), "SYSTEMROOT="+os.Getenv("SYSTEMROOT"))
}

func (p *process) failed(err error) {
	p.mu.Lock()
	p.phase = over
	p.spec = Spec{}
	p.mu.Unlock()
	p.write(Notice{Kind: SpawnFailed, Err: err})
	p.tell()
	p.h.forget(p)
}

// look finds out how the tree stands when its job has reported something. The
// system does not promise that every message arrives, so each is taken as a
// reason to look at everything.
func (p *process) look(message, pid uint32) {
	p.mu.Lock()
	justExited := false
	if p.phase == running {
		// The message may be ahead of the handle by a moment.
		wait := uint32(0)
		if message == msgActiveProcessZero || (message == msgExitProcess || message == msgAbnormalExitProcess) && int(pid) == p.pid {
			wait = 1000
		}
		if event, err := windows.WaitForSingleObject(p.handle, wait); err == nil && event == windows.WAIT_OBJECT_0 {
			p.phase = exited
			p.exit = p.result()
			justExited = true
		}
	}
	var empty bool
	if p.phase == running || p.phase == exited {
		others := p.others()
		if others && p.killed { // something was just being started when the job was ended
			windows.TerminateJobObject(p.job, killedCode)
		}
		empty = !others && p.phase == exited
	}
	if justExited {
		p.write(Notice{Kind: Exited, PID: p.pid, Exit: p.exit, Empty: empty})
	}
	if empty {
		p.phase = over
		windows.CloseHandle(p.handle)
		windows.CloseHandle(p.job)
		p.write(Notice{Kind: Emptied, PID: p.pid, Exit: p.exit})
	}
	p.mu.Unlock()
	p.tell()
	if empty {
		p.h.forget(p)
	}
}

// others reports whether there is anything in the job besides the process
// itself, which the system may still count when it has just ended.
func (p *process) others() bool {
	pids, err := p.pids()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(pids, func(pid uint32) bool { return int(pid) != p.pid })
}

// result is how the process has ended.
func (p *process) result() Exit {
	e := Exit{At: time.Now(), Code: -1}
	var code uint32
	if windows.GetExitCodeProcess(p.handle, &code) == nil {
		e.Code = int(code)
	}
	switch {
	case code == killedCode && p.killed:
		e.Code, e.Signal = -1, sigKill
	case code == controlCode:
		e.Code, e.Signal = -1, sigBreak
	}
	var created, ended, kernel, user windows.Filetime
	if windows.GetProcessTimes(p.handle, &created, &ended, &kernel, &user) == nil {
		e.UserTime, e.SystemTime = ticks(user), ticks(kernel)
	}
	var memory memoryCounters
	if memory.read(p.handle) {
		e.MaxRSS = int64(memory.peakWorkingSet)
	}
	return e
}

// ticks turns a duration in units of 100 ns into a Duration; Filetime.Nanoseconds would take it for a date.
func ticks(t windows.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}

var (
	ntdll                    = windows.NewLazySystemDLL("ntdll.dll")
	procNtSuspendProcess     = ntdll.NewProc("NtSuspendProcess")
	procNtResumeProcess      = ntdll.NewProc("NtResumeProcess")
	kernel32                 = windows.NewLazySystemDLL("kernel32.dll")
	procGetProcessMemoryInfo = kernel32.NewProc("K32GetProcessMemoryInfo")
	procIsProcessInJob       = kernel32.NewProc("IsProcessInJob")
)

// ntProcess calls one of the functions of ntdll that take a process and return an NTSTATUS.
func ntProcess(proc *windows.LazyProc, handle windows.Handle) error {
	if status, _, _ := proc.Call(uintptr(handle)); int32(status) < 0 {
		return windows.NTStatus(uint32(status))
	}
	return nil
}

func (p *process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

func (p *process) Observe(notify func(Notice)) { p.observe(notify) }

func (p *process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == over {
		return
	}
	p.killed = true
	if p.phase != waiting {
		windows.TerminateJobObject(p.job, killedCode)
	}
}

func (p *process) Terminate() error { return p.Signal(p.stop, true) }

// TerminateOrphans does nothing: only a process group can be asked to end.
func (p *process) TerminateOrphans() {}

func (p *process) Signal(sig Signal, group bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.signal(sig, group)
	if err != nil {
		return fmt.Errorf("send %s to %s (pid %d): %w", sig.Name(), p.label, p.pid, err)
	}
	return nil
}

func (p *process) signal(sig Signal, group bool) error {
	if p.phase != running && (p.phase != exited || !group) {
		return ErrNotRunning
	}
	switch {
	case sig == sigKill && group:
		return windows.TerminateJobObject(p.job, killedCode)
	case sig == sigKill:
		return windows.TerminateProcess(p.handle, killedCode)
	case sig == sigTerm, sig == sigInt, sig == sigBreak:
		// A process group can be sent CTRL_BREAK only, and only as a whole, and
		// only if it shares the console of this program. Without a console
		// there is ERROR_INVALID_HANDLE. So there is in wine 8.0 even with one
		// (ERROR_INVALID_ACCESS if it has no terminal), so that this has not
		// been seen to work by the tests there.
		err := windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.pid))
		if errors.Is(err, windows.ERROR_INVALID_HANDLE) || errors.Is(err, windows.ERROR_INVALID_ACCESS) {
			return fmt.Errorf("CTRL_BREAK: %w (this program has no console to send it through)", err)
		}
		return err
	}
	return ErrNotSupported
}

func (p *process) Suspend() error { return p.setSuspended(true) }
func (p *process) Resume() error  { return p.setSuspended(false) }

// setSuspended suspends or resumes every process in the job. The system counts
// how often a process was suspended; like SIGSTOP, this does not.
func (p *process) setSuspended(suspend bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	verb, proc := "resume", procNtResumeProcess
	if suspend {
		verb, proc = "suspend", procNtSuspendProcess
	}
	if p.phase != running && p.phase != exited {
		return fmt.Errorf("%s %s: %w", verb, p.label, ErrNotRunning)
	}
	if p.suspended == suspend {
		return nil
	}
	p.suspended = suspend
	var failure error
	done := map[uint32]bool{}
	// One that is not suspended yet may start others meanwhile.
	for again := true; again; {
		again = false
		pids, err := p.pids()
		if err != nil {
			return fmt.Errorf("%s %s (pid %d): %w", verb, p.label, p.pid, err)
		}
		for _, pid := range pids {
			if done[pid] {
				continue
			}
			done[pid], again = true, true
			if err := p.withMember(pid, func(handle windows.Handle) error { return ntProcess(proc, handle) }); err != nil {
				failure = fmt.Errorf("%s process %d of %s: %w", verb, pid, p.label, err)
			}
		}
	}
	return failure
}

// withMember calls f if the process is in the job. One that is gone is no error.
func (p *process) withMember(pid uint32, f func(windows.Handle) error) error {
	const suspendResume = 0x0800
	handle, err := windows.OpenProcess(suspendResume|windows.PROCESS_QUERY_INFORMATION, false, pid)
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return nil
	}
	if err != nil {
		return err
	}
	defer windows.CloseHandle(handle)
	var in int32 // the pid may be somebody else's by now
	if ok, _, err := procIsProcessInJob.Call(uintptr(handle), uintptr(p.job), uintptr(unsafe.Pointer(&in))); ok == 0 {
		return err
	}
	if in == 0 {
		return nil
	}
	return f(handle)
}

// pids are the processes in the job.
func (p *process) pids() ([]uint32, error) {
	for room := uintptr(64); ; room *= 2 {
		const header = 2 // two 32-bit counts, which take the place of one or two pids
		buf := make([]uintptr, header+room)
		err := windows.QueryInformationJobObject(p.job, windows.JobObjectBasicProcessIdList,
			uintptr(unsafe.Pointer(&buf[0])), uint32(uintptr(len(buf))*unsafe.Sizeof(buf[0])), nil)
		counts := (*[2]uint32)(unsafe.Pointer(&buf[0]))
		if errors.Is(err, windows.ERROR_MORE_DATA) || err == nil && counts[1] < counts[0] {
			continue
		}
		if err != nil {
			return nil, err
		}
		list := unsafe.Slice((*uintptr)(unsafe.Add(unsafe.Pointer(&buf[0]), 8)), counts[1])
		pids := make([]uint32, len(list))
		for i, pid := range list {
			pids[i] = uint32(pid)
		}
		return pids, nil
	}
}

func (p *process) Holds(pid int) bool {
	held := false
	p.mu.Lock()
	there := p.phase == running || p.phase == exited
	p.mu.Unlock()
	return there && pid > 0 && p.withMember(uint32(pid), func(windows.Handle) error {
		held = true
		return nil
	}) == nil && held
}

// abandon lets go of a tree whose end is not awaited any more; closing the job
// asks the system once more to end it.
func (p *process) abandon() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == running || p.phase == exited {
		windows.CloseHandle(p.handle)
		windows.CloseHandle(p.job)
	}
	p.phase = over
	return fmt.Sprintf("%s (pid %d)", p.label, p.pid)
}
