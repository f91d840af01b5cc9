package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Readiness says when a collector that has been started counts as up.
type Readiness string

// The ways to tell, in the words of the configuration file.
const (
	ReadyExec   Readiness = "exec"   // as soon as it has been exec'ed
	ReadyProbe  Readiness = "probe"  // when its readiness_probe succeeds
	ReadyNotify Readiness = "notify" // when it says READY=1 (sd_notify)
	ReadyFD     Readiness = "fd"     // when it has written a line feed to descriptor ReadinessFD
	ReadyLog    Readiness = "log"    // when a line of its output matches ReadinessPattern
)

var readinesses = []string{string(ReadyExec), string(ReadyProbe), string(ReadyNotify), string(ReadyFD), string(ReadyLog)}

// The defaults of what a collector tells of itself.
const (
	DefaultStartupTimeout = 60 * time.Second
	DefaultReadinessFD    = 3
	DefaultWatchdogSignal = "SIGABRT"
)

// maxReadinessFD is the highest number that ReadinessFD can have.
const maxReadinessFD = 255

// Notifies reports whether the collector is given a socket to tell of itself.
func (c Collector) Notifies() bool {
	return c.Notify == On || c.Notify == Unsaid && c.needsNotify() != ""
}

// needsNotify is the setting that needs such a socket, with its value.
func (c Collector) needsNotify() string {
	switch {
	case c.Readiness == ReadyNotify:
		return `readiness = "notify"`
	case c.Watchdog > 0:
		return "watchdog_seconds"
	case c.ReloadNotify:
		return "reload_notify = true"
	case c.Activity.Source == ActivityNotify:
		return `activity.source = "notify"`
	}
	return ""
}

func (f *findings) health(key func(parts ...string) string, c Collector) {
	within := func(name string) func(parts ...string) string {
		return func(parts ...string) string { return key(append([]string{name}, parts...)...) }
	}
	f.probe(within("liveness"), c.Liveness, true)
	f.probe(within("startup_probe"), c.StartupProbe, true)
	f.probe(within("readiness_probe"), c.ReadinessProbe, false)
	f.time(key("startup_timeout_seconds"), c.StartupTimeout)
	f.readiness(key, c)
	f.activity(key, c)
	f.time(key("watchdog_seconds"), c.Watchdog)
	f.signalName(key("watchdog_signal"), c.WatchdogSignal)
	if need := c.needsNotify(); need != "" && c.Notify == Off {
		f.add(key("notify"), "false", "contradicts "+need+", which needs the socket", "remove one of them")
	}
}

func (f *findings) readiness(key func(parts ...string) string, c Collector) {
	word := string(c.Readiness)
	switch c.Readiness {
	case "", ReadyExec, ReadyNotify, ReadyFD:
	case ReadyProbe:
		if !c.ReadinessProbe.Set() {
			f.add(key("readiness"), word, `readiness = "probe" needs a readiness_probe`,
				"add [collectors.<id>.readiness_probe] with one of exec, http, tcp, grpc and unix")
		}
	case ReadyLog:
		switch {
		case c.ReadinessPattern == "":
			f.add(key("readiness"), word, `readiness = "log" needs a readiness_pattern`, "add an expression, as in readiness_pattern = 'listening on'")
		case c.Output.Target == OutputInherit:
			f.add(key("readiness"), word, `with output.target = "inherit" nobody reads what it writes`, "use another target, or another readiness", key("output", "target"))
		}
	default:
		f.add(key("readiness"), word, quote(word)+" is not a way to tell that a collector is ready", didYouMean(word, readinesses))
	}
	if c.ReadinessPattern != "" {
		f.expression(key("readiness_pattern"), c.ReadinessPattern)
	}
	if n := c.ReadinessFD; n != 0 && (n < DefaultReadinessFD || n > maxReadinessFD) {
		f.add(key("readiness_fd"), strconv.Itoa(n), fmt.Sprintf("%d cannot be", n), fmt.Sprintf("use a number from %d to %d", DefaultReadinessFD, maxReadinessFD))
	}
	// What belongs to another readiness than it has would do nothing.
	for _, idle := range []struct {
		key   string
		set   bool
		needs Readiness
	}{{"readiness_fd", c.ReadinessFD != 0 && c.ReadinessFD != DefaultReadinessFD, ReadyFD}, {"readiness_pattern", c.ReadinessPattern != "", ReadyLog}} {
		if idle.set && c.Readiness != idle.needs && slices.Contains(readinesses, cmp.Or(word, string(ReadyExec))) {
			f.add(key(idle.key), "", "is for readiness = "+quote(string(idle.needs)), "remove it, or set that", key("readiness"))
		}
	}
}
