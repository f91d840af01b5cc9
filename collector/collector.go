// Package collector owns one OS process at a time: it starts it, watches it,
// ends it, and says so. It never decides to start it again; its supervisor does.
//
// The actor here turns messages into the events of package lifecycle, and
// carries out the effects that come back. It keeps no state of its own beyond
// what that needs.
package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/collector/notify"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// Options are what all collectors of a supervisor have in common.
type Options struct {
	// Host starts the processes.
	Host platform.Host

	// Resolve finds the binary of a collector that does not name one by an
	// absolute path. It may block; it is called on a goroutine of the host.
	// Nil: config.Collector.BinaryPath is taken as it is.
	Resolve func(config.Collector, config.ProcessManager) (path string, err error)

	// Env is the environment that a collector's own settings are added to.
	Env []string

	// Stdout and Stderr receive what the processes write. Nil: it is discarded.
	Stdout, Stderr *os.File

	// Ask, if set, asks a probe once, and returns nil if all is well. It blocks; it
	// is called on goroutines of its own. Spec is that of the collector's process.
	Ask func(ctx context.Context, probe config.Probe, spec platform.Spec) error

	// Count, if set, reads a counter on a page of Prometheus metrics. It blocks, for
	// a bounded time; it is called on goroutines of its own.
	Count func(ctx context.Context, url, metric string) (float64, error)

	// Launched, if set, is told of each process that has been executed. It must
	// not block.
	Launched func(Launch)

	// Meter, if set, is told of each process, so that what it uses can be measured.
	Meter Meter

	// Record, if set, makes the recording of what one process writes. Where it
	// returns nil, Stdout and Stderr are given to the process. Notify is told
	// what happens to output that cannot be stored; watch, if there is one, is given
	// every record. Record must not block.
	Record func(id string, incarnation uint64, cfg config.Collector, notify func(capture.Notice), watch capture.Forwarder) *capture.Recording

	// Listen, if set, makes sockets on which processes tell of themselves; hear is
	// told what is said. It opens nothing and must not block.
	Listen func(hear func(notify.Message)) notify.Socket
}

// A Meter is told which process a collector has. Its methods must not block.
type Meter interface {
	// Began says that the collector has a process, since at.
	Began(id string, incarnation uint64, p platform.Process, at time.Time)
	// Ended says that it is over, and returns what it used in its last minute, if that
	// was looked at.
	Ended(id string, p platform.Process) []messages.Usage
}

// A Launch is a process that has just been executed.
type Launch struct {
	ID          string
	Incarnation uint64
	PID         int
	At          time.Time
	Binary      string           // the path that was executed
	Config      config.Collector // with all defaults
}

// Props describes the actor of one collector. Whoever spawns an actor from the
// same Props again, after one that had a fault, hands it the process that the
// other one left: the heir ends it and says so.
func Props(id string, o Options) *actor.Props {
	c := &custody{}
	return actor.PropsFromProducer(func() actor.Actor {
		return &collector{id: id, options: o, custody: c, disarm: func() {}, disarmStep: func() {}}
	}, actor.WithDispatcher(inline))
}

// inline has a collector's messages handled by whoever sends one while nobody
// else handles any: a host that has something to tell, or the supervisor that
// gives an order. Receive never blocks, and it only sends to the supervisor,
// whose mailbox has goroutines of its own. Of the three changes from one
// goroutine to another between a crash and the next spawn that saves two, which
// may each mean to wake another processor.
var inline = actor.NewSynchronizedDispatcher(300)

// custody is what outlives a collector actor that had a fault: whose process it
// is. It belongs to one actor at a time; the next one is spawned only when the
// one before has ended.
type custody struct {
	incarnation uint64
	process     platform.Process // nil: nothing is there, nor in the making
	pid         int
	startedAt   time.Time
	socket      notify.Socket      // on which the process tells of itself; nil: there is none
	recording   *capture.Recording // of what the process writes; nil: nobody records it
	hook        *hook              // that runs around it; nil: none
	exit        *messages.Exit     // of the last incarnation that ended
	kill        time.Duration      // the force timeout to use for an heir
}

type collector struct {
	id      string
	options Options
	*custody

	state    lifecycle.State
	order    order   // the command that is being handled
	deferred []order // those to be settled

	graceful, forceAfter time.Duration // of the stop under way
	abort                platform.Signal
	forced               bool // it had to be killed, or was to be
	dying                *messages.Exit
	permanent            bool
	unready              bool   // it has not said yet that it is ready, and nobody has asked it to end
	unhealthy            string // why it is ended by itself, if that is so
	illness              messages.Illness

	launching     *config.Collector // what is being started, until it has been executed
	readiness     config.Readiness
	isReady       bool          // it has said that it is ready
	startup       time.Duration // how long it may take to be ready
	endsUnhealthy bool          // an unhealthy one is ended
	checks        *checks       // of this incarnation; nil: there are no probes

	within     []messages.GroupLimits
	around     *surroundings // of this incarnation; nil: it is started and sent signals, no more
	vacated    bool          // nothing is left of the process
	parted     bool          // what is to run after it does, or has
	reload     *reload       // under way; nil: none is
	disarmStep func()        // of a stop_sequence

	activity *activity // of this incarnation; nil: it is not looked at

	limiting limiting

	said       messages.Said // by this incarnation
	confined   []string      // what confines it
	unmet      []string      // and what does not, though it was to
	watchdog   pulse
	heartbeat  pulse
	ending     pulse
	beatWithin time.Duration // the time from one heartbeat to the next, if it sends any

	disarm func()
	timer  uint64    // tells the timer that runs from those before it
	began  time.Time // when it did

	// What others have to hear at the end of a message, in this order.
	reported messages.Report
	ended    bool
	facts    []messages.Fact
	answers  []messages.Outcome
}

// An order is a command of the supervisor on its way through the lifecycle.
type order struct {
	token  uint64
	event  lifecycle.Event
	run    *messages.RunProcess // of Start
	signal platform.Signal
	group  bool
	err    *messages.Error
}

// What a collector tells itself from outside its mailbox. What outlives its
// incarnation, or its timer, is recognised by the number and dropped.
type (
	news struct {
		incarnation uint64
		notice      platform.Notice
	}
	expired struct {
		timer uint64
		event lifecycle.Event
	}
	// stored says that what the process wrote is stored, after its end.
	stored struct {
		incarnation uint64
		ending      capture.Ending
		events      []lifecycle.Event
	}
	complaint struct{ notice capture.Notice }
)

// News for a collector that is gone is no news: nobody has to hear of it.
func (news) IgnoreDeadLetterLogging()    {}
func (expired) IgnoreDeadLetterLogging() {}

func (stored) IgnoreDeadLetterLogging()    {}
func (complaint) IgnoreDeadLetterLogging() {}

func (c *collector) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case messages.RunProcess:
		c.command(ctx, order{token: m.Token, event: lifecycle.Start, run: &m})
	case messages.EndProcess:
		c.end(ctx, m)
	case messages.SuspendProcess:
		c.command(ctx, order{token: m.Token, event: lifecycle.Pause})
	case messages.ContinueProcess:
		c.command(ctx, order{token: m.Token, event: lifecycle.Resume})
	case messages.SignalProcess:
		c.signal(ctx, m)
	case messages.ReloadProcess:
		c.command(ctx, order{token: m.Token, event: lifecycle.Reload})
	case messages.LimitProcess:
		c.limit(ctx, m)
	case limited:
		c.limited(ctx, m)
	case messages.CondemnProcess:
		c.condemn(ctx, m)
	case messages.AmendProcess:
		c.amend(ctx, m.Config)
	case messages.BeatProcess:
		c.hearBeat(ctx, m)
	case news:
		if m.incarnation == c.incarnation && c.process != nil {
			c.hear(ctx, m.notice)
		}
	case stored:
		if m.incarnation == c.incarnation && c.process != nil {
			c.dying.Tail = m.ending.Tail
			c.goneWith(ctx, m.events)
		}
	case tick:
		c.ask(ctx, m)
	case answer:
		c.hearAnswer(ctx, m)
	case notified:
		if m.incarnation == c.incarnation && c.process != nil {
			c.hearSaid(ctx, m.message)
		}
	case ready:
		if m.incarnation == c.incarnation && c.process != nil {
			c.hearReady(ctx, m.err)
		}
	case late:
		c.overdue(ctx, m)
	case hookNews:
		if m.hook == c.hook {
			c.hearHook(ctx, m.notice)
		}
	case hookStored:
		if m.hook == c.hook {
			c.hook.tail = m.tail
			c.hookDone(ctx)
		}
	case hookLate:
		if m.hook == c.hook {
			c.hookExpired()
		}
	case nextStep:
		if m.incarnation == c.incarnation && c.toEnd() {
			c.handle(ctx, c.sendStep(ctx, m.step)...)
		}
	case reloadLate:
		if m.reload == c.reload {
			c.endReload(&messages.Error{Kind: messages.Timeout, Text: fmt.Sprintf("it has not said that it has reloaded (RELOADING=1, then READY=1) within %v", c.around.config.HookTimeout)})
			c.flush(ctx)
		}
	case look:
		c.look(ctx, m)
	case counted:
		c.measure(ctx, m)
	case complaint:
		c.complain(ctx, m.notice)
	case expired:
		if m.timer == c.timer {
			c.expire(ctx, m.event)
		}
	case *actor.Started:
		c.begin(ctx)
	case *actor.Stopping, *actor.Restarting:
		c.letGo()
	case *actor.Stopped:
	default:
		ctx.Logger().Warn("a collector does not know this message", "collector", c.id, "message", fmt.Sprintf("%T", m))
	}
}

// begin takes over what an actor before this one has left.
func (c *collector) begin(ctx actor.Context) {
	if c.process != nil || c.hook != nil {
		c.forceAfter = c.kill
		c.handle(ctx, lifecycle.Inherited)
		if h := c.hook; h != nil {
			h.done = func(actor.Context, *hook) []lifecycle.Event {
				if c.process != nil {
					return nil
				}
				return c.unspawned("its actor had a fault while its pre_start ran", nil)
			}
			h.process.Observe(h.listener(ctx))
		}
		if c.process != nil {
			c.process.Observe(c.listener(ctx))
		}
		return
	}
	c.report(ctx)
}

// letGo is the last thing an actor does. Nobody will be left to look after the
// process, unless there is an heir.
func (c *collector) letGo() {
	c.disarm()
	if c.checks != nil {
		c.checks.rest()
	}
	for _, p := range c.pulses() {
		p.rest()
	}
	c.disarmStep()
	if c.reload != nil {
		c.reload.disarm()
	}
	if c.hook != nil {
		c.hook.disarm()
		c.hook.process.Kill()
	}
	if c.process != nil {
		c.process.Kill()
		if meter := c.options.Meter; meter != nil {
			meter.Ended(c.id, c.process)
		}
	}
}

func (c *collector) end(ctx actor.Context, m messages.EndProcess) {
	event := lifecycle.Stop
	if m.Force {
		event = lifecycle.Kill
	}
	if c.state.Public() != messages.Stopping { // the first stop sets the times, those that join do not
		c.graceful = m.Graceful
		c.forceAfter = m.Kill
	}
	c.command(ctx, order{token: m.Token, event: event})
}

func (c *collector) signal(ctx actor.Context, m messages.SignalProcess) {
	o := order{token: m.Token, event: lifecycle.Signal, group: m.Group}
	s, err := platform.ParseSignal(m.Signal)
	if err != nil {
		c.answers = append(c.answers, messages.Outcome{Token: m.Token, Err: &messages.Error{Kind: messages.InvalidConfig, Err: err}})
		c.flush(ctx)
		return
	}
	o.signal = s
	c.command(ctx, o)
}

func (c *collector) command(ctx actor.Context, o order) {
	c.order = o
	c.handle(ctx, o.event)
	c.order = order{}
}

// hear turns a notice of the host into events.
func (c *collector) hear(ctx actor.Context, n platform.Notice) {
	switch n.Kind {
	case platform.Spawned:
		c.pid, c.startedAt = n.PID, time.Now()
		c.confined = n.InForce
		if meter := c.options.Meter; meter != nil {
			meter.Began(c.id, c.incarnation, c.process, c.startedAt)
		}
		if c.socket != nil { // what was said before is kept: only now it is known who is of the tree
			c.socket.Attend(c.process.Holds)
		}
		if tell := c.options.Launched; tell != nil && c.launching != nil {
			tell(Launch{ID: c.id, Incarnation: c.incarnation, PID: c.pid, At: c.startedAt, Binary: n.Path, Config: *c.launching})
		}
		c.launching = nil
		c.notInForce(ctx, n.Unmet)
		c.nextLimit(ctx)
		if c.readiness == config.ReadyExec && (c.around == nil || len(c.around.config.PostStart) == 0) {
			c.handle(ctx, lifecycle.Spawned)
			return
		}
		c.unready = true
		c.handle(ctx, lifecycle.Execed)
		if c.isReady = c.isReady || c.readiness == config.ReadyExec; c.isReady && c.state == lifecycle.Readying {
			c.handle(ctx, c.whenReady(ctx)...)
		}
	case platform.SpawnFailed:
		var missing *config.NotFoundError
		c.permanent = errors.As(n.Err, &missing) || errors.Is(n.Err, fs.ErrNotExist) || errors.Is(n.Err, notify.ErrNotSupported) || errors.Is(n.Err, platform.ErrNotSupported)
		c.handle(ctx, c.unspawned(n.Err.Error(), nil)...)
	case platform.Exited:
		c.dying = c.exitOf(n.Exit)
		if !n.Empty {
			c.handle(ctx, lifecycle.Exited)
			return
		}
		// Emptied would follow; taking both at once spares everybody the sight
		// of a collector that is being cleared of nothing.
		c.gone(ctx, lifecycle.Exited)
	case platform.Emptied:
		if c.dying == nil { // an heir may hear only the end of it
			c.dying = c.exitOf(n.Exit)
		}
		c.gone(ctx)
	}
}

// gone takes in that nothing is left of the process, when what it wrote is
// stored: whoever hears of its end can read why.
func (c *collector) gone(ctx actor.Context, events ...lifecycle.Event) {
	if c.vacated { // Emptied, after an Exited that had said so
		return
	}
	c.vacated = true
	if c.recording == nil {
		c.goneWith(ctx, events)
		return
	}
	root, self, incarnation := ctx.ActorSystem().Root, ctx.Self(), c.incarnation
	c.recording.Finish(func(e capture.Ending) { root.Send(self, stored{incarnation, e, events}) })
}

func (c *collector) goneWith(ctx actor.Context, events []lifecycle.Event) {
	if h := c.hook; h != nil { // none outlives the process but the one after it
		h.done = func(ctx actor.Context, _ *hook) []lifecycle.Event {
			c.goneWith(ctx, events)
			return nil
		}
		h.process.Kill()
		return
	}
	if c.part(ctx, events) {
		return
	}
	c.conclude(c.dying)
	c.handle(ctx, append(events, c.emptied())...)
}

// complain passes on that output cannot be stored, or can again.
func (c *collector) complain(ctx actor.Context, n capture.Notice) {
	if n.Err != nil {
		c.facts = append(c.facts, messages.OutputLost{Reason: n.Err.Error()})
	} else {
		c.facts = append(c.facts, messages.OutputStored{Lines: n.Gap.Lines, Bytes: n.Gap.Bytes})
	}
	c.flush(ctx)
}

func (c *collector) emptied() lifecycle.Event {
	if c.exit.Success() {
		return lifecycle.Finished
	}
	return lifecycle.Crashed
}

// conclude ends the incarnation: from here on there is no process.
func (c *collector) conclude(e *messages.Exit) {
	e.Forced, e.Unhealthy, e.Illness = c.forced, c.unhealthy, c.illness
	c.exit, c.ended = e, true
	c.confined, c.unmet = nil, nil
	c.disarmStep()
	c.unlimited()
	if c.reload != nil {
		c.endReload(&messages.Error{Kind: messages.InvalidState, State: c.state.Public(), Text: "it ended before it had reloaded"})
	}
	if meter := c.options.Meter; meter != nil && c.process != nil {
		e.LastMinute = meter.Ended(c.id, c.process)
	}
	c.process, c.pid, c.startedAt, c.dying, c.recording, c.vacated = nil, 0, time.Time{}, nil, nil, false
	if c.checks != nil {
		c.checks.rest()
		c.checks = nil
	}
	if c.activity != nil {
		c.activity.disarm()
		c.activity = nil
	}
	if c.socket != nil {
		c.socket.Close()
		c.socket = nil
	}
}

func (c *collector) exitOf(e platform.Exit) *messages.Exit {
	exit := &messages.Exit{
		Incarnation: c.incarnation, PID: c.pid,
		Code: e.Code, CoreDumped: e.Core, OOMKills: e.OOM, At: time.Now(),
		UserTime: e.UserTime, SystemTime: e.SystemTime, MaxRSS: e.MaxRSS, MemoryPeak: e.MemoryPeak,
	}
	if e.Signal != 0 {
		exit.Signal = e.Signal.Name()
	}
	if !c.startedAt.IsZero() {
		exit.Ran = exit.At.Sub(c.startedAt)
	}
	return exit
}

func (c *collector) expire(ctx actor.Context, event lifecycle.Event) {
	switch event {
	case lifecycle.StartExpired:
		c.unhealthy = fmt.Sprintf("it was not ready within %v", c.startup)
		if c.isReady {
			c.unhealthy = fmt.Sprintf("its post_start was not done within %v", c.startup)
		}
		c.illness = messages.IllStart
	case lifecycle.HookExpired:
		if c.hook != nil {
			c.hookExpired()
		}
	case lifecycle.GraceExpired:
		c.facts = append(c.facts, messages.StopForced{PID: c.pid, After: c.graceful, Exited: c.dying != nil})
	case lifecycle.KillExpired:
		c.facts = append(c.facts, messages.TerminateFailure{PID: c.pid, After: c.forceAfter})
	}
	c.handle(ctx, event)
}

// handle takes the collector through events, and through what performing their
// effects turns up. That is queued, never handled in the middle of a transition.
func (c *collector) handle(ctx actor.Context, events ...lifecycle.Event) {
	for len(events) > 0 {
		event := events[0]
		events = events[1:]
		next, effects, ok := lifecycle.Next(c.state, event)
		if !ok {
			c.answers = append(c.answers, messages.Outcome{Token: c.order.token, PID: c.pid,
				Err: &messages.Error{Kind: messages.InvalidState, State: c.state.Public()}})
			continue
		}
		if next.Timer() != c.state.Timer() {
			c.stopTimer()
		}
		if !c.state.Alive() && next.Alive() {
			c.forced, c.permanent, c.unready, c.unhealthy, c.illness = false, false, false, "", 0
		}
		c.state = next
		if next == lifecycle.Running || event == lifecycle.Stop || event == lifecycle.Kill {
			c.unready = false
		}
		for _, effect := range effects {
			events = append(events, c.perform(ctx, effect)...)
		}
	}
	c.check(ctx)
	c.pulsate(ctx)
	c.observe(ctx)
	c.flush(ctx)
}

// perform carries out one effect, and returns the events that it has caused.
func (c *collector) perform(ctx actor.Context, effect lifecycle.Effect) []lifecycle.Event {
	switch effect {
	case lifecycle.Spawn:
		return c.spawn(ctx, c.order.run)
	case lifecycle.Terminate:
		return c.askToEnd(ctx)
	case lifecycle.Abort:
		c.cancelHook()
		if err := c.process.Signal(c.abort, false); err != nil && !errors.Is(err, platform.ErrNotRunning) {
			ctx.Logger().Warn("a collector that hangs cannot be sent a signal, and is killed", "collector", c.id, "pid", c.pid, "error", err)
			return []lifecycle.Event{lifecycle.GraceExpired}
		}
	case lifecycle.TerminateOrphans:
		if c.process != nil {
			c.process.TerminateOrphans()
		}
	case lifecycle.KillTree:
		if c.state == lifecycle.Killing && !c.parted {
			c.forced = true
		}
		if c.hook != nil {
			c.hook.process.Kill()
		}
		if c.process != nil {
			c.process.Kill()
		}
	case lifecycle.Suspend:
		if err := c.process.Suspend(); err != nil {
			c.order.err = failure(err)
			return []lifecycle.Event{lifecycle.SuspendFailed}
		}
	case lifecycle.Continue:
		if err := c.process.Resume(); err != nil && c.order.event == lifecycle.Resume {
			c.order.err = failure(err)
			return []lifecycle.Event{lifecycle.ResumeFailed}
		}
	case lifecycle.Send:
		if err := c.process.Signal(c.order.signal, c.order.group); err != nil {
			c.order.err = failure(err)
		}
	case lifecycle.Reconfigure:
		c.reconfigure(ctx)
	case lifecycle.Withdraw:
		if c.hook != nil && c.hook.process.Terminate() != nil {
			c.hook.process.Kill()
		}
	case lifecycle.ArmHook:
		c.startTimer(ctx, c.around.config.HookTimeout, lifecycle.HookExpired)
	case lifecycle.ArmGrace:
		c.startTimer(ctx, c.graceful, lifecycle.GraceExpired)
	case lifecycle.ArmKill:
		c.startTimer(ctx, c.forceAfter, lifecycle.KillExpired)
	case lifecycle.ArmStart:
		c.startTimer(ctx, c.startup, lifecycle.StartExpired)
	case lifecycle.Accept:
		c.answer(c.order, c.order.err)
	case lifecycle.Defer:
		c.deferred = append(c.deferred, c.order)
	case lifecycle.Settle:
		c.settle(nil)
	case lifecycle.GiveUp:
		c.settle(&messages.Error{Kind: messages.TerminateFailed,
			Text: fmt.Sprintf("process %d was still there %v after it had been killed; nothing is started in its place while it lives", c.pid, c.forceAfter)})
	}
	return nil
}

// asked takes in how it went to ask the process to end.
func (c *collector) asked(ctx actor.Context, err error) []lifecycle.Event {
	if err != nil && !errors.Is(err, platform.ErrNotRunning) {
		ctx.Logger().Warn("a collector cannot be asked to end, and is killed", "collector", c.id, "pid", c.pid, "error", err)
		return []lifecycle.Event{lifecycle.GraceExpired}
	}
	return nil
}

// spawn hands the next incarnation to the host.
func (c *collector) spawn(ctx actor.Context, m *messages.RunProcess) []lifecycle.Event {
	cfg := m.Config
	c.incarnation++
	c.launching = &m.Config
	c.startup = cfg.StartupTimeout
	c.kill, c.forceAfter, c.graceful = cfg.ForceTimeout, cfg.ForceTimeout, cfg.GracefulTimeout
	c.readiness, c.isReady, c.endsUnhealthy = cmp.Or(cfg.Readiness, config.ReadyExec), false, cfg.RestartOnUnhealthy != config.Off
	c.said = messages.Said{}
	c.newPulses(cfg, m.Manager)
	refused := func(why string) []lifecycle.Event {
		c.permanent = true
		return c.unspawned(why, nil)
	}
	stop, err := platform.ParseSignal(cmp.Or(cfg.StopSignal, "SIGTERM"))
	if err != nil {
		return refused(err.Error())
	}
	if c.abort, err = platform.ParseSignal(cmp.Or(cfg.WatchdogSignal, config.DefaultWatchdogSignal)); err != nil {
		c.abort = stop // Windows has none that leaves behind how it came to that
	}
	c.within = m.Within
	spec := c.spec(cfg)
	spec.StopSignal = stop
	c.parted = false
	if c.around, err = surround(cfg, spec); err != nil {
		return refused(err.Error())
	}
	if resolve := c.options.Resolve; resolve != nil {
		spec.Find = func() (string, error) { return resolve(cfg, m.Manager) }
	}
	watch := c.watch(ctx, cfg)
	if record := c.options.Record; record != nil {
		root, self := ctx.ActorSystem().Root, ctx.Self()
		c.recording = record(c.id, c.incarnation, cfg, func(n capture.Notice) { root.Send(self, complaint{n}) }, watch)
	}
	if c.recording != nil {
		spec.Output = c.recording.Open
	}
	switch {
	case c.readiness == config.ReadyLog && c.recording == nil:
		return refused(`with readiness = "log" its output has to be captured, and here it is not`)
	case cfg.Activity.Source == config.ActivityStdout && c.recording == nil:
		return refused(`with activity.source = "stdout" its output has to be captured, and here it is not`)
	}
	if c.readiness == config.ReadyFD {
		c.readsDescriptor(ctx, cfg, &spec)
	}
	c.checks = newChecks(cfg, spec)
	if cfg.Notifies() {
		if c.options.Listen == nil {
			return refused("it cannot be given a socket to tell of itself: nobody listens here")
		}
		c.tellsOf(ctx, cfg, &spec)
	}
	if len(cfg.PreStart) > 0 {
		c.prepare(ctx, spec)
		return nil
	}
	c.process = c.options.Host.Start(spec, c.listener(ctx))
	return nil
}

// spec is what a process, and whatever is run around it, have in common.
func (c *collector) spec(cfg config.Collector) platform.Spec {
	spec := platform.Spec{
		Label:  c.id,
		Path:   cfg.BinaryPath,
		Args:   cfg.Args,
		Env:    environment(c.options.Env, cfg),
		Dir:    cfg.WorkingDir,
		Stdout: c.options.Stdout,
		Stderr: c.options.Stderr,
		Limits: limits(cfg.ResourceLimits),
		Within: within(c.within),
		As:     platform.Identity{User: cfg.User, Group: cfg.UnixGroup, Groups: cfg.SupplementaryGroups},
	}
	confine(&spec, cfg)
	return spec
}

// listener passes what the host says of this incarnation on to this actor,
// which may handle it there and then. That is on a goroutine of the host: ctx
// stays here.
func (c *collector) listener(ctx actor.Context) func(platform.Notice) {
	root, self, incarnation := ctx.ActorSystem().Root, ctx.Self(), c.incarnation
	return func(n platform.Notice) { root.Send(self, news{incarnation, n}) }
}

func environment(base []string, cfg config.Collector) []string {
	if cfg.ClearEnv {
		base = nil
	}
	if len(cfg.Env) == 0 {
		return base
	}
	env := make([]string, 0, len(base)+len(cfg.Env))
	for _, kv := range base {
		if _, replaced := cfg.Env[key(kv)]; !replaced {
			env = append(env, kv)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(cfg.Env)) {
		env = append(env, k+"="+cfg.Env[k])
	}
	return env
}

// key is the name in a KEY=value. Windows has names that begin with "=".
func key(kv string) string {
	for i := 1; i < len(kv); i++ {
		if kv[i] == '=' {
			return kv[:i]
		}
	}
	return kv
}

func (c *collector) startTimer(ctx actor.Context, after time.Duration, event lifecycle.Event) {
	c.stopTimer()
	timers := scheduler.NewTimerScheduler(ctx.ActorSystem().Root)
	c.disarm = timers.SendOnce(after, ctx.Self(), expired{c.timer, event})
	c.began = time.Now()
}

func (c *collector) stopTimer() {
	c.disarm()
	c.disarm = func() {}
	c.timer++
}

func failure(err error) *messages.Error {
	kind := messages.IO
	if errors.Is(err, platform.ErrNotSupported) {
		kind = messages.PlatformNotSupported
	}
	return &messages.Error{Kind: kind, Err: err}
}

// settle answers what was deferred: how it went depends on where things are now.
func (c *collector) settle(err *messages.Error) {
	for _, o := range c.deferred {
		switch {
		case o.event != lifecycle.Start:
			c.answer(o, err)
		case c.state == lifecycle.Running:
			c.answer(o, nil)
		case c.unhealthy != "":
			c.answer(o, &messages.Error{Kind: messages.SpawnFailed, Text: c.unhealthy})
		case c.unready:
			c.answer(o, &messages.Error{Kind: messages.SpawnFailed, Text: "it ended before it was ready: " + c.exit.String()})
		case c.state == lifecycle.Failed:
			c.answer(o, &messages.Error{Kind: messages.SpawnFailed, Text: c.exit.SpawnError})
		default:
			c.answer(o, &messages.Error{Kind: messages.InvalidState, State: messages.Stopping, Text: "it was stopped before it was up"})
		}
	}
	c.deferred = nil
}

func (c *collector) answer(o order, err *messages.Error) {
	c.answers = append(c.answers, messages.Outcome{Token: o.token, Err: err, PID: c.pid, Exit: c.exit})
}

// flush tells the supervisor what has changed, and then what became of its
// orders: who is answered finds things the way the answer says.
func (c *collector) flush(ctx actor.Context) {
	if now := c.snapshot(); c.ended || len(c.facts) > 0 || now.State != c.reported.State || now.PID != c.reported.PID || now.Alive != c.reported.Alive || now.Checked != c.reported.Checked || now.Health != c.reported.Health || now.HealthReason != c.reported.HealthReason || now.Said != c.reported.Said || !slices.Equal(now.Unmet, c.reported.Unmet) {
		c.report(ctx)
	}
	for _, a := range c.answers {
		c.tell(ctx, a)
	}
	c.answers = c.answers[:0]
}

func (c *collector) report(ctx actor.Context) {
	r := c.snapshot()
	c.reported = r
	r.Ended, r.Facts = c.ended, c.facts
	c.ended, c.facts = false, nil
	c.tell(ctx, r)
}

func (c *collector) snapshot() messages.Report {
	health, reason, checked := c.health()
	return messages.Report{
		Checked: checked, Health: health, HealthReason: reason,
		ID: c.id, State: c.state.Public(), Incarnation: c.incarnation,
		PID: c.pid, StartedAt: c.startedAt, Alive: c.state.Alive(),
		Exit: c.exit, Permanent: c.permanent, Said: c.said, Detail: c.detail(),
		Confinement: c.confined, Unmet: c.unmet,
	}
}

func (c *collector) detail() string {
	if c.hook != nil {
		return c.state.String() + " (" + c.hook.name + ")"
	}
	return c.state.String()
}

func (c *collector) tell(ctx actor.Context, message any) {
	if parent := ctx.Parent(); parent != nil {
		ctx.Request(parent, message)
	}
}
