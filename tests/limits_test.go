package tests

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// inForce are the limits of a process, in words.
func (w *world) inForce(id string) string {
	l, within := w.host.Limits(id)
	text := fmt.Sprintf("memory %d, cpu %d, files %d", l.MemoryMax/mib, l.CPUPercent, l.OpenFiles)
	for _, g := range within {
		text += fmt.Sprintf("; %s: memory %d", g.Name, g.Limits.MemoryMax/mib)
	}
	return text
}

func (w *world) wantInForce(id, want string) {
	w.Helper()
	settle()
	if got := w.inForce(id); got != want {
		w.Errorf("%s has %s, want %s", id, got, want)
	}
}

// limit changes limits: "memory_max_mb=5 nice=none".
func (w *world) limit(id, changes string) (messages.LimitReply, error) {
	limits := map[string]string{}
	for change := range strings.FieldsSeq(changes) {
		key, value, _ := strings.Cut(change, "=")
		limits[key] = value
	}
	return w.Limit(w.ctx, id, limits)
}

func (w *world) mustLimit(id, changes string) messages.LimitReply {
	w.Helper()
	reply, err := w.limit(id, changes)
	if err != nil {
		w.Fatal(err)
	}
	return reply
}

func limitedWeb() config.Config {
	return started(config.Config{Collectors: map[string]config.Collector{"web": {ResourceLimits: config.ResourceLimits{MemoryMaxMB: 100, OpenFiles: 50}}}})
}

func TestLimitsChangeByReloadWithoutARestart(t *testing.T) {
	cfg := limitedWeb()
	inBubble(t, cfg, nil, func(w *world) {
		pid := w.status("web").PID
		w.wantInForce("web", "memory 100, cpu 0, files 50")
		next := edited(cfg, "web", func(c *config.Collector) {
			c.ResourceLimits = config.ResourceLimits{MemoryMaxMB: 200, CPUPercent: 30}
		})
		want := `update web: resource_limits.cpu_percent: 0 → 30, resource_limits.memory_max_mb: 100 → 200, resource_limits.open_files: 50 → 0
kept 0`
		if got := w.apply(next, false); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		w.wantInForce("web", "memory 200, cpu 30, files 0")
		if w.status("web").PID != pid {
			t.Error("it was restarted")
		}
	})
}

func TestLimitsThatCannotBePutInForceAreToldByTheReload(t *testing.T) {
	cfg := limitedWeb()
	inBubble(t, cfg, always(platformtest.Program{Unmet: []string{"cpu percent: it is forbidden"}}), func(w *world) {
		got := w.apply(edited(cfg, "web", func(c *config.Collector) { c.ResourceLimits.CPUPercent = 30 }), false)
		if want := "update web: resource_limits.cpu_percent: 0 → 30, not in force: cpu percent: it is forbidden\nkept 0"; got != want {
			t.Error(got)
		}
		if i, err := w.Inspect(w.ctx, "web"); err != nil || len(i.Unmet) != 1 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func TestRequiredLimitsThatCannotBeHadStayAsTheyWere(t *testing.T) {
	cfg := limitedWeb()
	inBubble(t, cfg, always(platformtest.Program{NoLimit: platform.ErrNotSupported}), func(w *world) {
		next := edited(cfg, "web", func(c *config.Collector) { c.ResourceLimits.CPUPercent, c.ResourceLimits.Required = 30, true })
		for range 2 { // the second one tries again
			if got := w.apply(next, false); !strings.HasPrefix(got, "update web: ") || !strings.Contains(got, "! reload web: not supported on this system") {
				t.Error(got)
			}
		}
		if _, err := w.limit("web", "cpu_percent=5"); !errors.Is(err, messages.PlatformNotSupported) {
			t.Error(err)
		}
		if i, err := w.Inspect(w.ctx, "web"); err != nil || i.Config.ResourceLimits.CPUPercent != 0 {
			t.Errorf("%+v, %v", i.Config.ResourceLimits, err)
		}
	})
}

func TestALimitThatWasSetLastsUntilTheConfigurationChanges(t *testing.T) {
	cfg := limitedWeb()
	inBubble(t, cfg, nil, func(w *world) {
		pid := w.status("web").PID
		reply := w.mustLimit("web", "memory_max_mb=300 open_files=none cpu_percent=70")
		if l := reply.Limits; l.MemoryMaxMB != 300 || l.OpenFiles != 0 || l.CPUPercent != 70 || len(reply.Unmet) > 0 {
			t.Errorf("%+v", reply)
		}
		w.wantInForce("web", "memory 300, cpu 70, files 0")
		if w.status("web").PID != pid {
			t.Error("it was restarted")
		}
		if i, err := w.Inspect(w.ctx, "web"); err != nil || i.Config.ResourceLimits.MemoryMaxMB != 300 {
			t.Errorf("%+v, %v", i, err)
		}
		if _, err := w.Restart(w.ctx, "web", 0); err != nil {
			t.Fatal(err)
		}
		w.wantInForce("web", "memory 300, cpu 70, files 0")
		if got := w.apply(cfg, false); got != "kept 1" {
			t.Error(got)
		}
		w.wantInForce("web", "memory 300, cpu 70, files 0")
		w.apply(edited(cfg, "web", func(c *config.Collector) { c.MaxRestarts = 9 }), false)
		w.wantInForce("web", "memory 100, cpu 0, files 50")
	})
}

func TestALimitOfWhatDoesNotRunIsForItsNextStart(t *testing.T) {
	inBubble(t, limitedWeb(), nil, func(w *world) {
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			t.Fatal(err)
		}
		w.mustLimit("web", "memory_max_mb=5")
		if _, err := w.Start(w.ctx, "web", "", nil); err != nil {
			t.Fatal(err)
		}
		w.wantInForce("web", "memory 5, cpu 0, files 50")
	})
}

func TestALimitOfWhatIsBeingStartedWaitsForItsProcess(t *testing.T) {
	inBubble(t, limitedWeb(), always(platformtest.Program{SpawnDelay: time.Second}), func(w *world) {
		begun := time.Now()
		w.mustLimit("web", "memory_max_mb=5")
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it took %v", took)
		}
		w.wantInForce("web", "memory 5, cpu 0, files 50")
	})
}

func TestALimitAndTheEndOfItsProcessMeet(t *testing.T) {
	inBubble(t, limitedWeb(), always(platformtest.Program{LimitDelay: time.Second}), func(w *world) {
		answers := make(chan error, 3)
		for _, change := range []string{"memory_max_mb=5", "memory_max_mb=6", "memory_max_mb=7"} {
			go func() {
				_, err := w.limit("web", change)
				answers <- err
			}()
			settle()
		}
		w.host.Crash("web", platform.Exit{Code: 3})
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		w.wantInForce("web", "memory 7, cpu 0, files 50")
	})
}

func TestLimitsThatCannotBeAreRefused(t *testing.T) {
	inBubble(t, limitedWeb(), nil, func(w *world) {
		for changes, want := range map[string]string{
			"":                      "say which limits",
			"memory=5":              "memory = 5: there is no such limit; there are cpu_percent",
			"nice=20":               "nice = 20: it is out of range; use -20 to 19, or none to lift it",
			"nice=x":                "nice = x: use a whole number",
			"cpu_affinity=3-1":      "cpu_affinity = 3-1: use numbers of processors",
			"limits_required=maybe": "use true or false",
			"memory_high_mb=500":    "memory_high_mb = 500 is never reached",
		} {
			if _, err := w.limit("web", changes); !errors.Is(err, messages.InvalidConfig) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", changes, err, want)
			}
		}
		if _, err := w.limit("nobody", "nice=1"); !errors.Is(err, messages.ProcessNotFound) {
			t.Error(err)
		}
		w.wantInForce("web", "memory 100, cpu 0, files 50")
	})
}

func TestWhoChangedLimitsIsTold(t *testing.T) {
	inBubble(t, limitedWeb(), nil, func(w *world) {
		alice := messages.Origin{By: "uid 1000 (alice)", Correlation: "req-7"}
		if _, err := w.Limit(messages.WithOrigin(w.ctx, alice), "web", map[string]string{"nice": "5"}); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, e := range w.seen() {
			if a, is := e.Fact.(messages.Audited); is && a.Op == "limit" && e.ID == "web" && e.Origin == alice && a.Err == nil {
				return
			}
		}
		t.Error("nobody was told")
	})
}

func nested() config.Config {
	return started(config.Config{
		Collectors: map[string]config.Collector{"a": {Group: "inner"}, "b": {Group: "outer"}, "c": {}},
		Groups: map[string]config.Group{
			"outer": {ResourceLimits: config.ResourceLimits{MemoryMaxMB: 500}},
			"inner": {Parent: "outer", ResourceLimits: config.ResourceLimits{MemoryMaxMB: 50}},
		},
	})
}

func TestLimitsOfGroupsAreNestedAndChangeInPlace(t *testing.T) {
	cfg := nested()
	inBubble(t, cfg, nil, func(w *world) {
		pids := fmt.Sprint(w.pids("a", "b", "c"))
		w.wantInForce("a", "memory 0, cpu 0, files 0; outer: memory 500; inner: memory 50")
		w.wantInForce("b", "memory 0, cpu 0, files 0; outer: memory 500")
		w.wantInForce("c", "memory 0, cpu 0, files 0")
		next := cfg
		next.Groups = maps.Clone(cfg.Groups)
		next.Groups["outer"] = config.Group{ResourceLimits: config.ResourceLimits{MemoryMaxMB: 600}}
		if got := w.apply(next, false); got != "update @outer: resource_limits.memory_max_mb: 500 → 600\nkept 3" {
			t.Error(got)
		}
		w.wantInForce("a", "memory 0, cpu 0, files 0; outer: memory 600; inner: memory 50")
		w.wantInForce("b", "memory 0, cpu 0, files 0; outer: memory 600")
		next = edited(next, "c", func(c *config.Collector) { c.Group, c.ResourceLimits.CPUPercent = "inner", 5 })
		next.Groups = cfg.Groups
		w.apply(next, false)
		w.wantInForce("b", "memory 0, cpu 0, files 0; outer: memory 500")
		w.wantInForce("c", "memory 0, cpu 5, files 0; outer: memory 500; inner: memory 50")
		if now := fmt.Sprint(w.pids("a", "b", "c")); now != pids {
			t.Errorf("processes %s, before %s", now, pids)
		}
	})
}

func TestACommandLimitsEachMemberOfAGroup(t *testing.T) {
	inBubble(t, nested(), nil, func(w *world) {
		w.mustLimit("@outer", "memory_max_mb=7")
		w.wantInForce("a", "memory 7, cpu 0, files 0; outer: memory 500; inner: memory 50")
		w.wantInForce("b", "memory 7, cpu 0, files 0; outer: memory 500")
		w.wantInForce("c", "memory 0, cpu 0, files 0")
		if _, err := w.limit("@outer", "memory_max=7"); !errors.Is(err, messages.InvalidConfig) {
			t.Error(err)
		}
	})
}

func TestOneThatUsesTooMuchMemoryForTooLongIsRestarted(t *testing.T) {
	cfg := started(config.Config{Collectors: map[string]config.Collector{"web": {
		ResourceLimits: config.ResourceLimits{MemorySoftMB: 90}, GracefulTimeout: 10 * time.Second,
	}}})
	inBubble(t, cfg, func(_ platform.Spec, nth int) platformtest.Program {
		p := platformtest.Program{StopDelay: 3 * time.Second, Usage: func(age time.Duration) platform.Usage {
			u := steady(age)
			if nth > 1 || age > 25*time.Second && age < 50*time.Second { // for a while it needs less
				u.Memory = 50 * mib
			}
			return u
		}}
		return p
	}, func(w *world) {
		advance(90 * time.Second)
		w.want("web", messages.Running)
		if n := w.status("web").RestartCount; n != 0 {
			t.Errorf("%d restarts", n)
		}
		advance(50 * time.Second) // since it began again that is more than 60
		s := w.status("web")
		if s.State != messages.Running || s.RestartCount != 1 || s.LastExit == nil || s.LastExit.Unhealthy != "it used more than 90 MB for 60 s" || s.LastExit.Forced || s.LastExit.Illness != messages.IllMemory || s.Totals.Unhealthy != 1 {
			t.Errorf("%+v\n%+v", s, s.LastExit)
		}
		advance(time.Hour)
		if s := w.status("web"); s.RestartCount != 1 {
			t.Errorf("%+v", s)
		}
		// Lifted, it is not looked at any more.
		w.mustLimit("web", "memory_soft_mb=none")
		looks := w.host.Looks("web")
		advance(time.Hour)
		if n := w.host.Looks("web"); n != looks {
			t.Errorf("somebody has looked %d times", n-looks)
		}
		// Set while it runs, it counts from then on.
		w.mustLimit("web", "memory_soft_mb=10 memory_soft_seconds=5")
		advance(20 * time.Second)
		if s := w.status("web"); s.RestartCount == 1 || s.LastExit.Unhealthy != "it used more than 10 MB for 5 s" {
			t.Errorf("%+v", s)
		}
	})
}
