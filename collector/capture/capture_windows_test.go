package capture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMain is also main of the writer that the test starts.
func TestMain(m *testing.M) {
	if os.Getenv("CAPTURE_TEST_PROGRAM") != "" {
		for i := range 1000 {
			fmt.Fprintln(os.Stdout, "out", i)
			fmt.Fprintln(os.Stderr, "err", i)
		}
		fmt.Fprint(os.Stdout, "half")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOutputComesThroughNamedPipesAndRotatedFiles(t *testing.T) {
	dir, err := os.MkdirTemp("", "capture") // t.TempDir would fail the test where wine cannot delete the way that Go wants to
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := Open(Options{Dir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "logs", "web.log")
	for run := range 2 {
		r := s.Begin("web", uint64(run+1), Settings{Path: log, MaxSize: 20_000, MaxFiles: 1000})
		stdout, stderr, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CAPTURE_TEST_PROGRAM=1")
		cmd.Stdout, cmd.Stderr = stdout, stderr
		err = cmd.Run()
		stdout.Close()
		stderr.Close()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan Ending, 1)
		r.Finish(func(e Ending) { ended <- e })
		select {
		case e := <-ended:
			if !e.Stored || len(e.Tail) != 20 {
				t.Errorf("%+v", e)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the recording does not end")
		}
	}
	next := map[Stream]int{}
	for r, err := range s.Read(t.Context(), s.Logs(), Query{Run: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%.3s %d", r.Stream.String()[3:], next[r.Stream]); string(r.Text) != want && !r.Partial {
			t.Fatalf("%q, want %q", r.Text, want)
		}
		next[r.Stream]++
	}
	if next[Stdout] != 1001 || next[Stderr] != 1000 {
		t.Errorf("%v", next)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
