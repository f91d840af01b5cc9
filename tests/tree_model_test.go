package tests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
	"pgregory.net/rapid"
)

// TestRandomTreesDoWhatTheModelSays builds trees of any shape, lets collectors of
// them end and commands come, each when all has settled, and compares with a
// model that knows no actors and no time but the clock: which processes are
// others than before, in what state everything is, and that nothing else was
// touched. Beside that, whatever the model says, nothing was started before what
// it waits for was up, and nothing ended before what needs it was gone.
func TestRandomTreesDoWhatTheModelSays(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		cfg := randomTree(r)
		if err := cfg.Validate(); err != nil {
			r.Fatalf("the test makes trees that cannot be: %v", err)
		}
		fault := ""
		synctest.Test(t, func(t *testing.T) {
			script := always(platformtest.Program{SpawnDelay: time.Second, StopDelay: time.Second})
			w := newWorld(t, cfg, script)
			m := newTreeModel(cfg)
			advance(time.Hour)
			history := fmt.Sprintf("%s\n", treeText(cfg))
			check := func(what string) {
				history += what + "\n"
				if found := m.compare(w) + w.inTreeOrder(m); found != "" && fault == "" {
					fault = history + found
				}
			}
			check("begin")
			ids := slices.Sorted(maps.Keys(cfg.Collectors))
			targets := slices.Clone(ids)
			for name := range cfg.Groups {
				targets = append(targets, "@"+name)
			}
			slices.Sort(targets)
			for range rapid.IntRange(1, 12).Draw(r, "steps") {
				if fault != "" {
					break
				}
				m.remember(w)
				switch verb := rapid.SampledFrom([]string{"crash", "crash", "crash", "end", "start", "stop", "restart"}).Draw(r, "verb"); verb {
				case "crash", "end":
					id := rapid.SampledFrom(ids).Draw(r, "id")
					exit := platform.Exit{Code: 3}
					if verb == "end" {
						exit.Code = 0
					}
					w.host.Crash(id, exit)
					m.end(id, verb == "end", time.Now())
					advance(time.Hour / 60)
					check(verb + " " + id)
				default:
					id := rapid.SampledFrom(targets).Draw(r, "target")
					done := make(chan string, 1)
					go func() {
						var err error
						switch verb {
						case "start":
							_, err = w.Start(w.ctx, id, "", nil)
						case "stop":
							_, err = w.Stop(w.ctx, id, 0)
						case "restart":
							_, err = w.Restart(w.ctx, id, 0)
						}
						done <- kindOf(err)
					}()
					m.command(verb, id)
					advance(time.Hour / 60)
					select {
					case answer := <-done:
						check(fmt.Sprintf("%s %s: %s", verb, id, answer))
					default:
						fault = fmt.Sprintf("%s%s %s was not answered", history, verb, id)
					}
				}
			}
			w.end()
		})
		if fault != "" {
			r.Fatal(fault)
		}
	})
}

// randomTree is a configuration of any shape.
func randomTree(r *rapid.T) config.Config {
	cfg := config.Config{
		ProcessManager: config.ProcessManager{EnableAutoRestart: true, StartConcurrency: rapid.IntRange(0, 3).Draw(r, "concurrency")},
		Collectors:     map[string]config.Collector{}, Groups: map[string]config.Group{},
	}
	groups := []string{""}
	for i := range rapid.IntRange(0, 4).Draw(r, "groups") {
		name := fmt.Sprintf("g%d", i)
		cfg.Groups[name] = config.Group{
			Parent:       rapid.SampledFrom(groups).Draw(r, "parent"),
			Strategy:     rapid.SampledFrom([]config.Strategy{config.OneForOne, config.OneForAll, config.RestForOne}).Draw(r, "strategy"),
			MaxRestarts:  rapid.SampledFrom([]int{config.None, 1, 2}).Draw(r, "max"),
			OnEscalation: rapid.SampledFrom([]config.Escalation{config.Stay, config.Escalate}).Draw(r, "escalation"),
		}
		groups = append(groups, name)
	}
	for i := range rapid.IntRange(1, 8).Draw(r, "collectors") {
		id := fmt.Sprintf("c%d", i)
		one := config.Collector{
			Group:       rapid.SampledFrom(groups).Draw(r, "group"),
			Restart:     rapid.SampledFrom([]config.Restart{config.RestartAlways, config.RestartOnFailure, config.RestartNever}).Draw(r, "restart"),
			Autostart:   rapid.IntRange(0, 4).Draw(r, "autostart") > 0,
			MaxRestarts: rapid.SampledFrom([]int{config.None, 1, 1000}).Draw(r, "own max"), BackoffInitial: config.None,
		}
		one.AutoRestart = one.Restart != config.RestartNever
		for range rapid.IntRange(0, 2).Draw(r, "requires") {
			if i > 0 {
				d := config.Dependency{ID: fmt.Sprintf("c%d", rapid.IntRange(0, i-1).Draw(r, "other")), Condition: config.Ready}
				if !slices.Contains(one.Requires, d) {
					one.Requires = append(one.Requires, d)
				}
			}
		}
		cfg.Collectors[id] = one
		cfg.Order = append(cfg.Order, id)
		if cfg.Validate() != nil { // it contradicts the order of a group
			one.Requires = nil
			cfg.Collectors[id] = one
		}
		if cfg.Validate() != nil {
			delete(cfg.Collectors, id)
		}
	}
	return cfg
}

func treeText(cfg config.Config) string {
	var b strings.Builder
	units := cfg.Units()
	var draw func(group, indent string)
	draw = func(group, indent string) {
		for _, u := range units[group] {
			if name, is := strings.CutPrefix(u, "@"); is {
				g := cfg.Groups[name]
				fmt.Fprintf(&b, "%s%s %s, max %d, %s\n", indent, u, g.Strategy, g.MaxRestarts, g.OnEscalation)
				draw(name, indent+"  ")
				continue
			}
			c := cfg.Collectors[u]
			fmt.Fprintf(&b, "%s%s %s, max %d, requires %v, autostart %v\n", indent, u, c.Restart, c.MaxRestarts, c.Requires, c.Autostart)
		}
	}
	draw("", "")
	return b.String()
}

// treeModel is what is to be, as plain functions of what was.
type treeModel struct {
	cfg   config.Config
	units map[string][]string

	wanted   map[string]bool
	done     map[string]bool // it has ended by itself, with success
	failed   map[string]bool
	restarts map[string][]time.Time // of each collector, and of each group's children

	touched map[string]bool // who has another process than before, or none any more
	before  map[string]messages.Status
}

func newTreeModel(cfg config.Config) *treeModel {
	m := &treeModel{cfg: cfg, units: cfg.Units(), wanted: map[string]bool{}, done: map[string]bool{}, failed: map[string]bool{}, restarts: map[string][]time.Time{}}
	m.remember(nil)
	for id, c := range cfg.Collectors {
		if c.Autostart {
			m.start(id)
		}
	}
	return m
}

func (m *treeModel) remember(w *world) {
	m.touched, m.before = map[string]bool{}, map[string]messages.Status{}
	if w == nil {
		return
	}
	list, err := w.List(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range list {
		m.before[s.ID] = s
	}
}

// up reports whether a collector is to run.
func (m *treeModel) up(id string) bool {
	if !m.wanted[id] {
		return false
	}
	for _, d := range m.cfg.Collectors[id].Requires {
		if !m.up(d.ID) {
			return false
		}
	}
	return true
}

// state is what a collector is to be shown as.
func (m *treeModel) state(id string) messages.State {
	switch {
	case m.up(id):
		return messages.Running
	case m.wanted[id]: // it waits for what it requires
		for _, d := range m.cfg.Collectors[id].Requires {
			if m.state(d.ID) == messages.Failed {
				return messages.Failed
			}
		}
	case m.failed[id]:
		return messages.Failed
	}
	return messages.Stopped
}

// lose has all end that require one that has ended.
func (m *treeModel) lose(id string) {
	for other, c := range m.cfg.Collectors {
		for _, d := range c.Requires {
			if d.ID == id && !m.touched[other] {
				m.touched[other] = true
				m.lose(other)
			}
		}
	}
}

func (m *treeModel) start(id string) {
	m.wanted[id], m.done[id], m.failed[id] = true, false, false
	m.restarts[id] = nil
	for _, d := range m.cfg.Collectors[id].Requires {
		if !m.wanted[d.ID] {
			m.start(d.ID)
		}
		m.startRequired(d.ID)
	}
}

// startRequired starts what is required by one that is wanted already.
func (m *treeModel) startRequired(id string) {
	for _, d := range m.cfg.Collectors[id].Requires {
		if !m.wanted[d.ID] {
			m.start(d.ID)
		}
		m.startRequired(d.ID)
	}
}

func (m *treeModel) stop(id string) {
	m.wanted[id], m.done[id], m.failed[id] = false, false, false
	m.touched[id] = true
	m.lose(id)
}

// members are the collectors of a unit, in order.
func (m *treeModel) members(unit string) (ids []string) {
	group, is := strings.CutPrefix(unit, "@")
	if !is {
		return []string{unit}
	}
	for _, u := range m.units[group] {
		ids = append(ids, m.members(u)...)
	}
	return ids
}

// command is what a person asks for.
func (m *treeModel) command(verb, target string) {
	ups := map[string]bool{}
	states := map[string]messages.State{}
	for _, id := range m.members(target) {
		ups[id], states[id] = m.up(id), m.state(id)
	}
	if strings.HasPrefix(target, "@") && verb != "stop" {
		m.forget(target)
	}
	for _, id := range m.members(target) {
		switch verb {
		case "start":
			if !ups[id] {
				m.start(id)
			}
		case "stop":
			if ups[id] || m.wanted[id] {
				m.stop(id)
			}
		case "restart":
			if ups[id] {
				m.touched[id] = true
				m.lose(id)
			}
			m.start(id)
		}
	}
}

// forget has a group begin anew.
func (m *treeModel) forget(unit string) {
	m.restarts[unit] = nil
	for _, u := range m.units[strings.TrimPrefix(unit, "@")] {
		if strings.HasPrefix(u, "@") {
			m.forget(u)
		}
	}
}

// allowed counts one more restart, if there may be one.
func (m *treeModel) allowed(of string, most int, now time.Time) bool {
	recent := slices.DeleteFunc(slices.Clone(m.restarts[of]), func(at time.Time) bool { return now.Sub(at) >= config.DefaultRestartWindow })
	if len(recent) >= max(most, 0) {
		m.restarts[of] = recent
		return false
	}
	m.restarts[of] = append(recent, now)
	return true
}

// end is a process that ends by itself.
func (m *treeModel) end(id string, success bool, now time.Time) {
	if !m.up(id) {
		return // there is none
	}
	c := m.cfg.Collectors[id]
	m.touched[id] = true
	m.lose(id)
	wantsRestart := c.Restart == config.RestartAlways || c.Restart == config.RestartOnFailure && !success
	if !wantsRestart {
		m.wanted[id] = false
		m.done[id], m.failed[id] = success, !success
		return
	}
	givenUp := !m.allowed(id, c.MaxRestarts, now)
	unit := id
	for group := c.Group; ; group, unit, givenUp = m.cfg.Groups[group].Parent, "@"+group, false {
		g, grouped := m.cfg.Groups[group]
		if unit == id && !grouped {
			if givenUp {
				m.wanted[id], m.failed[id] = false, true
			}
			return
		}
		if !grouped {
			g = config.DefaultGroup
		}
		ordered := g.Strategy.Ordered()
		if givenUp && !ordered {
			m.wanted[id], m.failed[id] = false, true
			return
		}
		if !givenUp && m.allowed("@"+group, g.MaxRestarts, now) {
			m.restartScope(group, g.Strategy, unit, id)
			return
		}
		m.restarts["@"+group] = nil
		if !grouped || g.OnEscalation != config.Escalate {
			failing := "@" + group
			if !grouped {
				failing = unit // the supervisor itself does not fail
			}
			for _, other := range m.members(failing) {
				if m.wanted[other] || m.up(other) {
					m.stopForGood(other)
				}
			}
			m.wanted[id], m.failed[id] = false, true
			return
		}
	}
}

func (m *treeModel) stopForGood(id string) {
	m.wanted[id], m.done[id], m.failed[id] = false, false, false
	m.touched[id] = true
	m.lose(id)
}

// restartScope restarts what a strategy says.
func (m *treeModel) restartScope(group string, s config.Strategy, unit, ended string) {
	scope := []string{unit}
	all := m.units[group]
	switch s {
	case config.OneForAll:
		scope = all
	case config.RestForOne:
		scope = all[slices.Index(all, unit):]
	}
	for _, u := range scope {
		if strings.HasPrefix(u, "@") {
			m.forget(u)
		}
		for _, id := range m.members(u) {
			m.restartMember(id, u == unit && !strings.HasPrefix(u, "@"), ended)
		}
	}
}

// restartMember restarts one collector with others.
func (m *treeModel) restartMember(id string, alone bool, ended string) {
	if alone {
		return // it has been touched already
	}
	switch running := m.before[id].State == messages.Running; {
	case id == ended:
	case m.cfg.Collectors[id].Restart == config.RestartNever && m.wanted[id] && running:
		m.stopForGood(id)
	case m.wanted[id] && running:
		m.touched[id] = true
		m.lose(id)
	case m.done[id]:
		m.wanted[id], m.done[id] = true, false
	}
}

// compare says what is other than it should be.
func (m *treeModel) compare(w *world) (fault string) {
	list, err := w.List(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range list {
		if want := m.state(s.ID); s.State != want {
			fault += fmt.Sprintf("%s is %v (%s), want %v\n", s.ID, s.State, s.Reason, want)
		}
		before, known := m.before[s.ID]
		if !known {
			continue
		}
		another := s.PID != before.PID && before.PID != 0
		if another && !m.touched[s.ID] {
			fault += fmt.Sprintf("%s was touched: it was %v with pid %d, and is %v with pid %d\n", s.ID, before.State, before.PID, s.State, s.PID)
		}
		if !another && m.touched[s.ID] && before.PID != 0 {
			fault += fmt.Sprintf("%s was not touched: it is %v with pid %d\n", s.ID, s.State, s.PID)
		}
	}
	return fault
}

// inTreeOrder checks the order of all starts and all stops since it was last
// asked.
func (w *world) inTreeOrder(m *treeModel) (fault string) {
	events := w.seen()
	type span struct{ asked, over time.Time }
	starts, stops := map[string]span{}, map[string]span{}
	from := len(events)
	for i := len(events) - 1; i >= 0 && events[i].At.After(time.Now().Add(-time.Minute)); i-- {
		from = i
	}
	for _, e := range events[from:] {
		switch f := e.Fact.(type) {
		case messages.StateChanged:
			if f.To == messages.Running {
				starts[e.ID] = span{e.At.Add(-time.Second), e.At}
			}
			if f.To == messages.Stopping {
				stops[e.ID] = span{asked: e.At}
			}
		case messages.Exited:
			if s, ok := stops[e.ID]; ok && s.over.IsZero() && f.Exit.Ran > 0 {
				stops[e.ID] = span{s.asked, e.At}
			}
		}
	}
	before := func(first, then, why string) {
		a, b := starts[first], starts[then]
		if !a.over.IsZero() && !b.over.IsZero() && b.asked.Before(a.over) && m.touched[first] && m.touched[then] {
			fault += fmt.Sprintf("%s was started before %s was up: %s\n", then, first, why)
		}
		x, y := stops[first], stops[then]
		if !x.asked.IsZero() && !y.over.IsZero() && x.asked.Before(y.over) && y.asked.Before(y.over) && m.before[first].State == messages.Running {
			fault += fmt.Sprintf("%s was asked to end before %s was gone: %s\n", first, then, why)
		}
	}
	for id, c := range m.cfg.Collectors {
		for _, d := range c.Requires {
			before(d.ID, id, "it is required")
		}
	}
	for group, units := range m.units {
		if group == "" || !m.cfg.Groups[group].Strategy.Ordered() {
			continue
		}
		for i, u := range units {
			for _, v := range units[i+1:] {
				for _, a := range m.members(u) {
					for _, b := range m.members(v) {
						before(a, b, "it comes first in @"+group)
					}
				}
			}
		}
	}
	return fault
}
