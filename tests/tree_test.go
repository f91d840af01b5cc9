package tests

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// started has all collectors of a configuration start with the supervisor, and be
// restarted when they crash.
func started(cfg config.Config) config.Config {
	cfg.ProcessManager.EnableAutoRestart = true
	for id, c := range cfg.Collectors {
		c.Autostart, c.AutoRestart = true, true
		cfg.Collectors[id] = c
	}
	return cfg
}

func requires(ids ...string) (list []config.Dependency) {
	for _, id := range ids {
		list = append(list, config.Dependency{ID: id})
	}
	return list
}

// byID makes each collector's processes behave as its own program says.
func byID(programs map[string]platformtest.Program) script {
	return func(spec platform.Spec, _ int) platformtest.Program { return programs[spec.Label] }
}

func TestADependencyThatFailsDuringTheStartOfAThousandFailsThemAllAndBringsThemBack(t *testing.T) {
	const n = 1000
	cfg := config.Config{Collectors: map[string]config.Collector{"db": {}}}
	for i := range n {
		cfg.Collectors[fmt.Sprint("web-", i)] = config.Collector{Requires: requires("db")}
	}
	broken := true
	s := func(spec platform.Spec, _ int) (p platformtest.Program) {
		p.SpawnDelay = time.Second
		if spec.Label == "db" && broken {
			p.SpawnError = errors.New("exec format error")
		}
		return p
	}
	inBubble(t, started(cfg), s, func(w *world) {
		waits := make(chan error, 1)
		go func() { _, err := w.Start(w.ctx, "web-7", "", nil); waits <- err }()
		advance(10 * time.Second)
		if err := <-waits; kindOf(err) != "SPAWN_FAILED" || !strings.Contains(err.Error(), "requires db, which has failed") {
			w.Errorf("who waited for a start was answered %v", err)
		}
		list, err := w.List(w.ctx)
		if err != nil {
			w.Fatal(err)
		}
		for _, s := range list {
			if s.State != messages.Failed || s.PID != 0 {
				w.Errorf("%s is %v (%s)", s.ID, s.State, s.Reason)
			}
		}
		for i := range n {
			if id := fmt.Sprint("web-", i); w.host.Starts(id) != 0 {
				w.Fatalf("%s was started", id)
			}
		}
		broken = false
		w.mustStart("db")
		advance(10 * time.Second)
		for i := range n {
			w.want(fmt.Sprint("web-", i), messages.Running)
		}
	})
}

func pipeline(strategy config.Strategy, most int) config.Config {
	cfg := config.Config{
		Collectors: map[string]config.Collector{},
		Groups:     map[string]config.Group{"g": {Strategy: strategy, MaxRestarts: most}},
	}
	for _, id := range []string{"a", "b", "c"} {
		cfg.Collectors[id] = config.Collector{Group: "g"}
	}
	return started(cfg)
}

var aSecond = platformtest.Program{SpawnDelay: time.Second, StopDelay: time.Second}

// At every moment of the stop of a group one of its children ends by itself, which
// would be one restart too many.
func TestAGroupThatFailsWhileItIsBeingStoppedIsStopped(t *testing.T) {
	for moment := time.Duration(0); moment < 4*time.Second; moment += 250 * time.Millisecond {
		for _, id := range []string{"a", "b", "c"} {
			inBubble(t, pipeline(config.OneForAll, config.None), always(aSecond), func(w *world) {
				advance(time.Minute)
				stopped := make(chan error, 1)
				go func() { _, err := w.Stop(w.ctx, "@g", 0); stopped <- err }()
				time.Sleep(moment)
				settle()
				w.host.Crash(id, failing)
				advance(time.Minute)
				if err := <-stopped; err != nil {
					w.Errorf("%s, %v in: %v", id, moment, err)
				}
				for _, id := range []string{"a", "b", "c"} {
					w.want(id, messages.Stopped)
				}
			})
		}
	}
}

// At every moment of the restart of a group, something else comes in between.
func TestWhateverComesInTheMiddleOfAOneForAllItEndsWell(t *testing.T) {
	for name, between := range map[string]func(w *world){
		"the supervisor has a fault":      func(w *world) { _, _ = w.Start(w.ctx, bomb, "x", nil) },
		"another child ends":              func(w *world) { w.host.Crash("c", failing) },
		"a child is restarted by command": func(w *world) { go func() { _, _ = w.Restart(w.ctx, "b", 0) }() },
		"another collector is added":      func(w *world) { _, _ = w.Start(w.ctx, "extra", "x", nil) },
		"the group is restarted":          func(w *world) { go func() { _, _ = w.Restart(w.ctx, "@g", 0) }() },
	} {
		t.Run(name, func(t *testing.T) {
			for moment := time.Duration(0); moment < 6*time.Second; moment += 300 * time.Millisecond {
				inBubble(t, pipeline(config.OneForAll, 10), always(aSecond), func(w *world) {
					advance(time.Minute)
					w.host.Crash("b", failing)
					time.Sleep(moment)
					between(w)
					advance(time.Minute)
					var up []time.Time
					for _, id := range []string{"a", "b", "c"} {
						s := w.want(id, messages.Running)
						up = append(up, s.StartedAt)
						if most := w.host.Most(id); most != 1 {
							w.Errorf("%v in: %s had %d processes at once", moment, id, most)
						}
					}
					if name != "a child is restarted by command" && !slices.IsSortedFunc(up, time.Time.Compare) {
						w.Errorf("%v in: they were not started in order: %v", moment, up)
					}
				}, actors.WithChild(explosive))
			}
		})
	}
}

func TestAStopOfAGroupInTheMiddleOfItsRestartWins(t *testing.T) {
	for moment := time.Duration(0); moment < 6*time.Second; moment += 250 * time.Millisecond {
		inBubble(t, pipeline(config.OneForAll, 10), always(aSecond), func(w *world) {
			advance(time.Minute)
			w.host.Crash("b", failing)
			time.Sleep(moment)
			_, err := w.Stop(w.ctx, "@g", 0)
			if err != nil {
				w.Error(err)
			}
			advance(time.Hour)
			for _, id := range []string{"a", "b", "c"} {
				w.want(id, messages.Stopped)
				if w.host.Living(id) != 0 {
					w.Errorf("%v in: %s has a process", moment, id)
				}
			}
		})
	}
}

func TestNoMoreThanStartConcurrencyAreOnTheirWayUpAtOnce(t *testing.T) {
	cfg := config.Config{ProcessManager: config.ProcessManager{StartConcurrency: 3}, Collectors: map[string]config.Collector{}}
	for i := range 20 {
		cfg.Collectors[fmt.Sprint("c-", i)] = config.Collector{}
	}
	inBubble(t, started(cfg), always(aSecond), func(w *world) {
		advance(500 * time.Millisecond)
		for n := 0; n < 20; n += 3 {
			states := [messages.NumStates]int{}
			list, _ := w.List(w.ctx)
			waiting := 0
			for _, s := range list {
				states[s.State]++
				if s.Reason == "it waits for its turn" {
					waiting++
				}
			}
			if states[messages.Running] != n || states[messages.Starting]-waiting != min(3, 20-n) {
				w.Errorf("%d run, %d are starting, %d of them wait", states[messages.Running], states[messages.Starting], waiting)
			}
			advance(time.Second)
		}
	})
}

func TestTheSupervisorEndsWithTheCollectorThatItIsToExitWith(t *testing.T) {
	for name, test := range map[string]struct {
		exit platform.Exit
		code int
	}{
		"success": {platform.Exit{}, 0}, "failure": {platform.Exit{Code: 7}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := started(config.Config{Collectors: map[string]config.Collector{"db": {}, "tests": {Kind: config.Task, Restart: config.RestartNever, Requires: requires("db")}}})
			tests := cfg.Collectors["tests"]
			tests.AutoRestart = false
			cfg.Collectors["tests"] = tests
			cfg.ProcessManager.ExitWith = "tests"
			program := map[string]platformtest.Program{"db": aSecond, "tests": {Lives: 10 * time.Second, Exit: test.exit}}
			inBubble(t, cfg, byID(program), func(w *world) {
				advance(5 * time.Second)
				w.want("db", messages.Running)
				advance(time.Minute)
				w.want("db", messages.Stopped)
				reply, err := w.Shutdown(w.ctx, 0) // joins the one that is over
				if err != nil || reply.Code != test.code || !strings.HasPrefix(reply.Reason, "tests has ended: exit code") || !slices.Equal(reply.Stopped, []string{"db"}) {
					w.Errorf("%+v, %v", reply, err)
				}
			})
		})
	}
}

func TestACollectorThatIsStartedByACommandMayNotMakeACycle(t *testing.T) {
	cfg := started(config.Config{Collectors: map[string]config.Collector{"a": {}, "b": {Requires: requires("a")}}})
	inBubble(t, cfg, nil, func(w *world) {
		for id, c := range map[string]config.Collector{
			"c": {Requires: requires("nobody")}, "d": {Group: "none"}, "a": {After: requires("b")},
		} {
			_, _ = w.Stop(w.ctx, id, 0)
			pid := 0
			if id == "a" {
				pid = w.mustStart("a")
				_, _ = w.Stop(w.ctx, id, 0)
			}
			_, err := w.Start(w.ctx, id, "", &c)
			if kindOf(err) != "INVALID_CONFIG" {
				w.Errorf("%s (%d): %v", id, pid, err)
			}
		}
		if _, err := w.Start(w.ctx, "e", "", &config.Collector{Requires: requires("b")}); err != nil {
			w.Error(err)
		}
		w.want("a", messages.Running) // it was needed
	})
}

func TestAReloadChangesTheTreeInPlace(t *testing.T) {
	cfg := pipeline(config.OneForAll, 5)
	inBubble(t, cfg, always(aSecond), func(w *world) {
		advance(time.Minute)
		pids := map[string]int{}
		for _, id := range []string{"a", "b", "c"} {
			pids[id] = w.status(id).PID
		}
		next := cfg
		next.Collectors = maps.Clone(cfg.Collectors)
		next.Groups = map[string]config.Group{"g": {Strategy: config.RestForOne, MaxRestarts: 5}, "h": {}}
		moved := next.Collectors["c"]
		moved.Group, moved.Requires = "h", requires("new")
		next.Collectors["c"] = moved
		next.Collectors["new"] = config.Collector{Autostart: true, AutoRestart: true}
		reply, err := w.Apply(w.ctx, next, false)
		if err != nil {
			w.Fatal(err)
		}
		var lines []string
		for _, ch := range reply.Changes {
			lines = append(lines, fmt.Sprintf("%v %s: %s", ch.Action, ch.ID, strings.Join(ch.Reasons, "; ")))
		}
		want := "update @g: strategy: one_for_all → rest_for_one\n" +
			"add @h: the configuration did not name it before\n" +
			"update c: group: g → h; requires differs\n" +
			"add new: the configuration did not name it before"
		if got := strings.Join(lines, "\n"); got != want {
			w.Errorf("%s\nwant\n%s", got, want)
		}
		for id, pid := range pids {
			if now := w.status(id).PID; now != pid {
				w.Errorf("%s was touched", id)
			}
		}
		advance(time.Minute)
		w.host.Crash("b", failing)
		advance(time.Minute)
		for id, same := range map[string]bool{"a": true, "b": false, "c": true} {
			if now := w.status(id).PID; (now == pids[id]) != same {
				w.Errorf("%s has pid %d, and had %d", id, now, pids[id])
			}
		}
		w.host.Crash("new", failing)
		advance(time.Minute)
		if now := w.want("c", messages.Running).PID; now == pids["c"] {
			w.Error("c was not restarted with what it requires")
		}
	})
}

func TestACommandToAGroupSaysWhichOfItsCollectorsItFailedFor(t *testing.T) {
	cfg := pipeline(config.OneForOne, 5)
	for id, c := range cfg.Collectors {
		c.Autostart = false
		cfg.Collectors[id] = c
	}
	s := byID(map[string]platformtest.Program{"b": {SpawnError: errors.New("exec format error")}})
	inBubble(t, cfg, s, func(w *world) {
		_, err := w.Start(w.ctx, "@g", "", nil)
		var e *messages.Error
		if !errors.As(err, &e) || e.Kind != messages.SpawnFailed || e.ID != "@g" || !strings.HasPrefix(e.Text, "1 of its 3 collectors: b: ") {
			w.Errorf("%v", err)
		}
		w.want("a", messages.Running)
		w.want("c", messages.Running)
		if _, err := w.Start(w.ctx, "@nobody", "", nil); kindOf(err) != "PROCESS_NOT_FOUND" {
			w.Error(err)
		}
		if err := w.Pause(w.ctx, "@g"); err != nil {
			w.Error(err)
		}
		w.want("a", messages.Paused)
		if err := w.Resume(w.ctx, "@g"); err != nil {
			w.Error(err)
		}
		w.want("c", messages.Running)
	})
}

func TestTheDelayBeforeAGroupsRestartOutlivesAChangeOfTheTree(t *testing.T) {
	inBubble(t, pipeline(config.OneForAll, 10), nil, func(w *world) {
		advance(time.Minute)
		w.host.Crash("b", failing)
		advance(time.Millisecond)
		w.host.Crash("b", failing) // the second one in a row waits for 100 ms
		advance(10 * time.Millisecond)
		w.want("b", messages.Starting)
		if _, err := w.Start(w.ctx, "extra", "x", nil); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b", "c"} {
			w.want(id, messages.Starting)
		}
		advance(time.Second)
		for _, id := range []string{"a", "b", "c"} {
			w.want(id, messages.Running)
		}
	})
}
