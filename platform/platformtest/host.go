// Package platformtest is a computer that exists in memory only: a
// platform.Host whose processes do what a test says. It is for what reality
// cannot produce on demand, such as a process that survives SIGKILL, and for
// hours of supervision in a moment: all its delays are timers, so that inside a
// testing/synctest bubble they take no time.
package platformtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/proctord/proctor/platform"
)

// A Program is how one process behaves. The zero value is one that starts at
// once, runs until it is asked to end, and then ends at once with code 0.
type Program struct {
	// SpawnDelay is how long it is in the making. SpawnError, if set, is what
	// comes of that. Panic, if set, is what Start panics with.
	SpawnDelay time.Duration
	SpawnError error
	Panic      any

	// Lives is after how long it ends by itself, as Exit says. Zero: never.
	Lives time.Duration
	Exit  platform.Exit

	// StopDelay is how long it takes to end once it was asked to, with StopCode.
	// Deaf: it does not listen.
	StopDelay time.Duration
	StopCode  int
	Deaf      bool

	// KillDelay is how long it takes to end once it was killed.
	// Unkillable: it does not, until Host.Release.
	KillDelay  time.Duration
	Unkillable bool

	// Leaves says that it leaves something behind, outside its group, that ends
	// when it is killed, which takes KillDelay again; or, unless LeftDeaf, when
	// it is asked to, which takes StopDelay again.
	Leaves   bool
	LeftDeaf bool

	// NoSuspend is what Suspend and Resume fail with, if set.
	NoSuspend error

	// Unmet are the limits that are not in force, whatever is asked for. NoLimit is
	// what Limit fails with, if set; LimitDelay is how long that takes.
	Unmet      []string
	NoLimit    error
	LimitDelay time.Duration

	// Usage, if set, is what it uses that long after it was spawned. Host.Usage fills
	// in when that was.
	Usage func(age time.Duration) platform.Usage
}

// Host is a computer in memory. Its methods may be called from any goroutine.
type Host struct {
	script func(spec platform.Spec, nth int) Program

	// A fake of leaf I/O: the lock stands for the kernel's.
	mu      sync.Mutex
	pid     int
	starts  map[string]int
	living  map[string]int // processes and remains, by label
	most    map[string]int
	procs   []*process // those that are not emptied
	news    []*process // those whose observers have not been told all
	signals map[string][]platform.Signal
	looks   map[string]int
	closed  bool
}

// New returns a host on which what spec starts behaves as script says. Nth
// counts the starts of the spec's label, from 1. A nil script: the zero Program.
func New(script func(spec platform.Spec, nth int) Program) *Host {
	if script == nil {
		script = func(platform.Spec, int) Program { return Program{} }
	}
	return &Host{
		script: script, pid: 1000,
		starts: map[string]int{}, living: map[string]int{}, most: map[string]int{}, signals: map[string][]platform.Signal{}, looks: map[string]int{},
	}
}

type process struct {
	host    *Host
	spec    platform.Spec
	program Program
	notify  func(platform.Notice)
	past    []platform.Notice
	told    int  // how many of past the observer has been given
	telling bool // somebody is giving it one

	pid       int
	at        time.Time // when it was spawned
	spawned   bool
	failed    bool
	exited    bool
	emptied   bool
	suspended bool
	killed    bool
	pending   []func() // what waits for it to be continued
}

// Start implements platform.Host.
func (h *Host) Start(spec platform.Spec, notify func(platform.Notice)) platform.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.starts[spec.Label]++
	p := &process{host: h, spec: spec, notify: notify, program: h.script(spec, h.starts[spec.Label])}
	if p.program.Panic != nil {
		panic(p.program.Panic)
	}
	if h.closed {
		p.program.SpawnError = errors.New("the host is closed")
	}
	h.procs = append(h.procs, p)
	h.later(p.program.SpawnDelay, p.spawn)
	return p
}

// later runs f under the lock, never before the caller has let go of it.
func (h *Host) later(after time.Duration, f func()) {
	time.AfterFunc(after, func() {
		h.mu.Lock()
		f()
		h.mu.Unlock()
		h.deliver()
	})
}

// tell writes down what deliver is to tell, outside the lock.
func (p *process) tell(n platform.Notice) {
	n.PID = p.pid
	p.past = append(p.past, n)
	if !slices.Contains(p.host.news, p) {
		p.host.news = append(p.host.news, p)
	}
}

// deliver tells observers what there is to tell, each one thing at a time.
func (h *Host) deliver() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := 0; i < len(h.news); {
		p := h.news[i]
		if p.telling {
			i++ // whoever is at it goes on
			continue
		}
		h.news = slices.Delete(h.news, i, i+1)
		p.telling = true
		for p.told < len(p.past) {
			notify, n := p.notify, p.past[p.told]
			p.told++
			h.mu.Unlock()
			notify(n)
			h.mu.Lock()
		}
		p.telling = false
		i = 0 // the list may have changed meanwhile
	}
}

func (p *process) spawn() {
	h := p.host
	if p.spec.Find != nil {
		path, err := p.spec.Find()
		if err != nil {
			p.program.SpawnError = err
		}
		p.spec.Path = path
	}
	if err := p.program.SpawnError; err != nil {
		p.failed = true
		h.forget(p)
		p.tell(platform.Notice{Kind: platform.SpawnFailed, Err: err})
		return
	}
	h.pid++
	p.pid, p.at, p.spawned = h.pid, time.Now(), true
	h.living[p.spec.Label]++
	h.most[p.spec.Label] = max(h.most[p.spec.Label], h.living[p.spec.Label])
	p.tell(platform.Notice{Kind: platform.Spawned, Path: p.spec.Path, Unmet: p.program.Unmet})
	if p.killed {
		p.die()
		return
	}
	if p.program.Lives > 0 {
		h.later(p.program.Lives, func() { p.exit(p.program.Exit) })
	}
}

// exit ends the process itself, unless it has ended or is held.
func (p *process) exit(e platform.Exit) {
	if p.exited || !p.spawned || p.program.Unkillable && p.killed {
		return
	}
	p.exited = true
	e.At = time.Now()
	if e.Signal != 0 {
		e.Code = -1
	}
	left := p.program.Leaves
	p.tell(platform.Notice{Kind: platform.Exited, Exit: e, Empty: !left})
	if !left {
		p.empty()
	} else if p.killed {
		p.host.later(p.program.KillDelay, p.empty)
	}
}

func (p *process) empty() {
	if p.emptied || !p.exited {
		return
	}
	p.emptied = true
	p.host.living[p.spec.Label]--
	p.host.forget(p)
	last := p.past[len(p.past)-1]
	p.tell(platform.Notice{Kind: platform.Emptied, Exit: last.Exit})
}

func (h *Host) forget(p *process) {
	h.procs = slices.DeleteFunc(h.procs, func(q *process) bool { return p == q })
}

// die is SIGKILL arriving.
func (p *process) die() {
	if p.program.Unkillable {
		return
	}
	p.host.later(p.program.KillDelay, func() {
		p.exit(platform.Exit{Signal: platform.Signal(syscall.SIGKILL)})
	})
	if p.exited {
		p.host.later(p.program.KillDelay, p.empty)
	}
}

// PID implements platform.Process.
func (p *process) PID() int {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	return p.pid
}

// Observe implements platform.Process.
func (p *process) Observe(notify func(platform.Notice)) {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	p.notify, p.told = notify, 0
	p.host.news = append(p.host.news, p)
	p.host.later(0, func() {}) // not from here: the caller may hold what notify wants
}

// Terminate implements platform.Process.
func (p *process) Terminate() error {
	s := p.spec.StopSignal
	if s == 0 {
		s = platform.Signal(syscall.SIGTERM)
	}
	return p.Signal(s, true)
}

// Kill implements platform.Process.
func (p *process) Kill() {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.killed || p.emptied {
		return
	}
	p.killed = true
	if p.spawned {
		p.die()
	}
}

// TerminateOrphans implements platform.Process.
func (p *process) TerminateOrphans() {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.exited && !p.program.LeftDeaf {
		p.host.later(p.program.StopDelay, p.empty)
	}
}

// Suspend implements platform.Process.
func (p *process) Suspend() error {
	return p.alive(func() error {
		if p.program.NoSuspend == nil {
			p.suspended = true
		}
		return p.program.NoSuspend
	})
}

// Resume implements platform.Process.
func (p *process) Resume() error {
	return p.alive(func() error {
		if p.program.NoSuspend != nil {
			return p.program.NoSuspend
		}
		p.suspended = false
		for _, f := range p.pending {
			f()
		}
		p.pending = nil
		return nil
	})
}

// Signal implements platform.Process.
func (p *process) Signal(s platform.Signal, _ bool) error {
	return p.alive(func() error {
		h := p.host
		h.signals[p.spec.Label] = append(h.signals[p.spec.Label], s)
		switch s {
		case platform.Signal(syscall.SIGKILL):
			h.later(0, func() { p.exit(platform.Exit{Signal: s}) })
		case p.spec.StopSignal, platform.Signal(syscall.SIGTERM):
			end := func() {
				if !p.program.Deaf {
					h.later(p.program.StopDelay, func() { p.exit(platform.Exit{Code: p.program.StopCode}) })
				}
			}
			if p.suspended {
				p.pending = append(p.pending, end)
			} else {
				end()
			}
		}
		return nil
	})
}

// Limit implements platform.Process.
func (p *process) Limit(l platform.Limits, within []platform.Group, done func([]string, error)) {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	time.AfterFunc(p.program.LimitDelay, func() {
		p.host.mu.Lock()
		unmet, err := p.program.Unmet, p.program.NoLimit
		switch {
		case !p.spawned || p.emptied:
			err = platform.ErrNotRunning
		case err == nil:
			p.spec.Limits, p.spec.Within = l, within
		}
		p.host.mu.Unlock()
		if err != nil {
			unmet = nil
		}
		done(unmet, err)
	})
}

// Holds implements platform.Process: there is nothing but the process itself.
func (p *process) Holds(pid int) bool {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	return p.spawned && !p.emptied && pid == p.pid
}

func (p *process) alive(f func() error) error {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if !p.spawned || p.exited {
		return platform.ErrNotRunning
	}
	return f()
}

// Close implements platform.Host.
func (h *Host) Close() error {
	defer h.deliver()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	var left []error
	for _, p := range slices.Clone(h.procs) {
		p.killed = true
		switch {
		case !p.spawned:
		case p.program.Unkillable:
			left = append(left, fmt.Errorf("%s: process %d would not end", p.spec.Label, p.pid))
		default:
			p.exit(platform.Exit{Signal: platform.Signal(syscall.SIGKILL)})
			p.empty()
		}
	}
	return errors.Join(left...)
}

// Crash makes the process of that label end by itself, now, and reports whether
// there was one.
func (h *Host) Crash(label string, e platform.Exit) bool {
	defer h.deliver()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.procs {
		if p.spec.Label == label && p.spawned && !p.exited {
			p.exit(e)
			return p.exited
		}
	}
	return false
}

// Release lets go of unkillable processes of that label that have been killed.
func (h *Host) Release(label string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range slices.Clone(h.procs) {
		if p.spec.Label == label {
			p.program.Unkillable = false
			if p.killed && p.spawned {
				p.die()
			}
		}
	}
}

// Starts is how often a process of that label was asked for.
func (h *Host) Starts(label string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.starts[label]
}

// Living is how many processes of that label there are, remains included.
func (h *Host) Living(label string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.living[label]
}

// Most is how many processes of that label there were at once at the most.
func (h *Host) Most(label string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.most[label]
}

// Left lists the labels of all processes that are there, or in the making.
func (h *Host) Left() (labels []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.procs {
		labels = append(labels, p.spec.Label)
	}
	return labels
}

// Usage implements platform.Host.
func (h *Host) Usage(of []platform.Process, _ platform.Detail, into []platform.Usage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range of {
		into[i] = platform.Usage{}
		p, ok := p.(*process)
		if !ok || p.host != h || !p.spawned || p.emptied {
			continue
		}
		h.looks[p.spec.Label]++
		if usage := p.program.Usage; usage != nil {
			now := time.Now()
			into[i] = usage(now.Sub(p.at))
			into[i].At = now
		}
	}
}

// Looks is how often somebody has asked what processes of that label use.
func (h *Host) Looks(label string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looks[label]
}

// Limits are those of the process of that label, and of the groups that it is in.
func (h *Host) Limits(label string) (platform.Limits, []platform.Group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.procs {
		if p.spec.Label == label {
			return p.spec.Limits, p.spec.Within
		}
	}
	return platform.Limits{}, nil
}

// Suspended reports whether the process of that label is suspended.
func (h *Host) Suspended(label string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.procs {
		if p.spec.Label == label {
			return p.suspended
		}
	}
	return false
}

// Signals lists what was sent to processes of that label, Kill excepted.
func (h *Host) Signals(label string) []platform.Signal {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.signals[label])
}
