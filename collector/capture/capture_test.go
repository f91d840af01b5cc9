//go:build unix

package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

// TestMain is also main of the writers that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("CAPTURE_TEST_PROGRAM") != "" {
		program(os.Args[1:])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// program writes numbered lines: count, bytes a line, streams, pause after each.
func program(args []string) {
	switch args[0] {
	case "lines":
		count, _ := strconv.Atoi(args[1])
		size, _ := strconv.Atoi(args[2])
		pause, _ := time.ParseDuration(args[3])
		both := len(args) > 4
		out, err := bufio.NewWriterSize(os.Stdout, 16<<10), bufio.NewWriterSize(os.Stderr, 16<<10)
		if pause > 0 {
			out, err = bufio.NewWriterSize(os.Stdout, 1), bufio.NewWriterSize(os.Stderr, 1)
		}
		for i := range count {
			line := numbered64(i, size)
			_, _ = out.Write(line)
			if both {
				_, _ = err.Write(line)
			}
			if pause > 0 {
				time.Sleep(pause) // it is a slow program, not a slow test
			}
		}
		_ = out.Flush()
		_ = err.Flush()
	case "bulk": // numbered lines as fast as can be: count, bytes a line, and what to end with; or "both" streams
		count, _ := strconv.Atoi(args[1])
		size, _ := strconv.Atoi(args[2])
		all := bulkOf("", count, size)
		if args[3] != "both" {
			_, _ = os.Stdout.Write(append(all, args[3]...))
			break
		}
		errors := make(chan error, 1)
		errs := bulkOf("error ", count, size)
		go func() { _, err := os.Stderr.Write(errs); errors <- err }()
		_, _ = os.Stdout.Write(all)
		<-errors
	case "say": // each argument, quoted as in Go, on one of the streams
		for i, arg := range args[1:] {
			text, err := strconv.Unquote(arg)
			if err != nil {
				panic(err)
			}
			_, _ = [...]*os.File{os.Stdout, os.Stderr}[i%2].WriteString(text)
		}
	case "endless": // bytes without a line feed, many of them
		count, _ := strconv.Atoi(args[1])
		piece := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		for ; count > 0; count -= len(piece) {
			_, _ = os.Stdout.Write(piece[:min(count, len(piece))])
		}
	case "leave": // its output to a child that lives on, until its standard input ends
		child := exec.Command(os.Args[0], "linger")
		child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("parent\n")
	case "linger":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "store": // a store that is killed: directory, log; it starts a writer that outlives it
		s, err := Open(Options{Dir: args[1]})
		if err != nil {
			panic(err)
		}
		r := s.Begin("web", 7, Settings{Path: args[2], Lossless: true})
		stdout, stderr, err := r.Open()
		if err != nil {
			panic(err)
		}
		child := exec.Command(os.Args[0], "lines", args[3], "40", "100us")
		child.Stdout, child.Stderr = stdout, stderr
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // else, stopped, it is sent SIGHUP when we end
		if err := child.Start(); err != nil {
			panic(err)
		}
		_, _ = fmt.Println(child.Process.Pid)
		select {}
	}
}

func numbered64(i, size int) []byte {
	line := strconv.AppendInt(nil, int64(i), 10)
	if n := size - 1 - len(line); n > 0 {
		line = append(line, bytes.Repeat([]byte{byte('a' + i%26)}, n)...)
	}
	return append(line, '\n')
}

// bulkOf are numbered lines that all begin with something.
func bulkOf(prefix string, count, size int) []byte {
	all := make([]byte, 0, count*(size+len(prefix)))
	for i := range count {
		all = append(append(all, prefix...), numbered64(i, size)...)
	}
	return all
}

// start runs this test binary as a writer with its output captured.
func start(t *testing.T, r *Recording, args ...string) *exec.Cmd {
	t.Helper()
	stdout, stderr, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "CAPTURE_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = cmd.Start()
	stdout.Close()
	stderr.Close()
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func finish(t *testing.T, r *Recording) Ending {
	t.Helper()
	ended := make(chan Ending, 1)
	r.Finish(func(e Ending) { ended <- e })
	select {
	case e := <-ended:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("the recording does not end")
		panic("unreachable")
	}
}

// eventually waits until what must come has come.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no " + what)
		}
	}
}

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(Options{Dir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, filepath.Join(dir, "logs", "web.log")
}

// content is everything in a log, rotated and compressed files included.
func content(t *testing.T, log string) []byte {
	t.Helper()
	var all []byte
	segs, err := segments(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for i, s := range segs {
		if i > 0 && segs[i-1].number == s.number {
			continue
		}
		data, err := os.ReadFile(s.path(log))
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = bytes.NewReader(data)
		switch s.suffix {
		case ".gz":
			r, err = gzip.NewReader(r)
		case ".zst":
			r, err = zstd.NewReader(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	data, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return append(all, data...)
}

// check has every line once and in order, per stream, where gaps say exactly how
// many are missing.
func check(t *testing.T, data []byte, count int) (gaps uint64) {
	t.Helper()
	next := map[Stream]int{Stdout: 0, Stderr: 0}
	seen := map[Stream]int{}
	var missing uint64
	for line := range bytes.Lines(data) {
		r, _ := parseRecord(bytes.TrimSuffix(line, []byte("\n")), JSON, nil)
		if r.Gap != nil {
			gaps += r.Gap.Lines
			continue
		}
		digits := strings.TrimRight(string(r.Text), "abcdefghijklmnopqrstuvwxyz")
		n, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatalf("no numbered line: %.200q", line)
		}
		if n < next[r.Stream] {
			t.Fatalf("%v: line %d comes after %d", r.Stream, n, next[r.Stream]-1)
		}
		missing += uint64(n - next[r.Stream])
		next[r.Stream] = n + 1
		seen[r.Stream]++
	}
	for _, st := range []Stream{Stdout, Stderr} {
		if seen[st] > 0 || count > 0 && st == Stdout {
			missing += uint64(count - next[st])
		}
	}
	if missing != gaps {
		t.Fatalf("%d lines are missing, the gaps say %d; there are %v", missing, gaps, seen)
	}
	return gaps
}

func TestEveryLineIsStoredBeforeTheEndIsAnnounced(t *testing.T) {
	for _, set := range []Settings{
		{Format: JSON},
		{Format: JSON, Together: true},
		{Format: JSON, Lossless: true},
		{Format: Raw, Lossless: true, Together: true},
		{Format: Raw, Lossless: true, Timestamps: true},
	} {
		t.Run(fmt.Sprintf("%s-%v-%v-%v", set.Format, set.Together, set.Lossless, set.Timestamps), func(t *testing.T) {
			s, log := open(t)
			set.Path = log
			for run := range 3 {
				r := s.Begin("web", uint64(run+1), set)
				cmd := start(t, r, "lines", "20000", "100", "0")
				if err := cmd.Wait(); err != nil {
					t.Fatal(err)
				}
				e := finish(t, r)
				if !e.Stored || len(e.Tail) != 20 || !strings.HasPrefix(e.Tail[19], "19999") || !strings.HasPrefix(e.Tail[0], "19980") {
					t.Fatalf("%+v", e)
				}
				data := content(t, log)
				if n := bytes.Count(data, []byte("\n")); n != 20000*(run+1) {
					t.Fatalf("%d lines after run %d", n, run)
				}
			}
		})
	}
}

var lines = flag.Int("lines", 20_000, "lines to write on each stream through rotations, of which there is one in 60")

func TestRotationLosesAndDoublesNothing(t *testing.T) {
	for _, how := range []Compression{None, Gzip, Zstd} {
		t.Run(string(how), func(t *testing.T) {
			s, log := open(t)
			r := s.Begin("web", 1, Settings{Path: log, MaxSize: 20_000, MaxFiles: 10_000, Compress: how, Lossless: true})
			cmd := start(t, r, "lines", strconv.Itoa(*lines), "100", "0", "both")
			cmd.Wait()
			finish(t, r)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if gaps := check(t, content(t, log), *lines); gaps > 0 {
				t.Errorf("%d lines are missing", gaps)
			}
			segs, _ := segments(log)
			if len(segs) < *lines/60 {
				t.Errorf("%d files", len(segs))
			}
			for _, one := range segs {
				if one.suffix == "" && one.size > 20_000 {
					t.Errorf("a file of %d bytes", one.size)
				}
			}
		})
	}
}
