package messages

import (
	"fmt"
	"time"
)

// An Event is one thing that happened to a collector. Every subscriber of a
// supervisor receives the same events in the same order.
type Event struct {
	Seq         uint64 // counts the events of one supervisor's life, from 1
	At          time.Time
	ID          string // the collector; empty for what concerns the supervisor
	Incarnation uint64 // which of its processes; 0 before the first
	Origin      Origin // whose command has led to it; zero: nobody's, or the program's own
	Fact        Fact
}

// IgnoreDeadLetterLogging tells the actor library that an event for a subscriber
// who is gone is nothing to worry about.
func (Event) IgnoreDeadLetterLogging() {}

// A Fact is what an event says: one of the types below.
type Fact interface{ fact() }

// The facts.
type (
	// Added says that the supervisor knows the collector from now on.
	Added struct{ Type string }

	// Removed says that it was forgotten.
	Removed struct{}

	// StateChanged says that the collector is in another state, or is in
	// the same one with another process.
	StateChanged struct {
		From, To    State
		PID         int
		Reason      string
		NextRestart time.Time
	}

	// Exited says how a process ended. Expected is set if it was asked to; then
	// Because says why, where nobody has asked for that: it went with what it
	// requires, or with its group.
	Exited struct {
		Exit     Exit
		Expected bool
		Because  string
	}

	// RestartScheduled says that a process is going to be replaced, after how
	// long, and how many more times that may happen within Window.
	RestartScheduled struct {
		Cause  string // "exit code 3"
		After  time.Duration
		At     time.Time
		Count  int           // automatic restarts since the last start that was asked for, this one included
		Left   int           // further restarts that are allowed
		Window time.Duration // in which they are counted; not positive: for ever
	}

	// StopForced says that a collector that was asked to end did not within
	// its time, and is being killed. Exited is set if the process itself has
	// ended, and it is what it had started that has not.
	StopForced struct {
		PID    int
		After  time.Duration
		Exited bool
	}

	// TerminateFailure says that a process could not be killed.
	TerminateFailure struct {
		PID   int
		After time.Duration
	}

	// Crashed says that an actor had a fault of its own: a defect of Proctor
	// or of the program that it is part of. Its process was ended with it.
	Crashed struct{ Reason string }

	// ShuttingDown says that no more starts are accepted.
	ShuttingDown struct{}

	// HealthChanged says that probes tell something else of the collector.
	HealthChanged struct {
		From, To Health
		Reason   string
	}

	// Begun is the first event of a supervisor's life.
	Begun struct {
		Instance string // names this life
		PID      int    // of the program that the supervisor is part of
	}

	// ConfigApplied says that another configuration has been put in force.
	ConfigApplied struct {
		Added, Removed, Changed int
		Failed                  []string // ids of those that could not be brought to what it asks for
	}

	// GroupRestarting says that children of a group are stopped and started again,
	// because one of them has ended. The event's ID is the group's name with
	// config.GroupMark before it.
	GroupRestarting struct {
		Child      string // which one: an id, or a group with config.GroupMark before it
		Cause      string // how: "exit code 3"
		Collectors []string
		After      time.Duration // until they are started
		Left       int           // further restarts that are allowed
	}

	// GroupEnded says that a group has stopped its children. It has failed, or has
	// ended with those of them that are significant.
	GroupEnded struct {
		Failed bool
		Reason string
	}

	// Audited says what became of a command that changes something and came
	// from outside. Origin says whose it was.
	Audited struct {
		Op     string
		Err    *Error // nil: it was carried out
		Denied bool   // the caller may not give it: it was not even tried
	}
	// OutputLost says that output of the collector cannot be stored: Reason says
	// why. It goes on; what there is no room for is dropped and counted.
	OutputLost struct{ Reason string }

	// OutputStored says that it can again. Lines and Bytes were dropped meanwhile;
	// the log has a mark where they are missing.
	OutputStored struct{ Lines, Bytes uint64 }

	// NotifyRefused says that something a process has told of itself (sd_notify)
	// is not done, and why. Each kind is told once a process.
	NotifyRefused struct{ Reason string }

	// Reloaded says that the collector has read its configuration again.
	Reloaded struct{}

	// HookFailed says that a command around the life of the process, named by its
	// key in a configuration file, did not do what it should: Reason says why. What
	// is told as a failed start or a crash is not told here.
	HookFailed struct{ Hook, Reason string }

	// Lost stands in the place of events that a slow subscriber missed.
	Lost struct{ Count uint64 }
)

func (Added) fact()            {}
func (Removed) fact()          {}
func (StateChanged) fact()     {}
func (Exited) fact()           {}
func (RestartScheduled) fact() {}
func (StopForced) fact()       {}
func (TerminateFailure) fact() {}
func (Crashed) fact()          {}
func (ShuttingDown) fact()     {}
func (HealthChanged) fact()    {}
func (Begun) fact()            {}
func (ConfigApplied) fact()    {}
func (GroupRestarting) fact()  {}
func (GroupEnded) fact()       {}
func (Audited) fact()          {}
func (OutputLost) fact()       {}
func (OutputStored) fact()     {}
func (NotifyRefused) fact()    {}
func (Reloaded) fact()         {}
func (HookFailed) fact()       {}
func (Lost) fact()             {}

// String describes how a process ended in words: "exit code 3", "signal
// SIGSEGV, core dumped".
func (e Exit) String() string {
	switch {
	case e.Fault != "":
		return e.Fault
	case e.Unhealthy != "":
		return e.Unhealthy
	case e.SpawnError != "":
		return "could not be started: " + e.SpawnError
	case e.OutOfMemory():
		return "out of memory: killed at its memory limit"
	case e.Signal != "" && e.CoreDumped:
		return "signal " + e.Signal + ", core dumped"
	case e.Signal != "":
		return "signal " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}
