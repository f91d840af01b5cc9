//go:build unix

package actors_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"go.uber.org/goleak"
)

// Ten thousand real processes come and go, by themselves, and leave neither a
// goroutine nor a descriptor nor a zombie.
func TestTenThousandCyclesLeakNothing(t *testing.T) {
	cycles := 10_000
	if testing.Short() || raceDetector {
		cycles = 2_000
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	descriptors := openDescriptors()
	cfg := config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{}}
	for i := range 20 {
		cfg.Collectors["quick-"+strconv.Itoa(i)] = config.Collector{
			BinaryPath: truePath(t), AutoRestart: true, Autostart: true, Restart: config.RestartAlways,
			MaxRestarts: 1 << 30, BackoffInitial: config.None,
		}
	}
	sup, err := actors.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	events, err := sup.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exits, pids := 0, map[int]bool{}
	for e := range events {
		switch fact := e.Fact.(type) {
		case messages.Exited:
			if fact.Exit.Code != 0 {
				t.Errorf("%s: %v", e.ID, fact.Exit)
			}
			exits++
			pids[fact.Exit.PID] = true
		case messages.Lost:
			exits += int(fact.Count) / 4 // of the events of a cycle, one is an exit
		}
		if exits >= cycles {
			break
		}
	}
	if _, err := sup.Shutdown(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if err := sup.Close(); err != nil {
		t.Error(err)
	}
	if now := openDescriptors(); now > descriptors {
		t.Errorf("%d descriptors were open before, and %d after", descriptors, now)
	}
	for pid := range pids {
		if parent(pid) == os.Getpid() {
			t.Errorf("process %d is still a child", pid)
		}
	}
}

// Descriptors open in this process; 0 where the system has no list of them.
func openDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// parent is the parent of a process, where the system has /proc.
func parent(pid int) int {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

func truePath(t *testing.T) string {
	for _, path := range []string{"/bin/true", "/usr/bin/true"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("there is no program called true")
	return ""
}

func TestACollectorIsFoundByItsType(t *testing.T) {
	sup, err := actors.New(config.Config{ProcessManager: config.ProcessManager{
		CollectorBinaries: map[string]string{"quick": truePath(t)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer sup.Close()
	if pid, err := sup.Start(t.Context(), "quick-1", "quick", nil); err != nil || pid == 0 {
		t.Errorf("%d, %v", pid, err)
	}
	_, err = sup.Start(t.Context(), "slow-1", "slow-and-missing", nil)
	if !errors.Is(err, messages.SpawnFailed) || !strings.Contains(err.Error(), "/usr/local/bin/slow-and-missing") || !strings.Contains(err.Error(), "/usr/bin/slow-and-missing") {
		t.Errorf("the paths that were tried are not named: %v", err)
	}
	s, err := sup.Status(t.Context(), "slow-1")
	if err != nil || s.State != messages.Failed {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestASlowSubscriberLosesEventsAndIsToldAndNobodyElseIs(t *testing.T) {
	sup, err := actors.New(config.Config{
		ProcessManager: config.ProcessManager{EnableAutoRestart: true},
		Collectors: map[string]config.Collector{"quick": {
			BinaryPath: truePath(t), AutoRestart: true, Autostart: true, Restart: config.RestartAlways,
			MaxRestarts: 1 << 30, BackoffInitial: config.None,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sup.Close()
	slow, err := sup.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	quick, err := sup.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	seen := 0
	for e := range quick {
		if _, lost := e.Fact.(messages.Lost); lost {
			t.Fatal("the quick one was told of a loss")
		}
		if last != 0 && e.Seq != last+1 {
			t.Fatalf("event %d follows event %d", e.Seq, last)
		}
		last = e.Seq
		if seen++; seen > 9500 {
			break
		}
	}
	first := true
	last = 0
	for e := range slow {
		lost, isLost := e.Fact.(messages.Lost)
		if isLost != first {
			t.Fatalf("a loss is told %v, first is %v", isLost, first)
		}
		if isLost && lost.Count == 0 || !isLost && e.Seq != last+1 {
			t.Fatalf("%+v after event %d", e, last)
		}
		last, first = e.Seq, false
		if e.Seq >= 9000 {
			break
		}
	}
}
