package control

import (
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
)

func encodeUsageReply(m messages.UsageReply) *pb.GetUsageResponse {
	w := &pb.GetUsageResponse{}
	for i := range m.Collectors {
		c := &m.Collectors[i]
		w.Collectors = append(w.Collectors, &pb.CollectorUsage{Id: text(c.ID), Incarnation: c.Incarnation, Usage: encodeUsage(&c.Usage)})
	}
	for i := range m.Groups {
		g := &m.Groups[i]
		w.Groups = append(w.Groups, &pb.GroupUsage{Name: text(g.Name), Members: int32(g.Members), Measured: int32(g.Measured), Usage: encodeUsage(&g.Usage)})
	}
	return w
}

func decodeUsageReply(w *pb.GetUsageResponse) messages.UsageReply {
	var m messages.UsageReply
	for _, c := range w.Collectors {
		m.Collectors = append(m.Collectors, messages.CollectorUsage{ID: c.GetId(), Incarnation: c.GetIncarnation(), Usage: decodeUsage(c.GetUsage())})
	}
	for _, g := range w.Groups {
		m.Groups = append(m.Groups, messages.GroupUsage{Name: g.GetName(), Members: int(g.GetMembers()), Measured: int(g.GetMeasured()), Usage: decodeUsage(g.GetUsage())})
	}
	return m
}

// known is a value that travels if it is known.
func known[T any](u *messages.Usage, m messages.Metric, value T) *T {
	if !u.Has(m) {
		return nil
	}
	return &value
}

// takeIf is the reverse of known.
func takeIf[W, T any](u *messages.Usage, m messages.Metric, w *W, into *T, as func(W) T) {
	if w != nil {
		*into = as(*w)
		u.Known |= m
	}
}

func encodeUsage(u *messages.Usage) *pb.Usage {
	if u.At.IsZero() {
		return nil
	}
	return &pb.Usage{
		At: encodeTime(u.At), Source: text(u.Source),
		UserTimeSeconds:   known(u, messages.HasCPU, u.UserTime.Seconds()),
		SystemTimeSeconds: known(u, messages.HasCPU, u.SystemTime.Seconds()),
		CpuPercent:        known(u, messages.HasCPUPercent, u.CPUPercent), CpuOverSeconds: u.CPUOver.Seconds(),
		ThrottledSeconds: known(u, messages.HasThrottled, u.Throttled.Seconds()),
		MemoryBytes:      known(u, messages.HasMemory, u.Memory), MemoryPeakBytes: known(u, messages.HasMemoryPeak, u.MemoryPeak),
		MemoryLimitBytes: u.MemoryLimit, SwapBytes: known(u, messages.HasSwap, u.Swap),
		Processes: known(u, messages.HasProcesses, int32(u.Processes)), Tasks: known(u, messages.HasTasks, int32(u.Tasks)), TasksLimit: int32(u.TasksLimit),
		ReadBytes: known(u, messages.HasIO, u.ReadBytes), WriteBytes: known(u, messages.HasIO, u.WriteBytes),
		ReadOperations: known(u, messages.HasIOOps, u.ReadOps), WriteOperations: known(u, messages.HasIOOps, u.WriteOps),
		Descriptors:         known(u, messages.HasDescriptors, int32(u.Descriptors)),
		VoluntarySwitches:   known(u, messages.HasSwitches, u.VoluntarySwitches),
		InvoluntarySwitches: known(u, messages.HasSwitches, u.InvoluntarySwitches),
		CpuPressure:         encodePressure(u, messages.HasCPUPressure, u.CPUPressure),
		MemoryPressure:      encodePressure(u, messages.HasMemoryPressure, u.MemoryPressure),
		IoPressure:          encodePressure(u, messages.HasIOPressure, u.IOPressure),
		OomKills:            known(u, messages.HasOOMKills, u.OOMKills),
	}
}

func encodePressure(u *messages.Usage, m messages.Metric, p messages.Pressure) *pb.Pressure {
	if !u.Has(m) {
		return nil
	}
	return &pb.Pressure{
		SomePercent_10: p.Some10, SomePercent_60: p.Some60, FullPercent_10: p.Full10, FullPercent_60: p.Full60,
		SomeSeconds: p.Some.Seconds(), FullSeconds: p.Full.Seconds(),
	}
}

func asItIs[T any](v T) T  { return v }
func number32(n int32) int { return int(n) }

func decodeUsage(w *pb.Usage) messages.Usage {
	if w == nil {
		return messages.Usage{}
	}
	u := messages.Usage{At: decodeTime(w.At), Source: w.Source, CPUOver: fromSeconds(w.CpuOverSeconds), MemoryLimit: w.MemoryLimitBytes, TasksLimit: int(w.TasksLimit)}
	takeIf(&u, messages.HasCPU, w.UserTimeSeconds, &u.UserTime, fromSeconds)
	takeIf(&u, messages.HasCPU, w.SystemTimeSeconds, &u.SystemTime, fromSeconds)
	takeIf(&u, messages.HasCPUPercent, w.CpuPercent, &u.CPUPercent, asItIs)
	takeIf(&u, messages.HasThrottled, w.ThrottledSeconds, &u.Throttled, fromSeconds)
	takeIf(&u, messages.HasMemory, w.MemoryBytes, &u.Memory, asItIs)
	takeIf(&u, messages.HasMemoryPeak, w.MemoryPeakBytes, &u.MemoryPeak, asItIs)
	takeIf(&u, messages.HasSwap, w.SwapBytes, &u.Swap, asItIs)
	takeIf(&u, messages.HasProcesses, w.Processes, &u.Processes, number32)
	takeIf(&u, messages.HasTasks, w.Tasks, &u.Tasks, number32)
	takeIf(&u, messages.HasIO, w.ReadBytes, &u.ReadBytes, asItIs)
	takeIf(&u, messages.HasIO, w.WriteBytes, &u.WriteBytes, asItIs)
	takeIf(&u, messages.HasIOOps, w.ReadOperations, &u.ReadOps, asItIs)
	takeIf(&u, messages.HasIOOps, w.WriteOperations, &u.WriteOps, asItIs)
	takeIf(&u, messages.HasDescriptors, w.Descriptors, &u.Descriptors, number32)
	takeIf(&u, messages.HasSwitches, w.VoluntarySwitches, &u.VoluntarySwitches, asItIs)
	takeIf(&u, messages.HasSwitches, w.InvoluntarySwitches, &u.InvoluntarySwitches, asItIs)
	takeIf(&u, messages.HasOOMKills, w.OomKills, &u.OOMKills, asItIs)
	for _, p := range []struct {
		m    messages.Metric
		w    *pb.Pressure
		into *messages.Pressure
	}{{messages.HasCPUPressure, w.CpuPressure, &u.CPUPressure}, {messages.HasMemoryPressure, w.MemoryPressure, &u.MemoryPressure}, {messages.HasIOPressure, w.IoPressure, &u.IOPressure}} {
		if p.w != nil {
			u.Known |= p.m
			*p.into = messages.Pressure{
				Some10: p.w.SomePercent_10, Some60: p.w.SomePercent_60, Full10: p.w.FullPercent_10, Full60: p.w.FullPercent_60,
				Some: fromSeconds(p.w.SomeSeconds), Full: fromSeconds(p.w.FullSeconds),
			}
		}
	}
	return u
}
