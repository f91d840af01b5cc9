package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// usages are what collectors and groups use, by their names.
type usages struct {
	collectors map[string]messages.Usage
	groups     map[string]messages.GroupUsage
}

// usageOf asks what collectors and groups use; without names all of them. An older
// supervisor does not know: nothing is known then.
func (c *call) usageOf(full, rate bool, names ...string) usages {
	u := usages{map[string]messages.Usage{}, map[string]messages.GroupUsage{}}
	reply, err := c.Usage(c.ctx, full, rate, names...)
	if err != nil {
		return u
	}
	for _, collector := range reply.Collectors {
		u.collectors[collector.ID] = collector.Usage
	}
	for _, group := range reply.Groups {
		u.groups[group.Name] = group
	}
	return u
}

// usagesOf is what these use; with everything all of them. It says how much of the
// processor that is, too.
func (c *call) usagesOf(statuses []messages.Status, groups []messages.GroupStatus, everything bool) usages {
	var names []string
	if !everything {
		for _, s := range statuses {
			names = append(names, s.ID)
		}
		for _, g := range groups {
			names = append(names, config.GroupMark+g.Name)
		}
		if len(names) == 0 {
			return usages{}
		}
	}
	return c.usageOf(c.structured(), true, names...)
}

// usageColumns are those of tables, of which usageCells are the cells.
var usageColumns = []column{{"CPU", 6}, {"MEM", 6}, {"TASKS", 7}}

func usageCells(u messages.Usage) []string {
	cells := []string{"-", "-", "-"}
	if u.Has(messages.HasCPUPercent) {
		cells[0] = percentText(u.CPUPercent)
	}
	if u.Has(messages.HasMemory) {
		cells[1] = bytesText(u.Memory)
	}
	if u.Has(messages.HasTasks) {
		cells[2] = fmt.Sprint(u.Tasks)
	}
	return cells
}

// usedText is what was used at a moment, in one line.
func usedText(u messages.Usage) string {
	var parts []string
	if u.Has(messages.HasCPUPercent) {
		parts = append(parts, percentText(u.CPUPercent)+" of a processor")
	}
	if u.Has(messages.HasMemory) {
		parts = append(parts, bytesText(u.Memory))
	}
	if u.Has(messages.HasTasks) {
		parts = append(parts, fmt.Sprintf("%d %s", u.Tasks, plural(u.Tasks, "task", "tasks")))
	}
	return strings.Join(parts, ", ")
}

func percentText(p float64) string { return fmt.Sprintf("%.1f %%", p) }

// usageLines are the lines of what a collector uses, in words, each with its label.
func usageLines(u messages.Usage) (lines [][2]string) {
	if u.Has(messages.HasCPU) {
		text := duration(u.UserTime+u.SystemTime) + " of processor time"
		if u.Has(messages.HasCPUPercent) {
			text = percentText(u.CPUPercent) + " of a processor; " + text
		}
		if u.Throttled > 0 {
			text += "; kept from running by its limit for " + duration(u.Throttled)
		}
		lines = append(lines, [2]string{"CPU", text})
	}
	if u.Has(messages.HasMemory) {
		text := bytesText(u.Memory)
		if u.MemoryLimit > 0 {
			text += fmt.Sprintf(" of %s (%.0f %%)", bytesText(u.MemoryLimit), 100*float64(u.Memory)/float64(u.MemoryLimit))
		}
		if u.Has(messages.HasMemoryPeak) {
			text += "; at most " + bytesText(u.MemoryPeak)
		}
		if u.OOMKills > 0 {
			text += fmt.Sprintf("; %d killed for lack of it", u.OOMKills)
		}
		lines = append(lines, [2]string{"Memory", text})
	}
	if u.Has(messages.HasTasks) {
		text := fmt.Sprint(u.Tasks)
		if u.TasksLimit > 0 {
			text += fmt.Sprintf(" of %d", u.TasksLimit)
		}
		if u.Has(messages.HasProcesses) {
			text += fmt.Sprintf(", in %d %s", u.Processes, plural(u.Processes, "process", "processes"))
		}
		if u.Has(messages.HasDescriptors) {
			text += fmt.Sprintf("; %d descriptors open", u.Descriptors)
		}
		lines = append(lines, [2]string{"Tasks", text})
	}
	if u.Has(messages.HasIO) {
		lines = append(lines, [2]string{"Storage", fmt.Sprintf("%s read, %s written", bytesText(int64(u.ReadBytes)), bytesText(int64(u.WriteBytes)))})
	}
	return lines
}

// A usageDocument is what a collector uses. What is not known is left out.
type usageDocument struct {
	At                  *time.Time        `json:"at"`
	Source              string            `json:"source"`
	CPUPercent          *float64          `json:"cpu_percent,omitempty"`
	CPUOverSeconds      *float64          `json:"cpu_over_seconds,omitempty"`
	UserTimeSeconds     *float64          `json:"user_time_seconds,omitempty"`
	SystemTimeSeconds   *float64          `json:"system_time_seconds,omitempty"`
	ThrottledSeconds    *float64          `json:"throttled_seconds,omitempty"`
	MemoryBytes         *int64            `json:"memory_bytes,omitempty"`
	MemoryPeakBytes     *int64            `json:"memory_peak_bytes,omitempty"`
	MemoryLimitBytes    int64             `json:"memory_limit_bytes,omitempty"`
	SwapBytes           *int64            `json:"swap_bytes,omitempty"`
	Processes           *int              `json:"processes,omitempty"`
	Tasks               *int              `json:"tasks,omitempty"`
	TasksLimit          int               `json:"tasks_limit,omitempty"`
	ReadBytes           *uint64           `json:"read_bytes,omitempty"`
	WriteBytes          *uint64           `json:"write_bytes,omitempty"`
	ReadOperations      *uint64           `json:"read_operations,omitempty"`
	WriteOperations     *uint64           `json:"write_operations,omitempty"`
	Descriptors         *int              `json:"descriptors,omitempty"`
	VoluntarySwitches   *uint64           `json:"voluntary_switches,omitempty"`
	InvoluntarySwitches *uint64           `json:"involuntary_switches,omitempty"`
	CPUPressure         *pressureDocument `json:"cpu_pressure,omitempty"`
	MemoryPressure      *pressureDocument `json:"memory_pressure,omitempty"`
	IOPressure          *pressureDocument `json:"io_pressure,omitempty"`
	OOMKills            *uint64           `json:"oom_kills,omitempty"`
}

type pressureDocument struct {
	SomePercent10 float64 `json:"some_percent_10"`
	SomePercent60 float64 `json:"some_percent_60"`
	FullPercent10 float64 `json:"full_percent_10"`
	FullPercent60 float64 `json:"full_percent_60"`
	SomeSeconds   float64 `json:"some_seconds"`
	FullSeconds   float64 `json:"full_seconds"`
}

// usageDocumentOf is nil where nothing is known.
func usageDocumentOf(u messages.Usage) *usageDocument {
	if u.Known == 0 {
		return nil
	}
	pressure := func(m messages.Metric, p messages.Pressure) *pressureDocument {
		return ifKnown(u, m, pressureDocument{p.Some10, p.Some60, p.Full10, p.Full60, p.Some.Seconds(), p.Full.Seconds()})
	}
	return &usageDocument{
		At: moment(u.At), Source: u.Source,
		CPUPercent: ifKnown(u, messages.HasCPUPercent, u.CPUPercent), CPUOverSeconds: ifKnown(u, messages.HasCPUPercent, u.CPUOver.Seconds()),
		UserTimeSeconds: ifKnown(u, messages.HasCPU, u.UserTime.Seconds()), SystemTimeSeconds: ifKnown(u, messages.HasCPU, u.SystemTime.Seconds()),
		ThrottledSeconds: ifKnown(u, messages.HasThrottled, u.Throttled.Seconds()),
		MemoryBytes:      ifKnown(u, messages.HasMemory, u.Memory), MemoryPeakBytes: ifKnown(u, messages.HasMemoryPeak, u.MemoryPeak),
		MemoryLimitBytes: u.MemoryLimit, SwapBytes: ifKnown(u, messages.HasSwap, u.Swap),
		Processes: ifKnown(u, messages.HasProcesses, u.Processes), Tasks: ifKnown(u, messages.HasTasks, u.Tasks), TasksLimit: u.TasksLimit,
		ReadBytes: ifKnown(u, messages.HasIO, u.ReadBytes), WriteBytes: ifKnown(u, messages.HasIO, u.WriteBytes),
		ReadOperations: ifKnown(u, messages.HasIOOps, u.ReadOps), WriteOperations: ifKnown(u, messages.HasIOOps, u.WriteOps),
		Descriptors:       ifKnown(u, messages.HasDescriptors, u.Descriptors),
		VoluntarySwitches: ifKnown(u, messages.HasSwitches, u.VoluntarySwitches), InvoluntarySwitches: ifKnown(u, messages.HasSwitches, u.InvoluntarySwitches),
		CPUPressure: pressure(messages.HasCPUPressure, u.CPUPressure), MemoryPressure: pressure(messages.HasMemoryPressure, u.MemoryPressure),
		IOPressure: pressure(messages.HasIOPressure, u.IOPressure), OOMKills: ifKnown(u, messages.HasOOMKills, u.OOMKills),
	}
}

func ifKnown[T any](u messages.Usage, m messages.Metric, value T) *T {
	if !u.Has(m) {
		return nil
	}
	return &value
}
