package platform

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Limits are what a process and its tree may use. The zero value of a field is
// no limit, and -1 says none at all where that is possible.
type Limits struct {
	// Of the whole tree.
	CPUPercent int   // processor time, in percent of one processor
	CPUWeight  int   // 1 to 10000, beside others that want the processor
	MemoryMax  int64 // bytes; what needs more is killed
	MemoryHigh int64 // bytes; above it memory is taken back
	SwapMax    int64 // bytes, or -1
	TasksMax   int   // processes and threads
	IORead     int64 // bytes in a second, from each disk
	IOWrite    int64 // bytes in a second, to each disk
	IOWeight   int   // 1 to 10000, beside others that want the disks

	// Of each process, or handed on by the first one.
	OpenFiles      int
	Core           int64 // size of a core dump in bytes, or -1
	Nice           int
	OOMScoreAdjust int
	CPUs           []int // it may run on these processors only

	// Required has the start fail where one of them cannot be had. Without it
	// Spawned tells of these in Notice.Unmet.
	Required bool
}

// A Group is one that processes belong to, with what all of them, and those of the
// groups within it, may use together: limits of the tree only. What was said of a
// group last, by the start of a process or by Process.Limit, is in force.
type Group struct {
	Name   string // of letters, digits, '-', '_' and '.'
	Limits Limits
}

// A setting is one of the Limits, and whether it is set.
type setting struct {
	name string
	set  bool
}

func (l *Limits) ofTree() []setting {
	return []setting{
		{"cpu percent", l.CPUPercent != 0}, {"cpu weight", l.CPUWeight != 0}, {"memory max", l.MemoryMax != 0},
		{"memory high", l.MemoryHigh != 0}, {"swap max", l.SwapMax != 0}, {"tasks max", l.TasksMax != 0},
		{"io read", l.IORead != 0}, {"io write", l.IOWrite != 0}, {"io weight", l.IOWeight != 0},
	}
}

func (l *Limits) ofProcess() []setting {
	return []setting{
		{"open files", l.OpenFiles != 0}, {"core", l.Core != 0}, {"nice", l.Nice != 0},
		{"oom score adjust", l.OOMScoreAdjust != 0}, {"cpu affinity", len(l.CPUs) > 0},
	}
}

// unmet says of those that are set why there are none.
func unmet(settings []setting, why string) (all []string) {
	for _, l := range settings {
		if l.set {
			all = append(all, l.name+": "+why)
		}
	}
	return all
}

// IsLimit reports whether an element of Notice.Unmet is about a limit.
func IsLimit(unmet string) bool {
	if strings.HasPrefix(unmet, ofGroup) {
		return true
	}
	var l Limits
	name, _, _ := strings.Cut(unmet, ":")
	return slices.ContainsFunc(append(l.ofTree(), l.ofProcess()...), func(s setting) bool { return s.name == name })
}

// ofGroup is before what is said of a limit of a group.
const ofGroup = "of group "

// sameLimits reports whether both are the same, whether they are required or not.
func sameLimits(a, b *Limits) bool {
	x, y := *a, *b
	same := slices.Equal(x.CPUs, y.CPUs)
	x.CPUs, y.CPUs, x.Required, y.Required = nil, nil, false, false
	return same && reflect.DeepEqual(x, y)
}

// missingLive is the error of a process whose limits are required, and cannot be changed.
func missingLive(label string, missing []string) error {
	return fmt.Errorf("limits of %s that are required cannot be had, and those before stay: %s: %w", label, strings.Join(missing, "; "), ErrNotSupported)
}

func anySet(settings []setting) bool {
	for _, l := range settings {
		if l.set {
			return true
		}
	}
	return false
}
