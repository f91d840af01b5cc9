package platform

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// original is what a process had before limits were set, which is what they are
// lifted to. What was never limited is not known.
type original struct {
	openFiles, core *unix.Rlimit
	nice            *int
	oomScore        string
	cpus            *unix.CPUSet
}

// note writes down what the process has of what l limits.
func (o *original) note(pid int, l *Limits) {
	rlimit := func(into **unix.Rlimit, resource int) {
		var r unix.Rlimit
		if *into == nil && unix.Prlimit(pid, resource, nil, &r) == nil {
			*into = &r
		}
	}
	if l.OpenFiles != 0 {
		rlimit(&o.openFiles, unix.RLIMIT_NOFILE)
	}
	if l.Core != 0 {
		rlimit(&o.core, unix.RLIMIT_CORE)
	}
	if l.Nice != 0 && o.nice == nil {
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err == nil {
			n = 20 - n // as the system call has it
			o.nice = &n
		}
	}
	if l.OOMScoreAdjust != 0 && o.oomScore == "" {
		text, _ := os.ReadFile(oomScorePath(pid))
		o.oomScore = strings.TrimSpace(string(text))
	}
	if len(l.CPUs) > 0 && o.cpus == nil {
		var set unix.CPUSet
		if unix.SchedGetaffinity(pid, &set) == nil {
			o.cpus = &set
		}
	}
}

func oomScorePath(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/oom_score_adj" }

// set puts the limits of l that belong to a process in force for all of pids, as
// far as they are not those of before, and says which are not. First is the one
// whose own values are taken for what there was without limits.
//
// A number may be given away between a look at a tree and this, if its process
// ends just then and all others have been used since: that is not guarded against.
func (o *original) set(first int, pids []int, before, l *Limits) (missing []string) {
	o.note(first, l)
	each := func(name string, changed bool, f func(pid int) error) {
		if !changed {
			return
		}
		for _, pid := range pids {
			if err := f(pid); err != nil && (err != unix.ESRCH && !errors.Is(err, os.ErrNotExist) || pid == first) {
				missing = append(missing, fmt.Sprintf("%s: %v", name, err))
				return
			}
		}
	}
	rlimit := func(name string, resource int, was, is int64, lifted *unix.Rlimit) {
		v := uint64(max(is, 0))
		to := &unix.Rlimit{Cur: v, Max: v}
		if is == 0 {
			to = lifted
		}
		each(name, was != is && to != nil, func(pid int) error { return unix.Prlimit(pid, resource, to, nil) })
	}
	rlimit("open files", unix.RLIMIT_NOFILE, int64(before.OpenFiles), int64(l.OpenFiles), o.openFiles)
	rlimit("core", unix.RLIMIT_CORE, before.Core, l.Core, o.core)
	nice := l.Nice
	if nice == 0 && o.nice != nil {
		nice = *o.nice
	}
	each("nice", before.Nice != l.Nice, func(pid int) error {
		return eachThread(pid, func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, nice) })
	})
	score := strconv.Itoa(l.OOMScoreAdjust)
	if l.OOMScoreAdjust == 0 && o.oomScore != "" {
		score = o.oomScore
	}
	each("oom score adjust", before.OOMScoreAdjust != l.OOMScoreAdjust, func(pid int) error { return writeFile(oomScorePath(pid), score) })
	var cpus unix.CPUSet
	fits := true
	for _, n := range l.CPUs {
		cpus.Set(n)
		fits = fits && cpus.IsSet(n) // else it is more than the set has room for
	}
	if len(l.CPUs) == 0 && o.cpus != nil {
		cpus = *o.cpus
	}
	each("cpu affinity", !slices.Equal(before.CPUs, l.CPUs), func(pid int) error {
		if !fits {
			return unix.EINVAL
		}
		return eachThread(pid, func(tid int) error { return unix.SchedSetaffinity(tid, &cpus) })
	})
	return missing
}

// eachThread calls f with each thread of a process, those that it starts meanwhile
// included. One that is gone is no error, but for the process itself.
func eachThread(pid int, f func(tid int) error) error {
	if err := f(pid); err != nil {
		return err
	}
	done := map[int]bool{pid: true}
	for again := true; again; {
		again = false
		for _, tid := range listNumbers("/proc/" + strconv.Itoa(pid) + "/task") {
			if done[tid] {
				continue
			}
			done[tid], again = true, true
			if err := f(tid); err != nil && err != unix.ESRCH {
				return err
			}
		}
	}
	return nil
}

func (p *process) Limit(l Limits, within []Group, done func(unmet []string, err error)) {
	h := p.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing.Load() { // else Close waits for it
		go done(nil, ErrNotRunning)
		return
	}
	h.workers.Go(func() { done(p.limit(&l, within)) }) // to lower a limit of memory may take its time
}

func (p *process) limit(l *Limits, within []Group) (missing []string, err error) {
	p.mu.Lock()
	began, before, leaf := p.phase, p.limits, p.leaf
	p.mu.Unlock()
	if began != running && began != exited {
		return nil, ErrNotRunning
	}
	own := p.putInForce(leaf, &before, l)
	p.mu.Lock()
	gone := p.phase != began
	p.mu.Unlock()
	if gone && len(own) > 0 { // that is why
		return nil, ErrNotRunning
	}
	if l.Required && len(own) > 0 {
		_ = p.putInForce(leaf, l, &before)
		return nil, missingLive(p.label, own)
	}
	p.mu.Lock()
	p.limits = *l
	p.mu.Unlock()
	if p.h.cgroups == nil {
		for _, g := range within {
			missing = append(missing, p.h.unmetOfGroup(g)...)
		}
		return append(own, missing...), nil
	}
	_, missing, _, err = p.h.cgroups.place(within)
	return append(own, missing...), err
}

func (p *process) putInForce(leaf string, before, l *Limits) (missing []string) {
	if leaf != "" {
		missing = p.h.cgroups.setTree(leaf, before, l)
	} else {
		missing = unmet(l.ofTree(), p.h.whyNoGroups())
	}
	if !anySet(before.ofProcess()) && !anySet(l.ofProcess()) {
		return missing
	}
	// What is just being started inherits the limits of whoever starts it, so that
	// there is an end to this.
	seen := map[int]bool{}
	for range 10 {
		var fresh []int
		for _, pid := range p.tree() {
			if !seen[pid] {
				seen[pid] = true
				fresh = append(fresh, pid)
			}
		}
		if len(fresh) == 0 {
			break
		}
		first := fresh[0]
		if p.PID() != 0 && slices.Contains(fresh, p.PID()) {
			first = p.PID()
		}
		for _, m := range p.original.set(first, fresh, before, l) {
			if !slices.Contains(missing, m) {
				missing = append(missing, m)
			}
		}
	}
	return missing
}

// tree are the processes of the tree at this moment.
func (p *process) tree() []int {
	p.mu.Lock()
	leaf, pid, itself := p.leaf, p.pid, p.phase == running
	p.mu.Unlock()
	g := gauge{h: p.h, text: make([]byte, 8192), path: make([]byte, 0, 256)}
	g.reader.byThread = p.h.adopted.fd >= 0
	if leaf != "" {
		g.members(leaf)
		return g.pids
	}
	return g.tree(p, pid, itself)
}

// lack takes in limits of a process that is being started that are not in force.
func (p *process) lack(missing []string) {
	p.unmet = append(p.unmet, missing...)
	if p.spec.Limits.Required {
		p.lacking = append(p.lacking, missing...)
	}
}

// withoutGroups takes in what is not to be had of a process without cgroups.
func (p *process) withoutGroups(spec *Spec) {
	p.lack(unmet(spec.Limits.ofTree(), p.h.whyNoGroups()))
	for _, g := range spec.Within {
		missing := p.h.unmetOfGroup(g)
		p.unmet = append(p.unmet, missing...)
		if g.Limits.Required {
			p.lacking = append(p.lacking, missing...)
		}
	}
}

func (h *host) whyNoGroups() string {
	return "there is no cgroup to set it for: " + h.noCgroups.Error()
}

func (h *host) unmetOfGroup(g Group) (missing []string) {
	for _, m := range unmet(g.Limits.ofTree(), h.whyNoGroups()) {
		missing = append(missing, ofGroup+g.Name+": "+m)
	}
	return missing
}
