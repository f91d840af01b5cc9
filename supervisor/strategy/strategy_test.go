package strategy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/supervisor/restart"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func level(name string, g config.Group) Level {
	return Level{Name: name, Config: g.WithDefaults()}
}

// As OTP's supervisor(3) says of its strategies, for a child at each place.
func TestWhichChildrenAreRestartedWithWhich(t *testing.T) {
	children := []string{"a", "b", "c"}
	for _, test := range []struct {
		strategy config.Strategy
		want     [3]string
	}{
		{config.OneForOne, [3]string{"a", "b", "c"}},
		{config.OneForAll, [3]string{"a b c", "a b c", "a b c"}},
		{config.RestForOne, [3]string{"a b c", "b c", "c"}},
	} {
		for i, want := range test.want {
			first, end := Scope(test.strategy, len(children), i)
			if got := strings.Join(children[first:end], " "); got != want {
				t.Errorf("%s, %s ended: %s are restarted, want %s", test.strategy, children[i], got, want)
			}
		}
	}
}

// OTP: "if more than MaxR restarts occur within MaxT seconds, the supervisor
// terminates all the child processes and then itself".
func TestOneRestartMoreThanIsAllowedWithinTheWindowIsAFailure(t *testing.T) {
	for intensity := range 4 {
		for _, strategy := range []config.Strategy{config.OneForOne, config.OneForAll, config.RestForOne} {
			g := config.Group{Strategy: strategy, MaxRestarts: intensity, RestartWindow: 5 * time.Second}
			if intensity == 0 {
				g.MaxRestarts = config.None
			}
			levels := []Level{level("@g", g), level("", config.Group{})}
			for n := 1; n <= intensity+1; n++ {
				verdict, histories := Decide(levels, fmt.Sprint("child ", n), Exit{At: begin.Add(time.Duration(n) * time.Second), Cause: "exit code 3"}, 0)
				levels[0].History = histories[0]
				want := Restart
				if n > intensity {
					want = Fail
				}
				if verdict.Answer != want || verdict.Level != 0 || want == Restart && verdict.Left != intensity-n {
					t.Errorf("%s, %d allowed, end %d: %+v", strategy, intensity, n, verdict)
				}
			}
		}
	}
}

func TestWhatIsOlderThanTheWindowDoesNotCount(t *testing.T) {
	levels := []Level{level("@g", config.Group{MaxRestarts: 1, RestartWindow: 5 * time.Second}), level("", config.Group{})}
	for n := range 10 {
		verdict, histories := Decide(levels, "a", Exit{At: begin.Add(time.Duration(n) * 5 * time.Second), Cause: "exit code 3"}, 0)
		levels[0].History = histories[0]
		if verdict.Answer != Restart {
			t.Fatalf("end %d: %+v", n+1, verdict)
		}
	}
}

// never allows no restart, so that the first end is an escalation.
func never(e config.Escalation) config.Group {
	return config.Group{MaxRestarts: config.None, OnEscalation: e}
}

func TestWhoAnswersAnEscalation(t *testing.T) {
	top := level("", config.Group{})
	allows := func(s config.Strategy) config.Group { return config.Group{Strategy: s} }
	for name, test := range map[string]struct {
		levels []Level
		exit   Exit
		want   Verdict
	}{
		"stays":      {[]Level{level("@g", never(config.Stay)), top}, Exit{Cause: "x"}, Verdict{Answer: Fail, Child: "a"}},
		"shuts down": {[]Level{level("@g", never(config.ShutDown)), top}, Exit{Cause: "x"}, Verdict{Answer: ShutDown, Child: "a"}},
		"to its parent": {[]Level{level("@inner", never(config.Escalate)), level("@outer", allows(config.OneForAll)), top}, Exit{Cause: "x"},
			Verdict{Answer: Restart, Level: 1, Child: "@inner", Left: 2}},
		"through two": {[]Level{level("@a", never(config.Escalate)), level("@b", never(config.Escalate)), level("@c", never(config.ShutDown)), top}, Exit{Cause: "x"},
			Verdict{Answer: ShutDown, Level: 2, Child: "@b"}},
		"to the top": {[]Level{level("@g", never(config.Escalate)), top}, Exit{Cause: "x"}, Verdict{Answer: Restart, Level: 1, Child: "@g", Left: 2}},
		"a child that has given up alone": {[]Level{level("@g", allows(config.OneForOne)), top}, Exit{Cause: "x", GivenUp: true},
			Verdict{Answer: Leave, Child: "a"}},
		"a child that has given up, without which the others are nothing": {[]Level{level("@g", allows(config.RestForOne)), top}, Exit{Cause: "x", GivenUp: true},
			Verdict{Answer: Fail, Child: "a"}},
		"and that is restarted with its group": {[]Level{level("@g", config.Group{Strategy: config.OneForAll, OnEscalation: config.Escalate}), top}, Exit{Cause: "x", GivenUp: true},
			Verdict{Answer: Restart, Level: 1, Child: "@g", Left: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			test.exit.At = begin
			got, histories := Decide(test.levels, "a", test.exit, 0)
			got.Reason = ""
			if got != test.want || len(histories) != len(test.levels) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			for i := range got.Level {
				if n := Left(test.levels[i].Config, histories[i], begin); n != max(test.levels[i].Config.MaxRestarts, 0) {
					t.Errorf("%s, which has failed, remembers its restarts: %d are left", test.levels[i].Name, n)
				}
			}
		})
	}
}

func TestTheSupervisorItselfRestartsAGroupOnlySoOften(t *testing.T) {
	levels := []Level{level("@g", never(config.Escalate)), level("", config.Group{})}
	var delays []time.Duration
	for n := range 4 {
		verdict, histories := Decide(levels, "a", Exit{At: begin.Add(time.Duration(n) * time.Second), Cause: "exit code 3"}, 0)
		for i := range levels {
			levels[i].History = histories[i]
		}
		if n == 3 {
			if verdict.Answer != Fail || verdict.Level != 1 || verdict.Child != "@g" {
				t.Errorf("%+v", verdict)
			}
			break
		}
		delays = append(delays, verdict.After)
	}
	if fmt.Sprint(delays) != "[0s 100ms 200ms]" {
		t.Errorf("a group that is restarted again and again waits %v", delays)
	}
}

func TestTheReasonNamesTheChildAndTheLimit(t *testing.T) {
	levels := []Level{level("@g", config.Group{MaxRestarts: 1}), level("", config.Group{})}
	var verdict Verdict
	var histories []restart.History
	for n := range 2 {
		verdict, histories = Decide(levels, "a", Exit{At: begin.Add(time.Duration(n) * time.Second), Cause: "exit code 3"}, 0)
		levels[0].History = histories[0]
	}
	if want := "a: exit code 3 twice within 300 s, and max_restarts = 1"; verdict.Reason != want {
		t.Errorf("%s, want %s", verdict.Reason, want)
	}
}
