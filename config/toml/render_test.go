package toml_test

import (
	"reflect"
	"testing"
	"time"

	gotoml "github.com/pelletier/go-toml/v2"
	"pgregory.net/rapid"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
)

// Whatever can be configured can be written to a file, and is the same when it
// is read back.
func TestAnyConfigurationSurvivesAFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyConfig(t)
		if err := want.Validate(); err != nil {
			t.Fatalf("the generator is wrong: %v", err)
		}
		text, err := gotoml.Marshal(render(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := toml.Parse("f", text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\ngot  %+v\nwant %+v\nfrom\n%s", err, got, want, text)
		}
	})
}

func anyConfig(t *rapid.T) config.Config {
	id := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`)
	text := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != 0 }))
	words := rapid.SliceOfN(text, 1, 5)
	env := rapid.MapOfN(rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_. "]{0,10}`), text, 1, 5)
	times := rapid.Custom(func(t *rapid.T) time.Duration {
		unit := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Hour}).Draw(t, "unit")
		return time.Duration(rapid.IntRange(1, 100_000).Draw(t, "n")) * unit
	})

	c := config.Config{Collectors: map[string]config.Collector{}}
	c.ProcessManager = config.ProcessManager{
		CollectorBinaries:          rapid.MapOfN(id, text.Filter(func(s string) bool { return s != "" }), 1, 3).Draw(t, "binaries"),
		DefaultGracefulTimeout:     sometimes(t, times),
		DefaultForceTimeout:        sometimes(t, times),
		HealthCheckInterval:        sometimes(t, times),
		HeartbeatTimeoutMultiplier: sometimes(t, rapid.IntRange(1, 2)),
		EnableAutoRestart:          rapid.Bool().Draw(t, "switch"),
	}
	for _, id := range rapid.SliceOfN(id, 1, 4).Draw(t, "ids") {
		one := config.Collector{
			Type:            sometimes(t, rapid.Just(id)),
			BinaryPath:      sometimes(t, text),
			Args:            sometimes(t, words),
			Env:             sometimes(t, env),
			ClearEnv:        rapid.Bool().Draw(t, "clear"),
			WorkingDir:      sometimes(t, text),
			Restart:         sometimes(t, rapid.SampledFrom([]config.Restart{config.RestartAlways, config.RestartNever, config.RestartOnFailure})),
			MaxRestarts:     sometimes(t, rapid.OneOf(rapid.Just(config.None), rapid.IntRange(1, 1<<31-1))),
			RestartWindow:   sometimes(t, rapid.OneOf(rapid.Just(config.Forever), times)),
			BackoffInitial:  sometimes(t, rapid.SampledFrom([]time.Duration{config.None, time.Nanosecond, time.Millisecond})),
			BackoffMax:      sometimes(t, times.Filter(func(d time.Duration) bool { return d >= time.Second })),
			BackoffReset:    sometimes(t, rapid.OneOf(rapid.Just(time.Duration(config.None)), times)),
			GracefulTimeout: sometimes(t, times),
			ForceTimeout:    sometimes(t, times),
			StopSignal:      sometimes(t, rapid.SampledFrom([]string{"SIGINT", "hup", "Usr1", "15", "KILL"})),
			Autostart:       rapid.Bool().Draw(t, "autostart"),
			User:            sometimes(t, text),
			UnixGroup:       sometimes(t, text),

			SupplementaryGroups: sometimes(t, words),
			Umask:               sometimes(t, rapid.StringMatching(`0[0-7]{3}`)),
			Capabilities:        sometimes(t, rapid.SliceOfN(rapid.SampledFrom(config.CapabilityNames()), 0, 4)),
			ReadOnlyPaths:       sometimes(t, rapid.Just([]string{"/", "/etc"})),
			ReadWritePaths:      sometimes(t, rapid.SliceOfN(rapid.StringMatching(`/var/[a-z]{8}`), 1, 1)),
			PrivateTmp:          rapid.Bool().Draw(t, "tmp"),
			Seccomp:             sometimes(t, rapid.SampledFrom([]string{config.SeccompDefault, config.SeccompStrict})),
			BinarySHA256:        sometimes(t, rapid.StringMatching(`[0-9a-f]{64}`)),
			KeepFds:             sometimes(t, rapid.SliceOfNDistinct(rapid.IntRange(3, 255), 1, 4, rapid.ID)),
			Secrets:             sometimes(t, rapid.MapOfN(rapid.StringMatching(`[a-z]{1,8}`), rapid.StringMatching(`(/etc/[a-z]+|env:[A-Z]+)`), 1, 3)),
			ResourceLimits: config.ResourceLimits{
				CPUPercent:  sometimes(t, rapid.IntRange(1, 800)),
				MemoryMaxMB: sometimes(t, rapid.IntRange(1, 1<<20)),
				SwapMaxMB:   sometimes(t, rapid.OneOf(rapid.Just(config.None), rapid.IntRange(1, 1<<20))),
				CoreMB:      sometimes(t, rapid.OneOf(rapid.Just(config.None), rapid.IntRange(1, 1<<20))),
				TasksMax:    sometimes(t, rapid.IntRange(1, 1<<22)),
				Nice:        sometimes(t, rapid.IntRange(-20, 19)),
				CPUAffinity: sometimes(t, rapid.SliceOfN(rapid.IntRange(0, 64), 1, 4)),
				Required:    rapid.Bool().Draw(t, "required"),
			},
		}
		one.AutoRestart = one.Restart != config.RestartNever && rapid.Bool().Draw(t, "auto")
		c.Collectors[id] = one
	}
	return c
}

func sometimes[T any](t *rapid.T, g *rapid.Generator[T]) T {
	var none T
	if rapid.Bool().Draw(t, "said") {
		return g.Draw(t, "value")
	}
	return none
}

// render is c in the words of a file. What is zero is left out.
func render(c config.Config) map[string]any {
	pm := map[string]any{"collector_binaries": c.ProcessManager.CollectorBinaries, "enable_auto_restart": c.ProcessManager.EnableAutoRestart}
	put(pm, "default_graceful_timeout_seconds", c.ProcessManager.DefaultGracefulTimeout)
	put(pm, "default_force_timeout_seconds", c.ProcessManager.DefaultForceTimeout)
	put(pm, "health_check_interval_seconds", c.ProcessManager.HealthCheckInterval)
	put(pm, "heartbeat_timeout_multiplier", c.ProcessManager.HeartbeatTimeoutMultiplier)

	collectors := map[string]any{}
	for id, one := range c.Collectors {
		m := map[string]any{"clear_env": one.ClearEnv, "auto_restart": one.AutoRestart, "autostart": one.Autostart}
		put(m, "type", one.Type)
		put(m, "binary_path", one.BinaryPath)
		put(m, "args", one.Args)
		put(m, "env", one.Env)
		put(m, "working_dir", one.WorkingDir)
		put(m, "restart", string(one.Restart))
		put(m, "max_restarts", one.MaxRestarts)
		put(m, "restart_window_seconds", one.RestartWindow)
		put(m, "backoff_initial_seconds", one.BackoffInitial)
		put(m, "backoff_max_seconds", one.BackoffMax)
		put(m, "backoff_reset_seconds", one.BackoffReset)
		put(m, "graceful_timeout_seconds", one.GracefulTimeout)
		put(m, "force_timeout_seconds", one.ForceTimeout)
		put(m, "stop_signal", one.StopSignal)
		put(m, "user", one.User)
		put(m, "unix_group", one.UnixGroup)
		put(m, "supplementary_groups", one.SupplementaryGroups)
		put(m, "umask", one.Umask)
		put(m, "capabilities", one.Capabilities)
		put(m, "read_only_paths", one.ReadOnlyPaths)
		put(m, "read_write_paths", one.ReadWritePaths)
		m["private_tmp"] = one.PrivateTmp
		put(m, "seccomp", one.Seccomp)
		put(m, "binary_sha256", one.BinarySHA256)
		put(m, "keep_fds", one.KeepFds)
		put(m, "secrets", one.Secrets)
		limits := map[string]any{}
		put(limits, "cpu_percent", one.ResourceLimits.CPUPercent)
		put(limits, "memory_max_mb", one.ResourceLimits.MemoryMaxMB)
		put(limits, "swap_max_mb", one.ResourceLimits.SwapMaxMB)
		put(limits, "core_mb", one.ResourceLimits.CoreMB)
		put(limits, "tasks_max", one.ResourceLimits.TasksMax)
		put(limits, "limits_required", one.ResourceLimits.Required)
		put(limits, "cpu_affinity", one.ResourceLimits.CPUAffinity)
		if n := one.ResourceLimits.Nice; n != 0 {
			limits["nice"] = n
		}
		put(m, "resource_limits", limits)
		collectors[id] = m
	}
	return map[string]any{"process_manager": pm, "collectors": collectors}
}

func put(m map[string]any, key string, value any) {
	if reflect.ValueOf(value).IsZero() {
		return
	}
	switch v := value.(type) { // the explicit zeroes are negative
	case time.Duration:
		value = max(v, 0).Seconds()
	case int:
		value = max(v, 0)
	}
	m[key] = value
}
