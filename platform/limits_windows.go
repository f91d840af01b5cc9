package platform

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Limits on Windows are those of the job that a tree is in. What needs more memory
// is not killed: it is not given any. Tasks are processes. A priority is one of five
// classes.

// unmetHere are the limits that this system does not have.
func unmetHere(l *Limits) []string {
	return unmet([]setting{
		{"cpu weight", l.CPUWeight != 0}, {"memory high", l.MemoryHigh != 0}, {"swap max", l.SwapMax != 0},
		{"io read", l.IORead != 0}, {"io write", l.IOWrite != 0}, {"io weight", l.IOWeight != 0},
		{"open files", l.OpenFiles != 0}, {"core", l.Core != 0}, {"oom score adjust", l.OOMScoreAdjust != 0},
	}, ErrNotSupported.Error())
}

func unmetOfGroups(within []Group) (missing []string) {
	for _, g := range within {
		for _, m := range unmet(g.Limits.ofTree(), ErrNotSupported.Error()) {
			missing = append(missing, ofGroup+g.Name+": "+m)
		}
	}
	return missing
}

// cpuRate is JOBOBJECT_CPU_RATE_CONTROL_INFORMATION.
type cpuRate struct{ flags, rate uint32 }

const (
	cpuRateEnable  = 0x1
	cpuRateHardCap = 0x4
)

// rateOf is a part of one processor as a part of all of them, in hundredths of a
// percent.
func rateOf(percent, processors int) uint32 {
	return uint32(min(max(percent*100/processors, 1), 10_000))
}

// classOf is the class for a nice value.
func classOf(nice int) uint32 {
	switch {
	case nice <= -10:
		return windows.HIGH_PRIORITY_CLASS
	case nice < 0:
		return windows.ABOVE_NORMAL_PRIORITY_CLASS
	case nice == 0:
		return windows.NORMAL_PRIORITY_CLASS
	case nice < 10:
		return windows.BELOW_NORMAL_PRIORITY_CLASS
	}
	return windows.IDLE_PRIORITY_CLASS
}

// maskOf is a set of processors; false: one of them is beyond it.
func maskOf(cpus []int) (mask uintptr, ok bool) {
	for _, n := range cpus {
		if n >= bits.UintSize {
			return 0, false
		}
		mask |= 1 << n
	}
	return mask, true
}

// setJob puts limits in force for a job, in which those of before are, and says
// which are not.
func setJob(job windows.Handle, before, l *Limits) (missing []string) {
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	basic := &info.BasicLimitInformation
	basic.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	put := func() error {
		_, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
		return err
	}
	// One after the other, so that it is known which one is refused.
	set := func(name string, is bool, flag uint32, fill func() error) {
		if !is {
			return
		}
		err := fill()
		if err == nil {
			basic.LimitFlags |= flag
			err = put()
		}
		if err != nil {
			basic.LimitFlags &^= flag
			missing = append(missing, name+": "+err.Error())
		}
	}
	// Processes keep a class and a set of processors that they were given when the
	// limit is lifted: so they are given what there is without it before.
	lift := func(flag uint32) {
		basic.LimitFlags |= flag
		_ = put()
		basic.LimitFlags &^= flag
	}
	if before.Nice != 0 && l.Nice == 0 {
		basic.PriorityClass = windows.NORMAL_PRIORITY_CLASS
		lift(windows.JOB_OBJECT_LIMIT_PRIORITY_CLASS)
	}
	if len(before.CPUs) > 0 && len(l.CPUs) == 0 {
		var own, all uintptr
		if processAffinity(windows.CurrentProcess(), &own, &all) {
			basic.Affinity = all
			lift(windows.JOB_OBJECT_LIMIT_AFFINITY)
		}
	}
	if err := put(); err != nil {
		return []string{"all limits: " + err.Error()}
	}
	set("memory max", l.MemoryMax != 0, windows.JOB_OBJECT_LIMIT_JOB_MEMORY, func() error {
		info.JobMemoryLimit = uintptr(min(l.MemoryMax, math.MaxInt))
		return nil
	})
	set("tasks max", l.TasksMax != 0, windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS, func() error {
		basic.ActiveProcessLimit = uint32(l.TasksMax)
		return nil
	})
	set("nice", l.Nice != 0, windows.JOB_OBJECT_LIMIT_PRIORITY_CLASS, func() error {
		basic.PriorityClass = classOf(l.Nice)
		return nil
	})
	set("cpu affinity", len(l.CPUs) > 0, windows.JOB_OBJECT_LIMIT_AFFINITY, func() error {
		mask, ok := maskOf(l.CPUs)
		if !ok {
			return fmt.Errorf("only processors 0 to %d can be named: %w", bits.UintSize-1, ErrNotSupported)
		}
		basic.Affinity = mask
		return nil
	})
	if l.CPUPercent != before.CPUPercent {
		var rate cpuRate
		if l.CPUPercent != 0 {
			rate = cpuRate{cpuRateEnable | cpuRateHardCap, rateOf(l.CPUPercent, runtime.NumCPU())}
		}
		if _, err := windows.SetInformationJobObject(job, windows.JobObjectCpuRateControlInformation, uintptr(unsafe.Pointer(&rate)), uint32(unsafe.Sizeof(rate))); err != nil {
			missing = append(missing, "cpu percent: "+err.Error())
		}
	}
	return missing
}

var procGetProcessAffinityMask = kernel32.NewProc("GetProcessAffinityMask")

func processAffinity(process windows.Handle, own, all *uintptr) bool {
	ok, _, _ := procGetProcessAffinityMask.Call(uintptr(process), uintptr(unsafe.Pointer(own)), uintptr(unsafe.Pointer(all)))
	return ok != 0
}

// limitJob gives a new job the limits of a spec, and says which are not in force.
func limitJob(job windows.Handle, spec *Spec) (missing []string, err error) {
	l := &spec.Limits
	own := append(unmetHere(l), setJob(job, &Limits{}, l)...)
	groups := unmetOfGroups(spec.Within)
	lacking := l.Required && len(own) > 0
	for _, g := range spec.Within {
		lacking = lacking || g.Limits.Required && anySet(g.Limits.ofTree())
	}
	missing = append(own, groups...)
	if lacking {
		return nil, &SpawnError{Path: spec.Path, Why: "limits that are required cannot be had: " + strings.Join(missing, "; "), Err: ErrNotSupported}
	}
	unconfined, err := confinementOf(spec)
	return append(missing, unconfined...), err
}

func (p *process) Limit(l Limits, within []Group, done func(unmet []string, err error)) {
	missing, err := p.limit(&l, within)
	go done(missing, err) // not from here: the caller may hold what done wants
}

func (p *process) limit(l *Limits, within []Group) (missing []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != running && p.phase != exited {
		return nil, ErrNotRunning
	}
	missing = append(unmetHere(l), setJob(p.job, &p.limits, l)...)
	if l.Required && len(missing) > 0 {
		setJob(p.job, l, &p.limits)
		return nil, missingLive(p.label, missing)
	}
	p.limits = *l
	return append(missing, unmetOfGroups(within)...), nil
}
