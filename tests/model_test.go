package tests

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
	"pgregory.net/rapid"
)

// model is one collector as the documentation tells it, for processes that do
// at once what they are asked to: the reference that the real thing is compared
// with, step by step. It knows no actors, no messages and no order of events.
type model struct {
	known    bool
	state    string
	next     time.Duration // when a restart is due, on the bubble's clock
	restarts []time.Duration
	row      int
	count    int
	started  time.Duration
}

const (
	modelMax    = 3
	modelWindow = 300 * time.Second
)

// command is what a command is answered in the state, and what it leads to.
func (m *model) command(name string, now time.Duration) (answer string) {
	if !m.known && name != "start" {
		return "PROCESS_NOT_FOUND"
	}
	up := m.state == "running" || m.state == "paused"
	switch name {
	case "start", "restart":
		if name == "start" && up {
			return "ALREADY_RUNNING"
		}
		*m = model{known: true, state: "running", started: now}
	case "stop", "kill":
		if !up && m.state != "starting" {
			return "INVALID_STATE"
		}
		m.state, m.next = "stopped", 0
	case "pause":
		if m.state != "running" {
			return "INVALID_STATE"
		}
		m.state = "paused"
	case "resume":
		if m.state != "paused" {
			return "INVALID_STATE"
		}
		m.state = "running"
	case "signal":
		if !up {
			return "INVALID_STATE"
		}
	case "remove":
		if up || m.state == "starting" {
			return "INVALID_STATE"
		}
		*m = model{}
	}
	return "ok"
}

// crash is the end of a process that nobody asked for.
func (m *model) crash(code int, now time.Duration) {
	if m.state != "running" && m.state != "paused" {
		return
	}
	if code == 0 {
		m.state = "stopped"
		return
	}
	m.restarts = slices.DeleteFunc(m.restarts, func(at time.Duration) bool { return now-at >= modelWindow })
	if len(m.restarts) == modelMax {
		m.state = "failed"
		return
	}
	if now-m.started >= 10*time.Second {
		m.row = 0
	}
	delay := time.Duration(0)
	if m.row > 0 {
		delay = 100 * time.Millisecond << (m.row - 1)
	}
	m.row++
	m.restarts = append(m.restarts, now+delay)
	m.state, m.next = "starting", now+delay
	m.pass(now)
}

// pass lets time go on to now.
func (m *model) pass(now time.Duration) {
	if m.state == "starting" && now >= m.next {
		m.state, m.started, m.next = "running", m.next, 0
		m.count++
	}
}

type step struct {
	id, name string
	code     int
	wait     time.Duration
}

func (s step) String() string { return fmt.Sprintf("%s %s %d %v", s.name, s.id, s.code, s.wait) }

var drawStep = rapid.Custom(func(t *rapid.T) step {
	return step{
		id:   rapid.SampledFrom([]string{"web", "db"}).Draw(t, "id"),
		name: rapid.SampledFrom([]string{"start", "stop", "kill", "restart", "pause", "resume", "signal", "limit", "remove", "crash", "crash", "crash", "advance"}).Draw(t, "name"),
		code: rapid.SampledFrom([]int{1, 1, 1, 0}).Draw(t, "code"),
		wait: rapid.SampledFrom([]time.Duration{time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, time.Second, 11 * time.Second, 120 * time.Second, 301 * time.Second}).Draw(t, "wait"),
	}
})

func TestRandomCommandsAndFaultsDoWhatTheModelSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(drawStep, 1, 40).Draw(rt, "steps")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = compare(t, steps) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// compare does the steps, in the real thing and in the model, and says where
// they differ first.
func compare(t *testing.T, steps []step) (problem string) {
	cfg := one("web", "db")
	w := newWorld(t, cfg, nil)
	defer w.end()
	models := map[string]*model{"web": {known: true, state: "stopped"}, "db": {known: true, state: "stopped"}}
	began := time.Now()
	for i, s := range steps {
		m, now := models[s.id], time.Since(began)
		got, want := "", ""
		switch s.name {
		case "advance":
			advance(s.wait)
		case "crash":
			m.crash(s.code, now)
			w.host.Crash(s.id, platform.Exit{Code: s.code})
		case "start":
			want = m.command(s.name, now)
			c := cfg.Collectors[s.id]
			_, err := w.Start(w.ctx, s.id, "", &c)
			got = kindOf(err)
		default:
			want, got = m.command(s.name, now), w.about(s.id, s.name)
		}
		settle()
		now = time.Since(began)
		for id, m := range models {
			m.pass(now)
			if difference := w.compareOne(id, m); difference != "" || got != want {
				return fmt.Sprintf("step %d (%v): answered %q, want %q; %s", i, s, got, want, difference)
			}
		}
	}
	return ""
}

// about issues a command about a collector.
func (w *world) about(id, command string) string {
	var err error
	switch command {
	case "stop":
		_, err = w.Stop(w.ctx, id, 0)
	case "kill":
		_, err = w.Kill(w.ctx, id)
	case "restart":
		_, err = w.Restart(w.ctx, id, 0)
	case "pause":
		err = w.Pause(w.ctx, id)
	case "resume":
		err = w.Resume(w.ctx, id)
	case "signal":
		err = w.Signal(w.ctx, id, "INT", true)
	case "limit":
		_, err = w.Limit(w.ctx, id, map[string]string{"tasks_max": "9"})
	case "remove":
		err = w.Remove(w.ctx, id)
	}
	return kindOf(err)
}

func (w *world) compareOne(id string, m *model) string {
	s, err := w.Status(w.ctx, id)
	if !m.known {
		if kindOf(err) != "PROCESS_NOT_FOUND" {
			return fmt.Sprintf("%s is known", id)
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	processes := 0
	if m.state == "running" || m.state == "paused" {
		processes = 1
	}
	switch {
	case s.State.String() != m.state:
		return fmt.Sprintf("%s is %v (%s), want %s", id, s.State, s.Reason, m.state)
	case s.RestartCount != m.count:
		return fmt.Sprintf("%s was restarted %d times, want %d", id, s.RestartCount, m.count)
	case s.NextRestart.IsZero() != (m.state != "starting"):
		return fmt.Sprintf("%s is %v, next restart %v", id, s.State, s.NextRestart)
	case (s.PID != 0) != (processes == 1) || w.host.Living(id) != processes:
		return fmt.Sprintf("%s is %v with pid %d and %d processes", id, s.State, s.PID, w.host.Living(id))
	case w.host.Most(id) > 1:
		return fmt.Sprintf("%s had %d processes at once", id, w.host.Most(id))
	}
	return ""
}

// Callers, crashes and time all at once, with processes that behave in every
// way there is: nobody can say beforehand what comes of it, but the rules hold.
func TestRulesHoldUnderRandomConcurrentCommandsAndFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		program := rapid.Custom(func(t *rapid.T) platformtest.Program {
			delay := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 7 * time.Second, 40 * time.Second})
			p := platformtest.Program{
				SpawnDelay: delay.Draw(t, "spawn"), StopDelay: delay.Draw(t, "stop"), KillDelay: delay.Draw(t, "kill"),
				Lives: rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 3 * time.Second}).Draw(t, "lives"),
				Deaf:  rapid.Bool().Draw(t, "deaf"), Leaves: rapid.Bool().Draw(t, "leaves"), LeftDeaf: rapid.Bool().Draw(t, "left deaf"),
				Exit: platform.Exit{Code: rapid.IntRange(0, 2).Draw(t, "code")},
			}
			if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
				p.SpawnError = &config.NotFoundError{Type: "web"}
			}
			return p
		})
		programs := rapid.SliceOfN(program, 1, 6).Draw(rt, "programs")
		steps := rapid.SliceOfN(drawStep, 1, 30).Draw(rt, "steps")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = storm(t, programs, steps) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func storm(t *testing.T, programs []platformtest.Program, steps []step) string {
	w := newWorld(t, one("web", "db"), func(_ platform.Spec, nth int) platformtest.Program {
		return programs[nth%len(programs)]
	})
	defer w.end()
	answers := make(chan string, len(steps))
	asked := 0
	for _, s := range steps {
		switch s.name {
		case "advance":
			time.Sleep(s.wait)
		case "crash":
			w.host.Crash(s.id, platform.Exit{Code: s.code})
		case "start":
			asked++
			go func() {
				_, err := w.Start(w.ctx, s.id, "web", nil)
				answers <- kindOf(err)
			}()
		default:
			asked++
			go func() { answers <- w.about(s.id, s.name) }()
		}
	}
	for range asked {
		select {
		case answer := <-answers:
			if answer == "INTERNAL" || answer == "TIMEOUT" {
				return "somebody was answered " + answer
			}
		case <-time.After(24 * time.Hour):
			return "a caller was not answered within a day"
		}
	}
	for _, id := range []string{"web", "db"} {
		if w.host.Most(id) > 1 {
			return fmt.Sprintf("%s had %d processes at once", id, w.host.Most(id))
		}
	}
	r, err := w.Shutdown(w.ctx, 0)
	if err != nil || len(r.Left) > 0 && r.Left[0].Reason == "" {
		return fmt.Sprintf("shutdown: %+v, %v", r, err)
	}
	advance(time.Hour) // what took longer to die than it had is gone
	if left := w.host.Left(); len(left) > 0 {
		return fmt.Sprintf("left after the shutdown: %v", left)
	}
	list, err := w.List(w.ctx)
	if err != nil {
		return err.Error()
	}
	for _, s := range list {
		if s.State != messages.Stopped && s.State != messages.Failed || s.PID != 0 {
			return fmt.Sprintf("%s is %v with pid %d after the shutdown", s.ID, s.State, s.PID)
		}
	}
	return ""
}
