package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/supervisor/restart"
)

func (s *supervisor) start(ctx actor.Context, m messages.StartCollector) {
	refuse := func(kind messages.Kind, state messages.State, text string, cause error) {
		s.respond(ctx, &messages.Error{Op: "start", ID: m.ID, Kind: kind, State: state, Text: text, Err: cause})
	}
	c := s.children[m.ID]
	switch {
	case s.closing:
		refuse(messages.InvalidState, messages.Stopping, "the supervisor is shutting down", nil)
		return
	case c != nil && c.stuck():
		refuse(messages.InvalidState, messages.Failed, fmt.Sprintf("process %d is still there; it can be started when that is gone", c.report.PID), nil)
		return
	case c != nil && c.busy():
		refuse(messages.AlreadyRunning, c.state(), fmt.Sprintf("it is %v with process %d; restart replaces it", c.state(), c.report.PID), nil)
		return
	case c == nil && m.Config == nil && m.Type == "":
		refuse(messages.ProcessNotFound, messages.Stopped, "no collector has this id; to start a new one, say its type or how to run it", nil)
		return
	}
	if m.Config != nil || m.Type != "" {
		var cfg config.Collector
		switch {
		case m.Config != nil:
			cfg = *m.Config
		case c != nil:
			cfg = c.config
		}
		if m.Type != "" {
			cfg.Type = m.Type
		}
		if err := cfg.Validate(m.ID); err != nil {
			refuse(messages.InvalidConfig, messages.Stopped, "", err)
			return
		}
		whole := s.whole()
		whole.Collectors[m.ID] = cfg
		if err := whole.ValidateTree(m.ID); err != nil {
			refuse(messages.InvalidConfig, messages.Stopped, "", err)
			return
		}
		if c == nil {
			c = s.add(ctx, m.ID, cfg)
		}
		c.config = cfg.WithDefaults(m.ID, s.manager)
		s.warn(ctx, c)
		s.stale = true
	}
	c.origin = s.asking.origin
	c.starts = append(c.starts, s.caller())
	s.wantUp(ctx, c)
}

// wantUp is a start that was asked for: nothing that was is counted any more.
func (s *supervisor) wantUp(ctx actor.Context, c *child) {
	if s.stale {
		s.arrange()
	}
	c.forget()
	c.giveUp()
	c.revived()
	c.wanted, c.revive, c.auto = true, false, false
	c.history, c.count, c.cause, c.reason, c.fate = restart.History{}, 0, "", "", ""
	s.pull(ctx, c)
	s.run(ctx, c)
}

// run has the child start a process, as soon as it may.
func (s *supervisor) run(ctx actor.Context, c *child) {
	s.starts++
	c.started, c.asked = s.starts, time.Now()
	s.launch(ctx, c)
}

// end has the child end its process: at once, if it is forced to; else when those
// that need it are gone.
func (s *supervisor) end(ctx actor.Context, c *child, force bool, timeout time.Duration) (token uint64) {
	m := messages.EndProcess{Token: s.nextToken(), Force: force, Graceful: timeout, Kill: c.config.ForceTimeout}
	if timeout <= 0 {
		m.Graceful = c.config.GracefulTimeout
	}
	if c.ends == nil {
		c.ends = map[uint64]messages.EndProcess{}
	}
	c.ends[m.Token] = m
	c.unsent = append(c.unsent, m)
	s.lost(ctx, c, force)
	if force {
		s.sendEnds(ctx, c)
	} else {
		s.leavers = append(s.leavers, c)
	}
	s.touch(c.id)
	return m.Token
}

func (s *supervisor) stop(ctx actor.Context, m messages.StopCollector) {
	c := s.find(ctx, "stop", m.ID)
	if c == nil {
		return
	}
	switch state := c.state(); state {
	case messages.Stopped, messages.Failed:
		if waited := c.forget(); c.giveUp() || waited {
			c.wanted = false
			c.rest, c.reason = messages.Stopped, ""
			s.show(ctx, c)
			s.respond(ctx, stopReply(c))
			return
		}
		text := "there is nothing to stop"
		if c.stuck() {
			text = fmt.Sprintf("process %d has been killed and is still there; the collector is stopped when it is gone", c.report.PID)
		}
		s.respond(ctx, &messages.Error{Op: "stop", ID: c.id, Kind: messages.InvalidState, State: state, Text: text})
		return
	}
	c.origin = s.asking.origin
	s.interrupt(ctx, c, "a stop came in between")
	s.lower(ctx, c, "a stop came in between")
	if !c.busy() { // a restart was due: there is no process
		s.respond(ctx, stopReply(c))
		c.origin = messages.Origin{}
		return
	}
	c.stops = append(c.stops, s.caller())
	s.end(ctx, c, m.Force, m.Timeout)
}

// stopped answers all who waited for the end of a process, with how it was.
func (s *supervisor) stopped(ctx actor.Context, c *child) {
	for _, caller := range c.stops {
		s.answer(ctx, caller, stopReply(c))
	}
	c.stops = nil
}

func stopReply(c *child) messages.StopReply {
	reply := messages.StopReply{ID: c.id}
	if c.report.Exit != nil {
		reply.Exit = *c.report.Exit
	}
	return reply
}

func (s *supervisor) restart(ctx actor.Context, m messages.RestartCollector) {
	c := s.find(ctx, "restart", m.ID)
	switch {
	case c == nil:
		return
	case s.closing:
		s.respond(ctx, &messages.Error{Op: "restart", ID: c.id, Kind: messages.InvalidState, State: c.state(), Text: "the supervisor is shutting down"})
		return
	case c.stuck():
		s.respond(ctx, &messages.Error{Op: "restart", ID: c.id, Kind: messages.InvalidState, State: messages.Failed,
			Text: fmt.Sprintf("process %d is still there; it can be started when that is gone", c.report.PID)})
		return
	}
	underway := len(c.restarts) > 0
	c.origin = s.asking.origin
	c.restarts = append(c.restarts, s.caller())
	if underway {
		return
	}
	if !c.busy() {
		s.wantUp(ctx, c)
		return
	}
	c.forget()
	c.wanted, c.auto = true, false
	c.reborn = s.end(ctx, c, false, m.Timeout)
}

// pass gives an order to the child, which knows whether it can be carried out.
func (s *supervisor) pass(ctx actor.Context, op, id string, order func(token uint64) any) {
	c := s.find(ctx, op, id)
	if c == nil {
		return
	}
	if !c.busy() {
		s.respond(ctx, &messages.Error{Op: op, ID: id, Kind: messages.InvalidState, State: c.state(), Text: "there is no process"})
		return
	}
	token := s.nextToken()
	c.origin = s.asking.origin
	if c.others == nil {
		c.others = map[uint64]one{}
	}
	c.others[token] = s.caller()
	ctx.Request(c.pid, order(token))
}

// reloadCollector has a collector read its own configuration again.
func (s *supervisor) reloadCollector(ctx actor.Context, id string) {
	if c := s.children[id]; c != nil && !c.config.CanReload() {
		s.respond(ctx, &messages.Error{Op: "reload", ID: id, Kind: messages.InvalidConfig,
			Text: "it has neither reload_signal nor reload_command, so nothing is known that would have it reload; set one of them, or restart it"})
		return
	}
	s.pass(ctx, "reload", id, func(token uint64) any { return messages.ReloadProcess{Token: token} })
}

// maxSaid is how long what a heartbeat says may be, in bytes.
const maxSaid = 4096

func (s *supervisor) heartbeat(ctx actor.Context, m messages.SendHeartbeat) {
	if len(m.Status) > maxSaid {
		s.respond(ctx, &messages.Error{Op: "heartbeat", ID: m.ID, Kind: messages.InvalidConfig,
			Text: fmt.Sprintf("its status has %d bytes, and may have %d; say less", len(m.Status), maxSaid)})
		return
	}
	s.pass(ctx, "heartbeat", m.ID, func(token uint64) any { return messages.BeatProcess{Token: token, Status: m.Status} })
}

func (s *supervisor) remove(ctx actor.Context, m messages.RemoveCollector) {
	c := s.find(ctx, "remove", m.ID)
	if c == nil {
		return
	}
	if state := c.state(); c.busy() || state != messages.Stopped && state != messages.Failed {
		text := "stop it first"
		if c.stuck() {
			text = fmt.Sprintf("process %d is still there", c.report.PID)
		}
		s.respond(ctx, &messages.Error{Op: "remove", ID: c.id, Kind: messages.InvalidState, State: state, Text: text})
		return
	}
	c.origin = s.asking.origin
	s.drop(ctx, c)
	s.respond(ctx, messages.RemoveReply{ID: c.id})
}

// drop forgets a collector that has no process.
func (s *supervisor) drop(ctx actor.Context, c *child) {
	s.touch(c.id)
	// An order may have been carried out, and its outcome be still on its way:
	// there will be nobody to hear it.
	c.forget()
	c.giveUp()
	s.landed(c)
	s.stopped(ctx, c)
	s.refuse(ctx, slices.Collect(maps.Values(c.others)), c.id, messages.Error{Kind: messages.InvalidState, State: c.state(), Text: "it ended, and was removed"})
	s.unwarn(c)
	delete(s.children, c.id)
	s.stale = true
	ctx.Stop(c.pid)
	s.publish(ctx, c, messages.Removed{})
	if c.change != nil {
		s.changed(ctx, c.change, nil)
	}
}

// reset forgets what is counted against a collector.
func (s *supervisor) reset(ctx actor.Context, m messages.ResetCollector) {
	c := s.find(ctx, "reset", m.ID)
	if c == nil {
		return
	}
	c.history, c.count = restart.History{}, 0
	if c.state() == messages.Failed && !c.stuck() {
		c.giveUp()
		c.rest, c.reason = messages.Stopped, ""
		s.show(ctx, c)
	}
	s.respond(ctx, messages.ResetReply{ID: c.id})
}

func (s *supervisor) list() messages.ListReply {
	children, now := s.ordered(), time.Now()
	reply := messages.ListReply{Collectors: make([]messages.Status, len(children))}
	for i, c := range children {
		reply.Collectors[i] = c.status(s.manager, now)
	}
	if s.stale {
		s.arrange()
	}
	for _, name := range slices.SortedFunc(maps.Keys(s.groups), config.CompareIDs) {
		if name != "" {
			reply.Groups = append(reply.Groups, s.groups[name].status(now))
		}
	}
	return reply
}

func (s *supervisor) inspect(c *child) messages.Inspection {
	now := time.Now()
	return messages.Inspection{
		Status: c.status(s.manager, now), Config: c.config, Wanted: c.wanted, Declared: c.declared != nil,
		RestartsLeft: restart.PolicyOf(c.config, s.manager).Left(c.history, now), Detail: c.describe(),
	}
}

func (s *supervisor) info() messages.SupervisorInfo {
	info := messages.SupervisorInfo{
		Instance: s.options.Instance, PID: s.options.PID, StartedAt: s.startedAt, Closing: s.closing, LastEvent: s.seq,
		Commands: make(map[string]map[string]uint64, len(s.commands)), Spawns: s.spawns, Mailbox: s.mailbox.UserMessageCount(),
	}
	for op, results := range s.commands {
		info.Commands[op] = maps.Clone(results)
	}
	for _, c := range s.children {
		info.States[c.state()]++
	}
	return info
}

// count counts an answer.
func (s *supervisor) count(op string, failure *messages.Error) {
	result := "ok"
	if failure != nil {
		result = failure.Kind.Code()
	}
	results := s.commands[op]
	if results == nil {
		results = map[string]uint64{}
		s.commands[op] = results
	}
	results[result]++
}

func (s *supervisor) describe(ctx actor.Context) messages.DescribeReply {
	doing := "serving"
	if s.closing {
		doing = "shutting down"
	}
	lines := []string{fmt.Sprintf("%s: %s, %d collectors, %d subscribers, %d orders given, %d events published",
		ctx.Self().GetId(), doing, len(s.children), len(s.subscribers), s.token, s.seq)}
	for _, c := range s.ordered() {
		lines = append(lines, c.describe())
	}
	return messages.DescribeReply{Actors: lines}
}
