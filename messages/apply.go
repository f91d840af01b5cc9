package messages

import "github.com/proctord/proctor/config"

// ApplyConfig puts another configuration in force (a reload). What has not
// changed is not touched. What can change in place does; only the rest is
// stopped, started or restarted. A collector whose new process does not come up
// is put back on its old configuration. The reply comes when all of that is
// done; another ApplyConfig meanwhile is an InvalidState.
type ApplyConfig struct {
	Config config.Config
	DryRun bool // only say what would be done
}

// ReloadConfig has the configuration read again from where it came from, and put
// in force like ApplyConfig. If it cannot be read, or cannot work, the answer is
// InvalidConfig with everything that is wrong, and nothing changes. It is
// answered by the façade, which hands what it read to the supervisor's actor.
type ReloadConfig struct{ DryRun bool }

// Action is what a change of the configuration means for a collector.
type Action uint8

// The actions.
const (
	Keep    Action = iota // it is the same as before
	Add                   // it becomes known, and is started if it is to start by itself
	Remove                // it is stopped and forgotten
	Update                // it has other settings, without a restart
	Replace               // its process is replaced, if it is to be up

	NumActions = iota
)

var actionNames = [NumActions]string{"keep", "add", "remove", "update", "restart"}

// String is the action's word in outputs and protocols.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown action"
}

// A Change is one line of a plan: what is done to one collector, and why.
type Change struct {
	ID     string
	Action Action
	// Reasons are the settings that differ, with both values; or why else.
	Reasons []string

	// After it was carried out:
	Err        *Error // it could not be
	RolledBack bool   // and it is on its old configuration again
}

// ApplyReply is the plan, ordered by id, and what became of it. Collectors that
// are kept are only counted.
type ApplyReply struct {
	DryRun  bool
	Changes []Change
	Kept    int
}
