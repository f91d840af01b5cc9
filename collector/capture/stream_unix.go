//go:build unix

package capture

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe is the reading end of a FIFO.
type pipe struct {
	// Its path is made of this where it is needed: there may be thousands.
	serial uint64 // 0: it has no name
	left   *left  // it is one that a program before this one has left; nil: it is not

	fd    int32
	wide  bool
	token uint64
	nudge chan struct{} // ends a wait for more
}

// wideBuffer is the size of the kernel's buffer for a process that writes much.
const wideBuffer = 256 << 10

// smallWrite is how little is to be read if a process writes line by line.
const smallWrite = 4 << 10

// gathering is how long a process that is writing is left to write on before what
// it wrote is read.
const gathering = 300 * time.Microsecond

// open makes the FIFO, and returns the end for the process.
func (st *stream) open() (*os.File, error) {
	st.serial, st.fd = st.recording.store.serial.Add(1), -1
	path := st.path()
	err := unix.Mkfifo(path, 0o600)
	if err == unix.ENOENT && os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		err = unix.Mkfifo(path, 0o600)
	}
	if err != nil {
		return st.openNameless()
	}
	if err := st.listen(); err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	// The process holds it for both: so it is never without a reader.
	w, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		st.end()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := st.attend(); err != nil {
		_ = unix.Close(w)
		st.end()
		return nil, err
	}
	return os.NewFile(uintptr(w), path), nil
}

// openNameless is for a disk on which no FIFO can be made: nobody has to do
// without output for that. Its output does not survive this program.
func (st *stream) openNameless() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	st.serial = 0
	fd, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		st.fd = int32(fd)
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = st.attend()
	}
	if err == nil {
		// The process is to have it as it is by itself: blocking.
		err = unix.SetNonblock(int(w.Fd()), false)
	}
	if err != nil {
		_ = w.Close()
		st.end()
		return nil, err
	}
	return w, nil
}

// path is that of the FIFO, or empty.
func (st *stream) path() string {
	switch r := st.recording; {
	case st.left != nil:
		return st.left.path
	case st.serial == 0:
		return ""
	default:
		return r.store.pipeName(r.id, r.incarnation, st.serial, st.kind)
	}
}

func (st *stream) listen() error {
	path := st.path()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	st.fd = int32(fd)
	return nil
}

func (st *stream) attend() error {
	return st.recording.store.poller.add(int(st.fd), st)
}

// adopt goes on with a FIFO that a program before this one has left.
func (r *Recording) adopt(l left) {
	st := &stream{recording: r, kind: l.stream}
	st.left, st.fd = &l, -1
	info, err := os.Lstat(l.path)
	if err != nil || info.Mode().Type() != fs.ModeNamedPipe || st.listen() != nil {
		return
	}
	r.streams = append(r.streams, st)
	r.store.mu.Lock()
	r.store.recordings[r] = true
	r.store.mu.Unlock()
	if st.attend() != nil {
		st.end()
		return
	}
	st.ready() // nobody may be there any more, and then nobody will say so
}

// ready is told that there is something to read, or that there may be.
func (st *stream) ready() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.start()
}

// start makes sure that somebody reads. The lock is held.
func (st *stream) start() {
	switch {
	case st.ended || st.blocked:
	case st.running:
		st.again = true
		select {
		case st.nudge <- struct{}{}: // nil where it does not linger
		default:
		}
	default:
		st.running = true
		st.recording.store.workers.Add(1)
		go st.read()
	}
}

// drain has the recording told when everything that is there has been read.
func (st *stream) drain() {
	st.mu.Lock()
	if st.ended {
		st.mu.Unlock()
		st.recording.drained()
		return
	}
	st.draining = true
	st.start()
	st.mu.Unlock()
}

// expire closes a record that nothing was added to for a while.
func (st *stream) expire() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.expired = true
	st.start()
}

// roomy is told that there is room again.
func (st *stream) roomy() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.blocked = false
	st.start()
}

// read reads until there is no more.
func (st *stream) read() {
	defer st.recording.store.workers.Done()
	chunk := chunks.Get().(*[]byte)
	defer chunks.Put(chunk)
	sink := st.recording.sink
	got := 0       // bytes since the last wait
	small := false // it writes little at a time, and often
	woken := true  // nothing has been read since we were woken
	var much bulk
	defer much.close()
	for {
		st.mu.Lock()
		st.again = false
		if sink.lossless() {
			st.blocked = true
			if !sink.room(st.roomyLater) {
				st.running = false
				st.mu.Unlock()
				return
			}
			st.blocked = false
		}
		st.mu.Unlock()
		if much.pass(st) {
			woken, small = false, false
			continue
		}
		n, err := unix.Read(int(st.fd), *chunk)
		if n > 0 {
			much.saw(st, n)
			st.consume((*chunk)[:n])
			if woken {
				woken, small = false, n < smallWrite
				much.woke(n)
			}
			if got += n; small && got >= readChunk {
				st.widen() // what it writes while we linger must find room
			}
			small = small && got < 2*wideBuffer
			continue
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		much.paused()
		ended := !errors.Is(err, unix.EAGAIN) // nobody has it open any more
		st.mu.Lock()
		if st.again && !ended {
			st.mu.Unlock()
			continue
		}
		if small && got > 0 && !ended && !st.draining {
			// Who writes line by line is faster when he does not have to wake us
			// for each.
			got = 0
			if st.nudge == nil {
				st.nudge = make(chan struct{}, 1)
			}
			st.mu.Unlock()
			st.linger()
			continue
		}
		draining, expired := st.draining, st.expired
		st.draining, st.expired = false, false
		st.mu.Unlock()
		if ended || draining {
			st.flush(true)
		} else if expired {
			st.flush(false)
		}
		if ended {
			st.end()
			st.recording.over(st)
		}
		if draining {
			st.recording.drained()
		}
		if ended {
			st.mu.Lock()
			draining = st.draining // it was asked while it ended
			st.running = false
			st.mu.Unlock()
			if draining {
				st.recording.drained()
			}
			return
		}
		st.mu.Lock()
		if !st.again && !st.draining {
			st.running = false
			if !st.ended {
				st.recording.store.poller.arm(int(st.fd), st.token)
			}
			st.mu.Unlock()
			return
		}
		st.mu.Unlock()
	}
}

// linger waits a moment for more, unless somebody wants to know how things are.
func (st *stream) linger() {
	timer := time.NewTimer(gathering)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-st.nudge:
	}
}

// roomyLater is called with no lock held, but perhaps by who is reading for another.
func (st *stream) roomyLater() { st.roomy() }

// end closes the FIFO, and removes it.
func (st *stream) end() {
	st.mu.Lock()
	if st.ended {
		st.mu.Unlock()
		return
	}
	st.ended = true
	if st.idle != nil {
		st.idle.Stop()
	}
	st.mu.Unlock()
	if st.token != 0 {
		st.recording.store.poller.remove(int(st.fd), st.token)
	}
	if st.fd >= 0 {
		_ = unix.Close(int(st.fd))
	}
	if path := st.path(); path != "" {
		_ = os.Remove(path)
	}
}

// abandon closes the FIFO, but leaves it to who comes next. Nobody reads any more.
func (st *stream) abandon() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended || st.running {
		return
	}
	st.ended = true
	if st.idle != nil {
		st.idle.Stop()
	}
	if st.fd >= 0 {
		_ = unix.Close(int(st.fd))
	}
}
