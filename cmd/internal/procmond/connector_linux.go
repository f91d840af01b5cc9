package procmond

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file speaks the protocol of the process connector (linux/cn_proc.h). There is a client for it in
// github.com/vishvananda/netlink, ProcEventMonitor, and it would not do here, as read in its v1.3.1 and tried:
//
//   - it does not wait for the kernel's acknowledgment. In a pid namespace of its own the kernel sends none, and none
//     of the events, or, if somebody else listens as well, events with the pids of another namespace;
//   - it ends at the first overrun (ENOBUFS), the one error that has to be survived;
//   - it hands events over with a blocking send that nothing interrupts, and does not tell when its goroutine ended;
//   - it has no filter, so that each thread that starts or ends on the host wakes us up.

// The numbers of linux/cn_proc.h and linux/connector.h, which golang.org/x/sys/unix does not have.
const (
	cnIdxProc = 1
	cnValProc = 1

	procListen = 1
	procIgnore = 2

	whatAck  = 0x00000000
	whatFork = 0x00000001
	whatExec = 0x00000002
	whatUID  = 0x00000004
	whatComm = 0x00000200
	whatExit = 0x80000000
)

// Where things stand in a datagram: struct nlmsghdr, then struct cn_msg, then struct proc_event.
const (
	offAck   = 16 + 12 // cn_msg.ack
	offWhat  = 16 + 20 // proc_event.what
	offTime  = offWhat + 8
	offData  = offWhat + 16
	minEvent = offData + 24
)

// kernelEvent is one event of the kernel. What the other fields mean depends on what; all pids are of processes
// (thread groups), as the events of single threads are left out.
type kernelEvent struct {
	what uint32
	at   int64 // on CLOCK_MONOTONIC, in nanoseconds

	pid  int32
	ppid int32 // fork

	uid    uint32 // uid: the effective one
	comm   string // comm
	status unix.WaitStatus
	ack    uint32 // ack: cn_msg.ack
	errno  syscall.Errno
}

// decode reads a datagram. It reports false for what is not an event of a whole process.
func decode(b []byte) (kernelEvent, bool) {
	if len(b) < minEvent {
		return kernelEvent{}, false
	}
	order := binary.NativeEndian
	word := func(i int) uint32 { return order.Uint32(b[offData+4*i:]) }
	if order.Uint32(b[16:]) != cnIdxProc || order.Uint32(b[20:]) != cnValProc {
		return kernelEvent{}, false
	}

	e := kernelEvent{
		what: order.Uint32(b[offWhat:]),
		at:   int64(order.Uint64(b[offTime:])),
		pid:  int32(word(1)),
	}
	thread := int32(word(0)) // the thread that the event is about: of a process, the first one has its pid
	switch e.what {
	case whatAck:
		e.ack = order.Uint32(b[offAck:])
		e.errno = syscall.Errno(word(0))
		e.pid = 0
		return e, true
	case whatFork: // parent's thread, parent, child's thread, child
		e.ppid = int32(word(1))
		thread, e.pid = int32(word(2)), int32(word(3))
	case whatExec:
	case whatUID: // thread, process, real, effective
		e.uid = word(3)
	case whatComm: // thread, process, char[16]
		e.comm = unix.ByteSliceToString(b[offData+8 : offData+24])
	case whatExit: // thread, process, wait status
		e.status = unix.WaitStatus(word(2))
	default:
		return kernelEvent{}, false
	}
	return e, thread == e.pid
}

// errLost says that the kernel had more events than there was room for.
var errLost = errors.New("the kernel had more events than the receive buffer holds")

// errEmpty says that there is no event at the moment.
var errEmpty = errors.New("no event is waiting")

// connector is a socket on which the kernel tells of processes.
type connector struct {
	file *os.File
	raw  syscall.RawConn
	buf  [4096]byte
}

const (
	// receiveBuffer holds some 5,000 events while we are busy; the kernel takes the memory only when they are there.
	receiveBuffer = 4 << 20

	// ackTimeout is how long to wait for a kernel that never answers from within a pid namespace.
	ackTimeout = time.Second
)

// dial opens the connector and asks for events. It fails if the kernel does not confirm.
//
// Before Linux 6.6 this takes CAP_NET_ADMIN; since then everyone may ask. In another network namespace than the first
// the connector does not exist, and in another pid namespace it does not answer.
func dial(ctx context.Context) (_ *connector, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &connector{file: os.NewFile(uintptr(fd), "process connector")}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return nil, err
	}

	// Both are for comfort only: a smaller buffer overruns earlier, and without the filter decode sorts out.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, processesOnly())

	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc}); err != nil {
		return nil, permission("bind", err)
	}
	// The answer carries the number of the question plus one, and everyone who listens gets it.
	question := rand.Uint32()
	if err := c.send(procListen, question); err != nil {
		return nil, permission("send", err)
	}
	if err := c.awaitAck(ctx, question+1); err != nil {
		return nil, err
	}
	return c, nil
}

// permission names the capability that is missing, as the kernel does not.
func permission(op string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (CAP_NET_ADMIN is missing)", os.NewSyscallError(op, err))
	}
	return os.NewSyscallError(op, err)
}

func (c *connector) awaitAck(ctx context.Context, ack uint32) error {
	stop := c.interruptAfter(ctx)
	defer stop()
	deadline := time.Now().Add(ackTimeout)
	for {
		e, err := c.receive(ctx, deadline)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			return errors.New("the kernel does not answer, as it does in a pid namespace of a container")
		case errors.Is(err, errLost):
		case err != nil:
			return err
		case e.what == whatAck && e.ack == ack && e.errno != 0:
			return permission("listen", e.errno)
		case e.what == whatAck && e.ack == ack:
			return nil
		}
		// Anything else is an event that came before the answer: what it tells, the first scan will see.
		if time.Now().After(deadline) {
			return errors.New("the kernel does not answer, though others are told of events")
		}
	}
}

// close tells the kernel that we no longer listen, so that it does not go on for nobody, and closes the socket.
func (c *connector) close() {
	if c.raw != nil {
		_ = c.send(procIgnore, 0)
	}
	_ = c.file.Close()
}

// interruptAfter makes a receive that waits return when ctx ends.
func (c *connector) interruptAfter(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) })
}

func (c *connector) send(op uint32, seq uint32) error {
	const length = 16 + 20 + 4
	order := binary.NativeEndian
	var b [length]byte
	order.PutUint32(b[0:], length)
	order.PutUint16(b[4:], unix.NLMSG_DONE)
	order.PutUint32(b[16:], cnIdxProc)
	order.PutUint32(b[20:], cnValProc)
	order.PutUint32(b[24:], seq)
	order.PutUint32(b[28:], seq) // the kernel answers with this one plus one
	order.PutUint16(b[32:], 4)
	order.PutUint32(b[36:], op)

	var err error
	if ctrl := c.raw.Control(func(fd uintptr) {
		err = unix.Sendto(int(fd), b[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); ctrl != nil {
		return ctrl
	}
	return err
}

// receive waits for the next event, until the deadline if there is one, or the end of ctx (see interruptAfter).
func (c *connector) receive(ctx context.Context, deadline time.Time) (kernelEvent, error) {
	if err := c.file.SetReadDeadline(deadline); err != nil {
		return kernelEvent{}, err
	}
	// If ctx ended before, our deadline may have replaced the one that interrupts; if it ends from here on, that one
	// replaces ours.
	if err := ctx.Err(); err != nil {
		return kernelEvent{}, err
	}
	return c.next(true)
}

// tryReceive returns the next event if there is one already, and errEmpty if not.
func (c *connector) tryReceive() (kernelEvent, error) { return c.next(false) }

func (c *connector) next(wait bool) (kernelEvent, error) {
	for {
		var (
			n    int
			from unix.Sockaddr
			err  error
		)
		read := func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), c.buf[:], 0)
			return !wait || !errors.Is(err, unix.EAGAIN)
		}
		if wait {
			if err := c.raw.Read(read); err != nil {
				return kernelEvent{}, err
			}
		} else if err := c.raw.Control(func(fd uintptr) { read(fd) }); err != nil {
			return kernelEvent{}, err
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return kernelEvent{}, errEmpty
		case errors.Is(err, unix.ENOBUFS):
			return kernelEvent{}, errLost
		case err != nil:
			return kernelEvent{}, os.NewSyscallError("recvfrom", err)
		}
		// Only the kernel has port 0: others with the right to send to this group would be believed otherwise.
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue
		}
		if e, ok := decode(c.buf[:n]); ok {
			return e, nil
		}
	}
}

// processesOnly is a filter that runs in the kernel and lets through what decode would: without it every thread that
// starts or ends on the host would wake us up, and there are many more of those than processes.
func processesOnly() *unix.SockFprog {
	// A load converts from network order; the kernel wrote in ours.
	native := func(v uint32) uint32 {
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], v)
		return binary.BigEndian.Uint32(b[:])
	}
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		toX    = unix.BPF_MISC | unix.BPF_TAX
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		equalX = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X
		ret    = unix.BPF_RET | unix.BPF_K

		aboutOne, aboutChild, accept, drop = 7, 11, 15, 16
	)
	program := []unix.SockFilter{
		0: {Code: load, K: offWhat},
		1: {Code: equal, K: native(whatAck), Jt: accept - 2},
		2: {Code: equal, K: native(whatFork), Jt: aboutChild - 3},
		3: {Code: equal, K: native(whatExec), Jt: aboutOne - 4},
		4: {Code: equal, K: native(whatUID), Jt: aboutOne - 5},
		5: {Code: equal, K: native(whatComm), Jt: aboutOne - 6},
		6: {Code: equal, K: native(whatExit), Jt: aboutOne - 7, Jf: drop - 7},

		aboutOne: {Code: load, K: offData}, // thread == process?
		8:        {Code: toX},
		9:        {Code: load, K: offData + 4},
		10:       {Code: equalX, Jt: accept - 11, Jf: drop - 11},

		aboutChild: {Code: load, K: offData + 8}, // the same of the child, which stands behind the parent
		12:         {Code: toX},
		13:         {Code: load, K: offData + 12},
		14:         {Code: equalX, Jt: accept - 15, Jf: drop - 15},

		accept: {Code: ret, K: 0xffff},
		drop:   {Code: ret, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}
