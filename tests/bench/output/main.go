//go:build linux

// Output measures what it costs to keep the output of processes, beside the tools
// that everybody has: cat and grep. Both are measured in the same run, in turn:
//
//	go run ./tests/bench/output
//
// Limits that are missed are marked, and the exit code is 1 then.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/proctord/proctor/collector/capture"
)

var (
	size   = flag.Int("mb", 256, "MB to write in each measurement")
	rounds = flag.Int("rounds", 5, "rounds of each measurement, of which the median counts")
	only   = flag.Int("only", -1, "the number of the only measurement to make, from 0")
	silent = flag.Int("silent", 10_000, "silent collectors")
)

type row struct {
	what, theirs, ours, ratio, limit string
	missed                           bool
}

var dir string

func main() {
	if len(os.Args) > 1 && os.Args[1] == "write" {
		write(os.Args[2:])
		return
	}
	flag.Parse()
	var err error
	if dir, err = os.MkdirTemp("", "proctor-bench"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var rows []row
	for i, measure := range []func() []row{raw, jsonLines, silence, last, grep, followers} {
		if *only >= 0 && i != *only {
			continue
		}
		rows = append(rows, measure()...)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "measured\tbeside\tproctor\tratio\tlimit\t")
	code := 0
	for _, r := range rows {
		mark := ""
		if r.missed {
			mark, code = "MISSED", 1
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.theirs, r.ours, r.ratio, r.limit, mark)
	}
	_ = w.Flush()
	if code != 0 {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}
}

// write is the process whose output is captured: so many bytes, in writes of so many.
func write(args []string) {
	total, _ := strconv.Atoi(args[0])
	piece, _ := strconv.Atoi(args[1])
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	block := bytes.Repeat(line, piece/100)
	for ; total > 0; total -= len(block) {
		if _, err := os.Stdout.Write(block); err != nil {
			os.Exit(1)
		}
	}
}

func writer(total, piece int, stdout *os.File) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "write", strconv.Itoa(total), strconv.Itoa(piece))
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	return cmd
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func store() *capture.Store {
	s, err := capture.Open(capture.Options{Dir: capture.RunDir(dir)}) // as Proctor does
	must(err)
	return s
}

// record has a writer's output captured, and says how long that took until all was stored.
func record(s *capture.Store, set capture.Settings, total, piece int) time.Duration {
	set.Path = filepath.Join(dir, "logs", "web.log")
	must(os.RemoveAll(filepath.Dir(set.Path)))
	set.Together = true
	began := time.Now()
	r := s.Begin("web", 1, set)
	stdout, _, err := r.Open()
	must(err)
	cmd := writer(total, piece, stdout)
	must(cmd.Start())
	must(stdout.Close())
	must(cmd.Wait())
	done := make(chan bool, 1)
	r.Finish(func(e capture.Ending) { done <- e.Stored })
	if !<-done {
		panic("not stored")
	}
	return time.Since(began)
}

// cat is the same writer, through a pipe and cat into a file.
func cat(total, piece int) time.Duration {
	file := filepath.Join(dir, "cat")
	must(os.RemoveAll(file))
	began := time.Now()
	out, err := os.Create(file)
	must(err)
	r, w, err := os.Pipe()
	must(err)
	c := exec.Command("cat")
	c.Stdin, c.Stdout = r, out
	must(c.Start())
	cmd := writer(total, piece, w)
	must(cmd.Start())
	must(w.Close())
	must(r.Close())
	must(cmd.Wait())
	must(c.Wait())
	must(out.Close())
	return time.Since(began)
}

func raw() (rows []row) {
	s := store()
	defer s.Close()
	for _, c := range []struct {
		name         string
		total, piece int
	}{{"raw, a line (100 B) a write", *size << 20 / 4, 100}, {"raw, 64 kB a write", *size << 20, 64000}} {
		var theirs, ours []time.Duration
		for range *rounds {
			theirs = append(theirs, cat(c.total, c.piece))
			ours = append(ours, record(s, capture.Settings{Format: capture.Raw, Lossless: true, Compress: capture.None}, c.total, c.piece))
		}
		a, b := median(theirs), median(ours)
		ratio := a.Seconds() / b.Seconds()
		speed := func(d time.Duration) string { return fmt.Sprintf("%.0f MB/s", float64(c.total)/1e6/d.Seconds()) }
		rows = append(rows, row{c.name, speed(a), speed(b), fmt.Sprintf("%.2f", ratio), ">= 0.9 x cat", ratio < 0.9})
	}
	return rows
}

func cpu() time.Duration {
	var use syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func jsonLines() []row {
	s := store()
	defer s.Close()
	var speeds []time.Duration
	total := *size << 20
	for range *rounds {
		before := cpu()
		record(s, capture.Settings{Lossless: true, Compress: capture.None}, total, 64000)
		speeds = append(speeds, cpu()-before)
	}
	mbs := float64(total) / 1e6 / median(speeds).Seconds()
	return []row{{"JSON, MB of lines a second of CPU", "", fmt.Sprintf("%.0f MB/s", mbs), "", ">= 150 MB/s", mbs < 150}}
}

// silence is what collectors cost that write nothing: by default, with two
// streams, and with streams = "together".
func silence() []row {
	return append(silent10k("together", true), silent10k("apart, the default", false)...)
}

func silent10k(name string, together bool) []row {
	var open syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &open))
	open.Cur = open.Max
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &open))
	*silent = min(*silent, int(open.Max-100)/4) // the processes' ends are held here, too
	s := store()
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(err)
		return len(entries)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	// What the process has is the test's: duplicates, so that no os.File counts.
	held := make([]int, 0, *silent)
	recordings := make([]*capture.Recording, 0, *silent)
	path := filepath.Join(dir, "logs")
	before, memory := descriptors(), heap()
	for i := range *silent {
		r := s.Begin("c"+strconv.Itoa(i), 1, capture.Settings{Path: path, Together: together})
		stdout, stderr, err := r.Open()
		must(err)
		for _, f := range []*os.File{stdout, stderr}[:map[bool]int{true: 1, false: 2}[together]] {
			fd, err := syscall.Dup(int(f.Fd()))
			must(err)
			must(f.Close())
			held = append(held, fd)
		}
		recordings = append(recordings, r)
	}
	each := float64(heap()-memory) / float64(*silent)
	fds := float64(descriptors()-before-len(held)) / float64(*silent)
	for _, fd := range held {
		must(syscall.Close(fd))
	}
	runtime.KeepAlive(recordings)
	must(s.Close())
	return []row{
		{fmt.Sprintf("%d silent collectors, streams %s, bytes each", *silent, name), "", fmt.Sprintf("%.0f B", each), "", "<= 1024 B", each > 1024},
		{"descriptors each, streams " + name, "", fmt.Sprintf("%.2f", fds), "", "1", fds > 1.01},
	}
}

func line(i int) []byte {
	b, err := capture.Record{Time: time.Unix(1.7e9, int64(i)*1e6), ID: "web", Stream: capture.Stdout, Incarnation: 1,
		Text: []byte("a line of a log, number " + strconv.Itoa(i) + ", with what is usual in it: GET /index.html 200")}.MarshalJSON()
	must(err)
	return append(b, '\n')
}

// last reads the end of a file of 10 GB, of which all but the end is a hole.
func last() []row {
	file := filepath.Join(dir, "large.log")
	f, err := os.Create(file)
	must(err)
	must(f.Truncate(10 << 30))
	_, err = f.Seek(0, 2)
	must(err)
	_, err = f.WriteString("\n")
	must(err)
	for i := range 10_000 {
		_, err := f.Write(line(i))
		must(err)
	}
	must(f.Close())
	var times []time.Duration
	for range *rounds {
		began := time.Now()
		n := 0
		for _, err := range capture.Read(context.Background(), []capture.Log{{ID: "web", Path: file, Format: capture.JSON}}, capture.Query{Last: 100}) {
			must(err)
			n++
		}
		if n != 100 {
			panic(n)
		}
		times = append(times, time.Since(began))
	}
	must(os.Remove(file))
	t := median(times)
	return []row{{"the last 100 lines of 10 GB", "", t.Round(10 * time.Microsecond).String(), "", "< 50 ms", t > 50*time.Millisecond}}
}

func grep() []row {
	file := filepath.Join(dir, "grep.log")
	var data []byte
	for i := 0; len(data) < *size<<20; i++ {
		data = append(data, line(i)...)
	}
	must(os.WriteFile(file, data, 0o600))
	var theirs, ours []time.Duration
	for range *rounds {
		began := time.Now()
		found, err := exec.Command("grep", "number 12345,", file).Output() // to a pipe: to /dev/null it would stop at the first
		must(err)
		if bytes.Count(found, []byte("\n")) != 1 {
			panic(string(found))
		}
		theirs = append(theirs, time.Since(began))
		began = time.Now()
		n := 0
		for _, err := range capture.Read(context.Background(), []capture.Log{{ID: "web", Path: file, Format: capture.JSON}}, capture.Query{Grep: regexp.MustCompile("number 12345,")}) {
			must(err)
			n++
		}
		ours = append(ours, time.Since(began))
		if n != 1 {
			panic(n)
		}
	}
	a, b := median(theirs), median(ours)
	ratio := a.Seconds() / b.Seconds()
	speed := func(d time.Duration) string { return fmt.Sprintf("%.0f MB/s", float64(len(data))/1e6/d.Seconds()) }
	return []row{{"logs --grep of a text", speed(a), speed(b), fmt.Sprintf("%.2f", ratio), ">= 0.5 x grep", ratio < 0.5}}
}

// followers has a process write a line a millisecond's worth at a time while a
// hundred follow, in this program as behind a server.
func followers() []row {
	var alone, followed []time.Duration
	total := 100 << 20
	set := capture.Settings{Path: filepath.Join(dir, "logs", "web.log"), Compress: capture.None}
	for range *rounds {
		s := store()
		alone = append(alone, written(s, set, total))
		must(s.Close())
		s = store()
		must(os.MkdirAll(filepath.Dir(set.Path), 0o755))
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for _, err := range s.Read(ctx, []capture.Log{{ID: "web", Path: set.Path, Format: capture.JSON}}, capture.Query{Follow: true, New: true}) {
					must(err)
				}
			})
		}
		followed = append(followed, written(s, set, total))
		cancel()
		all.Wait()
		must(s.Close())
	}
	a, b := median(alone), median(followed)
	ratio := b.Seconds() / a.Seconds()
	return []row{{"a writer at full speed with 100 followers", a.Round(time.Millisecond).String(), b.Round(time.Millisecond).String(), fmt.Sprintf("%.2f", ratio), "<= 1.05 x alone", ratio > 1.05}}
}

// written is how long the writer itself took.
func written(s *capture.Store, set capture.Settings, total int) time.Duration {
	set.Together = true
	r := s.Begin("web", 1, set)
	stdout, _, err := r.Open()
	must(err)
	began := time.Now()
	cmd := writer(total, 100, stdout)
	must(cmd.Start())
	must(stdout.Close())
	must(cmd.Wait())
	took := time.Since(began)
	done := make(chan struct{})
	r.Finish(func(capture.Ending) { close(done) })
	<-done
	return took
}
