package cmd

import (
	"fmt"
	"strings"

	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) reloadCommand() *cobra.Command {
	own := &change{
		verb: "reload", ing: "reloading", idle: "does not run",
		fits: func(s messages.Status) bool { return s.State == messages.Running },
		does: func(c *call, id string) (string, any, error) {
			return id + ": reloaded", changeDocument{ID: id}, c.ReloadCollector(c.ctx, id)
		},
	}
	c := &cobra.Command{
		Use:     "reload [ID…]",
		Aliases: []string{"update", "daemon-reload", "apply", "reread", "diff", "plan"},
		Short:   "Put a changed configuration file in force, or have collectors reload theirs",
		Long: `Reload has the supervisor read its configuration file again. If something is wrong
with it, all of that is said, and nothing changes. Otherwise only what was added,
removed or changed is touched, and what can change without a restart does so. A
changed collector whose new process does not come up is put back on its old
configuration. It returns when all of that is done; SIGHUP to the supervisor begins
the same.

With --dry-run, or as "proctor plan", "diff" or "reread", it only says what would
be done, and why.

With ids, or --all, it is the running collectors themselves that read their own
configuration again, by their reload_signal or reload_command; nothing is
restarted. It returns when they have, where they say so (reload_notify); else when
they have been told to.
` + exitStatus,
		Example: `  proctor reload --dry-run
  proctor reload
  proctor reload web-1
  proctor reload @pipeline`,
		Args: func(cc *cobra.Command, args []string) error {
			switch {
			case len(args) > 0 && *own.all:
				return fmt.Errorf("%s takes ids or --all, not both", cc.CommandPath())
			case len(args) > 0 && cc.CalledAs() != "reload":
				return fmt.Errorf("%[1]s takes no ids: it is about the whole configuration file; proctor reload %[2]s has %[2]s reload its own, proctor restart %[2]s restarts it", cc.CalledAs(), args[0])
			}
			return nil
		},
	}
	changeFlags(c, own)
	c.ValidArgsFunction = a.completeIDs(own.fits)
	dryRun := own.dryRun
	c.RunE = func(cc *cobra.Command, args []string) error {
		if len(args) > 0 || *own.all {
			return a.remote(own.run)(cc, args)
		}
		switch cc.CalledAs() {
		case "reread", "diff", "plan":
			*dryRun = true
		}
		return a.remote(func(c *call, _ []string) error {
			stop := c.spin(func() string { return "reloading" })
			reply, err := c.Reload(c.ctx, *dryRun)
			stop()
			if err != nil {
				return c.interrupted(err)
			}
			return c.applied(reply)
		})(cc, args)
	}
	return c
}

var actionColors = [messages.NumActions]string{
	messages.Add: good, messages.Remove: bad, messages.Update: alert, messages.Replace: alert,
}

// applied prints what a reload did, or would do.
func (c *call) applied(reply messages.ApplyReply) error {
	var failure error
	type document struct {
		ID         string         `json:"id"`
		Action     string         `json:"action"`
		Reasons    []string       `json:"reasons"`
		Error      *errorDocument `json:"error"`
		RolledBack bool           `json:"rolled_back"`
	}
	documents := []document{}
	color := c.colored(c.stdout)
	rows, notes := [][]string{}, []string{}
	for _, change := range reply.Changes {
		d := document{ID: change.ID, Action: change.Action.String(), Reasons: list(change.Reasons), RolledBack: change.RolledBack}
		id, hue := change.ID, ""
		if id == "" {
			id = "(all)"
		}
		if int(change.Action) < len(actionColors) {
			hue = actionColors[change.Action]
		}
		note := strings.Join(change.Reasons, "; ")
		if change.Err != nil {
			failure = worse(failure, change.Err)
			e := errorOf(change.Err)
			d.Error = &e
			note += "; FAILED: " + change.Err.Error()
			if change.RolledBack {
				note += "; it is on its old configuration again"
			}
		}
		documents = append(documents, d)
		rows, notes = append(rows, []string{id, paint(color, hue, d.Action)}), append(notes, note)
	}
	if c.structured() {
		if err := c.print(map[string]any{"dry_run": reply.DryRun, "changes": documents, "kept": reply.Kept}); err != nil {
			return err
		}
		return told(failure)
	}
	var b strings.Builder
	if len(rows) > 0 {
		b.WriteString(tabulate([]column{{"ID", 0}, {"ACTION", 0}}, rows, "WHY", notes, c.width()))
	}
	word := "changed"
	if reply.DryRun {
		word = "to change"
	}
	_, _ = fmt.Fprintf(&b, "%d %s, %d kept as %s\n", len(rows), word, reply.Kept, plural(reply.Kept, "it is", "they are"))
	if !c.quiet {
		if err := c.write([]byte(b.String())); err != nil {
			return err
		}
	}
	if failure != nil {
		c.complain(failure)
	}
	return told(failure)
}
