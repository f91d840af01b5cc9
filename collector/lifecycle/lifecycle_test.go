package lifecycle

import (
	"slices"
	"testing"

	"github.com/proctord/proctor/messages"
	"pgregory.net/rapid"
)

func eachPair(yield func(s State, e Event)) {
	for s := range NumStates {
		for e := range NumEvents {
			yield(s, e)
		}
	}
}

func TestEveryPairOfStateAndEventIsDeclared(t *testing.T) {
	eachPair(func(s State, e Event) {
		if !table[s][e].declared {
			t.Errorf("%v × %v is not declared", s, e)
		}
	})
}

func TestOnlyCommandsAreRefusedAndOnlyFactsCannotBe(t *testing.T) {
	eachPair(func(s State, e Event) {
		c := table[s][e]
		if c.refused && !e.Command() {
			t.Errorf("%v × %v: a fact is refused", s, e)
		}
		if c.never && e.Command() {
			t.Errorf("%v × %v: a command has no answer", s, e)
		}
	})
}

func TestEveryCommandIsAnsweredExactlyOnce(t *testing.T) {
	eachPair(func(s State, e Event) {
		if !e.Command() {
			return
		}
		_, effects, ok := Next(s, e)
		answers := 0
		if !ok {
			answers++
		}
		for _, f := range effects {
			if f == Accept || f == Defer || f == Reconfigure {
				answers++
			}
		}
		if answers != 1 {
			t.Errorf("%v × %v: answered %d times", s, e, answers)
		}
	})
}

func TestFactsAnswerNoCommandOfTheirOwn(t *testing.T) {
	eachPair(func(s State, e Event) {
		_, effects, _ := Next(s, e)
		if !e.Command() && (slices.Contains(effects, Accept) || slices.Contains(effects, Defer) || slices.Contains(effects, Reconfigure)) {
			t.Errorf("%v × %v: there is nothing to answer", s, e)
		}
	})
}

func TestAProcessIsSpawnedOnlyWhereThereIsNone(t *testing.T) {
	eachPair(func(s State, e Event) {
		_, effects, _ := Next(s, e)
		if slices.Contains(effects, Spawn) && s.Alive() {
			t.Errorf("%v × %v: spawns beside what is there", s, e)
		}
	})
}

func TestOnlyAFactTellsThatAProcessIsGone(t *testing.T) {
	eachPair(func(s State, e Event) {
		next, _, _ := Next(s, e)
		gone := e == SpawnFailed || e == Finished || e == Crashed
		if s.Alive() && !next.Alive() && !gone {
			t.Errorf("%v × %v goes to %v: lets go of a process that is there", s, e, next)
		}
		if s.Alive() && next.Alive() && gone && !table[s][e].never {
			t.Errorf("%v × %v goes to %v: keeps a process that is gone", s, e, next)
		}
	})
}

func TestATimedStateIsEnteredWithItsTimer(t *testing.T) {
	arms := map[Timer]Effect{GraceTimer: ArmGrace, KillTimer: ArmKill, StartTimer: ArmStart, HookTimer: ArmHook}
	eachPair(func(s State, e Event) {
		next, effects, _ := Next(s, e)
		if table[s][e].never {
			return
		}
		for timer, arm := range arms {
			armed := slices.Contains(effects, arm)
			if armed && next.Timer() != timer {
				t.Errorf("%v × %v: %v is armed in %v", s, e, arm, next)
			}
			if next.Timer() == timer && s.Timer() != timer && !armed {
				t.Errorf("%v × %v: %v is entered without %v", s, e, next, arm)
			}
		}
	})
}

func TestStopAlwaysComesToAnEnd(t *testing.T) {
	for s := range NumStates {
		for _, stop := range []Event{Stop, Kill} {
			// Nothing happens but that timers expire: within two of them the
			// caller is answered.
			at, effects, _ := Next(s, stop)
			answered := slices.Contains(effects, Accept)
			for range 2 {
				settled := slices.Contains(effects, Settle) || slices.Contains(effects, GiveUp)
				answered = answered || settled
				switch at.Timer() {
				case GraceTimer:
					at, effects, _ = Next(at, GraceExpired)
				case KillTimer:
					at, effects, _ = Next(at, KillExpired)
				case HookTimer:
					at, effects, _ = Next(at, HookExpired)
				}
			}
			if !answered && !slices.Contains(effects, Settle) && !slices.Contains(effects, GiveUp) {
				t.Errorf("from %v, %v ends in %v without an answer", s, stop, at)
			}
		}
	}
}

func TestAPausedCollectorHearsTheSignalBeforeItGoesOn(t *testing.T) {
	_, effects, _ := Next(Paused, Stop)
	if slices.Index(effects, Terminate) > slices.Index(effects, Continue) || !slices.Contains(effects, Continue) {
		t.Errorf("got %v", effects)
	}
}

func TestASpawnThatWasAbortedIsEndedAsSoonAsItIsKnown(t *testing.T) {
	at, _, _ := Next(Spawning, Stop)
	for _, spawned := range []Event{Spawned, Execed} {
		_, effects, _ := Next(at, spawned)
		if !slices.Contains(effects, Terminate) {
			t.Errorf("in %v, %v leads to %v", at, spawned, effects)
		}
		for _, killed := range []State{Killing, Stuck} {
			if _, effects, _ := Next(killed, spawned); !slices.Contains(effects, KillTree) {
				t.Errorf("in %v, %v leads to %v", killed, spawned, effects)
			}
		}
	}
}

func TestAProcessThatEndedByItselfIsCleared(t *testing.T) {
	for _, s := range []State{Running, Paused, Readying} {
		next, effects, _ := Next(s, Exited)
		if next != Clearing || !slices.Contains(effects, KillTree) {
			t.Errorf("%v × Exited goes to %v with %v", s, next, effects)
		}
	}
}

func TestWhatRunsAfterAProcessChangesNothingAboutHowItEnded(t *testing.T) {
	for _, s := range []State{Stopping, Killing, Clearing} {
		for _, end := range []Event{Finished, Crashed} {
			want, _, _ := Next(s, end)
			at, _, _ := Next(s, Parted)
			if got, _, _ := Next(at, end); got != want {
				t.Errorf("%v × %v goes to %v, and by %v to %v", s, end, want, at, got)
			}
		}
	}
}

func TestWhatAStatePublishesIsItsPublicState(t *testing.T) {
	want := map[State]messages.State{
		Stopped: messages.Stopped, Spawning: messages.Starting, Running: messages.Running, Paused: messages.Paused,
		Aborting: messages.Stopping, Stopping: messages.Stopping, Killing: messages.Stopping, Clearing: messages.Stopping,
		Stuck: messages.Failed, Failed: messages.Failed, Readying: messages.Starting,
		Closing: messages.Stopping, Burying: messages.Stopping,
	}
	for s := range NumStates {
		if s.Public() != want[s] {
			t.Errorf("%v is shown as %v", s, s.Public())
		}
	}
}

// body is a process as its host knows it: what can be told of it next.
type body struct {
	asked, spawned, exited, parted bool
}

func (b *body) facts(at State) (possible []Event) {
	switch {
	case !b.asked:
	case !b.spawned:
		possible = append(possible, Spawned, Execed, SpawnFailed)
	case !b.exited:
		possible = append(possible, Exited)
	default:
		possible = append(possible, Finished, Crashed)
		if !b.parted && at != Stuck {
			possible = append(possible, Parted)
		}
	}
	return possible
}

// walk takes a collector through events that choose picks, among those that can
// happen, and checks what must hold at each step.
func walk(fatalf func(string, ...any), steps int, choose func(possible []Event) Event) {
	at, waiting := Stopped, 0
	var b body
	for range steps {
		possible := []Event{Start, Stop, Kill, Pause, Resume, Signal, Reload}
		possible = append(possible, b.facts(at)...)
		switch at.Timer() {
		case GraceTimer:
			possible = append(possible, GraceExpired)
		case KillTimer:
			possible = append(possible, KillExpired)
		case StartTimer:
			possible = append(possible, StartExpired, Ready)
		case HookTimer:
			possible = append(possible, HookExpired)
		}
		if at == Running || at == Readying {
			possible = append(possible, Unhealthy, Hung)
		}
		e := choose(possible)
		if table[at][e].never {
			fatalf("%v × %v is declared never to be, and was", at, e)
		}
		next, effects, ok := Next(at, e)
		switch e {
		case Spawned, Execed:
			b.spawned = true
		case Exited:
			b.exited = true
		case Parted:
			b.parted = true
		case SpawnFailed, Finished, Crashed:
			b = body{}
		}
		for _, f := range effects {
			switch f {
			case Spawn:
				if b.asked {
					fatalf("%v × %v: a second process", at, e)
				}
				b.asked = true
			case Defer:
				waiting++
			case Settle, GiveUp:
				waiting = 0
			case Terminate, Abort, Suspend, Continue, Send, Reconfigure:
				if !b.spawned {
					fatalf("%v × %v: %v without a process", at, e, f)
				}
			}
		}
		if !ok && !e.Command() {
			fatalf("%v × %v: a fact was refused", at, e)
		}
		if b.asked != next.Alive() {
			fatalf("%v × %v goes to %v: process %v", at, e, next, b.asked)
		}
		if waiting > 0 && (next == Running || next == Paused || !next.Alive() || next == Stuck) {
			fatalf("%v × %v goes to %v: %d callers are left waiting", at, e, next, waiting)
		}
		at = next
	}
}

func TestRandomLivesKeepTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		walk(t.Fatalf, 200, func(possible []Event) Event { return rapid.SampledFrom(possible).Draw(t, "event") })
	})
}

func FuzzAnyLifeKeepsTheRules(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0, 6, 1, 6, 6, 0, 7, 2, 7, 6, 6})
	f.Fuzz(func(t *testing.T, script []byte) {
		walk(t.Fatalf, len(script), func(possible []Event) Event {
			e := possible[int(script[0])%len(possible)]
			script = script[1:]
			return e
		})
	})
}
