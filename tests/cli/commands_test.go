//go:build unix

package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience is how long a script waits for what should happen at once: only a
// fault makes a script wait for all of it, however busy the machine is.
const patience = time.Minute

// eventually reports whether condition comes true while a script is patient.
func eventually(condition func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if condition() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// A process is one that a script has begun and has not waited for.
type process struct {
	cmd      *exec.Cmd
	out, log string   // files
	reader   *os.File // of its output, if that is a pipe
	done     chan struct{}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) status() string {
	state := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if state.Signaled() {
		return unix.SignalName(state.Signal())
	}
	return strconv.Itoa(state.ExitStatus())
}

// begin [-pipe=out|log|unread] NAME PROGRAM ARG… starts a program. Its standard
// output goes to the file NAME.out, its standard error to NAME.log; with -pipe,
// one of them by way of a pipe that closeout closes; with -pipe=unread, standard
// error is a pipe that nobody reads, until closeout closes it.
func cmdBegin(ts *testscript.TestScript, neg bool, args []string) {
	pipe := ""
	if len(args) > 0 {
		if stream, found := strings.CutPrefix(args[0], "-pipe="); found {
			pipe, args = stream, args[1:]
		}
	}
	usage(ts, neg || len(args) < 2, "begin [-pipe=out|log|unread] NAME PROGRAM ARG...")
	w, name := worldOf(ts), args[0]
	p := &process{out: ts.MkAbs(name + ".out"), log: ts.MkAbs(name + ".log"), done: make(chan struct{})}
	program := filepath.Join(bin, args[1])
	if _, err := os.Stat(program); err != nil {
		program, err = exec.LookPath(args[1])
		ts.Check(err)
	}
	out, err := os.Create(p.out)
	ts.Check(err)
	defer out.Close()
	log, err := os.Create(p.log)
	ts.Check(err)
	defer log.Close()
	p.cmd = exec.Command(program, args[2:]...)
	p.cmd.Dir, p.cmd.Env = ts.MkAbs("."), environment(ts)
	p.cmd.Stdout, p.cmd.Stderr = out, log
	if pipe != "" {
		r, pw, err := os.Pipe()
		ts.Check(err)
		defer pw.Close()
		p.reader = r
		switch pipe {
		case "out":
			p.cmd.Stdout = pw
			go record(p.out, r)
		case "log":
			p.cmd.Stderr = pw
			go record(p.log, r)
		case "unread":
			p.cmd.Stderr = pw
		default:
			ts.Fatalf("-pipe=%s: it is one of out, log and unread", pipe)
		}
	}
	ts.Check(p.cmd.Start())
	w.runs[name] = p
	ts.Setenv(name, strconv.Itoa(p.cmd.Process.Pid))
	go func() {
		_ = p.cmd.Wait() // ended looks at how
		close(p.done)
	}()
}

func record(file string, r *os.File) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.ReadFrom(r)
}

// environment is what the script has set; it is not given to other packages as
// such, but all of what matters here has a known name.
func environment(ts *testscript.TestScript) []string {
	env := []string{worldOf(ts).mark}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "CHILD", "NO_COLOR", "GORACE", "GOCOVERDIR", "PROCTOR_SOCKET", "PROCTOR_STATE_DIR"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// closeout NAME ends the reading of the pipe of begin -pipe.
func cmdCloseOut(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "closeout NAME")
	ts.Check(runOf(ts, args[0]).reader.Close())
}

// ended NAME STATUS [DURATION] waits until what was begun has ended, and checks
// its exit code, or the name of the signal that ended it; * is any.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2 || len(args) > 3, "ended NAME STATUS [DURATION]")
	p, limit := runOf(ts, args[0]), patience
	if len(args) == 3 {
		var err error
		limit, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	select {
	case <-p.done:
	case <-time.After(limit):
		ts.Fatalf("%s has not ended within %v; its log:\n%s", args[0], limit, tail(p.log))
	}
	if args[1] != "*" && p.status() != args[1] {
		ts.Fatalf("%s ended with %s, not %s; its log:\n%s", args[0], p.status(), args[1], tail(p.log))
	}
}

// exits CODE PROGRAM ARG… runs a program as exec does, and checks its exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2, "exits CODE PROGRAM ARG...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, not %d", code, want)
	}
}

// logged NAME CONDITION… waits for a line in the log of NAME that meets all of
// the conditions: FIELD=VALUE, FIELD~REGEXP, or FIELD->VARIABLE, which is met by
// any value and gives it to a variable of the script. With ! no line may meet
// them now.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) < 2, "[!] logged NAME CONDITION...")
	p := runOf(ts, args[0])
	if neg {
		if line := lineWith(ts, p.log, args[1:]); line != nil {
			ts.Fatalf("there is %v", line)
		}
		return
	}
	var line map[string]any
	eventually(func() bool {
		ended := !p.running() // before reading: what it wrote last counts
		line = lineWith(ts, p.log, args[1:])
		return line != nil || ended
	})
	if line == nil {
		ts.Fatalf("no line has %q; the log:\n%s", args[1:], tail(p.log))
	}
	for _, c := range args[1:] {
		if field, variable, found := strings.Cut(c, "->"); found {
			ts.Setenv(variable, text(line[field]))
		}
	}
}

func lineWith(ts *testscript.TestScript, file string, conditions []string) map[string]any {
	for line := range bytes.Lines([]byte(read(file))) {
		var fields map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if d.Decode(&fields) == nil && !slices.ContainsFunc(conditions, func(c string) bool { return !meets(ts, fields, c) }) {
			return fields
		}
	}
	return nil
}

var conditionSyntax = regexp.MustCompile(`^([a-z_]+)(->|=|~)(.*)$`)

func meets(ts *testscript.TestScript, fields map[string]any, condition string) bool {
	parts := conditionSyntax.FindStringSubmatch(condition)
	if parts == nil {
		ts.Fatalf("%q is not a condition", condition)
	}
	value, there := fields[parts[1]]
	switch {
	case !there:
		return false
	case parts[2] == "=":
		return text(value) == parts[3]
	case parts[2] == "~":
		re, err := regexp.Compile(parts[3])
		ts.Check(err)
		return re.MatchString(text(value))
	}
	return true
}

func text(value any) string { return fmt.Sprint(value) }

// waitfor FILE REGEXP waits until the file has what the expression describes;
// its named groups become variables of the script.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "waitfor FILE REGEXP")
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var match []string
	if !eventually(func() bool { match = re.FindStringSubmatch(read(ts.MkAbs(args[0]))); return match != nil }) {
		ts.Fatalf("no %s in %s:\n%s", args[1], args[0], tail(ts.MkAbs(args[0])))
	}
	for i, name := range re.SubexpNames() {
		if name != "" {
			ts.Setenv(name, match[i])
		}
	}
}

// waitfile FILE [LINES] waits until there is a file, with at least so many lines.
func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 1 || len(args) > 2, "waitfile FILE [LINES]")
	lines := 1
	if len(args) == 2 {
		var err error
		lines, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	if !eventually(func() bool { return strings.Count(read(ts.MkAbs(args[0])), "\n") >= lines }) {
		ts.Fatalf("%s does not have %d lines:\n%s", args[0], lines, tail(ts.MkAbs(args[0])))
	}
}

// signal NAME TARGET… sends a signal to processes.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2, "signal SIGNAL NAME|PID|FILE...")
	s := unix.SignalNum("SIG" + args[0])
	if s == 0 {
		ts.Fatalf("there is no signal %s", args[0])
	}
	for _, pid := range pids(ts, args[1:]) {
		ts.Check(syscall.Kill(pid, s))
	}
}

// gone [-soon] TARGET… checks that processes are not there any more, at once or
// while the script is patient.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	soon := len(args) > 0 && args[0] == "-soon"
	if soon {
		args = args[1:]
	}
	usage(ts, neg || len(args) == 0, "gone [-soon] PID|FILE...")
	all := pids(ts, args)
	allGone := func() bool { return !slices.ContainsFunc(all, exists) }
	if !allGone() && (!soon || !eventually(allGone)) {
		ts.Fatalf("still there: %s", strings.Join(describe(slices.DeleteFunc(all, func(pid int) bool { return !exists(pid) })), ", "))
	}
}

// alive TARGET… checks that all of these processes are there.
func cmdAlive(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) == 0, "alive NAME|PID|FILE...")
	for _, pid := range pids(ts, args) {
		if !exists(pid) {
			ts.Fatalf("process %d is gone", pid)
		}
	}
}

// suspended PID waits until a process does not run because of a stop signal.
func cmdSuspended(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "suspended PID")
	if pid := pids(ts, args)[0]; !eventually(func() bool { return processState(pid) == 'T' }) {
		ts.Fatalf("process %d is in state %q", pid, processState(pid))
	}
}

// bytes FILE SIZE random|comment makes a large file, the same one every time.
func cmdBytes(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 3, "bytes FILE SIZE random|comment")
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := bytes.Repeat([]byte("# a comment of 32 characters ...\n"), size/33+1)[:size]
	if args[2] == "random" {
		source := rand.NewChaCha8([32]byte{})
		_, _ = source.Read(data)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o666))
}

// writequoted FILE TEXT writes a file of the text, in which Go's escapes stand
// for what a script cannot contain.
func cmdWriteQuoted(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "writequoted FILE TEXT")
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o666))
}

// cut FILE SIZE leaves only the beginning of a file.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "cut FILE SIZE")
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

func usage(ts *testscript.TestScript, wrong bool, text string) {
	if wrong {
		ts.Fatalf("usage: %s", text)
	}
}

func runOf(ts *testscript.TestScript, name string) *process {
	p := worldOf(ts).runs[name]
	if p == nil {
		ts.Fatalf("%s was not begun", name)
	}
	return p
}

// pids are the processes meant by what was begun, a number, or a file of numbers.
func pids(ts *testscript.TestScript, targets []string) (all []int) {
	for _, target := range targets {
		if p := worldOf(ts).runs[target]; p != nil {
			all = append(all, p.cmd.Process.Pid)
			continue
		}
		numbers := []string{target}
		if _, err := strconv.Atoi(target); err != nil {
			numbers = strings.Fields(ts.ReadFile(target))
		}
		if len(numbers) == 0 {
			ts.Fatalf("%s names no process", target)
		}
		for _, number := range numbers {
			pid, err := strconv.Atoi(number)
			if err != nil || pid <= 1 {
				ts.Fatalf("%q in %s is not a process id", number, target)
			}
			all = append(all, pid)
		}
	}
	return all
}

func read(file string) string {
	data, _ := os.ReadFile(file) // what is not there yet is empty
	return string(data)
}

// tail is the end of a file, and its first lines, for the message of a failure.
func tail(file string) string {
	const first, last = 4, 40
	lines := strings.SplitAfter(read(file), "\n")
	if len(lines) > first+last {
		lines = slices.Concat(lines[:first], []string{"...\n"}, lines[len(lines)-last:])
	}
	return strings.Join(lines, "")
}
