package supervisor

import (
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A collector that is to start waits for what stands in its way, and one that is
// to end for those that need it and are to end as well. Whenever something is
// another way with what they wait for, they look again. So nobody looks who has
// nothing to hope for, and in whatever order things happen, the last of them finds
// the way free.

// obstacle is what a collector waits for.
type obstacle struct {
	key   string         // an id, a group with config.GroupMark before it, or turn
	why   string         // in words
	state messages.State // Starting, if it is on its way; else what the collector is meanwhile
}

// turn is the key of those that wait until fewer are on their way up.
const turn = "a turn"

// obstacle finds what stands in the way of a start.
func (s *supervisor) obstacle(c *child) (o obstacle, stands bool) {
	for g, place := c.group, c.place; g != nil; g, place = g.up, g.place {
		if h := g.hold; h != nil && h.first <= place && place < h.end {
			name := g.mark()
			if g.up == nil {
				name = g.units[place].name()
			}
			return obstacle{g.mark(), "it is started again with " + name, messages.Starting}, true
		}
	}
	for _, need := range c.needs { // what is worst with them is what is told
		if found, is := need.obstacle(); is && (!stands || worse(found.state, o.state)) {
			o, stands = found, true
		}
	}
	if stands {
		return o, true
	}
	for g, place := c.group, c.place; g.up != nil; g, place = g.up, g.place {
		if other := g.before(place); other != nil {
			return obstacle{other.id, fmt.Sprintf("it waits for %s, which comes before it in %s", other.id, g.mark()), messages.Starting}, true
		}
	}
	if most := s.manager.StartConcurrency; most > 0 && len(s.launching) >= most {
		return obstacle{turn, "it waits for its turn", messages.Starting}, true
	}
	return obstacle{}, false
}

// worse orders what a collector is while it waits.
func worse(a, b messages.State) bool {
	return a == messages.Failed && b != messages.Failed || a == messages.Stopped && b == messages.Starting
}

func (l link) obstacle() (obstacle, bool) {
	what := fmt.Sprintf("it waits for %s (%s)", l.id, l.condition)
	switch {
	case l.to == nil && l.required:
		return obstacle{l.id, "it requires " + l.id + ", which is not known", messages.Failed}, true
	case l.to == nil || l.to.meets(l.condition):
		return obstacle{}, false
	case l.to.coming():
		return obstacle{l.id, what, messages.Starting}, true
	case !l.required:
		return obstacle{}, false
	}
	state := l.to.state()
	switch {
	case state == messages.Failed:
		what = fmt.Sprintf("it requires %s, which has failed", l.id)
		if l.to.reason != "" {
			what += ": " + l.to.reason
		}
	case l.to.busy():
		what, state = fmt.Sprintf("it requires %s, which is stopping", l.id), messages.Stopped
	default:
		what, state = fmt.Sprintf("it requires %s, which is %v", l.id, state), messages.Stopped
	}
	return obstacle{l.id, what, state}, true
}

// meets reports whether a collector is what another one waits for.
func (c *child) meets(condition config.Condition) bool {
	up := c.report.Alive && len(c.ends) == 0
	switch condition {
	case config.Started:
		return up && c.report.PID != 0 && c.report.State != messages.Failed && c.report.State != messages.Stopping
	case config.Exited:
		return c.done
	case config.Healthy:
		if !up || c.report.State != messages.Running {
			return false
		}
		return !c.report.Checked || c.report.Health == messages.HealthHealthy
	}
	return up && (c.report.State == messages.Running || c.report.State == messages.Paused)
}

// coming reports whether a collector is up or on its way there.
func (c *child) coming() bool {
	return c.wanted && !c.stuck() && (!c.waiting || c.standing == messages.Starting)
}

// before is the collector that those at a place of an ordered group wait for. Of
// those before them one that is up says nothing of the others: somebody may have
// restarted a single one.
func (g *group) before(place int) (other *child) {
	if !g.config.Strategy.Ordered() {
		return nil
	}
	for i := place - 1; i >= 0 && other == nil; i-- {
		g.some(i, i+1, func(c *child) bool {
			// What is down, or is done, is not waited for.
			if c.coming() && (c.config.Kind == config.Task || !c.meets(config.Ready)) {
				other = c
			}
			return other == nil
		})
	}
	return other
}

// launch starts a process as soon as nothing stands in its way.
func (s *supervisor) launch(ctx actor.Context, c *child) {
	if s.stale {
		s.arrange()
	}
	o, stands := s.obstacle(c)
	if !stands {
		if c.waiting {
			c.waiting, c.reason = false, ""
		}
		c.run, c.ordered, c.done, c.up = s.nextToken(), time.Now(), false, time.Time{}
		s.launching[c] = true
		c.inForce, c.within = c.config.ResourceLimits, c.groups()
		ctx.Request(c.pid, messages.RunProcess{Token: c.run, Config: c.config, Manager: s.manager, Within: c.within})
		s.show(ctx, c)
		return
	}
	if to := s.children[o.key]; to == nil || !slices.Contains(to.feeds, c) { // else it looks again with all that wait for that one
		s.waiters[o.key] = append(s.waiters[o.key], c)
	}
	if c.waiting && c.obstacle == o.key && c.standing == o.state && c.reason == o.why {
		return
	}
	c.waiting, c.obstacle, c.standing, c.reason = true, o.key, o.state, o.why
	if o.state != messages.Starting {
		// It comes back by itself; but nobody can say when.
		kind := messages.InvalidState
		if o.state == messages.Failed {
			kind = messages.SpawnFailed
		}
		refusal := messages.Error{Kind: kind, State: o.state, Text: o.why}
		s.refuse(ctx, append(c.starts, c.restarts...), c.id, refusal)
		c.starts, c.restarts = nil, nil
		if c.change != nil {
			s.changed(ctx, c.change, &refusal)
		}
	}
	s.show(ctx, c)
}

// touch notes that something is another way with what others may wait for.
func (s *supervisor) touch(key string) {
	if n := len(s.touched); n == 0 || s.touched[n-1] != key {
		s.touched = append(s.touched, key)
	}
}

// react has all look again that wait for what was touched.
func (s *supervisor) react(ctx actor.Context) {
	for len(s.touched) > 0 || len(s.leavers) > 0 {
		if len(s.touched) == 0 {
			leavers := s.leavers
			s.leavers = nil
			for _, c := range leavers {
				s.depart(ctx, c)
			}
			continue
		}
		key := s.touched[0]
		s.touched = s.touched[1:]
		if key == turn {
			s.takeTurns(ctx)
			continue
		}
		if c := s.children[key]; c != nil && c.group != nil {
			for g := c.group; g != nil; g = g.up {
				s.tryRelease(g)
			}
			for _, d := range c.feeds {
				if d.waiting {
					s.launch(ctx, d)
				}
			}
		}
		s.wake(ctx, key)
		enders := s.enders[key]
		delete(s.enders, key)
		for _, c := range enders {
			s.depart(ctx, c)
		}
	}
	s.touched = s.touched[:0]
}

func (s *supervisor) wake(ctx actor.Context, key string) {
	waiters := s.waiters[key]
	delete(s.waiters, key)
	for _, c := range waiters {
		if c.waiting && c.obstacle == key && s.children[c.id] == c {
			s.launch(ctx, c)
		}
	}
}

// takeTurns starts those that have waited longest for fewer to be on their way.
func (s *supervisor) takeTurns(ctx actor.Context) {
	for most := s.manager.StartConcurrency; len(s.waiters[turn]) > 0 && (most <= 0 || len(s.launching) < most); {
		c := s.waiters[turn][0]
		s.waiters[turn] = s.waiters[turn][1:]
		if c.waiting && c.obstacle == turn && s.children[c.id] == c {
			s.launch(ctx, c)
		}
	}
}

// landed notes that a start is over, one way or the other.
func (s *supervisor) landed(c *child) {
	if s.launching[c] {
		delete(s.launching, c)
		s.touch(turn)
	}
}

// leaving reports whether a process is to end, and has not.
func (c *child) leaving() bool { return c.busy() && len(c.ends) > 0 }

// depart passes on the orders to end a process, unless somebody has to be gone
// first.
func (s *supervisor) depart(ctx actor.Context, c *child) {
	if len(c.unsent) == 0 || s.children[c.id] != c {
		return
	}
	if s.stale {
		s.arrange()
	}
	if other := c.keptBy(); other != nil && c.report.Alive {
		s.enders[other.id] = append(s.enders[other.id], c)
		return
	}
	s.sendEnds(ctx, c)
}

func (s *supervisor) sendEnds(ctx actor.Context, c *child) {
	for _, m := range c.unsent {
		ctx.Request(c.pid, m)
	}
	c.unsent = nil
}

// keptBy is a collector that has to be gone before this one may be ended.
func (c *child) keptBy() (other *child) {
	for _, d := range c.feeds {
		if d.leaving() {
			return d
		}
	}
	for g, place := c.group, c.place; g.up != nil; g, place = g.up, g.place {
		if !g.config.Strategy.Ordered() {
			continue
		}
		g.some(place+1, len(g.units), func(d *child) bool {
			if d.leaving() {
				other = d
			}
			return other == nil
		})
		if other != nil {
			return other
		}
	}
	return nil
}

// lost ends those that require a collector which is ended, or has ended. They come
// back with it.
func (s *supervisor) lost(ctx actor.Context, c *child, force bool) {
	if s.stale {
		s.arrange()
	}
	for _, d := range c.dependents {
		switch {
		case !d.busy() || d.stuck():
		case len(d.ends) > 0:
			if force {
				s.end(ctx, d, true, 0)
			}
		case d.wanted:
			s.again(ctx, d, fmt.Sprintf("%s, which it requires, ended", c.id), force)
		}
	}
}

// again ends a process and has another one started in its place, without anybody
// having asked for it.
func (s *supervisor) again(ctx actor.Context, c *child, cause string, force bool) {
	c.cause, c.auto = cause, true
	c.reborn = s.end(ctx, c, force, 0)
}

// rerun starts a collector again, without anybody having asked for it.
func (s *supervisor) rerun(ctx actor.Context, c *child) {
	c.auto = false
	c.count++
	c.totals.Restarts++
	s.run(ctx, c)
}

// pull starts what a collector requires or wants along with it.
func (s *supervisor) pull(ctx actor.Context, c *child) {
	along := func(id string, condition config.Condition) {
		d := s.children[id]
		switch {
		case d == nil || d == c || d.stuck() || d.busy() || !d.next.IsZero():
		case d.wanted && d.waiting:
			s.pull(ctx, d)
			s.launch(ctx, d) // so that it is known to be on its way
		case d.done && condition == config.Exited:
		default:
			if d.origin == (messages.Origin{}) {
				d.origin = c.origin
			}
			s.wantUp(ctx, d)
		}
	}
	for _, need := range c.needs {
		if need.required {
			along(need.id, need.condition)
		}
	}
	for _, id := range c.config.Wants {
		along(id, "")
	}
}
