package collector

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// surroundings are what is done around the life of a process: nil for one that is
// started and sent a signal, like most.
type surroundings struct {
	config config.Collector
	spec   platform.Spec // what hooks have in common with the process
	steps  []stopStep
	reload platform.Signal
}

type stopStep struct {
	signal platform.Signal
	after  time.Duration
}

// surround returns the surroundings that the settings ask for, if any.
func surround(cfg config.Collector, spec platform.Spec) (*surroundings, error) {
	if !cfg.Hooked() && !cfg.CanReload() && len(cfg.StopSequence) == 0 {
		return nil, nil //nolint:nilnil // none, and that is no error
	}
	a := newSurroundings(cfg, spec)
	for _, step := range cfg.StopSequence {
		s, err := platform.ParseSignal(step.Signal)
		if err != nil {
			return nil, err
		}
		a.steps = append(a.steps, stopStep{s, step.After})
	}
	if cfg.ReloadSignal != "" {
		s, err := platform.ParseSignal(cfg.ReloadSignal)
		if err != nil {
			return nil, err
		}
		a.reload = s
	}
	return a, nil
}

// newSurroundings are what hooks need, without the signals of the settings.
func newSurroundings(cfg config.Collector, spec platform.Spec) *surroundings {
	spec.StopSignal = 0
	spec.KeepFDs, spec.Confinement.SHA256 = nil, "" // these are of the process itself
	a := &surroundings{config: cfg, spec: spec}
	if a.config.HookTimeout == 0 {
		a.config.HookTimeout = config.DefaultHookTimeout
	}
	return a
}

// A hook is a command that runs around the life of the process. There is one at a
// time.
type hook struct {
	name      string // its key in a configuration file
	process   platform.Process
	recording *capture.Recording // of what it writes; nil: nobody records it
	exit      platform.Exit
	tail      []string
	failure   string // why it has not done what it should, if that is so
	disarm    func()

	// done is called when nothing is left of it, and returns what follows.
	done func(ctx actor.Context, h *hook) []lifecycle.Event
}

// What a collector tells itself about a hook.
type (
	hookNews struct {
		hook   *hook
		notice platform.Notice
	}
	hookStored struct {
		hook *hook
		tail []string
	}
	hookLate struct{ hook *hook }

	// nextStep says that the next signal of a stop_sequence is due.
	nextStep struct {
		incarnation uint64
		step        int
	}
	// reloadLate says that the process has had its time to read its configuration.
	reloadLate struct{ reload *reload }
)

func (hookNews) IgnoreDeadLetterLogging()   {}
func (hookStored) IgnoreDeadLetterLogging() {}
func (hookLate) IgnoreDeadLetterLogging()   {}
func (nextStep) IgnoreDeadLetterLogging()   {}
func (reloadLate) IgnoreDeadLetterLogging() {}

// runHook runs a command in the place of the process. One that still runs is
// killed before, and what was to follow it does not.
func (c *collector) runHook(ctx actor.Context, name string, command, tell []string, done func(actor.Context, *hook) []lifecycle.Event) {
	if before := c.hook; before != nil {
		before.done = func(ctx actor.Context, _ *hook) []lifecycle.Event {
			c.runHook(ctx, name, command, tell, done)
			return nil
		}
		before.process.Kill()
		return
	}
	root, self, a := ctx.ActorSystem().Root, ctx.Self(), c.around
	h := &hook{name: name, done: done, disarm: func() {}}
	spec := a.spec
	spec.Label = c.id + " " + name
	spec.Path, spec.Args = command[0], command[1:]
	spec.Env = slices.Concat(spec.Env, []string{
		"PROCTOR_HOOK=" + name, "PROCTOR_COLLECTOR=" + c.id, "PROCTOR_INCARNATION=" + strconv.FormatUint(c.incarnation, 10),
	}, tell)
	if c.pid != 0 && c.dying == nil {
		pid := strconv.Itoa(c.pid)
		spec.Env = append(spec.Env, "PROCTOR_PID="+pid, "MAINPID="+pid)
	}
	if record := c.options.Record; record != nil {
		h.recording = record(c.id, c.incarnation, a.config, func(n capture.Notice) { root.Send(self, complaint{n}) }, nil)
	}
	if h.recording != nil {
		spec.Output = h.recording.Open
	}
	if c.state.Timer() != lifecycle.HookTimer {
		h.disarm = scheduler.NewTimerScheduler(root).SendOnce(a.config.HookTimeout, self, hookLate{h})
	}
	h.process = c.options.Host.Start(spec, h.listener(ctx))
	c.hook = h // only now: an heir has to be able to end it
}

// listener passes on what the host says of the hook.
func (h *hook) listener(ctx actor.Context) func(platform.Notice) {
	root, self := ctx.ActorSystem().Root, ctx.Self()
	return func(n platform.Notice) { root.Send(self, hookNews{h, n}) }
}

// hearHook takes in what the host says of the hook that runs.
func (c *collector) hearHook(ctx actor.Context, n platform.Notice) {
	h := c.hook
	switch n.Kind {
	case platform.SpawnFailed:
		h.failure = n.Err.Error()
		if h.recording != nil {
			h.recording.Finish(func(capture.Ending) {}) // there is nothing to wait for
		}
		c.hookDone(ctx)
	case platform.Exited:
		if !n.Empty {
			h.process.Kill() // what it has left behind
		}
	case platform.Emptied:
		h.exit = n.Exit
		if h.recording == nil {
			c.hookDone(ctx)
			return
		}
		root, self := ctx.ActorSystem().Root, ctx.Self()
		h.recording.Finish(func(e capture.Ending) { root.Send(self, hookStored{h, e.Tail}) })
	}
}

// hookDone does what follows the hook, of which nothing is left.
func (c *collector) hookDone(ctx actor.Context) {
	h := c.hook
	c.hook = nil
	h.disarm()
	if h.failure == "" && !h.exit.Success() {
		e := messages.Exit{Code: h.exit.Code}
		if h.exit.Signal != 0 {
			e.Signal = h.exit.Signal.Name()
		}
		h.failure = e.String()
		if n := len(h.tail); n > 0 {
			h.failure += ": " + h.tail[n-1]
		}
	}
	c.handle(ctx, h.done(ctx, h)...)
}

// hookExpired ends a hook that has had its time.
func (c *collector) hookExpired() {
	c.hook.failure = fmt.Sprintf("it was still running after %v, and was killed", c.around.config.HookTimeout)
	c.hook.process.Kill()
}

// cancelHook ends a hook that nobody waits for any more.
func (c *collector) cancelHook() {
	if c.hook != nil {
		c.hook.done = func(actor.Context, *hook) []lifecycle.Event { return nil }
		c.hook.process.Kill()
	}
}

// failed tells others that a hook has failed, where nothing else does.
func (c *collector) failed(h *hook) {
	if h.failure != "" {
		c.facts = append(c.facts, messages.HookFailed{Hook: h.name, Reason: h.failure})
	}
}

// prepare runs what has to come before the process, and then starts that.
func (c *collector) prepare(ctx actor.Context, spec platform.Spec) {
	c.runHook(ctx, "pre_start", c.around.config.PreStart, nil, func(ctx actor.Context, h *hook) []lifecycle.Event {
		var why string
		switch {
		case c.state != lifecycle.Spawning:
			why = "it was stopped before its pre_start was done"
		case h.failure != "":
			why = "its pre_start failed: " + h.failure
		default:
			c.process = c.options.Host.Start(spec, c.listener(ctx))
			return nil
		}
		return c.unspawned(why, h.tail)
	})
}

// unspawned takes in that there is no process, and will be none.
func (c *collector) unspawned(why string, tail []string) []lifecycle.Event {
	if c.recording != nil {
		c.recording.Finish(func(capture.Ending) {}) // there is nothing to wait for
	}
	c.conclude(&messages.Exit{Incarnation: c.incarnation, Code: -1, At: time.Now(), SpawnError: why, Tail: tail})
	return []lifecycle.Event{lifecycle.SpawnFailed}
}

// whenReady is what follows when the process is ready: it is up, or what has to
// be run before that is.
func (c *collector) whenReady(ctx actor.Context) []lifecycle.Event {
	if c.around == nil || len(c.around.config.PostStart) == 0 {
		return []lifecycle.Event{lifecycle.Ready}
	}
	c.runHook(ctx, "post_start", c.around.config.PostStart, nil, func(_ actor.Context, h *hook) []lifecycle.Event {
		switch {
		case c.state != lifecycle.Readying:
			return nil
		case h.failure != "":
			c.unhealthy, c.illness = "its post_start failed: "+h.failure, messages.IllStart
			return []lifecycle.Event{lifecycle.Unhealthy}
		}
		return []lifecycle.Event{lifecycle.Ready}
	})
	return nil
}

// askToEnd asks the process to end, in the way that the settings say.
func (c *collector) askToEnd(ctx actor.Context) []lifecycle.Event {
	if c.around == nil {
		return c.sendStop(ctx)
	}
	if command := c.around.config.PreStop; len(command) > 0 {
		c.runHook(ctx, "pre_stop", command, c.reason(), func(ctx actor.Context, h *hook) []lifecycle.Event {
			c.failed(h)
			if !c.toEnd() {
				return nil
			}
			return c.stopCommand(ctx)
		})
		return nil
	}
	return c.stopCommand(ctx)
}

// toEnd reports whether the process is there, and has still to be asked to end.
func (c *collector) toEnd() bool {
	return c.state == lifecycle.Stopping && c.process != nil && c.dying == nil
}

// reason tells a hook why the process is to end.
func (c *collector) reason() []string {
	if c.unhealthy != "" {
		return []string{"PROCTOR_REASON=" + c.unhealthy}
	}
	return []string{"PROCTOR_REASON=it was asked to stop"}
}

func (c *collector) stopCommand(ctx actor.Context) []lifecycle.Event {
	command := c.around.config.StopCommand
	if len(command) == 0 {
		c.cancelHook()
		return c.sendStop(ctx)
	}
	c.runHook(ctx, "stop_command", command, c.reason(), func(ctx actor.Context, h *hook) []lifecycle.Event {
		c.failed(h)
		if h.failure == "" || !c.toEnd() {
			return nil
		}
		return c.sendStop(ctx)
	})
	return nil
}

// sendStop sends the signal that asks the process to end, or the first of several.
func (c *collector) sendStop(ctx actor.Context) []lifecycle.Event {
	if c.around != nil && len(c.around.steps) > 0 {
		return c.sendStep(ctx, 0)
	}
	return c.asked(ctx, c.process.Terminate())
}

// sendStep sends a signal of a stop_sequence, and has the next one follow.
func (c *collector) sendStep(ctx actor.Context, n int) []lifecycle.Event {
	steps := c.around.steps
	err := c.process.Signal(steps[n].signal, true)
	if err != nil && failure(err).Kind == messages.PlatformNotSupported {
		if n > 0 {
			return nil // it has been asked in the way that the system has
		}
		err = c.process.Terminate()
	}
	if n+1 < len(steps) {
		c.disarmStep = scheduler.NewTimerScheduler(ctx.ActorSystem().Root).SendOnce(steps[n+1].after, ctx.Self(), nextStep{c.incarnation, n + 1})
	}
	return c.asked(ctx, err)
}

// part runs what is to be run when nothing is left of the process, and reports
// whether there is such a thing.
func (c *collector) part(ctx actor.Context, events []lifecycle.Event) bool {
	if c.around == nil || len(c.around.config.PostExit) == 0 || c.parted || c.state == lifecycle.Stuck {
		return false
	}
	c.parted = true
	c.handle(ctx, append(events, lifecycle.Parted)...)
	e := c.dying
	tell := []string{
		"PROCTOR_EXIT=" + e.String(), "PROCTOR_EXIT_CODE=" + strconv.Itoa(e.Code), "PROCTOR_EXIT_SIGNAL=" + e.Signal,
		"PROCTOR_EXPECTED=" + strconv.FormatBool(c.state == lifecycle.Closing && c.unhealthy == ""),
	}
	if c.unhealthy != "" {
		tell = append(tell, "PROCTOR_REASON="+c.unhealthy)
	}
	c.runHook(ctx, "post_exit", c.around.config.PostExit, tell, func(_ actor.Context, h *hook) []lifecycle.Event {
		c.failed(h)
		c.conclude(c.dying)
		return []lifecycle.Event{c.emptied()}
	})
	return true
}

// A reload is the process reading its configuration again.
type reload struct {
	orders []order // who waits for it
	told   bool    // it has been told to
	began  bool    // it has said that it does
	ended  bool    // and that it has
	disarm func()
}

// reconfigure has the process read its configuration again.
func (c *collector) reconfigure(ctx actor.Context) {
	if c.reload != nil {
		c.reload.orders = append(c.reload.orders, c.order)
		return
	}
	r := &reload{orders: []order{c.order}, disarm: func() {}}
	c.reload = r
	a := c.around
	switch {
	case a == nil || !a.config.CanReload():
		c.endReload(&messages.Error{Kind: messages.InvalidConfig, Text: "its process was started without reload_signal and reload_command; restart it"})
	case a.reload != 0:
		if err := c.process.Signal(a.reload, false); err != nil {
			c.endReload(failure(err))
			return
		}
		c.reloadTold(ctx)
	default:
		c.runHook(ctx, "reload_command", a.config.ReloadCommand, nil, func(ctx actor.Context, h *hook) []lifecycle.Event {
			if c.reload != r {
				return nil
			}
			if h.failure != "" {
				c.failed(h)
				c.endReload(&messages.Error{Kind: messages.IO, Text: "its reload_command failed: " + h.failure})
				return nil
			}
			c.reloadTold(ctx)
			return nil
		})
	}
}

func (c *collector) reloadTold(ctx actor.Context) {
	r := c.reload
	r.told = true
	if !c.around.config.ReloadNotify || r.ended {
		c.endReload(nil)
		return
	}
	r.disarm = scheduler.NewTimerScheduler(ctx.ActorSystem().Root).SendOnce(c.around.config.HookTimeout, ctx.Self(), reloadLate{r})
}

// endReload answers all who wait for a reload.
func (c *collector) endReload(err *messages.Error) {
	r := c.reload
	c.reload = nil
	r.disarm()
	for _, o := range r.orders {
		c.answer(o, err)
	}
	if err == nil {
		c.facts = append(c.facts, messages.Reloaded{})
	}
}

// saysReloading takes in what the process says about a reload. It says that it
// has begun, and then, by saying that it is ready, that it is done.
func (c *collector) saysReloading(begins, ready bool) {
	r := c.reload
	if r == nil || !c.around.config.ReloadNotify {
		return
	}
	r.began = r.began || begins
	if r.began && ready && !begins {
		r.ended = true
		if r.told {
			c.endReload(nil)
		}
	}
}
