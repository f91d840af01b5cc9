package cmd

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built, with -ldflags "-X …/cmd.version=1.2.3".
var version = ""

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print which proctor this is",
		Args:  cobra.NoArgs,
	}
	format := outputFlag(c, "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := thisVersion()
		if *format == "json" {
			return json.NewEncoder(c.OutOrStdout()).Encode(v)
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "proctor %s %s/%s %s\n", v.Version, v.OS, v.Arch, v.Go)
		return err
	}
	return c
}

func thisVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			v.Revision = setting.Value
		}
	}
	return v
}
