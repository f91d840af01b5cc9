package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// errEnded is the cause where a supervisor ends while it is listened to.
var errEnded = actors.ErrNoSupervisor

func (a *app) eventsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "events",
		Aliases: []string{"event"},
		Short:   "Show what happens to collectors",
		Long: `Events shows what has happened to the collectors, as far back as the supervisor
remembers it; with -f what happens from now on, until Ctrl-C. Where some of it was
forgotten or came too fast, it says how many events are missing.

SINCE is the number of an event, a time as "15:04" or in RFC 3339, or how long ago
it is: "10m". With -o json there is one document a line.
` + exitStatus,
		Example: `  proctor events -f
  proctor events --since 10m --id 'web-*'
  proctor events -f --kind exited,state_changed -o json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeIDs(nil),
	}
	f := c.Flags()
	follow := f.BoolP("follow", "f", false, "go on with what happens")
	since := f.String("since", "", "from this event, or time, on")
	ids := f.StringSlice("id", nil, "of these collectors only; * is any characters")
	kinds := f.StringSlice("kind", nil, "of these kinds only: "+strings.Join(eventKinds(), ", "))
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(eventKinds(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("id", a.completeIDs(nil))
	c.RunE = func(cc *cobra.Command, args []string) error {
		from, err := parseSince(*since, a.now())
		if err != nil {
			return err
		}
		filter := eventFilter{ids: append(*ids, args...)}
		for _, kind := range *kinds {
			kind = strings.ReplaceAll(strings.ToLower(kind), "-", "_")
			if !slices.Contains(eventKinds(), kind) {
				hint := "it is one of " + strings.Join(eventKinds(), ", ")
				if near := config.Nearest(kind, eventKinds()); near != "" {
					hint = "did you mean " + near + "?"
				}
				return fmt.Errorf("--kind %s: no event is of this kind; %s", kind, hint)
			}
			filter.kinds = append(filter.kinds, kind)
		}
		for _, id := range filter.ids {
			if _, err := path.Match(id, ""); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
		return a.remote(func(c *call, _ []string) error { return c.events(from, *follow, filter) })(cc, args)
	}
	return c
}

// parseSince reads the number of an event, a time, or how long ago that is.
func parseSince(text string, now time.Time) (messages.Since, error) {
	if text == "" {
		return messages.Since{}, nil
	}
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return messages.Since{Seq: max(seq, 1)}, nil
	}
	if ago, err := parseDuration(strings.TrimSuffix(text, " ago")); err == nil {
		return messages.Since{Time: now.Add(-ago)}, nil
	}
	at, err := parseMoment(text, now)
	if err != nil {
		return messages.Since{}, fmt.Errorf("--since: %w, or the number of an event", err)
	}
	return messages.Since{Time: at}, nil
}

type eventFilter struct{ ids, kinds []string }

// wants is whether an event is asked for. That some are missing is always told.
func (f eventFilter) wants(e messages.Event) bool {
	if _, lost := e.Fact.(messages.Lost); lost {
		return true
	}
	if len(f.kinds) > 0 && !slices.Contains(f.kinds, kindOf(e.Fact)) {
		return false
	}
	return len(f.ids) == 0 || slices.ContainsFunc(f.ids, func(pattern string) bool {
		match, _ := path.Match(pattern, e.ID)
		return match
	})
}

// events shows events.
func (c *call) events(from messages.Since, follow bool, filter eventFilter) error {
	ctx, enough := context.WithCancel(c.ctx)
	defer enough()
	last, notBefore := uint64(0), time.Time{}
	if !follow {
		info, err := c.Info(ctx)
		if err != nil {
			return err
		}
		last, notBefore = info.LastEvent, from.Time
		// All that there is, up to the last: a time may have nothing after it.
		from = messages.Since{Seq: max(from.Seq, 1)}
		if from.Seq > last {
			return nil
		}
	}
	events, err := c.EventsSince(ctx, from)
	if err != nil {
		return err
	}
	for e := range events {
		if filter.wants(e) && !e.At.Before(notBefore) {
			text, err := c.eventText(e)
			if err != nil {
				return failed{err}
			}
			if err := c.write(text); err != nil {
				return err
			}
		}
		if !follow && e.Seq >= last {
			return nil
		}
	}
	if c.ctx.Err() != nil {
		return nil // Ctrl-C is how following ends
	}
	return &messages.Error{Op: "events", Kind: messages.Internal, Text: "the supervisor has ended", Err: errEnded}
}

// eventText is one event as it is printed.
func (c *call) eventText(e messages.Event) ([]byte, error) {
	switch c.output {
	case "json":
		return encode(eventOf(e), false)
	case "yaml":
		text, err := encode(eventOf(e), true)
		return append([]byte("---\n"), text...), err
	}
	var b strings.Builder
	w := consoleWriter(&b, c.colored(c.stdout))
	w.PartsOrder = slices.Concat([]string{zerolog.TimestampFieldName, "seq"}, w.PartsOrder[1:])
	name := w.FormatPartValueByName
	w.FormatPartValueByName = func(value any, field string) string {
		if field == "seq" {
			return fmt.Sprintf("%6v", value)
		}
		return name(value, field)
	}
	// It says things as the supervisor's log does, at the time when they happened.
	actors.LogEvent(zerolog.New(w).With().Time(zerolog.TimestampFieldName, e.At.Local()).Logger(), e)
	return []byte(b.String()), nil
}

// eventKinds are the names of what an event can say.
func eventKinds() []string {
	return []string{
		"added", "removed", "state_changed", "exited", "restart_scheduled", "stop_forced", "terminate_failure", "crashed", "group_restarting", "group_ended",
		"health_changed", "shutting_down", "begun", "config_applied", "audited", "output_lost", "output_stored", "notify_refused", "usage_high", "usage_normal", "lost",
	}
}

// kindOf is the name of what an event says, in the protocol's words.
func kindOf(f messages.Fact) string {
	kind, _ := factOf(f)
	return kind
}

// An eventDocument is an event for programs: what it says stands under the name of its
// kind, as in the protocol.
type eventDocument struct {
	Sequence      uint64     `json:"sequence"`
	At            *time.Time `json:"at"`
	Collector     string     `json:"collector"`
	Incarnation   uint64     `json:"incarnation"`
	By            string     `json:"by"`
	CorrelationID string     `json:"correlation_id"`
	Kind          string     `json:"kind"`

	fact any
}

func eventOf(e messages.Event) eventDocument {
	kind, fact := factOf(e.Fact)
	return eventDocument{e.Seq, moment(e.At), e.ID, e.Incarnation, e.Origin.By, e.Origin.Correlation, kind, fact}
}

// MarshalJSON puts what it says behind the rest.
func (d eventDocument) MarshalJSON() ([]byte, error) {
	type plain eventDocument
	head, err := json.Marshal(plain(d))
	if err != nil {
		return nil, err
	}
	fact, err := json.Marshal(d.fact)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s,%q:%s}", head[:len(head)-1], d.Kind, fact), nil
}

func factOf(fact messages.Fact) (kind string, document any) {
	switch f := fact.(type) {
	case messages.Added:
		return "added", map[string]any{"type": f.Type}
	case messages.Removed:
		return "removed", map[string]any{}
	case messages.StateChanged:
		return "state_changed", map[string]any{"from": f.From, "to": f.To, "pid": f.PID, "reason": f.Reason, "next_restart": moment(f.NextRestart)}
	case messages.Exited:
		return "exited", map[string]any{"exit": exitOf(&f.Exit), "expected": f.Expected, "because": f.Because}
	case messages.RestartScheduled:
		return "restart_scheduled", map[string]any{
			"cause": f.Cause, "after_seconds": f.After.Seconds(), "at": moment(f.At), "count": f.Count, "left": f.Left, "window_seconds": max(f.Window, 0).Seconds(),
		}
	case messages.StopForced:
		return "stop_forced", map[string]any{"pid": f.PID, "after_seconds": f.After.Seconds(), "exited": f.Exited}
	case messages.TerminateFailure:
		return "terminate_failure", map[string]any{"pid": f.PID, "after_seconds": f.After.Seconds()}
	case messages.Crashed:
		return "crashed", map[string]any{"reason": f.Reason}
	case messages.GroupRestarting:
		return "group_restarting", map[string]any{
			"child": f.Child, "cause": f.Cause, "collectors": list(f.Collectors), "after_seconds": f.After.Seconds(), "left": f.Left,
		}
	case messages.GroupEnded:
		return "group_ended", map[string]any{"failed": f.Failed, "reason": f.Reason}
	case messages.HealthChanged:
		return "health_changed", map[string]any{"from": f.From, "to": f.To, "reason": f.Reason}
	case messages.UsageHigh:
		return "usage_high", map[string]any{
			"resource": f.Resource, "percent": f.Percent, "threshold": f.Threshold, "used": f.Used, "limit": f.Limit, "for_seconds": f.For.Seconds(),
		}
	case messages.UsageNormal:
		return "usage_normal", map[string]any{
			"resource": f.Resource, "percent": f.Percent, "threshold": f.Threshold, "lasted_seconds": f.Lasted.Seconds(), "ended": f.Ended,
		}
	case messages.NotifyRefused:
		return "notify_refused", map[string]any{"reason": f.Reason}
	case messages.Reloaded:
		return "reloaded", map[string]any{}
	case messages.HookFailed:
		return "hook_failed", map[string]any{"hook": f.Hook, "reason": f.Reason}
	case messages.ShuttingDown:
		return "shutting_down", map[string]any{}
	case messages.Begun:
		return "begun", map[string]any{"instance": f.Instance, "pid": f.PID}
	case messages.ConfigApplied:
		return "config_applied", map[string]any{"added": f.Added, "removed": f.Removed, "changed": f.Changed, "failed": list(f.Failed)}
	case messages.Audited:
		d := map[string]any{"operation": f.Op, "denied": f.Denied}
		if f.Err != nil {
			d["error"] = errorOf(f.Err)
		}
		return "audited", d
	case messages.OutputLost:
		return "output_lost", map[string]any{"reason": f.Reason}
	case messages.OutputStored:
		return "output_stored", map[string]any{"lines": f.Lines, "bytes": f.Bytes}
	case messages.Lost:
		return "lost", map[string]any{"count": f.Count}
	}
	return fmt.Sprintf("%T", fact), map[string]any{}
}
