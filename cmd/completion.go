package cmd

import (
	"context"
	"slices"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

// completionTime is how long a shell waits for ids: a supervisor that does not
// answer must not hold up somebody who types.
const completionTime = 500 * time.Millisecond

// completeIDs completes the ids of the collectors that the supervisor knows and
// that fit; nil fits all.
func (a *app) completeIDs(fits func(messages.Status) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		conn, err := a.dial(ctx, a.socket)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer conn.Close()
		tree, err := conn.Tree(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []cobra.Completion
		for _, g := range tree.Groups {
			if name := config.GroupMark + g.Name; !slices.Contains(args, name) {
				ids = append(ids, cobra.CompletionWithDesc(name, g.State.String()))
			}
		}
		for _, s := range tree.Collectors {
			if (fits == nil || fits(s)) && !slices.Contains(args, s.ID) {
				ids = append(ids, cobra.CompletionWithDesc(s.ID, s.State.String()))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeSignal completes ids, and after one signals too.
func (a *app) completeSignal(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ids, directive := a.completeIDs(live)(c, args, word)
	if len(args) > 0 {
		ids = append(ids, "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "KILL")
	}
	return ids, directive
}
