//go:build linux

// Bench measures what supervision costs beside the least that any supervisor
// written in Go has to do: a bare loop of ForkExec and epoll on pidfds. Both
// are measured in the same run, in turn, and what is printed is their ratio:
//
//	go run ./tests/bench
//
// Limits that are missed are marked, and the exit code is 1 then.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"golang.org/x/sys/unix"
)

var (
	n       = flag.Int("n", 1000, "collectors")
	rounds  = flag.Int("rounds", 5, "rounds of each measurement")
	crashes = flag.Int("crashes", 1000, "crashes to measure")
	only    = flag.String("only", "", "measure only these: starts, replacements, samples, stops, bound, tree, footprint, probes, queries")
	idle    = flag.Duration("idle", 10*time.Second, "how long to watch idle collectors")
)

// sleeper is what is started: a small program, so that what is measured is
// the work of whoever starts it.
var sleeper = []string{"/bin/sleep", "3600"}

type row struct {
	what, bare, ours, ratio, limit string
	missed                         bool
}

func main() {
	flag.Parse()
	if flag.Arg(0) == listening {
		listen()
	}
	var rows []row
	// Cloning into a cgroup costs the kernel several times what cloning does: each
	// is compared with its like.
	modes := []string{""}
	if dir := groupDirectory(); dir != "" {
		modes = append(modes, dir)
	}
	each := func(f func(groups string) []row) func() []row {
		return func() (rows []row) {
			for _, groups := range modes {
				rows = append(rows, f(groups)...)
			}
			return rows
		}
	}
	for _, m := range []struct {
		name    string
		measure func() []row
	}{
		{"starts", each(starts)}, {"replacements", each(replacements)}, {"samples", each(samples)},
		{"stops", func() []row { return stops(modes) }}, {"bound", bound}, {"tree", tree},
		{"footprint", footprint}, {"probes", probes}, {"queries", queries},
	} {
		if *only == "" || slices.Contains(strings.Split(*only, ","), m.name) {
			rows = append(rows, m.measure()...)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "measured\tbare loop\tproctor\tratio\tlimit\t")
	missed := false
	for _, r := range rows {
		mark := ""
		if r.missed {
			mark, missed = "MISSED", true
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.bare, r.ours, r.ratio, r.limit, mark)
	}
	_ = w.Flush()
	if missed {
		os.Exit(1)
	}
}

// bare is the loop: it starts processes and learns of their ends, one thread.
type bare struct {
	groups string // where each process has a cgroup of its own; empty: it has none
	made   int
	leaves map[int32]string // by pidfd
	epoll  int
	null   *os.File
	env    []string
	pids   map[int32]int // by pidfd
}

func newBare(groups string) *bare {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(err)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(err)
	return &bare{groups: groups, leaves: map[int32]string{}, epoll: epoll, null: null, env: os.Environ(), pids: map[int32]int{}}
}

func (b *bare) start() int {
	fd := -1
	sys := &syscall.SysProcAttr{PidFD: &fd}
	leaf := ""
	if b.groups != "" {
		b.made++
		leaf = fmt.Sprintf("%s/%d", b.groups, b.made)
		must(os.Mkdir(leaf, 0o755))
		group, err := unix.Open(leaf, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(err)
		defer unix.Close(group)
		sys.UseCgroupFD, sys.CgroupFD = true, group
	}
	pid, err := syscall.ForkExec(sleeper[0], sleeper, &syscall.ProcAttr{
		Env: b.env, Files: []uintptr{b.null.Fd(), b.null.Fd(), b.null.Fd()}, Sys: sys,
	})
	must(err)
	if leaf != "" {
		b.leaves[int32(fd)] = leaf
	}
	must(unix.EpollCtl(b.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	b.pids[int32(fd)] = pid
	return pid
}

// reap waits for the end of one process.
func (b *bare) reap() {
	var events [1]unix.EpollEvent
	for {
		if k, err := unix.EpollWait(b.epoll, events[:], -1); err == unix.EINTR || k == 0 {
			continue
		}
		fd := events[0].Fd
		var info unix.Siginfo
		must(unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED, nil))
		must(unix.Close(int(fd)))
		delete(b.pids, fd)
		if leaf := b.leaves[fd]; leaf != "" {
			must(os.Remove(leaf))
			delete(b.leaves, fd)
		}
		return
	}
}

func (b *bare) end() {
	for _, pid := range b.pids {
		must(unix.Kill(pid, unix.SIGKILL))
	}
	for len(b.pids) > 0 {
		b.reap()
	}
	must(unix.Close(b.epoll))
	must(b.null.Close())
}

// timed is the real host, and notes when each process has been exec'ed.
type timed struct {
	platform.Host
	spawned func(label string, pid int, at time.Time)
}

func (h *timed) Start(spec platform.Spec, notify func(platform.Notice)) platform.Process {
	label := spec.Label // and nothing more: what finds the binary would be kept for as long as the process
	return h.Host.Start(spec, func(n platform.Notice) {
		if n.Kind == platform.Spawned {
			h.spawned(label, n.PID, time.Now())
		}
		notify(n)
	})
}

// sleepers is a configuration of n collectors that are restarted for ever.
func sleepers(n int) config.Config {
	cfg := config.Config{ProcessManager: config.ProcessManager{EnableAutoRestart: true}, Collectors: map[string]config.Collector{}}
	for i := range n {
		cfg.Collectors["c"+strconv.Itoa(i)] = config.Collector{
			BinaryPath: sleeper[0], Args: sleeper[1:], AutoRestart: true, Autostart: true,
			MaxRestarts: 1 << 30, BackoffInitial: config.None,
		}
	}
	return cfg
}

// supervise starts cfg and returns when all have been exec'ed.
func supervise(groups string, cfg config.Config, spawned func(label string, pid int, at time.Time)) (sup *actors.Supervisor, took time.Duration, end func()) {
	o := platform.Options{CgroupParent: groups}
	if groups == "" {
		o.CgroupParent = platform.NoCgroup
	}
	inner, err := platform.New(o)
	must(err)
	var up sync.WaitGroup
	up.Add(len(cfg.Collectors))
	var first sync.Map
	h := &timed{inner, func(label string, pid int, at time.Time) {
		if _, again := first.LoadOrStore(label, true); !again {
			up.Done()
		}
		if spawned != nil {
			spawned(label, pid, at)
		}
	}}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(err)
	began := time.Now()
	sup, err = actors.New(cfg, actors.WithHost(h), actors.WithOutput(null, null))
	must(err)
	up.Wait()
	took = time.Since(began)
	return sup, took, func() {
		_, err := sup.ForceShutdown(context.Background())
		must(err)
		must(sup.Close())
		must(inner.Close())
		must(null.Close())
	}
}

// groupDirectory is where this program may make cgroups, or nothing.
func groupDirectory() string {
	for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		dir := mount + "/proctor-bench"
		if _, err := os.Stat(mount + "/cgroup.procs"); err != nil || os.Mkdir(dir, 0o755) != nil && !isDirectory(dir) {
			continue
		}
		return dir
	}
	return ""
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// with is what is measured, in which mode.
func with(groups, what string) string {
	if groups == "" {
		return what
	}
	return what + ", in a cgroup each"
}

func starts(groups string) []row {
	var ratios, theirs, ours []float64
	for range *rounds {
		b := newBare(groups)
		began := time.Now()
		for range *n {
			b.start()
		}
		bareTook := time.Since(began)
		b.end()
		_, took, end := supervise(groups, sleepers(*n), nil)
		end()
		theirs, ours = append(theirs, bareTook.Seconds()), append(ours, took.Seconds())
		ratios = append(ratios, took.Seconds()/bareTook.Seconds())
	}
	ratio := median(ratios)
	return []row{{
		what: with(groups, fmt.Sprintf("%d started", *n)), bare: seconds(median(theirs)), ours: seconds(median(ours)),
		ratio: fmt.Sprintf("%.2f", ratio), limit: "1.3", missed: ratio > 1.3,
	}}
}

func replacements(groups string) []row {
	const among = 100
	b := newBare(groups)
	for range among {
		b.start()
	}
	arrived := make(chan time.Time, among)
	pids := make([]int, among)
	var mu sync.Mutex
	sup, _, end := supervise(groups, sleepers(among), func(label string, pid int, at time.Time) {
		i, _ := strconv.Atoi(label[1:])
		mu.Lock()
		pids[i] = pid
		mu.Unlock()
		arrived <- at
	})
	_ = sup
	for range among {
		<-arrived
	}
	var theirs, ours []float64
	for i := range *crashes {
		// One of theirs, then one of ours, so that both see the same machine.
		var victim int
		for _, pid := range b.pids {
			victim = pid
			break
		}
		killed := time.Now()
		must(unix.Kill(victim, unix.SIGKILL))
		b.reap()
		b.start()
		theirs = append(theirs, time.Since(killed).Seconds())

		mu.Lock()
		victim = pids[i%among]
		mu.Unlock()
		killed = time.Now()
		must(unix.Kill(victim, unix.SIGKILL))
		ours = append(ours, (<-arrived).Sub(killed).Seconds())
	}
	b.end()
	end()
	ratio := median(ours) / median(theirs)
	worst, outliers := slices.Max(ours), 0
	for _, took := range ours {
		if took > 0.020 {
			outliers++
		}
	}
	return []row{{
		what: with(groups, "crash to replacement, median"), bare: seconds(median(theirs)), ours: seconds(median(ours)),
		ratio: fmt.Sprintf("%.2f", ratio), limit: "1.3", missed: ratio > 1.3,
	}, {
		what: with(groups, fmt.Sprintf("crash to replacement, worst of %d", *crashes)), bare: seconds(slices.Max(theirs)), ours: seconds(worst),
		ratio: fmt.Sprintf("%.2f", worst/slices.Max(theirs)), limit: "20 ms", missed: outliers > 0,
	}}
}

func footprint() []row {
	debug.FreeOSMemory()
	before := anonymous()
	_, _, end := supervise("", sleepers(*n), nil)
	runtime.GC()
	debug.FreeOSMemory()
	each := float64(anonymous()-before) / float64(*n)
	threads := entries("/proc/self/task")
	used := cpu()
	time.Sleep(*idle)
	spent := cpu() - used
	end()
	return []row{{
		what: fmt.Sprintf("memory a collector, at %d", *n), ours: fmt.Sprintf("%.1f KB", each/1024), limit: "16 KB", missed: each > 16*1024,
	}, {
		what: fmt.Sprintf("OS threads, at %d", *n), ours: strconv.Itoa(threads), limit: "20", missed: threads > 20,
	}, {
		what: fmt.Sprintf("CPU in %v with nothing happening", *idle), ours: spent.String(), limit: "none", missed: spent > 10*time.Millisecond,
	}}
}

// samples is what a look at what all of them use costs, from the question to its
// answer.
func samples(groups string) []row {
	sup, _, end := supervise(groups, sleepers(*n), nil)
	defer end()
	ctx := context.Background()
	var took, spent []float64
	for range 4 * *rounds {
		asked, used := time.Now(), cpu()
		reply, err := sup.Usage(ctx, false, false)
		must(err)
		took, spent = append(took, time.Since(asked).Seconds()), append(spent, (cpu()-used).Seconds())
		for _, c := range reply.Collectors {
			if !c.Usage.Has(messages.HasCPU | messages.HasMemory | messages.HasTasks) {
				panic(fmt.Sprintf("%s: %+v", c.ID, c.Usage))
			}
		}
	}
	return []row{{
		what: with(groups, fmt.Sprintf("CPU of a look at what %d use, which takes %s", *n, seconds(median(took)))),
		ours: seconds(median(spent)), limit: "30 ms", missed: median(spent) > 0.030,
	}}
}

func queries() []row {
	cfg := sleepers(1)
	for i := range 100 {
		cfg.Collectors["crash"+strconv.Itoa(i)] = config.Collector{
			BinaryPath: "/bin/false", AutoRestart: true, Autostart: true, MaxRestarts: 1 << 30, BackoffInitial: config.None,
		}
	}
	sup, _, end := supervise("", cfg, nil)
	defer end()
	ctx := context.Background()
	var took []float64
	for began := time.Now(); time.Since(began) < 5*time.Second; {
		asked := time.Now()
		_, err := sup.Status(ctx, "c0")
		took = append(took, time.Since(asked).Seconds())
		must(err)
	}
	restarts := 0
	list, err := sup.List(ctx)
	must(err)
	for _, c := range list {
		restarts += c.RestartCount
	}
	return []row{{
		what: fmt.Sprintf("status of one, median of %d, during %d restarts", len(took), restarts),
		ours: seconds(median(took)), limit: "20 µs", missed: median(took) > 20e-6,
	}}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d > 100*time.Microsecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Nanosecond).String()
}

// anonymous is the memory that this process has for itself, in bytes.
func anonymous() int {
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(value)[0])
			must(err)
			return kb * 1024
		}
	}
	return 0
}

func cpu() time.Duration {
	var use unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func entries(dir string) int {
	all, err := os.ReadDir(dir)
	must(err)
	return len(all)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
