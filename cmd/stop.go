package cmd

import (
	"errors"
	"fmt"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) stopCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "stop ID…",
		Short: "Stop collectors",
		Long: `Stop asks collectors to end, kills what has not ended in time, and returns when
nothing of them is left. A restart that is due is cancelled. One that is stopped
already is left as it is, and that is no error.
` + exitStatus,
		Example: `  proctor stop web-1
  proctor stop 'net*' --timeout 5s
  proctor stop web-1 --force
  proctor stop --all -y`,
		ValidArgsFunction: a.completeIDs(stoppable),
	}
	force := c.Flags().Bool("force", false, "kill at once, without asking first")
	timeout := timeoutFlag(c)
	ch := &change{
		verb: "stop", ing: "stopping", fits: stoppable, idle: "does not run", asks: true,
		begun: stateBecomes(messages.Stopping, messages.Stopped, messages.Failed),
	}
	ch.does = func(c *call, id string) (string, any, error) {
		var exit messages.Exit
		var err error
		if *force {
			exit, err = c.Kill(c.ctx, id)
		} else {
			exit, err = c.Stop(c.ctx, id, timeout.d)
		}
		var e *messages.Error
		if errors.As(err, &e) && e.Kind == messages.InvalidState && (e.State == messages.Stopped || isGroup(id)) {
			return id + ": was stopped already", changeDocument{ID: id, Already: true}, nil
		}
		text := fmt.Sprintf("%s: stopped, %v", id, exit)
		if isGroup(id) || exit.PID == 0 && exit.SpawnError == "" && exit.Fault == "" {
			text = id + ": stopped" // there was no process, but a restart that was due
		}
		if exit.Forced {
			text += "; it had to be killed"
		}
		return text, changeDocument{ID: id, Exit: exitOf(&exit)}, err
	}
	changeFlags(c, ch)
	c.RunE = a.remote(ch.run)
	return c
}

func stoppable(s messages.Status) bool {
	return s.State != messages.Stopped && (s.State != messages.Failed || !s.NextRestart.IsZero())
}

// timeoutFlag is how long a collector may take to end by itself.
func timeoutFlag(c *cobra.Command) *durationValue {
	timeout := &durationValue{}
	c.Flags().VarP(timeout, "timeout", "t", "how long it may take to end by itself before it is killed (default: what is configured)")
	return timeout
}
