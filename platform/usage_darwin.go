package platform

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// usageKnown is what processUsage tells.
const usageKnown = HasCPU | HasMemory | HasProcesses | HasTasks

// treeMembers looks at all processes, and returns who says which are in the tree
// of a process besides itself.
func treeMembers() func(root int) []int {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return func(int) []int { return nil }
	}
	return func(root int) (found []int) {
		in := map[int]bool{root: true}
		for again := true; again; {
			again = false
			for i := range table {
				pid := int(table[i].Proc.P_pid)
				if !in[pid] && table[i].Proc.P_stat != zombie && (int(table[i].Eproc.Pgid) == root || in[int(table[i].Eproc.Ppid)]) {
					in[pid], again = true, true
					found = append(found, pid)
				}
			}
		}
		return found
	}
}

// taskInfo is struct proc_taskinfo of sys/proc_info.h.
type taskInfo struct {
	virtualSize, residentSize      uint64
	userTime, systemTime           uint64 // in units of the time base
	threadsUser, threadsSystem     uint64
	policy, faults, pageins, cow   int32
	sent, received, mach, unixCall int32
	switches, threads              int32
	running, priority              int32
}

// The arguments of proc_info, which libproc calls.
const (
	procInfoPID = 2
	procTaskAll = 4
)

func processUsage(pid int, _ Detail, u *Usage) bool {
	var info taskInfo
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, procInfoPID, uintptr(pid), procTaskAll, 0, uintptr(unsafe.Pointer(&info)), unsafe.Sizeof(info))
	if errno != 0 || n < unsafe.Sizeof(info) {
		return false
	}
	u.Memory, u.Tasks = int64(info.residentSize), int(info.threads)
	u.UserTime, u.SystemTime = fromTimeBase(info.userTime), fromTimeBase(info.systemTime)
	return true
}

// fromTimeBase turns what the processor counts into a duration.
func fromTimeBase(ticks uint64) time.Duration {
	frequency, err := unix.SysctlUint64("hw.tbfrequency")
	if err != nil || frequency == 0 {
		frequency = uint64(time.Second)
	}
	return time.Duration(float64(ticks) * float64(time.Second) / float64(frequency))
}
