package actors

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/messages"
	"github.com/rs/zerolog"
)

// slogTo is the logger of an actor system. What the library says of its own
// comings and goings at level info is nothing that a user needs to know.
func slogTo(l zerolog.Logger) *slog.Logger {
	return slog.New(quiet{zerolog.NewSlogHandler(l)})
}

type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return q.Handler.Enabled(ctx, quieter(level))
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = quieter(r.Level)
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

func quieter(level slog.Level) slog.Level {
	if level == slog.LevelInfo {
		return slog.LevelDebug
	}
	return level
}

// startLog writes all events to l until ended is closed; logged is closed when
// the last one has been written. Writing may block: nobody else has to wait.
func startLog(system *actor.ActorSystem, l zerolog.Logger, ended <-chan struct{}) (subscriber *actor.PID, logged <-chan struct{}) {
	done := make(chan struct{})
	if l.GetLevel() == zerolog.Disabled {
		close(done)
		return nil, done
	}
	q, pid := newQueue(system)
	go func() {
		defer close(done)
		defer system.ProcessRegistry.Remove(pid)
		for e := range q.all(nil, ended) {
			LogEvent(l, e)
		}
	}()
	return pid, done
}

// LogEvent writes one event to l, as a supervisor WithLogger does.
func LogEvent(l zerolog.Logger, e messages.Event) {
	level, text := zerolog.InfoLevel, ""
	fields := func(*zerolog.Event) {}
	switch f := e.Fact.(type) {
	case messages.StateChanged:
		fields = func(z *zerolog.Event) {
			z.Stringer("from", f.From).Stringer("state", f.To)
			if f.PID != 0 {
				z.Int("pid", f.PID)
			}
			if f.Reason != "" {
				z.Str("reason", f.Reason)
			}
		}
		switch f.To {
		case messages.Failed:
			level, text = zerolog.ErrorLevel, "failed: "+f.Reason
		case messages.Running:
			text = fmt.Sprintf("running with pid %d", f.PID)
			if f.From == messages.Paused {
				text = "resumed"
			}
		case messages.Starting:
			level, text = zerolog.DebugLevel, "starting"
			if f.Reason != "" && (f.From == messages.Stopped || f.From == messages.Failed) {
				level, text = zerolog.InfoLevel, f.Reason
			}
		case messages.Stopping:
			level, text = zerolog.DebugLevel, "stopping"
		case messages.Stopped:
			text = "stopped"
			if f.Reason != "" {
				text += ": " + f.Reason
			}
		default:
			text = f.To.String()
		}
	case messages.Exited:
		text = fmt.Sprintf("process %d ended after %v: %v", f.Exit.PID, f.Exit.Ran.Round(time.Millisecond), f.Exit)
		if f.Exit.PID == 0 {
			text = f.Exit.String()
		}
		switch {
		case f.Exit.Forced && f.Exit.Signal == "" && f.Exit.PID != 0:
			text += "; what it had left running was killed"
		case f.Exit.Forced:
			text += ", killed"
		}
		if f.Because != "" {
			text += ", as " + f.Because
		}
		if !f.Expected {
			level = zerolog.WarnLevel
		}
		fields = func(z *zerolog.Event) {
			z.Int("pid", f.Exit.PID).Int("code", f.Exit.Code).Dur("ran", f.Exit.Ran)
			if f.Exit.Signal != "" {
				z.Str("signal", f.Exit.Signal)
			}
			if f.Exit.Forced {
				z.Bool("forced", true)
			}
			if len(f.Exit.Tail) > 0 && !f.Expected {
				z.Strs("tail", f.Exit.Tail)
			}
		}
	case messages.RestartScheduled:
		level = zerolog.WarnLevel
		when := "now"
		if f.After > 0 {
			when = "in " + f.After.Round(time.Millisecond).String()
		}
		text = fmt.Sprintf("%s; restarting %s, %d more %s allowed", f.Cause, when, f.Left, plural(f.Left, "restart is", "restarts are"))
		if f.Window > 0 {
			text += fmt.Sprintf(" within %v", f.Window)
		}
		fields = func(z *zerolog.Event) {
			z.Str("cause", f.Cause).Dur("after", f.After).Int("restart_count", f.Count).Int("restarts_left", f.Left)
		}
	case messages.StopForced:
		level, text = zerolog.WarnLevel, fmt.Sprintf("did not end within %v, and is being killed", f.After)
		if f.Exited {
			text = fmt.Sprintf("has ended, but what it started has not within %v, and is being killed", f.After)
		}
		fields = func(z *zerolog.Event) { z.Int("pid", f.PID) }
	case messages.TerminateFailure:
		level, text = zerolog.ErrorLevel, fmt.Sprintf("process %d is still there %v after it was killed", f.PID, f.After)
		fields = func(z *zerolog.Event) { z.Int("pid", f.PID) }
	case messages.OutputLost:
		level, text = zerolog.ErrorLevel, "its output cannot be stored: "+f.Reason
	case messages.OutputStored:
		level, text = zerolog.WarnLevel, fmt.Sprintf("its output can be stored again; %d lines (%d bytes) were dropped", f.Lines, f.Bytes)
		fields = func(z *zerolog.Event) { z.Uint64("lost_lines", f.Lines).Uint64("lost_bytes", f.Bytes) }
	case messages.UsageHigh:
		level, text = zerolog.WarnLevel, highText(f)
		fields = func(z *zerolog.Event) {
			z.Str("resource", f.Resource).Float64("percent", f.Percent).Int("threshold", f.Threshold).Int64("used", f.Used).Int64("limit", f.Limit)
		}
	case messages.UsageNormal:
		text = fmt.Sprintf("uses less than %d %% of %s again, after %v", f.Threshold, usedText(f.Resource), f.Lasted.Round(time.Second))
		if f.Ended {
			text = fmt.Sprintf("its process has ended, which used more than %d %% of %s for %v", f.Threshold, usedText(f.Resource), f.Lasted.Round(time.Second))
		}
		fields = func(z *zerolog.Event) { z.Str("resource", f.Resource).Float64("percent", f.Percent) }
	case messages.NotifyRefused:
		level, text = zerolog.WarnLevel, "what it says of itself is not done: "+f.Reason
	case messages.Reloaded:
		text = "has read its configuration again"
	case messages.HookFailed:
		level, text = zerolog.WarnLevel, "its "+f.Hook+" failed: "+f.Reason
		fields = func(z *zerolog.Event) { z.Str("hook", f.Hook) }
	case messages.Crashed:
		level, text = zerolog.ErrorLevel, f.Reason
	case messages.Added:
		level, text = zerolog.DebugLevel, "known from now on"
		fields = func(z *zerolog.Event) { z.Str("type", f.Type) }
	case messages.Removed:
		text = "removed"
	case messages.GroupRestarting:
		level = zerolog.WarnLevel
		when := "now"
		if f.After > 0 {
			when = "in " + f.After.Round(time.Millisecond).String()
		}
		text = fmt.Sprintf("%s ended: %s; restarting %s %s, %d more %s allowed", f.Child, f.Cause, strings.Join(f.Collectors, ", "), when, f.Left, plural(f.Left, "restart is", "restarts are"))
		fields = func(z *zerolog.Event) {
			z.Str("child", f.Child).Str("cause", f.Cause).Dur("after", f.After).Int("restarts_left", f.Left).Strs("collectors", f.Collectors)
		}
	case messages.GroupEnded:
		text = "ended: " + f.Reason
		if f.Failed {
			level, text = zerolog.ErrorLevel, "failed: "+f.Reason
		}
	case messages.ShuttingDown:
		text = "shutting down"
	case messages.HealthChanged:
		text = f.To.String()
		if f.Reason != "" {
			text += ": " + f.Reason
		}
		if f.To == messages.HealthUnhealthy || f.To == messages.HealthDegraded {
			level = zerolog.WarnLevel
		}
		fields = func(z *zerolog.Event) { z.Stringer("health", f.To) }
	case messages.Begun:
		level, text = zerolog.DebugLevel, "supervising"
		fields = func(z *zerolog.Event) { z.Str("instance", f.Instance) }
	case messages.ConfigApplied:
		text = fmt.Sprintf("another configuration is in force: %d added, %d removed, %d changed", f.Added, f.Removed, f.Changed)
		if len(f.Failed) > 0 {
			level = zerolog.ErrorLevel
			text += "; not done for " + strings.Join(f.Failed, ", ")
		}
	case messages.Audited:
		text = f.Op
		switch {
		case f.Denied:
			level, text = zerolog.WarnLevel, f.Op+" denied"
		case f.Err != nil:
			text = f.Err.Error()
		}
		text += " (" + e.Origin.By + ")"
		fields = func(z *zerolog.Event) { z.Bool("audit", true).Bool("denied", f.Denied).Str("op", f.Op) }
	case messages.Lost:
		level, text = zerolog.WarnLevel, fmt.Sprintf("%d events are missing here", f.Count)
	}
	z := l.WithLevel(level)
	if e.ID != "" {
		z.Str("collector", e.ID)
	}
	if e.Incarnation > 0 {
		z.Uint64("incarnation", e.Incarnation)
	}
	if e.Origin.By != "" {
		z.Str("by", e.Origin.By)
	}
	if e.Origin.Correlation != "" {
		z.Str("correlation", e.Origin.Correlation)
	}
	z.Func(fields).Uint64("seq", e.Seq).Msg(text)
}

// highText says how much of something is used.
func highText(f messages.UsageHigh) string {
	var text string
	switch f.Resource {
	case "memory":
		text = fmt.Sprintf("uses %.0f %% of its memory limit: %d of %d MiB", f.Percent, f.Used>>20, f.Limit>>20)
	case "tasks":
		text = fmt.Sprintf("has %.0f %% of the tasks that it may have: %d of %d", f.Percent, f.Used, f.Limit)
	default:
		text = fmt.Sprintf("uses %.0f %% of a processor", f.Percent)
	}
	if f.For > 0 {
		return text + fmt.Sprintf("; above %d %% for %v", f.Threshold, f.For)
	}
	return text + fmt.Sprintf("; above %d %%", f.Threshold)
}

func usedText(resource string) string {
	switch resource {
	case "memory":
		return "its memory limit"
	case "tasks":
		return "its tasks"
	}
	return "a processor"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
