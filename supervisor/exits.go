package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/supervisor/restart"
)

// hear takes in what a child says of itself.
func (s *supervisor) hear(ctx actor.Context, c *child, r messages.Report) {
	c.report = r
	heir := c.heir
	c.heir = false
	for _, fact := range r.Facts {
		s.publish(ctx, c, fact)
	}
	if r.Alive && r.State == messages.Running && c.up.IsZero() {
		c.up = time.Now()
	}
	if r.Ended {
		s.sendEnds(ctx, c)
	}
	switch {
	case r.Ended:
		s.ended(ctx, c, *r.Exit)
	case heir && !r.Alive && c.wanted && c.run == 0 && c.reborn == 0 && c.next.IsZero() && !c.waiting:
		// The actor before it left no process, and none is coming: either it had
		// its fault between two, or its last words were lost with it.
		exit := messages.Exit{Incarnation: r.Incarnation, Code: -1, At: time.Now(), Fault: "its actor had a fault"}
		if r.Exit != nil && r.Exit.Incarnation > c.ended {
			exit = *r.Exit
		}
		s.ended(ctx, c, exit)
	case c.stuck():
		c.reason = "it has been killed and is still there; nothing is started in its place while it lives"
	case r.State == messages.Running:
		c.reason = ""
	}
	s.show(ctx, c)
}

// ended decides what follows the end of a process.
func (s *supervisor) ended(ctx actor.Context, c *child, exit messages.Exit) {
	c.ended = exit.Incarnation
	if c.run != 0 {
		c.failed = &exit // first those who wait for the start are told
		return
	}
	c.tally(exit)
	expected := !c.wanted || c.reborn != 0
	because := ""
	switch {
	case c.reborn != 0 && c.auto:
		because = c.cause
	case !c.wanted && c.reborn == 0:
		because = c.fate
	}
	s.publish(ctx, c, messages.Exited{Exit: exit, Expected: expected, Because: because})
	switch {
	case c.reborn != 0: // the outcome of the stop goes on with it
		c.rest, c.reason = messages.Stopped, ""
		return
	case !c.wanted:
		c.rest, c.reason = messages.Stopped, c.fate
		c.fate = ""
		return
	}
	s.lost(ctx, c, false)
	switch {
	case c.revive:
		c.revive = false
		s.run(ctx, c)
		return
	case c.change != nil && !c.succeeded(exit) && s.rollBack(ctx, c, &messages.Error{Kind: messages.SpawnFailed, Text: fmt.Sprintf("%v after %v of its first %v", exit, exit.Ran.Round(time.Millisecond), trial)}):
		return
	}
	// What was never there will not be there in a moment. But a binary that is
	// missing after it has run is probably just being replaced.
	policy := restart.PolicyOf(c.config, s.manager)
	decision, history := policy.Next(c.history, restart.Exit{
		At: exit.At, Ran: exit.Ran, Success: c.succeeded(exit), Final: c.final(exit), Permanent: c.report.Permanent && c.count == 0, Cause: exit.String(),
	}, s.options.Random())
	c.history = history
	if (decision.Restart || decision.Exhausted) && s.byStrategy(ctx, c, exit, decision) {
		return
	}
	if !decision.Restart {
		c.wanted, c.reason = false, decision.Reason
		c.rest = messages.Stopped
		if decision.Failed {
			c.rest = messages.Failed
			if last := lastLine(exit.Tail); last != "" {
				c.reason += "; last output: " + last
			}
			s.tryLater(ctx, c)
		}
		c.done = !decision.Failed
		s.significant(ctx, c)
		s.exitWith(ctx, c, exit)
		return
	}
	now := time.Now()
	decision.After += s.guard.Take(now.Add(decision.After))
	c.cause, c.reason = exit.String(), exit.String()
	s.publish(ctx, c, messages.RestartScheduled{
		Cause: c.cause, After: decision.After, At: now.Add(decision.After),
		Count: c.count + 1, Left: decision.Left, Window: policy.Window,
	})
	// Even a restart that is due at once comes as a message: what is already in
	// the mailbox, a stop before all, gets in between.
	c.next = now.Add(decision.After)
	m := due{c.id, c.started}
	if decision.After > 0 {
		c.cancel = s.after(ctx, decision.After, m)
		return
	}
	c.cancel = func() {}
	ctx.Send(ctx.Self(), m)
}

// lastLine is the last line that says something.
func lastLine(tail []string) string {
	for _, line := range slices.Backward(tail) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// succeeded reports whether the settings take this end for a success.
func (c *child) succeeded(e messages.Exit) bool {
	return e.Success() || e.SpawnError == "" && e.Fault == "" && e.Unhealthy == "" && config.ListsExit(c.config.SuccessExitCodes, e.Code, e.Signal)
}

// final reports whether the settings forbid a restart after this end.
func (c *child) final(e messages.Exit) bool {
	return e.SpawnError == "" && e.Fault == "" && e.Unhealthy == "" && config.ListsExit(c.config.NoRestartExitCodes, e.Code, e.Signal)
}

// tryLater has one that has failed started again some time, if it is to be.
func (s *supervisor) tryLater(ctx actor.Context, c *child) {
	if after := c.config.RetryFailedAfter; after > 0 {
		c.retry = time.Now().Add(after)
		c.unwait = s.after(ctx, after, retry{c.id, c.started})
	}
}

// retryDue starts one that has failed again, unless something has come in between.
func (s *supervisor) retryDue(ctx actor.Context, m retry) {
	if c := s.children[m.id]; c != nil && c.started == m.start && c.giveUp() {
		s.wantUp(ctx, c)
	}
}

// restartDue starts the next process, unless something has come in between.
func (s *supervisor) restartDue(ctx actor.Context, m due) {
	c := s.children[m.id]
	if c == nil || c.started != m.start || c.next.IsZero() {
		return
	}
	c.next, c.cancel = time.Time{}, nil
	s.rerun(ctx, c)
}

// settle answers those who waited for an order.
func (s *supervisor) settle(ctx actor.Context, m messages.Outcome) {
	c := s.childOf(ctx.Sender())
	if c == nil {
		return
	}
	if _, isEnd := c.ends[m.Token]; isEnd {
		s.settleEnd(ctx, c, m)
	} else if m.Token == c.run {
		s.settleRun(ctx, c, m)
	} else if caller, ok := c.others[m.Token]; ok {
		delete(c.others, m.Token)
		if limits, ok := c.limits[m.Token]; ok {
			s.settleLimit(ctx, c, caller, limits, m)
		} else {
			s.answer(ctx, caller, reply(caller.op, c.id, m.Err))
		}
	}
	c.settled()
}

func reply(op, id string, err *messages.Error) any {
	if err != nil {
		failed := *err
		failed.Op, failed.ID = op, id
		return &failed
	}
	switch op {
	case "pause":
		return messages.PauseReply{ID: id}
	case "resume":
		return messages.ResumeReply{ID: id}
	case "reload":
		return messages.ReloadReply{ID: id}
	case "heartbeat":
		return messages.HeartbeatReply{ID: id}
	default:
		return messages.SignalReply{ID: id}
	}
}

func (s *supervisor) settleRun(ctx actor.Context, c *child, m messages.Outcome) {
	c.run = 0
	s.landed(c)
	if m.Err == nil {
		c.totals.Starts++
		c.totals.LastStart = time.Since(c.ordered)
		s.spawns.Observe(c.totals.LastStart)
	}
	if c.reborn == 0 { // else it was ended by a restart, which goes on with a new one
		starts, restarts := c.starts, c.restarts
		c.starts, c.restarts = nil, nil
		if m.Err != nil {
			s.refuse(ctx, starts, c.id, *m.Err)
			s.refuse(ctx, restarts, c.id, *m.Err)
		} else {
			for _, caller := range starts {
				s.answer(ctx, caller, messages.StartReply{ID: c.id, PID: m.PID, Incarnation: c.report.Incarnation})
			}
			for _, caller := range restarts {
				s.answer(ctx, caller, messages.RestartReply{ID: c.id, PID: m.PID, Incarnation: c.report.Incarnation})
			}
		}
	}
	if c.reborn == 0 && s.cameUp(ctx, c, m.Err) {
		return
	}
	if c.failed != nil {
		exit := *c.failed
		c.failed = nil
		s.ended(ctx, c, exit)
	}
	s.show(ctx, c)
}

func (s *supervisor) settleEnd(ctx actor.Context, c *child, m messages.Outcome) {
	delete(c.ends, m.Token)
	if m.Err != nil {
		s.refuse(ctx, c.stops, c.id, *m.Err)
		c.stops = nil
	} else {
		s.stopped(ctx, c)
	}
	if m.Token == c.reborn {
		c.reborn = 0
		switch {
		case m.Err == nil && c.auto:
			s.rerun(ctx, c)
		case m.Err == nil:
			s.wantUp(ctx, c)
		default:
			c.wanted = false
			s.refuse(ctx, append(c.starts, c.restarts...), c.id, *m.Err)
			c.starts, c.restarts = nil, nil
		}
	}
	s.left(ctx, c, m)
	s.show(ctx, c)
	if ch := c.change; ch != nil && m.Err != nil {
		failure := *m.Err
		s.changed(ctx, ch, &failure)
	} else if ch != nil && ch.Action == messages.Remove && !c.busy() {
		s.drop(ctx, c)
	}
}

func (s *supervisor) childOf(pid *actor.PID) *child {
	if pid == nil {
		return nil
	}
	c := s.children[idOf(pid)]
	if c == nil || !c.pid.Equal(pid) {
		return nil
	}
	return c
}

// terminated puts an heir in the place of a child that had a fault.
func (s *supervisor) terminated(ctx actor.Context, who *actor.PID) {
	c := s.childOf(who)
	if c == nil {
		s.dropSubscriber(who) // a removed child, or a subscriber that ended
		return
	}
	fault := messages.Error{Kind: messages.Internal, Text: "its actor had a fault while the command was under way; the process was ended with it"}
	if c.run != 0 {
		s.refuse(ctx, c.starts, c.id, fault)
		s.refuse(ctx, c.restarts, c.id, fault)
		c.starts, c.restarts = nil, nil
	}
	s.refuse(ctx, slices.Collect(maps.Values(c.others)), c.id, fault)
	s.landed(c)
	// Who waits for the end of the process, or for what comes after it, can have
	// it from the heir. A restart that is due stays due.
	before := c.volatile
	c.inherit()
	c.change, c.origin = before.change, before.origin
	c.revive, c.ends, c.reborn, c.auto = before.revive, before.ends, before.reborn, before.auto
	c.waiting, c.obstacle, c.standing = before.waiting, before.obstacle, before.standing
	c.starts, c.stops, c.restarts = before.starts, before.stops, before.restarts
	c.next, c.cancel = before.next, before.cancel
	c.retry, c.unwait = before.retry, before.unwait
	s.spawnChild(ctx, c)
	s.publish(ctx, c, messages.Crashed{Reason: "the collector's actor had a fault and was replaced"})
	if before.run != 0 && c.change != nil {
		s.changed(ctx, c.change, &fault)
	}
	for _, m := range c.ends {
		ctx.Request(c.pid, m)
	}
}
