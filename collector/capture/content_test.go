//go:build unix

package capture

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorded is what a log has, a line of text for each record.
func recorded(t *testing.T, s *Store, q Query) (all []Record) {
	t.Helper()
	for r, err := range s.Read(t.Context(), s.Logs(), q) {
		if err != nil {
			t.Fatal(err)
		}
		r.Text = bytes.Clone(r.Text)
		all = append(all, r)
	}
	return all
}

func TestWhateverIsWrittenComesBackAsItWas(t *testing.T) {
	for _, format := range []Format{JSON, Raw} {
		for _, text := range []string{
			"", "\n", "\n\n\n", "half a line", "a\r\nb\r\n", "nul \x00 in it\n", "\xff\xfe\xc3(\n", "é 日本\n", "\"quoted\" \\ \t \x1b[31m\n", "a\n\nb",
		} {
			s, log := open(t)
			r := s.Begin("web", 1, Settings{Path: log, Format: format})
			if err := start(t, r, "say", strconv.Quote(text)).Wait(); err != nil {
				t.Fatal(err)
			}
			finish(t, r)
			var back string
			for _, rec := range recorded(t, s, Query{}) {
				back += string(rec.Text)
				if !rec.Partial {
					back += "\n"
				}
			}
			if back != text {
				t.Errorf("%s: %q came back as %q", format, text, back)
			}
		}
	}
}

func TestALineWithoutEndIsCutAndNothingOfItIsLost(t *testing.T) {
	const size = 100 << 20
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log, Lossless: true, MaxSize: 16 << 20, MaxFiles: 100, Compress: None})
	if err := start(t, r, "endless", strconv.Itoa(size)).Wait(); err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	total := 0
	for rec, err := range s.Read(t.Context(), s.Logs(), Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !rec.Partial || len(rec.Text) > DefaultMaxLine || rec.Text[0] != "0123456789abcdef"[total%16] {
			t.Fatalf("at %d: %d bytes, partial %v", total, len(rec.Text), rec.Partial)
		}
		total += len(rec.Text)
	}
	if total != size {
		t.Errorf("%d bytes came back", total)
	}
}

func TestTwoStreamsAreToldApartOrKeptInOrder(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log})
	start(t, r, "say", `"out\n"`, `"err\n"`).Wait()
	finish(t, r)
	if got := recorded(t, s, Query{Stream: Stderr}); len(got) != 1 || string(got[0].Text) != "err" {
		t.Errorf("stderr: %v", got)
	}
	r = s.Begin("web", 2, Settings{Path: log, Together: true})
	start(t, r, "say", `"1\n"`, `"2\n"`, `"3\n"`, `"4\n"`).Wait()
	finish(t, r)
	var order string
	for _, rec := range recorded(t, s, Query{Run: 2}) {
		order += string(rec.Text)
	}
	if order != "1234" {
		t.Errorf("together: %s", order)
	}
}

func TestOutputOfAGrandchildThatLivesOnIsRecordedFurther(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log})
	stdout, stderr, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "leave")
	cmd.Env = append(os.Environ(), "CAPTURE_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
	in, write, _ := os.Pipe()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, stdout, stderr
	err = cmd.Run()
	in.Close()
	stdout.Close()
	stderr.Close()
	if err != nil {
		t.Fatal(err)
	}
	if e := finish(t, r); len(e.Tail) != 1 || e.Tail[0] != "parent" {
		t.Errorf("%q", e.Tail)
	}
	next := s.Begin("web", 2, Settings{Path: log})
	start(t, next, "say", `"second\n"`).Wait()
	finish(t, next)
	io.WriteString(write, "grandchild\n")
	write.Close()
	eventually(t, "line of the grandchild", func() bool {
		all := recorded(t, s, Query{Run: 1})
		return len(all) == 2 && string(all[1].Text) == "grandchild"
	})
}

func TestAWriterThatIsStoppedAndKilledLosesNothingThatItWrote(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log, MaxSize: 10_000, MaxFiles: 1000, Compress: None}) // content looks at files as they are
	cmd := start(t, r, "lines", "1000000", "40", "10us")
	lines := func() int { return bytes.Count(content(t, log), []byte("\n")) }
	eventually(t, "line", func() bool { return lines() > 100 })
	cmd.Process.Signal(syscall.SIGSTOP)
	cmd.Process.Signal(syscall.SIGCONT)
	before := lines()
	eventually(t, "further line", func() bool { return lines() > before+100 })
	cmd.Process.Kill()
	cmd.Wait()
	e := finish(t, r)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n := lines()
	if gaps := check(t, content(t, log), n); gaps > 0 {
		t.Errorf("%d of %d lines are missing", gaps, n)
	}
	if last := e.Tail[len(e.Tail)-1]; !strings.HasPrefix(last, strconv.Itoa(n-1)) {
		t.Errorf("the last line is %q, %d are stored", last, n)
	}
}

// The program that reads is killed; the writer goes on, and so does the next reader.
func TestNothingIsLostWhileTheReaderIsReplaced(t *testing.T) {
	dir := t.TempDir()
	const count = 2000
	first := exec.Command(os.Args[0], "store", dir+"/run", dir+"/web.log", strconv.Itoa(count))
	first.Env = append(os.Environ(), "CAPTURE_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
	first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pid, _ := first.StdoutPipe()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 32)
	n, _ := pid.Read(text)
	writer, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(writer, syscall.SIGKILL)
	lines := func() int { return bytes.Count(content(t, dir+"/web.log"), []byte("\n")) }
	eventually(t, "line", func() bool { return lines() > 200 })
	// Stopped first, so that what it has read is in the file when it dies.
	syscall.Kill(writer, syscall.SIGSTOP)
	before := -1
	eventually(t, "rest", func() bool {
		now := lines()
		still := now == before
		before = now
		time.Sleep(20 * time.Millisecond)
		return still
	})
	first.Process.Kill()
	first.Wait()
	syscall.Kill(writer, syscall.SIGCONT)

	s, err := Open(Options{Dir: dir + "/run"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.Begin("web", 1, Settings{Path: dir + "/web.log", Lossless: true})
	start(t, r, "say", `""`).Wait()
	finish(t, r)
	eventually(t, "end", func() bool { return lines() >= count })
	if gaps := check(t, content(t, dir+"/web.log"), count); gaps > 0 {
		t.Errorf("%d lines are missing", gaps)
	}
	eventually(t, "end of the FIFOs", func() bool {
		left, _ := filepath.Glob(dir + "/run/*/*")
		return len(left) == 0
	})
}

func TestSecretsAreMaskedBeforeAnythingIsStored(t *testing.T) {
	s, log := open(t)
	var also gathered
	r := s.Begin("web", 1, Settings{Path: log, Masks: []*regexp.Regexp{regexp.MustCompile(`secret=\S+`)}, Also: []Forwarder{&also}})
	start(t, r, "say", `"user=a secret=b\nnone\n"`).Wait()
	e := finish(t, r)
	const want = "user=a ***"
	if e.Tail[0] != want || also.texts[0] != want || string(recorded(t, s, Query{})[0].Text) != want {
		t.Errorf("%q, %q, %s", e.Tail, also.texts, content(t, log))
	}
}

type gathered struct{ texts []string }

func (g *gathered) Forward(r Record) { g.texts = append(g.texts, string(r.Text)) }

func TestAStackTraceIsOneRecord(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log, Multiline: regexp.MustCompile(`^\S`)})
	start(t, r, "say", `"panic\n\tat a\n\tat b\nnext\n"`).Wait()
	finish(t, r)
	all := recorded(t, s, Query{})
	if len(all) != 2 || string(all[0].Text) != "panic\n\tat a\n\tat b" || string(all[1].Text) != "next" {
		t.Errorf("%v", all)
	}
}

func TestWhatIsOverTheRateIsCountedExactly(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log, RateLimit: 100, Together: true})
	start(t, r, "lines", "5000", "20", "0").Wait()
	finish(t, r)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if gaps := check(t, content(t, log), 5000); gaps < 3000 {
		t.Errorf("only %d lines were dropped", gaps)
	}
}

func TestAMemoryKeepsTheNewest(t *testing.T) {
	s, _ := open(t)
	r := s.Begin("web", 1, Settings{Target: Memory, MaxSize: 10_000})
	start(t, r, "lines", "1000", "40", "0").Wait()
	finish(t, r)
	all := recorded(t, s, Query{})
	if len(all) < 20 || len(all) > 100 || !strings.HasPrefix(string(all[len(all)-1].Text), "999") {
		t.Errorf("%d records", len(all))
	}
	if last := recorded(t, s, Query{Last: 3}); len(last) != 3 || !strings.HasPrefix(string(last[0].Text), "997") {
		t.Errorf("%v", last)
	}
}

func TestAFileThatIsDeletedOrMovedIsNoticed(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, Settings{Path: log})
	stdout, stderr, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	has := func(file, text string) func() bool {
		return func() bool {
			data, _ := os.ReadFile(file)
			return strings.Contains(string(data), text)
		}
	}
	io.WriteString(stdout, "first\n")
	eventually(t, "first line", has(log, "first"))
	os.Remove(log)
	io.WriteString(stdout, "second\n")
	eventually(t, "second line", has(log, "second"))
	os.Rename(log, log+".old") // as logrotate does
	io.WriteString(stdout, "third\n")
	eventually(t, "third line", func() bool { return has(log, "third")() || has(log+".old", "third")() })
	io.WriteString(stdout, "fourth\n")
	eventually(t, "fourth line", has(log, "fourth"))
	os.Truncate(log, 0)
	io.WriteString(stdout, "fifth\n")
	eventually(t, "fifth line", has(log, "fifth"))
	stdout.Close()
	finish(t, r)
	if n := strings.Count(string(content(t, log)), "\n"); n != 1 {
		t.Errorf("%d lines in the new file", n)
	}
}

func TestSilentRecordingsCostNeitherGoroutinesNorMoreThanTheirDescriptors(t *testing.T) {
	s, log := open(t)
	descriptors := func() int {
		entries, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Skip("there is no /dev/fd to count descriptors in")
		}
		return len(entries)
	}
	before, goroutines := descriptors(), runtime.NumGoroutine()
	const count = 50
	var writers []*os.File
	for i := range count {
		stdout, _, err := s.Begin("c"+strconv.Itoa(i), 1, Settings{Path: log + strconv.Itoa(i), Together: true}).Open()
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, stdout)
	}
	if got := descriptors() - before - count; got != count {
		t.Errorf("%d descriptors for %d recordings", got, count)
	}
	if got := runtime.NumGoroutine() - goroutines; got > 0 {
		t.Errorf("%d goroutines", got)
	}
	for _, w := range writers {
		w.Close()
	}
}
