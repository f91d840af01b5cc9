package platform

import (
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// usageKnown is what processUsage tells.
const usageKnown = HasCPU | HasMemory | HasMemoryPeak | HasProcesses | HasTasks | HasSwitches

// treeMembers looks at all that this program is the reaper of, and returns who
// says which are in the tree of a process.
func treeMembers() func(root int) []int {
	trees := map[int][]int{}
	var status reaperStatus
	if procctl(procReapStatus, unsafe.Pointer(&status)) == nil && status.descendants > 0 {
		infos := make([]reaperPIDInfo, status.descendants+64)
		request := reaperPIDs{count: uint32(len(infos)), pids: &infos[0]}
		err := procctl(procReapGetPIDs, unsafe.Pointer(&request))
		runtime.KeepAlive(infos)
		for _, info := range infos {
			if err == nil && info.flags&reaperPIDInfoValid != 0 && info.pid != info.subtree {
				trees[int(info.subtree)] = append(trees[int(info.subtree)], int(info.pid))
			}
		}
	}
	return func(root int) []int { return trees[root] }
}

// kinfo is struct kinfo_proc of sys/user.h where a long has 64 bits, as far as it
// is needed.
type kinfo struct {
	size, layout int32
	_            [8]uintptr
	_            [6]int32
	_            [2]int16
	_            uint32
	_            [4][16]byte
	_            [5]uint32
	_            [2]int16
	_            [16]uint32
	_            uint64
	resident     int64 // pages
	_            [4]int64
	_            [2]uint16
	_            [5]uint32
	runtime      uint64
	start        unix.Timeval
	children     unix.Timeval // the time of those that it has waited for
	_            [2]int64
	_            int32
	_            [4]int8
	_            [2]uint8
	_            [17 + 9 + 18 + 9 + 20 + 17 + 18 + 4 + 46]int8
	_            [2]int32
	_            uint64
	_            [7]int32
	threads      int32
	_            int32
	_            [4]uint8
	own          unix.Rusage
}

// The size of kinfo_proc, and where in it the last fields are that kinfo has.
const (
	kinfoSize  = 1088
	ownOffset  = 608
	longIsLong = unsafe.Sizeof(uintptr(0)) == 8
)

func processUsage(pid int, _ Detail, u *Usage) bool {
	if !longIsLong || unsafe.Offsetof(kinfo{}.own) != ownOffset {
		return false // another layout: nothing is known
	}
	raw, err := unix.SysctlRaw("kern.proc.pid", pid)
	if err != nil || len(raw) < kinfoSize {
		return false
	}
	k := (*kinfo)(unsafe.Pointer(&raw[0]))
	if k.size != kinfoSize {
		return false
	}
	u.UserTime = time.Duration(k.own.Utime.Nano())
	u.SystemTime = time.Duration(k.own.Stime.Nano() + k.children.Nano())
	u.Memory = k.resident * int64(os.Getpagesize())
	u.MemoryPeak = k.own.Maxrss << 10
	u.Tasks = int(k.threads)
	u.VoluntarySwitches, u.InvoluntarySwitches = uint64(k.own.Nvcsw), uint64(k.own.Nivcsw)
	runtime.KeepAlive(raw)
	return true
}
