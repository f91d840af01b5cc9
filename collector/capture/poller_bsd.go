//go:build darwin || freebsd

package capture

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A poller waits for all FIFOs at once, in a kqueue.
type poller struct {
	kq   int
	done chan struct{}

	mu      sync.Mutex // leaf I/O: streams come and go while the loop waits
	streams map[uint64]*stream
	tokens  map[int]uint64 // by descriptor: a kqueue carries no 64-bit token on every system
	token   uint64
}

func newPoller() (*poller, error) {
	kq, err := unix.Kqueue()
	if err != nil {
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(kq)
	p := &poller{kq: kq, done: make(chan struct{}), streams: map[uint64]*stream{}, tokens: map[int]uint64{}}
	if err := p.change(0, unix.EVFILT_USER, unix.EV_ADD|unix.EV_CLEAR, 0); err != nil {
		_ = unix.Close(kq)
		return nil, fmt.Errorf("kevent: %w", err)
	}
	go p.loop()
	return p, nil
}

func (p *poller) change(ident, filter, flags int, fflags uint32) error {
	var ev unix.Kevent_t
	unix.SetKevent(&ev, ident, filter, flags)
	ev.Fflags = fflags
	for {
		if _, err := unix.Kevent(p.kq, []unix.Kevent_t{ev}, nil, nil); err != unix.EINTR {
			return err
		}
	}
}

// add watches fd: its stream is told of news once, and then not before it has armed
// fd again. So a process that writes much does not wake us with every line.
func (p *poller) add(fd int, st *stream) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token++
	st.token = p.token // before there can be news, which may be that it has ended
	p.streams[p.token], p.tokens[fd] = st, p.token
	if err := p.change(fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_DISPATCH, 0); err != nil {
		delete(p.streams, p.token)
		delete(p.tokens, fd)
		st.token = 0
		return fmt.Errorf("kevent: %w", err)
	}
	return nil
}

// arm has the stream told again. What has come meanwhile counts.
func (p *poller) arm(fd int, _ uint64) {
	_ = p.change(fd, unix.EVFILT_READ, unix.EV_ADD|unix.EV_ENABLE|unix.EV_DISPATCH, 0)
}

func (p *poller) remove(fd int, token uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, token)
	delete(p.tokens, fd)
	_ = p.change(fd, unix.EVFILT_READ, unix.EV_DELETE, 0)
}

func (p *poller) loop() {
	defer close(p.done)
	events := make([]unix.Kevent_t, 128)
	var ready []*stream
	for {
		n, err := unix.Kevent(p.kq, nil, events, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		ready = ready[:0]
		p.mu.Lock()
		for _, ev := range events[:n] {
			if ev.Filter == unix.EVFILT_USER {
				p.mu.Unlock()
				return
			}
			if st := p.streams[p.tokens[int(ev.Ident)]]; st != nil {
				ready = append(ready, st)
			}
		}
		p.mu.Unlock()
		for _, st := range ready {
			st.ready()
		}
	}
}

func (p *poller) close() error {
	err := p.change(0, unix.EVFILT_USER, 0, unix.NOTE_TRIGGER)
	<-p.done
	return joinClose(err, unix.Close(p.kq))
}

func joinClose(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
