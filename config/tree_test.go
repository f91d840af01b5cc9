package config_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/proctord/proctor/config"
	"pgregory.net/rapid"
)

func needs(ids ...string) (list []config.Dependency) {
	for _, id := range ids {
		list = append(list, config.Dependency{ID: id})
	}
	return list
}

func TestWhatIsWaitedForComesFirst(t *testing.T) {
	c := config.Config{
		Collectors: map[string]config.Collector{
			"web-10": {Requires: needs("db")}, "web-9": {Requires: needs("db")}, "db": {After: needs("net")}, "net": {},
			"a": {Group: "pipeline"}, "b": {Group: "pipeline", After: needs("web-9")}, "z": {Group: "pipeline"},
		},
		Groups: map[string]config.Group{"pipeline": {Strategy: config.RestForOne}},
		Order:  []string{"z", "b", "a"},
	}
	got, err := c.Sequence()
	if err != nil || strings.Join(got, " ") != "z net db web-9 b a web-10" {
		t.Errorf("%v, %v", got, err)
	}
	if got := c.Units()["pipeline"]; !slices.Equal(got, []string{"z", "b", "a"}) {
		t.Errorf("%v", got)
	}
}

func TestACycleIsShownWhole(t *testing.T) {
	for _, test := range []struct {
		name, key, want string
		config          config.Config
	}{
		{"of dependencies", "collectors.a.requires", "they wait for each other: a requires b, b is after c, c requires a; remove one of these dependencies",
			config.Config{Collectors: map[string]config.Collector{
				"a": {Requires: needs("b")}, "b": {After: needs("c")}, "c": {Requires: needs("a")}, "d": {After: needs("a")}, "e": {},
			}}},
		{"through the order of a group", "collectors.a.after", "they wait for each other: a is after b, b comes after a in the order of @g; remove one of these dependencies, or change the order within the group",
			config.Config{Collectors: map[string]config.Collector{
				"a": {Group: "g", After: needs("b")}, "b": {Group: "g"},
			}, Groups: map[string]config.Group{"g": {Strategy: config.OneForAll}}}},
		{"through a group within another", "collectors.x.after", "they wait for each other: b comes after @inner in the order of @g, x is in @inner, x is after b; remove one of these dependencies, or change the order within the group",
			config.Config{Collectors: map[string]config.Collector{
				"x": {Group: "inner", After: needs("b")}, "b": {Group: "g"},
			}, Groups: map[string]config.Group{"g": {Strategy: config.RestForOne}, "inner": {Parent: "g"}}, Order: []string{"@inner", "b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var problems config.Problems
			if !errors.As(test.config.Validate(), &problems) || len(problems) != 1 {
				t.Fatalf("%v", test.config.Validate())
			}
			p := problems[0]
			if p.Key != test.key || p.Message+"; "+p.Hint != test.want {
				t.Errorf("%s: %s; %s", p.Key, p.Message, p.Hint)
			}
		})
	}
}

func TestAGroupWithoutAnOrderContradictsNothing(t *testing.T) {
	c := config.Config{
		Collectors: map[string]config.Collector{"a": {Group: "g", After: needs("b")}, "b": {Group: "g"}},
		Groups:     map[string]config.Group{"g": {}},
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsWrongWithTheTreeIsSaid(t *testing.T) {
	for want, c := range map[string]config.Config{
		`collectors.a.group: there is no group "pipline"; did you mean "pipeline"?; the Unix group that a collector runs as is its unix_group`: {
			Collectors: map[string]config.Collector{"a": {Group: "pipline"}}, Groups: map[string]config.Group{"pipeline": {}}},
		`groups.a.parent: a group cannot be within itself: a is in b is in a; remove one of these parents`: {
			Groups: map[string]config.Group{"a": {Parent: "b"}, "b": {Parent: "a"}, "c": {Parent: "a"}}},
		`groups.g.strategy: "one_for_al" is not a strategy; did you mean "one_for_all"?`: {
			Groups: map[string]config.Group{"g": {Strategy: "one_for_al"}}},
		`collectors.a.requires[0]: there is no collector "dbb"; did you mean "db"?`: {
			Collectors: map[string]config.Collector{"a": {Requires: needs("dbb")}, "db": {}}},
		`collectors.a.after[0]: a collector cannot wait for itself; remove it`: {
			Collectors: map[string]config.Collector{"a": {After: needs("a")}}},
		`collectors.a.requires[0]: "redy" is not a condition; did you mean "ready"?`: {
			Collectors: map[string]config.Collector{"a": {Requires: []config.Dependency{{ID: "db", Condition: "redy"}}}, "db": {}}},
		`collectors.a.requires[0]: "db" has restart = "always": it never ends by itself, and this would wait for ever; use another condition`: {
			Collectors: map[string]config.Collector{"a": {Requires: []config.Dependency{{ID: "db", Condition: config.Exited}}}, "db": {Restart: config.RestartAlways}}},
		`collectors.a.significant: without effect, because its group has no automatic shutdown; set auto_shutdown = "any_significant" in [groups.g]`: {
			Collectors: map[string]config.Collector{"a": {Group: "g", Significant: true}}, Groups: map[string]config.Group{"g": {}}},
		`process_manager.exit_with: there is no collector "test"; did you mean "tests"?`: {
			ProcessManager: config.ProcessManager{ExitWith: "test"}, Collectors: map[string]config.Collector{"tests": {}}},
	} {
		found := c.Validate()
		var problems config.Problems
		errors.As(found, &problems)
		problems = slices.DeleteFunc(slices.Clone(problems), func(p config.Problem) bool { return p.Key == "groups.b.parent" })
		if len(problems) != 1 || problems.Error() != want {
			t.Errorf("%v\nwant %s", found, want)
		}
	}
}

func TestEverySequenceKeepsAllDependencies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "n")
		c := config.Config{Collectors: map[string]config.Collector{}, Groups: map[string]config.Group{}}
		for i := range n {
			var one config.Collector
			for range rapid.IntRange(0, 3).Draw(t, "edges") {
				other := fmt.Sprint("c", rapid.IntRange(0, n-1).Draw(t, "other"))
				one.Requires = append(one.Requires, config.Dependency{ID: other})
			}
			c.Collectors[fmt.Sprint("c", i)] = one
		}
		sequence, err := c.Sequence()
		if err != nil {
			var p *config.Problem
			if !errors.As(err, &p) || p.Key == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(sequence) != n {
			t.Fatalf("%d of %d", len(sequence), n)
		}
		for i, id := range sequence {
			for _, d := range c.Collectors[id].Requires {
				if d.ID != id && slices.Index(sequence, d.ID) >= i {
					t.Fatalf("%s comes before %s: %v", id, d.ID, sequence)
				}
			}
		}
	})
}

// large is n collectors, each of which requires some of those before it.
func large(n, each int) config.Config {
	c := config.Config{Collectors: map[string]config.Collector{}, Groups: map[string]config.Group{}}
	for i := range n {
		var one config.Collector
		for k := range min(each, i) {
			one.Requires = append(one.Requires, config.Dependency{ID: fmt.Sprint("c", (i*7919+k*104729)%i)})
		}
		c.Collectors[fmt.Sprint("c", i)] = one
	}
	return c
}

func BenchmarkSequence(b *testing.B) {
	c := large(10_000, 5)
	for b.Loop() {
		if _, err := c.Sequence(); err != nil {
			b.Fatal(err)
		}
	}
}
