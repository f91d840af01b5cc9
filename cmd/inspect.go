package cmd

import (
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

// named are collectors of which only the ids are known.
func named(ids []string) []messages.Status {
	all := make([]messages.Status, len(ids))
	for i, id := range ids {
		all[i].ID = id
	}
	return all
}

func (a *app) inspectCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "inspect ID…",
		Aliases: []string{"show", "describe", "info"},
		Short:   "Show everything that is known about collectors",
		Long: `Inspect shows everything that is known about each collector: its status, what has
happened to it, what it uses (processor, memory and the like, as far as the system
tells), and the configuration that is in force, with all defaults. The names are
those of the protocol and of the configuration file. It is YAML, or JSON with
-o json.
` + exitStatus,
		Example:           "  proctor inspect web-1\n  proctor inspect web-1 -o json | jq '.collectors[0].config'",
		ValidArgsFunction: a.completeIDs(nil),
	}
	all := allFlag(c)
	c.Args = needIDs(all)
	c.RunE = a.remote(func(c *call, args []string) error {
		t, err := c.resolve(args, *all, false)
		if err != nil {
			return err
		}
		documents := []statusDocument{}
		used := c.usagesOf(named(t.ids), nil, false)
		var failure error
		for _, id := range t.ids {
			i, err := c.Inspect(c.ctx, id)
			if err != nil {
				err = c.unreachable(c.explain(err))
				failure = worse(failure, err)
				c.complain(err)
				continue
			}
			d := inspectionOf(i)
			d.Usage = usageDocumentOf(used.collectors[id])
			documents = append(documents, d)
		}
		text, err := encode(map[string]any{"collectors": documents}, c.output != "json")
		switch {
		case err != nil:
			return failed{err}
		case len(documents) > 0 || failure == nil:
			err = c.write(text)
		}
		if failure != nil {
			return told(failure)
		}
		return err
	})
	return c
}
