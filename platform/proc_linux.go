package platform

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// procStat is what the host needs of /proc/PID/stat. It can be read of a zombie too.
type procStat struct {
	pid     int
	state   byte
	ppid    int
	pgrp    int
	session int
	start   uint64 // with the pid, this names a process for good
	envEnd  uint64 // 0 while exec is still laying out the new program, or if we may not know
}

func (s procStat) dead() bool { return s.state == 'Z' || s.state == 'X' }

// A procReader reads small files of /proc into one buffer. It belongs to one goroutine.
type procReader struct {
	buf      []byte
	byThread bool // the kernel lists the children of a thread (CONFIG_PROC_CHILDREN)
}

// read returns the contents of a file, valid until the next call.
func (r *procReader) read(path string) ([]byte, error) {
	fd, err := ignoreEINTR(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return r.readFrom(fd)
}

func (r *procReader) readFrom(fd int) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, 8192)
	}
	n := 0
	for {
		k, err := ignoreEINTR(func() (int, error) { return unix.Pread(fd, r.buf[n:], int64(n)) })
		if err != nil {
			return nil, err
		}
		if k == 0 {
			return r.buf[:n], nil
		}
		if n += k; n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
}

func (r *procReader) stat(pid int) (procStat, error) {
	b, err := r.read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	st, ok := parseStat(b)
	if !ok {
		return procStat{}, errors.New("/proc/PID/stat is not as expected")
	}
	st.pid = pid
	return st, nil
}

// parseStat knows that the name of the program may hold anything, parentheses included.
func parseStat(b []byte) (st procStat, ok bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || len(b) < i+4 {
		return st, false
	}
	n := 3 // proc(5) counts the fields from 1; the state is the third
	for field := range bytes.FieldsSeq(b[i+1:]) {
		switch n {
		case 3:
			st.state = field[0]
		case 4:
			st.ppid = number(field)
		case 5:
			st.pgrp = number(field)
		case 6:
			st.session = number(field)
		case 22:
			st.start, _ = strconv.ParseUint(string(field), 10, 64)
		case 51:
			st.envEnd, _ = strconv.ParseUint(string(field), 10, 64)
		}
		n++
	}
	return st, n > 22
}

func number(field []byte) int {
	n, _ := strconv.Atoi(string(field))
	return n
}

// environ is the environment that pid was exec'ed with; empty for a zombie.
func (r *procReader) environ(pid int) ([]byte, error) {
	return r.read("/proc/" + strconv.Itoa(pid) + "/environ")
}

// environBeyondExec is environ, but knows one that is just being exec'ed: its old
// environment is gone, the new one not there.
func (r *procReader) environBeyondExec(pid int) (environ []byte, execs bool, err error) {
	environ, err = r.environ(pid)
	if err != nil || len(environ) > 0 {
		return environ, false, err
	}
	now, err := r.stat(pid)
	if err != nil || now.dead() || now.envEnd == 0 {
		return nil, err == nil && !now.dead(), err
	}
	environ, err = r.environ(pid) // it may have come between the two looks
	return environ, false, err
}

// numbers appends the whitespace-separated pids in b to dst.
func numbers(dst []int, b []byte) []int {
	for field := range bytes.FieldsSeq(b) {
		if pid := number(field); pid > 0 {
			dst = append(dst, pid)
		}
	}
	return dst
}

// childrenOf appends the pids of the children of all threads of pid to dst. Sure
// says that these are all there were at one moment.
func (r *procReader) childrenOf(dst []int, pid int) (_ []int, sure bool) {
	if !r.byThread {
		return r.childrenBySearch(dst, pid), false
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	var st unix.Stat_t
	// A task directory has a link for each thread beside its own two: most
	// processes have one thread, and then it need not be listed.
	if err := unix.Stat(dir, &st); err == nil && st.Nlink == 3 {
		b, err := r.read(dir + "/" + strconv.Itoa(pid) + "/children")
		if err != nil {
			return dst, false
		}
		return numbers(dst, b), true
	}
	for _, tid := range listNumbers(dir) {
		if b, err := r.read(dir + "/" + strconv.Itoa(tid) + "/children"); err == nil {
			dst = numbers(dst, b)
		}
	}
	return dst, false
}

// childrenBySearch looks at every process there is.
func (r *procReader) childrenBySearch(dst []int, pid int) []int {
	for _, other := range listNumbers("/proc") {
		if st, err := r.stat(other); err == nil && st.ppid == pid {
			dst = append(dst, other)
		}
	}
	return dst
}

// listNumbers lists the entries of a directory of /proc that are numbers.
func listNumbers(dir string) []int {
	fd, err := ignoreEINTR(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var found []int
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := ignoreEINTR(func() (int, error) { return unix.ReadDirent(fd, buf) })
		if err != nil || n <= 0 {
			return found
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				found = append(found, pid)
			}
		}
	}
}

func ignoreEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// An adoptedList tells which processes have this one's main thread for their
// parent. Orphans are given to that thread, while what the spawners start are
// children of the spawners' threads: so it is a list of orphans, and of what
// the program itself may have started from its main thread.
type adoptedList struct {
	fd   int // -1: the kernel does not list children by thread
	self int
}

// withoutChildrenLists is for tests: they run on kernels that have the lists.
var withoutChildrenLists atomic.Bool

func openAdoptedList(self int) adoptedList {
	if withoutChildrenLists.Load() {
		return adoptedList{fd: -1, self: self}
	}
	pid := strconv.Itoa(self)
	fd, err := ignoreEINTR(func() (int, error) {
		return unix.Open("/proc/"+pid+"/task/"+pid+"/children", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		fd = -1
	}
	return adoptedList{fd: fd, self: self}
}

func (l adoptedList) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
}

// any reports whether there may be one: this is asked at every SIGCHLD, and the
// answer is nearly always no.
func (l adoptedList) any() bool {
	if l.fd < 0 {
		return true
	}
	var b [1]byte
	n, err := unix.Pread(l.fd, b[:], 0)
	return n > 0 || err != nil
}

// read appends the pids to dst.
//
// The kernel walks the list while it is being read, by position: if one that it
// has already told of is reaped meanwhile, it skips one. The host's goroutine
// reaps none while it reads, but the program may reap children of its own, which
// are then told of first. So as long as there are any that ours does not know,
// the list is read until it comes out the same twice.
func (l adoptedList) read(r *procReader, dst []int, ours func(pid int) bool) []int {
	if l.fd < 0 {
		return r.childrenBySearch(dst, l.self)
	}
	var before []int
	for range 8 {
		b, err := r.readFrom(l.fd)
		if err != nil {
			return dst
		}
		pids := numbers(dst, b)
		if !slices.ContainsFunc(pids, func(pid int) bool { return !ours(pid) }) || slices.Equal(pids, before) {
			return pids
		}
		before = slices.Clone(pids)
	}
	return before
}
