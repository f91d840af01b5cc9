package tests

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/collector"
	"github.com/proctord/proctor/collector/notify"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// hooked is a host on which the hooks of "web" are told apart from its processes,
// and which writes down what was started.
type hooked struct {
	mu       sync.Mutex // between the host and the test
	specs    []platform.Spec
	programs map[string]platformtest.Program // by label; else a hook ends at once, and a process runs
}

func (h *hooked) script(spec platform.Spec, _ int) platformtest.Program {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.specs = append(h.specs, spec)
	if p, ok := h.programs[spec.Label]; ok {
		return p
	}
	if strings.Contains(spec.Label, " ") {
		return platformtest.Program{Lives: time.Second}
	}
	return platformtest.Program{}
}

func (h *hooked) order() (labels []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.specs {
		labels = append(labels, s.Label)
	}
	return labels
}

// env is a variable of the last process with this label.
func (h *hooked) env(label, name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range slices.Backward(h.specs) {
		for _, kv := range s.Env {
			if k, v, _ := strings.Cut(kv, "="); s.Label == label && k == name {
				return v
			}
		}
	}
	return ""
}

// program is an absolute path.
func program(name string) string {
	if runtime.GOOS == "windows" {
		return `C:\bin\` + name + ".exe"
	}
	return "/bin/" + name
}

func allHooks() config.Collector {
	return config.Collector{
		AutoRestart: true,
		PreStart:    []string{program("pre-start"), "a"}, PostStart: []string{program("post-start")},
		PreStop: []string{program("pre-stop")}, PostExit: []string{program("post-exit")},
		ReloadCommand: []string{program("reload")}, User: "nobody",
	}
}

func web(c config.Collector) config.Config {
	return config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{"web": c}}
}

func TestHooksRunAroundTheLifeOfAProcessInOrder(t *testing.T) {
	var h hooked
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		pid := w.mustStart("web")
		if got := h.order(); !slices.Equal(got, []string{"web pre_start", "web", "web post_start"}) {
			t.Fatalf("started %v", got)
		}
		if err := w.ReloadCollector(w.ctx, "web"); err != nil {
			t.Error(err)
		}
		exit, err := w.Stop(w.ctx, "web", 0)
		if err != nil || exit.PID != pid || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}
		if got := h.order()[3:]; !slices.Equal(got, []string{"web reload_command", "web pre_stop", "web post_exit"}) {
			t.Errorf("started %v", got)
		}
		w.want("web", messages.Stopped)
	})
	for label, want := range map[string]map[string]string{
		"web pre_start":  {"PROCTOR_HOOK": "pre_start", "PROCTOR_COLLECTOR": "web", "PROCTOR_INCARNATION": "1", "PROCTOR_PID": ""},
		"web post_start": {"PROCTOR_HOOK": "post_start", "PROCTOR_PID": "1002", "MAINPID": "1002"},
		"web pre_stop":   {"PROCTOR_PID": "1002", "PROCTOR_REASON": "it was asked to stop"},
		"web post_exit":  {"PROCTOR_PID": "", "PROCTOR_EXIT": "exit code 0", "PROCTOR_EXIT_CODE": "0", "PROCTOR_EXPECTED": "true"},
	} {
		for name, value := range want {
			if got := h.env(label, name); got != value {
				t.Errorf("%s: %s = %q, want %q", label, name, got, value)
			}
		}
	}
	for _, s := range h.specs {
		if s.As.User != "nobody" {
			t.Errorf("%s runs as %q", s.Label, s.As.User)
		}
	}
}

func TestAPreStartThatFailsIsAFailedStartAndNothingElseIsStarted(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web pre_start": {Lives: time.Second, Exit: platform.Exit{Code: 3}}}}
	c := allHooks()
	c.AutoRestart = false
	inBubble(t, web(c), h.script, func(w *world) {
		_, err := w.Start(w.ctx, "web", "", nil)
		if !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "its pre_start failed: exit code 3") {
			t.Error(err)
		}
		if got := h.order(); !slices.Equal(got, []string{"web pre_start"}) {
			t.Errorf("started %v", got)
		}
		w.want("web", messages.Failed)
	})
}

func TestAStopWhileThePreStartRunsEndsThatAndStartsNothing(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web pre_start": {Lives: time.Hour}}}
	c := allHooks()
	c.HookTimeout = 2 * time.Hour
	inBubble(t, web(c), h.script, func(w *world) {
		answered := make(chan error, 1)
		go func() {
			_, err := w.Start(w.ctx, "web", "", nil)
			answered <- err
		}()
		advance(time.Minute)
		w.want("web", messages.Starting)
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			t.Error(err)
		}
		if err := <-answered; !errors.Is(err, messages.InvalidState) {
			t.Errorf("the start was answered with %v", err)
		}
		w.want("web", messages.Stopped)
		if got := h.order(); !slices.Equal(got, []string{"web pre_start"}) {
			t.Errorf("started %v", got)
		}
	})
}

func TestAHookThatTakesTooLongIsKilled(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web pre_start": {Deaf: true}}}
	c := allHooks()
	c.AutoRestart, c.HookTimeout = false, 5*time.Second
	inBubble(t, web(c), h.script, func(w *world) {
		before := time.Now()
		_, err := w.Start(w.ctx, "web", "", nil)
		if !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "still running after 5s") {
			t.Error(err)
		}
		if took := time.Since(before); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAPostStartThatFailsCountsAsACrash(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web post_start": {Lives: time.Second, Exit: platform.Exit{Code: 1}}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		_, err := w.Start(w.ctx, "web", "", nil)
		if !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "its post_start failed: exit code 1") {
			t.Error(err)
		}
		advance(time.Minute)
		status := w.want("web", messages.Failed)
		if !strings.Contains(status.LastExit.Unhealthy, "its post_start failed") || status.RestartCount != config.DefaultMaxRestarts {
			t.Errorf("%+v", status)
		}
		if h.env("web post_exit", "PROCTOR_EXPECTED") != "false" || h.env("web post_exit", "PROCTOR_REASON") == "" {
			t.Error("what ran after it was not told why")
		}
	})
}

func TestAPreStopThatHangsIsCutShortByTheGracefulTimeout(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web pre_stop": {Deaf: true}}}
	c := allHooks()
	c.GracefulTimeout = 3 * time.Second
	inBubble(t, web(c), h.script, func(w *world) {
		w.mustStart("web")
		before := time.Now()
		exit, err := w.Stop(w.ctx, "web", 0)
		if err != nil || !exit.Forced {
			t.Errorf("%+v, %v", exit, err)
		}
		if took := time.Since(before); took != 4*time.Second { // the hook after it takes one
			t.Errorf("it took %v", took)
		}
		w.want("web", messages.Stopped)
	})
}

func TestAPreStopThatFailsIsToldAndTheStopGoesOn(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web pre_stop": {SpawnError: errors.New("no such file")}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		w.mustStart("web")
		if exit, err := w.Stop(w.ctx, "web", 0); err != nil || exit.Forced {
			t.Errorf("%+v, %v", exit, err)
		}
		if !w.sawFact("web", "HookFailed") {
			t.Errorf("nobody was told: %v", w.facts("web"))
		}
	})
}

func TestAStopCommandTakesThePlaceOfTheSignalUnlessItFails(t *testing.T) {
	for name, fails := range map[string]bool{"it works": false, "it fails": true} {
		t.Run(name, func(t *testing.T) {
			h := hooked{programs: map[string]platformtest.Program{"web stop_command": {Lives: time.Second}}}
			if fails {
				h.programs["web stop_command"] = platformtest.Program{Lives: time.Second, Exit: platform.Exit{Code: 7}}
			}
			c := config.Collector{StopCommand: []string{program("ctl"), "stop"}, GracefulTimeout: 10 * time.Second}
			inBubble(t, web(c), h.script, func(w *world) {
				w.mustStart("web")
				if !fails { // it ends, as the command has asked it to
					go func() {
						time.Sleep(5 * time.Second)
						w.host.Crash("web", platform.Exit{})
					}()
				}
				exit, err := w.Stop(w.ctx, "web", 0)
				if err != nil || exit.Forced {
					t.Errorf("%+v, %v", exit, err)
				}
				if got := len(w.host.Signals("web")) > 0; got != fails {
					t.Errorf("signals: %v", w.host.Signals("web"))
				}
			})
		})
	}
}

func TestAStopSequenceSendsOneSignalAfterTheOtherUntilItEnds(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web": {Deaf: true}}}
	third := "QUIT"
	if runtime.GOOS == "windows" {
		third = "BREAK"
	}
	c := config.Collector{GracefulTimeout: 20 * time.Second, StopSequence: []config.StopStep{{Signal: "INT"}, {Signal: "TERM", After: 5 * time.Second}, {Signal: third, After: 2 * time.Second}}}
	inBubble(t, web(c), h.script, func(w *world) {
		w.mustStart("web")
		go func() { _, _ = w.Stop(w.ctx, "web", 0) }()
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{time.Second, 1}, {3 * time.Second, 1}, {time.Second, 2}, {time.Second, 2}, {time.Second, 3}, {5 * time.Second, 3}} {
			advance(step.after)
			if got := w.host.Signals("web"); len(got) != step.want {
				t.Fatalf("after another %v: %v", step.after, got)
			}
		}
		var names []string
		for _, s := range w.host.Signals("web") {
			names = append(names, s.Name())
		}
		if !slices.Equal(names, []string{"SIGINT", "SIGTERM", "SIG" + third}) {
			t.Errorf("got %v", names)
		}
		w.want("web", messages.Stopping)
		advance(8 * time.Second)
		if status := w.want("web", messages.Stopped); !status.LastExit.Forced {
			t.Errorf("%+v", status)
		}
	})
}

func TestWhatRunsAfterTheProcessIsOverBeforeAnotherIsStarted(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web post_exit": {Lives: 10 * time.Second}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		w.mustStart("web")
		w.host.Crash("web", platform.Exit{Code: 9})
		advance(5 * time.Second)
		w.want("web", messages.Stopping)
		if n := w.host.Starts("web"); n != 1 {
			t.Errorf("there are %d processes", n)
		}
		advance(10 * time.Second)
		w.want("web", messages.Running)
		if got := h.env("web post_exit", "PROCTOR_EXIT_CODE") + " " + h.env("web post_exit", "PROCTOR_EXPECTED"); got != "9 false" {
			t.Errorf("it was told %q", got)
		}
	})
}

func TestAStopWhileThePostExitRunsAfterACrashKeepsItDown(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web post_exit": {Lives: 10 * time.Second}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		w.mustStart("web")
		w.host.Crash("web", platform.Exit{Code: 9})
		advance(5 * time.Second)
		if exit, err := w.Stop(w.ctx, "web", 0); err != nil || exit.Code != 9 {
			t.Errorf("%+v, %v", exit, err)
		}
		advance(time.Minute)
		w.want("web", messages.Stopped)
	})
}

func TestAForcedStopDoesNotWaitForThePostExit(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web post_exit": {Deaf: true}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		w.mustStart("web")
		w.host.Crash("web", platform.Exit{Code: 9})
		advance(5 * time.Second)
		before := time.Now()
		if exit, err := w.Kill(w.ctx, "web"); err != nil || exit.Forced {
			t.Errorf("%+v, %v", exit, err)
		}
		if took := time.Since(before); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAReloadIsAnsweredWhenTheProcessSaysThatItHasReloaded(t *testing.T) {
	var s told
	var h hooked
	c := config.Collector{ReloadSignal: "INT", ReloadNotify: true, HookTimeout: 10 * time.Second}
	inBubble(t, web(c), h.script, func(w *world) {
		w.mustStart("web")
		reload := func() chan error {
			answered := make(chan error, 1)
			go func() { answered <- w.ReloadCollector(w.ctx, "web") }()
			settle()
			return answered
		}
		answered, joins := reload(), reload()
		s.say(notify.Message{Ready: true}) // an old one
		s.say(notify.Message{Reloading: true})
		advance(time.Second)
		select {
		case err := <-answered:
			t.Fatalf("answered with %v", err)
		default:
		}
		s.say(notify.Message{Ready: true})
		if err := errors.Join(<-answered, <-joins); err != nil {
			t.Error(err)
		}
		if got := w.host.Signals("web"); len(got) != 1 || got[0].Name() != "SIGINT" {
			t.Errorf("got %v", got)
		}
		if !w.sawFact("web", "Reloaded") {
			t.Errorf("nobody was told: %v", w.facts("web"))
		}
		if err := <-reload(); !errors.Is(err, messages.Timeout) {
			t.Errorf("one that says nothing: %v", err)
		}
		answered = reload()
		w.host.Crash("web", platform.Exit{Code: 1})
		if err := <-answered; !errors.Is(err, messages.InvalidState) {
			t.Errorf("one that has ended: %v", err)
		}
	}, actors.WithListen(s.listen))
}

func TestAReloadIsRefusedWhereNothingIsKnownThatWouldDoIt(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web reload_command": {Lives: time.Second, Exit: platform.Exit{Code: 2}}}}
	cfg := web(config.Collector{ReloadCommand: []string{program("ctl"), "reload"}})
	cfg.Collectors["plain"] = config.Collector{}
	inBubble(t, cfg, h.script, func(w *world) {
		w.mustStart("plain")
		if err := w.ReloadCollector(w.ctx, "plain"); !errors.Is(err, messages.InvalidConfig) {
			t.Error(err)
		}
		if err := w.ReloadCollector(w.ctx, "web"); !errors.Is(err, messages.InvalidState) {
			t.Error(err)
		}
		w.mustStart("web")
		if err := w.ReloadCollector(w.ctx, "web"); err == nil || !strings.Contains(err.Error(), "its reload_command failed: exit code 2") {
			t.Error(err)
		}
		w.want("web", messages.Running)
	})
}

func TestAStopOvertakesAReload(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web reload_command": {Deaf: true}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		w.mustStart("web")
		answered := make(chan error, 1)
		go func() { answered <- w.ReloadCollector(w.ctx, "web") }()
		advance(time.Second)
		if exit, err := w.Stop(w.ctx, "web", 0); err != nil || exit.Forced {
			t.Errorf("%+v, %v", exit, err)
		}
		if err := <-answered; !errors.Is(err, messages.InvalidState) {
			t.Error(err)
		}
	})
}

func TestAHeartbeatMayBePassedOnByWhoeverMayCommand(t *testing.T) {
	var h hooked
	cfg := web(config.Collector{AutoRestart: true})
	cfg.ProcessManager.HealthCheckInterval = 10 * time.Second
	inBubble(t, cfg, h.script, func(w *world) {
		if err := w.Heartbeat(w.ctx, "web", ""); !errors.Is(err, messages.InvalidState) {
			t.Errorf("of one that is stopped: %v", err)
		}
		first := w.mustStart("web")
		if err := w.Heartbeat(w.ctx, "web", "reading"); err != nil {
			t.Fatal(err)
		}
		if status := w.status("web"); status.Said.Status != "reading" || status.Said.Heartbeat.IsZero() {
			t.Errorf("%+v", status.Said)
		}
		advance(29 * time.Second)
		if err := w.Heartbeat(w.ctx, "web", ""); err != nil {
			t.Fatal(err)
		}
		advance(29 * time.Second)
		if status := w.want("web", messages.Running); status.PID != first {
			t.Fatal("it was restarted although they came")
		}
		advance(2 * time.Second)
		if status := w.status("web"); status.PID == first {
			t.Error("it was not restarted when they did not come")
		}
	})
}

// hookTrap is a trap whose pre_start makes whoever asks it to end panic.
type hookTrap struct{ trap }

type hookTrapped struct{ platform.Process }

func (h hookTrap) Start(spec platform.Spec, notify func(platform.Notice)) platform.Process {
	if strings.HasSuffix(spec.Label, "pre_start") {
		return hookTrapped{h.Host.Start(spec, notify)}
	}
	return h.trap.Start(spec, notify)
}

func (hookTrapped) Terminate() error { panic("a defect, on purpose") }

func TestAFaultLeavesNoHookBehind(t *testing.T) {
	child := actors.WithChild(func(id string, o collector.Options) *actor.Props {
		o.Host = hookTrap{trap{o.Host.(*platformtest.Host)}}
		return collector.Props(id, o)
	})
	t.Run("beside its process", func(t *testing.T) {
		h := hooked{programs: map[string]platformtest.Program{"web reload_command": {Deaf: true}}}
		inBubble(t, web(allHooks()), h.script, func(w *world) {
			w.mustStart("web")
			go func() { _ = w.ReloadCollector(w.ctx, "web") }()
			advance(time.Second)
			if err := w.Pause(w.ctx, "web"); kindOf(err) != "INTERNAL" {
				w.Errorf("the caller was answered %v", err)
			}
			advance(time.Minute)
			w.want("web", messages.Running)
			if w.host.Living("web reload_command") != 0 || w.host.Living("web") != 1 || w.host.Most("web") != 1 {
				w.Errorf("%v", w.host.Left())
			}
		}, child)
	})
	t.Run("before it", func(t *testing.T) {
		h := hooked{programs: map[string]platformtest.Program{"web pre_start": {Lives: time.Hour}}}
		inBubble(t, web(allHooks()), h.script, func(w *world) {
			go func() { _, _ = w.Start(w.ctx, "web", "", nil) }()
			advance(time.Second)
			_, _ = w.Stop(w.ctx, "web", 0)
			advance(time.Second)
			w.want("web", messages.Stopped)
			if n := w.host.Living("web pre_start"); n != 0 {
				w.Errorf("%d are left", n)
			}
		}, child)
	})
}

func TestAReloadPutsHooksAndProbesInForceForTheProcessThatRuns(t *testing.T) {
	var h hooked
	p := &patient{ill: map[string]bool{}, asked: map[string]int{}}
	before := web(config.Collector{AutoRestart: true})
	inBubble(t, before, h.script, func(w *world) {
		pid := w.mustStart("web")
		apply := func(c config.Collector) {
			t.Helper()
			c.AutoRestart = true
			reply, err := w.Apply(w.ctx, web(c), false)
			if err != nil || len(reply.Changes) != 1 || reply.Changes[0].Action != messages.Update {
				t.Fatalf("%+v, %v", reply, err)
			}
			if now := w.want("web", messages.Running).PID; now != pid {
				t.Fatal("it was restarted")
			}
		}
		ready := config.Probe{TCP: readiness, Period: time.Second}
		apply(config.Collector{
			StartupProbe: config.Probe{TCP: startup}, ReadinessProbe: ready, Liveness: config.Probe{TCP: liveness, Period: time.Second},
			ReloadCommand: []string{program("reload")}, PreStop: []string{program("pre-stop")},
			StopSequence: []config.StopStep{{Signal: "INT"}},
		})
		advance(10 * time.Second)
		if p.count(startup) != 0 || p.count(readiness) == 0 || p.count(liveness) == 0 {
			t.Errorf("asked %v", p.asked)
		}
		if err := w.ReloadCollector(w.ctx, "web"); err != nil {
			t.Error(err)
		}
		p.set(readiness, true)
		advance(10 * time.Second)
		if s := w.status("web"); s.Health != messages.HealthDegraded {
			t.Fatalf("%+v", s)
		}
		asked := p.count(liveness)
		apply(config.Collector{ReadinessProbe: ready, PreStop: []string{program("other")}, StopSequence: []config.StopStep{{Signal: "INT"}}})
		if s := w.status("web"); s.Health != messages.HealthDegraded {
			t.Errorf("what a probe that is the same has told is forgotten: %+v", s)
		}
		advance(10 * time.Second)
		if p.count(liveness) != asked {
			t.Error("a probe that is no more is asked")
		}
		if err := w.ReloadCollector(w.ctx, "web"); !errors.Is(err, messages.InvalidConfig) {
			t.Error(err)
		}
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			t.Error(err)
		}
		if got := h.order(); !slices.Equal(got, []string{"web", "web reload_command", "web pre_stop"}) {
			t.Errorf("started %v", got)
		}
		if s := w.host.Signals("web"); len(s) != 1 || s[0].Name() != "SIGINT" {
			t.Errorf("sent %v", s)
		}
	}, actors.WithProbes(p.ask))
}

func TestAReloadWhileAHookRunsLeavesThatAlone(t *testing.T) {
	h := hooked{programs: map[string]platformtest.Program{"web reload_command": {Lives: 5 * time.Second}}}
	inBubble(t, web(allHooks()), h.script, func(w *world) {
		w.mustStart("web")
		answered := make(chan error, 1)
		go func() { answered <- w.ReloadCollector(w.ctx, "web") }()
		advance(time.Second)
		if _, err := w.Apply(w.ctx, web(config.Collector{AutoRestart: true, User: "nobody"}), false); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			t.Error(err)
		}
		if got := h.order(); !slices.Equal(got, []string{"web pre_start", "web", "web post_start", "web reload_command"}) {
			t.Errorf("started %v", got)
		}
	})
}
