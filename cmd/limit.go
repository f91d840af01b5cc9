package cmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) limitCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "limit ID… KEY=VALUE…",
		Aliases: []string{"set-property"},
		Short:   "Change what collectors may use, while they run",
		Long: `Limit changes limits of resources of each collector, without a restart. The keys are
those of [collectors.<id>.resource_limits] in the configuration file; "none" lifts a
limit, and what is not named stays as it is. What is not running has the limits
from its next start on.

They last until the collector's configuration is changed by a reload. What the
system cannot do is said, and the rest is in force; where limits_required is set
nothing changes then. "proctor inspect ID" shows the limits that there are.
` + exitStatus,
		Example: `  proctor limit web-1 memory_max_mb=200 cpu_percent=50
  proctor limit web-1 cpu_percent=none
  proctor limit @pipeline io_write_mb_per_second=20`,
		Args: cobra.ArbitraryArgs,
	}
	ch := &change{verb: "limit", ing: "limiting", fits: func(messages.Status) bool { return true }}
	changeFlags(c, ch)
	c.ValidArgsFunction = a.completeLimits
	c.RunE = func(cc *cobra.Command, args []string) error {
		ids, limits, err := limitsAndIDs(args)
		if err != nil {
			return err
		}
		if err := needIDs(ch.all)(cc, ids); err != nil {
			return err
		}
		var words []string
		for _, key := range slices.Sorted(maps.Keys(limits)) {
			words = append(words, key+"="+limits[key])
		}
		ch.does = func(c *call, id string) (string, any, error) {
			reply, err := c.Limit(c.ctx, id, limits)
			text := fmt.Sprintf("%s: %s", id, strings.Join(words, " "))
			for _, unmet := range reply.Unmet {
				text += "\n" + id + ": not in force: " + unmet
			}
			document := struct {
				ID     string         `json:"id"`
				Limits map[string]any `json:"resource_limits"`
				Unmet  []string       `json:"unmet"`
			}{ID: id, Unmet: list(reply.Unmet)}
			if !strings.HasPrefix(id, config.GroupMark) {
				document.Limits = reply.Limits.Table()
			}
			return text, document, err
		}
		return a.remote(ch.run)(cc, ids)
	}
	return c
}

// limitsAndIDs tells limits from ids: they have a "=" in them.
func limitsAndIDs(args []string) (ids []string, limits map[string]string, err error) {
	limits = map[string]string{}
	var scratch config.ResourceLimits
	for _, arg := range args {
		key, value, is := strings.Cut(arg, "=")
		if !is {
			ids = append(ids, arg)
			continue
		}
		if err := scratch.Set(key, value); err != nil {
			return nil, nil, err
		}
		limits[key] = value
	}
	if len(limits) == 0 {
		return nil, nil, fmt.Errorf("limit needs an id and a limit, as in proctor limit web-1 memory_max_mb=200; the limits are %s", strings.Join(config.LimitKeys(), ", "))
	}
	return ids, limits, nil
}

// completeLimits completes ids, and after one the names of limits too.
func (a *app) completeLimits(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ids, directive := a.completeIDs(nil)(c, args, word)
	if len(args) > 0 {
		for _, key := range config.LimitKeys() {
			ids = append(ids, key+"=")
		}
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return ids, directive
}
