package supervisor

import (
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/messages"
)

// show tells everybody that a collector is in another state, if it is.
func (s *supervisor) show(ctx actor.Context, c *child) {
	state := c.state()
	if state == c.shown && c.report.PID == c.shownPID {
		return
	}
	from := c.shown
	if state != from {
		c.since = time.Now()
	}
	c.shown, c.shownPID = state, c.report.PID
	s.publish(ctx, c, messages.StateChanged{From: from, To: state, PID: c.report.PID, Reason: c.reason, NextRestart: c.next})
}

// publish tells all subscribers a fact about a collector, or, where c is nil,
// about the supervisor itself.
func (s *supervisor) publish(ctx actor.Context, c *child, fact messages.Fact) {
	s.seq++
	if len(s.subscribers) == 0 {
		return
	}
	event := messages.Event{Seq: s.seq, At: time.Now(), Fact: fact}
	if c != nil {
		event.ID, event.Incarnation = c.id, c.report.Incarnation
	}
	for _, subscriber := range s.subscribers {
		ctx.Send(subscriber, event)
	}
}

func (s *supervisor) subscribe(ctx actor.Context, m messages.Subscribe) {
	pid := pidOf(m.Subscriber)
	if !slices.ContainsFunc(s.subscribers, pid.Equal) {
		s.subscribers = append(s.subscribers, pid)
		ctx.Watch(pid)
	}
	s.respond(ctx, messages.SubscribeReply{After: s.seq})
}

func (s *supervisor) unsubscribe(ctx actor.Context, m messages.Unsubscribe) {
	pid := pidOf(m.Subscriber)
	s.dropSubscriber(pid)
	ctx.Unwatch(pid)
	s.respond(ctx, messages.SubscribeReply{After: s.seq})
}

func (s *supervisor) dropSubscriber(pid *actor.PID) {
	s.subscribers = slices.DeleteFunc(s.subscribers, pid.Equal)
}

func pidOf(a messages.Subscriber) *actor.PID {
	if pid, ok := a.(*actor.PID); ok {
		return pid
	}
	return actor.NewPID(a.GetAddress(), a.GetId())
}

// idOf is the id of the collector whose child has that address.
func idOf(pid *actor.PID) string {
	name := pid.GetId()[strings.LastIndexByte(pid.GetId(), '/')+1:]
	id, _, _ := strings.Cut(name, "@")
	return id
}
