// Package netmond is the collector of sockets: it writes one JSON line for every TCP or UDP socket that a process of
// this host opens or closes.
//
// It reads the tables of the system every two seconds and compares. The first line has what listens already, the
// following ones what changes:
//
//	{…,"event":"listening","interval_ms":2000,"total":2,"connections":5,"sockets":[{"kind":"listener","proto":"tcp",…},…]}
//	{…,"event":"opened","kind":"connection","proto":"tcp","family":"ipv4","local":"10.0.0.5:22","remote":"10.0.0.9:4711","state":"ESTABLISHED","pid":812,"process":"sshd"}
//	{…,"event":"closed","kind":"connection","proto":"tcp",…,"lifetime_ms":4000}
//
// A "listener" is a TCP socket that listens, or a UDP socket that has no peer. Connections that were there before are
// counted in the first line, and reported only when they close. A socket that was opened and closed between two polls
// stays unseen.
//
// Only sockets that some process holds are reported: what the kernel keeps for a while after the close (TIME_WAIT) is
// closed, and a connection is open from when it is accepted. On Linux these are the sockets of the network namespace
// that the collector runs in.
package netmond

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/proctord/proctor/cmd/internal/jsonlines"
)

// Name is the collector's name in its lines.
const Name = "netmond"

// Options are what can be chosen. The zero value is usable.
type Options struct {
	// Interval is the time from one poll to the next, two seconds if it is zero.
	Interval time.Duration
}

const defaultInterval = 2 * time.Second

// Run writes events to w until ctx ends, which is not an error, or w no longer takes them, which is.
// It returns within 100 ms of the end of ctx. Nothing else that goes wrong is fatal: it becomes an "error" line.
func Run(ctx context.Context, w io.Writer, o Options) error {
	if o.Interval < 0 {
		return fmt.Errorf("interval %v is negative", o.Interval)
	}
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	return run(ctx, w, o, newTables())
}

func run(ctx context.Context, w io.Writer, o Options, t tables) error {
	return jsonlines.Serve(ctx, w, Name, func(ctx context.Context, out *jsonlines.Writer) error {
		m := &monitor{out: out, opts: o, tables: t}
		return jsonlines.Every(ctx, o.Interval, func() error { return m.poll(ctx) })
	})
}

// tables is what a system tells of its sockets.
type tables interface {
	// list returns the sockets that processes hold. Where the same answer has the process it is given; where it
	// would cost more, it is left to owners.
	list(ctx context.Context) (map[socket]details, error)

	// owners adds the processes that hold the given sockets, as far as they can be found.
	owners(ctx context.Context, of map[socket]details) error

	// atomic reports whether a list is the state of one moment. If not, a socket that is missing in one list may be
	// open all the same.
	atomic() bool
}

// socket identifies a socket. It is what must not change while the socket is open.
type socket struct {
	proto         string // tcp, udp
	local, remote netip.AddrPort
	inode         uint64 // on Linux, where several sockets may share an address
	pid           int32  // elsewhere, for the same reason
	listener      bool
}

// details are what else there is to say of a socket.
type details struct {
	state   string // of TCP
	pid     int32
	process string
	since   time.Time // when it was seen first
}

// socketFields describe a socket in a line.
type socketFields struct {
	Kind    string `json:"kind"`
	Proto   string `json:"proto"`
	Family  string `json:"family"`
	Local   string `json:"local"`
	Remote  string `json:"remote,omitempty"`
	State   string `json:"state,omitempty"`
	PID     int32  `json:"pid,omitempty"`
	Process string `json:"process,omitempty"`
}

type listeningEvent struct {
	jsonlines.Head
	IntervalMS  int64          `json:"interval_ms"`
	Total       int            `json:"total"`       // of listeners
	Connections int            `json:"connections"` // that are open already
	Sockets     []socketFields `json:"sockets"`
}

type socketEvent struct {
	jsonlines.Head
	socketFields
	LifetimeMS *int64 `json:"lifetime_ms,omitempty"` // of one that was seen to open, as exactly as the interval
}

// perLine bounds the line of the listeners, some 150 bytes each, so that readers that cut long lines do not cut this
// one. A host that has more gets more than one.
const perLine = 100

type monitor struct {
	out    *jsonlines.Writer
	opts   Options
	tables tables

	open map[socket]details // nil before the first poll
}

func (m *monitor) poll(ctx context.Context) error {
	now, err := m.tables.list(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		// No answer is no sign that everything was closed.
		return m.out.Failure(err)
	}

	first := m.open == nil
	if first {
		m.open = make(map[socket]details)
	}
	closed := make([]socket, 0)
	for s := range m.open {
		if _, still := now[s]; !still {
			closed = append(closed, s)
		}
	}
	if len(closed) > 0 && !m.tables.atomic() {
		again, err := m.tables.list(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return m.out.Failure(err)
		}
		closed = slices.DeleteFunc(closed, func(s socket) bool { _, still := again[s]; return still })
	}
	opened := make(map[socket]details)
	for s, d := range now {
		if _, known := m.open[s]; !known {
			opened[s] = d
		}
	}
	if len(opened) > 0 {
		err := m.tables.owners(ctx, opened)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if err := m.out.Failure(err); err != nil {
				return err
			}
		}
		nameProcesses(ctx, opened)
	}

	// What closed comes first: its address may be in use again by what opened.
	slices.SortFunc(closed, compareSockets)
	for _, s := range closed {
		if err := m.writeClosed(s, m.open[s]); err != nil {
			return err
		}
		delete(m.open, s)
	}
	order := sortedKeys(opened)
	if first {
		for s, d := range opened {
			m.open[s] = d
		}
		return m.writeListening(order, opened)
	}
	for _, s := range order {
		d := opened[s]
		head := m.out.Head("opened")
		d.since = head.Time
		m.open[s] = d
		if err := m.out.Write(socketEvent{Head: head, socketFields: fieldsOf(s, d)}); err != nil {
			return err
		}
	}
	return nil
}

func (m *monitor) writeClosed(s socket, d details) error {
	line := socketEvent{Head: m.out.Head("closed"), socketFields: fieldsOf(s, d)}
	line.State = "" // the one that it was opened in is history
	if !d.since.IsZero() {
		ms := max(0, line.Time.Sub(d.since).Milliseconds())
		line.LifetimeMS = &ms
	}
	return m.out.Write(line)
}

func (m *monitor) writeListening(order []socket, of map[socket]details) error {
	listeners := make([]socketFields, 0)
	for _, s := range order {
		if s.listener {
			listeners = append(listeners, fieldsOf(s, of[s]))
		}
	}
	total := len(listeners)
	for {
		n := min(perLine, len(listeners))
		if err := m.out.Write(listeningEvent{
			Head: m.out.Head("listening"), IntervalMS: m.opts.Interval.Milliseconds(),
			Total: total, Connections: len(of) - total, Sockets: listeners[:n],
		}); err != nil {
			return err
		}
		listeners = listeners[n:]
		if len(listeners) == 0 {
			return nil
		}
	}
}

func fieldsOf(s socket, d details) socketFields {
	f := socketFields{
		Kind: "connection", Proto: s.proto, Family: "ipv6", Local: s.local.String(),
		State: d.state, PID: d.pid, Process: d.process,
	}
	if s.local.Addr().Is4() {
		f.Family = "ipv4"
	}
	if s.listener {
		f.Kind = "listener"
	} else {
		f.Remote = s.remote.String()
	}
	return f
}

// nameProcesses adds the names of the processes whose pids are known.
func nameProcesses(ctx context.Context, of map[socket]details) {
	names := make(map[int32]string)
	for s, d := range of {
		if d.pid == 0 || d.process != "" {
			continue
		}
		name, asked := names[d.pid]
		if !asked {
			// An error means that it is gone or not ours to ask: then there is no name.
			name, _ = (&process.Process{Pid: d.pid}).NameWithContext(ctx)
			names[d.pid] = name
		}
		d.process = name
		of[s] = d
	}
}

func sortedKeys(of map[socket]details) []socket {
	keys := make([]socket, 0, len(of))
	for s := range of {
		keys = append(keys, s)
	}
	slices.SortFunc(keys, compareSockets)
	return keys
}

func compareSockets(a, b socket) int {
	if c := strings.Compare(a.proto, b.proto); c != 0 {
		return c
	}
	if c := a.local.Compare(b.local); c != 0 {
		return c
	}
	if c := a.remote.Compare(b.remote); c != 0 {
		return c
	}
	if a.inode != b.inode {
		if a.inode < b.inode {
			return -1
		}
		return 1
	}
	return int(a.pid) - int(b.pid)
}
