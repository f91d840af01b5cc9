package platform

import "time"

// Detail says how much of what processes use is asked for.
type Detail uint8

const (
	// Brief is processor time, memory and tasks: what costs least.
	Brief Detail = iota
	// Full is all that the system tells.
	Full
)

// A Metric is one thing that can be known of what a process uses. They are bits.
type Metric uint32

// The metrics.
const (
	HasCPU            Metric = 1 << iota // UserTime, SystemTime
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
)

// Usage is what a process and its tree use at one moment, as far as the system
// tells: Known says which fields mean anything. The zero value knows nothing.
type Usage struct {
	At     time.Time
	Known  Metric
	Source string // "cgroup v2", "procfs", "cgroup v2 and procfs", "job object", "sysctl"

	// Processor time since the process was started. Without cgroups and job objects
	// it is that of the processes that are there, and of children that they have
	// waited for: what ends as an orphan is not counted any more.
	UserTime   time.Duration
	SystemTime time.Duration
	Throttled  time.Duration // how long it was kept from running by a limit

	// Bytes. In a cgroup with a memory controller that is what counts against the
	// limit, the page cache included; elsewhere the resident memory of all processes,
	// what they share counted for each, and the peak is the sum of their own ones.
	Memory      int64
	MemoryPeak  int64
	MemoryLimit int64 // that is in force; 0: none is known
	Swap        int64

	Processes  int
	Tasks      int // processes and threads
	TasksLimit int // that is in force; 0: none is known

	// Bytes and operations of storage, what the system's caches have spared excluded;
	// on Windows all that was read and written.
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64

	Descriptors int // that are open in all processes; handles on Windows

	// Context switches of the threads that are there.
	VoluntarySwitches, InvoluntarySwitches uint64

	// For how much of the time it had to wait (Linux: PSI).
	CPUPressure, MemoryPressure, IOPressure Pressure

	OOMKills uint64 // how many of the tree were killed for lack of memory
}

// Has reports whether all of these metrics are known.
func (u *Usage) Has(m Metric) bool { return u.Known&m == m }

// Pressure is for how much of the time there was nothing to be had of something:
// for some of the tasks, and for all of them at once.
type Pressure struct {
	Some10, Some60 float64 // percent of the last 10 and 60 seconds
	Full10, Full60 float64
	Some, Full     time.Duration // since the process was started
}
