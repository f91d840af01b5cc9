package messages

import (
	"time"

	"github.com/proctord/proctor/config"
)

// The orders are what a supervisor tells the child that runs a collector. The
// child answers each with one [Outcome] that carries the same Token, sent to its
// parent; what an order changed is reported before its outcome is.

// RunProcess starts a process as Config says. The outcome comes when it has
// been exec'ed, or could not be.
type RunProcess struct {
	Token  uint64
	Config config.Collector // with all defaults filled in

	// Manager are the settings that its binary is found by.
	Manager config.ProcessManager

	// Within are the groups that it is in, the outermost first.
	Within []GroupLimits
}

// GroupLimits are what the members of a group, and of those within it, may use
// together.
type GroupLimits struct {
	Name   string
	Limits config.ResourceLimits
}

// LimitProcess puts other limits in force while the process runs. The outcome says
// which are not. One that comes while the process is in the making is carried out
// when it is there; without a process there is nothing to do.
type LimitProcess struct {
	Token  uint64
	Limits config.ResourceLimits
	Within []GroupLimits
}

// CondemnProcess has a process that is up ended because it does not work, as a
// failing probe would: Reason says why. There is no outcome.
type CondemnProcess struct {
	Incarnation uint64 // the process that is meant
	Reason      string
	Illness     Illness // of what kind that is
}

// EndProcess ends the process, if there is one. The outcome comes when it is
// gone with all that it started, or could not be ended.
type EndProcess struct {
	Token    uint64
	Force    bool          // at once
	Graceful time.Duration // how long it may take by itself
	Kill     time.Duration // how long it may take when it is killed
}

// SuspendProcess has the process group suspended.
type SuspendProcess struct{ Token uint64 }

// ContinueProcess lets it go on.
type ContinueProcess struct{ Token uint64 }

// SignalProcess sends a signal to the process, or to its whole group.
type SignalProcess struct {
	Token  uint64
	Signal string // "SIGHUP", "hup" or "1"
	Group  bool
}

// ReloadProcess has the process read its configuration again. The outcome comes
// when it has, as far as that can be told.
type ReloadProcess struct{ Token uint64 }

// AmendProcess puts settings in force that say what is done around the process that
// is there, and how it is asked how it is. It is not answered.
type AmendProcess struct{ Config config.Collector }

// BeatProcess is a heartbeat of the process, by whoever may speak for it.
type BeatProcess struct {
	Token  uint64
	Status string // in its own words; empty: as it was
}

// Outcome answers an order.
type Outcome struct {
	Token uint64
	Err   *Error // nil: done; its Op and ID are the supervisor's to fill in
	PID   int
	Exit  *Exit // of EndProcess: how the last process ended; nil if there never was one

	// Unmet says of LimitProcess which limits are not in force, and why.
	Unmet []string
}

// A Report is what a child tells its parent, unasked, whenever anything that
// concerns others has changed, and once when it begins.
type Report struct {
	ID          string
	State       State
	Incarnation uint64
	PID         int       // 0 where there is no process
	StartedAt   time.Time // of the process

	// Alive says that something of the process is still there, whatever State says.
	Alive bool

	// Ended says that an incarnation has come to its end with this report: Exit
	// says how. Each is reported once.
	Ended bool
	Exit  *Exit // of the last incarnation; nil before the first end

	// Permanent says that another start of the same would fail the same way.
	Permanent bool

	// Checked says that Health and HealthReason are what probes tell of the
	// process; without probes nothing more is known than State.
	Checked      bool
	Health       Health
	HealthReason string

	// Said is what the process has told of itself.
	Said Said

	// Confinement is what confines the process, as the system has told; Unmet are
	// limits and the like that were asked for and are not in force, with the reason.
	Confinement, Unmet []string

	// Detail is where the child really is, in its own words, for people who look
	// for a fault.
	Detail string

	// Facts are what else is worth telling others, in order.
	Facts []Fact
}
