// Package tests is the story from outside: what a supervisor and its collectors
// do together, and the rules that hold the packages apart.
package tests

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

// world is a supervisor on a computer that exists in memory only, inside a
// bubble with a clock of its own: waiting takes no time.
type world struct {
	*testing.T
	*actors.Supervisor
	host   *platformtest.Host
	ctx    context.Context
	cancel func()

	mu     sync.Mutex // between the scenario and who writes down what happens
	events []messages.Event
}

// seen is what has happened so far.
func (w *world) seen() []messages.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

type script = func(spec platform.Spec, nth int) platformtest.Program

// always is the script of a host on which every process behaves the same.
func always(p platformtest.Program) script {
	return func(platform.Spec, int) platformtest.Program { return p }
}

// inBubble runs a scenario, ends it, and checks what must hold at the end of
// any: no process is left, there never were two of one collector, and the
// events came in order and without gaps.
func inBubble(t *testing.T, cfg config.Config, s script, scenario func(w *world), opts ...actors.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg, s, opts...)
		scenario(w)
		w.end()
	})
}

func newWorld(t *testing.T, cfg config.Config, s script, opts ...actors.Option) *world {
	w := &world{T: t, host: platformtest.New(s)}
	ctx, cancel := context.WithCancel(t.Context())
	w.ctx, w.cancel = ctx, cancel
	opts = append([]actors.Option{
		actors.WithHost(w.host), actors.WithEnvironment([]string{}),
		actors.WithRandom(func() float64 { return 0 }),
		actors.WithResolve(func(c config.Collector) (string, error) { return "/bin/" + c.Type, nil }),
	}, opts...)
	sup, err := actors.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	w.Supervisor = sup
	events, err := sup.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for e := range events {
			w.mu.Lock()
			w.events = append(w.events, e)
			w.mu.Unlock()
		}
	}()
	synctest.Wait()
	return w
}

func (w *world) end() {
	w.Helper()
	if err := w.Close(); err != nil {
		w.Error(err)
	}
	if err := w.host.Close(); err != nil {
		w.Log(err)
	}
	w.cancel()
	time.Sleep(time.Minute) // the library's own timers, such as its dead-letter throttle, run out
	synctest.Wait()
	if left := w.host.Left(); len(left) > 0 {
		w.Errorf("processes are left: %v", left)
	}
	if err := inOrder(w.seen()); err != nil {
		w.Error(err)
	}
}

// inOrder checks what every subscriber relies on.
func inOrder(events []messages.Event) error {
	shown := map[string]messages.State{}
	for i, e := range events {
		if i > 0 && e.Seq != events[i-1].Seq+1 {
			return fmt.Errorf("event %d follows event %d", e.Seq, events[i-1].Seq)
		}
		switch fact := e.Fact.(type) {
		case messages.StateChanged:
			if from, known := shown[e.ID]; known && from != fact.From {
				return fmt.Errorf("%s was %v, and then went from %v to %v", e.ID, from, fact.From, fact.To)
			}
			shown[e.ID] = fact.To
		case messages.Removed:
			delete(shown, e.ID) // who comes by that name next is another one
		}
	}
	return nil
}

// settle lets everything happen that does not have to wait for the clock.
func settle() { synctest.Wait() }

// advance lets time pass.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) status(id string) messages.Status {
	w.Helper()
	s, err := w.Status(w.ctx, id)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) mustStart(id string) int {
	w.Helper()
	pid, err := w.Start(w.ctx, id, "", nil)
	if err != nil {
		w.Fatal(err)
	}
	return pid
}

func (w *world) want(id string, state messages.State) messages.Status {
	w.Helper()
	s := w.status(id)
	if s.State != state {
		w.Errorf("%s is %v (%s), want %v", id, s.State, s.Reason, state)
	}
	return s
}

func (w *world) facts(id string) (all []string) {
	for _, e := range w.seen() {
		if e.ID == id {
			all = append(all, strings.TrimPrefix(fmt.Sprintf("%T", e.Fact), "messages."))
		}
	}
	return all
}

func (w *world) sawFact(id, name string) bool { return slices.Contains(w.facts(id), name) }

// one is a configuration of collectors that are restarted when they crash.
func one(ids ...string) config.Config {
	cfg := config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{}}
	for _, id := range ids {
		cfg.Collectors[id] = config.Collector{AutoRestart: true}
	}
	return cfg
}

func kindOf(err error) string {
	var e *messages.Error
	if errors.As(err, &e) {
		return e.Kind.Code()
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

var failing = platform.Exit{Code: 3}
