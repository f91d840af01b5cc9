package tests

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/collector"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// trap is a host whose processes make whoever suspends them, or sends them
// SIGINT, panic: a defect in a collector's actor while it has a process.
type trap struct{ *platformtest.Host }

type trapped struct{ platform.Process }

func (h trap) Start(spec platform.Spec, notify func(platform.Notice)) platform.Process {
	return trapped{h.Host.Start(spec, notify)}
}

func (trapped) Suspend() error { panic("a defect, on purpose") }

func (p trapped) Signal(s platform.Signal, group bool) error {
	if s == platform.Signal(syscall.SIGINT) {
		panic("a defect, on purpose")
	}
	return p.Process.Signal(s, group)
}

// inTrap is inBubble on such a host.
func inTrap(t *testing.T, s script, scenario func(w *world), ids ...string) {
	t.Helper()
	inBubble(t, one(ids...), s, scenario, actors.WithChild(func(id string, o collector.Options) *actor.Props {
		o.Host = trap{o.Host.(*platformtest.Host)}
		return collector.Props(id, o)
	}))
}

func TestAFaultInACollectorEndsItsProcessAndCountsAsAnExit(t *testing.T) {
	inTrap(t, always(platformtest.Program{KillDelay: time.Second}), func(w *world) {
		w.mustStart("web")
		other := w.mustStart("db")
		if err := w.Pause(w.ctx, "web"); kindOf(err) != "INTERNAL" {
			w.Errorf("the caller was answered %v", err)
		}
		settle()
		w.want("web", messages.Stopping)
		advance(time.Minute)
		s := w.want("web", messages.Running)
		if s.PID == 0 || s.RestartCount != 1 || w.host.Most("web") != 1 || w.host.Living("web") != 1 {
			w.Errorf("%+v, %d at once, %d alive", s, w.host.Most("web"), w.host.Living("web"))
		}
		if db := w.want("db", messages.Running); db.PID != other {
			w.Errorf("another collector went with it: %d is now %d", other, db.PID)
		}
		if !w.sawFact("web", "Crashed") {
			w.Errorf("nobody was told: %v", w.facts("web"))
		}
	}, "web", "db")
}

func TestAFaultInACollectorReachesItsLimitLikeAnyExit(t *testing.T) {
	inTrap(t, nil, func(w *world) {
		w.mustStart("web")
		for range 4 {
			_ = w.Pause(w.ctx, "web")
			advance(time.Second)
		}
		if s := w.want("web", messages.Failed); s.RestartCount != 3 {
			w.Errorf("%d restarts", s.RestartCount)
		}
	}, "web")
}

func TestEverybodyIsAnsweredWhenACollectorHasAFaultInTheMiddle(t *testing.T) {
	for _, other := range []string{"start", "stop", "kill", "restart", "pause", "resume", "signal", "status", "remove", "shutdown"} {
		t.Run(other, func(t *testing.T) {
			inTrap(t, always(platformtest.Program{StopDelay: time.Second, KillDelay: time.Second}), func(w *world) {
				w.mustStart("web")
				answers := make(chan string, 3)
				go func() { answers <- w.do("pause") }()
				for range 2 {
					go func() { answers <- w.do(other) }()
				}
				for range 3 {
					select {
					case <-answers:
					case <-time.After(time.Hour):
						w.Fatal("a caller was not answered")
					}
				}
				advance(time.Minute)
				if w.host.Most("web") > 1 {
					w.Errorf("%d processes at once", w.host.Most("web"))
				}
				switch s := w.status("web"); other {
				case "stop", "kill", "shutdown":
					if s.State != messages.Stopped && other != "kill" || w.host.Living("web") != 0 {
						w.Errorf("it is %v after %s", s.State, other)
					}
				}
			}, "web")
		})
	}
}

func TestWhoWaitsForAStopGetsItFromTheHeir(t *testing.T) {
	inTrap(t, always(platformtest.Program{StopDelay: 20 * time.Second, KillDelay: time.Second}), func(w *world) {
		for command, state := range map[string]messages.State{"stop": messages.Stopped, "restart": messages.Running} {
			_, _ = w.Start(w.ctx, "web", "", nil)
			answers := make(chan string, 1)
			go func() { answers <- w.do(command) }()
			settle()
			if err := w.Signal(w.ctx, "web", "INT", false); kindOf(err) != "INTERNAL" {
				w.Errorf("the caller of the signal was answered %v", err)
			}
			select {
			case answer := <-answers:
				if answer != "ok" {
					w.Errorf("%s was answered %s", command, answer)
				}
			case <-time.After(time.Hour):
				w.Fatalf("the caller of the %s was not answered", command)
			}
			w.want("web", state)
			if w.host.Most("web") != 1 {
				w.Errorf("%d processes at once", w.host.Most("web"))
			}
		}
	}, "web")
}

// An embedder may end the actor, or the program end in a hurry: that is no
// shutdown, and still nothing is left.
func TestTheEndOfTheSupervisorsActorEndsAllProcesses(t *testing.T) {
	inBubble(t, one("web", "paused", "slow"), func(spec platform.Spec, _ int) platformtest.Program {
		if spec.Label == "slow" {
			return platformtest.Program{SpawnDelay: time.Second, Deaf: true}
		}
		return platformtest.Program{Deaf: true}
	}, func(w *world) {
		w.mustStart("web")
		w.mustStart("paused")
		_ = w.Pause(w.ctx, "paused")
		go func() { _, _ = w.Start(w.ctx, "slow", "", nil) }()
		settle()
		if err := w.Close(); err != nil {
			w.Error(err)
		}
		advance(2 * time.Second)
		if left := w.host.Left(); len(left) > 0 {
			w.Errorf("left: %v", left)
		}
		if _, err := w.Status(w.ctx, "web"); !errors.Is(err, actors.ErrNoSupervisor) {
			w.Errorf("who asks is answered %v", err)
		}
	})
}

func TestAnUnkillableProcessOfAFaultyActorIsNotDoubled(t *testing.T) {
	inTrap(t, func(_ platform.Spec, nth int) platformtest.Program {
		return platformtest.Program{Unkillable: nth == 1}
	}, func(w *world) {
		w.mustStart("web")
		_ = w.Pause(w.ctx, "web")
		advance(time.Hour)
		if s := w.want("web", messages.Failed); s.PID == 0 || w.host.Starts("web") != 1 {
			w.Errorf("%+v, started %d times", s, w.host.Starts("web"))
		}
		w.host.Release("web")
		advance(time.Minute)
		w.want("web", messages.Running)
		if w.host.Most("web") != 1 {
			w.Errorf("%d at once", w.host.Most("web"))
		}
	}, "web")
}

// bomb makes the supervisor itself panic when a collector of that id is added.
const bomb = "bomb"

func explosive(id string, o collector.Options) *actor.Props {
	if id == bomb {
		panic("a defect of the supervisor, on purpose")
	}
	return collector.Props(id, o)
}

func TestAFaultInTheSupervisorLosesDoublesAndForgetsNothing(t *testing.T) {
	program := platformtest.Program{StopDelay: time.Second, KillDelay: 10 * time.Millisecond}
	inBubble(t, one("web", "db", "off"), always(program), func(w *world) {
		w.mustStart("web")
		w.mustStart("db")
		// Somebody waits for a stop while it happens.
		answers := make(chan string, 2)
		go func() { answers <- w.do("stop") }()
		settle()
		_, err := w.Start(w.ctx, bomb, "x", nil)
		if kindOf(err) != "INTERNAL" {
			w.Errorf("the caller was answered %v", err)
		}
		select {
		case answer := <-answers:
			if answer != "INTERNAL" {
				w.Errorf("who waited was answered %s", answer)
			}
		case <-time.After(time.Hour):
			w.Fatal("who waited was not answered")
		}
		advance(time.Minute)
		w.want("web", messages.Stopped) // a stop had been asked for
		w.want("db", messages.Running)
		w.want("off", messages.Stopped)
		for _, id := range []string{"web", "db"} {
			if w.host.Most(id) != 1 {
				w.Errorf("%s had %d processes at once", id, w.host.Most(id))
			}
		}
		if w.host.Living("db") != 1 || w.host.Living("web") != 0 {
			w.Errorf("alive: %v", w.host.Left())
		}
	}, actors.WithChild(explosive))
}

func TestAFaultWhileTheConfigurationIsTakenInLosesNoCollector(t *testing.T) {
	cfg := one("a", "b", "c")
	for id, c := range cfg.Collectors {
		c.Autostart = true
		cfg.Collectors[id] = c
	}
	faults := 0
	inBubble(t, cfg, nil, func(w *world) {
		settle()
		for _, id := range []string{"a", "b", "c"} {
			w.want(id, messages.Running)
		}
		if faults != 1 {
			w.Errorf("%d faults", faults)
		}
	}, actors.WithChild(func(id string, o collector.Options) *actor.Props {
		if id == "b" && faults == 0 {
			faults++
			panic("a defect of the supervisor, on purpose")
		}
		return collector.Props(id, o)
	}))
}

func TestAFaultInTheSupervisorStartsEvenWhatIsNotRestartedAfterACrash(t *testing.T) {
	cfg := one("web")
	cfg.ProcessManager.EnableAutoRestart = false
	inBubble(t, cfg, nil, func(w *world) {
		w.mustStart("web")
		_, _ = w.Start(w.ctx, bomb, "x", nil)
		advance(time.Minute)
		w.want("web", messages.Running)
	}, actors.WithChild(explosive))
}

func TestASupervisorThatHasOneFaultAfterAnotherEndsWithAllItsProcesses(t *testing.T) {
	inBubble(t, one("web"), nil, func(w *world) {
		w.mustStart("web")
		for i := range 12 {
			go func() {
				_, err := w.Start(w.ctx, bomb, "x", nil)
				if err == nil {
					w.Errorf("start %d went well", i)
				}
			}()
		}
		select {
		case <-w.Done():
		case <-time.After(time.Hour):
			w.Error("it goes on")
		}
		advance(time.Second)
		if n := w.host.Living("web"); n != 0 {
			w.Errorf("%d processes are left", n)
		}
		if _, err := w.Status(w.ctx, "web"); err == nil {
			w.Error("who asks is answered")
		}
	}, actors.WithChild(explosive))
}

// Panics at random moments of a busy tree.
func TestFaultsInTheMiddleOfEverything(t *testing.T) {
	for moment := range 40 {
		t.Run(fmt.Sprint(moment), func(t *testing.T) {
			program := platformtest.Program{SpawnDelay: 3 * time.Millisecond, StopDelay: 5 * time.Millisecond, KillDelay: 2 * time.Millisecond, Lives: 17 * time.Millisecond}
			cfg := one("web", "db")
			for id, c := range cfg.Collectors {
				c.MaxRestarts, c.Restart, c.BackoffInitial = 1_000_000, "always", config.None
				cfg.Collectors[id] = c
			}
			inBubble(t, cfg, always(program), func(w *world) {
				done := make(chan bool)
				for _, command := range []string{"start", "restart", "pause", "stop", "start"} {
					go func() { w.do(command); done <- true }()
				}
				go func() { _, _ = w.Start(w.ctx, "db", "", nil); done <- true }()
				time.Sleep(time.Duration(moment) * time.Millisecond)
				_, _ = w.Start(w.ctx, bomb, "x", nil)
				for range 6 {
					select {
					case <-done:
					case <-time.After(time.Hour):
						w.Fatal("a caller was not answered")
					}
				}
				advance(time.Minute)
				if db := w.status("db"); db.State != messages.Running && db.State != messages.Starting {
					w.Errorf("db is %v (%s)", db.State, db.Reason)
				}
				if w.host.Most("web") > 1 || w.host.Most("db") > 1 {
					w.Errorf("%d and %d processes at once", w.host.Most("web"), w.host.Most("db"))
				}
			}, actors.WithChild(explosive))
		})
	}
}
