package platform

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// accounting is what the system counts for a job, of processes that have ended too.
type accounting struct {
	userTime, kernelTime             int64 // in units of 100 ns
	periodUserTime, periodKernelTime int64
	pageFaults                       uint32
	processes, active, terminated    uint32
	io                               windows.IO_COUNTERS
}

// memoryCounters is PROCESS_MEMORY_COUNTERS.
type memoryCounters struct {
	size, pageFaults                 uint32
	peakWorkingSet, workingSet       uintptr
	peakPagedPool, pagedPool         uintptr
	peakNonPagedPool, nonPagedPool   uintptr
	pagefileUsage, peakPagefileUsage uintptr
}

func (m *memoryCounters) read(process windows.Handle) bool {
	m.size = uint32(unsafe.Sizeof(*m))
	ok, _, _ := procGetProcessMemoryInfo.Call(uintptr(process), uintptr(unsafe.Pointer(m)), uintptr(m.size))
	return ok != 0
}

var procGetProcessHandleCount = kernel32.NewProc("GetProcessHandleCount")

// Usage implements Host.
func (h *host) Usage(of []Process, d Detail, into []Usage) {
	threads := threadCounts()
	for i, p := range of {
		into[i] = Usage{}
		if p, ok := p.(*process); ok && p.h == h {
			p.measure(d, threads, &into[i])
		}
	}
}

// measure asks the job for what is counted there, and its processes for the rest.
// The lock keeps the job open.
func (p *process) measure(d Detail, threads map[uint32]int, u *Usage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != running && p.phase != exited {
		return
	}
	pids, err := p.pids()
	if err != nil {
		return
	}
	u.At, u.Source = time.Now(), "job object"
	wanted := HasCPU | HasMemory | HasMemoryPeak | HasProcesses
	if threads != nil {
		wanted |= HasTasks
	}
	if d == Full {
		wanted |= HasDescriptors
	}
	for _, pid := range pids {
		process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
		if err != nil {
			continue // it is gone
		}
		u.Processes++
		u.Tasks += threads[pid]
		var memory memoryCounters
		if memory.read(process) {
			u.Memory += int64(memory.workingSet)
			u.MemoryPeak += int64(memory.peakWorkingSet)
		} else {
			wanted &^= HasMemory | HasMemoryPeak
		}
		var created, ended, kernel, user windows.Filetime
		if windows.GetProcessTimes(process, &created, &ended, &kernel, &user) == nil {
			u.UserTime += ticks(user)
			u.SystemTime += ticks(kernel)
		}
		if d == Full {
			var handles uint32
			if ok, _, _ := procGetProcessHandleCount.Call(uintptr(process), uintptr(unsafe.Pointer(&handles))); ok != 0 && handles > 0 { // wine counts none
				u.Descriptors += int(handles)
			} else {
				wanted &^= HasDescriptors
			}
		}
		windows.CloseHandle(process)
	}
	u.Known = wanted
	var all accounting
	if windows.QueryInformationJobObject(p.job, windows.JobObjectBasicAndIoAccountingInformation, uintptr(unsafe.Pointer(&all)), uint32(unsafe.Sizeof(all)), nil) != nil {
		return
	}
	// wine counts no time for a job.
	u.UserTime = max(u.UserTime, time.Duration(all.userTime)*100)
	u.SystemTime = max(u.SystemTime, time.Duration(all.kernelTime)*100)
	u.ReadBytes, u.WriteBytes = all.io.ReadTransferCount, all.io.WriteTransferCount
	u.ReadOps, u.WriteOps = all.io.ReadOperationCount, all.io.WriteOperationCount
	u.Known |= HasIO | HasIOOps
}

// threadCounts is how many threads each process has; nil if that is not told.
func threadCounts() map[uint32]int {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil
	}
	defer windows.CloseHandle(snapshot)
	counts := map[uint32]int{}
	entry := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snapshot, &entry); err == nil; err = windows.Process32Next(snapshot, &entry) {
		counts[entry.ProcessID] = int(entry.Threads)
	}
	return counts
}
