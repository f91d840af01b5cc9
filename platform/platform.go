// Package platform is what an operating system can do to a process and its
// descendants: start it, watch it, signal it, suspend it, and end all of it.
//
// It knows nothing of collectors, actors or settings. Whoever starts a process
// through a [Host] is told what becomes of it by notices, on a goroutine of the
// host: Spawned or SpawnFailed first, then Exited when the process itself has
// ended, then Emptied when nothing that it started is left either.
//
// The exported API stands in untagged files; each operating system has a twin
// that fills it in. Package platformtest has a host that exists in memory only.
package platform

import (
	"errors"
	"os"
	"time"
)

// A Host starts processes and watches all of them at once, without a thread or
// a goroutine for each. [New] makes the one of the operating system.
type Host interface {
	// Start hands spec to a small pool of spawners and returns at once. What
	// becomes of it is told to notify, one call at a time and in order, from a
	// goroutine of the host: notify must not block, but it may call any
	// method of the process. It may be called before Start has returned.
	Start(spec Spec, notify func(Notice)) Process

	// Usage finds out what processes of this host and their trees use, and writes it
	// to into, one for one. Of those that are not there, nothing is known. It reads
	// what the system keeps in memory, about 20 µs a process for a brief look and
	// ten times that for a full one: it is for a goroutine that may take that long.
	// Many at once cost less than one by one.
	Usage(of []Process, d Detail, into []Usage)

	// Close ends every process that is still there, waits until they are gone
	// or a few seconds have passed, and releases what the host holds. The error
	// names what would not go. Start must not be called any more.
	Close() error
}

// A Process is one process that a Host was asked to start, and all that it has
// started itself (its tree). Its methods may be called from any goroutine, at
// any time; none of them blocks.
type Process interface {
	// PID is the process id, or 0 before Spawned.
	PID() int

	// Observe makes notify the receiver of notices, in place of the one before
	// it, and first repeats to it, in order, the notices there have been: so an
	// heir can take over a process without missing its end.
	Observe(notify func(Notice))

	// Terminate asks the process group to end: with Spec.StopSignal (SIGTERM by
	// default), on Windows with CTRL_BREAK.
	Terminate() error

	// TerminateOrphans asks what the process has left behind outside its group
	// to end, with the same signal, as far as the system knows it. It is for a
	// process that has exited itself; elsewhere it does nothing.
	TerminateOrphans()

	// Kill ends the whole tree, and what it still starts, until nothing is
	// left. It returns at once; the notices tell when it has happened. Before
	// Spawned it takes effect as soon as there is a process; after Emptied it
	// does nothing.
	Kill()

	// Suspend stops the process group from running, Resume lets it go on.
	Suspend() error
	Resume() error

	// Signal sends one signal to the process itself, or to its whole group.
	Signal(sig Signal, group bool) error

	// Limit puts other limits in force while the process runs: of itself, and of the
	// groups that it is in (Spec.Within). Done is called once, from a goroutine of
	// the host, with those that are not in force, and why; where limits that are
	// Required cannot be had, those before stay, and the error says so. Other errors
	// are ErrNotRunning, also before Spawned, and ErrNotSupported. Two calls for a
	// process must not overlap.
	Limit(l Limits, within []Group, done func(unmet []string, err error))

	// Holds reports whether the process with this number is the process itself or
	// belongs to its tree. One that is gone does not, nor does one of which the
	// system does not tell. It reads what the system keeps in memory.
	Holds(pid int) bool
}

// Spec says what to start.
type Spec struct {
	Label string // who it is for, in errors and diagnostics; not passed on
	Path  string // the executable: a path, never looked up in PATH

	// Find, where it is set, is called on a spawner to get Path: finding a
	// file may block. Its error becomes that of SpawnFailed.
	Find func() (path string, err error)

	// Output, where it is set, is called on a spawner, after Find, to get Stdout
	// and Stderr: opening a file may block, too. The host closes both (they may be
	// the same) when it has tried to start the process. An error of it becomes
	// that of SpawnFailed.
	Output func() (stdout, stderr *os.File, err error)

	// Extra, where it is set, is called like Output to get a file that the process
	// has as descriptor ExtraFD, from 3 on. Not for Windows.
	Extra   func() (*os.File, error)
	ExtraFD int

	Args   []string // the arguments after the program's name
	Env    []string // KEY=value: the whole environment, nothing is added but the host's mark
	Dir    string   // the working directory; empty: the host's own
	Stdin  *os.File // nil: the null device. Not closed by the host.
	Stdout *os.File // nil: the null device. Not closed by the host.
	Stderr *os.File // nil: the null device. Not closed by the host.

	// StopSignal is what Terminate sends. Zero: SIGTERM.
	StopSignal Signal

	// Limits are what it may use.
	Limits Limits

	// Within are the groups that it belongs to, the outermost first. What their
	// members use together is limited where there are cgroups.
	Within []Group

	// As is whom it runs as. Not for Windows.
	As Identity

	// Confinement is what it is kept from.
	Confinement Confinement

	// KeepFDs are descriptors, from 3 to MaxExtraFD, that this program was started
	// with, and that the process has under the same numbers. Others it has not. For
	// Linux.
	KeepFDs []int

	// Secrets are what it is told by files in memory.
	Secrets []Secret

	extra *os.File // what Extra returned
}

// An Identity is whom a process runs as, by names or numbers. What is empty is
// that of the program; but a User brings the groups of the database along.
type Identity struct {
	User   string
	Group  string
	Groups []string // the supplementary groups
}

// NoticeKind says what a Notice is about.
type NoticeKind uint8

// What a host tells of a process, in this order.
const (
	Spawned     NoticeKind = iota + 1 // it has been exec'ed; PID is set
	SpawnFailed                       // there is no process, and there will be none; Err is set
	Exited                            // the process itself is gone; Exit is set
	Emptied                           // nothing that it started is left either
)

func (k NoticeKind) String() string {
	switch k {
	case Spawned:
		return "spawned"
	case SpawnFailed:
		return "spawn failed"
	case Exited:
		return "exited"
	case Emptied:
		return "emptied"
	}
	return "unknown notice"
}

// A Notice is what a host tells of one process.
type Notice struct {
	Kind NoticeKind
	PID  int
	Path string // Spawned: what was executed
	Err  error  // SpawnFailed: a *SpawnError, or what Spec.Find returned
	Exit Exit   // Exited, Emptied

	// Empty says of Exited that nothing else was left: Emptied follows at once.
	Empty bool

	// Unmet says of Spawned which limits, of the process and of the groups that it
	// is within, and what of Spec.Confinement are not in force, and why.
	Unmet []string

	// InForce says of Spawned what confines the process, in words, as the system has
	// told when it had been executed. Nil: nothing was asked for.
	InForce []string
}

// Exit is how a process ended.
type Exit struct {
	Code   int    // the exit code; -1 if a signal ended it
	Signal Signal // the signal that ended it, or 0
	Core   bool   // it left a core dump
	OOM    int    // how many of the tree were killed for lack of memory, where Spec.Limits count it (cgroup v2)
	At     time.Time

	// What it used, as far as the system tells; children that it waited for included.
	UserTime   time.Duration
	SystemTime time.Duration
	MaxRSS     int64 // bytes; of one that was confined at least what this program needs at its start

	// MemoryPeak is the most memory, in bytes, that the tree has had up to now, where
	// a cgroup tells; else 0.
	MemoryPeak int64
}

// Success reports whether the process ended by itself with code 0.
func (e Exit) Success() bool { return e.Code == 0 && e.Signal == 0 }

// Options make a host fit the program that it is part of. The zero value is
// right for a program that also starts processes by other means.
type Options struct {
	// Spawners is how many processes may be in the making at once. Zero: a
	// number that suits the machine.
	Spawners int

	// Exclusive says that this program starts processes only through this
	// host: every other child that it turns out to have was left behind by one
	// of them, and is ended and reaped by Close at the latest. And nothing that
	// it had open when it was started itself is passed on to them. On Windows, a
	// service, which has no console, is given a hidden one then, through which its
	// processes can be asked to end.
	Exclusive bool

	// Guardian has a small process (a shell) outlive this program if that is
	// killed, and end what its processes have left then. It is for Linux; on other
	// systems what can be done is done in any case.
	Guardian bool

	// CgroupParent is the directory of a cgroup v2 hierarchy in which the host
	// makes its group, on Linux. Empty: the group that this program is in, if
	// systemd or whoever rules there has left it to the program; else the host
	// does without. [NoCgroup]: it does without in any case.
	CgroupParent string
}

// NoCgroup is the Options.CgroupParent of a host that uses no cgroups.
const NoCgroup = "none"

// ErrNotSupported is the cause of errors about what the system cannot do.
var ErrNotSupported = errors.New("not supported on this system")

// ErrNotRunning is returned for a process that is not there: not yet, or not any more.
var ErrNotRunning = errors.New("the process is not running")

// A SpawnError says why a process could not be started.
type SpawnError struct {
	Path string // what was to be executed, or entered
	Why  string // the reason in words, and what to do about it
	Err  error  // the system's error
}

func (e *SpawnError) Error() string {
	if e.Why == "" {
		return e.Path + ": " + e.Err.Error()
	}
	return e.Path + ": " + e.Why
}

func (e *SpawnError) Unwrap() error { return e.Err }

// New returns a host that starts real processes on this operating system. A
// program needs no more than one; it may have several.
func New(o Options) (Host, error) { return newHost(o) }
