package tests

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// threeWebs is a configuration of web-1 to web-3, running.
func threeWebs() config.Config {
	cfg := one("web-1", "web-2", "web-3")
	for id, c := range cfg.Collectors {
		c.Autostart = true
		cfg.Collectors[id] = c
	}
	return cfg
}

// edited is cfg with the settings of one collector changed.
func edited(cfg config.Config, id string, edit func(*config.Collector)) config.Config {
	changed := config.Config{ProcessManager: cfg.ProcessManager, Collectors: map[string]config.Collector{}}
	for id, c := range cfg.Collectors {
		changed.Collectors[id] = c
	}
	c := changed.Collectors[id]
	edit(&c)
	changed.Collectors[id] = c
	return changed
}

// apply puts cfg in force, and returns the reply as one line a change.
func (w *world) apply(cfg config.Config, dryRun bool) string {
	w.Helper()
	reply, err := w.Apply(w.ctx, cfg, dryRun)
	if err != nil {
		w.Fatal(err)
	}
	var lines []string
	for _, c := range reply.Changes {
		line := fmt.Sprintf("%s %s: %s", c.Action, c.ID, strings.Join(c.Reasons, ", "))
		if c.Err != nil {
			line += fmt.Sprintf(" ! %v, rolled back %v", c.Err, c.RolledBack)
		}
		lines = append(lines, line)
	}
	return strings.Join(append(lines, fmt.Sprintf("kept %d", reply.Kept)), "\n")
}

func (w *world) pids(ids ...string) (pids []int) {
	for _, id := range ids {
		pids = append(pids, w.status(id).PID)
	}
	return pids
}

func TestAReloadTouchesOnlyWhatDiffers(t *testing.T) {
	cfg := threeWebs()
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
		before := w.pids("web-1", "web-2", "web-3")
		next := edited(cfg, "web-1", func(c *config.Collector) { c.MaxRestarts = 7 })
		next = edited(next, "web-2", func(c *config.Collector) { c.Args = []string{"-v"} })
		next = edited(next, "web-4", func(c *config.Collector) { c.Autostart = true })
		delete(next.Collectors, "web-3")
		want := `update web-1: max_restarts: 3 → 7
restart web-2: args differs
remove web-3: the configuration does not name it any more
add web-4: the configuration did not name it before
kept 0`
		seen := len(w.seen())
		if got := w.apply(next, true); got != want {
			w.Errorf("the plan is\n%s\nwant\n%s", got, want)
		}
		if now := w.pids("web-1", "web-2", "web-3"); !slices.Equal(now, before) || len(w.seen()) != seen {
			w.Error("a dry run did something")
		}
		if got := w.apply(next, false); got != want {
			w.Errorf("what was done is\n%s\nwant\n%s", got, want)
		}
		if now := w.pids("web-1", "web-2"); now[0] != before[0] || now[1] == before[1] || now[1] == 0 {
			w.Errorf("processes %v, before %v", now, before)
		}
		if _, err := w.Status(w.ctx, "web-3"); !errors.Is(err, messages.ProcessNotFound) {
			w.Errorf("web-3: %v", err)
		}
		w.want("web-4", messages.Running)
		if i, err := w.Inspect(w.ctx, "web-1"); err != nil || i.Config.MaxRestarts != 7 || i.RestartsLeft != 7 || !i.Declared {
			w.Errorf("%+v, %v", i, err)
		}
		if got := w.apply(next, false); got != "kept 3" {
			w.Errorf("the same again: %s", got)
		}
	})
}

func TestAReloadPutsAProcessThatDoesNotComeUpBack(t *testing.T) {
	for name, broken := range map[string]platformtest.Program{
		"it cannot be started":     {SpawnError: errors.New("no such file")},
		"it ends as soon as it is": {Lives: time.Millisecond, Exit: failing},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := threeWebs()
			inBubble(t, cfg, func(spec platform.Spec, _ int) platformtest.Program {
				if slices.Contains(spec.Args, "--broken") {
					return broken
				}
				return platformtest.Program{}
			}, func(w *world) {
				others := w.pids("web-1", "web-3")
				next := edited(cfg, "web-2", func(c *config.Collector) { c.Args = []string{"--broken"} })
				for range 2 { // the second one tries again
					got := w.apply(next, false)
					if !strings.HasPrefix(got, "restart web-2: args differs ! reload web-2: could not be started") || !strings.Contains(got, "rolled back true\nkept 2") {
						w.Error(got)
					}
					settle()
					if i, err := w.Inspect(w.ctx, "web-2"); err != nil || i.State != messages.Running || len(i.Config.Args) != 0 {
						w.Errorf("%+v, %v", i, err)
					}
				}
				if !slices.Equal(w.pids("web-1", "web-3"), others) {
					w.Error("others were touched")
				}
				if !w.sawFact("", "ConfigApplied") {
					w.Error("nobody was told")
				}
			})
		})
	}
}

func TestAReloadStartsAgainWhatHasFailed(t *testing.T) {
	cfg := threeWebs()
	inBubble(t, cfg, func(spec platform.Spec, _ int) platformtest.Program {
		if spec.Label == "web-1" && len(spec.Args) == 0 {
			return platformtest.Program{Lives: time.Millisecond, Exit: failing}
		}
		return platformtest.Program{}
	}, func(w *world) {
		advance(time.Hour)
		w.want("web-1", messages.Failed)
		w.apply(edited(cfg, "web-1", func(c *config.Collector) { c.Args = []string{"--fixed"} }), false)
		w.want("web-1", messages.Running)
	})
}

func TestAReloadLeavesAloneWhatACommandHasMade(t *testing.T) {
	cfg := threeWebs()
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
		if _, err := w.Start(w.ctx, "guest", "", &config.Collector{BinaryPath: "/bin/guest"}); err != nil {
			w.Fatal(err)
		}
		if _, err := w.Stop(w.ctx, "web-2", 0); err != nil {
			w.Fatal(err)
		}
		guest := w.status("guest").PID
		if got := w.apply(cfg, false); got != "kept 3" {
			w.Error(got)
		}
		if w.want("guest", messages.Running).PID != guest {
			w.Error("the guest was replaced")
		}
		w.want("web-2", messages.Stopped)
		got := w.apply(edited(cfg, "web-2", func(c *config.Collector) { c.Args = []string{"-v"} }), false)
		if got != "update web-2: args differs, it is stopped: it is used by the next start\nkept 2" {
			w.Error(got)
		}
		w.want("web-2", messages.Stopped)
	})
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	cfg := threeWebs()
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
		before := w.pids("web-1", "web-2", "web-3")
		next := edited(cfg, "web-1", func(c *config.Collector) { c.MaxRestarts = -5 })
		delete(next.Collectors, "web-2")
		if _, err := w.Apply(w.ctx, next, false); !errors.Is(err, messages.InvalidConfig) || !strings.Contains(err.Error(), "collectors.web-1.max_restarts") {
			w.Error(err)
		}
		if !slices.Equal(w.pids("web-1", "web-2", "web-3"), before) {
			w.Error("something was touched")
		}
	})
}

// A command that meets a reload at any moment of it is answered, and so is the
// reload; and a stop wins.
func TestEveryCommandAtEveryMomentOfAReload(t *testing.T) {
	program := platformtest.Program{SpawnDelay: 10 * time.Millisecond, StopDelay: 10 * time.Millisecond}
	for _, command := range []string{"start", "stop", "kill", "restart", "pause", "resume", "signal", "remove", "shutdown"} {
		for at := time.Duration(0); at <= 30*time.Millisecond; at += 5 * time.Millisecond {
			t.Run(fmt.Sprintf("%s %v in", command, at), func(t *testing.T) {
				cfg := one("web", "db")
				inBubble(t, cfg, always(program), func(w *world) {
					w.mustStart("web")
					w.mustStart("db")
					next := edited(cfg, "web", func(c *config.Collector) { c.Args = []string{"-v"} })
					next = edited(next, "new", func(c *config.Collector) { c.Autostart = true })
					delete(next.Collectors, "db")
					answered := make(chan error, 1)
					go func() {
						_, err := w.Apply(w.ctx, next, false)
						answered <- err
					}()
					advance(at)
					w.begin(command)
					advance(time.Minute)
					select {
					case err := <-answered:
						if err != nil {
							w.Error(err)
						}
					default:
						w.Error("the reload was not answered")
					}
					if command == "stop" || command == "kill" || command == "shutdown" {
						if s := w.status("web"); s.State != messages.Stopped {
							w.Errorf("web is %v after a %s", s.State, command)
						}
					}
				})
			})
		}
	}
}

func TestEventsCarryWhoseCommandTheyComeFrom(t *testing.T) {
	inBubble(t, one("web"), always(platformtest.Program{}), func(w *world) {
		alice := messages.Origin{By: "uid 1000 (alice)", Correlation: "req-7"}
		if _, err := w.Start(messages.WithOrigin(w.ctx, alice), "web", "", nil); err != nil {
			w.Fatal(err)
		}
		if err := w.Resume(messages.WithOrigin(w.ctx, alice), "web"); !errors.Is(err, messages.InvalidState) {
			w.Fatal(err)
		}
		settle()
		audits := 0
		for _, e := range w.seen() {
			if e.ID == "web" && e.Fact != (messages.Added{Type: "web"}) && e.Origin != alice {
				w.Errorf("%T comes from %+v", e.Fact, e.Origin)
			}
			if a, ok := e.Fact.(messages.Audited); ok {
				audits++
				if a.Op == "start" && a.Err != nil || a.Op == "resume" && !errors.Is(a.Err, messages.InvalidState) {
					w.Errorf("%+v", a)
				}
			}
		}
		if audits != 2 {
			w.Errorf("%d audits", audits)
		}
		seen := len(w.seen())
		w.host.Crash("web", failing)
		settle()
		for _, e := range w.seen()[seen:] {
			if e.Origin != (messages.Origin{}) {
				w.Errorf("a crash is put down to %v: %T", e.Origin, e.Fact)
			}
		}
	})
}

func TestEventsCanBeHadFromAPointOn(t *testing.T) {
	inBubble(t, one("web"), always(platformtest.Program{}), func(w *world) {
		w.mustStart("web")
		all := w.since(messages.Since{Seq: 1})
		if len(all) == 0 || all[0].Seq != 1 {
			w.Fatalf("%+v", all)
		}
		if _, ok := all[0].Fact.(messages.Begun); !ok {
			w.Errorf("the first is a %T", all[0].Fact)
		}
		if some := w.since(messages.Since{Seq: 3}); len(some) != len(all)-2 || some[0].Seq != 3 {
			w.Errorf("%+v", some)
		}
		advance(time.Second)
		begin := time.Now()
		w.host.Crash("web", failing)
		settle()
		late := w.since(messages.Since{Time: begin})
		if len(late) == 0 || late[0].Seq != all[len(all)-1].Seq+1 {
			w.Errorf("%+v", late)
		}
		for range 3000 { // more than are kept
			_ = w.Signal(w.ctx, "web", "SIGUSR1", false)
			if _, err := w.Restart(w.ctx, "web", 0); err != nil {
				w.Fatal(err)
			}
		}
		kept := w.since(messages.Since{Seq: 1})
		lost, ok := kept[0].Fact.(messages.Lost)
		if !ok || lost.Count != kept[0].Seq || kept[1].Seq != kept[0].Seq+1 {
			w.Errorf("%+v then %+v", kept[0], kept[1])
		}
	})
}

// since is what a subscriber who asks for the past hears at once.
func (w *world) since(since messages.Since) (events []messages.Event) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	all, err := w.EventsSince(ctx, since)
	if err != nil {
		w.Fatal(err)
	}
	go func() {
		settle()
		cancel()
	}()
	for e := range all {
		events = append(events, e)
	}
	return events
}
