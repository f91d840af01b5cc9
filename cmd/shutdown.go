package cmd

import (
	"fmt"
	"strings"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) shutdownCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "shutdown",
		Aliases: []string{"down"},
		Short:   "End all collectors, and the supervisor",
		Long: `Shutdown stops all collectors in reverse order of their start, accepts no new
starts, and ends the supervisor. It returns when nothing is left, and says what had
to be killed.
` + exitStatus,
		Example: "  proctor shutdown\n  proctor shutdown --timeout 5s -y",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("shutdown ends the supervisor and takes no ids; proctor stop %s stops a collector", args[0])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	force := c.Flags().Bool("force", false, "kill at once, without asking first")
	timeout := timeoutFlag(c)
	yes := c.Flags().BoolP("yes", "y", false, "the answer to the question that a terminal is asked")
	dryRun := c.Flags().Bool("dry-run", false, "only say what would be done")
	c.RunE = a.remote(func(c *call, _ []string) error {
		statuses, err := c.List(c.ctx)
		if err != nil {
			return err
		}
		ids := []string{}
		for _, s := range statuses {
			if stoppable(s) {
				ids = append(ids, s.ID)
			}
		}
		what := fmt.Sprintf("the supervisor and %d %s", len(ids), plural(len(ids), "collector", "collectors"))
		if len(ids) > 0 {
			what += ": " + abridged(ids)
		}
		if *dryRun {
			return c.say("would end "+what, map[string]any{"dry_run": true, "collectors": ids})
		}
		if err := c.confirm(*yes, "End "+what+"?"); err != nil {
			return err
		}
		stop := c.spin(func() string { return "ending all collectors" })
		var reply messages.ShutdownReply
		if *force {
			reply, err = c.ForceShutdown(c.ctx)
		} else {
			reply, err = c.Shutdown(c.ctx, timeout.d)
		}
		stop()
		if err != nil {
			return c.interrupted(err)
		}
		return c.hasShutDown(reply)
	})
	return c
}

func (c *call) hasShutDown(reply messages.ShutdownReply) error {
	type remainder struct {
		ID     string `json:"id"`
		PID    int    `json:"pid"`
		Reason string `json:"reason"`
	}
	left := []remainder{}
	text := fmt.Sprintf("%d %s ended", len(reply.Stopped), plural(len(reply.Stopped), "collector", "collectors"))
	if len(reply.Forced) > 0 {
		text += "; these had to be killed: " + strings.Join(reply.Forced, ", ")
	}
	for _, r := range reply.Left {
		left = append(left, remainder(r))
	}
	if err := c.say(text, map[string]any{"stopped": list(reply.Stopped), "forced": list(reply.Forced), "left": left}); err != nil {
		return err
	}
	var failure error
	for _, r := range reply.Left {
		err := &messages.Error{Op: "shutdown", ID: r.ID, Kind: messages.TerminateFailed, Text: fmt.Sprintf("process %d: %s", r.PID, r.Reason)}
		c.complain(err)
		failure = worse(failure, err)
	}
	return told(failure)
}
