package cmd

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

// targets are the collectors that a command is about.
type targets struct {
	ids []string

	// named are those whose own ids were given: what cannot be done to one of them
	// is an error. The others were found by a pattern or are all: there are those
	// among them that the command has nothing to do for.
	named map[string]bool

	// known is the status of all that the supervisor knows, where that was asked.
	known map[string]messages.Status
	all   bool // --all, or the word

	// groups are those there are, by name, where that was asked.
	groups map[string]messages.GroupStatus
}

// allFlag adds --all to a command that takes ids.
func allFlag(c *cobra.Command) *bool {
	return c.Flags().BoolP("all", "a", false, "all collectors")
}

// needIDs is the Args of a command that takes ids or --all.
func needIDs(all *bool) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case *all && len(args) > 0:
			return fmt.Errorf("%s takes ids or --all, not both", c.CommandPath())
		case !*all && len(args) == 0:
			return fmt.Errorf("%s needs the id of a collector, a pattern such as 'web-*', or --all; \"proctor status\" lists them", c.CommandPath())
		}
		return nil
	}
}

// resolve finds the collectors that are meant. Ids are taken as they stand: what
// is wrong with one the supervisor says. With look it also asks for everybody's
// status.
func (c *call) resolve(args []string, all, look bool) (targets, error) {
	t := targets{named: map[string]bool{}, all: all}
	pattern := all
	for _, arg := range args {
		pattern = pattern || isPattern(arg) || arg == "all" || isGroup(arg)
	}
	if look || pattern {
		tree, err := c.Tree(c.ctx)
		if err != nil {
			return t, err
		}
		t.known, t.groups = map[string]messages.Status{}, map[string]messages.GroupStatus{}
		for _, g := range tree.Groups {
			t.groups[g.Name] = g
		}
		for _, s := range tree.Collectors {
			t.known[s.ID] = s
			if all {
				t.ids = append(t.ids, s.ID)
			}
		}
	}
	for _, arg := range args {
		switch {
		case isGroup(arg):
			group := groupOf(arg)
			if _, known := t.groups[group]; !known {
				return t, &messages.Error{Op: c.op, ID: arg, Kind: messages.ProcessNotFound, Text: noGroup(group, t.groups)}
			}
			if c.wholeGroups {
				t.ids = append(t.ids, config.GroupMark+group)
				t.named[config.GroupMark+group] = true
				continue
			}
			t.ids = append(t.ids, t.within(group)...)
		case arg == "all" && t.known["all"].ID == "":
			t.all = true
			for id := range t.known {
				t.ids = append(t.ids, id)
			}
			slices.Sort(t.ids)
		case isPattern(arg):
			found := false
			for _, id := range sortedKeys(t.known) {
				match, err := path.Match(arg, id)
				if err != nil {
					return t, fmt.Errorf("%s: it is no pattern: %w; * is any characters, ? is one, [a-c] is one of those", arg, err)
				}
				if match {
					t.ids, found = append(t.ids, id), true
				}
			}
			if !found {
				return t, &messages.Error{Op: c.op, ID: arg, Kind: messages.ProcessNotFound, Text: "no id is like that; " + theyAre(sortedKeys(t.known))}
			}
		default:
			t.ids = append(t.ids, arg)
			t.named[arg] = true
		}
	}
	t.ids = unique(t.ids)
	return t, nil
}

func isGroup(arg string) bool {
	return strings.HasPrefix(arg, config.GroupMark) || strings.HasSuffix(arg, ":*") || strings.HasSuffix(arg, ":")
}

// groupOf is the name in an argument that isGroup. As supervisorctl has it, web:* are
// those in the group web.
func groupOf(arg string) string {
	return strings.TrimPrefix(strings.TrimRight(arg, ":*"), config.GroupMark)
}

func noGroup(group string, groups map[string]messages.GroupStatus) string {
	names := sortedKeys(groups)
	switch near := config.Nearest(group, names); {
	case near != "":
		return "did you mean " + config.GroupMark + near + "?"
	case len(names) == 0:
		return fmt.Sprintf("there are no groups; a pattern such as '%s*' takes several collectors", group)
	}
	return "the groups are " + config.GroupMark + strings.Join(names, ", "+config.GroupMark)
}

// within are the collectors of a group, and of those in it, in order.
func (t targets) within(group string) (ids []string) {
	for _, child := range t.groups[group].Children {
		if inner, is := strings.CutPrefix(child, config.GroupMark); is {
			ids = append(ids, t.within(inner)...)
		} else {
			ids = append(ids, child)
		}
	}
	return ids
}

func isPattern(arg string) bool { return strings.ContainsAny(arg, "*?[") }

func unique(ids []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(ids, func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func theyAre(ids []string) string {
	switch {
	case len(ids) == 0:
		return "no collector is known"
	case len(ids) > 12:
		return fmt.Sprintf("%d collectors are known: proctor status lists them", len(ids))
	}
	return "those that are known: " + strings.Join(ids, ", ")
}

// explain has an error about an unknown id name the one that was probably meant.
func (c *call) explain(err error) error {
	var e *messages.Error
	if !errors.As(err, &e) || e.Kind != messages.ProcessNotFound || e.ID == "" || isPattern(e.ID) || c.ctx.Err() != nil {
		return err
	}
	statuses, listErr := c.List(c.ctx)
	if listErr != nil {
		return err
	}
	ids := make([]string, len(statuses))
	for i, s := range statuses {
		ids[i] = s.ID
	}
	told := *e
	switch near := config.Nearest(e.ID, ids); {
	case near != "":
		told.Text = "did you mean " + near + "?"
	case told.Text == "":
		told.Text = theyAre(ids)
	}
	told.Op = c.op
	return &told
}
