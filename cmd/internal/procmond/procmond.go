// Package procmond is the collector of process starts and exits: it writes one JSON line for every process that comes
// and goes on this host.
//
// It has two sources. On Linux the kernel tells of each fork, exec and exit through its process connector, and nothing
// that lives for a millisecond only is missed. Everywhere else, and where the kernel does not let us listen, the list
// of processes is read once a second and compared with the one before, so that what lives between two polls stays
// unseen and no exit code is known. The first line says which source is used and why:
//
//	{…,"event":"started","source":"proc_connector","reason":"…","processes":71}
//	{…,"event":"start","pid":4711,"ppid":1,"name":"sh","exe":"/usr/bin/dash","uid":0}
//	{…,"event":"exec","pid":4711,"ppid":1,"name":"true","exe":"/usr/bin/true","uid":0}
//	{…,"event":"exit","pid":4711,"name":"true","exit_code":0,"lifetime_ms":1}
//
// A "start" is a new process: one that was forked, still running its parent's program, or one that a poll saw for the
// first time. An "exec" is a process that goes on with another program; a poll cannot tell. Processes that were there
// before are counted in the first line, and reported only when they exit.
package procmond

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/proctord/proctor/cmd/internal/jsonlines"
)

// Name is the collector's name in its lines.
const Name = "procmond"

// Source is where process starts and exits are learned from.
type Source string

const (
	// Best is the process connector where it can be had, and a poll where not.
	Best Source = ""

	// Connector is Linux's process connector: without it Run fails.
	Connector Source = "proc_connector"

	// Poll compares lists of processes.
	Poll Source = "poll"
)

// Options are what can be chosen. The zero value is usable.
type Options struct {
	// Source is the source to use.
	Source Source

	// Interval is the time from one poll to the next, one second if it is zero. The connector does not poll.
	Interval time.Duration

	// CommandLines adds the command line to "start" and "exec". Off unless asked for: people pass passwords and
	// tokens as arguments, and these lines end in files that more people read than may read /proc.
	CommandLines bool
}

const defaultInterval = time.Second

// Run writes events to w until ctx ends, which is not an error, or w no longer takes them, which is.
// It returns within 100 ms of the end of ctx. Nothing else that goes wrong is fatal: it becomes an "error" line.
func Run(ctx context.Context, w io.Writer, o Options) error {
	switch o.Source {
	case Best, Connector, Poll:
	default:
		return fmt.Errorf("unknown source %q: want %q or %q", o.Source, Connector, Poll)
	}
	if o.Interval < 0 {
		return fmt.Errorf("interval %v is negative", o.Interval)
	}
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	return run(ctx, w, o, process.PidsWithContext)
}

// The library is to compute creation times from a time of boot that it read once. Linux computes that one from the
// clock: were it read anew each time, setting the clock would make every process look like another one with the same
// pid. The switch is one for the whole program, and not made for being turned while somebody reads it.
func init() { process.EnableBootTimeCache(true) }

// unavailableError says why the process connector cannot be used, or no longer.
type unavailableError struct{ cause error }

func (e *unavailableError) Error() string { return "no process connector: " + e.cause.Error() }
func (e *unavailableError) Unwrap() error { return e.cause }

// lister lists the processes that there are.
type lister func(context.Context) ([]int32, error)

func run(ctx context.Context, w io.Writer, o Options, list lister) error {
	return jsonlines.Serve(ctx, w, Name, func(ctx context.Context, out *jsonlines.Writer) error {
		m := newMonitor(out, o, list)
		if o.Source == Poll {
			return m.poll(ctx, "asked for")
		}
		err := m.connect(ctx)
		unavailable, ok := errors.AsType[*unavailableError](err)
		if !ok || o.Source == Connector {
			return err
		}
		return m.poll(ctx, unavailable.Error())
	})
}

// monitor holds what both sources share: who is alive as far as has been reported, and where reports go.
type monitor struct {
	out  *jsonlines.Writer
	opts Options
	list lister

	live    map[int32]*entry // nil until the first scan
	scanned time.Time        // when the latest scan began

	// forming are processes that had no command line yet when the latest scan looked: they are still being made, and
	// announced when they have one.
	forming map[int32]*entry

	ended func(pid int32) bool // if set, a process for which it is true is not alive, though it is in the list
}

func newMonitor(out *jsonlines.Writer, o Options, list lister) *monitor {
	return &monitor{out: out, opts: o, list: list}
}

// startedEvent is the first line, and comes again if the source has to be changed on the way.
type startedEvent struct {
	jsonlines.Head
	Source     Source `json:"source"`
	Reason     string `json:"reason"`
	IntervalMS int64  `json:"interval_ms,omitempty"`
	Processes  int    `json:"processes"`
}

// processEvent is a "start" or an "exec". What the system did not tell, because it may not or because the process was
// gone too soon, is left out.
type processEvent struct {
	jsonlines.Head
	PID  int32 `json:"pid"`
	PPID int32 `json:"ppid,omitempty"`
	profile
}

// exitEvent is an "exit". The connector knows how the process ended; a poll knows only that it did.
type exitEvent struct {
	jsonlines.Head
	PID        int32  `json:"pid"`
	Name       string `json:"name,omitempty"`
	ExitCode   *int   `json:"exit_code,omitempty"`
	Signal     string `json:"signal,omitempty"`
	CoreDumped bool   `json:"core_dumped,omitempty"`
	LifetimeMS *int64 `json:"lifetime_ms,omitempty"`
}

// lostEvent says that events were lost: the lines that follow it bring the list of processes up to date again, without
// those that started and ended in between, and without exit codes.
type lostEvent struct {
	jsonlines.Head
	Reason string `json:"reason"`
}

// ending is how a process ended, as far as it is known.
type ending struct {
	code       *int
	signal     string
	coreDumped bool
}

func (m *monitor) writeStart(at time.Time, pid int32, e *entry) error {
	return m.out.Write(processEvent{Head: m.out.HeadAt("start", at), PID: pid, PPID: e.ppid, profile: e.profile})
}

func (m *monitor) writeExec(at time.Time, pid int32, e *entry) error {
	return m.out.Write(processEvent{Head: m.out.HeadAt("exec", at), PID: pid, PPID: e.ppid, profile: e.profile})
}

// writeExit reports an exit; e is nil for a process that nothing is known of.
func (m *monitor) writeExit(at time.Time, pid int32, e *entry, end ending) error {
	line := exitEvent{
		Head: m.out.HeadAt("exit", at), PID: pid,
		ExitCode: end.code, Signal: end.signal, CoreDumped: end.coreDumped,
	}
	if e != nil {
		line.Name = e.Name
		if !e.began.IsZero() {
			// A clock that was set back must not make a life shorter than nothing.
			ms := max(0, at.Sub(e.began).Milliseconds())
			line.LifetimeMS = &ms
		}
	}
	return m.out.Write(line)
}
