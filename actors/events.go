package actors

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/messages"
)

// backlog is how many events wait for a subscriber that is slower than they
// come. Then the oldest are dropped, and it is told how many.
const backlog = 8192

// EventsSince is [Commands.Events], with what has happened since, as far as the
// supervisor still has it, before what is new.
func (s *Supervisor) EventsSince(ctx context.Context, since messages.Since) (iter.Seq[messages.Event], error) {
	q, pid := newQueue(s.system)
	if _, err := s.Ask(ctx, messages.Subscribe{Subscriber: pid, Since: since}); err != nil {
		s.system.ProcessRegistry.Remove(pid)
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		s.system.Root.Send(s.pid, messages.Unsubscribe{Subscriber: pid})
		s.system.ProcessRegistry.Remove(pid)
	})
	return q.all(ctx.Done(), s.done), nil
}

// queue is the address of a subscriber that is no actor. Its lock is held for
// an append only: the supervisor that sends is never kept waiting.
type queue struct {
	mu     sync.Mutex // between the supervisor's goroutine and the subscriber's
	events []messages.Event
	lost   uint64
	wake   chan struct{}
}

func newQueue(system *actor.ActorSystem) (*queue, *actor.PID) {
	q := &queue{wake: make(chan struct{}, 1)}
	pid, _ := system.ProcessRegistry.Add(q, fmt.Sprintf("events$%d", asked.Add(1)))
	return q, pid
}

// all yields events until enough is closed, or until ended is and none is left.
func (q *queue) all(enough, ended <-chan struct{}) iter.Seq[messages.Event] {
	return func(yield func(messages.Event) bool) {
		for last := false; ; {
			for _, e := range q.take() {
				select {
				case <-enough:
					return
				default:
				}
				if !yield(e) {
					return
				}
			}
			if last {
				return
			}
			select {
			case <-q.wake:
			case <-enough:
				return
			case <-ended:
				last = true
			}
		}
	}
}

func (q *queue) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	e, ok := m.(messages.Event)
	if !ok {
		return
	}
	q.mu.Lock()
	if len(q.events) >= backlog {
		dropped := len(q.events) - backlog/2
		q.lost += uint64(dropped)
		q.events = append(q.events[:0], q.events[dropped:]...)
	}
	q.events = append(q.events, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) take() []messages.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	if q.lost > 0 {
		first := events[0]
		events = append([]messages.Event{{Seq: first.Seq - 1, At: first.At, Fact: messages.Lost{Count: q.lost}}}, events...)
		q.lost = 0
	}
	return events
}

func (q *queue) SendSystemMessage(*actor.PID, any) {}

func (q *queue) Stop(*actor.PID) {}
