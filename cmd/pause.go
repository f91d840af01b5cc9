package cmd

import (
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.simpleChange(&change{
		verb: "pause", ing: "pausing", idle: "does not run",
		fits: func(s messages.Status) bool { return s.State == messages.Running },
		does: func(c *call, id string) (string, any, error) {
			return id + ": paused", changeDocument{ID: id}, c.Pause(c.ctx, id)
		},
	}, &cobra.Command{
		Use:     "pause ID…",
		Aliases: []string{"freeze", "suspend"},
		Short:   "Suspend running collectors",
		Long: `Pause suspends the processes of running collectors, all that belongs to them,
until they are resumed, stopped or restarted.
` + exitStatus,
		Example: "  proctor pause web-1\n  proctor pause 'net*'",
	})
}

func (a *app) resumeCommand() *cobra.Command {
	return a.simpleChange(&change{
		verb: "resume", ing: "resuming", idle: "is not paused",
		fits: func(s messages.Status) bool { return s.State == messages.Paused },
		does: func(c *call, id string) (string, any, error) {
			return id + ": resumed", changeDocument{ID: id}, c.Resume(c.ctx, id)
		},
	}, &cobra.Command{
		Use:     "resume ID…",
		Aliases: []string{"thaw", "unpause"},
		Short:   "Let paused collectors go on",
		Long: `Resume lets collectors that are paused go on.
` + exitStatus,
		Example: "  proctor resume web-1\n  proctor resume --all",
	})
}

func (a *app) heartbeatCommand() *cobra.Command {
	var status string
	c := a.simpleChange(&change{
		verb: "send a heartbeat of", ing: "sending heartbeats", idle: "does not run",
		fits: func(s messages.Status) bool { return s.State == messages.Running },
		does: func(c *call, id string) (string, any, error) {
			return "", changeDocument{ID: id}, c.Heartbeat(c.ctx, id, status)
		},
	}, &cobra.Command{
		Use:   "heartbeat ID…",
		Short: "Say that running collectors are alive",
		Long: `Heartbeat is a sign of life of running collectors, for programs and scripts that do
not speak to the socket that notify gives them. After the first one more are
expected: one whose heartbeats stop coming for health_check_interval_seconds times
heartbeat_timeout_multiplier is unhealthy, and restarted.
` + exitStatus,
		Example: `  proctor heartbeat shipper --says "48 files, 3 behind"`,
	})
	c.Flags().StringVar(&status, "says", "", "what it does, in its own words")
	return c
}

func (a *app) removeCommand() *cobra.Command {
	return a.simpleChange(&change{
		verb: "remove", ing: "removing", idle: "has to be stopped first", asks: true,
		fits: func(s messages.Status) bool { return s.State == messages.Stopped || s.State == messages.Failed },
		does: func(c *call, id string) (string, any, error) {
			return id + ": removed", changeDocument{ID: id}, c.Remove(c.ctx, id)
		},
	}, &cobra.Command{
		Use:     "remove ID…",
		Aliases: []string{"rm", "delete"},
		Short:   "Forget collectors that are stopped",
		Long: `Remove has the supervisor forget collectors that are stopped or have failed. One
that the configuration file names comes back with the next reload.
` + exitStatus,
		Example: "  proctor remove probe",
	})
}

func (a *app) resetCommand() *cobra.Command {
	return a.simpleChange(&change{
		verb: "reset", ing: "resetting",
		fits: func(messages.Status) bool { return true },
		does: func(c *call, id string) (string, any, error) {
			return id + ": reset", changeDocument{ID: id}, c.Reset(c.ctx, id)
		},
	}, &cobra.Command{
		Use:     "reset ID…",
		Aliases: []string{"reset-failed"},
		Short:   "Forget the restarts that are counted",
		Long: `Reset forgets the restarts that are counted against the limit of each collector.
One that has failed is stopped then. Logs are not touched.
` + exitStatus,
		Example: "  proctor reset web-1\n  proctor reset-failed --all",
	})
}

// simpleChange is a change that has no flags of its own.
func (a *app) simpleChange(ch *change, c *cobra.Command) *cobra.Command {
	changeFlags(c, ch)
	c.ValidArgsFunction = a.completeIDs(ch.fits)
	c.RunE = a.remote(ch.run)
	return c
}
