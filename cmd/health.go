package cmd

import (
	"fmt"
	"strings"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) healthCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "health [ID…]",
		Short: "Show how well collectors do",
		Long: `Health says of each collector whether it is healthy, degraded, unhealthy or
unknown, and why. For a script that waits: proctor wait ID --for healthy.
` + exitStatus,
		Example:           "  proctor health\n  proctor health web-1 -o json",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeIDs(nil),
	}
	all := allFlag(c)
	c.RunE = a.remote(func(c *call, args []string) error {
		t, err := c.resolve(args, *all || len(args) == 0, false)
		if err != nil {
			return err
		}
		type document struct {
			ID      string   `json:"id"`
			Health  string   `json:"health"`
			Reasons []string `json:"reasons"`
		}
		documents := []document{}
		var b strings.Builder
		color := c.colored(c.stdout)
		var failure error
		for _, id := range t.ids {
			health, reasons, err := c.Health(c.ctx, id)
			if err != nil {
				err = c.unreachable(c.explain(err))
				failure = worse(failure, err)
				c.complain(err)
				continue
			}
			documents = append(documents, document{id, health.String(), list(reasons)})
			line := id + ": " + paint(color, healthColors[health], health.String())
			if len(reasons) > 0 {
				line += ", " + strings.Join(reasons, "; ")
			}
			_, _ = fmt.Fprint(&b, strings.TrimLeft(indented(line, 2, c.width()), " "))
		}
		if c.structured() {
			err = c.print(map[string]any{"collectors": documents})
		} else {
			err = c.write([]byte(b.String()))
		}
		if failure != nil {
			return told(failure)
		}
		return err
	})
	return c
}

var healthColors = map[messages.Health]string{
	messages.HealthHealthy: good, messages.HealthDegraded: alert, messages.HealthUnhealthy: bad, messages.HealthUnknown: faint,
}
