// Package cmd is the command line of proctor, one file a command: flags in, text
// or JSON out. What it does is done by the packages below it.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes of every command.
const (
	exitDone            = 0
	exitFailed          = 1
	exitUsage           = 2
	exitProcessNotFound = 3
	exitInvalidState    = 4 // and AlreadyRunning
	exitSpawnFailed     = 5
	exitTimeout         = 6 // and TerminateFailed
	exitInvalidConfig   = 7
	exitPermission      = 8
	exitNoSupervisor    = 9
)

// Main runs proctor with these arguments, the program's name left out, and
// returns its exit code.
func Main(args []string) int {
	return run(args, os.Stdout, os.Stderr)
}

func run(args []string, stdout, stderr io.Writer) int {
	return newApp(stdout, stderr).run(context.Background(), args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	var told exitError
	if err != nil && !errors.As(err, &told) {
		if wantsJSON(args) { // flags that cannot be parsed have not been obeyed
			a.output = "json"
		}
		a.complain(err)
	}
	return exitCode(err)
}

// wantsJSON is whether a program reads what is printed, as far as that can be said
// of arguments that may make no sense.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch {
		case arg == "--":
			return false
		case arg == "--json", arg == "-ojson", arg == "-o=json", arg == "--output=json":
			return true
		case i > 0 && arg == "json" && (args[i-1] == "-o" || args[i-1] == "--output"):
			return true
		}
	}
	return false
}

// exitError ends a command with a code; what there was to say has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// failed is an error of a command that was understood.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

func exitCode(err error) int {
	var told exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &told):
		return int(told)
	case errors.Is(err, actors.ErrNoSupervisor):
		return exitNoSupervisor
	}
	for kind, code := range map[messages.Kind]int{
		messages.ProcessNotFound:  exitProcessNotFound,
		messages.AlreadyRunning:   exitInvalidState,
		messages.InvalidState:     exitInvalidState,
		messages.SpawnFailed:      exitSpawnFailed,
		messages.Timeout:          exitTimeout,
		messages.TerminateFailed:  exitTimeout,
		messages.InvalidConfig:    exitInvalidConfig,
		messages.PermissionDenied: exitPermission,
	} {
		if errors.Is(err, kind) {
			return code
		}
	}
	var e *messages.Error
	if errors.As(err, &failed{}) || errors.As(err, &e) {
		return exitFailed
	}
	return exitUsage // what else comes from the command line itself
}

const exitStatus = `
EXIT STATUS
  0  done                       5  a process could not be started
  1  anything else              6  not done in time, or a process would not end
  2  wrong usage                7  the configuration cannot work
  3  no such collector          8  not permitted
  4  not possible in its state  9  no supervisor answers
`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "proctor",
		Short: "Supervise collector processes",
		Long: `Proctor supervises collectors: the agents that gather security and observability
data on a host. It starts them, keeps them running, restarts them after a crash
within limits, and leaves nothing of them behind. "proctor run" is the supervisor;
the other commands are given to the one that runs.
` + exitStatus,
		Example: `  proctor run -c /etc/proctor.toml
  proctor status
  proctor restart web-1`,
		Version:           thisVersion().Version,
		PersistentPreRunE: a.checkGlobals,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              noSuchCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },

		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(noSuchFlag)
	a.globalFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	root.AddGroup(&cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "change", Title: "Change:"}, &cobra.Group{ID: "own", Title: "The supervisor:"})
	for group, commands := range map[string][]*cobra.Command{
		"look":   {a.statusCommand(), a.healthCommand(), a.logsCommand(), a.eventsCommand(), a.inspectCommand(), a.graphCommand(), a.whyCommand(), a.crashesCommand(), a.waitCommand(), a.isActiveCommand(), a.isFailedCommand()},
		"change": {a.startCommand(), a.stopCommand(), a.restartCommand(), a.tryRestartCommand(), a.pauseCommand(), a.resumeCommand(), a.signalCommand(), a.limitCommand(), a.heartbeatCommand(), a.resetCommand(), a.removeCommand()},
		"own":    {runCommand(), a.reloadCommand(), a.shutdownCommand(), configCommand(), doctorCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(versionCommand(), collectorCommand(), manCommand(), hiddenCheck())
	root.AddCommand(habitCommands()...)
	return root
}

// outputFlag adds -o to a command, and checks what was given.
func outputFlag(c *cobra.Command, words ...string) *string {
	format := c.Flags().StringP("output", "o", words[0], fmt.Sprintf("how to print: %v", words))
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		for _, word := range words {
			if *format == word {
				if before != nil {
					return before(c, args)
				}
				return nil
			}
		}
		return fmt.Errorf("-o %s: it is one of %v", *format, words)
	}
	return format
}

// noSuchCommand is what a command that only has subcommands says to a word that
// is none of them.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see %s --help", c.CommandPath())
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %s %s?", c.CommandPath(), strings.Join(near, " or "))
	}
	return fmt.Errorf("%s has no command %q; %s", c.CommandPath(), args[0], hint)
}

// noSuchFlag adds to an error about flags which one was probably meant.
func noSuchFlag(c *cobra.Command, err error) error {
	_, given, ok := strings.Cut(err.Error(), "unknown flag: --")
	if !ok {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(given, names); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
}
