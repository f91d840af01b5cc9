package notify

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Server makes sockets, and reads them. It has a goroutine and an epoll set
// while there are any.
type Server struct {
	mu      sync.Mutex // leaf I/O: sockets come and go while the loop waits
	loop    *loop      // nil while there is no socket
	sockets map[uint64]*socket
	token   uint64
}

// A loop waits for all sockets: it sleeps in Go's own poller, on an epoll set,
// so that it costs no thread.
type loop struct {
	epfd int
	f    *os.File
}

// NewServer returns a server. It holds nothing as long as no socket is open.
func NewServer() *Server { return &Server{sockets: map[uint64]*socket{}} }

// Socket makes a socket of which hear is told, one message at a time, on the
// goroutine that reads: it must not block. Nothing is opened yet.
func (s *Server) Socket(hear func(Message)) Socket {
	var name [16]byte
	rand.Read(name[:])
	return &socket{server: s, hear: hear, address: "@proctor-notify-" + hex.EncodeToString(name[:]), fd: -1}
}

// socket is in the abstract namespace, so that nothing of it is ever left: not
// in a directory, and not if this program is killed.
type socket struct {
	server  *Server
	hear    func(Message)
	address string

	mu       sync.Mutex // leaf I/O: it may be closed while it is read
	fd       int        // -1: not open
	token    uint64     // 0: nobody attends
	closed   bool
	barriers map[int]bool // descriptors that are closed when all before them is taken in

	// Of the goroutine that reads.
	holds     func(pid int) bool
	told      uint32 // by fault
	own       bucket
	strangers bucket
	unknown   int // the last one who turned out to be a stranger
	until     time.Time
}

// maxBarriers is how many barriers of one socket can be waited for at a time.
const maxBarriers = 16

func (k *socket) Address() string { return k.address }

func (k *socket) Open() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("SO_PASSCRED: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: k.address}); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("bind: %w", err)
	}
	k.mu.Lock()
	k.fd = fd
	closed := k.closed
	k.mu.Unlock()
	if closed {
		_ = unix.Close(fd)
		return nil
	}
	k.watch()
	return nil
}

func (k *socket) Attend(holds func(pid int) bool) {
	k.mu.Lock()
	k.holds = holds
	k.mu.Unlock()
	k.watch()
}

// watch has the socket read once it is open and somebody attends.
func (k *socket) watch() {
	s := k.server
	s.mu.Lock()
	defer s.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.fd < 0 || k.holds == nil || k.token != 0 {
		return
	}
	if s.loop == nil {
		l, err := newLoop()
		if err != nil {
			return // there is no descriptor left: it is as if nothing were said
		}
		s.loop = l
		go s.run(l)
	}
	s.token++
	k.token = s.token
	s.sockets[k.token] = k
	ev := readable(k.token)
	_ = unix.EpollCtl(s.loop.epfd, unix.EPOLL_CTL_ADD, k.fd, &ev)
}

func (k *socket) Close() {
	s := k.server
	s.mu.Lock()
	defer s.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.closed = true
	if k.token != 0 {
		_ = unix.EpollCtl(s.loop.epfd, unix.EPOLL_CTL_DEL, k.fd, &unix.EpollEvent{})
		delete(s.sockets, k.token)
	}
	if k.fd >= 0 {
		_ = unix.Close(k.fd)
		k.fd = -1
	}
	for fd := range k.barriers {
		closeLater(fd)
	}
	k.barriers = nil
	if s.loop != nil && len(s.sockets) == 0 {
		_ = s.loop.f.Close()
		s.loop = nil
	}
}

// readable asks to be told once. What a socket has been told of is asked again
// when it has been read.
func readable(token uint64) unix.EpollEvent {
	return unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(token), Pad: int32(token >> 32)}
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // that os.NewFile gives it to Go's poller
		_ = unix.Close(fd)
		return nil, err
	}
	return &loop{epfd: fd, f: os.NewFile(uintptr(fd), "epoll")}, nil
}

func (s *Server) run(l *loop) {
	conn, err := l.f.SyscallConn()
	if err != nil {
		return
	}
	r := newReader()
	events := make([]unix.EpollEvent, 64)
	var ready []*socket
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
		s.mu.Lock()
		for _, ev := range events[:count] {
			if k := s.sockets[uint64(uint32(ev.Fd))|uint64(uint32(ev.Pad))<<32]; k != nil {
				ready = append(ready, k)
			}
		}
		s.mu.Unlock()
		for _, k := range ready {
			k.read(r)
		}
	}
}

// arm has the socket told of again.
func (k *socket) arm() {
	s := k.server
	s.mu.Lock()
	defer s.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed && s.loop != nil {
		ev := readable(k.token)
		_ = unix.EpollCtl(s.loop.epfd, unix.EPOLL_CTL_MOD, k.fd, &ev)
	}
}

// turn is how many datagrams of one socket are read before the others have theirs.
const turn = 64

// read reads what there is, for as long as it is the socket's turn and there is
// something left of what it may say.
func (k *socket) read(r *reader) {
	for range turn {
		now := time.Now()
		if wait := max(k.own.wait(now, Rate), k.strangers.wait(now, strangerRate)); wait > 0 {
			time.AfterFunc(wait, k.arm)
			return
		}
		d, ok := k.receive(r)
		if !ok {
			break
		}
		k.take(d, now)
	}
	k.arm()
}

// receive takes one datagram. The lock keeps the descriptor from being another one's.
func (k *socket) receive(r *reader) (datagram, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return datagram{}, false
	}
	return r.receive(k.fd)
}

// take does what a datagram says, if it comes from somebody who may say it.
func (k *socket) take(d datagram, now time.Time) {
	if !k.known(d.pid, now) {
		k.strangers.take(d.cost())
		closeAll(d.files)
		k.refuse(stranger, fmt.Sprintf("a message of process %d (uid %d) is not heard: it is not of the collector's tree, or has ended", d.pid, d.uid))
		return
	}
	k.own.take(d.cost())
	if d.truncated {
		closeAll(d.files)
		k.refuse(tooLarge, fmt.Sprintf("a message is larger than %d bytes", MaxSize))
		return
	}
	m, barrier, wrong, why := parse(d.text)
	switch {
	case barrier && len(d.files) == 1:
		m.Barrier = k.barrier(d.files[0])
	case barrier:
		wrong, why = badBarrier, "BARRIER=1 has to come with one descriptor"
		fallthrough
	default:
		closeAll(d.files)
	}
	if m.MainPID != 0 && !k.holds(m.MainPID) {
		wrong, why = notOfTree, fmt.Sprintf("MAINPID=%d is not of the collector's tree", m.MainPID)
		m.MainPID = 0
	}
	if wrong != noFault {
		k.refuse(wrong, why)
	}
	k.hear(m)
}

// refuse tells of the first of each kind of fault.
func (k *socket) refuse(f fault, why string) {
	if k.told&(1<<f) == 0 {
		k.told |= 1 << f
		k.hear(Message{Refused: why})
	}
}

// known reports whether a process may be heard. That one may not is remembered
// for a moment: so a flood from outside costs little.
func (k *socket) known(pid int, now time.Time) bool {
	if pid == k.unknown && now.Before(k.until) {
		return false
	}
	if k.holds(pid) {
		return true
	}
	k.unknown, k.until = pid, now.Add(100*time.Millisecond)
	return false
}

// barrier keeps a descriptor until it is to be closed.
func (k *socket) barrier(fd int) (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.barriers) >= maxBarriers {
		closeLater(fd)
		return nil
	}
	if k.barriers == nil {
		k.barriers = map[int]bool{}
	}
	k.barriers[fd] = true
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.barriers[fd] {
			delete(k.barriers, fd)
			closeLater(fd)
		}
	}
}

// closeLater closes what a stranger has made: that may block.
func closeLater(fd int) { go func() { _ = unix.Close(fd) }() }

func closeAll(files []int) {
	if len(files) > 0 {
		go func() {
			for _, fd := range files {
				_ = unix.Close(fd)
			}
		}()
	}
}

// A bucket has room for what comes in a second. Its zero value is full.
type bucket struct {
	spent float64
	at    time.Time
}

// wait is how long it takes until there is something in it.
func (b *bucket) wait(now time.Time, rate float64) time.Duration {
	b.spent = max(b.spent-now.Sub(b.at).Seconds()*rate, 0)
	b.at = now
	if b.spent < rate {
		return 0
	}
	// Not one by one: whoever waits waits a little longer.
	return time.Duration((b.spent-rate+1)/rate*float64(time.Second)) + 5*time.Millisecond
}

func (b *bucket) take(n float64) { b.spent += n }

// A datagram is one as it comes. Text is valid until the next one.
type datagram struct {
	text      []byte
	truncated bool
	pid       int
	uid       uint32
	files     []int
}

// cost is what a datagram takes from the rate: descriptors are work, too.
func (d *datagram) cost() float64 { return 1 + float64(len(d.files))/4 }

// A reader has the room that datagrams are read into.
type reader struct{ text, control []byte }

// maxFiles is how many descriptors can come with a datagram (SCM_MAX_FD).
const maxFiles = 253

func newReader() *reader {
	return &reader{make([]byte, MaxSize+1), make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*maxFiles))}
}

func (r *reader) receive(fd int) (d datagram, ok bool) {
	for {
		n, controls, flags, _, err := unix.Recvmsg(fd, r.text, r.control, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return d, false
		}
		d.text, d.truncated = r.text[:n], flags&unix.MSG_TRUNC != 0 || n > MaxSize
		r.credentials(&d, r.control[:controls])
		return d, true
	}
}

func (r *reader) credentials(d *datagram, control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for i := range messages {
		switch m := &messages[i]; m.Header.Type {
		case unix.SCM_CREDENTIALS:
			if c, err := unix.ParseUnixCredentials(m); err == nil {
				d.pid, d.uid = int(c.Pid), c.Uid
			}
		case unix.SCM_RIGHTS:
			if fds, err := unix.ParseUnixRights(m); err == nil {
				d.files = append(d.files, fds...)
			}
		}
	}
}
