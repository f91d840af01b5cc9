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
	s.touch(c.id)
	state := c.state()
	if r := c.report; r.Checked && r.Health != c.well && (state == messages.Running || state == messages.Starting) {
		from := c.well
		c.well, c.wellAt = r.Health, time.Now()
		s.publish(ctx, c, messages.HealthChanged{From: from, To: r.Health, Reason: r.HealthReason})
	} else if !r.Checked {
		c.well = messages.HealthUnknown
	}
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
	event := messages.Event{Origin: s.asking.origin, Fact: fact}
	if c != nil {
		event.ID, event.Incarnation = c.id, c.report.Incarnation
		if c.origin != (messages.Origin{}) {
			event.Origin = c.origin
		}
	}
	s.tell(ctx, event)
}

// tell numbers an event, keeps it for those who ask later, and sends it.
func (s *supervisor) tell(ctx actor.Context, event messages.Event) {
	s.seq++
	event.Seq, event.At = s.seq, time.Now()
	s.recent.push(event)
	for _, subscriber := range s.subscribers {
		ctx.Send(subscriber, event)
	}
}

// maxRecent is how many events are kept for those who ask later.
const maxRecent = 4096

// ring holds the last events, which are numbered without gaps.
type ring struct {
	events []messages.Event
	next   int // where the next one goes, once it is full
}

func (r *ring) push(e messages.Event) {
	if len(r.events) < maxRecent {
		r.events = append(r.events, e)
		return
	}
	r.events[r.next] = e
	r.next = (r.next + 1) % maxRecent
}

// since calls yield with the events that are asked for, oldest first. In the
// place of those that are not there any more comes a Lost.
func (r *ring) since(since messages.Since, yield func(messages.Event)) {
	if since == (messages.Since{}) {
		return
	}
	for i := range r.events {
		e := r.events[(r.next+i)%len(r.events)]
		switch {
		case since.Seq != 0 && e.Seq < since.Seq, since.Seq == 0 && e.At.Before(since.Time):
			continue
		case i == 0 && since.Seq != 0 && e.Seq > since.Seq:
			yield(messages.Event{Seq: e.Seq - 1, At: e.At, Fact: messages.Lost{Count: e.Seq - since.Seq}})
		case i == 0 && since.Seq == 0 && e.Seq > 1: // how many of them came after that time is not known any more
			yield(messages.Event{Seq: e.Seq - 1, At: e.At, Fact: messages.Lost{Count: e.Seq - 1}})
		}
		yield(e)
	}
}

func (s *supervisor) subscribe(ctx actor.Context, m messages.Subscribe) {
	pid := pidOf(m.Subscriber)
	s.recent.since(m.Since, func(e messages.Event) { ctx.Send(pid, e) })
	if !slices.ContainsFunc(s.subscribers, pid.Equal) {
		s.subscribers = append(s.subscribers, pid)
		ctx.Watch(pid)
	}
	s.respond(ctx, messages.SubscribeReply{After: s.seq, Instance: s.options.Instance})
}

func (s *supervisor) unsubscribe(ctx actor.Context, m messages.Unsubscribe) {
	pid := pidOf(m.Subscriber)
	s.dropSubscriber(pid)
	ctx.Unwatch(pid)
	s.respond(ctx, messages.SubscribeReply{After: s.seq, Instance: s.options.Instance})
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
