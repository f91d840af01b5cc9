package platform

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A tree on FreeBSD is a reaper's subtree: this program is the reaper, which is
// given all orphans, and the system remembers of every descendant from which
// child of the reaper it stems, whatever session or parent it has by now.
type treeKeeper struct{}

// The commands and structures of procctl(2).
const (
	procReapAcquire = 2
	procReapRelease = 3
	procReapStatus  = 4
	procReapGetPIDs = 5
	procReapKill    = 6

	reaperPIDInfoValid = 1
	reaperKillSubtree  = 2
)

type reaperStatus struct {
	flags, children, descendants uint32
	reaper, pid                  int32
	_                            [15]uint32
}

type reaperPIDInfo struct {
	pid, subtree int32
	flags        uint32
	_            [15]uint32
}

type reaperPIDs struct {
	count uint32
	_     [15]uint32
	pids  *reaperPIDInfo
}

type reaperKill struct {
	sig     int32
	flags   uint32
	subtree int32
	killed  uint32
	failed  int32
	_       [15]uint32
}

// procctl acts on this process.
func procctl(cmd int, data unsafe.Pointer) error {
	pid := uintptr(os.Getpid())
	var errno syscall.Errno
	if runtime.GOARCH == "386" || runtime.GOARCH == "arm" { // the id takes two words
		_, _, errno = unix.Syscall6(unix.SYS_PROCCTL, 0, pid, 0, uintptr(cmd), uintptr(data), 0)
	} else {
		_, _, errno = unix.Syscall6(unix.SYS_PROCCTL, 0, pid, uintptr(cmd), uintptr(data), 0, 0)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// reaper counts the hosts of this program, which is a reaper while there are any.
var reaper struct {
	mu    sync.Mutex
	hosts int
	was   bool
}

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

func (k *treeKeeper) open() error {
	reaper.mu.Lock()
	defer reaper.mu.Unlock()
	if reaper.hosts == 0 {
		err := procctl(procReapAcquire, nil)
		reaper.was = err == unix.EBUSY // it was one before
		if err != nil && !reaper.was {
			return fmt.Errorf("become a reaper: %w", err)
		}
	}
	reaper.hosts++
	return nil
}

func (k *treeKeeper) close() {
	reaper.mu.Lock()
	defer reaper.mu.Unlock()
	if reaper.hosts--; reaper.hosts == 0 && !reaper.was {
		procctl(procReapRelease, nil)
	}
}

func (k *treeKeeper) started(int) {}
func (k *treeKeeper) forget(int)  {}

// members reaps the orphans of the tree that are dead, and returns those that are alive.
func (k *treeKeeper) members(p *process) []int {
	var status reaperStatus
	if procctl(procReapStatus, unsafe.Pointer(&status)) != nil || status.descendants == 0 {
		return nil
	}
	infos := make([]reaperPIDInfo, status.descendants+64)
	request := reaperPIDs{count: uint32(len(infos)), pids: &infos[0]}
	err := procctl(procReapGetPIDs, unsafe.Pointer(&request))
	runtime.KeepAlive(infos)
	if err != nil {
		return nil
	}
	var alive []int
	for _, info := range infos {
		if info.flags&reaperPIDInfoValid == 0 || int(info.subtree) != p.pid || int(info.pid) == p.pid {
			continue
		}
		// An orphan is our child and nobody else reaps it; of another one this
		// says that it is not ours to reap.
		if pid, _ := ignoreEINTR(func() (int, error) { return unix.Wait4(int(info.pid), nil, unix.WNOHANG, nil) }); pid > 0 {
			continue
		}
		alive = append(alive, int(info.pid))
	}
	return alive
}

// kill leaves it to the system to end all of the subtree; what is being forked
// meanwhile is ended when the loop comes back after the next exit.
func (k *treeKeeper) kill(p *process, _ bool) {
	request := reaperKill{sig: int32(unix.SIGKILL), flags: reaperKillSubtree, subtree: int32(p.pid)}
	procctl(procReapKill, unsafe.Pointer(&request))
}
