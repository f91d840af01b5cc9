package cmd

import (
	"errors"
	"fmt"

	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/spf13/cobra"
)

func (a *app) signalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "signal ID… SIGNAL",
		Aliases: []string{"kill", "sendSignal", "sendsignal"},
		Short:   "Send a signal to collectors",
		Long: `Signal sends one signal to the main process of each collector, or to the whole of
its process group. The signal is a name, with or without SIG, or a number, and may
stand first or last. As "proctor kill ID" it is SIGTERM. To end a collector, stop
it: one that a signal ends is restarted where that is configured.
` + exitStatus,
		Example: `  proctor signal web-1 HUP
  proctor signal USR1 web-1 web-2
  proctor kill -s HUP 'web-*'`,
		Args: cobra.ArbitraryArgs,
	}
	name := c.Flags().StringP("signal", "s", "", "the signal, if it is not an argument")
	group := c.Flags().Bool("group", false, "to the whole process group")
	ch := &change{verb: "signal", ing: "signalling", fits: live, idle: "does not run"}
	changeFlags(c, ch)
	c.ValidArgsFunction = a.completeSignal
	c.RunE = func(cc *cobra.Command, args []string) error {
		ids, sig, err := signalAndIDs(args, *name, cc.CalledAs() == "kill")
		if err != nil {
			return err
		}
		if err := needIDs(ch.all)(cc, ids); err != nil {
			return err
		}
		ch.does = func(c *call, id string) (string, any, error) {
			return fmt.Sprintf("%s: sent %s", id, sig), changeDocument{ID: id, Signal: sig}, c.Signal(c.ctx, id, sig, *group)
		}
		return a.remote(ch.run)(cc, ids)
	}
	return c
}

func live(s messages.Status) bool { return s.PID != 0 }

// signalAndIDs tells the signal from the ids: it is the last argument, or the
// first, or was given by a flag.
func signalAndIDs(args []string, name string, kill bool) (ids []string, sig string, err error) {
	ids, sig = args, name
	switch {
	case name != "":
		if _, err := platform.ParseSignal(name); err != nil {
			return nil, "", fmt.Errorf("-s %w", err)
		}
	case len(args) > 0 && isSignal(args[len(args)-1]):
		ids, sig = args[:len(args)-1], args[len(args)-1]
	case len(args) > 0 && isSignal(args[0]):
		ids, sig = args[1:], args[0]
	case kill:
		sig = "TERM"
	default:
		if len(args) > 1 {
			_, err := platform.ParseSignal(args[len(args)-1])
			return nil, "", fmt.Errorf("which signal? %w", err)
		}
		return nil, "", errors.New("signal needs an id and a signal: proctor signal web-1 HUP")
	}
	number, err := platform.ParseSignal(sig)
	if err != nil {
		return nil, "", err
	}
	return ids, number.Name(), nil
}

func isSignal(word string) bool {
	_, err := platform.ParseSignal(word)
	return err == nil
}
