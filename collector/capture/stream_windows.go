package capture

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/windows"
)

// A pipe is the reading end of a named pipe. A goroutine waits for it, in Go's
// completion port: so it costs no thread.
type pipe struct {
	f *os.File
}

// A poller is not needed: there is the completion port.
type poller struct{}

func newPoller() (*poller, error) { return &poller{}, nil }
func (*poller) close() error      { return nil }

var pipes atomic.Uint64

// open makes the pipe, and returns the end for the process.
func (st *stream) open() (*os.File, error) {
	path := fmt.Sprintf(`\\.\pipe\proctor-output-%d-%d`, os.Getpid(), pipes.Add(1))
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	read, err := windows.CreateNamedPipe(name,
		windows.PIPE_ACCESS_INBOUND|windows.FILE_FLAG_OVERLAPPED|windows.FILE_FLAG_FIRST_PIPE_INSTANCE,
		windows.PIPE_TYPE_BYTE|windows.PIPE_REJECT_REMOTE_CLIENTS, 1, 0, readChunk, 0, nil)
	if err != nil {
		return nil, &os.PathError{Op: "create pipe", Path: path, Err: err}
	}
	write, err := windows.CreateFile(name, windows.GENERIC_WRITE|windows.FILE_READ_ATTRIBUTES, 0, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		_ = windows.CloseHandle(read)
		return nil, &os.PathError{Op: "open pipe", Path: path, Err: err}
	}
	st.f = os.NewFile(uintptr(read), path)
	st.running = true
	st.recording.store.workers.Add(1)
	go st.read()
	return os.NewFile(uintptr(write), path), nil
}

// adopt has nothing to do: a pipe ends with the program that reads it.
func (r *Recording) adopt(left) {}

// drain has the recording told when everything that is there has been read. That
// is when the last process that has the pipe is gone.
func (st *stream) drain() {
	st.mu.Lock()
	if st.ended {
		st.mu.Unlock()
		st.recording.drained()
		return
	}
	st.draining = true
	st.mu.Unlock()
}

// expire closes a record that nothing was added to for a while. Where there is a
// goroutine that always reads, the next line does that.
func (st *stream) expire() {}

func (st *stream) read() {
	defer st.recording.store.workers.Done()
	chunk := make([]byte, readChunk)
	sink := st.recording.sink
	for {
		if sink.lossless() {
			room := make(chan struct{}, 1)
			for !sink.room(func() { room <- struct{}{} }) {
				<-room
			}
		}
		n, err := st.f.Read(chunk)
		if n > 0 {
			st.consume(chunk[:n])
		}
		if err != nil && !errors.Is(err, windows.ERROR_MORE_DATA) {
			break
		}
	}
	st.flush(true)
	st.mu.Lock()
	st.ended, st.running = true, false
	draining := st.draining
	if st.idle != nil {
		st.idle.Stop()
	}
	st.mu.Unlock()
	_ = st.f.Close()
	st.recording.over(st)
	if draining {
		st.recording.drained()
	}
}

// abandon ends the reading; who still writes gets an error.
func (st *stream) abandon() { _ = st.f.Close() }
