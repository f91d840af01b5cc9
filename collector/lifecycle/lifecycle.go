// Package lifecycle is the life of one collector as a pure function: given the
// state it is in and an event, [Next] says the next state and the effects to
// carry out. It does no I/O, reads no clock and knows no actor.
//
// # The states
//
// Others see six states (messages.State). Inside there are seven more, because
// the table must never depend on anything but the state and the event:
//
//   - Spawning is shown as starting. The process is in the making; until the
//     host says so it is not known whether there is one.
//   - Readying is shown as starting, too: there is a process, which has not said
//     yet that it is ready.
//   - Aborting, Stopping, Killing and Clearing are shown as stopping. In
//     Aborting a stop came while the process was in the making. In Stopping it
//     has been asked to end and has time to do so. In Killing the whole tree is
//     being ended. In Clearing the process ended by itself, and what it left
//     behind is being ended.
//   - Closing and Burying are shown as stopping as well. Nothing is left, and what
//     is to be run after the process runs: in Closing the end was asked for, in
//     Burying it was not.
//   - Stuck is shown as failed: something survived SIGKILL. While it lives,
//     nothing new is started in its place.
//
// # Two ends
//
// A process ends twice: Exited says that it is gone itself, Finished or Crashed
// that nothing of its tree is left (and how the process itself had ended). Only
// the second lets go of the collector: whatever a process leaves behind still
// belongs to it.
//
// # Who starts again
//
// Nobody here. A collector whose process ended unasked is Stopped or Failed and
// says so; its supervisor decides what follows.
package lifecycle

import "github.com/proctord/proctor/messages"

// A State is where a collector is, in full detail.
type State uint8

// The states.
const (
	Stopped State = iota
	Spawning
	Running
	Paused
	Aborting
	Stopping
	Killing
	Clearing
	Stuck
	Failed
	Readying
	Closing
	Burying

	NumStates
)

var states = [NumStates]struct {
	name   string
	public messages.State
	timer  Timer
	alive  bool
}{
	Stopped:  {"Stopped", messages.Stopped, NoTimer, false},
	Spawning: {"Spawning", messages.Starting, NoTimer, true},
	Running:  {"Running", messages.Running, NoTimer, true},
	Paused:   {"Paused", messages.Paused, NoTimer, true},
	Aborting: {"Aborting", messages.Stopping, GraceTimer, true},
	Stopping: {"Stopping", messages.Stopping, GraceTimer, true},
	Killing:  {"Killing", messages.Stopping, KillTimer, true},
	Clearing: {"Clearing", messages.Stopping, KillTimer, true},
	Stuck:    {"Stuck", messages.Failed, NoTimer, true},
	Failed:   {"Failed", messages.Failed, NoTimer, false},
	Readying: {"Readying", messages.Starting, StartTimer, true},
	Closing:  {"Closing", messages.Stopping, HookTimer, true},
	Burying:  {"Burying", messages.Stopping, HookTimer, true},
}

func (s State) String() string { return states[s].name }

// Public is the state as others see it.
func (s State) Public() messages.State { return states[s].public }

// Alive reports whether there is a process, or may be one, or something of it.
func (s State) Alive() bool { return states[s].alive }

// Timer is the timer that runs in the state. It ends with the state, unless the
// next one has the same.
func (s State) Timer() Timer { return states[s].timer }

// A Timer is a deadline that a state may have.
type Timer uint8

// The timers.
const (
	NoTimer    Timer = iota
	GraceTimer       // ends in GraceExpired
	KillTimer        // ends in KillExpired
	StartTimer       // ends in StartExpired
	HookTimer        // ends in HookExpired
)

// An Event is something that happens to a collector.
type Event uint8

// The events.
const (
	// Commands. Each is answered exactly once: accepted, deferred or refused.
	Start Event = iota
	Stop
	Kill
	Pause
	Resume
	Signal
	Reload

	// Facts.
	Spawned       // there is a process
	SpawnFailed   // there is none
	Exited        // the process itself is gone
	Finished      // nothing of its tree is left; it had exited with success
	Crashed       // nothing of its tree is left; it had exited with a failure
	SuspendFailed // Suspend did not work
	ResumeFailed  // Continue did not work
	Inherited     // another actor's process is now this one's, to be ended
	Execed        // there is a process, and it has yet to say that it is ready
	Ready         // it has
	Unhealthy     // it is to be ended because it does not work
	Hung          // the same, and how it came to that is to be seen
	Parted        // nothing of its tree is left, and what is to run after it does

	// Timers.
	GraceExpired
	KillExpired
	StartExpired
	HookExpired

	NumEvents
)

var eventNames = [NumEvents]string{
	"Start", "Stop", "Kill", "Pause", "Resume", "Signal", "Reload",
	"Spawned", "SpawnFailed", "Exited", "Finished", "Crashed", "SuspendFailed", "ResumeFailed", "Inherited", "Execed", "Ready", "Unhealthy", "Hung",
	"Parted", "GraceExpired", "KillExpired", "StartExpired", "HookExpired",
}

func (e Event) String() string { return eventNames[e] }

// Command reports whether the event is a command, and so wants an answer.
func (e Event) Command() bool { return e <= Reload }

// An Effect is something that the collector has to do about an event.
type Effect uint8

// The effects.
const (
	Spawn            Effect = iota // start a process
	Terminate                      // ask its group to end
	Abort                          // have it end at once, and leave behind how it came to that
	TerminateOrphans               // ask what it has left behind to end
	KillTree                       // end all that it started
	Suspend                        // suspend its group
	Continue                       // let its group go on
	Send                           // send the signal that the command names
	Reconfigure                    // have it read its configuration again, and answer the command when it has
	Withdraw                       // have what has to come before the process not go on
	ArmGrace                       // GraceExpired after the graceful timeout
	ArmKill                        // KillExpired after the force timeout
	ArmStart                       // StartExpired after the startup timeout
	ArmHook                        // HookExpired after the time that a hook has
	Accept                         // answer the command: done
	Defer                          // answer the command when it is settled
	Settle                         // answer every deferred command: this is how it went
	GiveUp                         // answer every deferred command: it could not be ended

	numEffects
)

var effectNames = [numEffects]string{
	"Spawn", "Terminate", "Abort", "TerminateOrphans", "KillTree", "Suspend", "Continue", "Send", "Reconfigure", "Withdraw",
	"ArmGrace", "ArmKill", "ArmStart", "ArmHook",
	"Accept", "Defer", "Settle", "GiveUp",
}

func (f Effect) String() string { return effectNames[f] }

type cell struct {
	declared, refused, never bool
	next                     State
	effects                  []Effect
}

// The table: every pair of state and event. What is not refused (a command that
// the state does not allow) or never (a fact that cannot be, because the actor
// drops what an earlier incarnation sends) says where it goes and what to do.
var table = [NumStates]row{
	Stopped: with(never(ofASpawn...), never(ofOneThatIsUp...), never(ofAnEnd...), never(ofAPause...), never(timers...), refuse(Pause, Resume, Signal, Reload), row{
		Start:     to(Spawning, Defer, Spawn),
		Stop:      to(Stopped, Accept), // it ended by itself while the command was on its way
		Kill:      to(Stopped, Accept),
		Inherited: to(Killing, KillTree, ArmKill),
	}),
	Spawning: with(never(Inherited), never(ofOneThatIsUp...), never(ofAnEnd...), never(ofAPause...), never(timers...), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:        to(Aborting, Defer, Withdraw, ArmGrace),
		Kill:        to(Killing, Defer, KillTree, ArmKill),
		Spawned:     to(Running, Settle),
		Execed:      to(Readying, ArmStart),
		SpawnFailed: to(Failed, Settle),
	}),
	Running: with(never(Finished, Crashed, SuspendFailed, Inherited, Ready, Parted), never(ofASpawn...), never(timers...), refuse(Start, Resume), row{
		Stop:         to(Stopping, Defer, Terminate, Continue, ArmGrace), // it may have suspended itself
		Kill:         to(Killing, Defer, KillTree, ArmKill),
		Pause:        to(Paused, Suspend, Accept),
		Signal:       to(Running, Send, Accept),
		Reload:       to(Running, Reconfigure),
		Exited:       to(Clearing, KillTree, ArmKill),
		ResumeFailed: to(Paused),
		Unhealthy:    to(Stopping, Terminate, Continue, ArmGrace),
		Hung:         to(Stopping, Abort, Continue, ArmGrace),
	}),
	Readying: with(never(Finished, Crashed, Inherited, Parted), never(ofASpawn...), never(ofAPause...), timersBut(StartExpired), refuse(Start, Pause, Resume, Reload), row{
		Stop:         to(Stopping, Defer, Terminate, Continue, ArmGrace),
		Kill:         to(Killing, Defer, KillTree, ArmKill),
		Signal:       to(Readying, Send, Accept),
		Exited:       to(Clearing, KillTree, ArmKill),
		Ready:        to(Running, Settle),
		Unhealthy:    to(Stopping, Terminate, Continue, ArmGrace),
		Hung:         to(Stopping, Abort, Continue, ArmGrace),
		StartExpired: to(Stopping, Terminate, Continue, ArmGrace),
	}),
	Paused: with(never(Finished, Crashed, ResumeFailed, Inherited, Parted), never(ofASpawn...), never(ofOneThatIsUp...), never(timers...), refuse(Start, Pause, Reload), row{
		Stop:          to(Stopping, Defer, Terminate, Continue, ArmGrace), // first the signal, so that it is what the process wakes up to
		Kill:          to(Killing, Defer, KillTree, ArmKill),
		Resume:        to(Running, Continue, Accept),
		Signal:        to(Paused, Send, Accept),
		Exited:        to(Clearing, KillTree, ArmKill),
		SuspendFailed: to(Running),
	}),
	Aborting: with(never(Inherited), never(ofOneThatIsUp...), never(ofAnEnd...), never(ofAPause...), timersBut(GraceExpired), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:         to(Aborting, Defer),
		Kill:         to(Killing, Defer, KillTree, ArmKill),
		Spawned:      to(Stopping, Terminate, Continue),
		Execed:       to(Stopping, Terminate, Continue),
		SpawnFailed:  to(Stopped, Settle),
		GraceExpired: to(Killing, KillTree, ArmKill),
	}),
	Stopping: with(never(Inherited), never(ofASpawn...), never(ofOneThatIsUp...), never(ofAPause...), timersBut(GraceExpired), refuse(Start, Pause, Resume, Reload), row{
		Stop:         to(Stopping, Defer),
		Kill:         to(Killing, Defer, KillTree, ArmKill),
		Signal:       to(Stopping, Send, Accept),
		Exited:       to(Stopping, TerminateOrphans), // what it started has the rest of the time to end too
		Parted:       to(Closing, ArmHook),
		Finished:     to(Stopped, Settle),
		Crashed:      to(Stopped, Settle),
		GraceExpired: to(Killing, KillTree, ArmKill),
	}),
	Killing: with(never(Inherited), never(ofOneThatIsUp...), never(ofAPause...), timersBut(KillExpired), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:        to(Killing, Defer),
		Kill:        to(Killing, Defer),
		Spawned:     to(Killing, KillTree),
		Execed:      to(Killing, KillTree),
		SpawnFailed: to(Stopped, Settle),
		Exited:      to(Killing),
		Parted:      to(Closing, ArmHook),
		Finished:    to(Stopped, Settle),
		Crashed:     to(Stopped, Settle),
		KillExpired: to(Stuck, GiveUp),
	}),
	Clearing: with(never(Exited, Inherited), never(ofASpawn...), never(ofOneThatIsUp...), never(ofAPause...), timersBut(KillExpired), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:        to(Killing, Defer), // now its end is one that was asked for
		Kill:        to(Killing, Defer),
		Parted:      to(Burying, ArmHook),
		Finished:    to(Stopped, Settle), // a start, if it was not ready yet
		Crashed:     to(Failed, Settle),
		KillExpired: to(Stuck, GiveUp),
	}),
	Closing: with(never(Exited, Inherited, Parted), never(ofASpawn...), never(ofOneThatIsUp...), never(ofAPause...), timersBut(HookExpired), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:        to(Closing, Defer),
		Kill:        to(Killing, Defer, KillTree, ArmKill),
		Finished:    to(Stopped, Settle),
		Crashed:     to(Stopped, Settle),
		HookExpired: to(Killing, KillTree, ArmKill),
	}),
	Burying: with(never(Exited, Inherited, Parted), never(ofASpawn...), never(ofOneThatIsUp...), never(ofAPause...), timersBut(HookExpired), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:        to(Closing, Defer), // now its end is one that was asked for
		Kill:        to(Killing, Defer, KillTree, ArmKill),
		Finished:    to(Stopped, Settle),
		Crashed:     to(Failed, Settle),
		HookExpired: to(Clearing, KillTree, ArmKill),
	}),
	Stuck: with(never(Inherited, Parted), never(ofOneThatIsUp...), never(ofAPause...), never(timers...), refuse(Start, Pause, Resume, Signal, Reload), row{
		Stop:        to(Stuck, Defer, GiveUp),
		Kill:        to(Stuck, Defer, GiveUp),
		Spawned:     to(Stuck, KillTree),
		Execed:      to(Stuck, KillTree),
		SpawnFailed: to(Stopped),
		Exited:      to(Stuck),
		Finished:    to(Stopped),
		Crashed:     to(Stopped),
	}),
	Failed: with(never(Inherited), never(ofASpawn...), never(ofOneThatIsUp...), never(ofAnEnd...), never(ofAPause...), never(timers...), refuse(Pause, Resume, Signal, Reload), row{
		Start: to(Spawning, Defer, Spawn),
		Stop:  to(Stopped, Accept), // it failed while the command was on its way
		Kill:  to(Stopped, Accept),
	}),
}

// What belongs together: facts about a process in the making, about one that is
// up, about its end, about its being suspended.
var (
	ofASpawn      = []Event{Spawned, Execed, SpawnFailed}
	ofOneThatIsUp = []Event{Ready, Unhealthy, Hung}
	ofAnEnd       = []Event{Exited, Finished, Crashed, Parted}
	ofAPause      = []Event{SuspendFailed, ResumeFailed}
	timers        = []Event{GraceExpired, KillExpired, StartExpired, HookExpired}
)

// timersBut has all timers but one never end.
func timersBut(timer Event) (r row) {
	for _, e := range timers {
		if e != timer {
			r[e] = cell{declared: true, never: true}
		}
	}
	return r
}

// Next reports where e takes a collector in state s, and what is to be done
// about it. It reports false for a command that s refuses.
func Next(s State, e Event) (next State, effects []Effect, ok bool) {
	c := table[s][e]
	if c.refused || c.never {
		return s, nil, !c.refused
	}
	return c.next, c.effects, true
}

type row = [NumEvents]cell

func to(next State, effects ...Effect) cell {
	return cell{declared: true, next: next, effects: effects}
}

func refuse(events ...Event) (r row) {
	for _, e := range events {
		r[e] = cell{declared: true, refused: true}
	}
	return r
}

func never(events ...Event) (r row) {
	for _, e := range events {
		r[e] = cell{declared: true, never: true}
	}
	return r
}

// with lays rows over each other. A pair that two of them declare is a defect
// of the table, and is found when the package is loaded.
func with(rows ...row) (r row) {
	for _, other := range rows {
		for e, c := range other {
			if c.declared && r[e].declared {
				panic("lifecycle: " + Event(e).String() + " is declared twice")
			}
			if c.declared {
				r[e] = c
			}
		}
	}
	return r
}
