package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

// conditions are what can be waited for.
var conditions = []string{
	"running", "stopped", "failed", "paused", "starting", "stopping", "healthy", "degraded", "unhealthy", "removed",
}

func (a *app) waitCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "wait ID…",
		Short: "Wait until collectors are in a state",
		Long: `Wait returns when all the collectors are in the state that is asked for, at the
same time: running, stopped, failed, paused, starting, stopping; healthy, degraded,
unhealthy; or removed. After --timeout it gives up, with exit code 6.
` + exitStatus,
		Example: `  proctor wait web-1 --for healthy --timeout 10s
  proctor wait 'web-*' --for stopped`,
		ValidArgsFunction: a.completeIDs(nil),
	}
	all := allFlag(c)
	condition := c.Flags().String("for", "running", "what to wait for")
	timeout := &durationValue{d: 30 * time.Second, set: true}
	c.Flags().VarP(timeout, "timeout", "t", "when to give up; 0: never")
	_ = c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(conditions, cobra.ShellCompDirectiveNoFileComp))
	c.Args = needIDs(all)
	c.RunE = func(cc *cobra.Command, args []string) error {
		word := strings.ToLower(strings.TrimPrefix(*condition, "condition="))
		if word == "delete" { // as kubectl says it
			word = "removed"
		}
		if !slices.Contains(conditions, word) {
			hint := "it is one of " + strings.Join(conditions, ", ")
			if near := config.Nearest(word, conditions); near != "" {
				hint = "did you mean " + near + "?"
			}
			return fmt.Errorf("--for %s: a collector is never that; %s", *condition, hint)
		}
		return a.remote(func(c *call, args []string) error { return c.wait(args, *all, word, timeout.d) })(cc, args)
	}
	return c
}

// recheck is how often health is asked for: no event tells of it.
const recheck = time.Second

func (c *call) wait(args []string, all bool, word string, timeout time.Duration) error {
	t, err := c.resolve(args, all, false)
	if err != nil {
		return err
	}
	// Before the first look, so that nothing is missed in between.
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	events, err := c.Events(ctx)
	if err != nil {
		return err
	}
	changed, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for range events {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	stop := c.spin(func() string { return fmt.Sprintf("waiting until %s: %s", abridged(t.ids), word) })
	defer stop()
	for {
		missing, is, err := c.notYet(t.ids, word)
		if c.ctx.Err() != nil {
			return interruptedWait(missing)
		}
		if err != nil {
			return c.explain(err)
		}
		if missing == "" {
			stop()
			return c.say(fmt.Sprintf("%s: %s", abridged(t.ids), word), map[string]any{"collectors": list(t.ids), "condition": word})
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ended:
			if c.ctx.Err() == nil {
				return &messages.Error{Op: "wait", ID: missing, Kind: messages.Internal, Text: "the supervisor has ended", Err: errEnded}
			}
		case <-expired:
			return &messages.Error{Op: "wait", ID: missing, Kind: messages.Timeout, Text: fmt.Sprintf("after %s it is not %s but %s", duration(timeout), word, is)}
		case <-c.ctx.Done():
			return interruptedWait(missing)
		}
	}
}

func interruptedWait(id string) error {
	return &messages.Error{Op: "wait", ID: id, Kind: messages.Timeout, Text: "it was interrupted"}
}

// notYet is one of the collectors that is not what is waited for, and what it is.
func (c *call) notYet(ids []string, word string) (id, is string, err error) {
	for _, id := range ids {
		s, err := c.Status(c.ctx, id)
		switch {
		case errors.Is(err, messages.ProcessNotFound) && word == "removed":
			continue
		case err != nil:
			return id, "", err
		case s.State.String() == word || s.Health.String() == word:
			continue
		}
		is := s.State.String()
		switch word {
		case "healthy", "degraded", "unhealthy":
			is += " and " + s.Health.String()
		}
		if s.Reason != "" {
			is += " (" + s.Reason + ")"
		}
		return id, is, nil
	}
	return "", "", nil
}

func (a *app) isActiveCommand() *cobra.Command {
	return a.stateTest("is-active", "is running", func(s messages.Status) bool {
		return s.State == messages.Running
	})
}

func (a *app) isFailedCommand() *cobra.Command {
	return a.stateTest("is-failed", "has failed", func(s messages.Status) bool {
		return s.State == messages.Failed
	})
}

// stateTest is a command for scripts that answers by its exit code alone.
func (a *app) stateTest(name, word string, is func(messages.Status) bool) *cobra.Command {
	c := &cobra.Command{
		Use:   name + " ID…",
		Short: "Test whether a collector " + word + ", for scripts",
		Long: capital(name) + ` prints nothing: its exit code is the answer.

EXIT STATUS
  0  one of the collectors ` + word + `
  1  none of them
  3  no such collector
  9  no supervisor answers; 2 and 8 as elsewhere
`,
		Example:           "  if proctor " + name + " web-1; then …",
		ValidArgsFunction: a.completeIDs(nil),
	}
	all := allFlag(c)
	c.Args = needIDs(all)
	c.RunE = a.remote(func(c *call, args []string) error {
		if *all {
			args = []string{"*"}
		}
		statuses, _, err := c.statuses(args)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(statuses, is) {
			return nil
		}
		return exitError(exitFailed)
	})
	return c
}
