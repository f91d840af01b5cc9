package control

import (
	"github.com/proctord/proctor/messages"
	"github.com/prometheus/client_golang/prometheus"
)

// What is not known of a collector has no metric. Counters are of the process that
// is there, and begin anew with each, as those of programs do.
var (
	perGroup = []string{"group"}

	infoDesc           = prometheus.NewDesc("proctor_collector_info", "1; the group that the collector is a child of, empty for the supervisor itself.", append(perCollector[:2:2], "group"), nil)
	cpuDesc            = prometheus.NewDesc("proctor_collector_cpu_seconds_total", "Processor time of its processes, by mode.", append(perCollector[:2:2], "mode"), nil)
	throttledDesc      = prometheus.NewDesc("proctor_collector_cpu_throttled_seconds_total", "How long a limit has kept its processes from running.", perCollector, nil)
	memoryDesc         = prometheus.NewDesc("proctor_collector_memory_bytes", "Memory of its processes.", perCollector, nil)
	memoryPeakDesc     = prometheus.NewDesc("proctor_collector_memory_peak_bytes", "The most memory that its processes have had.", perCollector, nil)
	memoryLimitDesc    = prometheus.NewDesc("proctor_collector_memory_limit_bytes", "The limit of memory that is in force.", perCollector, nil)
	swapDesc           = prometheus.NewDesc("proctor_collector_swap_bytes", "Swapped memory of its processes.", perCollector, nil)
	processesDesc      = prometheus.NewDesc("proctor_collector_processes", "Its processes.", perCollector, nil)
	tasksDesc          = prometheus.NewDesc("proctor_collector_tasks", "Its processes and threads.", perCollector, nil)
	tasksLimitDesc     = prometheus.NewDesc("proctor_collector_tasks_limit", "The limit of processes and threads that is in force.", perCollector, nil)
	readDesc           = prometheus.NewDesc("proctor_collector_storage_read_bytes_total", "What its processes have read from storage.", perCollector, nil)
	writtenDesc        = prometheus.NewDesc("proctor_collector_storage_written_bytes_total", "What its processes have written to storage.", perCollector, nil)
	readsDesc          = prometheus.NewDesc("proctor_collector_storage_reads_total", "Read operations of storage.", perCollector, nil)
	writesDesc         = prometheus.NewDesc("proctor_collector_storage_writes_total", "Write operations of storage.", perCollector, nil)
	descriptorsDesc    = prometheus.NewDesc("proctor_collector_open_descriptors", "Descriptors, or handles, that are open in its processes.", perCollector, nil)
	switchesDesc       = prometheus.NewDesc("proctor_collector_context_switches_total", "Context switches of its threads, by kind.", append(perCollector[:2:2], "kind"), nil)
	pressureDesc       = prometheus.NewDesc("proctor_collector_pressure_seconds_total", "How long some of its tasks, or all of them at once, had to wait for a resource.", append(perCollector[:2:2], "resource", "share"), nil)
	oomKillsDesc       = prometheus.NewDesc("proctor_collector_oom_kills_total", "Processes of it that were killed for lack of memory.", perCollector, nil)
	groupMemoryDesc    = prometheus.NewDesc("proctor_group_memory_bytes", "Memory of the collectors in the group.", perGroup, nil)
	groupProcessesDesc = prometheus.NewDesc("proctor_group_processes", "Processes of the collectors in the group.", perGroup, nil)
	groupTasksDesc     = prometheus.NewDesc("proctor_group_tasks", "Processes and threads of the collectors in the group.", perGroup, nil)
	groupFilesDesc     = prometheus.NewDesc("proctor_group_open_descriptors", "Descriptors, or handles, that are open in the collectors in the group.", perGroup, nil)

	usageDescs = []*prometheus.Desc{
		infoDesc, cpuDesc, throttledDesc, memoryDesc, memoryPeakDesc, memoryLimitDesc, swapDesc, processesDesc, tasksDesc, tasksLimitDesc,
		readDesc, writtenDesc, readsDesc, writesDesc, descriptorsDesc, switchesDesc, pressureDesc, oomKillsDesc,
		groupMemoryDesc, groupProcessesDesc, groupTasksDesc, groupFilesDesc,
	}
)

// collectUsage says what collectors and groups use.
func collectUsage(ch chan<- prometheus.Metric, list []messages.Status, reply messages.UsageReply) {
	types := make(map[string]string, len(list))
	for _, s := range list {
		types[s.ID] = s.Type
		ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, s.ID, s.Type, s.Group)
	}
	for i := range reply.Collectors {
		id, u := reply.Collectors[i].ID, &reply.Collectors[i].Usage
		kind, listed := types[id]
		if !listed {
			continue // it has come since
		}
		tell := func(known bool, as prometheus.ValueType, d *prometheus.Desc, value float64, labels ...string) {
			if known {
				ch <- prometheus.MustNewConstMetric(d, as, value, append([]string{id, kind}, labels...)...)
			}
		}
		const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
		tell(u.Has(messages.HasCPU), counter, cpuDesc, u.UserTime.Seconds(), "user")
		tell(u.Has(messages.HasCPU), counter, cpuDesc, u.SystemTime.Seconds(), "system")
		tell(u.Has(messages.HasThrottled), counter, throttledDesc, u.Throttled.Seconds())
		tell(u.Has(messages.HasMemory), gauge, memoryDesc, float64(u.Memory))
		tell(u.Has(messages.HasMemoryPeak), gauge, memoryPeakDesc, float64(u.MemoryPeak))
		tell(u.MemoryLimit > 0, gauge, memoryLimitDesc, float64(u.MemoryLimit))
		tell(u.Has(messages.HasSwap), gauge, swapDesc, float64(u.Swap))
		tell(u.Has(messages.HasProcesses), gauge, processesDesc, float64(u.Processes))
		tell(u.Has(messages.HasTasks), gauge, tasksDesc, float64(u.Tasks))
		tell(u.TasksLimit > 0, gauge, tasksLimitDesc, float64(u.TasksLimit))
		tell(u.Has(messages.HasIO), counter, readDesc, float64(u.ReadBytes))
		tell(u.Has(messages.HasIO), counter, writtenDesc, float64(u.WriteBytes))
		tell(u.Has(messages.HasIOOps), counter, readsDesc, float64(u.ReadOps))
		tell(u.Has(messages.HasIOOps), counter, writesDesc, float64(u.WriteOps))
		tell(u.Has(messages.HasDescriptors), gauge, descriptorsDesc, float64(u.Descriptors))
		tell(u.Has(messages.HasSwitches), counter, switchesDesc, float64(u.VoluntarySwitches), "voluntary")
		tell(u.Has(messages.HasSwitches), counter, switchesDesc, float64(u.InvoluntarySwitches), "involuntary")
		tell(u.Has(messages.HasCPUPressure), counter, pressureDesc, u.CPUPressure.Some.Seconds(), "cpu", "some")
		tell(u.Has(messages.HasCPUPressure), counter, pressureDesc, u.CPUPressure.Full.Seconds(), "cpu", "full")
		tell(u.Has(messages.HasMemoryPressure), counter, pressureDesc, u.MemoryPressure.Some.Seconds(), "memory", "some")
		tell(u.Has(messages.HasMemoryPressure), counter, pressureDesc, u.MemoryPressure.Full.Seconds(), "memory", "full")
		tell(u.Has(messages.HasIOPressure), counter, pressureDesc, u.IOPressure.Some.Seconds(), "io", "some")
		tell(u.Has(messages.HasIOPressure), counter, pressureDesc, u.IOPressure.Full.Seconds(), "io", "full")
		tell(u.Has(messages.HasOOMKills), counter, oomKillsDesc, float64(u.OOMKills))
	}
	// A counter of a group would go back whenever one of its collectors is restarted:
	// what is counted is to be added up by who reads it, by proctor_collector_info.
	for i := range reply.Groups {
		name, u := reply.Groups[i].Name, &reply.Groups[i].Usage
		for _, m := range []struct {
			d     *prometheus.Desc
			known messages.Metric
			value float64
		}{
			{groupMemoryDesc, messages.HasMemory, float64(u.Memory)}, {groupProcessesDesc, messages.HasProcesses, float64(u.Processes)},
			{groupTasksDesc, messages.HasTasks, float64(u.Tasks)}, {groupFilesDesc, messages.HasDescriptors, float64(u.Descriptors)},
		} {
			if u.Has(m.known) {
				ch <- prometheus.MustNewConstMetric(m.d, prometheus.GaugeValue, m.value, name)
			}
		}
	}
}
