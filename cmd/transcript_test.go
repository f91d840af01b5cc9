//go:build unix

// The paths and signals that these tests name are those of Unix.

package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what is printed now")

func TestMain(m *testing.M) {
	time.Local = time.UTC // transcripts have times in them
	flag.Parse()
	os.Exit(m.Run())
}

// TestTranscripts plays the sessions in testdata/*.txt against a supervisor of
// processes that exist in memory only, in virtual time. A line "$ proctor …" is a
// command; below it stands what it prints, on standard error behind "! ", and its
// exit code if that is not 0. Other lines that begin with $ are
//
//	$ advance 30s           time passes
//	$ screen 40 color       proctor is on a terminal with 40 columns; off: on none
//	$ answer y              what is typed in answer to questions
//	$ gone                  the supervisor ends
//	$ interrupt 2s          Ctrl-C is pressed so long after the next command began
//
// Run with -update to rewrite what stands below them.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(old), "\r\n", "\n")
			got := play(t, want)
			if got == want {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s is different now; -update rewrites it\n%s", file, got)
		})
	}
}

// programs are how the processes of the test's supervisor behave.
func programs(spec platform.Spec, nth int) platformtest.Program {
	switch {
	case strings.HasPrefix(spec.Label, "flaky"):
		return platformtest.Program{Lives: time.Second, Exit: platform.Exit{Code: 3}}
	case strings.HasPrefix(spec.Label, "deaf"):
		return platformtest.Program{Deaf: true}
	case strings.HasPrefix(spec.Label, "late"):
		return platformtest.Program{SpawnDelay: 1500 * time.Millisecond, StopDelay: 500 * time.Millisecond}
	case strings.HasPrefix(spec.Label, "slow"):
		return platformtest.Program{StopDelay: 8 * time.Second}
	case strings.HasPrefix(spec.Label, "brief"):
		return platformtest.Program{StopDelay: 550 * time.Millisecond}
	case strings.HasPrefix(spec.Label, "hungry"):
		return platformtest.Program{Usage: func(age time.Duration) platform.Usage {
			return platform.Usage{
				Known: platform.HasOOMKills<<1 - 1, Source: "cgroup v2", UserTime: age / 4, SystemTime: age / 8, Throttled: age / 2, Memory: 96 << 20, MemoryPeak: 120 << 20, MemoryLimit: 128 << 20,
				Processes: 2, Tasks: 7, TasksLimit: 50, ReadBytes: 3 << 30, WriteBytes: 5000, ReadOps: 7, WriteOps: 2, Descriptors: 12, VoluntarySwitches: 30, InvoluntarySwitches: 4,
				CPUPressure: platform.Pressure{Some10: 1.5, Some60: 0.5, Some: 2 * time.Second}, OOMKills: 1,
			}
		}}
	case strings.HasPrefix(spec.Label, "second") && nth > 1:
		return platformtest.Program{SpawnError: errors.New("permission denied")}
	case strings.HasPrefix(spec.Label, "once") && nth > 1:
		return platformtest.Program{Lives: 500 * time.Millisecond, Exit: platform.Exit{Code: 4}}
	}
	return platformtest.Program{}
}

// testConfig is what the supervisor supervises; the first line of a transcript
// names those that it has: "# web db". One that is in a group, or requires
// others, says so: "web@pipeline<db,queue"; "@pipeline:one_for_all:parent" is the
// group itself.
func testConfig(ids []string) config.Config {
	cfg := config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{}}
	for _, id := range ids {
		if group, is := strings.CutPrefix(id, "@"); is {
			parts := append(strings.Split(group, ":"), "")
			if cfg.Groups == nil {
				cfg.Groups = map[string]config.Group{}
			}
			cfg.Groups[parts[0]] = config.Group{Strategy: config.Strategy(parts[1]), Parent: parts[2]}
			cfg.Order = append(cfg.Order, "@"+parts[0])
			continue
		}
		id, off := strings.CutSuffix(id, "(off)")
		id, needs, _ := strings.Cut(id, "<")
		id, group, _ := strings.Cut(id, "@")
		var requires []config.Dependency
		for _, other := range strings.FieldsFunc(needs, func(r rune) bool { return r == ',' }) {
			requires = append(requires, config.Dependency{ID: other})
		}
		cfg.Order = append(cfg.Order, id)
		cfg.Collectors[id] = config.Collector{
			Group: group, Requires: requires,
			BinaryPath: "/usr/bin/" + config.TypeOf(id), Args: []string{"--name", "a b"}, Env: map[string]string{"LOG": "info"},
			AutoRestart: true, Autostart: !off, BackoffInitial: 40 * time.Second, BackoffMax: time.Minute, GracefulTimeout: 10 * time.Second,
		}
	}
	return cfg
}

type stage struct {
	t         *testing.T
	sup       *actors.Supervisor
	source    config.Config
	width     int
	color     bool
	answer    string
	interrupt time.Duration
	pids      map[string]string
}

// renumber has processes numbered in the order in which they are shown: which
// collector is started first is not always the same.
func (s *stage) renumber(text string) string {
	return processNumber.ReplaceAllStringFunc(text, func(pid string) string {
		if s.pids[pid] == "" {
			s.pids[pid] = strconv.Itoa(2001 + len(s.pids))
		}
		return s.pids[pid]
	})
}

var processNumber = regexp.MustCompile(`\b10\d\d\b`)

func play(t *testing.T, script string) string {
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) {
		host := platformtest.New(programs)
		lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
		cfg := testConfig(strings.Fields(strings.TrimPrefix(lines[0], "#")))
		s := &stage{t: t, source: cfg, pids: map[string]string{}}
		sup, err := actors.New(cfg, actors.WithHost(host), actors.WithRandom(func() float64 { return 0.5 }),
			actors.WithConfigSource(func(context.Context) (config.Config, error) {
				if s.source.Collectors == nil {
					return s.source, errors.New("proctor.toml:3:1: collectors.web.max_restart: unknown key")
				}
				return s.source, nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		s.sup = sup
		defer func() {
			if err := sup.Close(); err != nil {
				t.Error(err)
			}
			// The actor library counts dead letters by the second, in a goroutine that
			// must have ended too.
			time.Sleep(time.Minute)
			synctest.Wait()
		}()
		synctest.Wait()
		for _, line := range lines {
			switch {
			case strings.HasPrefix(line, "$ "):
				fmt.Fprintln(&out, line)
				s.obey(&out, strings.TrimPrefix(line, "$ "))
				synctest.Wait()
			case line == "", strings.HasPrefix(line, "#"):
				if line != "" || !strings.HasSuffix(out.String(), "\n\n") {
					fmt.Fprintln(&out, line)
				}
			}
		}
	})
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func (s *stage) obey(out io.Writer, line string) {
	words := split(line)
	switch words[0] {
	case "advance":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d) // virtual
	case "screen":
		s.width, s.color = 0, false
		if words[1] != "off" {
			s.width, _ = strconv.Atoi(words[1])
			s.color = slices.Contains(words, "color")
		}
	case "answer":
		s.answer = words[1]
	case "interrupt":
		s.interrupt, _ = time.ParseDuration(words[1])
	case "gone":
		if err := s.sup.Close(); err != nil {
			s.t.Error(err)
		}
	case "config":
		s.source = config.Config{}
		if words[1] != "broken" {
			s.source = testConfig(words[1:])
		}
	case "set": // set ID KEY: something about it is different from now on
		c := s.source.Collectors[words[1]]
		switch words[2] {
		case "args":
			c.Args = []string{"--new"}
		case "max_restarts":
			c.MaxRestarts = 7
		}
		s.source.Collectors[words[1]] = c
	case "proctor":
		s.proctor(out, words[1:])
	default:
		s.t.Fatalf("%q is no line of a transcript", line)
	}
}

func (s *stage) proctor(out io.Writer, args []string) {
	stdout, stderr := &terminal{}, &terminal{prefix: "! "}
	shown := &both{stdout: stdout, stderr: stderr}
	stdout.to, stderr.to = shown, shown
	a := s.app(stdout, stderr)
	code := a.run(s.t.Context(), args)
	synctest.Wait()
	text := shown.text()
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, _ = io.WriteString(out, s.renumber(strings.NewReplacer("\x1b", "␛", "\r", "␍").Replace(text)))
	if code != 0 {
		_, _ = fmt.Fprintf(out, "[exit code %d]\n", code)
	}
}

func (s *stage) app(stdout, stderr io.Writer) *app {
	a := newApp(stdout, stderr)
	a.stdin = strings.NewReader(s.answer + "\n")
	a.getenv = func(name string) string {
		switch {
		case name == "NO_COLOR" && !s.color:
			return "1"
		case name == "PROCTOR_SOCKET":
			return "/run/proctor.sock"
		}
		return ""
	}
	a.screen = func(any) (int, int, bool) { return s.width, 24, s.width > 0 }
	interrupt := s.interrupt
	s.interrupt = 0
	a.interruptible = func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		if interrupt > 0 {
			time.AfterFunc(interrupt, cancel)
		}
		return ctx, cancel
	}
	a.dial = func(context.Context, string) (connection, error) {
		select {
		case <-s.sup.Done():
			return connection{}, &messages.Error{Op: "connect", Kind: messages.Internal, Err: actors.ErrNoSupervisor}
		default:
			return connection{s.sup.Commands, io.NopCloser(nil)}, nil
		}
	}
	a.atOnce = 1 // one after the other, so that it is the same every time
	return a
}

// both is what a terminal shows: standard output and errors in the order in
// which they were written.
type both struct {
	mu             sync.Mutex // the spinner writes too
	b              bytes.Buffer
	stdout, stderr *terminal
}

func (b *both) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type terminal struct {
	prefix string
	to     *both
}

func (t *terminal) Write(p []byte) (int, error) {
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	for line := range bytes.Lines(p) {
		t.to.b.WriteString(t.prefix)
		t.to.b.Write(line)
	}
	return len(p), nil
}

// split splits a line into words as a shell does, with single quotes.
func split(line string) []string {
	var words []string
	quoted, word, some := false, "", false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, some = !quoted, true
		case r == ' ' && !quoted:
			if some {
				words = append(words, word)
			}
			word, some = "", false
		default:
			word, some = word+string(r), true
		}
	}
	if some {
		words = append(words, word)
	}
	return words
}
