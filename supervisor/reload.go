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
)

// trial is how long the process of a changed collector has to run until its new
// configuration counts as one that works.
const trial = time.Second

// reload is a configuration that is being put in force.
type reload struct {
	caller  one
	changes []*change // ordered by id
	pending map[*change]bool
	kept    int
}

// change is one line of its plan, on its way.
type change struct {
	messages.Change
	after  config.Collector      // what the configuration asks for, with all defaults
	before *config.Collector     // what to go back to; nil: there is no going back
	limits config.ResourceLimits // that were in force
}

// proven is the supervisor telling itself that a trial is over.
type proven struct {
	id    string
	start uint64
}

func (proven) IgnoreDeadLetterLogging() {}

// declare notes what the configuration says of a collector.
func (c *child) declare(cfg config.Collector) { c.declared = &cfg }

// apply puts another configuration in force.
func (s *supervisor) apply(ctx actor.Context, m messages.ApplyConfig) {
	refuse := func(kind messages.Kind, text string, cause error) {
		state := messages.Running
		if s.closing {
			state = messages.Stopping
		}
		s.respond(ctx, &messages.Error{Op: "reload", Kind: kind, State: state, Text: text, Err: cause})
	}
	if err := m.Config.Validate(); err != nil {
		refuse(messages.InvalidConfig, "nothing was changed", err)
		return
	}
	manager := m.Config.ProcessManager.WithDefaults()
	r := s.plan(m.Config, manager)
	switch {
	case m.DryRun:
		reply := r.reply()
		reply.DryRun = true
		s.respond(ctx, reply)
		return
	case s.closing:
		refuse(messages.InvalidState, "the supervisor is shutting down", nil)
		return
	case s.reload != nil:
		refuse(messages.InvalidState, "another reload is under way; wait until it has ended", nil)
		return
	}
	for id, cfg := range m.Config.Collectors {
		if c := s.children[id]; c != nil {
			c.declare(cfg)
		}
	}
	s.reload, s.manager, s.guard.Rate = r, manager, manager.MaxSpawnsPerSecond
	s.groupConfigs, s.order = m.Config.Groups, m.Config.Order
	r.caller = s.caller()
	for _, ch := range r.changes {
		r.pending[ch] = true
		s.prepare(ctx, ch, m.Config.Collectors[ch.ID])
	}
	s.arrange()
	s.touch(turn)
	for _, ch := range r.changes {
		s.carryOut(ctx, ch, m.Config.Collectors[ch.ID])
	}
	s.regroup(ctx)
	s.reloaded(ctx) // if there was nothing to do
}

// plan says what another configuration means, and changes nothing.
func (s *supervisor) plan(cfg config.Config, manager config.ProcessManager) *reload {
	r := &reload{pending: map[*change]bool{}}
	var reasons []string
	for _, d := range config.DiffManager(s.manager, manager) {
		reason := d.String()
		if !d.InPlace {
			reason += " (used when the supervisor is started again)"
		}
		reasons = append(reasons, reason)
	}
	if len(reasons) > 0 {
		r.changes = append(r.changes, &change{Change: messages.Change{Action: messages.Update, Reasons: reasons}})
	}
	r.changes = append(r.changes, s.planGroups(cfg.Groups)...)
	ids := slices.Collect(maps.Keys(cfg.Collectors))
	for id, c := range s.children {
		if _, named := cfg.Collectors[id]; !named && c.declared != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, config.CompareIDs)
	for _, id := range ids {
		declared, named := cfg.Collectors[id]
		c := s.children[id]
		ch := &change{Change: messages.Change{ID: id}, after: declared.WithDefaults(id, manager)}
		switch {
		case !named:
			ch.Action, ch.Reasons = messages.Remove, []string{"the configuration does not name it any more"}
		case c == nil:
			ch.Action, ch.Reasons = messages.Add, []string{"the configuration did not name it before"}
			if !declared.Autostart {
				ch.Reasons = append(ch.Reasons, "it is not started: autostart = false")
			}
		default:
			ch.Action, ch.Reasons = c.compare(ch.after, s.manager, manager)
		}
		if ch.Action == messages.Keep {
			r.kept++
			continue
		}
		r.changes = append(r.changes, ch)
	}
	return r
}

// planGroups says what other groups mean. All of it is done in place.
func (s *supervisor) planGroups(groups map[string]config.Group) (changes []*change) {
	names := map[string]bool{}
	for name := range groups {
		names[name] = true
	}
	for name := range s.groupConfigs {
		names[name] = true
	}
	for _, name := range slices.SortedFunc(maps.Keys(names), config.CompareIDs) {
		before, was := s.groupConfigs[name]
		after, is := groups[name]
		ch := &change{Change: messages.Change{ID: config.GroupMark + name}}
		switch {
		case !was:
			ch.Action, ch.Reasons = messages.Add, []string{"the configuration did not name it before"}
		case !is:
			ch.Action, ch.Reasons = messages.Remove, []string{"the configuration does not name it any more"}
		default:
			ch.Action, ch.Reasons = messages.Update, texts(config.DiffGroup(before.WithDefaults(), after.WithDefaults()))
			if len(ch.Reasons) == 0 {
				continue
			}
		}
		changes = append(changes, ch)
	}
	return changes
}

// compare says what another configuration means for a collector that is known.
// What the configuration says as it did before is left alone, even where a
// command has changed it since.
func (c *child) compare(after config.Collector, manager, managerAfter config.ProcessManager) (messages.Action, []string) {
	if c.declared != nil && len(config.Diff(c.declared.WithDefaults(c.id, manager), after, manager, managerAfter)) == 0 {
		return messages.Keep, nil
	}
	found := config.Diff(c.config, after, manager, managerAfter)
	reasons := texts(found)
	state := c.state()
	switch {
	case len(found) == 0:
		return messages.Keep, nil
	case !slices.ContainsFunc(found, func(d config.Difference) bool { return !d.InPlace }):
		return messages.Update, reasons
	case c.stuck():
		return messages.Update, append(reasons, fmt.Sprintf("process %d is still there: it is used by the next start", c.report.PID))
	case state == messages.Failed:
		return messages.Replace, append(reasons, "it had failed, and is started again")
	case state == messages.Stopped || !c.wanted:
		return messages.Update, append(reasons, "it is "+state.String()+": it is used by the next start")
	}
	return messages.Replace, reasons
}

func texts(found []config.Difference) (texts []string) {
	for _, d := range found {
		texts = append(texts, d.String())
	}
	return texts
}

// prepare puts the settings of a change in force, so that all of them are before
// anything is started or stopped.
func (s *supervisor) prepare(ctx actor.Context, ch *change, declared config.Collector) {
	c := s.children[ch.ID]
	switch {
	case strings.HasPrefix(ch.ID, config.GroupMark):
	case ch.Action == messages.Add:
		c = s.add(ctx, ch.ID, declared)
		c.declare(declared)
	case c == nil || ch.Action == messages.Remove:
	case ch.Action == messages.Replace:
		before := c.config
		ch.before = &before
		c.config = ch.after
		s.warn(ctx, c)
	default:
		ch.limits = c.config.ResourceLimits
		c.config = ch.after
		s.warn(ctx, c)
		if c.busy() {
			ctx.Request(c.pid, messages.AmendProcess{Config: c.config})
		}
	}
}

// carryOut begins one change. It ends in changed, now or later.
func (s *supervisor) carryOut(ctx actor.Context, ch *change, declared config.Collector) {
	c := s.children[ch.ID]
	if c == nil { // it is about a group, or the process manager
		s.changed(ctx, ch, nil)
		return
	}
	c.origin = s.reload.caller.origin
	if c.change != nil {
		panic("two reloads at once")
	}
	switch ch.Action {
	case messages.Update:
		if c.busy() && !ch.limits.Equal(c.config.ResourceLimits) {
			s.putInForce(ctx, c, one{op: "reload", id: c.id, change: ch})
			return
		}
		c.settled()
		s.changed(ctx, ch, nil)
	case messages.Add:
		if c.wanted { // another one has needed it
			s.changed(ctx, ch, nil)
			return
		}
		if !declared.Autostart {
			c.settled()
			s.changed(ctx, ch, nil)
			return
		}
		c.change = ch
		s.wantUp(ctx, c)
	case messages.Remove:
		s.lower(ctx, c, "the configuration does not name it any more")
		c.change = ch
		if !c.busy() {
			s.drop(ctx, c)
			return
		}
		if c.stuck() {
			s.changed(ctx, ch, &messages.Error{Kind: messages.TerminateFailed, Text: fmt.Sprintf("process %d has been killed and is still there", c.report.PID)})
			return
		}
		s.end(ctx, c, false, 0)
	case messages.Replace:
		c.change = ch
		if !c.busy() {
			s.wantUp(ctx, c)
			return
		}
		c.forget()
		c.wanted, c.auto = true, false
		c.reborn = s.end(ctx, c, false, 0)
	}
}

// lower has a collector be down from now on, and tells those who wanted it up.
func (s *supervisor) lower(ctx actor.Context, c *child, why string) {
	c.wanted, c.revive, c.reborn, c.auto = false, false, 0, false
	s.touch(c.id)
	refusal := messages.Error{Kind: messages.InvalidState, State: messages.Stopping, Text: why}
	s.refuse(ctx, append(c.starts, c.restarts...), c.id, refusal)
	c.starts, c.restarts = nil, nil
	if c.forget() { // a restart was due: there is no process
		c.rest, c.reason = messages.Stopped, ""
		s.show(ctx, c)
	}
}

// interrupt ends the change that a collector is in, if another command makes it
// pointless.
func (s *supervisor) interrupt(ctx actor.Context, c *child, why string) {
	if ch := c.change; ch != nil && ch.Action != messages.Remove {
		s.changed(ctx, ch, &messages.Error{Kind: messages.InvalidState, State: messages.Stopping, Text: why})
	}
}

// cameUp goes on with a change whose process has been exec'ed, or could not be.
// It reports whether the change takes care of what follows.
func (s *supervisor) cameUp(ctx actor.Context, c *child, failure *messages.Error) bool {
	ch := c.change
	switch {
	case ch == nil:
		return false
	case failure == nil && ch.before != nil && !ch.RolledBack:
		s.after(ctx, trial, proven{c.id, c.started})
		return false
	case failure != nil && s.rollBack(ctx, c, failure):
		return true
	}
	s.changed(ctx, ch, failure)
	return false
}

// rollBack puts a collector that does not come up with its new configuration
// back on its old one, if there is one and it was not tried yet.
func (s *supervisor) rollBack(ctx actor.Context, c *child, failure *messages.Error) bool {
	ch := c.change
	if ch == nil || ch.before == nil || ch.RolledBack {
		return false
	}
	ch.Err, ch.RolledBack = failure, true
	if c.failed != nil { // there was no process at all
		c.ended = c.failed.Incarnation
		c.tally(*c.failed)
		s.publish(ctx, c, messages.Exited{Exit: *c.failed})
		c.failed = nil
	}
	c.config, s.stale = *ch.before, true
	s.warn(ctx, c)
	// The next reload of the same file tries again.
	old := *ch.before
	c.declared = &old
	s.wantUp(ctx, c)
	return true
}

// proved ends the trial of a changed collector.
func (s *supervisor) proved(ctx actor.Context, m proven) {
	if c := s.children[m.id]; c != nil && c.change != nil && c.started == m.start && !c.change.RolledBack {
		s.changed(ctx, c.change, nil)
	}
}

// changed ends one change. What failed first is what is said of it.
func (s *supervisor) changed(ctx actor.Context, ch *change, failure *messages.Error) {
	if failure != nil {
		if ch.Err == nil {
			ch.Err = failure
		} else {
			ch.RolledBack = false // that went wrong as well
		}
	}
	if c := s.children[ch.ID]; c != nil && c.change == ch {
		c.change = nil
		c.settled()
	}
	if s.reload != nil {
		delete(s.reload.pending, ch)
		s.reloaded(ctx)
	}
}

// reloaded answers whoever asked for the reload, once all of it is done.
func (s *supervisor) reloaded(ctx actor.Context) {
	r := s.reload
	if r == nil || len(r.pending) > 0 {
		return
	}
	s.reload = nil
	fact := messages.ConfigApplied{}
	for _, ch := range r.changes {
		switch ch.Action {
		case messages.Add:
			fact.Added++
		case messages.Remove:
			fact.Removed++
		default:
			fact.Changed++
		}
		if ch.Err != nil {
			ch.Err.Op, ch.Err.ID = "reload", ch.ID
			fact.Failed = append(fact.Failed, ch.ID)
		}
	}
	s.tell(ctx, messages.Event{Origin: r.caller.origin, Fact: fact})
	s.answer(ctx, r.caller, r.reply())
}

func (r *reload) reply() messages.ApplyReply {
	reply := messages.ApplyReply{Kept: r.kept}
	for _, ch := range r.changes {
		reply.Changes = append(reply.Changes, ch.Change)
	}
	return reply
}
