package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// groups checks what the groups say, and that they are a tree.
func (f *findings) groups(c Config) {
	for _, name := range sorted(c.Groups) {
		g := c.Groups[name]
		key := func(part string) string { return Key("groups", name, part) }
		if fault := nameFault(name); fault != "" {
			f.add(Key("groups", name), name, "not the name of a group: "+fault, idSyntax)
		}
		oneOf(f, key("strategy"), g.Strategy, "a strategy", OneForOne, OneForAll, RestForOne)
		oneOf(f, key("on_escalation"), g.OnEscalation, "an answer to an escalation", Stay, Escalate, ShutDown)
		oneOf(f, key("auto_shutdown"), g.AutoShutdown, "an automatic shutdown", AutoShutdownNever, AnySignificant, AllSignificant)
		switch n := g.MaxRestarts; {
		case n < None:
			f.add(key("max_restarts"), strconv.Itoa(n), fmt.Sprintf("%d is negative", n), "use a whole number; 0 allows no restarts")
		case n > math.MaxInt32:
			f.add(key("max_restarts"), strconv.Itoa(n), fmt.Sprintf("%d is too many", n), fmt.Sprintf("use at most %d", math.MaxInt32))
		}
		f.time(key("restart_window_seconds"), g.RestartWindow, Forever)
		f.limits(func(parts ...string) string { return Key(append([]string{"groups", name}, parts...)...) }, g.ResourceLimits, true)
		f.groupExists(c, key("parent"), g.Parent)
		f.significance(c, Key("groups", name), g.Parent, g.Significant)
		f.ancestry(c, name)
	}
	for _, id := range sorted(c.Collectors) {
		f.groupExists(c, Key("collectors", id, "group"), c.Collectors[id].Group)
		f.significance(c, Key("collectors", id), c.Collectors[id].Group, c.Collectors[id].Significant)
	}
}

func oneOf[T ~string](f *findings, key string, value T, what string, known ...T) {
	if value == "" || slices.Contains(known, value) {
		return
	}
	words := make([]string, len(known))
	for i, word := range known {
		words[i] = string(word)
	}
	f.add(key, string(value), quote(string(value))+" is not "+what, didYouMean(string(value), words))
}

func (f *findings) groupExists(c Config, key, group string) {
	if _, ok := c.Groups[group]; ok || group == "" || nameFault(group) != "" {
		return
	}
	hint := didYouMean(group, sorted(c.Groups))
	if len(c.Groups) == 0 {
		hint = "add " + Key("[groups", group) + "]"
	}
	f.add(key, group, "there is no group "+quote(group), hint+"; the Unix group that a collector runs as is its unix_group", "groups")
}

// significance refuses what OTP refuses: it could never have an effect.
func (f *findings) significance(c Config, of, group string, significant bool) {
	if !significant {
		return
	}
	if a := c.Groups[group].AutoShutdown; group == "" || a == "" || a == AutoShutdownNever {
		hint := "put it into a group that has auto_shutdown"
		if group != "" {
			hint = fmt.Sprintf("set auto_shutdown = %q in [%s]", AnySignificant, Key("groups", group))
		}
		f.add(of+".significant", "true", "without effect, because its group has no automatic shutdown", hint, Key("groups", group, "auto_shutdown"), of+".group")
	}
}

// ancestry refuses a group that is its own ancestor.
func (f *findings) ancestry(c Config, name string) {
	path := name
	seen := map[string]bool{name: true}
	for up := c.Groups[name].Parent; up != ""; up = c.Groups[up].Parent {
		path += " is in " + up
		if up == name {
			f.add(Key("groups", name, "parent"), c.Groups[name].Parent, "a group cannot be within itself: "+path, "remove one of these parents")
			return
		}
		if seen[up] {
			return // told of one of those that are in the cycle
		}
		seen[up] = true
	}
}

// dependencies checks that there are those that others wait for, and that there is
// an order in which they can be started.
func (f *findings) dependencies(c Config) {
	exists := func(key, other, hint string) {
		if _, ok := c.Collectors[other]; ok || nameFault(other) != "" {
			return
		}
		if near := didYouMean(other, sorted(c.Collectors)); near != "" {
			hint = near
		}
		f.add(key, other, "there is no collector "+quote(other), hint, "collectors")
	}
	for _, id := range sorted(c.Collectors) {
		one := c.Collectors[id]
		for _, list := range []struct {
			key string
			of  []Dependency
		}{{"requires", one.Requires}, {"after", one.After}} {
			for i, d := range list.of {
				key := Element(Key("collectors", id, list.key), i)
				exists(key, d.ID, "add it, or remove it here")
				if other, ok := c.Collectors[d.ID]; ok && d.Condition == Exited && other.Restart == RestartAlways {
					f.add(key, d.ID, quote(d.ID)+` has restart = "always": it never ends by itself, and this would wait for ever`, "use another condition", Key("collectors", d.ID, "restart"))
				}
			}
		}
		for i, other := range one.Wants {
			exists(Element(Key("collectors", id, "wants"), i), other, "add it, or remove it here")
		}
	}
	if with := c.ProcessManager.ExitWith; with != "" {
		exists(Key("process_manager", "exit_with"), with, "add it, or remove this line")
	}
	if f.treeIsFaulty() {
		return // what else would be said follows from that
	}
	var cycle *Problem
	if _, err := c.Sequence(); errors.As(err, &cycle) {
		f.problems = append(f.problems, *cycle)
	}
}

// ValidateTree returns what is wrong with how the collector with this id belongs to
// the others, as Problems, or nil.
func (c Config) ValidateTree(id string) error {
	one := c.Collectors[id]
	if one.Group == "" && len(one.Requires) == 0 && len(one.After) == 0 && len(one.Wants) == 0 {
		return nil
	}
	var f findings
	f.groups(c)
	f.dependencies(c)
	return f.problems.err()
}

func (f *findings) treeIsFaulty() bool {
	return slices.ContainsFunc(f.problems, func(p Problem) bool { return p.Hint == "remove one of these parents" })
}

func (f *findings) conditions(id, key string, list []Dependency) {
	for i, d := range list {
		at := Element(key, i)
		f.other(id, at, d.ID)
		oneOf(f, at, d.Condition, "a condition", Started, Ready, Healthy, Exited)
		if slices.ContainsFunc(list[:i], func(before Dependency) bool { return before.ID == d.ID }) {
			f.add(at, d.ID, quote(d.ID)+" stands there twice", "remove one of them")
		}
	}
}

// other checks the id of another collector.
func (f *findings) other(id, key, other string) {
	switch fault := nameFault(other); {
	case fault != "":
		f.add(key, other, "not a collector id: "+fault, idSyntax)
	case other == id:
		f.add(key, other, "a collector cannot wait for itself", "remove it")
	}
}
