package capture

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A poller waits for all FIFOs at once: it sleeps in Go's own poller, on an epoll
// set, so that it costs no thread.
type poller struct {
	epfd int
	f    *os.File
	done chan struct{}

	mu      sync.Mutex // leaf I/O: streams come and go while the loop waits
	streams map[uint64]*stream
	token   uint64
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // that os.NewFile gives it to Go's poller
		_ = unix.Close(fd)
		return nil, err
	}
	p := &poller{epfd: fd, f: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), streams: map[uint64]*stream{}}
	go p.loop()
	return p, nil
}

// add watches fd: its stream is told of news once, and then not before it has armed
// fd again. So a process that writes much does not wake us with every line.
func (p *poller) add(fd int, st *stream) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token++
	st.token = p.token // before there can be news, which may be that it has ended
	p.streams[p.token] = st
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(p.token), Pad: int32(p.token >> 32)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		delete(p.streams, p.token)
		st.token = 0
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// arm has the stream told again. What has come meanwhile counts.
func (p *poller) arm(fd int, token uint64) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(token), Pad: int32(token >> 32)}
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, fd, &ev)
}

func (p *poller) remove(fd int, token uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, token)
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, &unix.EpollEvent{})
}

func (p *poller) loop() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 128)
	conn, err := p.f.SyscallConn()
	if err != nil {
		return
	}
	var ready []*stream
	for {
		count := 0
		err := conn.Read(func(fd uintptr) bool {
			n, err := unix.EpollWait(int(fd), events, 0)
			count = max(n, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return // closed
		}
		ready = ready[:0]
		p.mu.Lock()
		for _, ev := range events[:count] {
			if st := p.streams[uint64(uint32(ev.Fd))|uint64(uint32(ev.Pad))<<32]; st != nil {
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
	err := p.f.Close()
	<-p.done
	return err
}
