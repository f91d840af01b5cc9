package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/messages"
)

// ErrNoSupervisor is the cause of errors about a supervisor that is not there,
// or not any more.
var ErrNoSupervisor = errors.New("the supervisor is not running")

// Ask sends the request q to the supervisor at pid and returns its one answer.
// It gives up when ctx is done: the error is then a *messages.Error of kind
// Timeout, and whatever the request began goes on. It may be called from any
// goroutine, but never in an actor's Receive: there, send q and receive the
// reply as a message.
func Ask[R any](ctx context.Context, system *actor.ActorSystem, pid *actor.PID, q messages.Request[R]) (R, error) {
	return request(ctx, func(ctx context.Context, command any) (any, error) { return ask(ctx, nil, system, pid, command) }, q)
}

// Ask brings one command of package messages to the supervisor: see [Backend].
func (s *Supervisor) Ask(ctx context.Context, command any) (reply any, err error) {
	if m, ok := command.(messages.ReloadConfig); ok { // reading is not an actor's to do
		if s.source == nil {
			return nil, &messages.Error{Op: "reload", Kind: messages.InvalidState, State: messages.Running, Text: "this supervisor was not started from a file"}
		}
		cfg, err := s.source(ctx)
		if err != nil {
			return nil, &messages.Error{Op: "reload", Kind: messages.InvalidConfig, Text: "nothing was changed", Err: err}
		}
		command = messages.ApplyConfig{Config: cfg, DryRun: m.DryRun}
	}
	switch m := command.(type) {
	case messages.GetRuns:
		return s.whatHasBeen(ctx, m, m.ID)
	case messages.ListCrashes:
		return s.whatHasBeen(ctx, m, m.ID)
	case messages.GetCrash:
		return s.whatHasBeen(ctx, m, "")
	}
	return ask(ctx, s.done, s.system, s.pid, command)
}

// whatHasBeen answers from the records, which may know more ids than the
// supervisor: those of collectors that were removed.
func (s *Supervisor) whatHasBeen(ctx context.Context, command any, id string) (any, error) {
	if s.runs == nil {
		op, id := messages.Subject(command)
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.InvalidState, State: messages.Running, Text: "this supervisor keeps no records of runs"}
	}
	reply, err := s.runs.Answer(ctx, command)
	if err != nil || id == "" {
		return reply, err
	}
	known := false
	switch r := reply.(type) {
	case messages.RunsReply:
		known = len(r.Runs) > 0
	case messages.CrashesReply:
		known = len(r.Crashes) > 0
	}
	if !known {
		_, err := ask(ctx, s.done, s.system, s.pid, messages.GetStatus{ID: id})
		var e *messages.Error
		if errors.As(err, &e) {
			failed := *e
			failed.Op, _ = messages.Subject(command)
			return nil, &failed
		}
	}
	return reply, nil
}

// ask sends a command, with its origin beside it, and waits for the answer. Gone,
// if it is not nil, is closed when there is no supervisor any more.
func ask(ctx context.Context, gone <-chan struct{}, system *actor.ActorSystem, pid *actor.PID, command any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, gaveUp(command, err)
	}
	slot, answered := newSlot(system)
	defer system.ProcessRegistry.Remove(slot)
	system.Root.Send(pid, &actor.MessageEnvelope{Header: messages.OriginOf(ctx).Headers(), Message: command, Sender: slot})
	var answer any
	select {
	case answer = <-answered:
	case <-ctx.Done():
		return nil, gaveUp(command, ctx.Err())
	case <-gone:
		// It may have answered with its last breath.
		select {
		case answer = <-answered:
		default:
			return nil, absent(command)
		}
	}
	switch answer := answer.(type) {
	case *messages.Error:
		return nil, answer
	case *actor.DeadLetterResponse:
		return nil, absent(command)
	}
	return answer, nil
}

func gaveUp(q any, cause error) error {
	op, id := messages.Subject(q)
	return &messages.Error{Op: op, ID: id, Kind: messages.Timeout,
		Text: "nobody waits for the answer any more; what was begun goes on", Err: cause}
}

func absent(q any) error {
	op, id := messages.Subject(q)
	return &messages.Error{Op: op, ID: id, Kind: messages.Internal, Text: "it has ended or was never started", Err: ErrNoSupervisor}
}

// slot is the address of one caller: an actor system's process that takes one
// message. The library's own Future knows no context, and takes a second
// answer, or a late one, as a data race.
type slot struct{ answered chan any }

func newSlot(system *actor.ActorSystem) (*actor.PID, <-chan any) {
	s := &slot{make(chan any, 1)}
	pid, _ := system.ProcessRegistry.Add(s, fmt.Sprintf("ask$%d", asked.Add(1)))
	return pid, s.answered
}

// asked numbers the callers of this program; the registry's own numbers begin
// with a $ too, but not with a word.
var asked atomic.Uint64

func (s *slot) SendUserMessage(_ *actor.PID, message any) {
	_, answer, _ := actor.UnwrapEnvelope(message)
	select {
	case s.answered <- answer:
	default:
	}
}

func (s *slot) SendSystemMessage(*actor.PID, any) {}

func (s *slot) Stop(*actor.PID) {}
