package messages

import (
	"fmt"
	"time"

	"github.com/proctord/proctor/config"
)

// A Request is a command that is answered exactly once: with an R, or with an
// *[Error]. The type parameter is what lets a caller ask without an assertion.
type Request[R any] interface{ answeredBy(R) }

// The lifecycle commands. Where one names a collector it may also name a group,
// with config.GroupMark before it: it is then given to all collectors that are in
// it, and answered when all of them have. A supervisor answers them in any state; which states
// they are valid in is said beside each. A timeout of zero is the collector's
// configured one. A command whose caller went away still completes.
type (
	// StartCollector starts a collector that is not known yet, stopped, failed
	// or waiting for a restart, and forgets its counted restarts. The reply
	// comes when the process has been exec'ed. Elsewhere: AlreadyRunning.
	StartCollector struct {
		ID string
		// Type is the collector type; empty: Config's, or derived from the ID.
		Type string
		// Config is how to run it from now on; nil: as it is known. A
		// collector that is not known needs one, or a Type.
		Config *config.Collector
	}

	// StopCollector ends a collector that is starting, running, paused or
	// stopping, and cancels a restart that is due. A second stop joins the
	// first, and hurries it if Force is set.
	StopCollector struct {
		ID      string
		Force   bool          // kill everything at once, without asking first
		Timeout time.Duration // how long it may take to end by itself
	}

	// RestartCollector stops a collector where needed and starts it. A second
	// restart joins the first; a stop beats both. If the stop fails, nothing
	// is started.
	RestartCollector struct {
		ID      string
		Timeout time.Duration // how long it may take to end by itself
	}

	// PauseCollector suspends a running collector, its whole process group.
	PauseCollector struct{ ID string }

	// ResumeCollector lets a paused collector go on.
	ResumeCollector struct{ ID string }

	// SignalCollector sends one signal to the process, or to its whole group.
	SignalCollector struct {
		ID     string
		Signal string // "SIGHUP", "hup" or "1"
		Group  bool
	}

	// ReloadCollector has a running collector read its own configuration again, by
	// its reload_signal or reload_command. The reply comes when it has, where it
	// says so; else when it has been told to.
	ReloadCollector struct{ ID string }

	// LimitCollector changes limits of a collector, also while it runs. They last
	// until its configuration is changed by a reload.
	LimitCollector struct {
		ID string

		// Limits are values by the names that they have in a file
		// (config.ResourceLimits.Set); config.NoLimit lifts a limit. Others stay.
		Limits map[string]string
	}

	// SendHeartbeat is a sign of life of a running collector, as READY=1 or
	// WATCHDOG=1 would be. After the first one more are expected.
	SendHeartbeat struct {
		ID     string
		Status string // what it does, in its own words; empty: as it was
	}

	// RemoveCollector makes the supervisor forget a stopped or failed collector.
	RemoveCollector struct{ ID string }

	// ResetCollector forgets the restarts that are counted against a
	// collector's limit. One that has failed is stopped then.
	ResetCollector struct{ ID string }

	// Shutdown stops all collectors, in reverse order of their start, and
	// accepts no new starts. A second one joins the first, and hurries it if
	// Force is set.
	Shutdown struct {
		Force   bool
		Timeout time.Duration
	}
)

// The questions.
type (
	// GetStatus asks for the status of one collector.
	GetStatus struct{ ID string }

	// ListCollectors asks for the status of all, ordered by id.
	ListCollectors struct{}

	// CheckHealth asks for the health of one collector.
	CheckHealth struct{ ID string }

	// GetGraph asks who waits for whom, and how the last start went.
	GetGraph struct{}

	// InspectCollector asks for everything that is known about one collector.
	InspectCollector struct{ ID string }

	// GetSupervisor asks for what is known about the supervisor itself. It is
	// answered by the actor that answers everything else: so it also tells
	// whether that is well.
	GetSupervisor struct{}

	// DescribeActors asks the supervisor what its actors are doing, for people
	// who look for a fault.
	DescribeActors struct{}
)

// RecordDenial has the supervisor tell all subscribers that a command was
// refused before it got here: its caller may not give it.
type RecordDenial struct {
	Op, ID string
	Err    *Error
}

// The replies.
type (
	// StartReply says which process was started.
	StartReply struct {
		ID          string
		PID         int
		Incarnation uint64
	}

	// StopReply says how the process ended; Exit.Forced is set if it had to be
	// killed. Exit is the last one, of an earlier process, if there was nothing
	// to stop but a restart that was due.
	StopReply struct {
		ID   string
		Exit Exit
	}

	// RestartReply says which process is there now.
	RestartReply struct {
		ID          string
		PID         int
		Incarnation uint64
	}

	// PauseReply says that the collector is suspended.
	PauseReply struct{ ID string }

	// ResumeReply says that it goes on.
	ResumeReply struct{ ID string }

	// SignalReply says that the signal was sent.
	SignalReply struct{ ID string }

	// ReloadReply says that it has read its configuration again.
	ReloadReply struct{ ID string }

	// LimitReply says what its limits are from now on. Unmet says which of them are
	// not in force, and why.
	LimitReply struct {
		ID     string
		Limits config.ResourceLimits
		Unmet  []string
	}

	// HeartbeatReply says that it was heard.
	HeartbeatReply struct{ ID string }

	// RemoveReply says that the collector is not known any more.
	RemoveReply struct{ ID string }

	// ResetReply says that nothing is counted any more.
	ResetReply struct{ ID string }

	// ShutdownReply says what became of the collectors that had to be stopped.
	ShutdownReply struct {
		Stopped []string    // ended
		Forced  []string    // those of them that had to be killed
		Left    []Remainder // would not end

		// Code is what the program is to exit with, and Reason why, where the
		// supervisor has ended by itself: with a collector (exit_with), or with a
		// group that has failed.
		Code   int
		Reason string
	}

	// ListReply is the status of all collectors, ordered by id, and of all groups,
	// ordered by name.
	ListReply struct {
		Collectors []Status
		Groups     []GroupStatus
	}

	// Graph is who waits for whom: all collectors, each after those that it waits for.
	Graph struct{ Nodes []Node }

	// DenialReply says that all subscribers will hear of it.
	DenialReply struct{}

	// HealthReply is a collector's health, and why.
	HealthReply struct {
		ID      string
		Health  Health
		Reasons []string
	}

	// DescribeReply is one line of text an actor.
	DescribeReply struct{ Actors []string }
)

// A Remainder is a process that did not end.
type Remainder struct {
	ID     string
	PID    int
	Reason string
}

// Subscribe has the supervisor send an [Event] to the actor at Subscriber for
// everything that happens, until Unsubscribe or the actor's end: from now on,
// and before that what Since asks for. The subscriber must take them in faster
// than they come: who may be slow subscribes through the façade, which drops and
// says so.
type Subscribe struct {
	Subscriber Subscriber
	Since      Since
}

// Since says from where on a subscriber wants events that have happened already.
// The supervisor keeps the last few thousand; if some that are wanted have been
// dropped, a [Lost] stands in their place. The zero Since wants none.
type Since struct {
	Seq  uint64    // from the event with this number on; 1 is the beginning
	Time time.Time // or from this time on
}

// Unsubscribe ends a subscription.
type Unsubscribe struct{ Subscriber Subscriber }

// IgnoreDeadLetterLogging tells the actor library that this may come too late.
func (Unsubscribe) IgnoreDeadLetterLogging() {}

// A Subscriber is the address of an actor: an *actor.PID.
type Subscriber interface {
	GetAddress() string
	GetId() string
}

// SubscribeReply says after which event the subscriber hears what is new, and of
// which life of the supervisor: numbers of another one mean nothing.
type SubscribeReply struct {
	After    uint64
	Instance string
}

func (StartCollector) answeredBy(StartReply)     {}
func (StopCollector) answeredBy(StopReply)       {}
func (RestartCollector) answeredBy(RestartReply) {}
func (PauseCollector) answeredBy(PauseReply)     {}
func (ResumeCollector) answeredBy(ResumeReply)   {}
func (SignalCollector) answeredBy(SignalReply)   {}
func (ReloadCollector) answeredBy(ReloadReply)   {}
func (LimitCollector) answeredBy(LimitReply)     {}
func (SendHeartbeat) answeredBy(HeartbeatReply)  {}
func (RemoveCollector) answeredBy(RemoveReply)   {}
func (ResetCollector) answeredBy(ResetReply)     {}
func (Shutdown) answeredBy(ShutdownReply)        {}
func (GetStatus) answeredBy(Status)              {}
func (ListCollectors) answeredBy(ListReply)      {}
func (CheckHealth) answeredBy(HealthReply)       {}
func (InspectCollector) answeredBy(Inspection)   {}
func (GetGraph) answeredBy(Graph)                {}
func (GetSupervisor) answeredBy(SupervisorInfo)  {}
func (DescribeActors) answeredBy(DescribeReply)  {}
func (RecordDenial) answeredBy(DenialReply)      {}
func (ApplyConfig) answeredBy(ApplyReply)        {}
func (ReloadConfig) answeredBy(ApplyReply)       {}
func (Subscribe) answeredBy(SubscribeReply)      {}
func (Unsubscribe) answeredBy(SubscribeReply)    {}

// Changes reports whether a command changes something, or only asks.
func Changes(command any) bool {
	switch c := command.(type) {
	case StartCollector, StopCollector, RestartCollector, PauseCollector, ResumeCollector, SignalCollector, ReloadCollector, LimitCollector, RemoveCollector, ResetCollector, Shutdown:
		return true
	case ApplyConfig:
		return !c.DryRun
	case ReloadConfig:
		return !c.DryRun
	}
	return false
}

// Subject names a command for errors and logs: what is tried, and on which
// collector, if it concerns a single one.
func Subject(command any) (op, id string) {
	switch c := command.(type) {
	case StartCollector:
		return "start", c.ID
	case StopCollector:
		return "stop", c.ID
	case RestartCollector:
		return "restart", c.ID
	case PauseCollector:
		return "pause", c.ID
	case ResumeCollector:
		return "resume", c.ID
	case SignalCollector:
		return "signal", c.ID
	case ReloadCollector:
		return "reload", c.ID
	case LimitCollector:
		return "limit", c.ID
	case SendHeartbeat:
		return "heartbeat", c.ID
	case RemoveCollector:
		return "remove", c.ID
	case ResetCollector:
		return "reset", c.ID
	case GetStatus:
		return "status", c.ID
	case CheckHealth:
		return "health", c.ID
	case InspectCollector:
		return "inspect", c.ID
	case GetUsage:
		return "usage", ""
	case RecordDenial:
		return "record denial", c.ID
	case ApplyConfig, ReloadConfig:
		return "reload", ""
	case GetSupervisor:
		return "supervisor", ""
	case GetGraph:
		return "graph", ""
	case GetRuns:
		return "why", c.ID
	case ListCrashes:
		return "crashes", c.ID
	case GetCrash:
		return "crashes show", ""
	case Shutdown:
		return "shutdown", ""
	case ListCollectors:
		return "list", ""
	case DescribeActors:
		return "describe", ""
	case Subscribe:
		return "subscribe", ""
	case Unsubscribe:
		return "unsubscribe", ""
	}
	return fmt.Sprintf("%T", command), ""
}

// Status is what is known about a collector at one moment.
type Status struct {
	ID    string
	Type  string
	Group string // that it is a child of; empty: of the supervisor itself
	State State

	PID         int    // 0 where there is no process
	Incarnation uint64 // counts the processes; 0 before the first

	Since     time.Time     // when State began
	StartedAt time.Time     // when the process was started; zero where there is none
	Uptime    time.Duration // how long ago that was

	RestartCount int       // automatic restarts since the last start that was asked for
	NextRestart  time.Time // when it is started again; zero where no restart is due, and no other try after a failure
	LastExit     *Exit     // how the last process ended; nil before
	Reason       string    // why it is in this state, where that is not plain

	Health        Health
	HealthReasons []string
	HealthSince   time.Time // when Health began

	Totals Totals // since the collector is known

	Said Said // of the process that is there

	Confinement []string // what confines the process that is there, in words
	Unmet       []string // what it was to be limited or confined by, and is not, with the reason
}

// Said is what a process has told of itself: by sd_notify, or as a heartbeat.
type Said struct {
	Status     string // in its own words
	Reloading  bool
	Stopping   bool   // it is ending by itself
	Errno      int    // the number of an error of the system that it has met
	Error      string // the name of an error
	ExitStatus string
	MainPID    int       // the process of its tree that it says is the main one
	Heartbeat  time.Time // the last sign of life, to about a second
}

// GroupStatus is what is known about a group at one moment.
type GroupStatus struct {
	Name     string
	Parent   string // the group that it is a child of; empty: the supervisor itself
	Strategy config.Strategy
	Children []string // in order: ids, and names of groups with config.GroupMark before them

	// State is Failed, or that of its collectors: the first of Stopping, Starting,
	// Running, Paused and Stopped that one of them is in.
	State  State
	Reason string // why it is in this state, where that is not plain

	RestartCount int       // restarts of its children since it was started
	RestartsLeft int       // that are allowed now
	NextRestart  time.Time // when its children are started again; zero where that is not due
}

// A Node is a collector among those that wait for each other.
type Node struct {
	ID    string
	Group string
	State State
	// What it says itself, with the conditions filled in.
	Requires []config.Dependency
	Wants    []string
	After    []config.Dependency
	// The collector before it in a group that has an order; empty: none.
	Previous string

	// When its last start was asked for, when its process was ordered, and when it
	// was up; zero where that has not happened since.
	Asked, Ordered, Up time.Time
}

// Totals count what has happened to a collector since it is known.
type Totals struct {
	Starts        uint64 // processes that were started
	Restarts      uint64 // automatic restarts
	SpawnFailures uint64 // starts that led to no process
	Clean         uint64 // ends with exit code 0
	Failures      uint64 // ends with another exit code
	Signals       uint64 // ends by a signal
	Forced        uint64 // ends that had to be forced
	Unhealthy     uint64 // ends because a probe failed, or it was not ready in time
	Faults        uint64 // ends by a fault of an actor

	// LastStart is how long the last start took, from the order to the exec.
	LastStart time.Duration
}

// Inspection is everything that is known about a collector.
type Inspection struct {
	Status
	Config       config.Collector // in force, with all defaults
	Wanted       bool             // it is to be up
	Declared     bool             // it stands in the configuration; else it was started by a command
	RestartsLeft int              // automatic restarts that are allowed now; -1 if none ever happen
	Detail       string           // where its actor really is, for people who look for a fault
}

// SupervisorInfo is what is known about the supervisor itself.
type SupervisorInfo struct {
	Instance  string // names this life of it: events are numbered within
	PID       int    // of the program that it is part of
	StartedAt time.Time
	Closing   bool   // no more starts are accepted
	LastEvent uint64 // its number

	States [NumStates]int // how many collectors are in each state

	// Commands count what was answered: by operation ("start"), then by how it
	// went: "ok", or the code of the error.
	Commands map[string]map[string]uint64

	// Spawns tell how long starts took, from the order to the exec.
	Spawns Histogram

	// Mailbox is how many messages wait for the supervisor's actor.
	Mailbox int
}

// A Histogram counts durations.
type Histogram struct {
	Counts [NumBuckets]uint64 // of those up to each of Buckets that are not in the one before
	Count  uint64             // of all
	Sum    time.Duration      // of all
}

// NumBuckets is how many buckets a histogram has.
const NumBuckets = 12

// Buckets are the upper bounds of a histogram's buckets.
var Buckets = [NumBuckets]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// Observe counts one more duration.
func (h *Histogram) Observe(d time.Duration) {
	h.Count++
	h.Sum += d
	for i, bound := range Buckets {
		if d <= bound {
			h.Counts[i]++
			return
		}
	}
}

// Exit is how a process ended, or that there never was one.
type Exit struct {
	Incarnation uint64
	PID         int
	Code        int    // the exit code; -1 if a signal ended it or it never ran
	Signal      string // "SIGKILL" if a signal ended it
	CoreDumped  bool
	OOMKills    int       // how many of its processes were killed for lack of memory, as far as the system tells
	Forced      bool      // it was asked to end, and had to be killed
	At          time.Time // when it ended
	Ran         time.Duration
	SpawnError  string  // why there was no process, if that is what happened
	Fault       string  // what went wrong in Proctor itself, if that ended it
	Unhealthy   string  // why it was ended without being asked for, if it did not work
	Illness     Illness // of what kind that is

	// Tail is the last lines that it wrote, long ones cut, the oldest first, where
	// its output is captured.
	Tail []string

	// What it used, as far as the system tells.
	UserTime   time.Duration
	SystemTime time.Duration
	MaxRSS     int64 // bytes, of its largest process

	// MemoryPeak is the most that all its processes had together, in bytes, where a
	// cgroup tells; else 0.
	MemoryPeak int64

	// LastMinute is what it used then, the oldest first, if somebody had it looked at
	// (config.Warnings). It is for who records how processes end: it does not travel.
	LastMinute []Usage
}

// Success reports whether the process ran and ended by itself with code 0.
func (e Exit) Success() bool {
	return e.Code == 0 && e.Signal == "" && e.SpawnError == "" && e.Fault == "" && e.Unhealthy == ""
}
