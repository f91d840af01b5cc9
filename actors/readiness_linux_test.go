package actors_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

func TestMain(m *testing.M) {
	if script := os.Getenv("ACTORS_TEST_SAYS"); script != "" {
		speak(script)
	}
	os.Exit(m.Run())
}

// speak is a process that tells of itself: words with pauses between them, and
// then it is there until it is ended. A last word "end" ends it.
func speak(script string) {
	_ = os.Unsetenv("ACTORS_TEST_SAYS")
	for word := range strings.SplitSeq(script, ";") {
		switch {
		case word == "end":
			os.Exit(0)
		case strings.HasPrefix(word, "wait "):
			d, _ := time.ParseDuration(word[5:])
			time.Sleep(d)
		case strings.HasPrefix(word, "print "):
			fmt.Println(word[6:])
		case word == "descriptor":
			_, _ = os.NewFile(3, "readiness").WriteString("\n")
		default:
			c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
			if err != nil {
				fmt.Println(err)
				os.Exit(9)
			}
			_, _ = c.Write([]byte(word))
			_ = c.Close()
		}
	}
	<-time.After(10 * time.Minute)
}

// speaker is a collector that says such things.
func speaker(t *testing.T, script string) config.Collector {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return config.Collector{BinaryPath: self, Env: map[string]string{"ACTORS_TEST_SAYS": script}, StartupTimeout: 10 * time.Second}
}

func speakers(t *testing.T, cfg config.Config) *actors.Supervisor {
	kept, err := actors.OpenCapture(t.TempDir(), os.Stdout, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	sup, err := actors.New(cfg, actors.WithCapture(kept))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	return sup
}

func TestAStartIsAnsweredWhenTheProcessSaysThatItIsReady(t *testing.T) {
	const pause = 150 * time.Millisecond
	for name, test := range map[string]struct {
		script string
		set    func(*config.Collector)
	}{
		"by sd_notify":    {"STATUS=loading;wait 150ms;READY=1\nSTATUS=at work", func(c *config.Collector) { c.Readiness = config.ReadyNotify }},
		"on a descriptor": {"wait 150ms;descriptor", func(c *config.Collector) { c.Readiness = config.ReadyFD }},
		"in its output": {"print starting;wait 150ms;print listening on 8080", func(c *config.Collector) {
			c.Readiness, c.ReadinessPattern, c.Output = config.ReadyLog, `listening on \d+`, config.Output{Target: config.OutputMemory, Also: []string{}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			one := speaker(t, test.script)
			test.set(&one)
			sup := speakers(t, config.Config{Collectors: map[string]config.Collector{"web": one}})
			began := time.Now()
			if _, err := sup.Start(t.Context(), "web", "", nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < pause {
				t.Errorf("it was answered after %v", took)
			}
			status, err := sup.Status(t.Context(), "web")
			if err != nil || status.State != messages.Running {
				t.Errorf("%+v, %v", status, err)
			}
			if name == "by sd_notify" && status.Said.Status != "at work" {
				t.Errorf("it says %+v", status.Said)
			}
		})
	}
}

func TestOneThatEndsOrGivesUpBeforeItIsReadyHasNotStarted(t *testing.T) {
	for name, test := range map[string]struct {
		script, want string
		set          func(*config.Collector)
	}{
		"it ends":                  {"STATUS=loading;end", "exit code 0", func(c *config.Collector) { c.Readiness = config.ReadyNotify }},
		"it is not ready in time":  {"STATUS=loading", "not ready within", func(c *config.Collector) { c.Readiness, c.StartupTimeout = config.ReadyNotify, 200*time.Millisecond }},
		"it closes the descriptor": {"end", "", func(c *config.Collector) { c.Readiness = config.ReadyFD }},
		"it never prints that line": {"print nothing of the kind", "not ready within", func(c *config.Collector) {
			c.Readiness, c.ReadinessPattern, c.StartupTimeout = config.ReadyLog, "listening", 200*time.Millisecond
		}},
	} {
		t.Run(name, func(t *testing.T) {
			one := speaker(t, test.script)
			test.set(&one)
			sup := speakers(t, config.Config{Collectors: map[string]config.Collector{"web": one}})
			_, err := sup.Start(t.Context(), "web", "", nil)
			if !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOneWhoseWatchdogHearsNothingIsRestarted(t *testing.T) {
	one := speaker(t, "READY=1;WATCHDOG=1;wait 100ms;WATCHDOG=1")
	one.Readiness, one.Watchdog, one.AutoRestart = config.ReadyNotify, 300*time.Millisecond, true
	sup := speakers(t, config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{"web": one}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events, err := sup.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sup.Start(ctx, "web", "", nil); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if exited, is := e.Fact.(messages.Exited); is {
			if exited.Expected || !strings.Contains(exited.Exit.Unhealthy, "its watchdog has heard nothing for") {
				t.Errorf("%+v", exited)
			}
			break
		}
	}
	if ctx.Err() != nil {
		t.Fatal("it was not ended")
	}
}

func TestACollectorThatIsNotToTellOfItselfHasNoSocket(t *testing.T) {
	sup := speakers(t, config.Config{Collectors: map[string]config.Collector{"web": speaker(t, "READY=1")}})
	if _, err := sup.Start(t.Context(), "web", "", nil); err != nil {
		t.Fatal(err)
	}
	events, err := sup.EventsSince(t.Context(), messages.Since{Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if exited, is := e.Fact.(messages.Exited); is {
			if exited.Exit.Code != 9 {
				t.Errorf("%+v", exited)
			}
			return
		}
	}
}

func TestOneThatWritesNothingIsDegradedAndThenRestarted(t *testing.T) {
	one := speaker(t, "print one;wait 200ms;print two")
	one.AutoRestart = true
	one.Output = config.Output{Target: config.OutputMemory, Also: []string{}}
	one.Activity = config.Activity{Source: config.ActivityStdout, MaxSilence: time.Second, RestartOnSilence: true}
	sup := speakers(t, config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{"web": one}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events, err := sup.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sup.Start(ctx, "web", "", nil); err != nil {
		t.Fatal(err)
	}
	degraded := false
	for e := range events {
		switch f := e.Fact.(type) {
		case messages.HealthChanged:
			degraded = degraded || f.To == messages.HealthDegraded
		case messages.Exited:
			if !degraded || f.Expected || !strings.HasPrefix(f.Exit.Unhealthy, "it has yielded nothing for 1") || f.Exit.Ran < time.Second {
				t.Errorf("degraded: %v, %+v", degraded, f)
			}
			return
		}
	}
	t.Error("it was not ended")
}
