package restart

import (
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"pgregory.net/rapid"
)

var (
	start   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	usual   = PolicyOf(config.Collector{AutoRestart: true}.WithDefaults("web", config.ProcessManager{EnableAutoRestart: true}), config.ProcessManager{EnableAutoRestart: true})
	failure = Exit{Cause: "exit code 3"}
)

// crashes lets a collector end again and again, each time after it ran for ran.
func crashes(p Policy, n int, ran time.Duration, e Exit) (decisions []Decision) {
	var h History
	now := start
	for range n {
		now = now.Add(ran)
		e.At, e.Ran = now, ran
		var d Decision
		d, h = p.Next(h, e, 0)
		decisions = append(decisions, d)
		now = now.Add(d.After)
	}
	return decisions
}

func TestTheFirstRestartIsImmediateAndEachOneAfterItWaitsTwiceAsLong(t *testing.T) {
	p := usual
	p.Max = 20
	want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
		1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond, 12800 * time.Millisecond, 25600 * time.Millisecond,
		30 * time.Second, 30 * time.Second}
	for i, d := range crashes(p, len(want), time.Millisecond, failure) {
		if !d.Restart || d.After != want[i] {
			t.Errorf("restart %d: %+v, want it after %v", i+1, d, want[i])
		}
	}
}

func TestALongEnoughRunBeginsANewRow(t *testing.T) {
	p := usual
	p.Max = 20
	for i, d := range crashes(p, 5, p.Reset, failure) {
		if d.After != 0 {
			t.Errorf("restart %d waits %v", i+1, d.After)
		}
	}
	for i, d := range crashes(p, 5, p.Reset-1, failure)[1:] {
		if d.After == 0 {
			t.Errorf("restart %d does not wait", i+2)
		}
	}
}

func TestNoBackoffMeansNoDelayEver(t *testing.T) {
	p := usual
	p.Max, p.Initial = 100, config.None
	for i, d := range crashes(p, 50, 0, failure) {
		if !d.Restart || d.After != 0 {
			t.Errorf("restart %d: %+v", i+1, d)
		}
	}
}

func TestJitterShortensADelayByAFifthAtTheMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := History{row: rapid.IntRange(0, 80).Draw(t, "row")}
		j := rapid.Float64Range(0, 0.999999).Draw(t, "jitter")
		e := failure
		e.At = start
		whole, _ := usual.Next(h, e, 0)
		d, _ := usual.Next(h, e, j)
		if d.After > whole.After || d.After < whole.After*4/5-1 || d.After > usual.Limit {
			t.Errorf("%v of %v", d.After, whole.After)
		}
	})
}

func TestOneMoreThanTheLimitFails(t *testing.T) {
	decisions := crashes(usual, 4, time.Second, failure)
	for i, d := range decisions[:3] {
		if !d.Restart || d.Left != 2-i {
			t.Errorf("restart %d: %+v", i+1, d)
		}
	}
	last := decisions[3]
	if last.Restart || !last.Failed || last.Reason != "exit code 3 four times within 300 s, and max_restarts = 3" {
		t.Errorf("%+v", last)
	}
}

func TestTheReasonOfAFailureSaysWhatVaried(t *testing.T) {
	var h History
	var d Decision
	for i, cause := range []string{"exit code 3", "signal SIGSEGV", "exit code 3", "exit code 4"} {
		d, h = usual.Next(h, Exit{At: start.Add(time.Duration(i) * time.Second), Cause: cause}, 0)
	}
	if want := "four exits within 300 s, the last: exit code 4, and max_restarts = 3"; d.Reason != want {
		t.Errorf("%q, want %q", d.Reason, want)
	}
}

func TestWhatLeftTheWindowCountsNoMore(t *testing.T) {
	for i, d := range crashes(usual, 50, 101*time.Second, failure) {
		if !d.Restart {
			t.Fatalf("exit %d: %+v", i+1, d)
		}
	}
}

func TestAWindowOfForeverForgetsNothing(t *testing.T) {
	p := usual
	p.Window = config.Forever
	decisions := crashes(p, 4, 1000*time.Hour, failure)
	if d := decisions[3]; d.Restart || !strings.Contains(d.Reason, "since its start") {
		t.Errorf("%+v", d)
	}
}

func TestWhichExitsAreAnsweredByARestart(t *testing.T) {
	type want struct{ restart, failed bool }
	again, done, dead := want{restart: true}, want{}, want{failed: true}
	for _, test := range []struct {
		name              string
		enabled           bool
		mode              config.Restart
		onSuccess, onFail want
	}{
		{"off", false, config.RestartAlways, done, dead},
		{"on-failure", true, config.RestartOnFailure, done, again},
		{"always", true, config.RestartAlways, again, again},
		{"never", true, config.RestartNever, done, dead},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := usual
			p.Enabled, p.Mode = test.enabled, test.mode
			for success, want := range map[bool]want{true: test.onSuccess, false: test.onFail} {
				d, _ := p.Next(History{}, Exit{At: start, Success: success, Cause: "exit code 7"}, 0)
				if d.Restart != want.restart || d.Failed != want.failed {
					t.Errorf("success %v: %+v", success, d)
				}
				if !d.Restart && !strings.Contains(d.Reason, "exit code 7") {
					t.Errorf("success %v: the reason is %q", success, d.Reason)
				}
			}
		})
	}
}

func TestBothSwitchesMustBeOn(t *testing.T) {
	for _, auto := range []bool{false, true} {
		for _, master := range []bool{false, true} {
			pm := config.ProcessManager{EnableAutoRestart: master}
			if got := PolicyOf(config.Collector{AutoRestart: auto}, pm).Enabled; got != (auto && master) {
				t.Errorf("auto_restart %v, enable_auto_restart %v: %v", auto, master, got)
			}
		}
	}
}

func TestWhatWouldFailTheSameWayIsNotTriedAgain(t *testing.T) {
	d, _ := usual.Next(History{}, Exit{At: start, Permanent: true, Cause: "no binary"}, 0)
	if d.Restart || !d.Failed || d.Reason != "no binary" {
		t.Errorf("%+v", d)
	}
}

func TestRestartsNeverExceedTheLimitWithinAnyWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := usual
		p.Max = rapid.IntRange(0, 6).Draw(t, "max")
		p.Window = time.Duration(rapid.IntRange(1, 100).Draw(t, "window")) * time.Second
		p.Initial = time.Duration(rapid.IntRange(-1, 5000).Draw(t, "initial")) * time.Millisecond
		var h History
		var at []time.Time
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "exits") {
			ran := time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ran")) * time.Millisecond
			now = now.Add(ran)
			var d Decision
			d, h = p.Next(h, Exit{At: now, Ran: ran, Cause: "exit code 1"}, rapid.Float64Range(0, 0.99).Draw(t, "jitter"))
			if !d.Restart {
				continue // somebody starts it again by hand, without resetting: the worst case
			}
			now = now.Add(d.After)
			at = append(at, now)
		}
		for i := range at {
			within := 0
			for _, other := range at[:i+1] {
				if at[i].Sub(other) < p.Window {
					within++
				}
			}
			if within > p.Max {
				t.Fatalf("%d restarts within %v, %d allowed: %v", within, p.Window, p.Max, at)
			}
		}
	})
}
