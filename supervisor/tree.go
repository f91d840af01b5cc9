package supervisor

import (
	"slices"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/supervisor/restart"
	"github.com/proctord/proctor/supervisor/strategy"
)

// group is one level of the supervision tree: a [groups.<name>], or the
// supervisor itself, which has no name.
type group struct {
	name   string
	config config.Group // with all defaults
	up     *group       // nil: this is the supervisor itself
	place  int          // which of up's units it is
	units  []unit       // its children, in order

	history restart.History
	count   int    // restarts of its children since it was started
	failed  bool   // its children were stopped because there were too many of them
	reason  string // why it has failed, or has ended by itself

	hold *hold // children of it are being restarted; nil: none are
}

// unit is one child of a group: a collector, or another group.
type unit struct {
	c *child
	g *group
}

// hold keeps children of a group from being started: until all of them are down,
// and it is time.
type hold struct {
	first, end int // which units
	at         time.Time
	due        bool
	cancel     func() // its timer
}

// holdOver is the supervisor telling itself that the delay of a hold is over.
type holdOver struct {
	group string
	hold  *hold
}

func (holdOver) IgnoreDeadLetterLogging() {}

// link is another collector that one waits for.
type link struct {
	id        string
	to        *child // nil: there is none with this id
	condition config.Condition
	required  bool // else it is only waited for while it is on its way
}

// mark is the group's name as it stands among ids of collectors.
func (g *group) mark() string {
	if g.up == nil {
		return ""
	}
	return config.GroupMark + g.name
}

func (u unit) name() string {
	if u.g != nil {
		return u.g.mark()
	}
	return u.c.id
}

// collectors calls yield with all collectors that are in a group, in order, until
// it returns false.
func (g *group) collectors(yield func(*child) bool) {
	g.some(0, len(g.units), yield)
}

func (g *group) some(first, end int, yield func(*child) bool) bool {
	for _, u := range g.units[first:end] {
		if u.c != nil && !yield(u.c) || u.g != nil && !u.g.some(0, len(u.g.units), yield) {
			return false
		}
	}
	return true
}

// groups calls yield with a group and all that are in it.
func (g *group) groups(yield func(*group)) {
	yield(g)
	for _, u := range g.units {
		if u.g != nil {
			u.g.groups(yield)
		}
	}
}

// whole is the configuration that is in force.
func (s *supervisor) whole() config.Config {
	cfg := config.Config{ProcessManager: s.manager, Collectors: make(map[string]config.Collector, len(s.children)), Groups: s.groupConfigs, Order: s.order}
	for id, c := range s.children {
		cfg.Collectors[id] = c.config
	}
	return cfg
}

// arrange puts all children into their places of the tree, after there are others
// or they are configured in another way. What is counted of a group stays, and so does
// a hold of the same children.
func (s *supervisor) arrange() {
	cfg := s.whole()
	before := s.groups
	s.groups = map[string]*group{}
	for name, config := range cfg.Groups {
		s.groups[name] = s.levelOf(before[name], name, config.WithDefaults())
	}
	root := s.levelOf(before[""], "", config.DefaultGroup)
	s.groups[""] = root
	for _, c := range s.children {
		c.needs, c.feeds, c.dependents = nil, nil, nil
	}
	for name, children := range cfg.Units() {
		g := s.groups[name]
		for i, child := range children {
			if inner, is := strings.CutPrefix(child, config.GroupMark); is {
				g.units = append(g.units, unit{g: s.groups[inner]})
				s.groups[inner].up, s.groups[inner].place = g, i
				continue
			}
			c := s.children[child]
			g.units = append(g.units, unit{c: c})
			c.group, c.place = g, i
		}
	}
	for name, g := range s.groups {
		if was := before[name]; was != nil && was.hold != nil && slices.EqualFunc(was.units, g.units, func(a, b unit) bool { return a.name() == b.name() }) {
			g.hold, was.hold = was.hold, nil
		}
	}
	for _, g := range before {
		g.release()
	}
	for _, c := range s.ordered() {
		requires, after := cfg.DependenciesOf(c.config)
		for _, d := range requires {
			s.link(c, d, true)
		}
		for _, d := range after {
			s.link(c, d, false)
		}
	}
	s.stale = false
	for _, c := range s.children {
		if c.waiting {
			s.touch(c.obstacle)
			for _, need := range c.needs {
				s.touch(need.id)
			}
		}
	}
}

// levelOf is a group with the counts of the one that was there before.
func (s *supervisor) levelOf(before *group, name string, cfg config.Group) *group {
	g := &group{name: name, config: cfg}
	if before != nil {
		g.history, g.count, g.failed, g.reason = before.history, before.count, before.failed, before.reason
	}
	return g
}

func (s *supervisor) link(c *child, d config.Dependency, required bool) {
	to := s.children[d.ID]
	c.needs = append(c.needs, link{id: d.ID, to: to, condition: d.Condition, required: required})
	if to == nil {
		return
	}
	to.feeds = append(to.feeds, c)
	if required && d.Condition != config.Exited {
		to.dependents = append(to.dependents, c)
	}
}

// release lets the children that are held go on, if there are any.
func (g *group) release() bool {
	if g.hold == nil {
		return false
	}
	g.hold.cancel()
	g.hold = nil
	return true
}

// forget is what a group begins with.
func (g *group) forget() { g.history, g.count, g.failed, g.reason = restart.History{}, 0, false, "" }

// level is what the strategies know of a group.
func (g *group) level() strategy.Level {
	return strategy.Level{Name: g.mark(), Config: g.config, History: g.history}
}

// state is that of a group's collectors, taken together.
func (g *group) state() messages.State {
	if g.failed {
		return messages.Failed
	}
	if g.hold != nil {
		return messages.Starting
	}
	var there [messages.NumStates]bool
	g.collectors(func(c *child) bool {
		there[c.state()] = true
		return true
	})
	for _, state := range []messages.State{messages.Stopping, messages.Starting, messages.Running, messages.Paused, messages.Stopped, messages.Failed} {
		if there[state] {
			return state
		}
	}
	return messages.Stopped
}

func (g *group) status(now time.Time) messages.GroupStatus {
	status := messages.GroupStatus{
		Name: g.name, Parent: g.up.name, Strategy: g.config.Strategy, State: g.state(), Reason: g.reason,
		RestartCount: g.count, RestartsLeft: strategy.Left(g.config, g.history, now),
	}
	for _, u := range g.units {
		status.Children = append(status.Children, u.name())
	}
	if g.hold != nil {
		status.NextRestart = g.hold.at
	}
	return status
}
