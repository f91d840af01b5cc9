package cmd

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/proctord/proctor/config/toml"
	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Look at configuration files",
		Args:  noSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(configCheckCommand())
	return c
}

func configCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "check FILE",
		Aliases: []string{"validate", "verify"},
		Short:   "Say everything that is wrong with a configuration file",
		Long: `Check reads a configuration file and says everything that is wrong with it, each
with its place and what would be right. It also looks whether this host has the
binaries and directories that the file names.
` + exitStatus,
		Example: "  proctor config check /etc/proctor.toml",
		Args:    cobra.ExactArgs(1),
	}
	format := outputFlag(c, "text", "json")
	c.RunE = func(c *cobra.Command, args []string) error { return checkFile(c.OutOrStdout(), args[0], *format) }
	return c
}

// checkFile says everything that is wrong with a file.
func checkFile(out io.Writer, file, format string) error {
	report := toml.Check(file)
	bad := append(report.Problems[:len(report.Problems):len(report.Problems)], report.Missing...)
	if format == "json" {
		if err := json.NewEncoder(out).Encode(struct {
			File     string        `json:"file"`
			Valid    bool          `json:"valid"`
			Problems toml.Problems `json:"problems"`
			Warnings toml.Problems `json:"warnings"`
		}{file, len(bad) == 0, orEmpty(bad), orEmpty(report.Warnings)}); err != nil {
			return failed{err}
		}
	} else {
		for i := range bad {
			_, _ = fmt.Fprintln(out, bad[i].Error())
		}
		for i := range report.Warnings {
			_, _ = fmt.Fprintf(out, "warning: %v\n", report.Warnings[i].Error())
		}
	}
	if len(bad) > 0 {
		return exitError(exitInvalidConfig)
	}
	if format == "text" {
		_, _ = fmt.Fprintf(out, "%s: good, %d %s\n", file, len(report.Config.Collectors), plural(len(report.Config.Collectors), "collector", "collectors"))
	}
	return nil
}

// hiddenCheck is "proctor check", as others have it.
func hiddenCheck() *cobra.Command {
	c := configCheckCommand()
	c.Aliases = []string{"validate", "verify"}
	c.Hidden = true
	return c
}

func orEmpty(ps toml.Problems) toml.Problems {
	if ps == nil {
		return toml.Problems{}
	}
	return ps
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
