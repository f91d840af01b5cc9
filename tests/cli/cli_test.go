//go:build unix

// Package cli_test has the real binary of proctor do what its users do, from
// outside and with real processes: the scripts are in testdata/script. They are
// for Unix, because what they are about is signals, process groups, sessions and
// modes of files; Windows has none of them.
package cli_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	// What is built and run here: so that a result is not taken from the cache
	// when it has changed.
	_ "github.com/proctord/proctor/cmd"
)

var update = flag.Bool("update", false, "rewrite the golden files in the scripts")

// bin holds the programs that scripts run: proctor, child and limited; work, the
// directories in which they run.
var bin, work string

// TestMain is also main of the programs that the scripts need beside proctor:
// they are this test binary by another name.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "child":
		child(os.Args[1:])
		os.Exit(0)
	case "limited":
		limited(os.Args[1:])
	}
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	root, err := os.MkdirTemp("", "proctor-cli")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(root)
	bin, work = filepath.Join(root, "bin"), filepath.Join(root, "work")
	if err := prepare(root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func prepare(root string) error {
	syscall.Umask(0o022)
	if err := os.Chmod(root, 0o755); err != nil { // some of it is run as another user
		return err
	}
	for _, dir := range []string{bin, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, "proctor"), "github.com/proctord/proctor/cmd/proctor")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range []string{"child", "limited"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return nil
}

// rounds counts the runs of the scripts (-count), each of which needs a directory.
var rounds atomic.Int64

func TestProctorFromOutside(t *testing.T) {
	round := filepath.Join(work, strconv.FormatInt(rounds.Add(1), 10))
	if err := os.Mkdir(round, 0o755); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         round,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"alive":       cmdAlive,
			"begin":       cmdBegin,
			"bytes":       cmdBytes,
			"closeout":    cmdCloseOut,
			"cut":         cmdCut,
			"ended":       cmdEnded,
			"exits":       cmdExits,
			"gone":        cmdGone,
			"logged":      cmdLogged,
			"signal":      cmdSignal,
			"suspended":   cmdSuspended,
			"waitfile":    cmdWaitFile,
			"waitfor":     cmdWaitFor,
			"writequoted": cmdWriteQuoted,
		},
	})
}

func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %s", name)
}

func setUp(env *testscript.Env) error {
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	examples, err := filepath.Abs("../../config/examples")
	if err != nil {
		return err
	}
	env.Setenv("EXAMPLES", examples)
	env.Setenv("CHILD", filepath.Join(bin, "child"))
	env.Setenv("PROCTOR_STATE_DIR", filepath.Join(env.WorkDir, "state"))
	env.Setenv("PROCTOR_SOCKET", filepath.Join(env.WorkDir, "s"))
	env.Setenv("NO_COLOR", "1")
	env.Setenv("STRANGER", stranger())
	env.Setenv("GORACE", "atexit_sleep_ms=0") // our programs end when they are told to
	// Files in a script know no variables, but paths relative to $WORK.
	if err := os.Symlink(filepath.Join(bin, "child"), filepath.Join(env.WorkDir, "child")); err != nil {
		return err
	}
	w := &world{mark: "PROCTOR_CLI_TEST=" + env.WorkDir, runs: map[string]*process{}}
	env.Vars = append(env.Vars, w.mark)
	env.Values[worldKey{}] = w
	env.Defer(func() { w.end(env.T().(testing.TB)) })
	return nil
}

// A world is what one script has started.
type world struct {
	mark string // in the environment of everything that the script has started
	runs map[string]*process
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// end kills what the script has left behind, and makes that a fault of a script
// that passed: whatever it was about, nothing of proctor's may be left.
func (w *world) end(t testing.TB) {
	for name, p := range w.runs {
		if p.running() {
			if !t.Failed() {
				t.Errorf("%s still runs at the end of the script", name)
			}
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
	if left := marked(w.mark); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(describe(left), ", "))
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
