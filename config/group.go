package config

import "time"

// A Group is a supervisor within the supervision tree ([groups.<name>]): it has
// children, which are collectors and other groups, and a strategy for their
// exits. Its fields mean what they mean in OTP.
type Group struct {
	// Parent is the group that it is a child of. Empty: the supervisor itself.
	Parent string

	// Strategy says which of its children are restarted when one of them is.
	// Empty: OneForOne.
	Strategy Strategy

	// MaxRestarts is how many restarts of its children are allowed within
	// RestartWindow; one more, and all its children are stopped: it has failed.
	// Zero: 3. None: none. Every child's own limit holds beside it.
	MaxRestarts int

	// RestartWindow is what counts against MaxRestarts. Zero: 300 s. Forever: all of them.
	RestartWindow time.Duration

	// OnEscalation says what follows when it has failed. Empty: Stay.
	OnEscalation Escalation

	// AutoShutdown says whether it ends when children that are Significant have
	// ended by themselves. Empty: AutoShutdownNever.
	AutoShutdown AutoShutdown

	// Significant makes its own end by AutoShutdown count for its parent's.
	Significant bool

	// ResourceLimits are what all its members, and those of the groups within it, may
	// use together. What is a limit of each process is none of a group.
	ResourceLimits ResourceLimits
}

// Strategy says which children of a group are restarted when one of them is.
type Strategy string

// The strategies, in the words of the configuration file.
const (
	OneForOne  Strategy = "one_for_one"  // that one
	OneForAll  Strategy = "one_for_all"  // all of them: they are stopped in reverse order, and started in order
	RestForOne Strategy = "rest_for_one" // that one, and those that come after it
)

// Ordered reports whether the children of a group with this strategy are started
// one after the other, and stopped in reverse.
func (s Strategy) Ordered() bool { return s == OneForAll || s == RestForOne }

// Escalation says what follows when a group has failed.
type Escalation string

// The escalations, in the words of the configuration file.
const (
	Stay     Escalation = "stay"     // nothing: its children stay down
	Escalate Escalation = "escalate" // its parent treats it as the exit of a child
	ShutDown Escalation = "shutdown" // the whole supervisor shuts down
)

// AutoShutdown says when a group ends because children of it have ended by
// themselves.
type AutoShutdown string

// The automatic shutdowns, in the words of the configuration file.
const (
	AutoShutdownNever AutoShutdown = "never"
	AnySignificant    AutoShutdown = "any_significant" // when one that is significant has
	AllSignificant    AutoShutdown = "all_significant" // when all that are significant have
)

// A Dependency is another collector that one waits for, and until when.
type Dependency struct {
	ID string
	// Condition is what the other has to be. Empty: Exited for a task, Ready for
	// any other.
	Condition Condition
}

// Condition is what a collector that another one waits for has to be.
type Condition string

// The conditions, in the words of the configuration file.
const (
	Started Condition = "started" // its process was executed
	Ready   Condition = "ready"   // it is running
	Healthy Condition = "healthy" // it is running, and healthy
	Exited  Condition = "exited"  // it has ended by itself, with success
)

// DefaultGroup is the strategy of the supervisor itself, for the groups that have
// no parent.
var DefaultGroup = Group{}.WithDefaults()

// WithDefaults fills in what is zero. Doing it again changes nothing.
func (g Group) WithDefaults() Group {
	fill(&g.Strategy, OneForOne)
	fill(&g.MaxRestarts, DefaultMaxRestarts)
	fill(&g.RestartWindow, DefaultRestartWindow)
	fill(&g.OnEscalation, Stay)
	fill(&g.AutoShutdown, AutoShutdownNever)
	return g
}

// GroupMark is what a group's name is preceded by where it stands among ids of
// collectors.
const GroupMark = "@"
