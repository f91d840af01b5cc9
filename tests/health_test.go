package tests

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// patient is what the probes of a scenario are answered: by the address that a
// TCP probe names.
type patient struct {
	mu    sync.Mutex // between the scenario and the goroutines that ask
	ill   map[string]bool
	asked map[string]int
}

func (p *patient) ask(_ context.Context, probe config.Probe, _ platform.Spec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[probe.TCP]++
	if p.ill[probe.TCP] {
		return errors.New("connection refused")
	}
	return nil
}

func (p *patient) set(address string, ill bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ill[address] = ill
}

func (p *patient) count(address string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[address]
}

// The addresses of the probes.
const (
	startup   = "startup:1"
	readiness = "readiness:1"
	liveness  = "liveness:1"
)

// probed runs a scenario with a collector called web that has probes, which are
// asked every second, and fails with the third bad answer.
func probed(t *testing.T, settings func(*config.Collector), ill []string, scenario func(w *world, p *patient)) {
	t.Helper()
	p := &patient{ill: map[string]bool{}, asked: map[string]int{}}
	for _, address := range ill {
		p.ill[address] = true
	}
	cfg := one("web")
	c := cfg.Collectors["web"]
	settings(&c)
	for _, probe := range []*config.Probe{&c.Liveness, &c.ReadinessProbe, &c.StartupProbe} {
		if probe.Set() {
			probe.Period = time.Second
		}
	}
	cfg.Collectors["web"] = c
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) { scenario(w, p) }, actors.WithProbes(p.ask))
}

func TestAStartIsAnsweredWhenTheReadinessProbeSucceeds(t *testing.T) {
	probed(t, func(c *config.Collector) {
		c.Readiness, c.ReadinessProbe = config.ReadyProbe, config.Probe{TCP: readiness}
	}, []string{readiness}, func(w *world, p *patient) {
		answered := make(chan error, 1)
		go func() {
			_, err := w.Start(w.ctx, "web", "", nil)
			answered <- err
		}()
		advance(10*time.Second + time.Millisecond)
		s := w.want("web", messages.Starting)
		if s.PID == 0 || s.Health != messages.HealthDegraded && s.Health != messages.HealthUnknown || len(answered) > 0 {
			w.Errorf("%+v, %d answers", s, len(answered))
		}
		if err := w.Pause(w.ctx, "web"); !errors.Is(err, messages.InvalidState) {
			w.Errorf("paused while it starts: %v", err)
		}
		p.set(readiness, false)
		advance(time.Second)
		if err := <-answered; err != nil {
			w.Error(err)
		}
		if s := w.want("web", messages.Running); s.Health != messages.HealthHealthy {
			w.Errorf("%v %v", s.Health, s.HealthReasons)
		}
	})
}

func TestOneThatIsNotReadyInTimeIsEndedAndThatCountsAsACrash(t *testing.T) {
	probed(t, func(c *config.Collector) {
		c.Readiness, c.ReadinessProbe, c.StartupTimeout = config.ReadyProbe, config.Probe{TCP: readiness}, 20*time.Second
	}, []string{readiness}, func(w *world, p *patient) {
		_, err := w.Start(w.ctx, "web", "", nil)
		if !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "it was not ready within 20s") {
			w.Error(err)
		}
		advance(time.Hour)
		if s := w.want("web", messages.Failed); !strings.Contains(s.Reason, "it was not ready within 20s four times within 300 s") || w.host.Starts("web") != 4 {
			w.Errorf("%s; %d starts", s.Reason, w.host.Starts("web"))
		}
	})
}

func TestOneThatEndsBeforeItIsReadyWasNotStarted(t *testing.T) {
	probed(t, func(c *config.Collector) {
		c.Readiness, c.ReadinessProbe, c.AutoRestart = config.ReadyProbe, config.Probe{TCP: readiness}, false
	}, []string{readiness}, func(w *world, p *patient) {
		answered := make(chan error, 1)
		go func() {
			_, err := w.Start(w.ctx, "web", "", nil)
			answered <- err
		}()
		advance(time.Second)
		w.host.Crash("web", failing)
		if err := <-answered; !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "it ended before it was ready: exit code 3") {
			w.Error(err)
		}
		settle()
		w.want("web", messages.Failed)
	})
}

func TestAStopComesBeforeReadiness(t *testing.T) {
	probed(t, func(c *config.Collector) {
		c.Readiness, c.ReadinessProbe = config.ReadyProbe, config.Probe{TCP: readiness}
	}, []string{readiness}, func(w *world, p *patient) {
		answered := make(chan error, 1)
		go func() {
			_, err := w.Start(w.ctx, "web", "", nil)
			answered <- err
		}()
		advance(time.Second)
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			w.Error(err)
		}
		if err := <-answered; !errors.Is(err, messages.InvalidState) {
			w.Error(err)
		}
		asked := p.count(readiness)
		advance(time.Minute)
		w.want("web", messages.Stopped)
		if p.count(readiness) != asked {
			w.Error("it is still asked")
		}
	})
}

func TestOneThatIsNotAliveIsReplacedWithinItsLimit(t *testing.T) {
	probed(t, func(c *config.Collector) { c.Liveness = config.Probe{TCP: liveness} }, nil, func(w *world, p *patient) {
		w.mustStart("web")
		advance(time.Minute)
		if s := w.want("web", messages.Running); s.Health != messages.HealthHealthy || s.RestartCount != 0 {
			w.Errorf("%+v", s)
		}
		p.set(liveness, true)
		advance(2500 * time.Millisecond) // two bad answers are not enough
		w.want("web", messages.Running)
		advance(time.Second)
		p.set(liveness, false)
		advance(time.Minute)
		s := w.want("web", messages.Running)
		if s.RestartCount != 1 || s.LastExit == nil || s.LastExit.String() != "its liveness probe failed 3 times in a row: connection refused" || s.Totals.Unhealthy != 1 {
			w.Errorf("%+v", s)
		}
		p.set(liveness, true)
		advance(time.Hour)
		if s := w.want("web", messages.Failed); !strings.Contains(s.Reason, "its liveness probe failed 3 times in a row") {
			w.Error(s.Reason)
		}
	})
}

func TestAnUnhealthyOneIsLeftRunningWhereThatIsAskedFor(t *testing.T) {
	probed(t, func(c *config.Collector) {
		c.Liveness, c.RestartOnUnhealthy = config.Probe{TCP: liveness}, config.Off
	}, nil, func(w *world, p *patient) {
		pid := w.mustStart("web")
		p.set(liveness, true)
		advance(time.Minute)
		s := w.want("web", messages.Running)
		if s.Health != messages.HealthUnhealthy || s.PID != pid || len(s.HealthReasons) != 1 || !strings.HasPrefix(s.HealthReasons[0], "its liveness probe failed") {
			w.Errorf("%+v", s)
		}
		if since := time.Since(s.HealthSince); since < 55*time.Second || since > time.Minute {
			w.Errorf("unhealthy for %v", since)
		}
		p.set(liveness, false)
		advance(time.Second)
		if s := w.status("web"); s.Health != messages.HealthHealthy {
			w.Errorf("%+v", s)
		}
		if !w.sawFact("web", "HealthChanged") {
			w.Error("nobody was told")
		}
	})
}

func TestOneThatIsNotReadyAnyMoreIsDegradedAndNotReplaced(t *testing.T) {
	probed(t, func(c *config.Collector) { c.ReadinessProbe = config.Probe{TCP: readiness} }, nil, func(w *world, p *patient) {
		pid := w.mustStart("web")
		advance(time.Second)
		p.set(readiness, true)
		advance(time.Hour)
		if s := w.want("web", messages.Running); s.Health != messages.HealthDegraded || s.PID != pid {
			w.Errorf("%+v", s)
		}
	})
}

func TestTheOtherProbesWaitForTheStartupProbe(t *testing.T) {
	probed(t, func(c *config.Collector) {
		c.StartupProbe, c.Liveness = config.Probe{TCP: startup, FailureThreshold: 30}, config.Probe{TCP: liveness}
	}, []string{startup, liveness}, func(w *world, p *patient) {
		w.mustStart("web")
		advance(20 * time.Second)
		if s := w.want("web", messages.Running); s.Health != messages.HealthUnknown || p.count(liveness) != 0 {
			w.Errorf("%+v; asked for liveness %d times", s, p.count(liveness))
		}
		p.set(startup, false)
		advance(time.Second)
		asked := p.count(startup)
		p.set(liveness, false)
		advance(20 * time.Second)
		if s := w.want("web", messages.Running); s.Health != messages.HealthHealthy || s.RestartCount != 0 || p.count(startup) != asked || p.count(liveness) == 0 {
			w.Errorf("%+v", s)
		}
	})
	probed(t, func(c *config.Collector) { c.StartupProbe = config.Probe{TCP: startup} }, []string{startup}, func(w *world, p *patient) {
		w.mustStart("web")
		advance(3 * time.Second)
		if s := w.status("web"); s.RestartCount != 1 || s.LastExit == nil || !strings.HasPrefix(s.LastExit.String(), "its startup probe failed") {
			w.Errorf("%+v", s)
		}
	})
}

func TestAPausedOneIsNotAsked(t *testing.T) {
	probed(t, func(c *config.Collector) { c.Liveness = config.Probe{TCP: liveness} }, nil, func(w *world, p *patient) {
		pid := w.mustStart("web")
		advance(10 * time.Second)
		if err := w.Pause(w.ctx, "web"); err != nil {
			w.Fatal(err)
		}
		asked := p.count(liveness)
		p.set(liveness, true)
		advance(time.Hour)
		if p.count(liveness) != asked {
			w.Error("it was asked while it was paused")
		}
		p.set(liveness, false)
		if err := w.Resume(w.ctx, "web"); err != nil {
			w.Fatal(err)
		}
		advance(10 * time.Second)
		if s := w.want("web", messages.Running); s.PID != pid || p.count(liveness) <= asked {
			w.Errorf("%+v", s)
		}
	})
}

func TestAnAnswerThatComesTooLateIsNotHeard(t *testing.T) {
	var release chan struct{} // it has to be made in the bubble
	cfg := one("web")
	c := cfg.Collectors["web"]
	c.Liveness = config.Probe{TCP: liveness, FailureThreshold: 1}
	cfg.Collectors["web"] = c
	first := true
	slow := func(context.Context, config.Probe, platform.Spec) error {
		if !first {
			return nil
		}
		first = false
		<-release
		return errors.New("too late")
	}
	inBubble(t, cfg, always(platformtest.Program{}), func(w *world) {
		release = make(chan struct{})
		w.mustStart("web")
		advance(time.Second)
		if _, err := w.Restart(w.ctx, "web", 0); err != nil {
			w.Fatal(err)
		}
		close(release)
		advance(time.Minute)
		if s := w.status("web"); s.Totals.Unhealthy != 0 || s.RestartCount != 0 {
			w.Errorf("the answer about the process before was taken for one about this: %+v", s)
		}
	}, actors.WithProbes(slow))
}
