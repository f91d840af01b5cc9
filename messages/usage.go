package messages

import "time"

// GetUsage asks what collectors use: processor, memory and the like. Nobody looks at
// that without being asked, or being told to warn (config.Warnings).
type GetUsage struct {
	// IDs are collectors, and groups with config.GroupMark before them: those in
	// them are meant then, and their sum. None: all collectors and all groups.
	IDs []string

	// Full asks for all that the system tells. Without it: processor time, memory
	// and tasks, which costs a fraction.
	Full bool

	// Rate asks for CPUPercent too. Where nobody has looked shortly before, the
	// answer takes a quarter of a second more.
	Rate bool
}

func (GetUsage) answeredBy(UsageReply) {}

// UsageReply says what collectors use.
type UsageReply struct {
	Collectors []CollectorUsage // ordered by id
	Groups     []GroupUsage     // ordered by name
}

// CollectorUsage is what the process of a collector and its tree use. Where there is
// none, nothing is known.
type CollectorUsage struct {
	ID          string
	Incarnation uint64
	Usage       Usage
}

// GroupUsage is what the collectors in a group, and in the groups within it, use
// together. What one of them does not tell is not known of the group either, nor
// what cannot be added up: peaks and pressure.
type GroupUsage struct {
	Name     string
	Members  int // how many collectors there are
	Measured int // of how many of them it is the sum: those that have a process
	Usage    Usage
}

// A Metric is one thing that can be known of what a collector uses. They are bits,
// which crash reports on disk have too: what is new comes last.
type Metric uint32

// The metrics.
const (
	HasCPU            Metric = 1 << iota // UserTime, SystemTime
	HasCPUPercent                        // CPUPercent
	HasThrottled                         // Throttled
	HasMemory                            // Memory
	HasMemoryPeak                        // MemoryPeak
	HasSwap                              // Swap
	HasProcesses                         // Processes
	HasTasks                             // Tasks
	HasIO                                // ReadBytes, WriteBytes
	HasIOOps                             // ReadOps, WriteOps
	HasDescriptors                       // Descriptors
	HasSwitches                          // VoluntarySwitches, InvoluntarySwitches
	HasCPUPressure                       // CPUPressure
	HasMemoryPressure                    // MemoryPressure
	HasIOPressure                        // IOPressure
	HasOOMKills                          // OOMKills

	// what is left of a group's when one more collector is added
	canBeAdded = HasCPU | HasCPUPercent | HasThrottled | HasMemory | HasSwap | HasProcesses | HasTasks | HasIO | HasIOOps | HasDescriptors | HasSwitches | HasOOMKills
)

// Usage is what a process and its tree use at one moment, as far as the system
// tells: Known says which fields mean anything. The zero value knows nothing.
// Counters are of the process that is there: they begin anew with each.
type Usage struct {
	At     time.Time
	Known  Metric
	Source string // where the numbers are from: "cgroup v2", "procfs", "job object", "sysctl"

	UserTime   time.Duration
	SystemTime time.Duration
	CPUPercent float64       // of one processor, over the time CPUOver
	CPUOver    time.Duration // up to At
	Throttled  time.Duration // how long a limit has kept it from running

	// Bytes. Memory is what counts against the limit, where a cgroup tells; elsewhere
	// the resident memory of all processes, and the peak the sum of their own ones.
	Memory      int64
	MemoryPeak  int64
	MemoryLimit int64 // that is in force; 0: none is known
	Swap        int64

	Processes  int
	Tasks      int // processes and threads
	TasksLimit int // that is in force; 0: none is known

	ReadBytes, WriteBytes uint64 // of storage
	ReadOps, WriteOps     uint64

	Descriptors int // that are open; handles on Windows

	// Context switches of the threads that are there.
	VoluntarySwitches, InvoluntarySwitches uint64

	// For how much of the time it had to wait (Linux: PSI).
	CPUPressure, MemoryPressure, IOPressure Pressure

	OOMKills uint64 // how many of its processes were killed for lack of memory
}

// Pressure is for how much of the time there was nothing to be had of something:
// for some of the tasks, and for all of them at once.
type Pressure struct {
	Some10, Some60 float64 // percent of the last 10 and 60 seconds
	Full10, Full60 float64
	Some, Full     time.Duration // since the process was started
}

// Has reports whether all of these metrics are known.
func (u *Usage) Has(m Metric) bool { return u.Known&m == m }

// Add adds what one more collector uses to a sum: to the zero Usage first.
func (u *Usage) Add(v Usage) {
	known := v.Known & canBeAdded
	if u.At.IsZero() {
		*u = Usage{At: v.At, Source: v.Source, Known: known, MemoryLimit: v.MemoryLimit, TasksLimit: v.TasksLimit, CPUOver: v.CPUOver}
	} else {
		u.Known &= known
		if v.At.After(u.At) {
			u.At = v.At
		}
		if u.Source != v.Source {
			u.Source = "several"
		}
		u.MemoryLimit, u.TasksLimit = sumOfLimits(u.MemoryLimit, v.MemoryLimit), sumOfLimits(u.TasksLimit, v.TasksLimit)
		u.CPUOver = max(u.CPUOver, v.CPUOver)
	}
	u.UserTime += v.UserTime
	u.SystemTime += v.SystemTime
	u.CPUPercent += v.CPUPercent
	u.Throttled += v.Throttled
	u.Memory += v.Memory
	u.Swap += v.Swap
	u.Processes += v.Processes
	u.Tasks += v.Tasks
	u.ReadBytes += v.ReadBytes
	u.WriteBytes += v.WriteBytes
	u.ReadOps += v.ReadOps
	u.WriteOps += v.WriteOps
	u.Descriptors += v.Descriptors
	u.VoluntarySwitches += v.VoluntarySwitches
	u.InvoluntarySwitches += v.InvoluntarySwitches
	u.OOMKills += v.OOMKills
}

// sumOfLimits is the limit of both together: none if one of them has none.
func sumOfLimits[N int | int64](a, b N) N {
	if a == 0 || b == 0 {
		return 0
	}
	return a + b
}

// UsageHigh says that a collector has used more of something than its settings
// warn of (config.Warnings), all of the time For. It is told once; UsageNormal says
// when that is over.
type UsageHigh struct {
	Resource  string // "memory", "cpu" or "tasks"
	Percent   float64
	Threshold int   // the percent that are warned of
	Used      int64 // bytes, thousandths of a processor, tasks
	Limit     int64 // what the percentages are of, in the same
	For       time.Duration
}

// UsageNormal says that a UsageHigh is over: it uses less again, or Ended, its
// process has.
type UsageNormal struct {
	Resource  string
	Percent   float64 // 0 where its process has ended
	Threshold int
	Lasted    time.Duration
	Ended     bool
}

func (UsageHigh) fact()   {}
func (UsageNormal) fact() {}
