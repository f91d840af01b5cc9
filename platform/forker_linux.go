package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A forker is a thread that does nothing but fork. It keeps living as long as its
// host: the death signal that a process gets when the supervisor dies
// (PR_SET_PDEATHSIG) belongs to the thread that cloned it, not to the program.
//
// It has a table of descriptors of its own. The kernel gives a child a copy of
// the table and closes that again at its exec, entry by entry: from the program's
// own, with some descriptors a process, each start would cost the more the more
// processes there are. What a process is to have is sent to the thread.
type forker struct {
	theirs, ours int   // the two ends of a socket
	apart        bool  // the thread has a table of its own, with its end in it
	binds        bool  // it has no_new_privs in force, and so has what it forks
	unbound      error // why it has not, although it was to
	wake         threadParker
	done         chan struct{}

	// The job under way, from wake to done.
	job  func(received []int) (pid int, err error)
	sent int
	pid  int
	err  error
	quit bool
}

// newForker starts a thread, in whose table there are some descriptors of the
// program; binds says that what it forks may gain no privileges. Workers counts it
// until it ends.
func newForker(self int, workers *sync.WaitGroup, binds bool, keep ...int) (*forker, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	f := &forker{ours: ends[0], theirs: ends[1], binds: binds, done: make(chan struct{}, 1)}
	ready := make(chan struct{})
	workers.Add(1)
	go f.run(self, workers, append(keep, f.theirs), ready)
	<-ready
	if f.apart {
		unix.Close(f.theirs) // in the program's table
	}
	return f, nil
}

// run is the thread.
func (f *forker) run(self int, workers *sync.WaitGroup, keep []int, ready chan<- struct{}) {
	runtime.LockOSThread() // for ever: nobody else could do with its descriptors
	if unix.Gettid() == self {
		// Children of the main thread could not be told from orphans. While
		// this goroutine holds that thread, another one gets a different one.
		other := make(chan struct{})
		go f.run(self, workers, keep, other)
		<-other
		runtime.UnlockOSThread()
		close(ready)
		return
	}
	defer workers.Done()
	f.apart = separateTable(keep) == nil
	if f.binds { // for ever; Go starts no other thread from one that a goroutine holds
		f.unbound = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	close(ready)
	for {
		f.wake.park()
		if f.quit {
			if !f.apart {
				unix.Close(f.theirs)
			}
			return
		}
		f.pid, f.err = f.obey()
		f.done <- struct{}{}
	}
}

func (f *forker) obey() (pid int, err error) {
	received, err := receive(f.theirs, f.sent)
	defer func() {
		for _, fd := range received {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return 0, err
	}
	return f.job(received)
}

// do has the thread carry out a job that starts a process, with copies of some
// descriptors, which are closed again when it returns. Only one may be under way.
func (f *forker) do(descriptors []int, job func(received []int) (pid int, err error)) (pid int, err error) {
	f.job, f.sent = job, len(descriptors)
	if len(descriptors) > 0 {
		if err := unix.Sendmsg(f.ours, []byte{0}, unix.UnixRights(descriptors...), nil, 0); err != nil {
			return 0, fmt.Errorf("sending descriptors to the thread that forks: %w", err)
		}
	}
	f.wake.release()
	<-f.done
	f.job = nil
	return f.pid, f.err
}

// receive takes n descriptors from a socket.
func receive(socket, n int) (descriptors []int, err error) {
	if n == 0 {
		return nil, nil
	}
	var data [1]byte
	rights := make([]byte, unix.CmsgSpace(4*n))
	_, size, flags, _, err := unix.Recvmsg(socket, data[:], rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receiving descriptors: %w", err)
	}
	parts, err := unix.ParseSocketControlMessage(rights[:size])
	if err != nil {
		return nil, fmt.Errorf("receiving descriptors: %w", err)
	}
	for i := range parts {
		some, err := unix.ParseUnixRights(&parts[i])
		if err != nil {
			return descriptors, fmt.Errorf("receiving descriptors: %w", err)
		}
		descriptors = append(descriptors, some...)
	}
	if flags&unix.MSG_CTRUNC != 0 || len(descriptors) != n {
		return descriptors, unix.EMFILE // that is what keeps them from coming
	}
	return descriptors, nil
}

// end lets the thread go.
func (f *forker) end() {
	f.quit = true
	f.wake.release()
	unix.Close(f.ours)
}

// separateTable gives the calling thread a table of descriptors of its own, with
// only those in it that it needs. Where that cannot be had it goes on with the
// program's.
func separateTable(keep []int) error {
	const dir = "/proc/thread-self/fd"
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	// Go's runtime looks at its poller from whatever thread happens to end a
	// garbage collection: that has to be there by now, and has to stay.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	w.Close()
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return err
	}
	// From here on nothing may be left to Go that a garbage collection closes: it
	// would do that in the program's table.
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	var names []string
	buffer := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(fd, buffer)
		if err != nil || n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names)
	}
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil || n <= 2 || slices.Contains(keep, n) || n == fd {
			continue
		}
		target := make([]byte, 64)
		size, err := unix.Readlink(filepath.Join(dir, name), target)
		if err == nil && isPoller(string(target[:size])) {
			continue
		}
		unix.Close(n)
	}
	unix.Close(fd)
	return nil
}

func isPoller(target string) bool {
	return strings.HasPrefix(target, "anon_inode:[eventpoll]") || strings.HasPrefix(target, "anon_inode:[eventfd]")
}
