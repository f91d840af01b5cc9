package platform

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setTree writes the limits of the tree into a leaf that nothing is in yet, and
// says which are not in force.
func (t *cgroupTree) setTree(leaf string, l *Limits) (missing []string) {
	set := func(name, controller, file string, is bool, value string) {
		if !is {
			return
		}
		if !t.controllers[controller] {
			missing = append(missing, fmt.Sprintf("%s: the group %s has no %s controller", name, t.parent, controller))
		} else if err := t.write(leaf+"/"+file, value); err != nil {
			missing = append(missing, fmt.Sprintf("%s: write %s to %s: %v", name, value, file, err))
		}
	}
	size := func(n int64) string { return strconv.FormatInt(max(n, 0), 10) }
	set("cpu percent", "cpu", "cpu.max", l.CPUPercent != 0, fmt.Sprintf("%d 100000", l.CPUPercent*1000))
	set("cpu weight", "cpu", "cpu.weight", l.CPUWeight != 0, strconv.Itoa(l.CPUWeight))
	set("memory max", "memory", "memory.max", l.MemoryMax != 0, size(l.MemoryMax))
	set("memory high", "memory", "memory.high", l.MemoryHigh != 0, size(l.MemoryHigh))
	set("swap max", "memory", "memory.swap.max", l.SwapMax != 0, size(l.SwapMax))
	set("tasks max", "pids", "pids.max", l.TasksMax != 0, strconv.Itoa(l.TasksMax))
	return missing
}

// oomKills is how many in a leaf were killed for lack of memory.
func (t *cgroupTree) oomKills(r *procReader, leaf string) int {
	if !t.controllers["memory"] {
		return 0
	}
	text, err := r.read(t.path() + "/" + leaf + "/memory.events")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if n, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			return number(bytes.TrimSpace(n))
		}
	}
	return 0
}

// memoryPeak is the most that a leaf has had, 0 if that is not known: Linux tells
// since 5.19.
func (t *cgroupTree) memoryPeak(r *procReader, leaf string) int64 {
	if !t.controllers["memory"] {
		return 0
	}
	text, err := r.read(t.path() + "/" + leaf + "/memory.peak")
	if err != nil {
		return 0
	}
	return int64(decimal(text))
}

func anySet(settings []setting) bool {
	for _, l := range settings {
		if l.set {
			return true
		}
	}
	return false
}

// setStopped sets the limits of a process that has just been exec'ed and is
// stopped before its first instruction, as this thread is tracing it, and lets
// it go on. It says which are not in force; ok is false if the process is dead.
//
// Nothing can be done between fork and exec in a program of Go, and setting
// them later would leave a gap in which it can start others without them.
func setStopped(pid int, l *Limits) (missing []string, ok bool) {
	var ws unix.WaitStatus
	if _, err := ignoreEINTR(func() (int, error) { return unix.Wait4(pid, &ws, unix.WALL, nil) }); err != nil || !ws.Stopped() {
		return nil, false
	}
	return setProcess(pid, l), true
}

// setProcess sets the limits that belong to a process, and says which are not in force.
func setProcess(pid int, l *Limits) (missing []string) {
	set := func(name string, is bool, f func() error) {
		if is {
			if err := f(); err != nil {
				missing = append(missing, name+": "+err.Error())
			}
		}
	}
	rlimit := func(resource int, n int64) func() error {
		return func() error {
			v := uint64(max(n, 0))
			return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: v, Max: v}, nil)
		}
	}
	set("open files", l.OpenFiles != 0, rlimit(unix.RLIMIT_NOFILE, int64(l.OpenFiles)))
	set("core", l.Core != 0, rlimit(unix.RLIMIT_CORE, l.Core))
	set("nice", l.Nice != 0, func() error { return unix.Setpriority(unix.PRIO_PROCESS, pid, l.Nice) })
	set("oom score adjust", l.OOMScoreAdjust != 0, func() error {
		return writeFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", strconv.Itoa(l.OOMScoreAdjust))
	})
	set("cpu affinity", len(l.CPUs) > 0, func() error {
		var cpus unix.CPUSet
		for _, n := range l.CPUs {
			cpus.Set(n)
			if !cpus.IsSet(n) { // more than the set has room for
				return unix.EINVAL
			}
		}
		return unix.SchedSetaffinity(pid, &cpus)
	})
	return missing
}

// missingLimits is the error of a process whose limits are required.
func missingLimits(spec *Spec, missing []string) error {
	return &SpawnError{Path: spec.Path, Why: "limits that are required cannot be had: " + strings.Join(missing, "; "), Err: ErrNotSupported}
}
