package supervisor

import (
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// graph is who waits for whom.
func (s *supervisor) graph() messages.Graph {
	if s.stale {
		s.arrange()
	}
	cfg := s.whole()
	ids, err := cfg.Sequence()
	if err != nil { // a collector that others wait for was replaced by a command, and waits for them
		for _, c := range s.ordered() {
			ids = append(ids, c.id)
		}
	}
	var graph messages.Graph
	for _, id := range ids {
		c := s.children[id]
		node := messages.Node{
			ID: id, Group: c.config.Group, State: c.state(), Wants: slices.Clone(c.config.Wants),
			Asked: c.asked, Up: c.up,
		}
		node.Requires, node.After = cfg.DependenciesOf(c.config)
		for g, place := c.group, c.place; g.up != nil && node.Previous == ""; g, place = g.up, g.place {
			if g.config.Strategy.Ordered() && place > 0 {
				g.some(place-1, place, func(before *child) bool {
					node.Previous = before.id
					return true
				})
			}
		}
		if !c.ordered.Before(c.asked) {
			node.Ordered = c.ordered
		}
		if c.up.Before(c.asked) {
			node.Up = c.up
		}
		graph.Nodes = append(graph.Nodes, node)
	}
	return graph
}

// begins forgets what is counted against a group, and those within it.
func (s *supervisor) begins(mark string) {
	if g := s.groups[strings.TrimPrefix(mark, config.GroupMark)]; g != nil && g.up != nil {
		g.groups((*group).forget)
	}
}

// toGroup carries out a command that names a group. It reports whether it is one
// that can.
func (s *supervisor) toGroup(ctx actor.Context) bool {
	id := s.asking.id
	state := func(states ...messages.State) func(*child) bool {
		return func(c *child) bool { return slices.Contains(states, c.state()) }
	}
	invalid := &messages.Error{Kind: messages.InvalidState}
	switch m := ctx.Message().(type) {
	case messages.StartCollector:
		if m.Type != "" || m.Config != nil {
			s.respond(ctx, &messages.Error{Op: "start", ID: id, Kind: messages.InvalidConfig, Text: "a group is configured in a file; start names it alone"})
			return true
		}
		s.begins(id)
		s.forGroup(ctx, id, func(c *child) bool { return !c.busy() },
			&messages.Error{Kind: messages.AlreadyRunning, Text: "all its collectors run"}, messages.StartReply{ID: id},
			func(id string) { s.start(ctx, messages.StartCollector{ID: id}) })
	case messages.StopCollector:
		if g := s.groups[id[1:]]; g != nil {
			g.groups(func(inner *group) { inner.release() })
		}
		s.forGroup(ctx, id, func(c *child) bool { return c.wanted || c.busy() && !c.stuck() }, &messages.Error{Kind: messages.InvalidState, Text: "there is nothing to stop"}, messages.StopReply{ID: id},
			func(id string) { s.stop(ctx, messages.StopCollector{ID: id, Force: m.Force, Timeout: m.Timeout}) })
	case messages.RestartCollector:
		s.begins(id)
		s.forGroup(ctx, id, func(*child) bool { return true }, invalid, messages.RestartReply{ID: id},
			func(id string) { s.restart(ctx, messages.RestartCollector{ID: id, Timeout: m.Timeout}) })
	case messages.PauseCollector:
		s.forGroup(ctx, id, state(messages.Running), invalid, messages.PauseReply{ID: id}, func(id string) {
			s.pass(ctx, "pause", id, func(token uint64) any { return messages.SuspendProcess{Token: token} })
		})
	case messages.ResumeCollector:
		s.forGroup(ctx, id, state(messages.Paused), invalid, messages.ResumeReply{ID: id}, func(id string) {
			s.pass(ctx, "resume", id, func(token uint64) any { return messages.ContinueProcess{Token: token} })
		})
	case messages.SignalCollector:
		s.forGroup(ctx, id, (*child).busy, invalid, messages.SignalReply{ID: id}, func(id string) {
			s.pass(ctx, "signal", id, func(token uint64) any {
				return messages.SignalProcess{Token: token, Signal: m.Signal, Group: m.Group}
			})
		})
	case messages.ReloadCollector:
		s.forGroup(ctx, id, func(c *child) bool { return c.state() == messages.Running && c.config.CanReload() },
			&messages.Error{Kind: messages.InvalidState, Text: "none of its collectors runs and has a reload_signal or a reload_command"},
			messages.ReloadReply{ID: id}, func(id string) { s.reloadCollector(ctx, id) })
	case messages.LimitCollector:
		if failure := setLimits(new(config.ResourceLimits), id, m.Limits); failure != nil {
			s.respond(ctx, failure)
			return true
		}
		s.forGroup(ctx, id, func(*child) bool { return true }, nil, messages.LimitReply{ID: id},
			func(id string) { s.limit(ctx, messages.LimitCollector{ID: id, Limits: m.Limits}) })
	case messages.ResetCollector:
		s.begins(id)
		s.forGroup(ctx, id, func(c *child) bool { return true }, nil, messages.ResetReply{ID: id},
			func(id string) { s.reset(ctx, messages.ResetCollector{ID: id}) })
	default:
		return false
	}
	return true
}
