package platform

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// A tree on macOS is the process group, and what is found below it when it is
// ended. The system has neither subreapers nor reapers: an orphan is given to
// launchd, so that one that has left the group before its parent died is lost
// unless it was seen below that parent. Nor is there a signal for the children
// of a process that dies: a guardian has to end the groups then.
type treeKeeper struct {
	guardian *guardian
	known    map[int]map[int]unix.Timeval // by process, then by pid: its start, which tells it from a successor
}

func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func (k *treeKeeper) open() (err error) {
	k.known = map[int]map[int]unix.Timeval{}
	k.guardian, err = startGuardian(endGroups)
	return err
}

func (k *treeKeeper) close() { k.guardian.close() }

func (k *treeKeeper) started(pid int) { k.guardian.watch(pid) }

func (k *treeKeeper) forget(pid int) {
	k.guardian.release(pid)
	delete(k.known, pid)
}

const zombie = 5 // SZOMB of sys/proc.h

// look finds what is in the tree of p besides p itself, and remembers it.
func (k *treeKeeper) look(p *process) []int {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	root := p.pid
	known := k.known[root]
	if known == nil {
		known = map[int]unix.Timeval{}
		k.known[root] = known
	}
	in := map[int]bool{root: true}
	var found []int
	for again := true; again; {
		again = false
		for i := range table {
			proc, e := &table[i].Proc, &table[i].Eproc
			pid := int(proc.P_pid)
			if in[pid] || proc.P_stat == zombie {
				continue
			}
			start, seen := known[pid]
			if int(e.Pgid) == root || in[int(e.Ppid)] || seen && start == proc.P_starttime {
				in[pid], again = true, true
				known[pid] = proc.P_starttime
				found = append(found, pid)
			}
		}
	}
	return found
}

func (k *treeKeeper) members(p *process) []int { return k.look(p) }

// kill stops all, so that nothing multiplies meanwhile, looks until there is
// nothing new, and ends all. Between a look and a signal, which take
// microseconds, a pid would have to come round again to hit somebody else.
func (k *treeKeeper) kill(p *process, running bool) {
	signal := func(sig unix.Signal) {
		if running { // or else the number of the group may be somebody else's; look finds its members
			unix.Kill(-p.pid, sig)
		}
	}
	signal(unix.SIGSTOP)
	stopped := map[int]bool{}
	for range 64 {
		again := false
		for _, pid := range k.look(p) {
			if !stopped[pid] {
				stopped[pid], again = true, true
				unix.Kill(pid, unix.SIGSTOP)
			}
		}
		if !again {
			break
		}
	}
	for _, pid := range k.look(p) {
		unix.Kill(pid, unix.SIGKILL)
	}
	signal(unix.SIGKILL)
}
