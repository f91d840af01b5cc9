package meter

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every question has one answer, a warning begins and ends in turn, and nothing is
// left, whatever comes at the same time.
func TestQuestionsProcessesAndWarningsMayComeAtOnce(t *testing.T) {
	host := platformtest.New(func(platform.Spec, int) platformtest.Program {
		var looks atomic.Int64
		return platformtest.Program{Usage: func(age time.Duration) platform.Usage {
			u := platform.Usage{Known: platform.HasCPU | platform.HasMemory, UserTime: age}
			if looks.Add(1)%2 == 0 {
				u.Memory = 100 << 20
			}
			return u
		}}
	})
	defer host.Close()
	m := New(host)
	const collectors = 8
	ids := make([]string, collectors)
	processes := make([]platform.Process, collectors)
	for i := range ids {
		ids[i] = fmt.Sprintf("c%d", i)
		var p platform.Process
		up := make(chan struct{})
		p = host.Start(platform.Spec{Label: ids[i]}, func(n platform.Notice) {
			if n.Kind == platform.Spawned {
				close(up)
			}
		})
		<-up
		processes[i] = p
	}
	var all sync.WaitGroup
	var answers atomic.Int64
	var told [collectors]struct {
		sync.Mutex
		high bool
	}
	for i, id := range ids {
		all.Go(func() {
			for n := range 200 {
				warn := config.Warnings{MemoryPercent: 50 + n%2, For: config.None}
				if n%7 == 0 {
					warn = config.Warnings{}
				}
				m.Warn(id, config.Collector{ResourceLimits: config.ResourceLimits{MemoryMaxMB: 100}, Warn: warn}, func(_ uint64, fact messages.Fact) {
					told[i].Lock()
					defer told[i].Unlock()
					_, high := fact.(messages.UsageHigh)
					if high == told[i].high {
						t.Errorf("%s: %T twice", id, fact)
					}
					told[i].high = high
				}, nil)
				m.Began(id, uint64(n), processes[i], time.Now())
				m.Ask(ids[:1+n%collectors], n%2 == 0, n%50 == 0, func(got []messages.CollectorUsage) {
					if len(got) != 1+n%collectors || got[0].ID != "c0" {
						t.Errorf("%+v", got)
					}
					answers.Add(1)
				})
				m.Ended(id, processes[i])
			}
			m.Warn(id, config.Collector{}, nil, nil)
		})
	}
	all.Wait()
	for end := time.Now().Add(30 * time.Second); answers.Load() < collectors*200; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d answers to %d questions", answers.Load(), collectors*200)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.subjects) != 0 || len(m.questions) != 0 {
		t.Errorf("left: %d subjects, %d questions", len(m.subjects), len(m.questions))
	}
	for i := range told {
		if told[i].high {
			t.Errorf("the warning of %s has not ended", ids[i])
		}
	}
}

func TestTheFactsOfAResourceAreInItsUnits(t *testing.T) {
	s := subject{incarnation: 3}
	var facts []messages.Fact
	s.watch = newWatch(config.Collector{
		ResourceLimits: config.ResourceLimits{MemoryHighMB: 200}, Warn: config.Warnings{MemoryPercent: 90, CPUPercent: 150, For: config.None},
	}, func(incarnation uint64, fact messages.Fact) {
		if incarnation != 3 {
			t.Errorf("incarnation %d", incarnation)
		}
		facts = append(facts, fact)
	}, nil)
	s.judge(&messages.Usage{At: time.Now(), Known: messages.HasMemory | messages.HasCPUPercent | messages.HasTasks, Memory: 190 << 20, CPUPercent: 175, Tasks: 9})
	want := []messages.Fact{
		messages.UsageHigh{Resource: "memory", Percent: 95, Threshold: 90, Used: 190 << 20, Limit: 200 << 20},
		messages.UsageHigh{Resource: "cpu", Percent: 175, Threshold: 150, Used: 1750, Limit: 1000},
	}
	if len(facts) != 2 || facts[0] != want[0] || facts[1] != want[1] {
		t.Errorf("got %+v, want %+v", facts, want)
	}
}

func TestTheLastMinuteOfWhatIsWatchedIsKeptAndNoMore(t *testing.T) {
	s := subject{watch: newWatch(config.Collector{Warn: config.Warnings{CPUPercent: 50}}, func(uint64, messages.Fact) {}, nil)}
	began := time.Now()
	for ms := 0; ms <= 10*60*1000; ms += 250 {
		s.remember(messages.Usage{At: began.Add(time.Duration(ms) * time.Millisecond)})
	}
	recent := s.watch.recent
	first, last := recent[0].At.Sub(began), recent[len(recent)-1].At.Sub(began)
	if len(recent) < 10 || len(recent) > 14 || first < 9*time.Minute || last != 10*time.Minute {
		t.Errorf("%d looks, from %v to %v", len(recent), first, last)
	}
}
