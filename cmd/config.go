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

With --audit it also says how much each collector could do if somebody took it
over, from 0 to 10, and which settings would lower that by how much. It is an
opinion on the settings, as if root started the supervisor; it knows nothing of
the programs, and some of them need what it would take away.
` + exitStatus,
		Example: "  proctor config check /etc/proctor.toml\n  proctor config check --audit /etc/proctor.toml",
		Args:    cobra.ExactArgs(1),
	}
	format := outputFlag(c, "text", "json")
	audit := c.Flags().Bool("audit", false, "say how exposed each collector is, and what would lower that")
	c.RunE = func(c *cobra.Command, args []string) error {
		return checkFile(c.OutOrStdout(), args[0], *format, *audit)
	}
	return c
}

// checkFile says everything that is wrong with a file.
func checkFile(out io.Writer, file, format string, audit bool) error {
	report := toml.Check(file)
	var exposures []exposureDocument
	if audit {
		exposures = exposuresOf(report.Config.Audit())
	}
	bad := append(report.Problems[:len(report.Problems):len(report.Problems)], report.Missing...)
	if format == "json" {
		if err := json.NewEncoder(out).Encode(struct {
			File     string        `json:"file"`
			Valid    bool          `json:"valid"`
			Problems toml.Problems `json:"problems"`
			Warnings toml.Problems `json:"warnings"`

			Audit []exposureDocument `json:"audit,omitempty"`
		}{file, len(bad) == 0, orEmpty(bad), orEmpty(report.Warnings), exposures}); err != nil {
			return failed{err}
		}
	} else {
		for i := range bad {
			_, _ = fmt.Fprintln(out, bad[i].Error())
		}
		for i := range report.Warnings {
			_, _ = fmt.Fprintf(out, "warning: %v\n", report.Warnings[i].Error())
		}
		for _, e := range exposures {
			e.print(out)
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
