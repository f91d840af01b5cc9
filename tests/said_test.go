package tests

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/collector/notify"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
)

// told are sockets on which a test says what a process would.
type told struct {
	mu   sync.Mutex // between the actors that make them and the test
	hear []func(notify.Message)
}

func (s *told) listen(hear func(notify.Message)) notify.Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear = append(s.hear, hear)
	return silent{}
}

// say has the last process that was made say something.
func (s *told) say(m notify.Message) {
	s.mu.Lock()
	hear := s.hear[len(s.hear)-1]
	s.mu.Unlock()
	hear(m)
	settle()
}

// silent is a socket that nobody writes to.
type silent struct{}

func (silent) Address() string       { return "@test" }
func (silent) Open() error           { return nil }
func (silent) Attend(func(int) bool) {}
func (silent) Close()                {}

func TestAWatchdogEndsWhatSaysNothingInTimeAndLeavesAloneWhatDoes(t *testing.T) {
	var s told
	cfg := started(config.Config{Collectors: map[string]config.Collector{"web": {Watchdog: 10 * time.Second}}})
	inBubble(t, cfg, nil, func(w *world) {
		first := w.want("web", messages.Running).PID
		for range 20 {
			advance(9 * time.Second)
			s.say(notify.Message{Watchdog: notify.WatchdogReset})
		}
		if pid := w.want("web", messages.Running).PID; pid != first {
			t.Errorf("it was restarted")
		}
		// One that is paused cannot say anything, and need not.
		if err := w.Pause(w.ctx, "web"); err != nil {
			t.Fatal(err)
		}
		advance(time.Hour)
		w.want("web", messages.Paused)
		if err := w.Resume(w.ctx, "web"); err != nil {
			t.Fatal(err)
		}
		advance(9 * time.Second)
		if pid := w.want("web", messages.Running).PID; pid != first {
			t.Errorf("it was restarted for what it did not say while it was paused")
		}
		advance(time.Minute) // it does not obey the watchdog's signal
		status := w.status("web")
		if status.PID == first || status.LastExit == nil || !strings.Contains(status.LastExit.Unhealthy, "its watchdog has heard nothing for") {
			t.Errorf("%+v", status)
		}
	}, actors.WithListen(s.listen))
}

func TestOneThatSendsHeartbeatsIsUnhealthyWhenTheyStopComing(t *testing.T) {
	var s told
	cfg := started(config.Config{
		ProcessManager: config.ProcessManager{HealthCheckInterval: 10 * time.Second, HeartbeatTimeoutMultiplier: 3},
		Collectors:     map[string]config.Collector{"web": {Notify: config.On}},
	})
	inBubble(t, cfg, nil, func(w *world) {
		first := w.want("web", messages.Running).PID
		advance(time.Hour) // it has never sent one: so it need not
		if pid := w.want("web", messages.Running).PID; pid != first {
			t.Fatal("it was restarted, and had never sent a heartbeat")
		}
		s.say(notify.Message{Heartbeat: true})
		advance(29 * time.Second)
		s.say(notify.Message{Heartbeat: true})
		advance(29 * time.Second)
		if pid := w.want("web", messages.Running).PID; pid != first {
			t.Fatal("it was restarted although they came")
		}
		advance(2 * time.Second)
		status := w.status("web")
		if status.PID == first || !strings.Contains(status.LastExit.Unhealthy, "it has sent no heartbeat for") {
			t.Errorf("%+v", status)
		}
	}, actors.WithListen(s.listen))
}

func TestAProcessMayAskForMoreTimeUntilItIsReady(t *testing.T) {
	var s told
	cfg := started(config.Config{Collectors: map[string]config.Collector{"web": {Readiness: config.ReadyNotify, StartupTimeout: 10 * time.Second}}})
	inBubble(t, cfg, nil, func(w *world) {
		first := w.want("web", messages.Starting).PID
		advance(9 * time.Second)
		s.say(notify.Message{Extend: 20 * time.Second})
		advance(15 * time.Second)
		if pid := w.want("web", messages.Starting).PID; pid != first {
			t.Error("it was restarted within the time that it has asked for")
		}
		s.say(notify.Message{Ready: true})
		if pid := w.want("web", messages.Running).PID; pid != first {
			t.Error("another one is ready")
		}
	}, actors.WithListen(s.listen))
}

func TestWhatAProcessSaysIsShownAndOneOfAnEarlierProcessIsNot(t *testing.T) {
	var s told
	cfg := started(config.Config{Collectors: map[string]config.Collector{"web": {Notify: config.On}}})
	inBubble(t, cfg, nil, func(w *world) {
		s.say(notify.Message{HasStatus: true, Status: "12 connections"})
		if said := w.status("web").Said.Status; said != "12 connections" {
			t.Errorf("it says %q", said)
		}
		old := s.hear[0]
		w.host.Crash("web", failing)
		settle()
		old(notify.Message{HasStatus: true, Status: "I am gone"})
		settle()
		if said := w.status("web").Said.Status; said != "" {
			t.Errorf("the new one says %q", said)
		}
	}, actors.WithListen(s.listen))
}

// working is a collector whose status has a number that is to grow.
func working(a config.Activity) config.Config {
	a.Source = config.ActivityNotify
	return started(config.Config{Collectors: map[string]config.Collector{"web": {Activity: a}}})
}

func TestOneThatYieldsNothingForTooLongIsDegradedUntilItDoes(t *testing.T) {
	var s told
	inBubble(t, working(config.Activity{MaxSilence: time.Minute}), nil, func(w *world) {
		said := func(n int) { s.say(notify.Message{HasStatus: true, Status: fmt.Sprintf("%d events of 3 kinds", n)}) }
		first := w.want("web", messages.Running).PID
		for n := range 10 {
			said(n + 1)
			advance(50 * time.Second)
			if status := w.status("web"); status.Health != messages.HealthHealthy {
				t.Fatalf("%v: %v", status.Health, status.HealthReasons)
			}
		}
		advance(30 * time.Second)
		status := w.status("web")
		if status.Health != messages.HealthDegraded || !strings.HasPrefix(status.HealthReasons[0], "it has yielded nothing for 1m") {
			t.Errorf("%v: %v", status.Health, status.HealthReasons)
		}
		s.say(notify.Message{HasStatus: true, Status: "resting"}) // no number says nothing
		advance(15 * time.Second)
		if status := w.status("web"); status.Health != messages.HealthDegraded {
			t.Errorf("%v: %v", status.Health, status.HealthReasons)
		}
		said(11)
		advance(15 * time.Second)
		if status := w.status("web"); status.Health != messages.HealthHealthy || status.PID != first {
			t.Errorf("%+v", status)
		}
		// While it is paused it need not.
		if err := w.Pause(w.ctx, "web"); err != nil {
			t.Fatal(err)
		}
		advance(time.Hour)
		if err := w.Resume(w.ctx, "web"); err != nil {
			t.Fatal(err)
		}
		advance(50 * time.Second)
		if status := w.status("web"); status.Health != messages.HealthHealthy {
			t.Errorf("%v: %v", status.Health, status.HealthReasons)
		}
	}, actors.WithListen(s.listen))
}

func TestOneThatIsToBeRestartedOnSilenceIsWithThatReason(t *testing.T) {
	var s told
	inBubble(t, working(config.Activity{MaxSilence: time.Minute, RestartOnSilence: true}), nil, func(w *world) {
		first := w.want("web", messages.Running).PID
		advance(80 * time.Second)
		status := w.want("web", messages.Running)
		if status.PID == first || status.RestartCount != 1 || !strings.HasPrefix(status.LastExit.Unhealthy, "it has yielded nothing for 1m") {
			t.Errorf("%+v", status)
		}
		degraded := false
		for _, e := range w.seen() {
			if h, is := e.Fact.(messages.HealthChanged); is && h.To == messages.HealthDegraded {
				degraded = true
			}
		}
		if !degraded {
			t.Error("nobody was told that it was degraded")
		}
	}, actors.WithListen(s.listen))
}

func TestOneThatYieldsTooLittleInAMinuteIsDegraded(t *testing.T) {
	var s told
	inBubble(t, working(config.Activity{MinPerMinute: 10}), nil, func(w *world) {
		n := 0
		minute := func(perSecond int) {
			for range 120 {
				advance(time.Second)
				n += perSecond
				s.say(notify.Message{HasStatus: true, Status: fmt.Sprint(n, " events")})
			}
		}
		minute(1)
		if status := w.status("web"); status.Health != messages.HealthHealthy {
			t.Errorf("%v: %v", status.Health, status.HealthReasons)
		}
		minute(0)
		status := w.status("web")
		if status.Health != messages.HealthDegraded || status.HealthReasons[0] != "it has yielded 0 in the last minute, and 10 is the least (the number in its status)" {
			t.Errorf("%v: %v", status.Health, status.HealthReasons)
		}
		minute(5)
		if status := w.status("web"); status.Health != messages.HealthHealthy {
			t.Errorf("%v: %v", status.Health, status.HealthReasons)
		}
	}, actors.WithListen(s.listen))
}

func TestAStopOfOneThatIsNotReadyYetHasTheTimeThatItIsGiven(t *testing.T) {
	var s told
	cfg := started(config.Config{Collectors: map[string]config.Collector{"web": {Readiness: config.ReadyNotify}}})
	inBubble(t, cfg, always(platformtest.Program{Deaf: true}), func(w *world) {
		w.want("web", messages.Starting)
		before := time.Now()
		exit, err := w.Stop(w.ctx, "web", 2*time.Second)
		if err != nil || !exit.Forced {
			t.Errorf("%+v, %v", exit, err)
		}
		if took := time.Since(before); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	}, actors.WithListen(s.listen))
}
