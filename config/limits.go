package config

import (
	"fmt"
	"strconv"
)

// ResourceLimits are what the processes of a collector may use at most, all of
// them together where nothing else is said ([collectors.<id>.resource_limits]).
// A zero field is no limit; None says a real zero where that is allowed.
type ResourceLimits struct {
	CPUPercent   int // of one processor: 150 is one and a half
	CPUWeight    int // 1 to 10000, beside others that want the processor too; the system's default is 100
	MemoryMaxMB  int // MiB; what needs more is killed
	MemoryHighMB int // MiB; above it memory is taken back, and the collector slowed down
	SwapMaxMB    int // MiB. None: nothing is swapped out.
	TasksMax     int // processes and threads

	OpenFiles      int   // descriptors of each process
	CoreMB         int   // MiB of each core dump. None: there are none.
	Nice           int   // -20 to 19; the system's default is 0
	OOMScoreAdjust int   // -1000 (never killed for lack of memory) to 1000 (the first to be)
	CPUAffinity    []int // the processors it runs on, counted from 0

	// Required has the collector not started where one of the limits cannot be
	// had. Without it that is a warning.
	Required bool
}

// The largest numbers.
const (
	maxWeight    = 10_000
	maxMB        = 1 << 30 // a pebibyte
	maxProcessor = 8191
)

func (f *findings) limits(key func(...string) string, l ResourceLimits) {
	at := func(name string) string { return key("resource_limits", name) }
	whole := func(name string, n, least, most int, none bool) {
		if n == 0 || none && n == None || least <= n && n <= most {
			return
		}
		f.add(at(name), strconv.Itoa(n), fmt.Sprintf("%d is out of range", n), fmt.Sprintf("use %d to %d", least, most))
	}
	whole("cpu_percent", l.CPUPercent, 1, 100*(maxProcessor+1), false)
	whole("cpu_weight", l.CPUWeight, 1, maxWeight, false)
	whole("memory_max_mb", l.MemoryMaxMB, 1, maxMB, false)
	whole("memory_high_mb", l.MemoryHighMB, 1, maxMB, false)
	whole("swap_max_mb", l.SwapMaxMB, 1, maxMB, true)
	whole("tasks_max", l.TasksMax, 1, 1<<22, false)
	whole("open_files", l.OpenFiles, 4, 1<<30, false)
	whole("core_mb", l.CoreMB, 1, maxMB, true)
	whole("nice", l.Nice, -20, 19, false)
	whole("oom_score_adjust", l.OOMScoreAdjust, -1000, 1000, false)
	for i, n := range l.CPUAffinity {
		if n < 0 || n > maxProcessor {
			f.add(Element(at("cpu_affinity"), i), strconv.Itoa(n), fmt.Sprintf("there is no processor %d", n), fmt.Sprintf("use 0 to %d", maxProcessor))
		}
	}
	if l.MemoryMaxMB > 0 && l.MemoryHighMB > l.MemoryMaxMB {
		f.add(at("memory_high_mb"), strconv.Itoa(l.MemoryHighMB), fmt.Sprintf("memory_high_mb = %d is never reached: the collector is killed at %d", l.MemoryHighMB, l.MemoryMaxMB),
			"use less than memory_max_mb", at("memory_max_mb"))
	}
}
