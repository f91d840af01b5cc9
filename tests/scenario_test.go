package tests

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proctord/proctor/config/toml"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

var update = flag.Bool("update", false, "rewrite the transcripts and golden files with what happens now")

// TestTranscripts plays the stories in testdata/transcripts. A story begins
// with a configuration in TOML and the behaviour of its processes, one a line;
// then each line "> command" is followed by everything that happened because of
// it. Run with -update to rewrite what follows.
//
//	process web: deaf, stops in 2s         how the processes of web behave
//	process web #2: cannot be spawned      the second one only
//
//	> start web            > stop web 5s        > advance 30s      > status
//	> crash web code=3     > begin restart web  > release web
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			story, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, strings.ReplaceAll(string(story), "\r\n", "\n"))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(bytes.ReplaceAll(story, []byte("\r\n"), []byte("\n"))); got != want {
				t.Errorf("%s went differently; -update rewrites it\n--- now\n%s", file, got)
			}
		})
	}
}

func play(t *testing.T, story string) string {
	head, rest, _ := strings.Cut(story, "\n> ")
	settings, behaviour := splitHead(head)
	cfg, err := toml.Parse("story.toml", []byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString(strings.TrimRight(head, "\n") + "\n")
	inBubble(t, cfg, behaviour, func(w *world) {
		p := &player{world: w, out: &out, started: time.Now()}
		for _, block := range strings.Split("\n"+rest, "\n> ") {
			command, _, _ := strings.Cut(strings.TrimPrefix(block, "\n"), "\n")
			fmt.Fprintf(&out, "\n> %s\n", command)
			p.obey(command)
			settle()
			p.tell()
		}
	})
	return out.String()
}

// splitHead separates the configuration from the lines about processes.
func splitHead(head string) (settings string, behaviour script) {
	programs := map[string]platformtest.Program{}
	var lines []string
	for _, line := range strings.Split(head, "\n") {
		about, how, ok := strings.Cut(line, ": ")
		label, isProcess := strings.CutPrefix(about, "process ")
		if !ok || !isProcess {
			lines = append(lines, line)
			continue
		}
		programs[label] = parseProgram(how)
	}
	return strings.Join(lines, "\n"), func(spec platform.Spec, nth int) platformtest.Program {
		if p, ok := programs[fmt.Sprintf("%s #%d", spec.Label, nth)]; ok {
			return p
		}
		return programs[spec.Label]
	}
}

func parseProgram(how string) (p platformtest.Program) {
	for _, word := range strings.Split(how, ", ") {
		duration := func(prefix string) (time.Duration, bool) {
			rest, ok := strings.CutPrefix(word, prefix)
			d, err := time.ParseDuration(rest)
			return d, ok && err == nil
		}
		switch d, ok := duration("spawns in "); {
		case ok:
			p.SpawnDelay = d
			continue
		}
		if d, ok := duration("stops in "); ok {
			p.StopDelay = d
			continue
		}
		if d, ok := duration("dies in "); ok {
			p.KillDelay = d
			continue
		}
		if d, ok := duration("lives "); ok {
			p.Lives = d
			continue
		}
		if code, ok := strings.CutPrefix(word, "exits with "); ok {
			p.Exit.Code, _ = strconv.Atoi(code)
			continue
		}
		switch {
		case word == "deaf":
			p.Deaf = true
		case word == "unkillable":
			p.Unkillable = true
		case word == "leaves something behind":
			p.Leaves = true
		case word == "leaves something deaf behind":
			p.Leaves, p.LeftDeaf = true, true
		case word == "cannot be spawned":
			p.SpawnError = errors.New("exec format error")
		case word == "cannot be suspended":
			p.NoSuspend = platform.ErrNotSupported
		case word == "makes the actor panic":
			p.Panic = "a defect, on purpose"
		case strings.HasPrefix(word, "code "):
			p.Exit.Code, _ = strconv.Atoi(word[5:])
		default:
			panic("what is " + word + "?")
		}
	}
	return p
}

type player struct {
	*world
	out     *strings.Builder
	started time.Time
	told    int
	answers []string
}

func (p *player) obey(line string) {
	words := strings.Fields(line)
	arg := func(n int) string {
		if n < len(words) {
			return words[n]
		}
		return ""
	}
	span := func(n int) time.Duration { d, _ := time.ParseDuration(arg(n)); return d }
	id := arg(1)
	switch words[0] {
	case "begin":
		go func() {
			answer := p.ask(words[1:])
			p.mu.Lock()
			defer p.mu.Unlock()
			p.answers = append(p.answers, fmt.Sprintf("%s: %s", strings.Join(words[1:], " "), answer))
		}()
	case "advance":
		advance(span(1))
	case "crash":
		e := platform.Exit{Code: 1}
		if code, ok := strings.CutPrefix(arg(2), "code="); ok {
			e.Code, _ = strconv.Atoi(code)
		}
		if name, ok := strings.CutPrefix(arg(2), "signal="); ok {
			s, err := platform.ParseSignal(name)
			if err != nil {
				p.Fatal(err)
			}
			e = platform.Exit{Signal: s}
		}
		if !p.host.Crash(id, e) {
			fmt.Fprintln(p.out, "there is no process to crash")
		}
	case "release":
		p.host.Release(id)
	case "status":
		list, err := p.List(p.ctx)
		if err != nil {
			p.Fatal(err)
		}
		for _, s := range list {
			fmt.Fprintf(p.out, "%s: %v, pid %d, %d restarts, %v", s.ID, s.State, s.PID, s.RestartCount, s.Health)
			if !s.NextRestart.IsZero() {
				fmt.Fprintf(p.out, ", next in %v", time.Until(s.NextRestart))
			}
			if s.Reason != "" {
				fmt.Fprintf(p.out, "; %s", s.Reason)
			}
			fmt.Fprintln(p.out)
		}
		groups, err := p.Groups(p.ctx)
		if err != nil {
			p.Fatal(err)
		}
		for _, g := range groups {
			fmt.Fprintf(p.out, "@%s: %v, %d restarts, %d left", g.Name, g.State, g.RestartCount, g.RestartsLeft)
			if g.Reason != "" {
				fmt.Fprintf(p.out, "; %s", g.Reason)
			}
			fmt.Fprintln(p.out)
		}
	case "signals":
		var names []string
		for _, s := range p.host.Signals(id) {
			names = append(names, s.Name())
		}
		fmt.Fprintln(p.out, strings.Join(names, " "))
	default:
		fmt.Fprintln(p.out, p.ask(words))
	}
}

// ask issues a command and says what was answered.
func (p *player) ask(words []string) string {
	id, span := "", time.Duration(0)
	for _, word := range words[1:] {
		if d, err := time.ParseDuration(word); err == nil {
			span = d
		} else {
			id = word
		}
	}
	var answer string
	var err error
	number := func(pid int, e error) { answer, err = fmt.Sprintf("pid %d", pid), e }
	exit := func(e messages.Exit, failed error) {
		answer, err = e.String(), failed
		if e.Forced {
			answer += ", forced"
		}
	}
	switch words[0] {
	case "start":
		number(p.Start(p.ctx, id, "", nil))
	case "stop":
		exit(p.Stop(p.ctx, id, span))
	case "kill":
		exit(p.Kill(p.ctx, id))
	case "restart":
		number(p.Restart(p.ctx, id, span))
	case "pause":
		answer, err = "paused", p.Pause(p.ctx, id)
	case "resume":
		answer, err = "resumed", p.Resume(p.ctx, id)
	case "remove":
		answer, err = "removed", p.Remove(p.ctx, id)
	case "signal":
		answer, err = "sent", p.Signal(p.ctx, id, words[2], false)
	case "shutdown", "force-shutdown":
		var r messages.ShutdownReply
		if words[0] == "shutdown" {
			r, err = p.Shutdown(p.ctx, span)
		} else {
			r, err = p.ForceShutdown(p.ctx)
		}
		answer = fmt.Sprintf("stopped %v, forced %v, left %v", r.Stopped, r.Forced, r.Left)
	default:
		p.Fatalf("what is %q?", words[0])
	}
	if err != nil {
		return err.Error()
	}
	return answer
}

// tell writes what has happened since the last time.
func (p *player) tell() {
	events := p.seen()
	// What collectors do at the same moment they do in any order; each one's own
	// events have one.
	news := slices.Clone(events[p.told:])
	slices.SortStableFunc(news, func(a, b messages.Event) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
	})
	for _, e := range news {
		at := e.At.Sub(p.started).Round(time.Millisecond)
		fmt.Fprintf(p.out, "  %6.2f %s ", at.Seconds(), e.ID)
		switch f := e.Fact.(type) {
		case messages.StateChanged:
			fmt.Fprintf(p.out, "%v → %v", f.From, f.To)
			if f.PID != 0 {
				fmt.Fprintf(p.out, ", pid %d", f.PID)
			}
			if f.Reason != "" {
				fmt.Fprintf(p.out, " (%s)", f.Reason)
			}
		case messages.Exited:
			word := "unexpected"
			if f.Expected {
				word = "expected"
			}
			fmt.Fprintf(p.out, "exited: %v, %s", f.Exit, word)
		case messages.RestartScheduled:
			fmt.Fprintf(p.out, "restart %d in %v, %d left", f.Count, f.After, f.Left)
		case messages.StopForced:
			fmt.Fprintf(p.out, "stop forced after %v", f.After)
		case messages.TerminateFailure:
			fmt.Fprintf(p.out, "still there %v after it was killed", f.After)
		case messages.GroupRestarting:
			fmt.Fprintf(p.out, "restarts %s in %v, because of %s: %s; %d left", strings.Join(f.Collectors, " "), f.After, f.Child, f.Cause, f.Left)
		case messages.GroupEnded:
			word := "ended"
			if f.Failed {
				word = "failed"
			}
			fmt.Fprintf(p.out, "%s: %s", word, f.Reason)
		case messages.Crashed:
			fmt.Fprintf(p.out, "fault: %s", f.Reason)
		default:
			fmt.Fprintf(p.out, "%s", strings.TrimPrefix(fmt.Sprintf("%T", f), "messages."))
		}
		fmt.Fprintln(p.out)
	}
	p.told = len(events)
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.answers)
	for _, answer := range p.answers {
		fmt.Fprintf(p.out, "%s\n", answer)
	}
	p.answers = nil
}

// A tree of 1,000 collectors that crash all the time, for four hours.
func TestAThousandCollectorsThroughHoursOfCrashes(t *testing.T) {
	const n = 1000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("c-%d", i)
	}
	cfg := one(ids...)
	for id, c := range maps.All(cfg.Collectors) {
		c.Autostart = true
		cfg.Collectors[id] = c
	}
	// Each lives for some minutes, so that none reaches its limit.
	s := func(spec platform.Spec, nth int) platformtest.Program {
		i, _ := strconv.Atoi(spec.Label[2:])
		return platformtest.Program{SpawnDelay: time.Duration(i%7) * time.Millisecond,
			Lives: 10*time.Minute + time.Duration(i)*time.Second, Exit: platform.Exit{Code: 1 + nth%3}}
	}
	inBubble(t, cfg, s, func(w *world) {
		advance(4 * time.Hour)
		restarts := 0
		list, err := w.List(w.ctx)
		if err != nil {
			w.Fatal(err)
		}
		for _, c := range list {
			if c.State != messages.Running {
				w.Errorf("%s is %v (%s)", c.ID, c.State, c.Reason)
			}
			if most := w.host.Most(c.ID); most != 1 {
				w.Errorf("%s had %d processes at once", c.ID, most)
			}
			restarts += c.RestartCount
		}
		if restarts < 10*n {
			w.Errorf("only %d restarts", restarts)
		}
		r, err := w.Shutdown(w.ctx, 0)
		if err != nil || len(r.Stopped) != n || len(r.Left) != 0 {
			w.Errorf("%d stopped, %d left, %v", len(r.Stopped), len(r.Left), err)
		}
	})
}

// The race that a flag, a lock and a poll loop get wrong: a stop may come at
// every moment of a restart, and nothing runs afterwards.
func TestAStopAtEveryMomentOfARestart(t *testing.T) {
	program := platformtest.Program{SpawnDelay: 30 * time.Millisecond, StopDelay: 50 * time.Millisecond}
	for after := time.Duration(0); after <= 150*time.Millisecond; after += 5 * time.Millisecond {
		for _, way := range []string{"restart", "crash", "second crash"} {
			t.Run(fmt.Sprintf("%s, %v in", way, after), func(t *testing.T) {
				inBubble(t, one("web"), always(program), func(w *world) {
					w.mustStart("web")
					restarted := make(chan error, 1)
					switch way {
					case "restart":
						go func() { _, err := w.Restart(w.ctx, "web", 0); restarted <- err }()
						settle()
					case "second crash":
						w.host.Crash("web", failing)
						advance(time.Second)
						fallthrough
					case "crash":
						w.host.Crash("web", failing)
						restarted <- nil
					}
					time.Sleep(after)
					if _, err := w.Stop(w.ctx, "web", 0); err != nil {
						w.Error(err)
					}
					select {
					case err := <-restarted:
						if err != nil && kindOf(err) != "INVALID_STATE" {
							w.Error(err)
						}
					case <-time.After(time.Hour):
						w.Error("the caller of the restart was not answered")
					}
					starts := w.host.Starts("web")
					advance(time.Hour)
					w.want("web", messages.Stopped)
					if w.host.Starts("web") != starts || w.host.Living("web") != 0 {
						w.Errorf("%d starts after the stop, %d processes", w.host.Starts("web")-starts, w.host.Living("web"))
					}
				})
			})
		}
	}
}

func TestACommandWhoseCallerWentAwayStillCompletes(t *testing.T) {
	inBubble(t, one("web"), always(platformtest.Program{StopDelay: time.Second}), func(w *world) {
		w.mustStart("web")
		ctx, cancel := context.WithTimeout(w.ctx, time.Millisecond)
		defer cancel()
		_, err := w.Stop(ctx, "web", 0)
		if !errors.Is(err, messages.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			w.Error(err)
		}
		w.want("web", messages.Stopping)
		advance(time.Minute)
		w.want("web", messages.Stopped)
	})
}

func TestAStopEndsWithinItsTwoTimeouts(t *testing.T) {
	for name, program := range map[string]platformtest.Program{
		"deaf":                    {Deaf: true},
		"unkillable":              {Unkillable: true, Deaf: true},
		"leaves something behind": {Leaves: true, LeftDeaf: true},
		"in the making for ever":  {SpawnDelay: 1000 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, one("web"), always(program), func(w *world) {
				w.begin("start")
				asked := time.Now()
				_, _ = w.Stop(w.ctx, "web", 0)
				if took := time.Since(asked); took > 35*time.Second {
					w.Errorf("took %v", took)
				}
				w.host.Release("web")
				advance(2000 * time.Hour)
				w.want("web", messages.Stopped)
			})
		})
	}
}

func TestPauseAndResumeReachTheProcess(t *testing.T) {
	inBubble(t, one("web"), nil, func(w *world) {
		w.mustStart("web")
		for _, step := range []struct {
			do        func(context.Context, string) error
			state     messages.State
			suspended bool
		}{{w.Pause, messages.Paused, true}, {w.Resume, messages.Running, false}} {
			if err := step.do(w.ctx, "web"); err != nil {
				w.Error(err)
			}
			w.want("web", step.state)
			if w.host.Suspended("web") != step.suspended {
				w.Errorf("in %v, suspended is %v", step.state, w.host.Suspended("web"))
			}
		}
	})
}

func TestAPausedProcessIsContinuedSoThatItHearsItsStopSignal(t *testing.T) {
	inBubble(t, one("web"), nil, func(w *world) {
		w.mustStart("web")
		_ = w.Pause(w.ctx, "web")
		asked := time.Now()
		exit, err := w.Stop(w.ctx, "web", 0)
		if err != nil || exit.Forced || time.Since(asked) > time.Second {
			w.Errorf("%v, %v after %v", exit, err, time.Since(asked))
		}
		if got := w.host.Signals("web"); !slices.Equal(got, []platform.Signal{platform.Signal(syscall.SIGTERM)}) {
			w.Errorf("signals %v", got)
		}
	})
}
