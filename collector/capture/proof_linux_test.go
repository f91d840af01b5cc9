package capture

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What is written between a reader's last look at a file and its rotation must not
// be skipped: here every order of the two, with no luck involved.
func TestAReaderSkipsNothingBetweenItsLastLookAndARotation(t *testing.T) {
	for name, between := range map[string]func(f *file, add func(from, to int)){
		"written, then rotated":                   func(f *file, add func(int, int)) { add(10, 20); rotate(t, f); add(20, 30) },
		"rotated twice":                           func(f *file, add func(int, int)) { add(10, 15); rotate(t, f); add(15, 20); rotate(t, f); add(20, 30) },
		"rotated before anything new was written": func(f *file, add func(int, int)) { rotate(t, f); add(10, 30) },
		"rotated, and nothing is there yet":       func(f *file, add func(int, int)) { add(10, 30); rotate(t, f) },
		"rotated and compressed": func(f *file, add func(int, int)) {
			add(10, 20)
			rotate(t, f)
			if err := tidy(f.log, *f.settings, time.Now()); err != nil {
				t.Fatal(err)
			}
			add(20, 30)
		},
	} {
		log := filepath.Join(t.TempDir(), "a.log")
		set := Settings{Path: log, MaxFiles: 100}.withDefaults()
		f := &file{log: log, settings: &set}
		add := func(from, to int) {
			for i := from; i < to; i++ {
				if _, _, err := f.write(appendJSON(nil, jsonHead(nil, time.Now(), Stdout, "a", 1), []byte(strconv.Itoa(i)), false)); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := source{log: Log{ID: "a", Path: log, Format: JSON}, waits: true}
		var got []string
		read := func() {
			for s.next(&wanted{}) == nil {
				got = append(got, string(s.head.Text))
			}
		}
		add(0, 10)
		read()
		// It looks, there is no more, and right then the rest happens: before it sees
		// what has become of the file.
		s.lines.r = &lastLook{s.lines.r, func() { between(f, add) }}
		read()
		read()
		for i := range 30 {
			if i >= len(got) || got[i] != strconv.Itoa(i) {
				t.Errorf("%s: %v", name, got)
				break
			}
		}
		s.close()
		f.close()
	}
}

// A lastLook has something happen after its reader has found no more.
type lastLook struct {
	io.Reader
	then func()
}

func (l *lastLook) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if then := l.then; n == 0 && then != nil {
		l.then = nil
		then()
	}
	return n, err
}

func rotate(t *testing.T, f *file) {
	t.Helper()
	if err := f.open(); err != nil {
		t.Fatal(err)
	}
	if err := f.rotate(); err != nil {
		t.Fatal(err)
	}
}

// A reader that is so slow that files are removed before it has read them is told
// so where they are missing.
func TestAReaderThatIsOvertakenByPruningIsTold(t *testing.T) {
	log := filepath.Join(t.TempDir(), "a.log")
	set := Settings{MaxSize: 3000, MaxFiles: 3}
	fillLog(t, log, set, "a", 0, 10, time.Now())
	var got []string
	var after Cursor
	logs := []Log{{ID: "a", Path: log, Format: JSON}}
	for r, err := range Read(t.Context(), logs, Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got, after = append(got, string(r.Text)), Cursor{"a": r.Position}
	}
	fillLog(t, log, set, "a", 10, 500, time.Now())
	gaps := 0
	for r, err := range Read(t.Context(), logs, Query{After: after}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Gap != nil {
			if gaps++; len(got) != 10 || r.Gap.Lines != 0 || !strings.Contains(r.Gap.String(), "removed before they were read") {
				t.Errorf("a gap after %d records: %v", len(got), r.Gap)
			}
			continue
		}
		got = append(got, string(r.Text))
	}
	if gaps != 1 || got[len(got)-1] != "line 499" {
		t.Errorf("%d gaps, the last is %s", gaps, got[len(got)-1])
	}
}

// slowDisk is a file system of its own on which nothing can be written from freeze
// to thaw: whoever tries waits in the kernel.
func slowDisk(t *testing.T) (dir string, freeze, thaw func()) {
	t.Helper()
	tmp := t.TempDir()
	image := filepath.Join(tmp, "image")
	dir = filepath.Join(tmp, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"truncate", "-s", "256M", image},
		{"mkfs.ext4", "-q", image},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("a disk of its own cannot be mounted (that needs root, mkfs.ext4 and loop devices): %v: %v, %s", command, err, out)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	const fiFreeze, fiThaw = 0xC0045877, 0xC0045878
	order := func(request uint) {
		if err := unix.IoctlSetInt(int(d.Fd()), request, 0); err != nil {
			t.Fatalf("freeze or thaw: %v", err)
		}
	}
	thaw = sync.OnceFunc(func() { order(fiThaw) })
	frozen := false
	t.Cleanup(func() {
		if frozen {
			thaw()
		}
		_ = d.Close()
		_ = syscall.Unmount(dir, syscall.MNT_DETACH)
	})
	return dir, func() { frozen = true; order(fiFreeze) }, thaw
}

func TestADiskThatStandsStillIsNotInTheWayAndEveryGapIsMarked(t *testing.T) {
	dir, freeze, thaw := slowDisk(t)
	s, _ := open(t)
	log := filepath.Join(dir, "logs", "web.log")
	const count = 400_000 // some 60 MB, of which 4 find room while nothing is written
	var told notices
	set := Settings{Path: log, MaxFiles: 1000, Compress: None, Together: true, Notify: told.add}
	r := s.Begin("web", 1, set)
	freeze()
	began := time.Now()
	if err := start(t, r, "lines", strconv.Itoa(count), "40", "0").Wait(); err != nil { // it does not notice
		t.Fatal(err)
	}
	took := time.Since(began)
	if e := finish(t, r); e.Stored {
		t.Error("it is said to be stored")
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("it was written while the disk stood still: this shows nothing")
	}
	thaw()
	eventually(t, "word that there is a gap", func() bool { n, _ := told.last(); return n.Err == nil && n.Gap.Lines > 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	gaps := check(t, content(t, log), count)
	t.Logf("the writer took %v; %d of %d lines are in the gap", took, gaps, count)
	if n, _ := told.last(); n.Gap.Lines != gaps || gaps == 0 {
		t.Errorf("%d lines are missing, told %+v", gaps, n)
	}
}

func TestALosslessWriterWaitsForADiskThatStandsStill(t *testing.T) {
	dir, freeze, thaw := slowDisk(t)
	s, _ := open(t)
	log := filepath.Join(dir, "logs", "web.log")
	const count = 100_000
	r := s.Begin("web", 1, Settings{Path: log, MaxFiles: 1000, Compress: None, Together: true, Lossless: true})
	freeze()
	cmd := start(t, r, "lines", strconv.Itoa(count), "40", "0")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, "standstill", func() bool { // all that the buffers take has been taken
		r.sink.mu.Lock()
		defer r.sink.mu.Unlock()
		return len(r.sink.full) > 0
	})
	select {
	case <-ended:
		t.Fatal("the writer did not wait")
	default:
	}
	thaw()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	if gaps := check(t, content(t, log), count); gaps != 0 {
		t.Errorf("%d lines are missing", gaps)
	}
}

func TestADirectoryThatBecomesReadOnlyHeals(t *testing.T) {
	dir := smallDisk(t, "100m")
	s, _ := open(t)
	log := filepath.Join(dir, "web.log")
	var told notices
	set := Settings{Path: log, MaxSize: 100_000, MaxFiles: 1000, Compress: Gzip, Together: true, Notify: told.add}
	first := s.Begin("web", 1, set)
	if err := start(t, first, "lines", "5000", "40", "0").Wait(); err != nil {
		t.Fatal(err)
	}
	finish(t, first)
	s.sink("web", first.settings).rest() // a file that is open for writing keeps a disk from being made read-only
	eventually(t, "read-only disk", func() bool {
		return syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=100m") == nil
	})
	r := s.Begin("web", 2, set)
	if err := start(t, r, "lines", "5000", "40", "0").Wait(); err != nil { // it does not notice
		t.Fatal(err)
	}
	eventually(t, "word", func() bool { n, _ := told.last(); return n.Err != nil && strings.Contains(n.Err.Error(), "read-only") })
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "word that it heals", func() bool { n, _ := told.last(); return n.Err == nil })
	finish(t, r)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data := content(t, log)
	half := bytes.Index(data, []byte(`"incarnation":2`))
	half = bytes.LastIndexByte(data[:half], '\n') + 1
	for _, part := range [][]byte{data[:half], data[half:]} {
		if gaps := check(t, part, 5000); gaps != 0 {
			t.Errorf("%d lines are missing", gaps)
		}
	}
}

// In virtual time: the newest of a file's lines decides when it is too old, and the
// store looks by itself.
func TestFilesThatAreTooOldAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{sinks: map[string]*sink{}, untidy: map[*sink]struct{}{}, watchers: map[chan struct{}]struct{}{}}
		s.ager = time.AfterFunc(ageCheck, s.age)
		log := filepath.Join(t.TempDir(), "web.log")
		w := s.Writer("log", Settings{Path: log, MaxSize: 1000, MaxFiles: 100, MaxAge: 48 * time.Hour, Compress: Gzip})
		ended := map[uint64]time.Time{} // when the last was written to each
		full := func() map[uint64]bool {
			all, err := segments(log)
			if err != nil {
				t.Fatal(err)
			}
			there := map[uint64]bool{}
			for _, one := range all {
				there[one.number] = one.size > 0
				if one.size > 0 && one.mtime.After(time.Now()) { // the kernel's clock is not virtual
					_ = os.Chtimes(one.path(log), time.Now(), time.Now())
					ended[one.number] = time.Now()
				}
			}
			return there
		}
		removed := 0
		look := func() {
			there := full()
			removed = 0
			for number, at := range ended {
				age := time.Since(at)
				if there[number] && age > 49*time.Hour || !there[number] && age <= 48*time.Hour {
					t.Errorf("after %v file %d is there: %v", age, number, there[number])
				}
				if !there[number] {
					removed++
				}
			}
		}
		for day := range 8 { // a file a day, or nearly
			_, _ = w.Write(bytes.Repeat([]byte(strconv.Itoa(day)+" is the day\n"), 75))
			for range 24 {
				synctest.Wait()
				full()
				time.Sleep(time.Hour + time.Minute)
				synctest.Wait()
				look()
			}
		}
		if removed == 0 || removed >= len(ended) {
			t.Errorf("%d of %d files were removed: this shows nothing", removed, len(ended))
		}
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		look()
		if removed != len(ended) {
			t.Errorf("%d of %d files were removed in the end", removed, len(ended))
		}
		if all, _ := segments(log); len(all) != 1 || all[0].size != 0 {
			t.Errorf("%v are left: the last number is not to be used again", all)
		}
		s.ager.Stop()
		for _, k := range s.sinks {
			k.rest()
		}
	})
}

var ordeal = flag.Int("ordeal", 60, "rotations that the numbered writer goes through with everything else that can happen; 0: none")

// The whole of it at once: a writer of numbered lines, some of whose processes are
// killed and all of whom are stopped now and then, through rotations,
// compression, a full disk that heals and a file that is deleted: every line is
// there once, or in a gap that is counted exactly.
func TestTheNumberedWriterThroughEverythingAtOnce(t *testing.T) {
	if *ordeal == 0 {
		t.Skip("-ordeal=0")
	}
	for _, lossless := range []bool{true, false} {
		t.Run(fmt.Sprintf("lossless=%v", lossless), func(t *testing.T) {
			dir := smallDisk(t, "64m")
			s, _ := open(t)
			log := filepath.Join(dir, "logs", "web.log")
			set := Settings{Path: log, MaxSize: 50_000, MaxFiles: 100_000, Compress: Zstd, Together: true, Lossless: lossless}
			ballast := filepath.Join(dir, "ballast")
			full, written, counted := 0, uint64(0), uint64(0)
			rotations := func() int { all, _ := segments(log); return int(lastNumber(all)) }
			for run := uint64(1); rotations() < *ordeal || run <= 7; run++ {
				r := s.Begin("web", run, set)
				if run%3 == 0 { // until it is full
					if f, err := os.Create(ballast); err == nil {
						for _, err = f.Write(make([]byte, 64<<10)); err == nil; _, err = f.Write(make([]byte, 64<<10)) {
						}
						_ = f.Close()
					}
				}
				cmd := start(t, r, "lines", "1000000", "60", map[bool]string{true: "0", false: "1us"}[run%3 == 0])
				pid := cmd.Process.Pid
				ended := make(chan struct{})
				go func() { _ = cmd.Wait(); close(ended) }()
				for range 3 { // as long as it lives
					time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // at any moment
					_ = syscall.Kill(pid, syscall.SIGSTOP)
					time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
				if run%3 == 0 {
					time.Sleep(100 * time.Millisecond) // long enough for more than the buffer takes
				}
				_ = syscall.Kill(pid, syscall.SIGKILL)
				<-ended
				r.sink.mu.Lock()
				if r.sink.err != nil {
					full++
				}
				r.sink.mu.Unlock()
				_ = os.Remove(ballast)
				finish(t, r)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			// Of each process: numbers from 0 on, without a hole that is not marked. How
			// far one had come that was killed while lines were dropped nobody knows.
			next := map[uint64]uint64{}
			var gap, last uint64
			for line := range bytes.Lines(content(t, log)) {
				rec, _ := parseRecord(bytes.TrimSuffix(line, []byte("\n")), JSON, nil)
				if rec.Gap != nil {
					gap += rec.Gap.Lines
					counted += rec.Gap.Lines
					continue
				}
				digits := strings.TrimRight(string(rec.Text), "abcdefghijklmnopqrstuvwxyz")
				n, err := strconv.ParseUint(digits, 10, 64)
				if rec.Partial {
					continue // half a line, of one that was killed
				}
				want := next[rec.Incarnation]
				if err != nil || n < want || rec.Incarnation == last && n != want+gap || n > want+gap {
					t.Fatalf("process %d: %q, want line %d; %d are said to be missing", rec.Incarnation, rec.Text, want, gap)
				}
				next[rec.Incarnation], last, gap = n+1, rec.Incarnation, 0
				written++
			}
			t.Logf("%d processes were stopped and killed, %d rotations, the disk was full %d times: %d lines are there, %d in gaps",
				len(next), rotations(), full, written, counted)
			if full == 0 {
				t.Error("the disk was never full: this shows nothing")
			}
			if lossless && counted > 0 {
				t.Errorf("%d lines are missing", counted)
			}
		})
	}
}
