package cmd

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) startCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "start ID… [-- ARG…]",
		Short: "Start collectors",
		Long: `Start starts collectors that are stopped, have failed, or wait for a restart, and
forgets the restarts that are counted against them. It returns when each runs.

With --binary or --type it starts a collector that is in no file: how it is run is
said by the other flags, and what follows -- are its arguments.
` + exitStatus,
		Example: `  proctor start web-1 web-2
  proctor start 'net*'
  proctor start --all
  proctor start sleeper --binary /bin/sleep -- 60
  proctor start probe --binary ./probe --env LOG=debug --dir /tmp --arg -v`,
		ValidArgsFunction: a.completeIDs(startable),
	}
	var adHoc adHocFlags
	f := c.Flags()
	f.StringVar(&adHoc.binary, "binary", "", "the executable of a collector that is in no file")
	f.StringArrayVar(&adHoc.args, "arg", nil, "an argument for it; again for each")
	f.StringArrayVar(&adHoc.env, "env", nil, "NAME=VALUE for its environment; again for each")
	f.StringVar(&adHoc.dir, "dir", "", "its working directory")
	f.StringVar(&adHoc.kind, "type", "", "its collector type, by which the binary is found where --binary is not given")
	ch := &change{
		verb: "start", ing: "starting", fits: startable, idle: "runs already",
		begun: stateBecomes(messages.Starting, messages.Running),
	}
	changeFlags(c, ch)
	c.Args = nil
	c.RunE = func(cc *cobra.Command, args []string) error {
		if dash := cc.ArgsLenAtDash(); dash >= 0 {
			adHoc.args = append(adHoc.args, args[dash:]...)
			args = args[:dash]
		}
		if err := needIDs(ch.all)(cc, args); err != nil {
			return err
		}
		cfg, err := adHoc.config(args, *ch.all)
		if err != nil {
			return err
		}
		ch.does = func(c *call, id string) (string, any, error) {
			pid, err := c.Start(c.ctx, id, adHoc.kind, cfg)
			text := fmt.Sprintf("%s: started with pid %d", id, pid)
			if isGroup(id) {
				text = id + ": started"
			}
			return text, changeDocument{ID: id, PID: pid}, err
		}
		if cfg != nil || adHoc.kind != "" {
			return a.remote(func(c *call, args []string) error { return ch.runNew(c, args[0]) })(cc, args)
		}
		return a.remote(ch.run)(cc, args)
	}
	return c
}

func startable(s messages.Status) bool {
	return s.State == messages.Stopped || s.State == messages.Failed || s.State == messages.Starting && !s.NextRestart.IsZero()
}

// runNew starts one that need not be known.
func (ch *change) runNew(c *call, id string) error {
	if *ch.dryRun {
		s, err := c.Status(c.ctx, id)
		switch {
		case errors.Is(err, messages.ProcessNotFound):
			return c.say(fmt.Sprintf("would start %s, which is not known yet", id), map[string]any{"dry_run": true, "collectors": []any{map[string]string{"id": id, "action": "start", "state": ""}}})
		case err != nil:
			return err
		}
		return ch.rehearse(c, []string{id}, targets{known: map[string]messages.Status{id: s}})
	}
	return ch.each(c, []string{id})
}

// adHocFlags say how a collector is run that is in no file.
type adHocFlags struct {
	binary, dir, kind string
	args, env         []string
}

// config is what they say; nil: nothing.
func (f adHocFlags) config(ids []string, all bool) (*config.Collector, error) {
	if f.binary == "" && f.kind == "" {
		if len(f.args) > 0 || len(f.env) > 0 || f.dir != "" {
			return nil, errors.New("--arg, --env, --dir and what follows -- are for a collector that is in no file: say with --binary or --type which one that is")
		}
		return nil, nil
	}
	if all || len(ids) != 1 || isPattern(ids[0]) {
		return nil, errors.New("--binary and --type start one collector, under an id of its own: proctor start ID --binary PATH")
	}
	if err := config.ValidID(ids[0]); err != nil {
		return nil, fmt.Errorf("%q is no collector id: %w", ids[0], err)
	}
	cfg := &config.Collector{Args: f.args}
	for _, pair := range f.env {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--env %s: write NAME=VALUE", pair)
		}
		if cfg.Env == nil {
			cfg.Env = map[string]string{}
		}
		cfg.Env[name] = value
	}
	var err error
	// The supervisor has a working directory of its own: what is relative here is
	// made absolute here.
	if cfg.BinaryPath, err = absolute(f.binary); err != nil {
		return nil, failed{err}
	}
	if f.dir != "" {
		if cfg.WorkingDir, err = filepath.Abs(f.dir); err != nil {
			return nil, failed{err}
		}
	}
	if f.binary == "" && len(f.args) == 0 && len(f.env) == 0 && f.dir == "" {
		return nil, nil // by its type alone
	}
	return cfg, nil
}

func absolute(binary string) (string, error) {
	if binary == "" {
		return "", nil
	}
	if filepath.Base(binary) == binary {
		if found, err := exec.LookPath(binary); err == nil {
			binary = found
		}
	}
	return filepath.Abs(binary)
}

// stateBecomes is whether an event says that a collector got into one of these states.
func stateBecomes(states ...messages.State) func(messages.Event) bool {
	return func(e messages.Event) bool {
		changed, ok := e.Fact.(messages.StateChanged)
		for _, s := range states {
			if ok && changed.To == s {
				return true
			}
		}
		return false
	}
}
