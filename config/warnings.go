package config

import (
	"fmt"
	"strconv"
	"time"
)

// Warnings say how much of something a collector may use, for how long, before that
// is told ([collectors.<id>.warn]). While one of them is set, somebody looks
// from time to time. Zero: that is not looked at.
type Warnings struct {
	MemoryPercent int // of ResourceLimits.MemoryMaxMB or, without that, of MemoryHighMB
	CPUPercent    int // of one processor: 150 is one and a half
	TasksPercent  int // of ResourceLimits.TasksMax

	// For is how long it has to last. Zero: 60 s. None: one look is enough.
	For time.Duration
}

// DefaultWarningTime is Warnings.For where it is not said.
const DefaultWarningTime = 60 * time.Second

// Set reports whether there is anything to warn of.
func (w Warnings) Set() bool { return w.MemoryPercent > 0 || w.CPUPercent > 0 || w.TasksPercent > 0 }

// MemoryLimit is what MemoryPercent is of, in bytes; 0: there is no limit.
func (l ResourceLimits) MemoryLimit() int64 {
	if l.MemoryMaxMB > 0 {
		return int64(l.MemoryMaxMB) << 20
	}
	return int64(max(l.MemoryHighMB, 0)) << 20
}

func (f *findings) warnings(key func(parts ...string) string, c Collector) {
	at := func(name string) string { return key("warn", name) }
	w, l := c.Warn, c.ResourceLimits
	percent := func(name string, n, most int) {
		if n < 0 || n > most {
			f.add(at(name), strconv.Itoa(n), fmt.Sprintf("%d is out of range", n), fmt.Sprintf("use 1 to %d", most))
		}
	}
	percent("memory_percent", w.MemoryPercent, 100)
	percent("cpu_percent", w.CPUPercent, 100*(maxProcessor+1))
	percent("tasks_percent", w.TasksPercent, 100)
	f.time(at("for_seconds"), w.For, None)
	if w.MemoryPercent > 0 && l.MemoryLimit() == 0 {
		f.add(at("memory_percent"), strconv.Itoa(w.MemoryPercent), "there is no limit of memory that it could be a part of", "set memory_max_mb or memory_high_mb", key("resource_limits", "memory_max_mb"))
	}
	if w.TasksPercent > 0 && l.TasksMax == 0 {
		f.add(at("tasks_percent"), strconv.Itoa(w.TasksPercent), "there is no limit of tasks that it could be a part of", "set tasks_max", key("resource_limits", "tasks_max"))
	}
	if w.For != 0 && !w.Set() {
		f.add(at("for_seconds"), Seconds(w.For), "it is not said what is warned of", "set memory_percent, cpu_percent or tasks_percent", at("memory_percent"))
	}
}
