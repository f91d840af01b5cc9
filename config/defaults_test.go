package config_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/proctord/proctor/config"
)

func TestZeroFieldsMeanTheirDefaults(t *testing.T) {
	pm := config.ProcessManager{}.WithDefaults()
	wantPM := config.ProcessManager{
		DefaultGracefulTimeout:     30 * time.Second,
		DefaultForceTimeout:        5 * time.Second,
		HealthCheckInterval:        60 * time.Second,
		HeartbeatTimeoutMultiplier: 3,
		Runs:                       config.Runs{MaxPerCollector: 50, MaxSizeMB: 64, MaxAgeDays: 90, MaxCrashes: 200},
	}
	if !reflect.DeepEqual(pm, wantPM) {
		t.Errorf("process manager: %+v, want %+v", pm, wantPM)
	}

	c := config.Collector{}.WithDefaults("procmond-1", config.ProcessManager{DefaultForceTimeout: time.Minute})
	want := config.Collector{
		Type:      "procmond",
		Kind:      config.Service,
		Readiness: config.ReadyExec, StartupTimeout: 60 * time.Second, RestartOnUnhealthy: config.On, ConfinementRequired: config.On,
		Restart:         config.RestartOnFailure,
		MaxRestarts:     3,
		RestartWindow:   300 * time.Second,
		BackoffInitial:  100 * time.Millisecond,
		BackoffMax:      30 * time.Second,
		BackoffReset:    10 * time.Second,
		GracefulTimeout: 30 * time.Second,
		ForceTimeout:    time.Minute,
		StopSignal:      "SIGTERM",
		Output: config.Output{
			Target: config.OutputFile, MaxSizeMB: 50, MaxFiles: 5, MaxAgeDays: config.None, Compress: config.CompressGzip,
			Format: config.OutputJSON, Streams: config.StreamsApart, Timestamps: config.Off, Lossless: config.Off,
			MaxLineKB: 256, RateLimit: config.None, TailLines: 20, Also: []string{"inherit"},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("collector: %+v, want %+v", c, want)
	}
}

func TestExplicitNothingSurvivesTheDefaults(t *testing.T) {
	nothing := config.Collector{
		MaxRestarts:    config.None,
		RestartWindow:  config.Forever,
		BackoffInitial: config.None,
		BackoffReset:   config.None,
	}
	c := nothing.WithDefaults("web", config.ProcessManager{})
	if c.MaxRestarts != config.None || c.RestartWindow != config.Forever || c.BackoffInitial != config.None || c.BackoffReset != config.None {
		t.Errorf("an explicit zero was replaced: %+v", c)
	}
}

func TestFillingInDefaultsTwiceChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := config.Config{Collectors: map[string]config.Collector{
			rapid.StringMatching(`[a-z][a-z0-9-]{0,8}`).Draw(t, "id"): {
				MaxRestarts:    rapid.IntRange(-1, 2).Draw(t, "restarts"),
				RestartWindow:  time.Duration(rapid.IntRange(-1, 2).Draw(t, "window")),
				BackoffInitial: time.Duration(rapid.IntRange(-1, 2).Draw(t, "initial")),
				BackoffReset:   time.Duration(rapid.IntRange(-1, 2).Draw(t, "reset")),
				Output: config.Output{
					Target:     rapid.SampledFrom([]config.OutputTarget{"", config.OutputFile, config.OutputMemory, config.OutputDiscard}).Draw(t, "target"),
					MaxAgeDays: rapid.IntRange(-1, 2).Draw(t, "age"),
					Also:       rapid.SampledFrom([][]string{nil, {}, {"syslog"}}).Draw(t, "also"),
				},
			},
		}}
		once := c.WithDefaults()
		if twice := once.WithDefaults(); !reflect.DeepEqual(once, twice) {
			t.Fatalf("once: %+v\ntwice: %+v", once, twice)
		}
	})
}

func TestDefaultsLeaveTheOriginalAlone(t *testing.T) {
	c := config.Config{Collectors: map[string]config.Collector{"web": {}}}
	c.WithDefaults()
	if !reflect.DeepEqual(c.Collectors["web"], config.Collector{}) {
		t.Errorf("the original was changed: %+v", c)
	}
}

func TestTheTypeIsTheIDWithoutItsNumber(t *testing.T) {
	for id, want := range map[string]string{
		"procmond":   "procmond",
		"procmond-1": "procmond",
		"a-1-22":     "a-1",
		"web1":       "web1",
		"web-":       "web-",
		"web-1b":     "web-1b",
		"-1":         "-1",
		"1":          "1",
		"":           "",
	} {
		if got := config.TypeOf(id); got != want {
			t.Errorf("TypeOf(%q) = %q, want %q", id, got, want)
		}
	}
}
