package collector

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/collector/notify"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// What a collector tells itself about what its process tells of itself.
type (
	notified struct {
		incarnation uint64
		message     notify.Message
	}
	late struct {
		incarnation uint64
		pulse       *pulse
		round       uint64
	}
)

func (notified) IgnoreDeadLetterLogging() {}
func (late) IgnoreDeadLetterLogging()     {}

// tellsOf gives the process that spec describes a socket to tell of itself. It is
// opened where that may take time, with all else that the process needs.
func (c *collector) tellsOf(ctx actor.Context, cfg config.Collector, spec *platform.Spec) {
	root, self, incarnation := ctx.ActorSystem().Root, ctx.Self(), c.incarnation
	socket := c.options.Listen(func(m notify.Message) { root.Send(self, notified{incarnation, m}) })
	c.socket = socket
	env := append(spec.Env[:len(spec.Env):len(spec.Env)], notify.SocketVariable+"="+socket.Address())
	if cfg.Watchdog > 0 {
		// Which process that is for is not known before there is one, and so it
		// is left out: it is for whoever is of the tree.
		env = append(env, fmt.Sprintf("%s=%d", notify.WatchdogVariable, cfg.Watchdog.Microseconds()))
	}
	spec.Env = env
	path, find := spec.Path, spec.Find
	spec.Find = func() (string, error) {
		if err := socket.Open(); err != nil {
			return "", fmt.Errorf("it cannot be given a socket to tell of itself: %w", err)
		}
		if find != nil {
			return find()
		}
		return path, nil
	}
}

// hearSaid takes in what the process has told of itself.
func (c *collector) hearSaid(ctx actor.Context, m notify.Message) {
	if m.Refused != "" {
		c.facts = append(c.facts, messages.NotifyRefused{Reason: m.Refused})
	}
	said := &c.said
	if m.HasStatus {
		said.Status = m.Status
		if c.activity != nil {
			c.activity.hearStatus(m.Status)
		}
	}
	if m.Errno != 0 {
		said.Errno = m.Errno
	}
	if m.BusError != "" {
		said.Error = m.BusError
	}
	if m.ExitStatus != "" {
		said.ExitStatus = m.ExitStatus
	}
	if m.MainPID != 0 {
		said.MainPID = m.MainPID
	}
	if m.Extend > 0 {
		c.extend(ctx, m.Extend)
	}
	if m.WatchdogSet {
		c.watchdog.limit = m.WatchdogIn
		c.startPulse(ctx, &c.watchdog)
	}
	if m.Heartbeat {
		c.beat(ctx)
	}
	if m.Watchdog == notify.WatchdogReset {
		c.resetWatchdog(ctx)
	}
	switch {
	case m.Stopping && !said.Stopping:
		said.Stopping, said.Reloading = true, false
		c.ending.limit = c.graceful
	case m.Reloading:
		said.Reloading = true
	case m.Ready:
		said.Reloading = false
	}
	c.saysReloading(m.Reloading, m.Ready)
	var events []lifecycle.Event
	if m.Ready && c.readiness == config.ReadyNotify {
		events = c.nowReady(ctx)
	}
	if m.Watchdog == notify.WatchdogTrigger && c.up() {
		c.watchdog.missed = "it has told its watchdog that it does not work"
		if c.endsUnhealthy {
			c.unhealthy, c.illness = c.watchdog.missed, messages.IllHang
			events = append(events, lifecycle.Hung)
		}
	}
	c.handle(ctx, events...)
	if m.Barrier != nil {
		m.Barrier()
	}
}

// hearBeat takes in a heartbeat that somebody else has passed on.
func (c *collector) hearBeat(ctx actor.Context, m messages.BeatProcess) {
	o := order{token: m.Token}
	if !c.up() {
		c.answer(o, &messages.Error{Kind: messages.InvalidState, State: c.state.Public(), Text: "no heartbeat is expected of it now"})
		c.flush(ctx)
		return
	}
	c.answer(o, nil)
	c.hearSaid(ctx, notify.Message{Heartbeat: true, HasStatus: m.Status != "", Status: m.Status})
}

// nowReady takes in that the process is ready. It may say so before the host has
// said that there is one.
func (c *collector) nowReady(ctx actor.Context) []lifecycle.Event {
	if c.isReady {
		return nil
	}
	c.isReady = true
	if c.state != lifecycle.Readying {
		return nil
	}
	return c.whenReady(ctx)
}

// up reports whether the process is to work now.
func (c *collector) up() bool {
	return c.state == lifecycle.Running || c.state == lifecycle.Readying
}

// A pulse is a sign that has to come again within a time, while the process is up.
type pulse struct {
	limit  time.Duration // 0: it need not come
	since  time.Time     // when it came, or began to be waited for
	armed  bool
	round  uint64 // tells the wait from those before it
	disarm func()
	missed string // that it did not come, in words
	failed lifecycle.Event
	words  func(silent time.Duration) string
}

// pulses are all there are, and what it means that one does not come.
func (c *collector) pulses() []*pulse { return []*pulse{&c.watchdog, &c.heartbeat, &c.ending} }

// newPulses are those of a new incarnation.
func (c *collector) newPulses(cfg config.Collector, manager config.ProcessManager) {
	c.watchdog = pulse{limit: cfg.Watchdog, failed: lifecycle.Hung, words: func(silent time.Duration) string {
		return fmt.Sprintf("its watchdog has heard nothing for %v", silent)
	}}
	c.heartbeat = pulse{failed: lifecycle.Unhealthy, words: func(silent time.Duration) string {
		return fmt.Sprintf("it has sent no heartbeat for %v", silent)
	}}
	c.ending = pulse{failed: lifecycle.Unhealthy, words: func(silent time.Duration) string {
		return fmt.Sprintf("it said that it was ending, and was still there %v later", silent)
	}}
	manager = manager.WithDefaults()
	c.beatWithin = manager.HealthCheckInterval * time.Duration(manager.HeartbeatTimeoutMultiplier)
}

// pulsate has the pulses be waited for while the process is up, and only then.
func (c *collector) pulsate(ctx actor.Context) {
	working := c.state == lifecycle.Running
	for _, p := range c.pulses() {
		// One that is ending has to do nothing more but end.
		switch wanted := working && p.limit > 0 && (p == &c.ending) == c.said.Stopping; {
		case wanted && !p.armed && p.missed == "":
			c.startPulse(ctx, p)
		case !wanted:
			p.rest()
			p.missed = ""
		}
	}
}

// startPulse waits for a pulse from now on, if that is to be waited for.
func (c *collector) startPulse(ctx actor.Context, p *pulse) {
	p.rest()
	p.missed, p.since = "", time.Now()
	if p.limit > 0 && c.state == lifecycle.Running {
		c.armPulse(ctx, p, p.limit)
	}
}

func (c *collector) armPulse(ctx actor.Context, p *pulse, after time.Duration) {
	p.round++
	p.armed = true
	p.disarm = scheduler.NewTimerScheduler(ctx.ActorSystem().Root).SendOnce(after, ctx.Self(), late{c.incarnation, p, p.round})
}

// rest has a pulse not be waited for.
func (p *pulse) rest() {
	if p.armed {
		p.disarm()
		p.armed = false
	}
}

// came takes in that it is there. Its timer runs on: what matters is when it ends.
func (c *collector) came(ctx actor.Context, p *pulse) {
	p.since = time.Now()
	if p.missed != "" {
		c.startPulse(ctx, p)
	}
}

// resetWatchdog takes in a sign of life; where there is no watchdog it is a
// heartbeat.
func (c *collector) resetWatchdog(ctx actor.Context) {
	if c.watchdog.limit == 0 {
		c.beat(ctx)
		return
	}
	c.came(ctx, &c.watchdog)
	c.seen()
}

// beat takes in a heartbeat. Who has sent one is expected to go on.
func (c *collector) beat(ctx actor.Context) {
	if c.heartbeat.limit == 0 {
		c.heartbeat.limit = c.beatWithin
	}
	c.came(ctx, &c.heartbeat)
	c.seen()
}

// seen notes when there was a sign of life, but not each one: others are told.
func (c *collector) seen() {
	if now := time.Now(); now.Sub(c.said.Heartbeat) >= time.Second {
		c.said.Heartbeat = now
	}
}

// overdue does what follows from a pulse that did not come.
func (c *collector) overdue(ctx actor.Context, m late) {
	p := m.pulse
	if m.incarnation != c.incarnation || !p.armed || m.round != p.round {
		return
	}
	p.armed = false
	silent := time.Since(p.since)
	if silent < p.limit {
		c.armPulse(ctx, p, p.limit-silent)
		return
	}
	p.missed = p.words(silent.Round(time.Millisecond))
	c.flush(ctx) // whoever follows the health sees why it is ended
	if c.endsUnhealthy {
		c.unhealthy, c.illness = p.missed, messages.IllHang
		c.handle(ctx, p.failed)
	}
}

// extend gives the process more time for what it is at.
func (c *collector) extend(ctx actor.Context, more time.Duration) {
	var event lifecycle.Event
	var limit *time.Duration
	switch c.state.Timer() {
	case lifecycle.StartTimer:
		event, limit = lifecycle.StartExpired, &c.startup
	case lifecycle.GraceTimer:
		event, limit = lifecycle.GraceExpired, &c.graceful
	default:
		return
	}
	if spent := time.Since(c.began); spent+more > *limit {
		*limit = (spent + more).Round(time.Millisecond)
		began := c.began
		c.startTimer(ctx, more, event)
		c.began = began
	}
}
