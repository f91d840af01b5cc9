package tests

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// running is a configuration of web alone, with settings of its own, that starts
// by itself.
func running(settings func(*config.Collector)) config.Config {
	cfg := one("web")
	c := cfg.Collectors["web"]
	c.Autostart = true
	settings(&c)
	cfg.Collectors["web"] = c
	return cfg
}

func TestListedExitsAreASuccess(t *testing.T) {
	cfg := running(func(c *config.Collector) { c.SuccessExitCodes = []string{"3", "term"} })
	for name, exit := range map[string]platform.Exit{
		"by its code": {Code: 3}, "by its signal": {Code: -1, Signal: terminated(t)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
				w.host.Crash("web", exit)
				settle()
				if s := w.want("web", messages.Stopped); !strings.Contains(s.Reason, "it ended by itself") {
					w.Error(s.Reason)
				}
			})
		})
	}
}

func terminated(t *testing.T) platform.Signal {
	s, err := platform.ParseSignal("SIGTERM")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAfterListedExitsThereIsNoRestart(t *testing.T) {
	cfg := running(func(c *config.Collector) { c.NoRestartExitCodes = []string{"3"} })
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
		w.host.Crash("web", platform.Exit{Code: 4})
		settle()
		w.want("web", messages.Running)
		w.host.Crash("web", failing)
		advance(time.Hour)
		if s := w.want("web", messages.Failed); s.Reason != "exit code 3, which is in no_restart_exit_codes" {
			w.Error(s.Reason)
		}
	})
}

func TestOneThatHasFailedIsTriedAgainWithNothingCounted(t *testing.T) {
	cfg := running(func(c *config.Collector) { c.RetryFailedAfter = 10 * time.Minute })
	crashing := platformtest.Program{Lives: time.Millisecond, Exit: failing}
	inBubble(t, cfg, always(crashing), func(w *world) {
		advance(time.Minute)
		s := w.want("web", messages.Failed)
		if s.NextRestart.IsZero() || w.host.Starts("web") != 4 {
			w.Errorf("%+v, %d starts", s, w.host.Starts("web"))
		}
		advance(10 * time.Minute)
		w.want("web", messages.Failed)
		if n := w.host.Starts("web"); n != 8 {
			w.Errorf("%d starts", n)
		}
		// A stop beats the next try.
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			w.Error(err)
		}
		advance(time.Hour)
		w.want("web", messages.Stopped)
		if n := w.host.Starts("web"); n != 8 {
			w.Errorf("%d starts after a stop", n)
		}
	})
}

func TestATaskRunsToItsEndAndIsStoppedWithSuccess(t *testing.T) {
	cfg := running(func(c *config.Collector) { c.Kind = config.Task })
	inBubble(t, cfg, always(platformtest.Program{Lives: time.Minute}), func(w *world) {
		w.want("web", messages.Running)
		advance(time.Hour)
		if s := w.want("web", messages.Stopped); s.LastExit == nil || !s.LastExit.Success() || w.host.Starts("web") != 1 {
			w.Errorf("%+v", s)
		}
	})
}

func TestAResetForgetsWhatIsCounted(t *testing.T) {
	inBubble(t, running(func(*config.Collector) {}), always(platformtest.Program{}), func(w *world) {
		for range 2 {
			w.host.Crash("web", failing)
			advance(time.Second)
		}
		if i, err := w.Inspect(w.ctx, "web"); err != nil || i.RestartsLeft != 1 || i.RestartCount != 2 {
			w.Errorf("%+v, %v", i, err)
		}
		pid := w.status("web").PID
		if err := w.Reset(w.ctx, "web"); err != nil {
			w.Error(err)
		}
		if i, err := w.Inspect(w.ctx, "web"); err != nil || i.RestartsLeft != 3 || i.RestartCount != 0 || i.PID != pid {
			w.Errorf("%+v, %v", i, err)
		}
		for range 4 {
			w.host.Crash("web", failing)
			advance(time.Second)
		}
		w.want("web", messages.Failed)
		if err := w.Reset(w.ctx, "web"); err != nil {
			w.Error(err)
		}
		w.want("web", messages.Stopped)
		if err := w.Reset(w.ctx, "nobody"); !errors.Is(err, messages.ProcessNotFound) {
			w.Error(err)
		}
	})
}

func TestAStormOfCrashesIsSpreadOverTimeInTheOrderOfTheCrashes(t *testing.T) {
	const collectors, rate = 100, 10
	cfg := config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true, MaxSpawnsPerSecond: rate}, Collectors: map[string]config.Collector{}}
	for i := range collectors {
		cfg.Collectors[fmt.Sprintf("web-%d", i)] = config.Collector{AutoRestart: true, Autostart: true}
	}
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
		alive := func() (n int) {
			for i := range collectors {
				n += w.host.Living(fmt.Sprintf("web-%d", i))
			}
			return n
		}
		for i := range collectors {
			w.host.Crash(fmt.Sprintf("web-%d", i), failing)
			settle()
		}
		for second := range 9 {
			if n, want := alive(), rate*(second+1); n != want {
				w.Errorf("after %d s %d are there, want %d", second, n, want)
			}
			advance(time.Second)
		}
		if w.host.Living("web-99") != 1 {
			w.Error("the last one is not there yet")
		}
	})
}
