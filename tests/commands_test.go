package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
)

// situations bring a collector called web into each state there is, in each of
// the ways that differ for a command.
var situations = []struct {
	name    string
	program platformtest.Program
	bring   func(w *world)
}{
	{"unknown", platformtest.Program{}, func(w *world) {
		if err := w.Remove(w.ctx, "web"); err != nil {
			w.Fatal(err)
		}
	}},
	{"stopped", platformtest.Program{}, func(*world) {}},
	{"starting", platformtest.Program{SpawnDelay: time.Second}, func(w *world) { w.begin("start") }},
	{"running", platformtest.Program{}, func(w *world) { w.mustStart("web") }},
	{"paused", platformtest.Program{}, func(w *world) {
		w.mustStart("web")
		if err := w.Pause(w.ctx, "web"); err != nil {
			w.Fatal(err)
		}
	}},
	{"stopping", platformtest.Program{StopDelay: time.Second}, func(w *world) {
		w.mustStart("web")
		w.begin("stop")
	}},
	{"waiting for a restart", platformtest.Program{}, func(w *world) {
		w.mustStart("web")
		w.host.Crash("web", failing)
		settle()
		w.host.Crash("web", failing)
		settle()
		if w.status("web").NextRestart.IsZero() {
			w.Fatal("no restart is due")
		}
	}},
	{"failed", platformtest.Program{SpawnError: &config.NotFoundError{Type: "web"}}, func(w *world) {
		if _, err := w.Start(w.ctx, "web", "", nil); kindOf(err) != "SPAWN_FAILED" {
			w.Fatal(err)
		}
	}},
	{"failed and still there", platformtest.Program{Unkillable: true}, func(w *world) {
		w.mustStart("web")
		if _, err := w.Kill(w.ctx, "web"); kindOf(err) != "TERMINATE_FAILED" {
			w.Fatal(err)
		}
	}},
}

// begin issues a command whose answer nobody waits for.
func (w *world) begin(command string) {
	go func() { _ = w.do(command) }()
	settle()
}

// do issues a command about web and says what came of it.
func (w *world) do(command string) string {
	var err error
	switch command {
	case "start":
		_, err = w.Start(w.ctx, "web", "web", nil)
	case "stop":
		_, err = w.Stop(w.ctx, "web", 0)
	case "kill":
		_, err = w.Kill(w.ctx, "web")
	case "restart":
		_, err = w.Restart(w.ctx, "web", 0)
	case "pause":
		err = w.Pause(w.ctx, "web")
	case "resume":
		err = w.Resume(w.ctx, "web")
	case "signal":
		err = w.Signal(w.ctx, "web", "int", false)
	case "limit":
		_, err = w.Limit(w.ctx, "web", map[string]string{"memory_max_mb": "5"})
	case "status":
		_, err = w.Status(w.ctx, "web")
	case "health":
		_, _, err = w.Health(w.ctx, "web")
	case "list":
		_, err = w.List(w.ctx)
	case "remove":
		err = w.Remove(w.ctx, "web")
	case "shutdown":
		_, err = w.Shutdown(w.ctx, 0)
	default:
		w.Fatalf("no command %q", command)
	}
	return kindOf(err)
}

// The cells of command × state: the answer, and the state that it leaves.
func TestEveryCommandInEveryState(t *testing.T) {
	const cells = `
command  | unknown                  | stopped          | starting             | running               | paused                | stopping              | waiting for a restart | failed                | failed and still there
start    | ok running               | ok running       | ALREADY_RUNNING -    | ALREADY_RUNNING -     | ALREADY_RUNNING -     | ALREADY_RUNNING -     | ok running            | SPAWN_FAILED failed   | INVALID_STATE failed
stop     | PROCESS_NOT_FOUND -      | INVALID_STATE -  | ok stopped           | ok stopped            | ok stopped            | ok stopped            | ok stopped            | INVALID_STATE failed  | INVALID_STATE failed
kill     | PROCESS_NOT_FOUND -      | INVALID_STATE -  | ok stopped           | ok stopped            | ok stopped            | ok stopped            | ok stopped            | INVALID_STATE failed  | INVALID_STATE failed
restart  | PROCESS_NOT_FOUND -      | ok running       | ok running           | ok running            | ok running            | ok running            | ok running            | SPAWN_FAILED failed   | INVALID_STATE failed
pause    | PROCESS_NOT_FOUND -      | INVALID_STATE -  | INVALID_STATE -      | ok paused             | INVALID_STATE paused  | INVALID_STATE -       | INVALID_STATE -       | INVALID_STATE failed  | INVALID_STATE failed
resume   | PROCESS_NOT_FOUND -      | INVALID_STATE -  | INVALID_STATE -      | INVALID_STATE running | ok running            | INVALID_STATE -       | INVALID_STATE -       | INVALID_STATE failed  | INVALID_STATE failed
signal   | PROCESS_NOT_FOUND -      | INVALID_STATE -  | INVALID_STATE -      | ok running            | ok paused             | ok -                  | INVALID_STATE -       | INVALID_STATE failed  | INVALID_STATE failed
limit    | PROCESS_NOT_FOUND -      | ok stopped       | ok running           | ok running            | ok paused             | ok -                  | ok starting           | ok failed             | ok failed
status   | PROCESS_NOT_FOUND -      | ok stopped       | ok starting          | ok running            | ok paused             | ok stopping           | ok starting           | ok failed             | ok failed
health   | PROCESS_NOT_FOUND -      | ok stopped       | ok starting          | ok running            | ok paused             | ok stopping           | ok starting           | ok failed             | ok failed
list     | ok -                     | ok stopped       | ok starting          | ok running            | ok paused             | ok stopping           | ok starting           | ok failed             | ok failed
remove   | PROCESS_NOT_FOUND -      | ok -             | INVALID_STATE -      | INVALID_STATE running | INVALID_STATE paused  | INVALID_STATE -       | INVALID_STATE -       | ok -                  | INVALID_STATE failed
shutdown | ok -                     | ok stopped       | ok stopped           | ok stopped            | ok stopped            | ok stopped            | ok stopped            | ok failed             | ok failed
`
	lines := strings.Split(strings.TrimSpace(cells), "\n")
	for _, line := range lines[1:] {
		columns := strings.Split(line, "|")
		command := strings.TrimSpace(columns[0])
		for i, situation := range situations {
			var answer, state string
			_, _ = fmt.Sscan(columns[i+1], &answer, &state)
			t.Run(command+" when "+situation.name, func(t *testing.T) {
				cfg := one("web")
				inBubble(t, cfg, always(situation.program), func(w *world) {
					situation.bring(w)
					if got := w.do(command); got != answer {
						w.Errorf("answered %s, want %s", got, answer)
					}
					if state != "-" {
						if got := w.status("web"); got.State.String() != state {
							w.Errorf("it is %v, want %s", got.State, state)
						}
					}
					advance(time.Hour)
					if n := w.host.Most("web"); n > 1 {
						w.Errorf("%d processes at once", n)
					}
					w.host.Release("web")
					advance(time.Hour)
				})
			})
		}
	}
}

// Two callers of every pair of commands at once: both are answered, and then
// everything works as before.
func TestTwoCallersOfEveryPairOfCommandsAtOnce(t *testing.T) {
	commands := []string{"start", "stop", "kill", "restart", "pause", "resume", "signal", "limit", "status", "health", "list", "remove", "shutdown"}
	for _, a := range commands {
		for _, b := range commands {
			t.Run(a+" and "+b, func(t *testing.T) {
				for _, situation := range situations[:7] {
					cfg := one("web")
					inBubble(t, cfg, always(situation.program), func(w *world) {
						situation.bring(w)
						answers := make(chan string, 2)
						go func() { answers <- w.do(a) }()
						go func() { answers <- w.do(b) }()
						for range 2 {
							select {
							case answer := <-answers:
								if strings.Contains(answer, "INTERNAL") {
									w.Errorf("%s: %s", situation.name, answer)
								}
							case <-time.After(time.Hour):
								w.Errorf("%s: a caller was not answered", situation.name)
							}
						}
						advance(time.Minute)
						if n := w.host.Most("web"); n > 1 {
							w.Errorf("%s: %d processes at once", situation.name, n)
						}
					})
				}
			})
		}
	}
}

func TestErrorsSayWhatWasTriedOnWhatAndWhatToDo(t *testing.T) {
	inBubble(t, one("web"), nil, func(w *world) {
		for want, err := range map[string]error{
			"stop db: not known: no collector has this id; status lists those there are": func() error { _, err := w.Stop(w.ctx, "db", 0); return err }(),
			"stop web: not possible while it is stopped: there is nothing to stop":       func() error { _, err := w.Stop(w.ctx, "web", 0); return err }(),
			"pause web: not possible while it is stopped: there is no process":           w.Pause(w.ctx, "web"),
		} {
			if err == nil || err.Error() != want {
				w.Errorf("got  %v\nwant %s", err, want)
			}
		}
		pid := w.mustStart("web")
		_, err := w.Start(w.ctx, "web", "", nil)
		if want := fmt.Sprintf("start web: already running: it is running with process %d; restart replaces it", pid); err == nil || err.Error() != want {
			w.Errorf("got %v", err)
		}
		_, err = w.Start(w.ctx, "../x", "web", nil)
		if kindOf(err) != "INVALID_CONFIG" {
			w.Error(err)
		}
		if w.want("web", messages.Running); len(w.host.Left()) != 1 {
			w.Errorf("what ran was touched: %v", w.host.Left())
		}
	})
}
