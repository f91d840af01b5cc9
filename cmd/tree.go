package cmd

import (
	"fmt"
	"strings"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// statusTree draws the supervision tree: groups, with what is in them below them
// in order. What was not asked for, it leaves out.
func (c *call) statusTree(statuses []messages.Status, groups []messages.GroupStatus, used usages) string {
	color := c.colored(c.stdout)
	known := map[string]messages.Status{}
	for _, s := range statuses {
		known[s.ID] = s
	}
	inner := map[string]messages.GroupStatus{}
	children := map[string][]string{}
	for _, g := range groups {
		inner[g.Name] = g
		children[g.Name] = g.Children
		if g.Parent == "" {
			children[""] = append(children[""], config.GroupMark+g.Name)
		}
	}
	for _, s := range statuses {
		if _, grouped := inner[s.Group]; !grouped {
			children[""] = append(children[""], s.ID)
		}
	}
	// A group of which nothing was asked for is not drawn, unless all were.
	var shown func(name string) bool
	shown = func(name string) bool {
		group, is := strings.CutPrefix(name, config.GroupMark)
		if !is {
			_, asked := known[name]
			return asked
		}
		for _, child := range children[group] {
			if shown(child) {
				return true
			}
		}
		return len(children[group]) == 0
	}

	columns := []column{{"TREE", 0}, {"STATE", 0}, {"PID", 2}, {"UPTIME", 3}, {"RESTARTS", 4}, {"NEXT", 5}}
	if c.usage {
		columns = append(columns, usageColumns...)
	}
	var rows [][]string
	var notes []string
	var draw func(group, indent string)
	draw = func(group, indent string) {
		var list []string
		for _, child := range children[group] {
			if shown(child) {
				list = append(list, child)
			}
		}
		for i, child := range list {
			branch, further := "├─ ", "│  "
			if i == len(list)-1 {
				branch, further = "└─ ", "   "
			}
			name, is := strings.CutPrefix(child, config.GroupMark)
			if !is {
				row := c.statusRow(known[child], used, color)
				row[0] = indent + branch + child
				rows, notes = append(rows, row[:len(columns)]), append(notes, why(known[child]))
				continue
			}
			g := inner[name]
			hue := stateColors[min(int(g.State), len(stateColors)-1)]
			next := "-"
			if !g.NextRestart.IsZero() {
				next = c.until(g.NextRestart)
			}
			note := string(g.Strategy)
			if g.Reason != "" {
				note += "; " + g.Reason
			}
			row := []string{indent + branch + paint(color, bold, child), paint(color, hue, g.State.String()), "-", "-", fmt.Sprint(g.RestartCount), next}
			if c.usage {
				row = append(row, usageCells(used.groups[name].Usage)...)
			}
			rows = append(rows, row)
			notes = append(notes, note)
			draw(name, indent+further)
		}
	}
	rows, notes = append(rows, append([]string{"proctor"}, make([]string, len(columns)-1)...)), append(notes, "")
	draw("", "")
	return tabulate(columns, rows, "WHY", notes, c.width())
}
