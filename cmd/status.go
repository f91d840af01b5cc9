package cmd

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "status [ID…]",
		Aliases: []string{"ps", "ls", "list", "list-units"},
		Short:   "Show how collectors are",
		Long: `Status shows all collectors, or those that are named, in a table: what state each
is in, its process, how often it was restarted by itself, when it is started next,
and why it is as it is. Of a single one it shows more. With -o wide the table has
more columns, what they use among them; on a narrow terminal it has fewer, but the
reason is never cut. --usage shows what they use with any -o; without it and -o wide
nobody looks at that. How much of a processor it is takes a quarter of a second to
find out, if nobody has looked shortly before.

A group of the supervision tree is named as @GROUP; --tree draws the whole tree.

With -q it prints ids only. With --watch it goes on, and shows what has changed.
` + exitStatus,
		Example: `  proctor status
  proctor status web-1
  proctor status 'net*' -o wide
  proctor status @pipeline
  proctor status --tree
  proctor status --tree --usage
  proctor status --watch
  proctor status -o json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeIDs(nil),
	}
	all := allFlag(c)
	tree := c.Flags().Bool("tree", false, "draw groups and what is in them")
	usage := c.Flags().Bool("usage", false, "show what collectors and groups use: processor, memory, tasks")
	watch := c.Flags().BoolP("watch", "w", false, "go on, and show what has changed")
	c.RunE = a.remote(func(c *call, args []string) error {
		if *all && len(args) > 0 {
			return errors.New("status takes ids or --all, not both")
		}
		c.tree, c.usage = *tree, *usage || c.output == "wide"
		if *watch {
			return c.watch(args)
		}
		text, err := c.statusText(args)
		if err != nil {
			return err
		}
		return c.write([]byte(text))
	})
	return c
}

// statusText is what status prints.
func (c *call) statusText(args []string) (string, error) {
	if c.quiet && !c.structured() {
		statuses, _, err := c.statuses(args)
		var b strings.Builder
		for _, s := range statuses {
			_, _ = fmt.Fprintln(&b, s.ID)
		}
		return b.String(), err
	}
	if len(args) == 1 && !c.tree && !isPattern(args[0]) && !isGroup(args[0]) && args[0] != "all" && c.output == "table" {
		i, err := c.Inspect(c.ctx, args[0])
		if err != nil {
			return "", c.explain(err)
		}
		return c.describe(i, c.usageOf(true, c.usage, i.ID).collectors[i.ID]), nil
	}
	statuses, groups, err := c.statuses(args)
	if err != nil {
		return "", err
	}
	var used usages
	if c.usage {
		used = c.usagesOf(statuses, groups, len(args) == 0)
	}
	if c.structured() {
		documents := make([]statusDocument, len(statuses))
		for i, s := range statuses {
			documents[i] = documentOf(s)
			documents[i].Usage = usageDocumentOf(used.collectors[s.ID])
		}
		all := map[string]any{"collectors": documents}
		if len(groups) > 0 {
			documents := groupsOf(groups)
			for i, g := range groups {
				documents[i].Usage = usageDocumentOf(used.groups[g.Name].Usage)
			}
			all["groups"] = documents
		}
		text, err := encode(all, c.output == "yaml")
		return string(text), err
	}
	if c.tree {
		return c.statusTree(statuses, groups, used), nil
	}
	return c.statusTable(statuses, used), nil
}

// statuses are those that are meant, all of them without arguments, with all groups.
func (c *call) statuses(args []string) ([]messages.Status, []messages.GroupStatus, error) {
	if len(args) == 0 {
		tree, err := c.Tree(c.ctx)
		return tree.Collectors, tree.Groups, err
	}
	t, err := c.resolve(args, false, true)
	if err != nil {
		return nil, nil, err
	}
	statuses := make([]messages.Status, 0, len(t.ids))
	for _, id := range t.ids {
		s, known := t.known[id]
		if !known { // so that it is the supervisor who says it
			if s, err = c.Status(c.ctx, id); err != nil {
				return nil, nil, c.explain(err)
			}
		}
		statuses = append(statuses, s)
	}
	var groups []messages.GroupStatus
	for _, name := range sortedKeys(t.groups) {
		groups = append(groups, t.groups[name])
	}
	return statuses, groups, nil
}

// statusTable is the table of status.
func (c *call) statusTable(statuses []messages.Status, used usages) string {
	if len(statuses) == 0 {
		return indented("no collectors are known; proctor start ID --binary PATH starts one, and a configuration file names those that are always there", 0, c.width())
	}
	color := c.colored(c.stdout)
	columns := []column{{"ID", 0}, {"STATE", 0}, {"PID", 2}, {"UPTIME", 3}, {"RESTARTS", 4}, {"NEXT", 5}}
	if c.usage {
		columns = append(columns, usageColumns...)
	}
	if c.output == "wide" {
		columns = append(columns, column{"TYPE", 8}, column{"HEALTH", 9}, column{"RUN", 10}, column{"SINCE", 11}, column{"LAST EXIT", 12})
	}
	rows, notes := make([][]string, len(statuses)), make([]string, len(statuses))
	for i, s := range statuses {
		rows[i], notes[i] = c.statusRow(s, used, color), why(s)
	}
	return tabulate(columns, rows, "WHY", notes, c.width())
}

func (c *call) statusRow(s messages.Status, used usages, color bool) []string {
	row := []string{s.ID, c.stateWord(s, color), "-", "-", fmt.Sprint(s.RestartCount), "-"}
	if s.PID != 0 {
		row[2] = fmt.Sprint(s.PID)
		row[3] = duration(s.Uptime)
	}
	if !s.NextRestart.IsZero() {
		row[5] = c.until(s.NextRestart)
	}
	if c.usage {
		row = append(row, usageCells(used.collectors[s.ID])...)
	}
	if c.output == "wide" {
		last := "-"
		if s.LastExit != nil {
			last = s.LastExit.String()
		}
		row = append(row, s.Type, s.Health.String(), fmt.Sprint(s.Incarnation), c.ago(s.Since), last)
	}
	return row
}

var stateColors = [messages.NumStates]string{
	messages.Stopped: faint, messages.Starting: alert, messages.Running: good,
	messages.Paused: alert, messages.Stopping: alert, messages.Failed: bad,
}

// stateWord is the word of a state; one that waits for a restart is told from one
// whose process is being made, and one that runs but should not from one that does.
func (c *call) stateWord(s messages.Status, color bool) string {
	word, hue := s.State.String(), ""
	if int(s.State) < len(stateColors) {
		hue = stateColors[s.State]
	}
	if s.State == messages.Starting && !s.NextRestart.IsZero() {
		word = "backoff"
	}
	return paint(color, hue, word)
}

// why is the reason for a state, with health where that is worse than the state.
func why(s messages.Status) string {
	reason := s.Reason
	if s.State == messages.Running && (s.Health == messages.HealthDegraded || s.Health == messages.HealthUnhealthy) {
		if reason != "" {
			reason += "; "
		}
		reason += s.Health.String()
		if len(s.HealthReasons) > 0 {
			reason += ": " + strings.Join(s.HealthReasons, "; ")
		}
	}
	return reason
}

func (a *app) until(at time.Time) string {
	in := at.Sub(a.now())
	if in <= 0 {
		return "now"
	}
	return "in " + duration(in)
}

func (a *app) ago(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return duration(max(a.now().Sub(at), 0)) + " ago"
}

// clock is a time for people.
func clock(at time.Time) string { return at.Local().Format("Mon 2006-01-02 15:04:05 MST") }

// labelWidth is how far labels are indented to the right.
const labelWidth = 13

// describe shows one collector in the shape of systemctl.
func (c *call) describe(i messages.Inspection, u messages.Usage) string {
	color, width := c.colored(c.stdout), c.width()
	hue := stateColors[min(int(i.State), len(stateColors)-1)]
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s %s - collector of type %s\n", paint(color, hue, "●"), paint(color, bold, i.ID), i.Type)
	line := func(label, what string) {
		if what != "" {
			b.WriteString(hanging(fmt.Sprintf("%*s: ", labelWidth-2, label), labelWidth, what, width))
		}
	}
	state := paint(color, hue, i.State.String())
	if !i.Since.IsZero() {
		state += " since " + clock(i.Since) + "; " + c.ago(i.Since)
	}
	line("State", state)
	line("Why", why(i.Status))
	if !i.NextRestart.IsZero() {
		line("Next start", c.until(i.NextRestart)+", at "+clock(i.NextRestart))
	}
	if i.PID != 0 {
		line("Main PID", fmt.Sprintf("%d, up %s (run %d)", i.PID, duration(i.Uptime), i.Incarnation))
	}
	for _, used := range usageLines(u) {
		line(used[0], used[1])
	}
	line("Limits", strings.Join(i.Config.ResourceLimits.Settings(), ", "))
	health := i.Health.String()
	if len(i.HealthReasons) > 0 {
		health += ": " + strings.Join(i.HealthReasons, "; ")
	}
	line("Health", health)
	line("It says", saidText(i.Said, c.ago))
	line("Confined by", strings.Join(i.Confinement, "; "))
	line("Unmet", strings.Join(i.Unmet, "; "))
	if i.Config.Group != "" {
		line("Group", config.GroupMark+i.Config.Group)
	}
	line("Requires", dependenciesText(i.Config.Requires))
	line("Wants", strings.Join(i.Config.Wants, ", "))
	line("After", dependenciesText(i.Config.After))
	line("Restarts", restartsText(i))
	if e := i.LastExit; e != nil {
		line("Last exit", lastExitText(*e))
	}
	line("Command", commandText(i))
	line("Stop", fmt.Sprintf("%s, killed after %s", stopText(i.Config), duration(i.Config.GracefulTimeout)))
	line("Reload", reloadText(i.Config))
	if e := i.LastExit; e != nil && len(e.Tail) > 0 {
		b.WriteString("\nThe last lines before its last exit:\n")
		for _, l := range e.Tail {
			b.WriteString("  " + string(appendHarmless(nil, []byte(l))) + "\n")
		}
	}
	more := fmt.Sprintf("proctor inspect %s, proctor logs %s", i.ID, i.ID)
	b.WriteString("\n" + indented("More: "+more, 0, width))
	return b.String()
}

// saidText is what a process has told of itself.
func saidText(s messages.Said, ago func(time.Time) string) string {
	var parts []string
	if s.Status != "" {
		parts = append(parts, string(appendHarmless(nil, []byte(s.Status))))
	}
	if s.Reloading {
		parts = append(parts, "it is reloading")
	}
	if s.Stopping {
		parts = append(parts, "it is ending")
	}
	if s.Errno != 0 {
		parts = append(parts, fmt.Sprintf("error %d (%v)", s.Errno, syscall.Errno(s.Errno)))
	}
	if s.Error != "" {
		parts = append(parts, "error "+string(appendHarmless(nil, []byte(s.Error))))
	}
	if s.ExitStatus != "" {
		parts = append(parts, "exit status "+string(appendHarmless(nil, []byte(s.ExitStatus))))
	}
	if s.MainPID != 0 {
		parts = append(parts, fmt.Sprintf("its main process is %d", s.MainPID))
	}
	if !s.Heartbeat.IsZero() {
		parts = append(parts, "heartbeat "+ago(s.Heartbeat))
	}
	return strings.Join(parts, "; ")
}

// stopText is how a collector is asked to end.
func stopText(cfg config.Collector) string {
	signals := cfg.StopSignal
	for i, step := range cfg.StopSequence {
		if i == 0 {
			signals = step.Signal
			continue
		}
		signals += fmt.Sprintf(", after %s %s", duration(step.After), step.Signal)
	}
	if len(cfg.StopCommand) > 0 {
		return strings.TrimSpace(quoteArgs(cfg.StopCommand)) + ", or " + signals
	}
	return signals
}

// reloadText is how a collector is asked to read its configuration again.
func reloadText(cfg config.Collector) string {
	if len(cfg.ReloadCommand) > 0 {
		return strings.TrimSpace(quoteArgs(cfg.ReloadCommand))
	}
	return cfg.ReloadSignal
}

func dependenciesText(list []config.Dependency) string {
	words := make([]string, len(list))
	for i, d := range list {
		words[i] = d.ID
		if d.Condition != "" {
			words[i] += " (" + string(d.Condition) + ")"
		}
	}
	return strings.Join(words, ", ")
}

func restartsText(i messages.Inspection) string {
	if !i.Config.AutoRestart || i.RestartsLeft < 0 {
		return "none by itself"
	}
	text := fmt.Sprintf("%d since it was started", i.RestartCount)
	switch {
	case i.Config.MaxRestarts < 0:
		return text
	case i.Config.RestartWindow > 0:
		return text + fmt.Sprintf("; %d more allowed within %s", i.RestartsLeft, duration(i.Config.RestartWindow))
	}
	return text + fmt.Sprintf("; %d more allowed", i.RestartsLeft)
}

func lastExitText(e messages.Exit) string {
	what := e.String()
	if e.Forced {
		what += ", it had to be killed"
	}
	if !e.At.IsZero() {
		what += ", " + clock(e.At)
	}
	if e.PID != 0 {
		what += fmt.Sprintf(", pid %d after %s", e.PID, duration(e.Ran))
	}
	return what
}

func commandText(i messages.Inspection) string {
	binary := i.Config.BinaryPath
	if binary == "" {
		binary = "(found by the type " + i.Config.Type + ")"
	}
	return binary + quoteArgs(i.Config.Args)
}

// quoteArgs is a space and an argument, for each of them, as a shell would take it.
func quoteArgs(args []string) string {
	var b strings.Builder
	for _, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"\\$*?;&|<>()") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		b.WriteString(" " + arg)
	}
	return string(appendHarmless(nil, []byte(b.String())))
}

// watch shows status again whenever something has happened, and on a terminal
// every second, as times go on.
func (c *call) watch(args []string) error {
	events, err := c.Events(c.ctx)
	if err != nil {
		return err
	}
	changed, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for range events {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	_, _, terminal := c.screen(c.stdout)
	terminal = terminal && !c.structured()
	var tick <-chan time.Time
	if terminal {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		tick = t.C
		_ = c.write([]byte("\x1b[?25l\x1b[2J"))
		defer func() { _ = c.write([]byte("\x1b[?25h")) }()
	}
	for before := ""; ; {
		now, err := c.statusText(args)
		switch {
		case c.ctx.Err() != nil:
			return nil // Ctrl-C is how a watch ends
		case err != nil:
			return err
		case terminal:
			_, height, _ := c.screen(c.stdout) // it may have been made larger
			err = c.write([]byte(onScreen(now, height)))
		case now != before:
			if before != "" && !c.structured() {
				now = "\n" + now
			}
			err = c.write([]byte(now))
			before = strings.TrimPrefix(now, "\n")
		}
		if err != nil {
			return err
		}
		select {
		case <-tick:
		case <-changed:
			// What comes together is shown together.
			select {
			case <-time.After(50 * time.Millisecond):
			case <-c.ctx.Done():
			}
			select {
			case <-changed:
			default:
			}
		case <-ended:
			if c.ctx.Err() != nil {
				return nil
			}
			return &messages.Error{Op: "watch", Kind: messages.Internal, Text: "the supervisor has ended", Err: errEnded}
		case <-c.ctx.Done():
			return nil
		}
	}
}

// onScreen draws over what is on the screen, as much as there is room for.
func onScreen(what string, height int) string {
	lines := strings.Split(strings.TrimRight(what, "\n"), "\n")
	if most := height - 2; most > 0 && len(lines) > most {
		left := len(lines) - most
		lines = append(lines[:most:most], fmt.Sprintf("… and %d more %s", left, plural(left, "line", "lines")))
	}
	return "\x1b[H" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\n\x1b[J"
}
