package cmd

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/proctord/proctor/platform"
	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this system gives to contain collectors, and what that means",
		Long: `Doctor looks which mechanisms there are to keep hold of what collectors start, and to
confine them, and says what those that are missing would be needed for. It tells of a supervisor that
is started as doctor is: as the same user, in the same cgroup. In a systemd unit run
it with systemd-run, with the unit's settings.
` + exitStatus,
		Example: "  proctor doctor\n  proctor doctor -o json",
		Args:    cobra.NoArgs,
	}
	format := outputFlag(c, "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		all := platform.Survey()
		if *format == "json" {
			return json.NewEncoder(c.OutOrStdout()).Encode(struct {
				Mechanisms []platform.Mechanism `json:"mechanisms"`
			}{all})
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		for _, m := range all {
			there := "yes"
			if !m.There {
				there = "no"
			}
			if _, err := fmt.Fprintf(w, "%s\t%s\t%s\n", m.Name, there, m.Meaning); err != nil {
				return err
			}
		}
		return w.Flush()
	}
	return c
}
