package cmd

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// elsewhere are the words that other tools have taught and that mean something
// else here, or nothing: what to say to who tries them. Each does nothing.
var elsewhere = map[string]string{
	"clear":      "clear does nothing here, as elsewhere it deletes logs: those of collectors are rotated by themselves ([output] max_files), and proctor logs shows them",
	"flush":      "flush does nothing here, as elsewhere it deletes logs: those of collectors are rotated by themselves ([output] max_files), and proctor logs shows them",
	"up":         "to supervise what a file names: proctor run -c FILE; to start what is stopped: proctor start --all",
	"exit":       "to end the supervisor and all collectors: proctor shutdown",
	"quit":       "to end the supervisor and all collectors: proctor shutdown",
	"get":        "proctor status lists the collectors, proctor inspect ID shows all of one",
	"rollout":    "proctor restart --rolling restarts one after the other",
	"enable":     "whether a collector starts with the supervisor stands in the configuration file: autostart = true; then proctor reload",
	"disable":    "whether a collector starts with the supervisor stands in the configuration file: autostart = false; then proctor reload",
	"add":        "name the collector in the configuration file, then proctor reload; or, for now only, proctor start ID --binary PATH",
	"maintail":   "the supervisor's own log: proctor logs --self",
	"journalctl": "proctor logs shows what collectors have written, proctor events what has happened to them",
	"edit":       "edit the configuration file, try it with proctor config check FILE and proctor reload --dry-run, then proctor reload",
	"scale":      "each collector has an id of its own: name web-1, web-2, … in the configuration file, then proctor reload",
	"monit":      "proctor status --watch",
	"top":        "proctor status --watch",
}

// habitCommands are those words as hidden commands.
func habitCommands() []*cobra.Command {
	var commands []*cobra.Command
	for _, word := range sortedKeys(elsewhere) {
		commands = append(commands, &cobra.Command{
			Use:                word,
			Hidden:             true,
			Short:              "Say what to use instead",
			Long:               capital(elsewhere[word]) + ".\n",
			DisableFlagParsing: true,
			RunE: func(c *cobra.Command, args []string) error {
				for _, arg := range args {
					if arg == "--help" || arg == "-h" {
						return c.Help()
					}
				}
				return errors.New(elsewhere[word])
			},
		})
	}
	return commands
}

// alias has a flag be known by another name too.
func alias(c *cobra.Command, other, name string) {
	before := c.Flags().GetNormalizeFunc()
	c.Flags().SetNormalizeFunc(func(f *pflag.FlagSet, given string) pflag.NormalizedName {
		if given == other {
			given = name
		}
		if before != nil {
			return before(f, given)
		}
		return pflag.NormalizedName(given)
	})
}
