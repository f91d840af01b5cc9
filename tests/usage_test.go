package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

const mib = 1 << 20

// using is the script of a host on which every process uses what f says.
func using(f func(age time.Duration) platform.Usage) script {
	return always(platformtest.Program{Usage: f})
}

// steady holds 100 MiB in 3 tasks, and uses a quarter of a processor.
func steady(age time.Duration) platform.Usage {
	return platform.Usage{
		Known:  platform.HasCPU | platform.HasMemory | platform.HasTasks | platform.HasProcesses,
		Source: "procfs", UserTime: age / 4, Memory: 100 * mib, Tasks: 3, Processes: 1,
	}
}

// usages are what has been told of the use of resources, in words.
func (w *world) usages() (all []string) {
	for _, e := range w.seen() {
		switch f := e.Fact.(type) {
		case messages.UsageHigh:
			all = append(all, fmt.Sprintf("%s %d: %s above %d %% for %v: %.0f %%", e.ID, e.Incarnation, f.Resource, f.Threshold, f.For, f.Percent))
		case messages.UsageNormal:
			over := "again"
			if f.Ended {
				over = "ended"
			}
			all = append(all, fmt.Sprintf("%s %d: %s %s after %v", e.ID, e.Incarnation, f.Resource, over, f.Lasted.Round(time.Second)))
		}
	}
	return all
}

func limited(w config.Warnings) config.Config {
	return started(config.Config{Collectors: map[string]config.Collector{"web": {
		ResourceLimits: config.ResourceLimits{MemoryMaxMB: 200, TasksMax: 10}, Warn: w,
	}}})
}

func TestNobodyLooksAtWhatIsUsedUnlessAsked(t *testing.T) {
	inBubble(t, limited(config.Warnings{}), using(steady), func(w *world) {
		advance(24 * time.Hour)
		w.status("web")
		if _, err := w.Inspect(w.ctx, "web"); err != nil {
			t.Fatal(err)
		}
		if n := w.host.Looks("web"); n != 0 {
			t.Errorf("somebody has looked %d times", n)
		}
		if _, err := w.Usage(w.ctx, false, false); err != nil {
			t.Fatal(err)
		}
		advance(24 * time.Hour)
		if n := w.host.Looks("web"); n != 1 {
			t.Errorf("for one question somebody has looked %d times", n)
		}
	})
}

func TestTheUseOfTheProcessorIsToldOfTheTimeBeforeTheQuestion(t *testing.T) {
	// Nothing in the first hour, then all of one processor.
	late := func(age time.Duration) platform.Usage {
		u := steady(age)
		u.UserTime, u.SystemTime = max(age-time.Hour, 0), 0
		return u
	}
	inBubble(t, limited(config.Warnings{}), using(late), func(w *world) {
		advance(2 * time.Hour)
		asked := time.Now()
		ask := func() messages.Usage {
			t.Helper()
			reply, err := w.Usage(w.ctx, false, true, "web")
			if err != nil || len(reply.Collectors) != 1 {
				t.Fatal(reply, err)
			}
			return reply.Collectors[0].Usage
		}
		u := ask()
		if took := time.Since(asked); took != 250*time.Millisecond {
			t.Errorf("with nobody looking before, the answer took %v", took)
		}
		if !u.Has(messages.HasCPUPercent) || u.CPUPercent < 99 || u.CPUPercent > 101 || u.CPUOver != 250*time.Millisecond {
			t.Errorf("%+v", u)
		}
		advance(5 * time.Second)
		asked = time.Now()
		if u := ask(); time.Since(asked) != 0 || u.CPUOver != 5*time.Second {
			t.Errorf("the next answer took %v: %+v", time.Since(asked), u)
		}
	})
}

func TestAWarningBeginsAndEndsOnceEach(t *testing.T) {
	// 195 of 200 MiB from the second minute to the fifth, with a dip at the start.
	memory := func(age time.Duration) platform.Usage {
		u := steady(age)
		if age > time.Minute && age < 5*time.Minute && (age < 80*time.Second || age > 100*time.Second) {
			u.Memory = 195 * mib
		}
		return u
	}
	inBubble(t, limited(config.Warnings{MemoryPercent: 90}), using(memory), func(w *world) {
		advance(2 * time.Minute)
		if got := w.usages(); len(got) != 0 {
			t.Errorf("too early: %q", got)
		}
		advance(58 * time.Minute)
		want := []string{"web 1: memory above 90 % for 1m0s: 98 %", "web 1: memory again after 3m"}
		got := w.usages()
		if len(got) != 2 || got[0] != want[0] || !strings.HasPrefix(got[1], want[1]) {
			t.Errorf("got %q, want %q", got, want)
		}
		if looks := w.host.Looks("web"); looks > 60*4+1 {
			t.Errorf("%d looks in an hour", looks)
		}
	})
}

func TestAWarningEndsWithTheProcess(t *testing.T) {
	tasks := func(age time.Duration) platform.Usage {
		u := steady(age)
		u.Tasks = 10
		return u
	}
	inBubble(t, limited(config.Warnings{TasksPercent: 90, CPUPercent: 50, For: 10 * time.Second}), using(tasks), func(w *world) {
		advance(15 * time.Second)
		w.host.Crash("web", failing)
		advance(time.Second)
		want := []string{"web 1: tasks above 90 % for 10s: 100 %", "web 1: tasks ended after 13s"}
		if got := w.usages(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		// The next one is another story.
		advance(15 * time.Second)
		if got := w.usages(); len(got) != 3 || !strings.HasPrefix(got[2], "web 2: tasks above") {
			t.Errorf("got %q", got)
		}
		if _, err := w.Stop(w.ctx, "web", 0); err != nil {
			t.Fatal(err)
		}
		before := w.host.Looks("web")
		advance(time.Hour)
		if n := w.host.Looks("web"); n != before {
			t.Errorf("%d looks at what has no process", n-before)
		}
	})
}

func TestOneThatUsesTheProcessorTooLongIsToldOf(t *testing.T) {
	busy := func(age time.Duration) platform.Usage {
		u := steady(age)
		u.UserTime = age * 3 / 2
		return u
	}
	inBubble(t, limited(config.Warnings{CPUPercent: 120, For: config.None}), using(busy), func(w *world) {
		advance(3 * time.Second)
		if got := w.usages(); len(got) != 1 || got[0] != "web 1: cpu above 120 % for 0s: 150 %" {
			t.Errorf("got %q", got)
		}
	})
}

func TestAReloadChangesWhatIsWarnedOfWithoutAnotherProcess(t *testing.T) {
	inBubble(t, limited(config.Warnings{}), using(steady), func(w *world) {
		first := w.want("web", messages.Running).PID
		for _, percent := range []int{40, 0, 60} {
			if _, err := w.Apply(w.ctx, limited(config.Warnings{MemoryPercent: percent}), false); err != nil {
				t.Fatal(err)
			}
			advance(5 * time.Minute)
		}
		want := []string{"web 1: memory above 40 % for 1m0s: 50 %", "web 1: memory again after 5m"}
		if got := w.usages(); len(got) != 2 || got[0] != want[0] || !strings.HasPrefix(got[1], "web 1: memory again after ") {
			t.Errorf("got %q, want %q", got, want)
		}
		if pid := w.want("web", messages.Running).PID; pid != first {
			t.Error("it was restarted")
		}
	})
}

func TestAGroupUsesWhatItsCollectorsUse(t *testing.T) {
	cfg := config.Config{
		Groups: map[string]config.Group{"all": {}, "inner": {Parent: "all"}},
		Collectors: map[string]config.Collector{
			"a": {Group: "all", Autostart: true}, "b": {Group: "inner", Autostart: true}, "c": {Group: "inner", Autostart: true}, "d": {Autostart: true}, "e": {Group: "inner"},
		},
	}
	inBubble(t, cfg, using(steady), func(w *world) {
		advance(time.Second)
		reply, err := w.Usage(w.ctx, true, false)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range reply.Collectors {
			got = append(got, fmt.Sprintf("%s %d", c.ID, c.Usage.Memory/mib))
		}
		for _, g := range reply.Groups {
			got = append(got, fmt.Sprintf("@%s %d/%d %d %d %v", g.Name, g.Measured, g.Members, g.Usage.Memory/mib, g.Usage.Tasks, g.Usage.UserTime))
		}
		want := []string{"a 100", "b 100", "c 100", "d 100", "e 0", "@all 3/4 300 9 750ms", "@inner 2/3 200 6 500ms"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		reply, err = w.Usage(w.ctx, false, false, "@inner", "d", "d")
		if err != nil || len(reply.Collectors) != 4 || len(reply.Groups) != 1 || w.host.Looks("a") != 1 {
			t.Errorf("%+v, %v", reply, err)
		}
		for _, nobody := range []string{"nobody", "@nobody", "@"} {
			if _, err := w.Usage(w.ctx, false, false, nobody); kindOf(err) != "PROCESS_NOT_FOUND" {
				t.Errorf("%s: %v", nobody, err)
			}
		}
	})
}

func TestAQuestionAboutUseIsAnsweredWhateverHappensMeanwhile(t *testing.T) {
	inBubble(t, limited(config.Warnings{}), using(steady), func(w *world) {
		advance(time.Hour)
		answered := make(chan error, 1)
		go func() {
			_, err := w.Usage(w.ctx, true, true)
			answered <- err
		}()
		settle()
		// The supervisor answers others, and the process ends between two looks.
		w.host.Crash("web", failing)
		w.status("web")
		advance(time.Second)
		select {
		case err := <-answered:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("no answer")
		}
		// Nobody is left to answer: that is told.
		advance(time.Hour)
		go func() {
			_, err := w.Usage(w.ctx, true, true)
			answered <- err
		}()
		settle()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err == nil {
			t.Error("an answer by nobody")
		}
	})
}
