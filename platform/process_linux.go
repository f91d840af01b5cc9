package platform

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A process is one that was asked for, with its tree.
//
// Its number as a process and as a process group stays its own while it is
// running, as only the loop reaps it, and does so under the lock: what is sent
// under the lock cannot reach another process that was given the number later.
type process struct {
	journal

	h       *host
	seq     uint64
	spec    Spec // until it is started
	label   string
	stop    Signal
	unmet   []string // limits and the like that are not in force, until Spawned
	inForce []string // what confines it, until Spawned
	leaf    string   // its group in host.cgroups, from before Spawned until it is over; empty: none

	lacking  []string // limits that are not in force and have to be, until Spawned
	limits   Limits   // that are wanted, from Spawned on; for whoever may call Limit
	original original // what it would have without them

	mu        sync.Mutex
	phase     phase
	pid       int
	pidfd     int    // while running
	grouped   bool   // the group has members, so that its number is not given away
	killed    bool   // Kill was called
	interrupt func() // ends what it is waiting for while it is confined, if it is
	ended     bool   // and SIGKILL has been sent to the process

	// Of the loop.
	exit    Exit
	told    bool // Exited has been told
	members map[int]*member
	purged  bool  // its leaf has been killed
	events  int   // tells when its leaf is empty, if that is waited for: in looker.emptying
	known   []int // pids in looker.known
	rooted  bool  // while it is being ended: the process itself is there to be searched below;
	frozen  []int // what was in its leaf when that was frozen, in order
	before  int   // and how many members there were before the last look
}

var _ Process = (*process)(nil)

// started registers the new process. The lock keeps the loop from telling of
// its end before its start is written down.
func (p *process) started(pid, pidfd int) error {
	p.mu.Lock()
	if err := p.h.watch(pidfd, p.seq); err != nil {
		p.mu.Unlock()
		unix.Kill(-pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
		unix.Close(pidfd)
		return err
	}
	p.h.mu.Lock()
	p.h.byPID[pid] = p
	p.h.mu.Unlock()
	p.pid, p.pidfd, p.phase, p.grouped = pid, pidfd, running, true
	p.write(Notice{Kind: Spawned, PID: pid, Path: p.spec.Path, Unmet: p.unmet, InForce: p.inForce})
	killed := p.killed
	p.limits, p.lacking = p.spec.Limits, nil
	p.spec = Spec{} // lets go of the environment and the files
	p.mu.Unlock()
	if p.h.guardian != nil && p.leaf == "" {
		p.h.guardian.watch(pid)
	}
	if killed {
		p.h.requestKill(p)
	}
	p.tell()
	return nil
}

// interruptible says what Kill calls before there is a process; nil: nothing.
func (p *process) interruptible(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interrupt = f; f != nil && p.killed {
		f()
	}
}

// failed says that there will be no process.
func (p *process) failed(err error) {
	p.mu.Lock()
	p.phase = over
	p.spec = Spec{}
	p.mu.Unlock()
	p.h.forget(p)
	p.write(Notice{Kind: SpawnFailed, Err: err})
	p.tell()
	if p.h.closing.Load() {
		p.h.wake()
	}
}

type reaping uint8

const (
	notThere reaping = iota
	reaped
	withheld // it is dead, but a tracer has not seen it yet
)

// reap collects the process itself, which is dead.
func (p *process) reap() reaping {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != running {
		return notThere
	}
	var ws unix.WaitStatus
	var use unix.Rusage
	for {
		pid, err := unix.Wait4(p.pid, &ws, unix.WNOHANG, &use)
		if err == unix.EINTR {
			continue
		}
		if err == nil && pid == 0 {
			return withheld
		}
		p.exit = Exit{Code: -1, At: time.Now()}
		if err == nil {
			p.exit = exitOf(ws, &use)
		}
		// With an error somebody else has reaped it, as a program that calls
		// wait for just any child does: how it ended is not known then.
		break
	}
	p.h.unwatch(p.pidfd)
	p.pidfd = -1
	p.phase = exited
	return reaped
}

// mute takes the pidfd out of the epoll set, but keeps it.
func (p *process) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.EpollCtl(p.h.epfd, unix.EPOLL_CTL_DEL, p.pidfd, &unix.EpollEvent{})
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
	if p.interrupt != nil {
		p.interrupt()
	}
	p.mu.Unlock()
	if ask {
		p.h.requestKill(p)
	}
}

func (p *process) TerminateOrphans() {
	p.mu.Lock()
	ask := p.phase == exited
	p.mu.Unlock()
	if ask {
		p.h.requestTerminate(p)
	}
}

func (p *process) Terminate() error { return p.Signal(p.stop, true) }

// Suspend freezes the leaf, which the process itself cannot notice. Where there
// is none it stops the group.
func (p *process) Suspend() error {
	if p.freeze(true) {
		return nil
	}
	return p.Signal(Signal(unix.SIGSTOP), true)
}

// Resume also continues what has stopped itself.
func (p *process) Resume() error {
	thawed := p.freeze(false)
	err := p.Signal(Signal(unix.SIGCONT), true)
	if thawed && errors.Is(err, ErrNotRunning) {
		return nil // what has waited for it has ended it
	}
	return err
}

func (p *process) freeze(frozen bool) (done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != running && p.phase != exited || p.leaf == "" {
		return false
	}
	return p.h.cgroups.freeze(p.leaf, frozen) == nil
}

func (p *process) Signal(sig Signal, group bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch {
	case group && p.grouped:
		err = p.signalGroup(unix.Signal(sig))
	case !group && p.phase == running:
		err = unix.PidfdSendSignal(p.pidfd, unix.Signal(sig), nil, 0)
	default:
		err = ErrNotRunning
	}
	return signalFault(err, sig, group, p.label, p.pid)
}

// maxDepth is how far up the parents of a process are followed.
const maxDepth = 64

// One that is just being exec'ed has no environment for some microseconds, and so is
// looked at again: so often, after so long.
const (
	execLooks = 20
	execPause = 100 * time.Microsecond
)

// Holds finds out as the loop does (tree_linux.go), by what the system tells at
// this moment. It has a reader of its own: anybody may call it.
func (p *process) Holds(pid int) bool {
	p.mu.Lock()
	if p.phase != running && p.phase != exited || pid <= 0 {
		p.mu.Unlock()
		return false
	}
	root, leaf, itself := p.pid, p.leaf, p.phase == running && pid == p.pid
	p.mu.Unlock()
	if itself {
		return true
	}
	var r procReader
	path := "/proc/" + strconv.Itoa(pid)
	if leaf != "" {
		if text, err := r.read(path + "/cgroup"); err == nil {
			if seq, ok := p.h.cgroups.findLeaf(text); ok {
				return seq == p.seq
			}
		}
	}
	// What has left the leaf, or there is none.
	st, err := r.stat(pid)
	if err != nil {
		return false
	}
	if st.pgrp == root || st.session == root {
		return true
	}
	environ, execs, err := r.environBeyondExec(pid)
	for looks := 0; execs && looks < execLooks; looks++ {
		time.Sleep(execPause)
		environ, execs, err = r.environBeyondExec(pid)
	}
	if err == nil {
		if seq, ours := findMark(environ, p.h.nonce); ours {
			return seq == p.seq
		}
	}
	for range maxDepth {
		if st.ppid == root {
			return true
		}
		if st.ppid <= 1 || st.ppid == p.h.self {
			return false
		}
		if st, err = r.stat(st.ppid); err != nil {
			return false
		}
	}
	return false
}

// signalGroup is called with the lock held and grouped set. The group's number
// cannot belong to others as long as the process itself is not reaped. After
// that it is held by the group's other members. They are nearly always orphans,
// which only the loop reaps, and the loop looks at the group after each of them;
// between the end of another kind of member (the child of one that is alive) and
// that look, the number would have to come round again to hit somebody else.
func (p *process) signalGroup(sig unix.Signal) error {
	return unix.Kill(-p.pid, sig)
}

// abandon makes a process whose end is not awaited any more unreachable.
func (p *process) abandon() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
	p.phase, p.grouped = over, false
	return fmt.Sprintf("%s (pid %d)", p.label, p.pid)
}
