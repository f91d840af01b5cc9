package capture

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inBulk is how output is kept that may be moved without a copy.
func inBulk(log string) Settings {
	return Settings{Path: log, Format: Raw, Lossless: true, Together: true, Compress: None, MaxSize: 4 << 20, MaxFiles: 10_000}
}

// passes makes sure that a test has shown something.
func passes(t *testing.T, s *Store) {
	t.Helper()
	if n := s.passed.Load(); n == 0 {
		t.Error("nothing was moved in passes: this shows nothing")
	} else {
		t.Logf("%d bytes were moved in passes", n)
	}
}

// files are the contents of all files of a log, the oldest first.
func files(t *testing.T, log string) (all [][]byte) {
	t.Helper()
	segs, err := segments(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths(log, segs), log) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

func paths(log string, segs []segment) (all []string) {
	for _, one := range segs {
		all = append(all, one.path(log))
	}
	return all
}

// same compares what should be the same, without showing megabytes of it.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%d bytes in place of %d; at %d: %.100q in place of %.100q", len(got), len(want), at, got[at:], want[at:])
}

func TestOutputInBulkMakesTheFilesThatItWouldMakeOtherwise(t *testing.T) {
	for _, end := range []string{"", "half a line"} {
		s, log := open(t)
		set := inBulk(log)
		const count, size = 400_000, 101
		for run := range uint64(2) {
			r := s.Begin("web", run+1, set)
			if err := start(t, r, "bulk", strconv.Itoa(count), strconv.Itoa(size), end).Wait(); err != nil {
				t.Fatal(err)
			}
			last := fmt.Sprint(count - 1)
			e := finish(t, r)
			if end != "" {
				last = end
			}
			if !e.Stored || len(e.Tail) != 20 || !strings.HasPrefix(e.Tail[19], last) {
				t.Errorf("%+v", e)
			}
		}
		want := append(bulkOf("", count, size), end...)
		want = append(want, want...)
		for _, got := range files(t, log) {
			full := int(set.MaxSize)
			if len(want) > full {
				full = bytes.LastIndexByte(want[:full], '\n') + 1
			}
			full = min(full, len(want))
			same(t, got, want[:full])
			want = want[full:]
		}
		if len(want) > 0 {
			t.Errorf("%d bytes are missing", len(want))
		}
		passes(t, s)
	}
}

func TestALineWithoutEndInBulkIsStoredAsItIs(t *testing.T) {
	s, log := open(t)
	r := s.Begin("web", 1, inBulk(log))
	const size = 32 << 20
	if err := start(t, r, "endless", strconv.Itoa(size)).Wait(); err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	same(t, content(t, log), bytes.Repeat([]byte("0123456789abcdef"), size/16))
	for _, got := range files(t, log) {
		if len(got) > 4<<20 {
			t.Errorf("a file of %d bytes", len(got))
		}
	}
	passes(t, s)
}

func TestTwoStreamsInBulkBreakNoLineOfEachOther(t *testing.T) {
	s, log := open(t)
	set := inBulk(log)
	set.Together = false
	const count, size = 300_000, 100
	r := s.Begin("web", 1, set)
	if err := start(t, r, "bulk", strconv.Itoa(count), strconv.Itoa(size), "both").Wait(); err != nil {
		t.Fatal(err)
	}
	if e := finish(t, r); !e.Stored {
		t.Errorf("%+v", e)
	}
	var out, errs []byte
	for line := range bytes.Lines(content(t, log)) {
		if bytes.HasPrefix(line, []byte("error ")) {
			errs = append(errs, line...)
		} else {
			out = append(out, line...)
		}
	}
	same(t, out, bulkOf("", count, size))
	same(t, errs, bulkOf("error ", count, size))
	passes(t, s)
}

func TestOutputInBulkWaitsForAFullDisk(t *testing.T) {
	dir := smallDisk(t, "6m")
	s, _ := open(t)
	set := inBulk(filepath.Join(dir, "logs", "web.log"))
	var told notices
	set.MaxSize, set.Notify = 50<<20, told.add
	const count, size = 250_000, 101
	r := s.Begin("web", 1, set)
	cmd := start(t, r, "bulk", strconv.Itoa(count), strconv.Itoa(size), "")
	for _, room := range []string{"13m", "18m", "100m"} {
		eventually(t, "word about the disk", func() bool { n, _ := told.last(); return n.Err != nil })
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size="+room); err != nil {
			t.Fatal(err)
		}
		eventually(t, "word that it heals", func() bool { n, _ := told.last(); return n.Err == nil })
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	same(t, content(t, set.Path), bulkOf("", count, size))
	passes(t, s)
}

// meddle starts a writer, and does something with the file now and then while it
// writes.
func meddle(t *testing.T, r *Recording, count, size int, with func(i int)) {
	t.Helper()
	cmd := start(t, r, "bulk", strconv.Itoa(count), strconv.Itoa(size), "")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s, log := r.store, r.settings.Path
	times := 0
	for before := uint64(0); ; time.Sleep(time.Millisecond) { // at any moment
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			finish(t, r)
			passes(t, s)
			if times == 0 {
				t.Error("it ended too soon: this shows nothing")
			}
			return
		default:
		}
		if info, err := os.Stat(log); times < 20 && s.passed.Load() > before+1<<20 && err == nil && info.Size() > 0 {
			with(times)
			times++
			before = s.passed.Load()
		}
	}
}

func TestOutputInBulkThatWasDeletedWithItsFileIsWrittenAgain(t *testing.T) {
	s, log := open(t)
	set := inBulk(log)
	set.MaxSize = 1 << 30
	const count, size = 1_000_000, 101
	var held []*os.File // what was deleted can still be read
	meddle(t, s.Begin("web", 1, set), count, size, func(int) {
		f, err := os.Open(log)
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(log)
		held = append(held, f)
	})
	last, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for i, f := range append(held, last) {
		data, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if i < len(held) { // the end of it was cut off with the file
			data = data[:lastLine(data)]
		}
		first, _, _ := bytes.Cut(data, []byte("\n"))
		begins, err := strconv.Atoi(strings.TrimRight(string(first), "abcdefghijklmnopqrstuvwxyz"))
		if err != nil || len(first) != size-1 || begins > next {
			t.Fatalf("file %d begins with %.200q: line %d is the next", i, first, next)
		}
		for line := range bytes.Lines(data) {
			if !bytes.Equal(line, numbered64(begins, size)) {
				t.Fatalf("file %d: %.200q in place of line %d", i, line, begins)
			}
			begins++
		}
		next = max(next, begins)
	}
	if next != count {
		t.Errorf("it ends with line %d of %d", next, count)
	}
}

func TestOutputInBulkGoesOnInANewFileWhenItsFileIsMovedAway(t *testing.T) {
	s, log := open(t)
	set := inBulk(log)
	set.MaxSize = 1 << 30
	const count, size = 1_000_000, 101
	away := filepath.Join(t.TempDir(), "away")
	moved := 0
	meddle(t, s.Begin("web", 1, set), count, size, func(i int) {
		if err := os.Rename(log, away+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		moved++
	})
	var all []byte
	for i := range moved {
		data, err := os.ReadFile(away + strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(data, []byte("\n")) {
			t.Errorf("file %d ends with half a line", i)
		}
		all = append(all, data...)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	same(t, append(all, data...), bulkOf("", count, size))
}

func TestOutputInBulkGoesOnAtTheBeginningOfAFileThatWasEmptied(t *testing.T) {
	s, log := open(t)
	set := inBulk(log)
	set.MaxSize = 1 << 30
	const count, size = 1_000_000, 101
	meddle(t, s.Begin("web", 1, set), count, size, func(int) {
		if err := os.Truncate(log, 0); err != nil {
			t.Fatal(err)
		}
	})
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	// It is the end of what was written; before that there may be a hole, if it was
	// emptied at the very moment.
	data = bytes.TrimLeft(data, "\x00")
	if want := bulkOf("", count, size); len(data) == 0 || !bytes.HasSuffix(want, data) {
		same(t, data, want[max(0, len(want)-len(data)):])
	}
}

func TestADiskThatStandsStillInAPassDelaysNoEnd(t *testing.T) {
	dir, freeze, thaw := slowDisk(t)
	s, _ := open(t)
	set := inBulk(filepath.Join(dir, "logs", "web.log"))
	set.MaxSize = 100 << 20
	const size = 101
	r := s.Begin("web", 1, set)
	cmd := start(t, r, "bulk", "1000000", strconv.Itoa(size), "")
	eventually(t, "pass", func() bool { return s.passed.Load() > 0 })
	freeze()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	began := time.Now()
	if e := finish(t, r); e.Stored {
		t.Error("it is said to be stored")
	}
	if took := time.Since(began); took > 4*storePatience {
		t.Errorf("it took %v", took)
	}
	thaw()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data := content(t, set.Path)
	same(t, data, bulkOf("", 1_000_000, size)[:len(data)])
}

func TestNothingIsMovedWhereLinesAreNeededOrTheProcessIsNotToWait(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"not lossless": func(set *Settings) { set.Lossless = false },
		"timestamps":   func(set *Settings) { set.Timestamps = true },
		"json":         func(set *Settings) { set.Format = JSON },
		"rate limit":   func(set *Settings) { set.RateLimit = 1 << 30 },
		"memory":       func(set *Settings) { set.Target = Memory },
		"nowhere":      func(set *Settings) { set.Target = Discard },
	} {
		s, log := open(t)
		set := inBulk(log)
		change(&set)
		r := s.Begin("web", 1, set)
		if err := start(t, r, "bulk", "50000", "100", "").Wait(); err != nil {
			t.Fatal(err)
		}
		finish(t, r)
		if n := s.passed.Load(); n > 0 {
			t.Errorf("%s: %d bytes were moved", name, n)
		}
	}
}

// Who waits for what is in the buffer is not told when something else is stored
// that came before it in a pass.
func TestWhatIsInTheBufferDuringAPassIsStoredAfterIt(t *testing.T) {
	s, log := open(t)
	set := inBulk(log).withDefaults()
	k := s.sink("web", &set)
	f := k.claimFile(1)
	if f == nil {
		t.Fatal("nobody writes, but it cannot be claimed")
	}
	k.put([]byte("of another\n"), nil, 1, 10, 1)
	stored := make(chan struct{})
	k.whenStored(func() { close(stored) })
	if !k.ahead(f, []byte("before it\n")) {
		t.Fatal("it is claimed no longer")
	}
	k.moved(1000)
	select {
	case <-stored:
		t.Error("it is said to be stored while it is in the buffer")
	default:
	}
	s.workers.Add(1)
	k.release()
	s.workers.Done()
	<-stored
	same(t, content(t, log), []byte("before it\nof another\n"))
}

func TestAClaimWaitsForTheWriterAndIsRefusedWhenHeFails(t *testing.T) {
	s, log := open(t)
	set := inBulk(log).withDefaults()
	k := s.sink("web", &set)
	s.workers.Add(1)
	defer s.workers.Done()
	if k.claimFile(1) == nil {
		t.Fatal("nobody writes, but it cannot be claimed")
	}
	var second sync.WaitGroup
	granted := make(chan bool, 1)
	second.Go(func() {
		f := k.claimFile(1)
		granted <- f != nil
		if f != nil {
			k.release()
		}
	})
	eventually(t, "second claim", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.claim != nil })
	k.put([]byte("a line\n"), nil, 1, 6, 1)
	k.release()
	if !<-granted {
		t.Error("the second was refused though nothing is wrong")
	}
	second.Wait()
	same(t, content(t, log), []byte("a line\n"))

	first := k.claimFile(1)
	if first == nil {
		t.Fatal("it cannot be claimed again")
	}
	second.Go(func() { granted <- k.claimFile(1) != nil })
	eventually(t, "second claim", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.claim != nil })
	k.put([]byte("more\n"), nil, 1, 4, 1)
	first.close()
	if err := os.RemoveAll(filepath.Dir(log)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(log), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if k.ahead(first, []byte("cannot be written\n")) {
		t.Error("it was written, or so it is said")
	}
	if <-granted {
		t.Error("the second was granted though the disk has failed")
	}
	second.Wait()
	if err := os.Remove(filepath.Dir(log)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "word that it heals", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.err == nil && !k.running })
	same(t, content(t, log), []byte("cannot be written\nmore\n"))
}

func TestAFileSystemThatCannotIsNotAskedAgain(t *testing.T) {
	s, log := open(t)
	set := inBulk(log).withDefaults()
	st := &stream{recording: &Recording{store: s, settings: &set}}
	st.begin()
	p := passage{st: st, file: &file{log: log, settings: &set}, conduit: &conduit{}}
	if !p.conduit.open() || !p.open() {
		t.Fatal("it cannot be opened")
	}
	defer p.conduit.close()
	defer p.file.close()
	p.close()
	var err error
	// What is appended to answers as such a file system does.
	if p.direct, err = os.OpenFile(log, os.O_RDWR|os.O_APPEND, 0); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.n, err = unix.Write(p.w, []byte("a line\n")); err != nil {
		t.Fatal(err)
	}
	if n, lost, more := p.take(7); n != 0 || lost != nil || more {
		t.Errorf("%d bytes were taken, lost %q, more %v", n, lost, more)
	}
	if !st.noPass {
		t.Error("it will be asked again")
	}
	same(t, p.drain(), []byte("a line\n"))
}

// A small check that no descriptor of a pass is left.
func TestPassesLeaveNoDescriptor(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	s, log := open(t)
	r := s.Begin("web", 1, inBulk(log))
	if err := start(t, r, "bulk", "200000", "100", "").Wait(); err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	passes(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := count(); after > before {
		out, _ := exec.Command("ls", "-l", fmt.Sprintf("/proc/%d/fd", os.Getpid())).CombinedOutput()
		t.Errorf("%d descriptors before, %d after\n%s", before, after, out)
	}
}
