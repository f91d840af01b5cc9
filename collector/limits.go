package collector

import (
	"errors"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// limiting is about limits that change while a process runs: one order after the
// other.
type limiting struct {
	orders []messages.LimitProcess // that are to be carried out; the first one is, if busy
	busy   bool
}

// limited is the host saying that limits have been changed.
type limited struct {
	incarnation uint64
	unmet       []string
	err         error
}

func (limited) IgnoreDeadLetterLogging() {}

func (c *collector) limit(ctx actor.Context, m messages.LimitProcess) {
	if !c.state.Alive() { // the next start has them
		c.answers = append(c.answers, messages.Outcome{Token: m.Token})
		c.flush(ctx)
		return
	}
	c.limiting.orders = append(c.limiting.orders, m)
	c.nextLimit(ctx)
}

// nextLimit carries out the next order, if there is a process.
func (c *collector) nextLimit(ctx actor.Context) {
	l := &c.limiting
	if l.busy || len(l.orders) == 0 || c.process == nil || c.pid == 0 {
		return
	}
	l.busy = true
	root, self, incarnation := ctx.ActorSystem().Root, ctx.Self(), c.incarnation
	m := l.orders[0]
	c.process.Limit(limits(m.Limits), within(m.Within), func(unmet []string, err error) {
		root.Send(self, limited{incarnation, unmet, err})
	})
}

func (c *collector) limited(ctx actor.Context, m limited) {
	l := &c.limiting
	order := l.orders[0]
	outcome := messages.Outcome{Token: order.Token, PID: c.pid, Unmet: m.unmet}
	l.orders, l.busy = l.orders[1:], false
	if m.err != nil && !errors.Is(m.err, platform.ErrNotRunning) {
		outcome.Err = failure(m.err)
	} else if m.err == nil && m.incarnation == c.incarnation && c.process != nil {
		c.notInForce(ctx, append(slices.DeleteFunc(slices.Clone(c.unmet), platform.IsLimit), m.unmet...))
		c.within = order.Within
		if c.around != nil { // hooks have them, too
			c.around.spec.Limits, c.around.spec.Within = limits(order.Limits), within(order.Within)
		}
	}
	c.answers = append(c.answers, outcome)
	c.nextLimit(ctx)
	c.flush(ctx)
}

// notInForce takes in what of limits, and of what was to confine the process, is
// not in force.
func (c *collector) notInForce(ctx actor.Context, unmet []string) {
	for _, text := range unmet {
		if !slices.Contains(c.unmet, text) {
			ctx.Logger().Warn("a limit, or what was to confine it, is not in force", "collector", c.id, "pid", c.pid, "limit", text)
		}
	}
	c.unmet = unmet
}

// unlimited answers orders for a process that is not there any more, but for one
// that the host has still to answer.
func (c *collector) unlimited() {
	l := &c.limiting
	first := 0
	if l.busy {
		first = 1
	}
	for _, m := range l.orders[first:] {
		c.answers = append(c.answers, messages.Outcome{Token: m.Token})
	}
	l.orders = l.orders[:first]
}

// condemn ends a process that is up and does not work.
func (c *collector) condemn(ctx actor.Context, m messages.CondemnProcess) {
	if m.Incarnation != c.incarnation || c.state != lifecycle.Running && c.state != lifecycle.Readying {
		return
	}
	c.unhealthy, c.illness = m.Reason, m.Illness
	c.handle(ctx, lifecycle.Unhealthy)
}

func within(groups []messages.GroupLimits) (all []platform.Group) {
	for _, g := range groups {
		all = append(all, platform.Group{Name: g.Name, Limits: limits(g.Limits)})
	}
	return all
}

// limits turns settings, which are in MiB, into what a host understands.
func limits(l config.ResourceLimits) platform.Limits {
	bytes := func(mib int) int64 {
		if mib == config.None {
			return -1
		}
		return int64(mib) << 20
	}
	return platform.Limits{
		CPUPercent: l.CPUPercent, CPUWeight: l.CPUWeight,
		MemoryMax: bytes(l.MemoryMaxMB), MemoryHigh: bytes(l.MemoryHighMB), SwapMax: bytes(l.SwapMaxMB),
		IORead: bytes(l.IOReadMBPerSecond), IOWrite: bytes(l.IOWriteMBPerSecond), IOWeight: l.IOWeight,
		TasksMax: l.TasksMax, OpenFiles: l.OpenFiles, Core: bytes(l.CoreMB),
		Nice: l.Nice, OOMScoreAdjust: l.OOMScoreAdjust, CPUs: l.CPUAffinity,
		Required: l.Required,
	}
}
