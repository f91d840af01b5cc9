package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
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

	IOReadMBPerSecond  int // MiB in a second, from each disk
	IOWriteMBPerSecond int // MiB in a second, to each disk
	IOWeight           int // 1 to 10000, beside others that want the disks too; the system's default is 100

	// MemorySoftMB is the memory in MiB of which it may not use more for longer than
	// MemorySoft (zero: 60 s; None: one look is enough): it is ended then, which
	// counts as a crash. The system knows nothing of that.
	MemorySoftMB int
	MemorySoft   time.Duration

	OpenFiles      int   // descriptors of each process
	CoreMB         int   // MiB of each core dump. None: there are none.
	Nice           int   // -20 to 19; the system's default is 0
	OOMScoreAdjust int   // -1000 (never killed for lack of memory) to 1000 (the first to be)
	CPUAffinity    []int // the processors it runs on, counted from 0

	// Required has the collector not started where one of the limits cannot be
	// had. Without it that is a warning.
	Required bool
}

// DefaultMemorySoft is ResourceLimits.MemorySoft where it is not said.
const DefaultMemorySoft = 60 * time.Second

// NoLimit is the value that lifts a limit (ResourceLimits.Set).
const NoLimit = "none"

// The largest numbers.
const (
	maxWeight    = 10_000
	maxMB        = 1 << 30 // a pebibyte
	maxProcessor = 8191
)

// A limitField is a limit that is a whole number.
type limitField struct {
	key         string
	of          func(*ResourceLimits) *int
	least, most int
	zero        bool // 0 is a limit: it stands as None
	single      bool // of each process: not of a group
}

var limitFields = []limitField{
	{key: "cpu_percent", of: func(l *ResourceLimits) *int { return &l.CPUPercent }, least: 1, most: 100 * (maxProcessor + 1)},
	{key: "cpu_weight", of: func(l *ResourceLimits) *int { return &l.CPUWeight }, least: 1, most: maxWeight},
	{key: "memory_max_mb", of: func(l *ResourceLimits) *int { return &l.MemoryMaxMB }, least: 1, most: maxMB},
	{key: "memory_high_mb", of: func(l *ResourceLimits) *int { return &l.MemoryHighMB }, least: 1, most: maxMB},
	{key: "memory_soft_mb", of: func(l *ResourceLimits) *int { return &l.MemorySoftMB }, least: 1, most: maxMB, single: true},
	{key: "swap_max_mb", of: func(l *ResourceLimits) *int { return &l.SwapMaxMB }, least: 1, most: maxMB, zero: true},
	{key: "tasks_max", of: func(l *ResourceLimits) *int { return &l.TasksMax }, least: 1, most: 1 << 22},
	{key: "io_read_mb_per_second", of: func(l *ResourceLimits) *int { return &l.IOReadMBPerSecond }, least: 1, most: maxMB},
	{key: "io_write_mb_per_second", of: func(l *ResourceLimits) *int { return &l.IOWriteMBPerSecond }, least: 1, most: maxMB},
	{key: "io_weight", of: func(l *ResourceLimits) *int { return &l.IOWeight }, least: 1, most: maxWeight},
	{key: "open_files", of: func(l *ResourceLimits) *int { return &l.OpenFiles }, least: 4, most: 1 << 30, single: true},
	{key: "core_mb", of: func(l *ResourceLimits) *int { return &l.CoreMB }, least: 1, most: maxMB, zero: true, single: true},
	{key: "nice", of: func(l *ResourceLimits) *int { return &l.Nice }, least: -20, most: 19, single: true},
	{key: "oom_score_adjust", of: func(l *ResourceLimits) *int { return &l.OOMScoreAdjust }, least: -1000, most: 1000, single: true},
}

// The keys of limits that are not whole numbers.
const (
	keyMemorySoft = "memory_soft_seconds"
	keyAffinity   = "cpu_affinity"
	keyRequired   = "limits_required"
)

// LimitKeys are the names that limits have in a file.
func LimitKeys() (keys []string) {
	for _, f := range limitFields {
		keys = append(keys, f.key)
		if f.key == "memory_soft_mb" {
			keys = append(keys, keyMemorySoft)
		}
	}
	return append(keys, keyAffinity, keyRequired)
}

// GroupLimitKeys are those of them that a group can have too: what all its members
// use together.
func GroupLimitKeys() (keys []string) {
	for _, f := range limitFields {
		if !f.single {
			keys = append(keys, f.key)
		}
	}
	return append(keys, keyRequired)
}

// A LimitError says why a limit cannot be what somebody wants.
type LimitError struct {
	Key, Value string
	Text       string // what is wrong, and what to do about it
}

func (e *LimitError) Error() string { return e.Key + " = " + e.Value + ": " + e.Text }

// Set changes one limit, that has this name in a file, to a value that is written
// as there; or lifts it, with NoLimit. The error is a *LimitError. Whether all of
// them together can work is for Validate to say.
func (l *ResourceLimits) Set(key, value string) error {
	fail := func(format string, args ...any) error {
		return &LimitError{Key: key, Value: value, Text: fmt.Sprintf(format, args...)}
	}
	value = strings.TrimSpace(value)
	lift := value == NoLimit
	switch key {
	case keyRequired:
		on, err := strconv.ParseBool(value)
		if err != nil && !lift {
			return fail("use true or false")
		}
		l.Required = on
		return nil
	case keyMemorySoft:
		l.MemorySoft = 0
		if lift {
			return nil
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || !(seconds >= 0) || seconds > MaxTime.Seconds() {
			return fail("use a number of seconds")
		}
		if l.MemorySoft = time.Duration(seconds * float64(time.Second)); l.MemorySoft == 0 {
			l.MemorySoft = None
		}
		return nil
	case keyAffinity:
		cpus, ok := parseProcessors(value)
		if !ok && !lift {
			return fail("use numbers of processors from 0 to %d, as in 0,2-3", maxProcessor)
		}
		l.CPUAffinity = cpus
		return nil
	}
	for _, f := range limitFields {
		if f.key != key {
			continue
		}
		n, err := strconv.Atoi(value)
		switch {
		case lift:
			n = 0
		case err != nil:
			return fail("use a whole number, or %s to lift it", NoLimit)
		case n == 0 && f.zero:
			n = None
		case n < f.least || n > f.most:
			return fail("it is out of range; use %d to %d, or %s to lift it", f.least, f.most, NoLimit)
		}
		*f.of(l) = n
		if f.key == "memory_soft_mb" && n == 0 {
			l.MemorySoft = 0 // which is about nothing then
		}
		return nil
	}
	return fail("there is no such limit; there are %s", strings.Join(LimitKeys(), ", "))
}

// Table are the limits that are set, by their keys, with values as they stand in a
// file.
func (l ResourceLimits) Table() map[string]any {
	all := map[string]any{}
	for _, f := range limitFields {
		switch n := *f.of(&l); {
		case f.zero && n == None:
			all[f.key] = int64(0)
		case n != 0:
			all[f.key] = int64(n)
		}
	}
	if l.MemorySoft != 0 {
		all[keyMemorySoft] = max(l.MemorySoft, 0).Seconds()
	}
	if len(l.CPUAffinity) > 0 {
		all[keyAffinity] = l.CPUAffinity
	}
	if l.Required {
		all[keyRequired] = true
	}
	return all
}

// Settings are the limits that are set, as KEY=VALUE, in the words of Set and the
// order of LimitKeys.
func (l ResourceLimits) Settings() (all []string) {
	table := l.Table()
	for _, key := range LimitKeys() {
		switch value := table[key].(type) {
		case nil:
		case []int:
			words := make([]string, len(value))
			for i, n := range value {
				words[i] = strconv.Itoa(n)
			}
			all = append(all, key+"="+strings.Join(words, ","))
		default:
			all = append(all, fmt.Sprintf("%s=%v", key, value))
		}
	}
	return all
}

// parseProcessors reads a list such as "0,2-3", in or without brackets.
func parseProcessors(text string) (cpus []int, ok bool) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	for part := range strings.SplitSeq(text, ",") {
		first, last, span := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.Atoi(first)
		b := a
		if span && err == nil {
			b, err = strconv.Atoi(last)
		}
		if err != nil || a < 0 || b < a || b > maxProcessor {
			return nil, false
		}
		for n := a; n <= b; n++ {
			cpus = append(cpus, n)
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), true
}

// Equal reports whether both are the same limits.
func (l ResourceLimits) Equal(m ResourceLimits) bool {
	if !slices.Equal(l.CPUAffinity, m.CPUAffinity) || l.Required != m.Required || l.MemorySoft != m.MemorySoft {
		return false
	}
	for _, f := range limitFields {
		if *f.of(&l) != *f.of(&m) {
			return false
		}
	}
	return true
}

// limits checks the limits of a collector, or of a group.
func (f *findings) limits(key func(...string) string, l ResourceLimits, group bool) {
	at := func(name string) string { return key("resource_limits", name) }
	single := func(name, value string) {
		f.add(at(name), value, name+" is not a limit of a group", "set it for each collector, in [collectors.<id>.resource_limits]")
	}
	for _, field := range limitFields {
		n := *field.of(&l)
		switch {
		case n == 0 || field.zero && n == None && !(group && field.single):
		case group && field.single:
			single(field.key, strconv.Itoa(n))
		case n < field.least || n > field.most:
			f.add(at(field.key), strconv.Itoa(n), fmt.Sprintf("%d is out of range", n), fmt.Sprintf("use %d to %d", field.least, field.most))
		}
	}
	if group && len(l.CPUAffinity) > 0 {
		single(keyAffinity, "")
	}
	if group && l.MemorySoft != 0 {
		single(keyMemorySoft, Seconds(l.MemorySoft))
	}
	for i, n := range l.CPUAffinity {
		if n < 0 || n > maxProcessor {
			f.add(Element(at(keyAffinity), i), strconv.Itoa(n), fmt.Sprintf("there is no processor %d", n), fmt.Sprintf("use 0 to %d", maxProcessor))
		}
	}
	if l.MemoryMaxMB > 0 && l.MemoryHighMB > l.MemoryMaxMB {
		f.add(at("memory_high_mb"), strconv.Itoa(l.MemoryHighMB), fmt.Sprintf("memory_high_mb = %d is never reached: the collector is killed at %d", l.MemoryHighMB, l.MemoryMaxMB),
			"use less than memory_max_mb", at("memory_max_mb"))
	}
	if group {
		return
	}
	if l.MemoryMaxMB > 0 && l.MemorySoftMB > l.MemoryMaxMB {
		f.add(at("memory_soft_mb"), strconv.Itoa(l.MemorySoftMB), fmt.Sprintf("memory_soft_mb = %d is never reached: the collector is killed at %d", l.MemorySoftMB, l.MemoryMaxMB),
			"use less than memory_max_mb", at("memory_max_mb"))
	}
	f.time(at(keyMemorySoft), l.MemorySoft, None)
	if l.MemorySoft != 0 && l.MemorySoftMB == 0 {
		f.add(at(keyMemorySoft), Seconds(l.MemorySoft), "it is not said how much memory that is about", "set memory_soft_mb", at("memory_soft_mb"))
	}
}
