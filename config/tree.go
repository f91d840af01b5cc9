package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Units are the children of each group, in order: ids of collectors, and names of
// groups with GroupMark before them. Those of "" are the children of the
// supervisor itself, which are also those whose group there is none of. They
// are ordered as Order says; what that does not name comes last, by name.
func (c Config) Units() map[string][]string {
	units := map[string][]string{}
	for id, one := range c.Collectors {
		units[c.known(one.Group)] = append(units[c.known(one.Group)], id)
	}
	for name, g := range c.Groups {
		units[c.known(g.Parent)] = append(units[c.known(g.Parent)], GroupMark+name)
	}
	ranks := c.ranks()
	for _, children := range units {
		slices.SortFunc(children, func(a, b string) int { return ranks[a] - ranks[b] })
	}
	return units
}

func (c Config) known(group string) string {
	if _, ok := c.Groups[group]; ok {
		return group
	}
	return ""
}

// ranks numbers all collectors and groups.
func (c Config) ranks() map[string]int {
	ranks := make(map[string]int, len(c.Collectors)+len(c.Groups))
	for _, name := range c.Order {
		_, isCollector := c.Collectors[name]
		_, isGroup := c.Groups[strings.TrimPrefix(name, GroupMark)]
		if _, twice := ranks[name]; !twice && (isCollector || isGroup && strings.HasPrefix(name, GroupMark)) {
			ranks[name] = len(ranks)
		}
	}
	var rest []string
	for id := range c.Collectors {
		if _, ok := ranks[id]; !ok {
			rest = append(rest, id)
		}
	}
	for name := range c.Groups {
		if _, ok := ranks[GroupMark+name]; !ok {
			rest = append(rest, GroupMark+name)
		}
	}
	slices.SortFunc(rest, CompareIDs)
	for _, name := range rest {
		ranks[name] = len(ranks)
	}
	return ranks
}

// DependenciesOf are what the collector waits for, each with its condition.
func (c Config) DependenciesOf(one Collector) (requires, after []Dependency) {
	return c.conditions(one.Requires), c.conditions(one.After)
}

func (c Config) conditions(list []Dependency) []Dependency {
	list = slices.Clone(list)
	for i, d := range list {
		if d.Condition == "" {
			list[i].Condition = Ready
			if c.Collectors[d.ID].Kind == Task {
				list[i].Condition = Exited
			}
		}
	}
	return list
}

// Sequence is the collectors in an order in which each comes after all that it
// waits for. If there is none, the error is a *Problem that shows the cycle.
func (c Config) Sequence() ([]string, error) {
	o := c.startOrder(func(int, int, string, string, func() string) {})
	sequence, cycle := o.sequence()
	if cycle != nil {
		why, keys := map[[2]int]string{}, map[[2]int]string{}
		c.startOrder(func(a, b int, id, list string, words func() string) {
			if e := [2]int{a, b}; why[e] == "" {
				if why[e] = words(); list != "" {
					keys[e] = Key("collectors", id, list)
				}
			}
		})
		return nil, cycleProblem(cycle, why, keys)
	}
	ids := make([]string, 0, len(c.Collectors))
	for _, n := range sequence {
		if !strings.Contains(o.names[n], " ") {
			ids = append(ids, o.names[n])
		}
	}
	return ids, nil
}

// startOrder is what has to come before what. It calls tell with each edge: with
// the key of the list that it stands in, if it is one that a collector asks for,
// and what there is to say of it.
func (c Config) startOrder(tell func(a, b int, id, list string, words func() string)) *order {
	ranks := c.ranks()
	o := newOrder(len(c.Collectors) + 2*len(c.Groups))
	ids := slices.SortedFunc(maps.Keys(c.Collectors), CompareIDs)
	for _, id := range ids {
		o.node(id, ranks[id])
	}
	edge := func(a, b int, id, list string, words func() string) {
		o.before(a, b)
		tell(a, b, id, list, words)
	}
	for n, id := range ids {
		one := c.Collectors[id]
		for _, list := range []struct {
			key, words string
			of         []Dependency
		}{{"requires", "requires", one.Requires}, {"after", "is after", one.After}} {
			for _, d := range list.of {
				if other, ok := o.index[d.ID]; ok && d.ID != id { // that is a fault of its own
					edge(other, n, id, list.key, func() string { return id + " " + list.words + " " + d.ID })
				}
			}
		}
	}
	if len(c.Groups) == 0 {
		return o
	}
	// An id contains no blanks: these names are nobody else's.
	side := func(which, name string) int {
		if group, ok := strings.CutPrefix(name, GroupMark); ok {
			return o.node(which+" "+group, ranks[name])
		}
		return o.index[name]
	}
	units := c.Units()
	for _, group := range slices.Sorted(maps.Keys(c.Groups)) {
		name := GroupMark + group
		edge(side("begin", name), side("end", name), "", "", func() string { return "" })
		for i, unit := range units[group] {
			within := func() string { return unit + " is in " + name }
			edge(side("begin", name), side("begin", unit), "", "", within)
			edge(side("end", unit), side("end", name), "", "", within)
			if i > 0 && c.Groups[group].Strategy.Ordered() {
				before := units[group][i-1]
				edge(side("end", before), side("begin", unit), "", "", func() string {
					return fmt.Sprintf("%s comes after %s in the order of %s", unit, before, name)
				})
			}
		}
	}
	return o
}

func cycleProblem(cycle []int, why, keys map[[2]int]string) *Problem {
	p := &Problem{Hint: "remove one of these dependencies, or change the order within the group"}
	var told []string
	for i, n := range slices.Backward(cycle) {
		e := [2]int{n, cycle[(i+1)%len(cycle)]}
		if words := why[e]; words != "" && !slices.Contains(told, words) {
			told = append(told, words)
		}
		switch key := keys[e]; {
		case key == "":
		case p.Key == "":
			p.Key = key
		default:
			p.Related = append(p.Related, key)
		}
	}
	p.Message = "they wait for each other: " + strings.Join(told, ", ")
	if !slices.ContainsFunc(told, func(words string) bool { return strings.Contains(words, GroupMark) }) {
		p.Hint = "remove one of these dependencies"
	}
	return p
}
