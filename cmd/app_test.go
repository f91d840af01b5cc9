//go:build unix

// The paths and signals that these tests name are those of Unix.

package cmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
	"github.com/spf13/cobra"
)

func TestDurationsAreWrittenInManyWaysAndPrintedInOne(t *testing.T) {
	for text, want := range map[string]struct {
		d    time.Duration
		text string
	}{
		"5s": {5 * time.Second, "5s"}, "5": {5 * time.Second, "5s"}, "0.5": {500 * time.Millisecond, "500ms"}, "1m30s": {90 * time.Second, "1m30s"},
		"1min": {time.Minute, "1m"}, "1min 30sec": {90 * time.Second, "1m30s"}, "2 hours": {2 * time.Hour, "2h"}, "1d": {24 * time.Hour, "1d"},
		"90m": {90 * time.Minute, "1h30m"}, "100000": {100000 * time.Second, "1d3h"}, "0": {0, "0s"}, "250ms": {250 * time.Millisecond, "250ms"},
		"1.5h": {90 * time.Minute, "1h30m"}, "1H": {time.Hour, "1h"},
	} {
		d, err := parseDuration(text)
		if err != nil || d != want.d || duration(d) != want.text {
			t.Errorf("%q is %v (%s), %v, want %v (%s)", text, d, duration(d), err, want.d, want.text)
		}
	}
	for _, text := range []string{"", "soon", "-5s", "5x", "1 30", "5s 3", "1e9h", "999999999999h", "s"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}

func FuzzDurationsAreReadOrRefused(f *testing.F) {
	f.Add("1m30s")
	f.Add("1 30")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDuration(text); err == nil && (d < 0 || d > longest) {
			t.Errorf("%q is %v", text, d)
		}
	})
}

func TestASignalMayStandFirstOrLast(t *testing.T) {
	for _, c := range []struct {
		args []string
		flag string
		kill bool
		ids  string
		sig  string
	}{
		{args: []string{"web", "HUP"}, ids: "web", sig: "SIGHUP"},
		{args: []string{"HUP", "web"}, ids: "web", sig: "SIGHUP"},
		{args: []string{"sigint", "web", "db"}, ids: "web db", sig: "SIGINT"},
		{args: []string{"web", "db", "15"}, ids: "web db", sig: "SIGTERM"},
		{args: []string{"int", "INT"}, ids: "int", sig: "SIGINT"},
		{args: []string{"web", "db"}, flag: "KILL", ids: "web db", sig: "SIGKILL"},
		{args: []string{"web", "db"}, kill: true, ids: "web db", sig: "SIGTERM"},
		{args: []string{"web", "nonsense"}},
		{args: []string{"web"}},
		{args: []string{"web"}, flag: "nonsense"},
		{},
	} {
		ids, sig, err := signalAndIDs(c.args, c.flag, c.kill)
		if err != nil && c.sig == "" {
			continue
		}
		if err != nil || strings.Join(ids, " ") != c.ids || sig != c.sig {
			t.Errorf("%v: %v, %s, %v", c.args, ids, sig, err)
		}
	}
}

func TestATableIsNeverWiderThanTheTerminalAndCutsNoReason(t *testing.T) {
	columns := []column{{"ID", 0}, {"STATE", 0}, {"PID", 2}, {"UPTIME", 3}, {"NEXT", 5}}
	rows := [][]string{{"a-rather-long-id", "\x1b[31mfailed\x1b[0m", "-", "-", "in 1h30m"}, {"ü", "running", "1234567", "12d3h", "-"}}
	reason := "exit code 3 four times within 300 s, and max_restarts = 3"
	for width := 27; width <= 200; width++ {
		out := tabulate(columns, rows, "WHY", []string{reason, ""}, width)
		for line := range strings.SplitSeq(out, "\n") {
			if cutTo(line, width) != line {
				t.Fatalf("at width %d there is %q", width, line)
			}
		}
		if flat := strings.Join(strings.Fields(out), " "); missesAny(flat, reason) {
			t.Fatalf("at width %d the reason is not all there:\n%s", width, out)
		}
	}
}

func missesAny(text, words string) bool {
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// bubble runs f with a supervisor of processes in memory, in virtual time.
func bubble(t *testing.T, ids string, f func(t *testing.T, s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, pids: map[string]string{}}
		sup, err := actors.New(testConfig(strings.Fields(ids)), actors.WithHost(platformtest.New(programs)))
		if err != nil {
			t.Fatal(err)
		}
		s.sup = sup
		synctest.Wait()
		f(t, s)
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

func TestIDsAreCompletedFromWhatTheSupervisorKnows(t *testing.T) {
	bubble(t, "web-1 web-2 old(off)", func(t *testing.T, s *stage) {
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"status", ""}, "old\tstopped web-1\trunning web-2\trunning"},
			{[]string{"stop", "web-1", ""}, "web-2\trunning"},
			{[]string{"start", ""}, "old\tstopped"},
			{[]string{"ps", "w"}, "old\tstopped web-1\trunning web-2\trunning"}, // the shell leaves out what does not begin so
			{[]string{"wait", "web-1", "--for", "hea"}, strings.Join(conditions, " ")},
			{[]string{"status", "-o", ""}, "table wide json yaml"},
			{[]string{"kill", "web-1", ""}, "web-2\trunning HUP INT QUIT TERM USR1 USR2 KILL"},
			{[]string{"reload", ""}, "web-1\trunning web-2\trunning"},
		} {
			var out bytes.Buffer
			if code := s.app(&out, io.Discard).run(t.Context(), append([]string{"__complete"}, c.args...)); code != 0 {
				t.Errorf("%v: exit code %d", c.args, code)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if got := strings.Join(lines[:len(lines)-1], " "); got != c.want {
				t.Errorf("%q: %q, want %q", c.args, got, c.want)
			}
			if !strings.HasPrefix(lines[len(lines)-1], ":4") { // no files
				t.Errorf("%q: %s", c.args, lines[len(lines)-1])
			}
		}
	})
}

func TestSeveralCollectorsAreStoppedAtTheSameTime(t *testing.T) {
	bubble(t, "slow-1 slow-2 slow-3 slow-4", func(t *testing.T, s *stage) {
		a, begun := s.app(io.Discard, io.Discard), time.Now()
		a.atOnce = 64
		if code := a.run(t.Context(), []string{"stop", "--all"}); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if took := time.Since(begun); took != 8*time.Second {
			t.Errorf("it took %v, and one of them takes 8 s", took)
		}
	})
}

// brokenPipe is an output whose reader has gone away.
type brokenPipe struct{ writes atomic.Int64 }

func (b *brokenPipe) Write([]byte) (int, error) {
	b.writes.Add(1)
	return 0, syscall.EPIPE
}

func TestAReaderWhoGoesAwayEndsTheOutputQuietlyAndNotTheWork(t *testing.T) {
	bubble(t, "web-1 web-2 flaky", func(t *testing.T, s *stage) {
		for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"stop", "--all"}, {"events"}, {"events", "-f", "--since", "1"}, {"status", "-w"}, {"inspect", "web-1"}} {
			var stderr bytes.Buffer
			out := &brokenPipe{}
			if code := s.app(out, &stderr).run(t.Context(), args); code != 0 || stderr.Len() > 0 {
				t.Errorf("%v: exit code %d, %s", args, code, stderr.String())
			}
			if out.writes.Load() == 0 {
				t.Errorf("%v wrote nothing", args)
			}
		}
		if status, err := s.sup.Status(t.Context(), "web-2"); err != nil || status.State != messages.Stopped {
			t.Errorf("%+v, %v", status, err)
		}
	})
}

func TestExitCodesAreThoseOfTheSpecification(t *testing.T) {
	for kind, want := range map[messages.Kind]int{
		messages.Internal: 1, messages.ProcessNotFound: 3, messages.AlreadyRunning: 4, messages.InvalidState: 4, messages.SpawnFailed: 5,
		messages.Timeout: 6, messages.TerminateFailed: 6, messages.InvalidConfig: 7, messages.PermissionDenied: 8,
		messages.PlatformNotSupported: 1, messages.IO: 1,
	} {
		var stderr bytes.Buffer
		a := newApp(io.Discard, &stderr)
		a.interruptible = func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }
		a.dial = func(context.Context, string) (connection, error) {
			return connection{}, &messages.Error{Op: "connect", Kind: kind}
		}
		if code := a.run(t.Context(), []string{"status", "-o", "json"}); code != want {
			t.Errorf("%s: exit code %d, want %d", kind.Code(), code, want)
		}
		if want := `{"error":{"code":"` + kind.Code() + `","category":"` + kind.Category() + `",`; !strings.HasPrefix(stderr.String(), want) {
			t.Errorf("%s: %s", kind.Code(), stderr.String())
		}
	}
	if code := exitCode(errors.New("no such flag")); code != exitUsage {
		t.Errorf("wrong usage: exit code %d", code)
	}
}

// Every kind of event has a name, and none is left out where they are listed.
func TestEveryKindOfEventHasAName(t *testing.T) {
	for _, fact := range []messages.Fact{
		messages.Added{}, messages.Removed{}, messages.StateChanged{}, messages.Exited{}, messages.RestartScheduled{}, messages.StopForced{},
		messages.TerminateFailure{}, messages.Crashed{}, messages.HealthChanged{}, messages.ShuttingDown{}, messages.Begun{}, messages.ConfigApplied{},
		messages.Audited{Err: &messages.Error{}}, messages.OutputLost{}, messages.OutputStored{}, messages.Lost{},
	} {
		kind := kindOf(fact)
		if !slices.Contains(eventKinds(), kind) {
			t.Errorf("%T is of the kind %s, which is not listed", fact, kind)
		}
		if text, err := encode(eventOf(messages.Event{Fact: fact}), false); err != nil || !strings.Contains(string(text), `"kind":"`+kind+`","`+kind+`":{`) {
			t.Errorf("%T: %s, %v", fact, text, err)
		}
	}
}

// The table in which others' habits are promised: each word is a command, an
// alias, or answered with the right one.
func TestWhatFingersKnowIsUnderstood(t *testing.T) {
	root := newApp(io.Discard, io.Discard).root()
	for word, want := range map[string]string{
		"ps": "status", "ls": "status", "list": "status", "list-units": "status", "show": "inspect", "describe": "inspect", "info": "inspect",
		"try-restart": "try-restart", "update": "reload", "daemon-reload": "reload", "apply": "reload", "reread": "reload", "diff": "reload", "plan": "reload",
		"kill": "signal", "sendSignal": "signal", "tail": "logs", "reset-failed": "reset", "is-active": "is-active", "is-failed": "is-failed",
		"check": "check", "validate": "check", "down": "shutdown", "rm": "remove", "clear": "clear", "flush": "flush", "up": "up", "exit": "exit",
	} {
		c, _, err := root.Find([]string{word})
		if err != nil || c.Name() != want {
			t.Errorf("%s is %s, %v, want %s", word, c.Name(), err, want)
		}
	}
	every(root, func(c *cobra.Command) {
		if c.Flags().Lookup("follow") == nil && c.Flags().ShorthandLookup("f") != nil {
			t.Errorf("%s: -f is something else than follow", c.CommandPath())
		}
		if f := c.Flags().ShorthandLookup("n"); f != nil && c.Name() != "logs" && c.Name() != "why" {
			t.Errorf("%s: -n is for the last lines of logs, and the last runs of why, only", c.CommandPath())
		}
	})
}
