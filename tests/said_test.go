package tests

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/collector/notify"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
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
