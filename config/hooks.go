package config

import (
	"fmt"
	"path/filepath"
	"runtime"
	"time"
)

// DefaultHookTimeout is how long a hook may take.
const DefaultHookTimeout = 30 * time.Second

// A StopStep is a signal of a StopSequence.
type StopStep struct {
	Signal string
	After  time.Duration // since the one before
}

// CanReload reports whether the collector can be asked to read its configuration
// again.
func (c Collector) CanReload() bool { return c.ReloadSignal != "" || len(c.ReloadCommand) > 0 }

// hooks checks what is done around the life of a process. The keys stand beside
// each other in a file.
func (f *findings) hooks(key func(parts ...string) string, c Collector, graceful time.Duration) {
	for _, hook := range []struct {
		key     string
		command []string
	}{
		{"pre_start", c.PreStart}, {"post_start", c.PostStart}, {"pre_stop", c.PreStop}, {"post_exit", c.PostExit},
		{"stop_command", c.StopCommand}, {"reload_command", c.ReloadCommand},
	} {
		if hook.command != nil {
			f.command(key(hook.key), hook.key, hook.command)
		}
	}
	f.time(key("hook_timeout_seconds"), c.HookTimeout)
	if c.ReloadSignal != "" {
		message, hint := signalProblem(c.ReloadSignal)
		switch name, _ := signalName(c.ReloadSignal, runtime.GOOS); {
		case message != "":
			f.add(key("reload_signal"), c.ReloadSignal, message, hint)
		case name == "KILL" || name == "STOP" || name == "TERM":
			f.add(key("reload_signal"), c.ReloadSignal, "SIG"+name+" does not have a process read its configuration again", `use what its documentation names, which is often "SIGHUP"`)
		case len(c.ReloadCommand) > 0:
			f.add(key("reload_command"), "", "a collector is reloaded in one way: reload_signal and reload_command are set", "remove one of them", key("reload_signal"))
		}
	}
	if c.ReloadNotify && !c.CanReload() {
		f.add(key("reload_notify"), "true", "there is nothing that has it reload", `add reload_signal = "SIGHUP", or a reload_command`)
	}
	f.stopSequence(key, c, graceful)
}

func (f *findings) stopSequence(key func(parts ...string) string, c Collector, graceful time.Duration) {
	at := key("stop_sequence")
	if len(c.StopSequence) == 0 {
		if c.StopSequence != nil {
			f.add(at, "", "the sequence is empty", `write stop_sequence = ["SIGINT", 10, "SIGTERM"]: signals, and seconds between them`)
		}
		return
	}
	if c.StopSignal != "" && c.StopSignal != DefaultStopSignal && c.StopSignal != c.StopSequence[0].Signal {
		f.add(key("stop_signal"), c.StopSignal, "contradicts stop_sequence, which begins with another signal", "remove one of them", at)
	}
	var total time.Duration
	for i, step := range c.StopSequence {
		// A file has the times between the signals as elements of their own.
		at, pause := Element(at, 2*i), Element(at, 2*i-1)
		message, hint := stopSignalProblem(step.Signal)
		switch name, _ := signalName(step.Signal, runtime.GOOS); {
		case message != "":
			f.add(at, step.Signal, message, hint)
		case name == "KILL":
			f.add(at, step.Signal, "SIGKILL does not ask", "leave it out: what has not ended after graceful_timeout_seconds is killed, with all that it started")
		}
		switch {
		case i == 0 && step.After != 0:
			f.add(at, "", "a sequence begins with a signal", `for example ["SIGINT", 10, "SIGTERM"]`)
		case i > 0 && step.After <= 0:
			f.add(pause, "", "there has to be some time before the next signal", `for example ["SIGINT", 10, "SIGTERM"]`)
		case step.After > MaxTime:
			f.time(pause, step.After)
			return
		}
		total += step.After
	}
	if graceful > 0 && total >= graceful {
		f.add(at, "", fmt.Sprintf("it takes %s s, and what has not ended after graceful_timeout_seconds = %s is killed", Seconds(total), Seconds(graceful)),
			"raise graceful_timeout_seconds, or wait less", key("graceful_timeout_seconds"))
	}
}

// command checks a program and its arguments.
func (f *findings) command(key, name string, command []string) {
	switch {
	case len(command) == 0 || command[0] == "":
		f.add(key, "", "the program is missing", "write "+name+` = ["/usr/bin/touch", "/run/started"]`)
	case !filepath.IsAbs(command[0]):
		f.add(key, command[0], quote(command[0])+" is not an absolute path", `PATH is not searched: write the whole path; for a line of shell, ["/bin/sh", "-c", "…"]`)
	}
	for i, arg := range command {
		f.noNUL(Element(key, i), arg)
		f.size(Element(key, i), "the argument", len(arg))
	}
}

// Hooked reports whether there is any hook.
func (c Collector) Hooked() bool {
	return len(c.PreStart)+len(c.PostStart)+len(c.PreStop)+len(c.PostExit)+len(c.StopCommand)+len(c.ReloadCommand) > 0
}
