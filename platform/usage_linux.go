package platform

import (
	"bytes"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A gauge reads what processes use. It belongs to one goroutine, and keeps what it
// needs from one process to the next: a look at a thousand of them makes no more
// garbage than a look at one.
type gauge struct {
	h      *host
	page   int64
	path   []byte       // of a file, with a NUL behind it
	text   []byte       // what was read last
	status unix.Statx_t // what statPath was told last
	pids   []int        // of the tree that is being measured
	reader procReader

	orphans  map[*process][]int // by whose they are; nil: nobody has looked yet
	children map[int][]int      // of all processes, where the kernel has no lists of them; nil: nobody has looked yet
}

// Usage implements Host.
func (h *host) Usage(of []Process, d Detail, into []Usage) {
	clear(into)
	h.looking.RLock()
	defer h.looking.RUnlock()
	if h.blind {
		return
	}
	g := gauge{h: h, page: int64(unix.Getpagesize()), text: make([]byte, 8192), path: make([]byte, 0, 256)}
	g.reader.byThread = h.adopted.fd >= 0
	for i, p := range of {
		if p, ok := p.(*process); ok && p.h == h {
			g.measure(p, d, &into[i])
		}
	}
}

func (g *gauge) measure(p *process, d Detail, u *Usage) {
	p.mu.Lock()
	began, pid, leaf := p.phase, p.pid, p.leaf
	p.mu.Unlock()
	if began != running && began != exited {
		return
	}
	u.At = time.Now()
	if leaf != "" {
		g.ofLeaf(leaf, d, u)
	} else {
		g.ofTree(p, pid, began == running, d, u)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != began { // the numbers of its processes may have been somebody else's by then
		*u = Usage{}
	}
}

const (
	sourceCgroup = "cgroup v2"
	sourceBoth   = "cgroup v2 and procfs"
	sourceProc   = "procfs"
)

// ofLeaf measures a tree that is in a cgroup of its own. What the controllers that
// there are do not tell is told by the processes in it.
func (g *gauge) ofLeaf(leaf string, d Detail, u *Usage) {
	t := g.h.cgroups
	u.Source = sourceCgroup
	g.cpuStat(leaf, u)
	if t.controllers["memory"] {
		g.number(leaf, "memory.current", HasMemory, &u.Memory, u)
		if d == Full {
			g.number(leaf, "memory.peak", HasMemoryPeak, &u.MemoryPeak, u) // since Linux 5.19
			g.number(leaf, "memory.swap.current", HasSwap, &u.Swap, u)
			g.number(leaf, "memory.max", 0, &u.MemoryLimit, u)
			g.memoryEvents(leaf, u)
		}
	}
	if t.controllers["pids"] {
		var tasks, limit int64
		g.number(leaf, "pids.current", HasTasks, &tasks, u)
		if d == Full {
			g.number(leaf, "pids.max", 0, &limit, u)
		}
		u.Tasks, u.TasksLimit = int(tasks), int(limit)
	}
	if d == Full {
		if t.controllers["io"] {
			g.ioStat(leaf, u)
		}
		g.pressure(leaf, "cpu.pressure", HasCPUPressure, &u.CPUPressure, u)
		g.pressure(leaf, "memory.pressure", HasMemoryPressure, &u.MemoryPressure, u)
		g.pressure(leaf, "io.pressure", HasIOPressure, &u.IOPressure, u)
	}
	if d == Brief && u.Has(HasCPU|HasMemory|HasTasks) {
		return
	}
	g.pids = g.pids[:0]
	if !g.members(leaf) {
		return
	}
	before := u.Known
	g.ofProcesses(d, u)
	if u.Known&(HasMemory|HasTasks|HasIO)&^before != 0 {
		u.Source = sourceBoth
	}
}

// ofTree measures a tree without a cgroup: the process, what is below it, and the
// orphans that belong to it.
func (g *gauge) ofTree(p *process, pid int, itself bool, d Detail, u *Usage) {
	u.Source = sourceProc
	g.tree(p, pid, itself)
	g.ofProcesses(d, u)
}

// tree finds the processes of a tree without a cgroup.
func (g *gauge) tree(p *process, pid int, itself bool) []int {
	g.pids = g.pids[:0]
	if itself {
		g.pids = append(g.pids, pid)
	}
	g.pids = append(g.pids, g.orphansOf(p)...)
	for i := 0; i < len(g.pids); i++ {
		g.pids = g.childrenOf(g.pids, g.pids[i])
	}
	return g.pids
}

// members appends the processes in a group, and in the groups within it.
func (g *gauge) members(group string) bool {
	text := g.readAt(group, "cgroup.procs")
	if text == nil {
		return false
	}
	g.pids = numbers(g.pids, text)
	g.path = append(append(g.path[:0], group...), 0)
	if g.statPath(g.h.cgroups.dir).Nlink == 2 {
		return true // a directory has a link for each one in it, beside its own two
	}
	for _, name := range subgroups(g.h.cgroups.path() + "/" + group) {
		g.members(group + "/" + name)
	}
	return true
}

// ofProcesses adds up what the processes in g.pids tell, where nothing better is
// known. One that is gone meanwhile counts for nothing; one that does not tell
// something, being somebody else's, makes that unknown.
func (g *gauge) ofProcesses(d Detail, u *Usage) {
	wanted := HasCPU | HasMemory | HasTasks | HasProcesses
	if d == Full {
		wanted |= HasMemoryPeak | HasSwap | HasIO | HasDescriptors | HasSwitches // what operations of storage there were is not told
	}
	wanted &^= u.Known
	var sum Usage
	there := 0
	for _, pid := range g.pids {
		var one Usage
		one.Known = wanted
		if !g.ofProcess(pid, wanted, &one) {
			continue
		}
		there++
		wanted &= one.Known
		sum.UserTime += one.UserTime
		sum.SystemTime += one.SystemTime
		sum.Memory += one.Memory
		sum.MemoryPeak += one.MemoryPeak
		sum.Swap += one.Swap
		sum.Tasks += one.Tasks
		sum.ReadBytes += one.ReadBytes
		sum.WriteBytes += one.WriteBytes
		sum.Descriptors += one.Descriptors
		sum.VoluntarySwitches += one.VoluntarySwitches
		sum.InvoluntarySwitches += one.InvoluntarySwitches
	}
	if wanted&HasCPU != 0 {
		u.UserTime, u.SystemTime = sum.UserTime, sum.SystemTime
	}
	if wanted&HasMemory != 0 {
		u.Memory = sum.Memory
	}
	if wanted&HasMemoryPeak != 0 {
		u.MemoryPeak = sum.MemoryPeak
	}
	if wanted&HasSwap != 0 {
		u.Swap = sum.Swap
	}
	if wanted&HasTasks != 0 {
		u.Tasks = sum.Tasks
	}
	if wanted&HasIO != 0 {
		u.ReadBytes, u.WriteBytes = sum.ReadBytes, sum.WriteBytes
	}
	if wanted&HasDescriptors != 0 {
		u.Descriptors = sum.Descriptors
	}
	if wanted&HasSwitches != 0 {
		u.VoluntarySwitches, u.InvoluntarySwitches = sum.VoluntarySwitches, sum.InvoluntarySwitches
	}
	u.Processes = there
	u.Known |= wanted
}

// maxThreads is how many threads of a process are asked for their context
// switches, which costs a file each.
const maxThreads = 256

// ofProcess measures one process; false: it is not there. Known is to hold what is
// wanted, and loses what the process does not tell.
func (g *gauge) ofProcess(pid int, wanted Metric, u *Usage) (there bool) {
	if wanted&(HasMemoryPeak|HasSwap|HasSwitches) != 0 { // the one file tells nearly everything
		text := g.readProc(pid, "status")
		if text == nil {
			return false
		}
		readStatus(text, u)
		if wanted&HasSwitches != 0 && u.Tasks > 1 {
			g.switches(pid, u)
		}
		if wanted&HasCPU != 0 && !g.stat(pid, u) {
			return false
		}
	} else if wanted&HasCPU != 0 {
		if !g.stat(pid, u) {
			return false
		}
	} else {
		text := g.readProc(pid, "statm")
		if text == nil {
			return false
		}
		_, text = field(text)
		resident, _ := field(text)
		u.Memory = int64(decimal(resident)) * g.page
		if wanted&HasTasks != 0 {
			g.setProcPath(pid, "task")
			u.Tasks = max(int(g.statPath(unix.AT_FDCWD).Nlink)-2, 0)
		}
	}
	if wanted&HasIO != 0 {
		text := g.readProc(pid, "io")
		if text == nil {
			u.Known &^= HasIO
		}
		u.ReadBytes, u.WriteBytes = valueOf(text, "read_bytes: "), valueOf(text, "write_bytes: ")
	}
	if wanted&HasDescriptors != 0 {
		g.setProcPath(pid, "fd")
		st := g.statPath(unix.AT_FDCWD)
		u.Descriptors = int(st.Size) // since Linux 6.2
		if st.Size == 0 {
			n, ok := countEntries(g.pathText())
			if u.Descriptors = n; !ok {
				u.Known &^= HasDescriptors
			}
		}
	}
	return true
}

// ticksPerSecond is in what /proc/PID/stat counts processor time, on every
// architecture that Go knows.
const ticksPerSecond = 100

// stat reads processor time, memory and threads.
func (g *gauge) stat(pid int, u *Usage) bool {
	text := g.readProc(pid, "stat")
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return false
	}
	text = text[i+1:]
	for n := 3; n <= 24 && len(text) > 0; n++ { // proc(5) counts the fields from 1
		var value []byte
		value, text = field(text)
		switch n {
		case 14, 16: // its own, and that of the children that it has waited for
			u.UserTime += time.Duration(decimal(value)) * (time.Second / ticksPerSecond)
		case 15, 17:
			u.SystemTime += time.Duration(decimal(value)) * (time.Second / ticksPerSecond)
		case 20:
			u.Tasks = int(decimal(value))
		case 24:
			u.Memory = int64(decimal(value)) * g.page
		}
	}
	return true
}

// readStatus reads /proc/PID/status. Sizes in it are in KiB; a zombie has none.
func readStatus(text []byte, u *Usage) {
	u.Memory = int64(valueOf(text, "VmRSS:")) << 10
	u.MemoryPeak = int64(valueOf(text, "VmHWM:")) << 10
	u.Swap = int64(valueOf(text, "VmSwap:")) << 10
	u.Tasks = int(valueOf(text, "Threads:"))
	readSwitches(text, u)
}

// readSwitches adds the context switches of one thread.
func readSwitches(text []byte, u *Usage) {
	u.VoluntarySwitches += valueOf(text, "\nvoluntary_ctxt_switches:")
	u.InvoluntarySwitches += valueOf(text, "nonvoluntary_ctxt_switches:")
}

// switches adds up the context switches of all threads.
func (g *gauge) switches(pid int, u *Usage) {
	if u.Tasks > maxThreads {
		u.Known &^= HasSwitches
		return
	}
	u.VoluntarySwitches, u.InvoluntarySwitches = 0, 0
	g.setProcPath(pid, "task")
	for _, tid := range listNumbers(g.pathText()) {
		g.setProcPath(pid, "task/")
		g.path = append(strconv.AppendInt(g.path[:len(g.path)-1], int64(tid), 10), "/status\x00"...)
		readSwitches(g.readPath(unix.AT_FDCWD), u)
	}
}

// countEntries counts what is in a directory of /proc.
func countEntries(dir string) (n int, ok bool) {
	fd, err := ignoreEINTR(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192)
	for {
		size, err := ignoreEINTR(func() (int, error) { return unix.ReadDirent(fd, buf) })
		if err != nil || size <= 0 {
			return n, err == nil
		}
		_, count, _ := unix.ParseDirent(buf[:size], -1, nil)
		n += count
	}
}

// orphansOf are the processes of a tree whose parents have ended: they are
// children of this program now.
func (g *gauge) orphansOf(p *process) []int {
	if g.orphans == nil {
		g.orphans = map[*process][]int{}
		list := openAdoptedList(g.h.self)
		defer list.close()
		var adopted []int
		if list.any() {
			adopted = g.adopted(list)
		}
		for _, pid := range adopted {
			st, err := g.reader.stat(pid)
			if err != nil || st.dead() {
				continue
			}
			if owner := g.ownerOf(st); owner != nil && owner.PID() != pid {
				g.orphans[owner] = append(g.orphans[owner], pid)
			}
		}
	}
	return g.orphans[p]
}

func (g *gauge) adopted(list adoptedList) []int {
	if list.fd < 0 {
		return g.childrenOf(nil, g.h.self)
	}
	text, err := g.reader.readFrom(list.fd)
	if err != nil {
		return nil
	}
	return numbers(nil, text)
}

// ownerOf finds out in whose tree an orphan is, as tree_linux.go does; nil if that
// is nobody's.
func (g *gauge) ownerOf(st procStat) *process {
	seq, marked := uint64(0), false
	if environ, err := g.reader.environ(st.pid); err == nil {
		seq, marked = findMark(environ, g.h.nonce)
	}
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	if p := g.h.byPID[st.pgrp]; p != nil {
		return p
	}
	if p := g.h.byPID[st.session]; p != nil {
		return p
	}
	if marked {
		return g.h.trees[seq]
	}
	return nil
}

// childrenOf appends the children of a process.
func (g *gauge) childrenOf(dst []int, pid int) []int {
	if g.reader.byThread {
		dst, _ = g.reader.childrenOf(dst, pid)
		return dst
	}
	if g.children == nil { // one look at all processes does for all
		g.children = map[int][]int{}
		for _, other := range listNumbers("/proc") {
			if st, err := g.reader.stat(other); err == nil {
				g.children[st.ppid] = append(g.children[st.ppid], other)
			}
		}
	}
	return append(dst, g.children[pid]...)
}

func (g *gauge) cpuStat(leaf string, u *Usage) {
	text := g.readAt(leaf, "cpu.stat")
	if text == nil {
		return
	}
	u.UserTime = time.Duration(valueOf(text, "user_usec ")) * time.Microsecond
	u.SystemTime = time.Duration(valueOf(text, "system_usec ")) * time.Microsecond
	u.Known |= HasCPU
	if bytes.Contains(text, []byte("throttled_usec ")) {
		u.Throttled = time.Duration(valueOf(text, "throttled_usec ")) * time.Microsecond
		u.Known |= HasThrottled
	}
}

// number reads a file that holds one; "max" is none.
func (g *gauge) number(leaf, file string, m Metric, into *int64, u *Usage) {
	if text := g.readAt(leaf, file); text != nil {
		*into = int64(decimal(text))
		u.Known |= m
	}
}

func (g *gauge) memoryEvents(leaf string, u *Usage) {
	if text := g.readAt(leaf, "memory.events"); text != nil {
		u.OOMKills = valueOf(text, "oom_kill ")
		u.Known |= HasOOMKills
	}
}

// ioStat adds up all devices.
func (g *gauge) ioStat(leaf string, u *Usage) {
	text := g.readAt(leaf, "io.stat")
	if text == nil {
		return
	}
	for line := range bytes.Lines(text) {
		u.ReadBytes += valueOf(line, "rbytes=")
		u.WriteBytes += valueOf(line, "wbytes=")
		u.ReadOps += valueOf(line, "rios=")
		u.WriteOps += valueOf(line, "wios=")
	}
	u.Known |= HasIO | HasIOOps
}

// pressure reads a file of PSI, which a kernel may have switched off.
func (g *gauge) pressure(leaf, file string, m Metric, p *Pressure, u *Usage) {
	text := g.readAt(leaf, file)
	if text == nil {
		return
	}
	*p = parsePressure(text)
	u.Known |= m
}

func parsePressure(text []byte) (p Pressure) {
	for line := range bytes.Lines(text) {
		avg10, avg60 := percent(line, "avg10="), percent(line, "avg60=")
		total := time.Duration(valueOf(line, "total=")) * time.Microsecond
		switch {
		case bytes.HasPrefix(line, []byte("some ")):
			p.Some10, p.Some60, p.Some = avg10, avg60, total
		case bytes.HasPrefix(line, []byte("full ")):
			p.Full10, p.Full60, p.Full = avg10, avg60, total
		}
	}
	return p
}

// percent reads "avg10=1.25": there are two digits behind the point.
func percent(line []byte, label string) float64 {
	_, rest, _ := bytes.Cut(line, []byte(label))
	whole := decimal(rest)
	_, rest, _ = bytes.Cut(rest, []byte("."))
	if len(rest) < 2 {
		return float64(whole)
	}
	return float64(whole*100+decimal(rest[:2])) / 100
}

// valueOf is the number behind a label, 0 if there is none.
func valueOf(text []byte, label string) uint64 {
	i := bytes.Index(text, unsafe.Slice(unsafe.StringData(label), len(label))) // a conversion could cost an allocation
	if i < 0 {
		return 0
	}
	value, _ := field(text[i+len(label):])
	return decimal(value)
}

// field splits off the first field of a text.
func field(text []byte) (first, rest []byte) {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
		text = text[1:]
	}
	for i, c := range text {
		if c == ' ' || c == '\t' || c == '\n' {
			return text[:i], text[i:]
		}
	}
	return text, nil
}

// decimal reads the digits at the beginning of a text.
func decimal(text []byte) (n uint64) {
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// readAt reads a file of a group below the host's; nil if it cannot be read.
func (g *gauge) readAt(group, file string) []byte {
	g.path = append(append(append(g.path[:0], group...), '/'), file...)
	g.path = append(g.path, 0)
	return g.readPath(g.h.cgroups.dir)
}

func (g *gauge) readProc(pid int, file string) []byte {
	g.setProcPath(pid, file)
	return g.readPath(unix.AT_FDCWD)
}

func (g *gauge) setProcPath(pid int, file string) {
	g.path = strconv.AppendInt(append(g.path[:0], "/proc/"...), int64(pid), 10)
	g.path = append(append(append(g.path, '/'), file...), 0)
}

// pathText is g.path for those who want a string.
func (g *gauge) pathText() string { return string(g.path[:len(g.path)-1]) }

// statPath is what the system says of the file at g.path, below a directory; zero if
// it is not there. As in readPath, that costs no copy of the path; and statx is the
// call that is the same on all architectures.
func (g *gauge) statPath(dir int) *unix.Statx_t {
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(g.path))), 0,
			unix.STATX_NLINK|unix.STATX_SIZE, uintptr(unsafe.Pointer(&g.status)), 0)
		switch errno {
		case 0:
			return &g.status
		case unix.EINTR:
			continue
		}
		g.status = unix.Statx_t{}
		return &g.status
	}
}

const shortOfPage = 3072

// readPath reads the file at g.path, below a directory. It makes the calls itself,
// as those of package unix make a copy of the path each time. What is returned is
// valid until the next call; nil if the file cannot be read.
func (g *gauge) readPath(dir int) []byte {
	var fd uintptr
	for {
		var errno syscall.Errno
		fd, _, errno = syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(g.path))), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return nil
		}
	}
	defer unix.Close(int(fd))
	n := 0
	for {
		k, err := unix.Read(int(fd), g.text[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil
		}
		// What comes of a list may end where a page does; what is much shorter than
		// that is all of it, and spares a call.
		n += k
		if k < shortOfPage {
			return g.text[:n]
		}
		if n == len(g.text) {
			g.text = append(g.text, make([]byte, len(g.text))...)
		}
	}
}
