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
	"github.com/proctord/proctor/supervisor/strategy"
)

// byStrategy has the tree decide about a collector of a group that has ended and
// is to be started again, or has given up. It reports whether that is taken care
// of; else the collector goes on as one that is in no group.
func (s *supervisor) byStrategy(ctx actor.Context, c *child, exit messages.Exit, decision restart.Decision) bool {
	if c.group == nil || c.group.up == nil {
		return false
	}
	var levels []strategy.Level
	var groups []*group
	for g := c.group; g != nil; g = g.up {
		levels, groups = append(levels, g.level()), append(groups, g)
	}
	cause := exit.String()
	if !decision.Restart {
		cause = decision.Reason
	}
	verdict, histories := strategy.Decide(levels, c.id, strategy.Exit{
		At: exit.At, Ran: exit.Ran, Cause: cause, GivenUp: !decision.Restart,
	}, s.options.Random())
	for i, h := range histories[:verdict.Level+1] {
		groups[i].history = h
	}
	g := groups[verdict.Level]
	switch verdict.Answer {
	case strategy.Restart:
		g.count++
		if verdict.Level == 0 && !g.config.Strategy.Ordered() {
			return false // it is alone in this
		}
		s.restartUnits(ctx, c, groups[:verdict.Level+1], verdict, max(decision.After, verdict.After), exit)
	case strategy.Leave:
		return false
	default:
		if g.up == nil { // the supervisor itself does not fail: the group below it does
			g = groups[verdict.Level-1]
		}
		s.failGroup(ctx, g, c, verdict.Reason)
		if verdict.Answer == strategy.ShutDown {
			s.endAll(ctx, 1, fmt.Sprintf("%s has failed: %s", g.mark(), verdict.Reason))
		}
	}
	return true
}

// restartUnits stops the children that a strategy says in reverse order, and
// starts them in order.
func (s *supervisor) restartUnits(ctx actor.Context, c *child, groups []*group, verdict strategy.Verdict, after time.Duration, exit messages.Exit) {
	g := groups[len(groups)-1]
	place := c.place
	if len(groups) > 1 {
		place = groups[len(groups)-2].place
	}
	first, end := strategy.Scope(g.config.Strategy, len(g.units), place)
	for _, u := range g.units[first:end] {
		if u.g != nil {
			u.g.groups(func(inner *group) {
				inner.release()
				inner.forget()
			})
		}
	}
	now := time.Now()
	after += s.guard.Take(now.Add(after))
	if h := g.hold; h != nil { // another child has ended in the middle of this
		first, end = min(first, h.first), max(end, h.end)
		after = max(after, h.at.Sub(now))
		g.release()
	}
	h := &hold{first: first, end: end, at: now.Add(after), cancel: func() {}}
	g.hold = h
	fact := messages.GroupRestarting{Child: verdict.Child, Cause: exit.String(), After: after, Left: verdict.Left}
	var all []*child
	g.some(first, end, func(d *child) bool {
		all = append(all, d)
		return true
	})
	cause := fmt.Sprintf("%s was restarted, because of %s: %s", g.name, c.id, exit)
	if g.up == nil {
		cause = fmt.Sprintf("%s was restarted, because of %s: %s", groups[len(groups)-2].name, c.id, exit)
	}
	var run []*child
	for _, d := range all {
		switch {
		case d == c:
			d.cause = exit.String()
			run = append(run, d)
		case d.busy() && d.config.Restart == config.RestartNever:
			// As OTP does with a temporary child: it is not started again.
			s.lower(ctx, d, "its group is being restarted, and it has restart = \"never\"")
			d.fate = "it was stopped with its group, and has restart = \"never\""
			s.end(ctx, d, false, 0)
			continue
		case d.busy() && d.wanted && !d.stuck():
			if d.reborn == 0 {
				s.again(ctx, d, cause, false)
			}
		case !d.busy() && (d.wanted || d.done):
			d.forget()
			d.wanted, d.cause = true, cause
			run = append(run, d)
		default:
			continue // somebody has stopped it
		}
		fact.Collectors = append(fact.Collectors, d.id)
	}
	s.tell(ctx, messages.Event{ID: g.mark(), Origin: s.asking.origin, Fact: fact})
	for _, d := range run {
		s.rerun(ctx, d)
	}
	// Even a delay of nothing ends with a message: what is already in the mailbox
	// gets in between.
	m := holdOver{g.name, h}
	if after > 0 {
		h.cancel = s.after(ctx, after, m)
	} else {
		ctx.Send(ctx.Self(), m)
	}
}

func (s *supervisor) holdOver(m holdOver) {
	if g := s.groups[m.group]; g != nil && g.hold == m.hold {
		g.hold.due = true
		s.tryRelease(g)
	}
}

// tryRelease lets the children that are held start, if none of them is still there.
func (s *supervisor) tryRelease(g *group) {
	h := g.hold
	if h == nil || !h.due {
		return
	}
	if g.some(h.first, h.end, func(c *child) bool { return !c.busy() || c.stuck() }) {
		g.hold = nil
		s.touch(g.mark())
	}
}

// failGroup stops all children of a group in reverse order, for good.
func (s *supervisor) failGroup(ctx actor.Context, g *group, c *child, reason string) {
	g.failed, g.reason = true, reason
	s.endUnits(ctx, g, c, fmt.Sprintf("its group %s has failed with %s", g.name, c.id))
	c.wanted, c.rest, c.reason = false, messages.Failed, reason
	s.tell(ctx, messages.Event{ID: g.mark(), Origin: s.asking.origin, Fact: messages.GroupEnded{Failed: true, Reason: reason}})
}

// endUnits stops all children of a group but one, for good.
func (s *supervisor) endUnits(ctx actor.Context, g *group, but *child, fate string) {
	g.groups(func(inner *group) {
		if inner.release() {
			s.touch(inner.mark())
		}
	})
	for c := range g.collectors {
		if c == but {
			continue
		}
		wanted := c.wanted
		s.lower(ctx, c, fate)
		switch {
		case c.busy() && !c.stuck():
			c.fate = fate
			s.end(ctx, c, false, 0)
		case wanted:
			c.rest, c.reason = messages.Stopped, fate
			s.show(ctx, c)
		}
	}
}

// significant ends the groups for which the end of a collector by itself counts.
func (s *supervisor) significant(ctx actor.Context, c *child) {
	name, counts := c.id, c.config.Significant
	for g := c.group; g != nil && g.up != nil && counts && !g.failed; g = g.up {
		switch g.config.AutoShutdown {
		case config.AnySignificant:
		case config.AllSignificant:
			if slices.ContainsFunc(g.units, unit.counts) {
				return
			}
		default:
			return
		}
		g.reason = fmt.Sprintf("it has ended with %s, which is significant", name)
		s.endUnits(ctx, g, nil, fmt.Sprintf("its group %s has ended with %s", g.name, name))
		s.tell(ctx, messages.Event{ID: g.mark(), Origin: s.asking.origin, Fact: messages.GroupEnded{Reason: g.reason}})
		name, counts = g.mark(), g.config.Significant
	}
}

// counts reports whether a unit is significant, and is still up.
func (u unit) counts() bool {
	if u.c != nil {
		return u.c.config.Significant && u.c.wanted
	}
	if !u.g.config.Significant {
		return false
	}
	up := false
	for c := range u.g.collectors {
		up = up || c.wanted
	}
	return up
}

// revived forgets that the groups which a collector is in have failed or ended.
func (c *child) revived() {
	for g := c.group; g != nil; g = g.up {
		g.failed, g.reason = false, ""
	}
}

// endAll shuts the supervisor down by itself.
func (s *supervisor) endAll(ctx actor.Context, code int, reason string) {
	if s.shutdown != nil || s.closing {
		return
	}
	s.fate = fate{code, reason}
	asking := s.asking
	s.asking = one{op: "shutdown"}
	s.shutDown(ctx, messages.Shutdown{})
	s.asking = asking
}

// fate is why the supervisor has ended by itself, and what its program is to exit
// with.
type fate struct {
	code   int
	reason string
}

// exitWith ends the supervisor with the collector whose end is to be its own.
func (s *supervisor) exitWith(ctx actor.Context, c *child, exit messages.Exit) {
	if c.id != s.manager.ExitWith {
		return
	}
	code := exit.Code
	switch {
	case exit.Signal != "":
		code = 128 + signalNumber(exit.Signal)
	case code < 0 || exit.Unhealthy != "" || exit.Fault != "":
		code = 1
	}
	s.endAll(ctx, code, fmt.Sprintf("%s has ended: %s", c.id, exit))
}

// gather is a command to a group: it is answered when all its collectors have
// answered.
type gather struct {
	caller   one
	reply    any
	waiting  int
	count    int
	failures []*messages.Error
}

// forGroup gives a command to all collectors of a group that it concerns.
func (s *supervisor) forGroup(ctx actor.Context, mark string, concerns func(*child) bool, nothing *messages.Error, reply any, command func(id string)) {
	if s.stale {
		s.arrange()
	}
	name := strings.TrimPrefix(mark, config.GroupMark)
	g := s.groups[name]
	if g == nil || name == "" {
		text := "there is no group " + name
		if len(s.groups) > 1 {
			names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.groups)), func(name string) bool { return name == "" })
			text += "; there are " + strings.Join(names, ", ")
		}
		s.respond(ctx, &messages.Error{Op: s.asking.op, ID: mark, Kind: messages.ProcessNotFound, Text: text})
		return
	}
	var ids []string
	for c := range g.collectors {
		if concerns(c) {
			ids = append(ids, c.id)
		}
	}
	if len(ids) == 0 {
		if nothing != nil {
			nothing.Op, nothing.ID = s.asking.op, mark
			if nothing.Text == "" {
				nothing.Text = "none of its collectors is in a state for that"
			}
			nothing.State = g.state()
			s.respond(ctx, nothing)
			return
		}
		s.respond(ctx, reply)
		return
	}
	all := &gather{caller: s.caller(), reply: reply, waiting: len(ids), count: len(ids)}
	for _, id := range ids {
		s.asking = one{op: all.caller.op, id: id, origin: all.caller.origin, gather: all}
		command(id)
		s.asking = one{}
	}
}

// part takes the answer of one collector to a command to its group.
func (s *supervisor) part(ctx actor.Context, all *gather, failure *messages.Error) {
	if failure != nil {
		all.failures = append(all.failures, failure)
	}
	if all.waiting--; all.waiting > 0 {
		return
	}
	if len(all.failures) == 0 {
		s.answer(ctx, all.caller, all.reply)
		return
	}
	first := all.failures[0]
	text := fmt.Sprintf("%d of its %d collectors: %s", len(all.failures), all.count, first.ID)
	if first.Text != "" {
		text += ": " + first.Text
	}
	s.answer(ctx, all.caller, &messages.Error{Op: all.caller.op, ID: all.caller.id, Kind: first.Kind, State: first.State, Text: text, Err: first.Err})
}
