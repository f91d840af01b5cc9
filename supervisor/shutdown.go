package supervisor

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/messages"
)

// shutdown is the end of everything, under way or done.
type shutdown struct {
	callers []one
	pending map[*child]bool
	reply   messages.ShutdownReply
}

func (s *supervisor) shutDown(ctx actor.Context, m messages.Shutdown) {
	if s.shutdown != nil {
		s.shutdown.callers = append(s.shutdown.callers, s.caller())
		if m.Force {
			for c := range s.shutdown.pending {
				s.end(ctx, c, true, 0)
			}
		}
		s.shutdownDone(ctx)
		return
	}
	s.closing = true
	s.shutdown = &shutdown{callers: []one{s.caller()}, pending: map[*child]bool{}}
	s.shutdown.reply.Code, s.shutdown.reply.Reason = s.fate.code, s.fate.reason
	origin := s.shutdown.callers[0].origin
	s.tell(ctx, messages.Event{Origin: origin, Fact: messages.ShuttingDown{}})

	children := s.ordered()
	slices.SortStableFunc(children, func(a, b *child) int { return int(b.started) - int(a.started) })
	const closing = "the supervisor is shutting down"
	for _, c := range children {
		c.origin = origin
		if c.change != nil {
			s.changed(ctx, c.change, &messages.Error{Kind: messages.InvalidState, State: messages.Stopping, Text: closing})
		}
		s.lower(ctx, c, closing)
		c.giveUp()
		switch {
		case c.stuck():
			s.shutdown.reply.Left = append(s.shutdown.reply.Left, messages.Remainder{ID: c.id, PID: c.report.PID, Reason: c.reason})
		case c.busy():
			s.shutdown.pending[c] = true
			s.end(ctx, c, m.Force, m.Timeout)
		}
	}
	s.shutdownDone(ctx)
}

// left counts a collector that has ended, or would not, in a shutdown.
func (s *supervisor) left(ctx actor.Context, c *child, m messages.Outcome) {
	if s.shutdown == nil || !s.shutdown.pending[c] {
		return
	}
	delete(s.shutdown.pending, c)
	reply := &s.shutdown.reply
	switch {
	case m.Err != nil:
		reply.Left = append(reply.Left, messages.Remainder{ID: c.id, PID: c.report.PID, Reason: m.Err.Text})
	default:
		reply.Stopped = append(reply.Stopped, c.id)
		if m.Exit != nil && m.Exit.Forced {
			reply.Forced = append(reply.Forced, c.id)
		}
	}
	s.shutdownDone(ctx)
}

func (s *supervisor) shutdownDone(ctx actor.Context) {
	if len(s.shutdown.pending) > 0 {
		return
	}
	for _, caller := range s.shutdown.callers {
		s.answer(ctx, caller, s.shutdown.reply)
	}
	s.shutdown.callers = nil
}
