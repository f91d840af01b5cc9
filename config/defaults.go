package config

import (
	"maps"
	"strings"
	"time"
)

// What a field that holds its zero value means. This is the one place where
// defaults are said.
const (
	DefaultGracefulTimeout            = 30 * time.Second
	DefaultForceTimeout               = 5 * time.Second
	DefaultHealthCheckInterval        = 60 * time.Second
	DefaultHeartbeatTimeoutMultiplier = 3

	DefaultRestart        = RestartOnFailure
	DefaultMaxRestarts    = 3
	DefaultRestartWindow  = 300 * time.Second
	DefaultBackoffInitial = 100 * time.Millisecond
	DefaultBackoffMax     = 30 * time.Second
	DefaultBackoffReset   = 10 * time.Second

	DefaultStopSignal = "SIGTERM"
)

// WithDefaults fills in what is zero, in the process manager's settings and in
// those of every collector and group. Doing it again changes nothing.
func (c Config) WithDefaults() Config {
	c.ProcessManager = c.ProcessManager.WithDefaults()
	c.Collectors = maps.Clone(c.Collectors)
	for id, collector := range c.Collectors {
		c.Collectors[id] = collector.WithDefaults(id, c.ProcessManager)
	}
	c.Groups = maps.Clone(c.Groups)
	for name, group := range c.Groups {
		c.Groups[name] = group.WithDefaults()
	}
	return c
}

// WithDefaults fills in what is zero. Doing it again changes nothing.
func (pm ProcessManager) WithDefaults() ProcessManager {
	fill(&pm.DefaultGracefulTimeout, DefaultGracefulTimeout)
	fill(&pm.DefaultForceTimeout, DefaultForceTimeout)
	fill(&pm.HealthCheckInterval, DefaultHealthCheckInterval)
	fill(&pm.HeartbeatTimeoutMultiplier, DefaultHeartbeatTimeoutMultiplier)
	fill(&pm.Runs.MaxPerCollector, DefaultRunsPerCollector)
	fill(&pm.Runs.MaxSizeMB, DefaultRunsSizeMB)
	fill(&pm.Runs.MaxAgeDays, DefaultRunsAgeDays)
	fill(&pm.Runs.MaxCrashes, DefaultCrashes)
	return pm
}

// WithDefaults fills in what is zero in the settings of the collector with this
// id under this process manager, whose own zeroes count as its defaults. None
// and Forever stay what they are, so that doing it again changes nothing.
func (c Collector) WithDefaults(id string, pm ProcessManager) Collector {
	pm = pm.WithDefaults()
	fill(&c.Type, TypeOf(id))
	fill(&c.Kind, Service)
	fill(&c.Readiness, ReadyExec)
	fill(&c.StartupTimeout, DefaultStartupTimeout)
	if c.Readiness == ReadyFD {
		fill(&c.ReadinessFD, DefaultReadinessFD)
	}
	if c.Watchdog > 0 {
		fill(&c.WatchdogSignal, DefaultWatchdogSignal)
	}
	fill(&c.RestartOnUnhealthy, On)
	fill(&c.ConfinementRequired, On)
	for _, p := range []*Probe{&c.Liveness, &c.ReadinessProbe, &c.StartupProbe} {
		if p.Set() {
			*p = p.WithDefaults()
		}
	}
	fill(&c.Restart, DefaultRestart)
	fill(&c.MaxRestarts, DefaultMaxRestarts)
	fill(&c.RestartWindow, DefaultRestartWindow)
	fill(&c.BackoffInitial, DefaultBackoffInitial)
	fill(&c.BackoffMax, DefaultBackoffMax)
	fill(&c.BackoffReset, DefaultBackoffReset)
	fill(&c.GracefulTimeout, pm.DefaultGracefulTimeout)
	fill(&c.ForceTimeout, pm.DefaultForceTimeout)
	fill(&c.StopSignal, DefaultStopSignal)
	if c.CanReload() || c.Hooked() {
		fill(&c.HookTimeout, DefaultHookTimeout)
	}
	if c.ResourceLimits.MemorySoftMB > 0 {
		fill(&c.ResourceLimits.MemorySoft, DefaultMemorySoft)
	}
	if c.Warn.Set() {
		fill(&c.Warn.For, DefaultWarningTime)
	}
	c.Output = c.Output.under(pm.Output).WithDefaults()
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// TypeOf is the type of a collector that names none: its id without a trailing
// -<number>, so that "procmond-1" and "procmond-2" are two of type "procmond".
func TypeOf(id string) string {
	stem := strings.TrimRight(id, "0123456789")
	if len(stem) == len(id) || len(stem) < 2 || !strings.HasSuffix(stem, "-") {
		return id
	}
	return stem[:len(stem)-1]
}
