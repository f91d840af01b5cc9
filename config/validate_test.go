package config_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/config"
)

func TestWhatCannotWorkIsRefused(t *testing.T) {
	long := strings.Repeat("x", config.MaxArgument+1)
	for _, test := range []struct {
		name string
		c    config.Collector
		want string // key: message; hint
	}{
		{"negative time", config.Collector{GracefulTimeout: -time.Second},
			"collectors.web.graceful_timeout_seconds: a time cannot be negative: -1 s; leave it out for its default"},
		{"a zero that cannot be explicit", config.Collector{BackoffMax: config.None},
			"collectors.web.backoff_max_seconds: a time cannot be negative: -0.000000001 s; leave it out for its default"},
		{"warning of a part of no limit", config.Collector{Warn: config.Warnings{MemoryPercent: 90}},
			"collectors.web.warn.memory_percent: there is no limit of memory that it could be a part of; set memory_max_mb or memory_high_mb"},
		{"warning above all of it", config.Collector{Warn: config.Warnings{TasksPercent: 101}, ResourceLimits: config.ResourceLimits{TasksMax: 5}},
			"collectors.web.warn.tasks_percent: 101 is out of range; use 1 to 100"},
		{"time of no warning", config.Collector{Warn: config.Warnings{For: time.Second}},
			"collectors.web.warn.for_seconds: it is not said what is warned of; set memory_percent, cpu_percent or tasks_percent"},
		{"negative window", config.Collector{RestartWindow: -2},
			"collectors.web.restart_window_seconds: a time cannot be negative: -0.000000002 s; leave it out for its default"},
		{"time that overflows dates", config.Collector{ForceTimeout: math.MaxInt64},
			"collectors.web.force_timeout_seconds: 9223372036.854776 s is more than 100 years; use at most 3153600000"},
		{"negative restarts", config.Collector{MaxRestarts: -2},
			"collectors.web.max_restarts: -2 is negative; use a whole number; 0 allows no restarts"},
		{"misspelt restart mode", config.Collector{Restart: "onfailure"},
			`collectors.web.restart: "onfailure" is not a restart mode; did you mean "on-failure"?`},
		{"restart mode of another supervisor", config.Collector{Restart: "unless-stopped"},
			`collectors.web.restart: "unless-stopped" is not a restart mode; here it is called "always"`},
		{"unknown restart mode", config.Collector{Restart: "sometimes, perhaps"},
			`collectors.web.restart: "sometimes, perhaps" is not a restart mode; use one of "on-failure", "always", "never"`},
		{"type with a path", config.Collector{Type: "../sh"},
			`collectors.web.type: not a collector type: it starts with '.'; use 1 to 64 of a-z A-Z 0-9 . _ -, starting with a letter or a digit`},
		{"NUL in a path", config.Collector{BinaryPath: "/bin/a\x00b"},
			`collectors.web.binary_path: byte 7 is a NUL, which ends a string for the operating system; remove it`},
		{"NUL in an argument", config.Collector{Args: []string{"a", "\x00"}},
			`collectors.web.args[1]: byte 1 is a NUL, which ends a string for the operating system; remove it`},
		{"NUL in a directory", config.Collector{WorkingDir: "\x00"},
			`collectors.web.working_dir: byte 1 is a NUL, which ends a string for the operating system; remove it`},
		{"variable without a name", config.Collector{Env: map[string]string{"": "x"}},
			`collectors.web.env."": an environment variable needs a name`},
		{"variable with = in its name", config.Collector{Env: map[string]string{"A=B": "x"}},
			`collectors.web.env."A=B": the name of an environment variable cannot contain "="; write NAME = "value"`},
		{"NUL in the name of a variable", config.Collector{Env: map[string]string{"A\x00": "x"}},
			`collectors.web.env."A\x00": the name of an environment variable cannot contain a NUL; remove it`},
		{"NUL in a variable", config.Collector{Env: map[string]string{"A": "x\x00"}},
			`collectors.web.env.A: byte 2 is a NUL, which ends a string for the operating system; remove it`},
		{"argument that no system takes", config.Collector{Args: []string{long}},
			`collectors.web.args[0]: the argument is 131072 bytes long; the limit is 131071; put it into a file that the collector reads`},
		{"variable that no system takes", config.Collector{Env: map[string]string{"A": long[:len(long)-2]}},
			`collectors.web.env.A: the variable is 131072 bytes long; the limit is 131071; put it into a file that the collector reads`},
		{"too much together", config.Collector{Args: slices.Repeat([]string{long[:100_000]}, 21)},
			`collectors.web.args: arguments and environment together are 2100022 bytes; the limit is 2097152; put them into a file that the collector reads`},
		{"contradictory delays", config.Collector{BackoffInitial: time.Minute, BackoffMax: time.Second},
			`collectors.web.backoff_initial_seconds: a first delay of 60 s is longer than the longest, 1 s; set backoff_max_seconds to 60 or more`},
		{"delay that contradicts a default", config.Collector{BackoffInitial: time.Minute},
			`collectors.web.backoff_initial_seconds: a first delay of 60 s is longer than the longest, 30 s; set backoff_max_seconds to 60 or more`},
		{"limit that contradicts a default", config.Collector{BackoffMax: time.Millisecond},
			`collectors.web.backoff_max_seconds: a first delay of 0.1 s is longer than the longest, 0.001 s; set backoff_initial_seconds too`},
		{"restart and do not restart", config.Collector{AutoRestart: true, Restart: config.RestartNever},
			`collectors.web.auto_restart: auto_restart = true contradicts restart = "never"; remove one of them`},
		{"unknown signal", config.Collector{StopSignal: "SIGTREM"},
			`collectors.web.stop_signal: no signal has the name "SIGTREM"; did you mean "SIGTERM"?`},
		{"signal beyond all numbers", config.Collector{StopSignal: "65"},
			`collectors.web.stop_signal: no signal has the name "65"; use a name like "SIGTERM", "SIGINT", "SIGQUIT" or "SIGHUP"`},
		{"a signal that ends nothing", config.Collector{StopSignal: "stop"},
			`collectors.web.stop_signal: SIGSTOP suspends a process and never ends it; use "SIGTERM", or "SIGINT", "SIGQUIT", "SIGHUP"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.c.Validate("web")
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestProcessManagerSettingsThatCannotWorkAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		pm   config.ProcessManager
		want string
	}{
		{"negative time", config.ProcessManager{DefaultGracefulTimeout: -time.Second},
			"process_manager.default_graceful_timeout_seconds: a time cannot be negative: -1 s; leave it out for its default"},
		{"busy loop", config.ProcessManager{HealthCheckInterval: time.Microsecond},
			"process_manager.health_check_interval_seconds: an interval of 0.000001 s is too short; use at least 0.001"},
		{"negative number of heartbeats", config.ProcessManager{HeartbeatTimeoutMultiplier: -1},
			"process_manager.heartbeat_timeout_multiplier: -1 heartbeats cannot be missed; use a whole number from 1 on"},
		{"heartbeats that overflow together", config.ProcessManager{HeartbeatTimeoutMultiplier: math.MaxInt32, HealthCheckInterval: time.Hour},
			"process_manager.heartbeat_timeout_multiplier: 2147483647 × 3600 s is more than 100 years; use a smaller number"},
		{"type with a path", config.ProcessManager{CollectorBinaries: map[string]string{"a/b": "/bin/x"}},
			`process_manager.collector_binaries."a/b": not a collector type: it contains '/'; use 1 to 64 of a-z A-Z 0-9 . _ -, starting with a letter or a digit`},
		{"no path", config.ProcessManager{CollectorBinaries: map[string]string{"web": ""}},
			`process_manager.collector_binaries.web: the path is empty; write the path of the binary, or remove the line`},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.pm.Validate()
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestWhatCanWorkIsAccepted(t *testing.T) {
	for name, c := range map[string]config.Collector{
		"nothing said":     {},
		"explicit nothing": {MaxRestarts: config.None, RestartWindow: config.Forever, BackoffInitial: config.None, BackoffReset: config.None},
		"no delay at all":  {BackoffInitial: config.None, BackoffMax: time.Millisecond},
		"longest time":     {GracefulTimeout: config.MaxTime},
		"lower-case name":  {StopSignal: "hup"},
		"name with SIG":    {StopSignal: "SIGUSR1"},
		"number":           {StopSignal: "15"},
		"largest argument": {Args: []string{strings.Repeat("x", config.MaxArgument)}},
		"empty argument":   {Args: []string{""}},
		"empty variable":   {Env: map[string]string{"A": ""}},
		"kill":             {StopSignal: "KILL"},
		"all defaults":     config.Collector{}.WithDefaults("web", config.ProcessManager{}),
	} {
		if err := c.Validate("web"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllProblemsAreReportedAtOnceAndInOrder(t *testing.T) {
	c := config.Config{
		ProcessManager: config.ProcessManager{DefaultForceTimeout: -1},
		Collectors: map[string]config.Collector{
			"b/c": {},
			"a":   {MaxRestarts: -5, Restart: "no"},
		},
	}
	err := fmt.Errorf("cannot run: %w", c.Validate())

	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%v is not Problems", err)
	}
	var keys []string
	for _, p := range problems {
		keys = append(keys, p.Key)
	}
	want := []string{
		"process_manager.default_force_timeout_seconds",
		"collectors.a.restart",
		"collectors.a.max_restarts",
		`collectors."b/c"`,
	}
	if !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
	var p *config.Problem
	if !errors.As(err, &p) || p.Key != want[0] {
		t.Errorf("errors.As found %v, want the first problem", p)
	}
}

func TestAContradictionNamesBothSides(t *testing.T) {
	err := config.Collector{AutoRestart: true, Restart: config.RestartNever}.Validate("web")
	var p *config.Problem
	if !errors.As(err, &p) || !slices.Equal(p.Related, []string{"collectors.web.restart"}) {
		t.Errorf("%#v", p)
	}
}

func TestWhatIsProbablyNotMeantIsAWarningAndNoProblem(t *testing.T) {
	on := config.ProcessManager{EnableAutoRestart: true}
	for _, test := range []struct {
		name string
		pm   config.ProcessManager
		c    config.Collector
		want string
	}{
		{"master switch off", config.ProcessManager{}, config.Collector{AutoRestart: true},
			"collectors.web.auto_restart: without effect, because the master switch is off; set enable_auto_restart = true in [process_manager]"},
		{"no restart allowed", on, config.Collector{AutoRestart: true, MaxRestarts: config.None},
			"collectors.web.auto_restart: without effect, because max_restarts = 0 allows no restart; remove one of them"},
		{"mode without switch", on, config.Collector{Restart: config.RestartAlways},
			"collectors.web.restart: without effect, because auto_restart is off; set auto_restart = true too"},
		{"kill", on, config.Collector{StopSignal: "9"},
			`collectors.web.stop_signal: SIGKILL leaves the collector no time to end gracefully; use "SIGTERM"`},
		{"nothing to warn of", on, config.Collector{AutoRestart: true, Restart: config.RestartAlways, StopSignal: "INT"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := config.Config{ProcessManager: test.pm, Collectors: map[string]config.Collector{"web": test.c}}
			if err := c.Validate(); err != nil {
				t.Errorf("a problem: %v", err)
			}
			if got := c.Warnings().Error(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if got := test.c.Warnings("web", test.pm).Error(); got != test.want {
				t.Errorf("of the collector alone: %s", got)
			}
		})
	}
	if got := (config.Config{}).Warnings().Error(); !strings.HasPrefix(got, "collectors: no collectors are configured; add one:\n") {
		t.Errorf("without collectors: %s", got)
	}
}

func TestTheTextOfAnErrorIsBounded(t *testing.T) {
	c := config.Collector{Args: slices.Repeat([]string{"\x00"}, 1000)}
	text := c.Validate(strings.Repeat("x", 1<<20)).Error()
	if len(text) > 50_000 || !strings.HasSuffix(text, "and 901 more problems") {
		t.Errorf("%d bytes, ending with %q", len(text), text[len(text)-40:])
	}
}

func TestKeysAreWrittenAsInAFile(t *testing.T) {
	for want, parts := range map[string][]string{
		"collectors.web-1.env.A_b": {"collectors", "web-1", "env", "A_b"},
		`collectors."a.b".type`:    {"collectors", "a.b", "type"},
		`collectors.""`:            {"collectors", ""},
		`a."\n\""`:                 {"a", "\n\""},
	} {
		if got := config.Key(parts...); got != want {
			t.Errorf("Key(%q) = %s, want %s", parts, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"max_restarts", "auto_restart", "restart", "graceful_timeout_seconds", "env", "args"}
	for word, want := range map[string]string{
		"max_restart":       "max_restarts",
		"MaxRestarts":       "max_restarts",
		"max-restarts":      "max_restarts",
		"restarts":          "restart",
		"autorestart":       "auto_restart",
		"graceful_timeout":  "graceful_timeout_seconds",
		"envs":              "env",
		"arg":               "args",
		"timeout_seconds":   "graceful_timeout_seconds",
		"seconds_timeout":   "",
		"colour":            "",
		"":                  "",
		"restart_me_please": "",
	} {
		if got := config.Nearest(word, keys); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
