package cmd

import (
	"github.com/spf13/cobra"
)

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
		var known []string
		var failure error
		for _, id := range t.ids {
			i, err := c.Inspect(c.ctx, id)
			if err != nil {
				err = c.unreachable(c.explain(err))
				failure = worse(failure, err)
				c.complain(err)
				continue
			}
			documents, known = append(documents, inspectionOf(i)), append(known, id)
		}
		if len(known) > 0 { // all at once, as it may take a moment
			used := c.usageOf(true, true, known...)
			for i, id := range known {
				documents[i].Usage = usageDocumentOf(used.collectors[id])
			}
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
