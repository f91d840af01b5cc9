package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/messages"
)

// A tap is the address of a subscriber that is a function. It is called by the
// supervisor's actor, and must not block.
type tap func(messages.Event)

func newTap(system *actor.ActorSystem, happened func(messages.Event)) *actor.PID {
	pid, _ := system.ProcessRegistry.Add(tap(happened), fmt.Sprintf("tap$%d", asked.Add(1)))
	return pid
}

func (t tap) SendUserMessage(_ *actor.PID, message any) {
	if _, m, _ := actor.UnwrapEnvelope(message); m != nil {
		if e, ok := m.(messages.Event); ok {
			t(e)
		}
	}
}

func (t tap) SendSystemMessage(*actor.PID, any) {}

func (t tap) Stop(*actor.PID) {}
