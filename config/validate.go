package config

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The limits of what can work.
const (
	// MaxTime is the longest time that can be asked for: a hundred years. What
	// is much longer cannot be counted in nanoseconds, nor added to a date.
	MaxTime = 100 * 365 * 24 * time.Hour

	// MinHealthCheckInterval keeps health checks from being a busy loop.
	MinHealthCheckInterval = time.Millisecond

	// MaxArgument is the size of the largest argument, or environment variable
	// with its name, in bytes: Linux's limit without the terminating NUL.
	MaxArgument = 128<<10 - 1

	// MaxArguments is the size of all arguments and environment variables
	// together, in bytes: Linux's limit with its usual stack of 8 MiB.
	MaxArguments = 2 << 20
)

// restarts are the restart modes.
var restarts = []string{string(RestartOnFailure), string(RestartAlways), string(RestartNever)}

// restartWords are what other supervisors call the restart modes.
var restartWords = map[string]Restart{
	"transient": RestartOnFailure, "unexpected": RestartOnFailure, "failure": RestartOnFailure, "on-abnormal": RestartOnFailure,
	"permanent": RestartAlways, "unless-stopped": RestartAlways, "true": RestartAlways, "yes": RestartAlways,
	"temporary": RestartNever, "no": RestartNever, "false": RestartNever, "off": RestartNever,
}

// Validate returns everything that is wrong with a configuration as Problems,
// with keys from the top ("collectors.web.max_restarts"), or nil. It looks at
// the settings alone; see Missing for what the host has to have.
func (c Config) Validate() error {
	var f findings
	f.processManager(c.ProcessManager)
	for _, id := range sorted(c.Collectors) {
		f.collector(id, c.Collectors[id], c.ProcessManager)
	}
	f.groups(c)
	f.dependencies(c)
	f.paths(c)
	f.control(c.Control)
	return f.problems.err()
}

// Validate returns everything that is wrong with the process manager's settings
// as Problems, with keys like "process_manager.health_check_interval_seconds",
// or nil.
func (pm ProcessManager) Validate() error {
	var f findings
	f.processManager(pm)
	return f.problems.err()
}

// Validate returns everything that is wrong with the settings of the collector
// with this id, and with the id, as Problems, with keys like
// "collectors.web.max_restarts", or nil. Defaults need not be filled in.
func (c Collector) Validate(id string) error {
	var f findings
	f.collector(id, c, ProcessManager{})
	return f.problems.err()
}

// Warnings are about what can work, but probably not as it is meant.
func (c Config) Warnings() Problems {
	var f findings
	if len(c.Collectors) == 0 {
		f.add("collectors", "", "no collectors are configured", "add one:"+ExampleCollector)
	}
	for _, id := range sorted(c.Collectors) {
		f.warnCollector(id, c.Collectors[id], c.ProcessManager)
	}
	return f.problems
}

// ExampleCollector is a collector in TOML, indented, on lines of its own.
const ExampleCollector = `
    [collectors.web-1]
    binary_path = "/usr/local/bin/web"
    args = ["--port", "8080"]`

// Warnings are about what can work for the collector with this id under this
// process manager, but probably not as it is meant.
func (c Collector) Warnings(id string, pm ProcessManager) Problems {
	var f findings
	f.warnCollector(id, c, pm)
	return f.problems
}

// maxFaultyID is how much of an id that is wrong anyway is repeated in the key of
// every other problem, in bytes.
const maxFaultyID = 1024

// maxRuns is the largest bound of [runs].
const maxRuns = 1_000_000

// findings collects problems.
type findings struct{ problems Problems }

func (f *findings) add(key, value, message, hint string, related ...string) {
	f.problems = append(f.problems, Problem{Key: key, Value: value, Message: message, Hint: hint, Related: related})
}

func (f *findings) processManager(pm ProcessManager) {
	key := func(parts ...string) string { return Key(append([]string{"process_manager"}, parts...)...) }
	f.output(func(parts ...string) string { return Key(append([]string{"output"}, parts...)...) }, pm.Output)
	f.noNUL("state_dir", pm.StateDir)
	f.noNUL("log.path", pm.LogPath)
	for _, bound := range []struct {
		key string
		n   int
	}{
		{"max_per_collector", pm.Runs.MaxPerCollector}, {"max_size_mb", pm.Runs.MaxSizeMB}, {"max_age_days", pm.Runs.MaxAgeDays}, {"max_crashes", pm.Runs.MaxCrashes},
	} {
		if key := Key("runs", bound.key); bound.n < 0 || bound.n > maxRuns {
			f.add(key, strconv.Itoa(bound.n), fmt.Sprintf("%d cannot be", bound.n), fmt.Sprintf("use a whole number from 1 to %d", maxRuns))
		}
	}

	for _, typ := range sorted(pm.CollectorBinaries) {
		key := key("collector_binaries", typ)
		if fault := nameFault(typ); fault != "" {
			f.add(key, typ, "not a collector type: "+fault, idSyntax)
		}
		if pm.CollectorBinaries[typ] == "" {
			f.add(key, "", "the path is empty", "write the path of the binary, or remove the line")
		}
		f.noNUL(key, pm.CollectorBinaries[typ])
	}
	f.noNUL(key("cgroup_parent"), pm.CgroupParent)
	if dir := pm.CgroupParent; dir != "" && dir != NoCgroup && !strings.HasPrefix(dir, "/") {
		f.add(key("cgroup_parent"), dir, quote(dir)+" is not an absolute path", `write the whole path, as in "/sys/fs/cgroup/proctor"`)
	}
	oneOf(f, key("on_supervisor_death"), pm.OnSupervisorDeath, "something that can become of collectors", Kill)
	if n := pm.StartConcurrency; n < 0 {
		f.add(key("start_concurrency"), strconv.Itoa(n), fmt.Sprintf("%d is negative", n), "use a whole number; 0 sets no limit")
	}
	f.time(key("default_graceful_timeout_seconds"), pm.DefaultGracefulTimeout)
	f.time(key("default_force_timeout_seconds"), pm.DefaultForceTimeout)
	if n := pm.MaxSpawnsPerSecond; n < 0 {
		f.add(key("max_spawns_per_second"), strconv.Itoa(n), fmt.Sprintf("%d is negative", n), "use a whole number; 0 sets no limit")
	}
	interval, multiplier := key("health_check_interval_seconds"), key("heartbeat_timeout_multiplier")
	f.time(interval, pm.HealthCheckInterval)
	if 0 < pm.HealthCheckInterval && pm.HealthCheckInterval < MinHealthCheckInterval {
		f.add(interval, Seconds(pm.HealthCheckInterval), "an interval of "+Seconds(pm.HealthCheckInterval)+" s is too short",
			"use at least "+Seconds(MinHealthCheckInterval))
	}
	if pm.HeartbeatTimeoutMultiplier < 0 {
		f.add(multiplier, strconv.Itoa(pm.HeartbeatTimeoutMultiplier), fmt.Sprintf("%d heartbeats cannot be missed", pm.HeartbeatTimeoutMultiplier),
			"use a whole number from 1 on")
	}
	if pm := pm.WithDefaults(); 0 < pm.HealthCheckInterval && pm.HealthCheckInterval <= MaxTime &&
		pm.HeartbeatTimeoutMultiplier > int(min(MaxTime/pm.HealthCheckInterval, math.MaxInt)) {
		f.add(multiplier, strconv.Itoa(pm.HeartbeatTimeoutMultiplier),
			fmt.Sprintf("%d × %s s is more than 100 years", pm.HeartbeatTimeoutMultiplier, Seconds(pm.HealthCheckInterval)),
			"use a smaller number", interval)
	}
}

func (f *findings) collector(id string, c Collector, pm ProcessManager) {
	key := func(parts ...string) string { return Key(append([]string{"collectors", id}, parts...)...) }

	if fault := nameFault(id); fault != "" {
		id = id[:min(len(id), maxFaultyID)]
		f.add(key(), id, "not a collector id: "+fault, idSyntax)
	}
	if fault := nameFault(c.Type); c.Type != "" && fault != "" {
		f.add(key("type"), c.Type, "not a collector type: "+fault, idSyntax)
	}
	f.noNUL(key("binary_path"), c.BinaryPath)
	f.noNUL(key("working_dir"), c.WorkingDir)
	f.noNUL(key("user"), c.User)
	f.noNUL(key("unix_group"), c.UnixGroup)
	if fault := nameFault(c.Group); c.Group != "" && fault != "" {
		f.add(key("group"), c.Group, "not the name of a group: "+fault, idSyntax)
	}
	f.conditions(id, key("requires"), c.Requires)
	f.conditions(id, key("after"), c.After)
	for i, other := range c.Wants {
		f.other(id, Element(key("wants"), i), other)
	}
	if c.Significant && c.Restart == RestartAlways {
		f.add(key("significant"), "true", `significant = true contradicts restart = "always": its end would never count`, `use "on-failure", or remove one of them`, key("restart"))
	}
	for i, g := range c.SupplementaryGroups {
		f.noNUL(Element(key("supplementary_groups"), i), g)
	}
	f.arguments(key, c)

	if word := string(c.Restart); word != "" && !known(c.Restart) {
		hint := didYouMean(word, restarts)
		if meant, ok := restartWords[strings.ReplaceAll(strings.ToLower(word), "_", "-")]; ok {
			hint = `here it is called "` + string(meant) + `"`
		}
		f.add(key("restart"), word, quote(word)+" is not a restart mode", hint)
	}
	if c.AutoRestart && c.Restart == RestartNever {
		f.add(key("auto_restart"), "true", `auto_restart = true contradicts restart = "never"`, "remove one of them", key("restart"))
	}
	if c.Kind != "" && c.Kind != Service && c.Kind != Task {
		f.add(key("kind"), string(c.Kind), quote(string(c.Kind))+" is not a kind of collector", didYouMean(string(c.Kind), []string{string(Service), string(Task)}))
	}
	if c.Kind == Task && c.Restart == RestartAlways {
		f.add(key("restart"), string(c.Restart), `restart = "always" contradicts kind = "task": a task would never be done`, `use "on-failure"`, key("kind"))
	}
	f.health(key, c)
	f.hooks(key, c, cmp.Or(c.GracefulTimeout, pm.WithDefaults().DefaultGracefulTimeout))
	f.exitCodes(key("success_exit_codes"), c.SuccessExitCodes)
	f.exitCodes(key("no_restart_exit_codes"), c.NoRestartExitCodes)
	f.time(key("retry_failed_after_seconds"), c.RetryFailedAfter)
	switch n := c.MaxRestarts; {
	case n < None:
		f.add(key("max_restarts"), strconv.Itoa(n), fmt.Sprintf("%d is negative", n), "use a whole number; 0 allows no restarts")
	case n > math.MaxInt32:
		f.add(key("max_restarts"), strconv.Itoa(n), fmt.Sprintf("%d is too many", n), fmt.Sprintf("use at most %d", math.MaxInt32))
	}

	f.time(key("restart_window_seconds"), c.RestartWindow, Forever)
	f.time(key("backoff_initial_seconds"), c.BackoffInitial, None)
	f.time(key("backoff_max_seconds"), c.BackoffMax)
	f.time(key("backoff_reset_seconds"), c.BackoffReset, None)
	f.time(key("graceful_timeout_seconds"), c.GracefulTimeout)
	f.time(key("force_timeout_seconds"), c.ForceTimeout)
	f.backoff(key, c)
	f.limits(key, c.ResourceLimits, false)
	f.confinement(key, c)
	f.warnings(key, c)

	f.output(func(parts ...string) string { return key(append([]string{"output"}, parts...)...) }, c.Output)
	if c.StopSignal != "" {
		if message, hint := stopSignalProblem(c.StopSignal); message != "" {
			f.add(key("stop_signal"), c.StopSignal, message, hint)
		}
	}
}

func (f *findings) backoff(key func(...string) string, c Collector) {
	initial, limit := key("backoff_initial_seconds"), key("backoff_max_seconds")
	full := c.WithDefaults("", ProcessManager{})
	if full.BackoffMax < 0 || full.BackoffInitial <= full.BackoffMax {
		return
	}
	message := fmt.Sprintf("a first delay of %s s is longer than the longest, %s s", Seconds(full.BackoffInitial), Seconds(full.BackoffMax))
	// The complaint belongs to what was said, not to a default.
	if c.BackoffInitial == 0 {
		f.add(limit, Seconds(c.BackoffMax), message, "set backoff_initial_seconds too", initial)
		return
	}
	f.add(initial, Seconds(c.BackoffInitial), message, "set backoff_max_seconds to "+Seconds(c.BackoffInitial)+" or more", limit)
}

// arguments checks what the system is given with the program: strings that end
// at their first NUL, and that have to fit into what it sets aside for them.
func (f *findings) arguments(key func(...string) string, c Collector) {
	total := len(c.BinaryPath) + 1
	for i, arg := range c.Args {
		f.noNUL(Element(key("args"), i), arg)
		f.size(Element(key("args"), i), "the argument", len(arg))
		total += len(arg) + 1
	}
	for _, name := range sorted(c.Env) {
		key, value := key("env", name), c.Env[name]
		switch {
		case name == "":
			f.add(key, "", "an environment variable needs a name", "")
		case strings.Contains(name, "="):
			f.add(key, name, `the name of an environment variable cannot contain "="`, "write NAME = \"value\"")
		case strings.ContainsRune(name, 0):
			f.add(key, "", "the name of an environment variable cannot contain a NUL", "remove it")
		}
		f.noNUL(key, value)
		f.size(key, "the variable", len(name)+1+len(value))
		total += len(name) + len(value) + 2
	}
	if total > MaxArguments {
		f.add(key("args"), "", fmt.Sprintf("arguments and environment together are %d bytes; the limit is %d", total, MaxArguments),
			"put them into a file that the collector reads", key("env"))
	}
}

func (f *findings) size(key, what string, size int) {
	if size > MaxArgument {
		f.add(key, "", fmt.Sprintf("%s is %d bytes long; the limit is %d", what, size, MaxArgument), "put it into a file that the collector reads")
	}
}

func (f *findings) noNUL(key, text string) {
	if i := strings.IndexByte(text, 0); i >= 0 {
		f.add(key, "", fmt.Sprintf("byte %d is a NUL, which ends a string for the operating system", i+1), "remove it")
	}
}

// time checks a time. Except are its explicit zeroes.
func (f *findings) time(key string, d time.Duration, except ...time.Duration) {
	switch {
	case len(except) > 0 && d == except[0]:
	case d < 0:
		f.add(key, Seconds(d), "a time cannot be negative: "+Seconds(d)+" s", "leave it out for its default")
	case d > MaxTime:
		f.add(key, Seconds(d), Seconds(d)+" s is more than 100 years", "use at most "+Seconds(MaxTime))
	}
}

func (f *findings) warnCollector(id string, c Collector, pm ProcessManager) {
	key := func(parts ...string) string { return Key(append([]string{"collectors", id}, parts...)...) }

	switch {
	case c.AutoRestart && !pm.EnableAutoRestart:
		f.add(key("auto_restart"), "true", "without effect, because the master switch is off",
			"set enable_auto_restart = true in [process_manager]", Key("process_manager", "enable_auto_restart"))
	case c.AutoRestart && c.MaxRestarts == None:
		f.add(key("auto_restart"), "true", "without effect, because max_restarts = 0 allows no restart", "remove one of them", key("max_restarts"))
	case !c.AutoRestart && c.Restart == RestartAlways:
		f.add(key("restart"), string(c.Restart), "without effect, because auto_restart is off", "set auto_restart = true too", key("auto_restart"))
	}
	if name, ok := signalName(c.StopSignal, runtime.GOOS); ok && name == "KILL" {
		f.add(key("stop_signal"), c.StopSignal, "SIGKILL leaves the collector no time to end gracefully", `use "SIGTERM"`)
	}
	f.warnConfinement(key, c)
}

func known(r Restart) bool {
	return r == RestartOnFailure || r == RestartAlways || r == RestartNever
}

// Seconds is d as a file writes it: a number of seconds, "0.5".
func Seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}
