package platform

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A knob is a file of a group that limits what is in it.
type knob struct {
	name, controller, file string
	value                  func(*Limits) string // empty: it is not limited
	lifted                 string               // what is written for no limit
}

var knobs = []knob{
	{"cpu percent", "cpu", "cpu.max", func(l *Limits) string { return unlessZero(int64(l.CPUPercent)*1000, " 100000") }, "max 100000"},
	{"cpu weight", "cpu", "cpu.weight", func(l *Limits) string { return unlessZero(int64(l.CPUWeight), "") }, "100"},
	{"memory max", "memory", "memory.max", func(l *Limits) string { return unlessZero(l.MemoryMax, "") }, "max"},
	{"memory high", "memory", "memory.high", func(l *Limits) string { return unlessZero(l.MemoryHigh, "") }, "max"},
	{"swap max", "memory", "memory.swap.max", func(l *Limits) string { return unlessZero(l.SwapMax, "") }, "max"},
	{"tasks max", "pids", "pids.max", func(l *Limits) string { return unlessZero(int64(l.TasksMax), "") }, "max"},
	{"io read", "io", "rbps", func(l *Limits) string { return unlessZero(l.IORead, "") }, "max"},
	{"io write", "io", "wbps", func(l *Limits) string { return unlessZero(l.IOWrite, "") }, "max"},
	{"io weight", "io", "io.weight", func(l *Limits) string { return unlessZero(int64(l.IOWeight), "") }, "100"},
}

// unlessZero is a number as it is written to a file. Less than zero says none at all.
func unlessZero(n int64, after string) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(max(n, 0), 10) + after
}

// setTree writes the limits of the tree into a group, in which those of before are
// in force, and says which are not.
func (t *cgroupTree) setTree(group string, before, l *Limits) (missing []string) {
	for _, k := range knobs {
		value := k.value(l)
		if !t.controllers[k.controller] {
			if value != "" {
				missing = append(missing, fmt.Sprintf("%s: the group %s has no %s controller", k.name, t.parent, k.controller))
			}
			continue
		}
		if value == k.value(before) {
			continue
		}
		if value == "" {
			value = k.lifted
		}
		if err := t.turn(group, k, value); err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", k.name, err))
		}
	}
	return missing
}

// turn writes one limit.
func (t *cgroupTree) turn(group string, k knob, value string) error {
	write := func(file, value string) error {
		if err := t.write(group+"/"+file, value); err != nil {
			return fmt.Errorf("write %s to %s: %w", value, file, err)
		}
		return nil
	}
	switch k.file {
	case "rbps", "wbps":
		all := disks(sysBlock)
		if len(all) == 0 {
			return errors.New("there is no disk that it could be set for")
		}
		for _, disk := range all {
			if err := write("io.max", disk+" "+k.file+"="+value); err != nil {
				return err
			}
		}
		return nil
	case "io.weight":
		// Which of the two counts is up to what schedules the disk.
		err := write("io.weight", "default "+value)
		n, _ := strconv.Atoi(value)
		if write("io.bfq.weight", strconv.Itoa(bfqWeight(n))) == nil {
			return nil
		}
		return err
	}
	return write(k.file, value)
}

// bfqWeight turns a weight from 1 to 10000 into one from 1 to 1000, with the same
// 100 in the middle, as systemd does.
func bfqWeight(n int) int {
	if n <= 100 {
		return n
	}
	return 100 + (n-100)*(1000-100)/(10000-100)
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

// setStopped sets the limits of a process that has just been exec'ed and is
// stopped before its first instruction, as this thread is tracing it, and lets
// it go on. It says which are not in force; ok is false if the process is dead.
//
// Nothing can be done between fork and exec in a program of Go, and setting
// them later would leave a gap in which it can start others without them.
func setStopped(pid int, l *Limits, own *original) (missing []string, ok bool) {
	var ws unix.WaitStatus
	if _, err := ignoreEINTR(func() (int, error) { return unix.Wait4(pid, &ws, unix.WALL, nil) }); err != nil || !ws.Stopped() {
		return nil, false
	}
	return own.set(pid, []int{pid}, &Limits{}, l), true
}

// missingLimits is the error of a process whose limits are required.
func missingLimits(spec *Spec, missing []string) error {
	return &SpawnError{Path: spec.Path, Why: "limits that are required cannot be had: " + strings.Join(missing, "; "), Err: ErrNotSupported}
}
