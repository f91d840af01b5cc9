package supervisor

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// limit changes limits of a collector. What is not running has them from its next
// start on.
func (s *supervisor) limit(ctx actor.Context, m messages.LimitCollector) {
	c := s.find(ctx, "limit", m.ID)
	if c == nil {
		return
	}
	cfg := c.config
	if failure := setLimits(&cfg.ResourceLimits, c.id, m.Limits); failure != nil {
		s.respond(ctx, failure)
		return
	}
	cfg = cfg.WithDefaults(c.id, s.manager)
	if err := cfg.Validate(c.id); err != nil {
		s.respond(ctx, &messages.Error{Op: "limit", ID: c.id, Kind: messages.InvalidConfig, Text: "its limits stay as they are", Err: err})
		return
	}
	c.config = cfg
	s.warn(ctx, c)
	if !c.busy() {
		s.respond(ctx, messages.LimitReply{ID: c.id, Limits: cfg.ResourceLimits})
		return
	}
	c.origin = s.asking.origin
	s.putInForce(ctx, c, s.caller())
}

// setLimits changes limits by their names. If something is wrong with one of them
// it says so, and l is not to be used.
func setLimits(l *config.ResourceLimits, id string, limits map[string]string) *messages.Error {
	if len(limits) == 0 {
		return &messages.Error{Op: "limit", ID: id, Kind: messages.InvalidConfig, Text: "say which limits, as in memory_max_mb=200"}
	}
	for _, key := range slices.Sorted(maps.Keys(limits)) {
		if err := l.Set(key, limits[key]); err != nil {
			return &messages.Error{Op: "limit", ID: id, Kind: messages.InvalidConfig, Err: err}
		}
	}
	return nil
}

// putInForce has the limits of a collector put in force for the process that is there.
func (s *supervisor) putInForce(ctx actor.Context, c *child, caller one) {
	token := s.nextToken()
	if c.others == nil {
		c.others = map[uint64]one{}
	}
	if c.limits == nil {
		c.limits = map[uint64]config.ResourceLimits{}
	}
	c.others[token], c.limits[token] = caller, c.config.ResourceLimits
	c.within = c.groups()
	ctx.Request(c.pid, messages.LimitProcess{Token: token, Limits: c.config.ResourceLimits, Within: c.within})
}

// settleLimit answers whoever has changed limits. What cannot be put in force is
// taken back.
func (s *supervisor) settleLimit(ctx actor.Context, c *child, caller one, limits config.ResourceLimits, m messages.Outcome) {
	delete(c.limits, m.Token)
	if m.Err == nil {
		c.inForce = limits
		if caller.change != nil {
			for _, unmet := range m.Unmet {
				caller.change.Reasons = append(caller.change.Reasons, "not in force: "+unmet)
			}
		}
		s.answer(ctx, caller, messages.LimitReply{ID: c.id, Limits: limits, Unmet: m.Unmet})
		return
	}
	failed := *m.Err
	failed.Op, failed.ID = caller.op, c.id
	if len(c.limits) == 0 { // else a later order goes on from there
		c.config.ResourceLimits = c.inForce
		s.warn(ctx, c)
	}
	if caller.change != nil { // the next reload of the same file tries again
		old := c.config
		c.declared = &old
	}
	s.answer(ctx, caller, &failed)
}

// groups are the groups that a child is in, the outermost first, with what their
// members may use together.
func (c *child) groups() (within []messages.GroupLimits) {
	for g := c.group; g != nil && g.up != nil; g = g.up {
		within = append(within, messages.GroupLimits{Name: g.name, Limits: g.config.ResourceLimits})
	}
	slices.Reverse(within)
	return within
}

// regroup tells processes that run of groups that are not what they were told.
func (s *supervisor) regroup(ctx actor.Context) {
	for _, c := range s.ordered() {
		within := c.groups()
		if !c.report.Alive || c.reborn != 0 || !c.wanted || slices.EqualFunc(within, c.within, func(a, b messages.GroupLimits) bool {
			return a.Name == b.Name && a.Limits.Equal(b.Limits)
		}) {
			continue
		}
		c.within = within
		ctx.Request(c.pid, messages.LimitProcess{Token: s.nextToken(), Limits: c.config.ResourceLimits, Within: within}) // nobody waits for it
	}
}
