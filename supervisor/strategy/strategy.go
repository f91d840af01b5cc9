// Package strategy decides what follows in the supervision tree when a child of
// a group has ended and is to be started again: which of its siblings are
// restarted with it, when the group has failed, and who hears of that. It is
// OTP's supervision as functions: it starts and stops nothing.
package strategy

import (
	"fmt"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/supervisor/restart"
)

// A Level is one supervisor on the way from the child that has ended to the top.
type Level struct {
	// Name is the group's, with config.GroupMark before it; the supervisor itself,
	// the last level, has none.
	Name    string
	Config  config.Group // with defaults
	History restart.History
}

// An Exit is what the decision needs to know of the end of a child.
type Exit struct {
	At    time.Time
	Ran   time.Duration
	Cause string // in words: "exit code 3"
	// GivenUp says that the child's own limits do not allow another start.
	GivenUp bool
}

// An Answer is what one level does.
type Answer int

// The answers.
const (
	Restart  Answer = iota // the children in scope are started again
	Fail                   // the level has failed: its children are stopped, and stay down
	ShutDown               // as Fail, and the whole supervisor shuts down
	Leave                  // nothing: the child has failed alone
)

// A Verdict is what to do about the end of a child.
type Verdict struct {
	Answer Answer
	Level  int    // whose answer it is, counted from the child's own supervisor
	Child  string // which child of that level has ended, or has failed

	// Of a Restart: how long after, and how many more are allowed.
	After time.Duration
	Left  int

	// Of the others: why, in words.
	Reason string
}

// Decide answers the end of child, which is a child of levels[0]; the last level
// is the supervisor itself. The histories to go on with are the second result,
// one a level; those below the answering one have been forgotten. Jitter is a
// random number in [0, 1).
func Decide(levels []Level, child string, e Exit, jitter float64) (Verdict, []restart.History) {
	histories := make([]restart.History, len(levels))
	for i, level := range levels {
		histories[i] = level.History
	}
	for i, level := range levels {
		reason := fmt.Sprintf("%s: %s", child, e.Cause)
		if e.GivenUp && !level.Config.Strategy.Ordered() {
			return Verdict{Answer: Leave, Level: i, Child: child, Reason: reason}, histories
		}
		if !e.GivenUp {
			decision, history := policy(level.Config, i > 0).Next(level.History, restart.Exit{At: e.At, Ran: e.Ran, Cause: reason}, jitter)
			if decision.Restart {
				histories[i] = history
				return Verdict{Answer: Restart, Level: i, Child: child, After: decision.After, Left: decision.Left}, histories
			}
			reason = decision.Reason
		}
		histories[i] = restart.History{}
		switch level.Config.OnEscalation {
		case config.ShutDown:
			return Verdict{Answer: ShutDown, Level: i, Child: child, Reason: reason}, histories
		case config.Escalate:
		default:
			return Verdict{Answer: Fail, Level: i, Child: child, Reason: reason}, histories
		}
		child, e = level.Name, Exit{At: e.At, Ran: e.Ran, Cause: "it has failed (" + reason + ")"}
	}
	panic("the last level has an answer")
}

// policy is a group's limit as that of a collector that is always restarted. A
// group that is restarted as a whole waits longer and longer; for a collector,
// its own delay is what counts.
func policy(g config.Group, delays bool) restart.Policy {
	p := restart.Policy{Enabled: true, Mode: config.RestartAlways, Max: max(g.MaxRestarts, 0), Window: g.RestartWindow}
	if delays {
		p.Initial, p.Limit, p.Reset = config.DefaultBackoffInitial, config.DefaultBackoffMax, config.DefaultBackoffReset
	}
	return p
}

// Left is how many restarts a group with a history may have at a time.
func Left(g config.Group, h restart.History, now time.Time) int { return policy(g, false).Left(h, now) }

// Scope is which of n children in order are restarted when the one at index i is:
// those from first up to, but not including, end.
func Scope(s config.Strategy, n, i int) (first, end int) {
	switch s {
	case config.OneForAll:
		return 0, n
	case config.RestForOne:
		return i, n
	}
	return i, i + 1
}
