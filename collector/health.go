package collector

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/collector/probe"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// checks are the probes of one incarnation, and what they have told so far.
type checks struct {
	spec      platform.Spec // of the process: an exec probe runs in the same place
	startup   *check
	readiness *check
	liveness  *check

	running context.Context // nil: nobody is asked now
	stop    context.CancelFunc
	round   uint64 // tells what was asked before a pause from what is asked now
}

// check is one probe.
type check struct {
	name   string
	probe  config.Probe
	tally  probe.Tally
	begun  bool // its initial delay is over
	disarm func()
}

// What a collector tells itself about a probe.
type (
	tick struct {
		incarnation, round uint64
		check              *check
	}
	answer struct {
		tick
		asked time.Time
		err   error
	}
)

func (tick) IgnoreDeadLetterLogging() {}

// newChecks returns nil if there are no probes.
func newChecks(cfg config.Collector, spec platform.Spec) *checks {
	k := &checks{spec: spec}
	none := true
	for _, c := range []struct {
		name  string
		probe config.Probe
		to    **check
	}{{"startup", cfg.StartupProbe, &k.startup}, {"readiness", cfg.ReadinessProbe, &k.readiness}, {"liveness", cfg.Liveness, &k.liveness}} {
		if c.probe.Set() {
			*c.to, none = &check{name: c.name, probe: c.probe.WithDefaults(), disarm: func() {}}, false
		}
	}
	if none {
		return nil
	}
	return k
}

// starting reports whether the startup probe has not succeeded yet.
func (k *checks) starting() bool { return k.startup != nil && !k.startup.tally.Passing() }

// due are the probes whose turn it is.
func (k *checks) due() (all []*check) {
	if k.starting() {
		return []*check{k.startup}
	}
	for _, c := range []*check{k.readiness, k.liveness} {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// check has the probes run while the process does, and rest meanwhile otherwise.
func (c *collector) check(ctx actor.Context) {
	k := c.checks
	if k == nil || c.options.Ask == nil {
		return
	}
	up := c.up() && !c.said.Stopping
	switch {
	case up && k.running == nil:
		k.running, k.stop = context.WithCancel(context.Background()) //nolint:forbidigo // an actor has no caller: it ends with the process
		for _, check := range k.due() {
			c.arm(ctx, check)
		}
	case !up:
		k.rest()
	}
}

// rest has nobody asked any more, and no answer heard.
func (k *checks) rest() {
	if k.running == nil {
		return
	}
	k.stop()
	k.running, k.round = nil, k.round+1
	for _, check := range []*check{k.startup, k.readiness, k.liveness} {
		if check != nil {
			check.disarm()
		}
	}
}

// arm has a probe's next turn come.
func (c *collector) arm(ctx actor.Context, k *check) {
	after := k.probe.Period
	if !k.begun {
		after, k.begun = k.probe.InitialDelay, true
	}
	c.armAfter(ctx, k, after)
}

func (c *collector) armAfter(ctx actor.Context, k *check, after time.Duration) {
	turn := tick{c.incarnation, c.checks.round, k}
	k.disarm = scheduler.NewTimerScheduler(ctx.ActorSystem().Root).SendOnce(after, ctx.Self(), turn)
}

// current reports whether what was said about a probe still matters.
func (c *collector) current(t tick) bool {
	return t.incarnation == c.incarnation && c.checks != nil && c.checks.running != nil && t.round == c.checks.round
}

// ask has a probe asked. Asking takes time: the answer is a message.
func (c *collector) ask(ctx actor.Context, turn tick) {
	if !c.current(turn) {
		return
	}
	root, self, asked := ctx.ActorSystem().Root, ctx.Self(), time.Now()
	running, spec, ask := c.checks.running, c.checks.spec, c.options.Ask
	go func() { root.Send(self, answer{turn, asked, ask(running, turn.check.probe, spec)}) }()
}

// hearAnswer counts an answer, and does what follows from it.
func (c *collector) hearAnswer(ctx actor.Context, a answer) {
	if !c.current(a.tick) {
		return
	}
	k := c.checks
	changed := a.check.tally.Hear(a.check.probe, a.err)
	switch {
	case changed && a.check == k.startup && k.startup.tally.Passing():
		for _, next := range k.due() {
			c.arm(ctx, next)
		}
		c.flush(ctx)
		return
	case changed && a.check == k.readiness && c.readiness == config.ReadyProbe && k.readiness.tally.Passing():
		c.handle(ctx, c.nowReady(ctx)...)
	case changed && a.check.tally.Failing() && (a.check == k.startup || a.check == k.liveness && c.endsUnhealthy):
		c.unhealthy, c.illness = fmt.Sprintf("its %s probe %s", a.check.name, a.check.tally.Failure()), messages.IllProbe
		c.handle(ctx, lifecycle.Unhealthy)
		return
	default:
		c.flush(ctx)
	}
	if c.current(a.tick) {
		c.armAfter(ctx, a.check, max(a.check.probe.Period-time.Since(a.asked), 0))
	}
}

// health is what is known of how well the process works; ok is false if nothing
// is, beyond its state.
func (c *collector) health() (health messages.Health, reason string, ok bool) {
	k := c.checks
	probed := k != nil && c.options.Ask != nil
	for _, p := range c.pulses() {
		ok = ok || p.limit > 0
		if p.missed != "" && c.process != nil {
			return messages.HealthUnhealthy, p.missed, true
		}
	}
	ok = ok || c.activity != nil
	switch {
	case c.process == nil || !probed && !ok:
		return messages.HealthUnknown, "", false
	case c.said.Stopping:
		return messages.HealthUnknown, "it says that it is ending", true
	case probed && k.starting():
		return messages.HealthUnknown, "its startup probe has not succeeded yet", true
	case probed && k.liveness != nil && k.liveness.tally.Failing():
		return messages.HealthUnhealthy, "its liveness probe " + k.liveness.tally.Failure(), true
	case probed && k.readiness != nil && k.readiness.tally.Failing():
		return messages.HealthDegraded, "its readiness probe " + k.readiness.tally.Failure(), true
	case probed && k.readiness != nil && !k.readiness.tally.Passing():
		return messages.HealthUnknown, "its readiness probe has not succeeded yet", true
	case probed && k.liveness != nil && !k.liveness.tally.Passing():
		return messages.HealthUnknown, "its liveness probe has not succeeded yet", true
	case c.activity != nil && c.activity.missed != "":
		return messages.HealthDegraded, c.activity.missed, true
	case c.unready && c.isReady:
		return messages.HealthUnknown, "its post_start is not done yet", true
	case c.unready:
		return messages.HealthUnknown, "it has not said yet that it is ready", true
	}
	return messages.HealthHealthy, "", true
}
