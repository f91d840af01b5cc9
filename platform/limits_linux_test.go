package platform

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// controlled is a host that has the controllers, as in the virtual machine of
// tests/vm/run, or there is no test.
func controlled(t testing.TB, controllers ...string) *host {
	t.Helper()
	h := grouped(t, Options{})
	for _, c := range controllers {
		if !h.cgroups.controllers[c] {
			t.Skipf("the cgroups here have no %s controller: tests/vm/run has", c)
		}
	}
	return h
}

// limited starts a child with limits all of which must be in force.
func limited(t testing.TB, h Host, spec Spec) (Process, *watcher) {
	t.Helper()
	spec.Limits.Required = true
	return run(t, h, spec)
}

func TestTheLimitsOfAProcessAreInForceFromItsFirstInstructionOn(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := Spec{Label: "sh", Path: "/bin/sh", Args: []string{"-c", "ulimit -n; ulimit -c; cat /proc/self/oom_score_adj /proc/self/status; cat /proc/self/stat"}}
	out := listen(t, &spec)
	spec.Limits = Limits{OpenFiles: 77, Core: -1, Nice: 5, OOMScoreAdjust: 900, CPUs: []int{0}}
	_, w := limited(t, h, spec)
	out.expect("77")
	out.expect("0")
	out.expect("900")
	for {
		line := out.line()
		if cpus, ok := strings.CutPrefix(line, "Cpus_allowed_list:\t"); ok && cpus != "0" {
			t.Errorf("it may run on %s", cpus)
		}
		if tracer, ok := strings.CutPrefix(line, "TracerPid:\t"); ok && tracer != "0" {
			t.Errorf("it is still traced by %s", tracer)
		}
		if strings.Contains(line, "(cat) ") {
			if nice := strings.Fields(line)[18]; nice != "5" {
				t.Errorf("nice is %s", nice)
			}
			break
		}
	}
	if exit := w.end(); !exit.Success() {
		t.Errorf("%+v", exit)
	}
}

func TestALimitThatCannotBeHadIsToldOrRefused(t *testing.T) {
	h := newTestHost(t, Options{CgroupParent: NoCgroup})
	for want, limits := range map[string]Limits{
		"memory max: there is no cgroup": {MemoryMax: 1 << 20},
		"tasks max: there is no cgroup":  {TasksMax: 5, OpenFiles: 50},
		"cpu affinity: ":                 {CPUs: []int{1000}},
	} {
		spec := childSpec(t, "stay")
		spec.Limits = limits
		w := newWatcher(t)
		p := h.Start(spec, w.notify)
		if n := w.next(Spawned); len(n.Unmet) != 1 || !strings.HasPrefix(n.Unmet[0], want) {
			t.Errorf("%q, want %q", n.Unmet, want)
		}
		p.Kill()
		w.end()
		spec.Limits.Required = true
		if err := spawnError(t, h, spec); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAFailedExecIsExplainedWithLimitsToo(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := Spec{Label: "none", Path: "/nowhere/none", Limits: Limits{OpenFiles: 10}}
	if err := spawnError(t, h, spec); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAMemoryHogIsKilledAtItsLimitAndThatIsTold(t *testing.T) {
	h := controlled(t, "memory")
	spec := childSpec(t, "memory-hog")
	spec.Limits = Limits{MemoryMax: 64 << 20, SwapMax: -1}
	if _, err := os.Stat("/proc/swaps"); err != nil {
		spec.Limits.SwapMax = 0
	}
	out := listen(t, &spec)
	_, w := limited(t, h, spec)
	exit := w.end()
	if exit.Signal != Signal(syscall.SIGKILL) || exit.OOM == 0 {
		t.Errorf("%+v", exit)
	}
	out.w.Close()
	last := 0
	for line := range out.lines {
		fmt.Sscan(line, &last)
	}
	if last < 16 || last > 64 {
		t.Errorf("it had %d MiB", last)
	}
	// One of our own is told apart.
	p, w := limited(t, h, Spec{Label: "sleep", Path: "/bin/sleep", Args: []string{"600"}, Limits: Limits{MemoryMax: 64 << 20}})
	p.Kill()
	if exit := w.end(); exit.OOM != 0 {
		t.Errorf("%+v", exit)
	}
}

func TestAForkBombStaysWithinItsTasks(t *testing.T) {
	h := controlled(t, "pids")
	spec := childSpec(t, "bomb")
	spec.Limits = Limits{TasksMax: 40}
	out := listen(t, &spec)
	p, w := limited(t, h, spec)
	out.expect("refused")
	text, err := os.ReadFile(h.cgroups.path() + "/" + p.(*process).leaf + "/pids.current")
	if err != nil || number([]byte(strings.TrimSpace(string(text)))) != 40 {
		t.Errorf("%s tasks, %v", text, err)
	}
	p.Kill()
	w.end()
	out.eof()
}

func TestACPUHogStaysWithinItsQuota(t *testing.T) {
	h := controlled(t, "cpu")
	spec := childSpec(t, "cpu-hog")
	spec.Limits = Limits{CPUPercent: 20}
	out := listen(t, &spec)
	p, w := limited(t, h, spec)
	out.expect("ready")
	usage := func() (time.Duration, time.Time) {
		text, err := os.ReadFile(h.cgroups.path() + "/" + p.(*process).leaf + "/cpu.stat")
		if err != nil {
			t.Fatal(err)
		}
		var us int64
		fmt.Sscanf(string(text), "usage_usec %d", &us)
		return time.Duration(us) * time.Microsecond, time.Now()
	}
	before, start := usage()
	out.expect("3 s later")
	after, end := usage()
	percent := 100 * float64(after-before) / float64(end.Sub(start))
	if percent > 22 {
		t.Errorf("it took %.1f %% of a processor, where 20 are allowed", percent)
	}
	t.Logf("%.1f %% of 20", percent)
	p.Kill()
	w.end()
}

// A disk of the machine's that may be written to, as the one of tests/vm/run.
func disk(t testing.TB) string {
	t.Helper()
	path := os.Getenv("PROCTOR_DISK")
	if path == "" {
		t.Skip("there is no disk to write to (PROCTOR_DISK): tests/vm/run has one")
	}
	return path
}

func TestAWriterStaysUnderItsRate(t *testing.T) {
	h := controlled(t, "io")
	for _, verb := range []string{"write", "read"} {
		t.Run(verb, func(t *testing.T) {
			rate := func(l Limits) float64 {
				spec := childSpec(t, "direct-io", disk(t), verb)
				spec.Limits = l
				out := listen(t, &spec)
				p, w := limited(t, h, spec)
				out.expect("ready")
				var written, took int64
				if _, err := fmt.Sscan(out.line(), &written, &took); err != nil {
					t.Fatal(err)
				}
				p.Kill()
				w.end()
				return float64(written) / (float64(took) / 1e9) / (1 << 20)
			}
			free := rate(Limits{})
			held := rate(Limits{IORead: 4 << 20, IOWrite: 4 << 20})
			other := rate(map[string]Limits{"write": {IORead: 4 << 20}, "read": {IOWrite: 4 << 20}}[verb])
			t.Logf("%.1f MiB a second without a limit, %.1f with one of 4, %.1f with one of the other direction", free, held, other)
			if free < 1.5*held || other < 1.5*held || held > 4.8 || held < 1 { // the machine may be slow
				t.Error("that is not what was asked for")
			}
		})
	}
}

func TestAWeightOfIOIsWrittenWhereTheKernelHasOne(t *testing.T) {
	h := controlled(t, "io")
	spec := Spec{Label: "sleep", Path: "/bin/sleep", Args: []string{"600"}, Limits: Limits{IOWeight: 300}}
	w := newWatcher(t)
	p := h.Start(spec, w.notify)
	n := w.next(Spawned)
	leaf := h.cgroups.path() + "/" + p.(*process).leaf
	weight, err := os.ReadFile(leaf + "/io.weight")
	bfq, bfqErr := os.ReadFile(leaf + "/io.bfq.weight")
	switch {
	case err != nil && bfqErr != nil:
		if len(n.Unmet) != 1 || !strings.HasPrefix(n.Unmet[0], "io weight: ") {
			t.Errorf("%q", n.Unmet)
		}
		t.Log(n.Unmet)
	case len(n.Unmet) > 0 || err == nil && string(weight) != "default 300\n" || bfqErr == nil && !strings.Contains(string(bfq), "118"):
		t.Errorf("%q %q, unmet: %q", weight, bfq, n.Unmet)
	}
	p.Kill()
	w.end()
}

// relimit changes limits of what runs.
func relimit(t testing.TB, p Process, l Limits, within ...Group) []string {
	t.Helper()
	unmet, err := tryLimit(p, l, within...)
	if err != nil {
		t.Fatal(err)
	}
	return unmet
}

func tryLimit(p Process, l Limits, within ...Group) ([]string, error) {
	type answer struct {
		unmet []string
		err   error
	}
	answered := make(chan answer)
	p.Limit(l, within, func(unmet []string, err error) { answered <- answer{unmet, err} })
	a := <-answered
	return a.unmet, a.err
}

// inForce is what the system says of a process.
func inForce(t testing.TB, pid int) string {
	t.Helper()
	var files, core unix.Rlimit
	var cpus unix.CPUSet
	if err := errors.Join(unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &files), unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &core), unix.SchedGetaffinity(pid, &cpus)); err != nil {
		t.Fatal(err)
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	if err != nil {
		t.Fatal(err)
	}
	score, err := os.ReadFile(oomScorePath(pid))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("files %d, core %d, nice %d, score %s, on %d processors", files.Cur, core.Cur, 20-nice, strings.TrimSpace(string(score)), cpus.Count())
}

// mayRaise reports whether this program may give processes more than it had taken
// from them (CAP_SYS_RESOURCE).
func mayRaise() bool {
	text, _ := os.ReadFile("/proc/self/status")
	_, caps, _ := strings.Cut(string(text), "CapEff:\t")
	caps, _, _ = strings.Cut(caps, "\n")
	set, err := strconv.ParseUint(caps, 16, 64)
	return err == nil && set&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func TestLimitsOfProcessesChangeWhileTheyRun(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := Spec{Label: "sh", Path: "/bin/sh", Args: []string{"-c", "sleep 600 & echo $!; wait"}}
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	child, err := strconv.Atoi(out.line())
	if err != nil {
		t.Fatal(err)
	}
	before := inForce(t, p.PID())
	if unmet := relimit(t, p, Limits{OpenFiles: 99, Core: -1, Nice: 4, OOMScoreAdjust: 800, CPUs: []int{0}}); len(unmet) > 0 {
		t.Errorf("%q", unmet)
	}
	want := "files 99, core 0, nice 4, score 800, on 1 processors"
	for _, pid := range []int{p.PID(), child} {
		if got := inForce(t, pid); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !mayRaise() {
		if unmet := relimit(t, p, Limits{OpenFiles: 77}); len(unmet) == 0 || !strings.Contains(strings.Join(unmet, ", "), "operation not permitted") {
			t.Errorf("%q", unmet)
		}
		p.Kill()
		w.end()
		t.Skip("here nobody may raise limits again")
	}
	if unmet := relimit(t, p, Limits{OpenFiles: 77}); len(unmet) > 0 {
		t.Errorf("%q", unmet)
	}
	if got := inForce(t, child); !strings.HasPrefix(got, "files 77, ") {
		t.Error(got)
	}
	if unmet := relimit(t, p, Limits{}); len(unmet) > 0 {
		t.Errorf("%q", unmet)
	}
	for _, pid := range []int{p.PID(), child} {
		if got := inForce(t, pid); got != before {
			t.Errorf("%s is left of %s", got, before)
		}
	}
	// One that cannot be had, and has to be, changes nothing.
	if _, err := tryLimit(p, Limits{OpenFiles: 55, CPUs: []int{1000}, Required: true}); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "cpu affinity") {
		t.Error(err)
	}
	if got := inForce(t, p.PID()); got != before {
		t.Errorf("%s is left of %s", got, before)
	}
	if unmet := relimit(t, p, Limits{OpenFiles: 55, CPUs: []int{1000}}); len(unmet) != 1 || !strings.HasPrefix(unmet[0], "cpu affinity: ") {
		t.Errorf("%q", unmet)
	}
	p.Kill()
	w.end()
	if _, err := tryLimit(p, Limits{}); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestALimitOfAllThreadsReachesAllThreads(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "cpu-hog")
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	out.expect("ready")
	relimit(t, p, Limits{Nice: 7, CPUs: []int{0}})
	tids := listNumbers("/proc/" + strconv.Itoa(p.PID()) + "/task")
	if len(tids) < 2 {
		t.Errorf("%d threads", len(tids))
	}
	for _, tid := range tids {
		var cpus unix.CPUSet
		if nice, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || nice != 20-7 || unix.SchedGetaffinity(tid, &cpus) != nil || cpus.Count() != 1 {
			t.Errorf("thread %d: %d, %v, %d processors", tid, nice, err, cpus.Count())
		}
	}
	p.Kill()
	w.end()
}

// read is a file of a group below the host's.
func (h *host) readGroup(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(h.cgroups.path() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestTheLimitsOfATreeChangeWhileItRuns(t *testing.T) {
	h := controlled(t, "memory", "cpu", "pids", "io")
	p, w := limited(t, h, Spec{Label: "sleep", Path: "/bin/sleep", Args: []string{"600"}, Limits: Limits{MemoryMax: 64 << 20}})
	leaf := p.(*process).leaf
	check := func(want string) {
		t.Helper()
		got := fmt.Sprintf("memory %s high %s, cpu %s weight %s, tasks %s, %s", h.readGroup(t, leaf+"/memory.max"), h.readGroup(t, leaf+"/memory.high"), h.readGroup(t, leaf+"/cpu.max"),
			h.readGroup(t, leaf+"/cpu.weight"), h.readGroup(t, leaf+"/pids.max"), h.readGroup(t, leaf+"/io.max"))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check("memory 67108864 high max, cpu max 100000 weight 100, tasks max, ")
	if unmet := relimit(t, p, Limits{MemoryMax: 128 << 20, MemoryHigh: 100 << 20, CPUPercent: 50, CPUWeight: 20, TasksMax: 9, IOWrite: 8 << 20, Required: true}); len(unmet) > 0 {
		t.Errorf("%q", unmet)
	}
	check("memory 134217728 high 104857600, cpu 50000 100000 weight 20, tasks 9, " + disks(sysBlock)[0] + " rbps=max wbps=8388608 riops=max wiops=max")
	if unmet := relimit(t, p, Limits{}); len(unmet) > 0 {
		t.Errorf("%q", unmet)
	}
	check("memory max high max, cpu max 100000 weight 100, tasks max, ")
	p.Kill()
	w.end()
}

func TestALimitThatIsLoweredBelowWhatIsUsedIsKept(t *testing.T) {
	h := controlled(t, "memory")
	spec := childSpec(t, "memory-hog", "40")
	out := listen(t, &spec)
	p, w := limited(t, h, spec)
	for out.line() != "40" {
	}
	if unmet := relimit(t, p, Limits{MemoryMax: 20 << 20, SwapMax: -1}); len(unmet) > 0 && !strings.HasPrefix(strings.Join(unmet, ""), "swap max: ") { // a kernel without swap
		t.Errorf("%q", unmet)
	}
	if exit := w.end(); exit.Signal != Signal(syscall.SIGKILL) || exit.OOM == 0 {
		t.Errorf("%+v", exit)
	}
}

func TestTreesOfAGroupAreInItsGroup(t *testing.T) {
	h := grouped(t, Options{})
	spec := Spec{Label: "a", Path: "/bin/sleep", Args: []string{"600"}, Within: []Group{{Name: "outer"}, {Name: "inner"}}}
	p, w := run(t, h, spec)
	if leaf := p.(*process).leaf; leaf != "g-outer/g-inner/c-a.1" {
		t.Error(leaf)
	}
	if !p.Holds(p.PID()) {
		t.Error("it does not hold itself")
	}
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/cgroup")
	if seq, ok := h.cgroups.findLeaf(text); !ok || seq != 1 {
		t.Errorf("%d %v in %q", seq, ok, text)
	}
	p.Kill()
	w.end()
	path := h.cgroups.path()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", path, err)
	}
}

func TestTheMembersOfAGroupStayWithinItsLimitTogether(t *testing.T) {
	h := controlled(t, "pids", "memory")
	team := func(tasks int) Group { return Group{Name: "team", Limits: Limits{TasksMax: tasks, Required: true}} }
	spec := childSpec(t, "bomb")
	spec.Within = []Group{team(60)}
	out := listen(t, &spec)
	first, w1 := run(t, h, spec)
	out.expect("refused")
	if n := h.readGroup(t, "g-team/pids.current"); n != "60" {
		t.Errorf("%s tasks", n)
	}
	first.Kill()
	w1.end()
	spec = Spec{Label: "sleep", Path: "/bin/sleep", Args: []string{"600"}, Within: []Group{team(60)}}
	p, w := run(t, h, spec)
	if unmet := relimit(t, p, Limits{}, team(70)); len(unmet) > 0 || h.readGroup(t, "g-team/pids.max") != "70" {
		t.Errorf("%q, %s", unmet, h.readGroup(t, "g-team/pids.max"))
	}
	relimit(t, p, Limits{}, Group{Name: "team"})
	if got := h.readGroup(t, "g-team/pids.max"); got != "max" {
		t.Error(got)
	}
	p.Kill()
	w.end()
	// A memory hog is killed at the group's limit, though it has none itself.
	spec = childSpec(t, "memory-hog")
	spec.Within = []Group{{Name: "outer", Limits: Limits{MemoryMax: 48 << 20}}, {Name: "inner"}}
	listen(t, &spec)
	_, w = run(t, h, spec)
	if exit := w.end(); exit.Signal != Signal(syscall.SIGKILL) || exit.OOM == 0 {
		t.Errorf("%+v", exit)
	}
}

func TestALimitOfAGroupThatCannotBeHadIsToldOrRefused(t *testing.T) {
	h := newTestHost(t, Options{CgroupParent: NoCgroup})
	spec := childSpec(t, "stay")
	spec.Within = []Group{{Name: "team", Limits: Limits{MemoryMax: 1 << 20}}}
	w := newWatcher(t)
	p := h.Start(spec, w.notify)
	const want = "of group team: memory max: there is no cgroup"
	if n := w.next(Spawned); len(n.Unmet) != 1 || !strings.HasPrefix(n.Unmet[0], want) {
		t.Errorf("%q", n.Unmet)
	}
	if unmet := relimit(t, p, Limits{TasksMax: 4}, spec.Within...); len(unmet) != 2 || !strings.HasPrefix(unmet[1], want) {
		t.Errorf("%q", unmet)
	}
	p.Kill()
	w.end()
	spec.Within[0].Limits.Required = true
	if err := spawnError(t, h, spec); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

func TestDisksAreThoseWithHardwareBehindThem(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []struct{ name, dev, size, device string }{
		{"sda", "8:0", "1000", "yes"}, {"loop0", "7:0", "1000", ""}, {"dm-0", "254:0", "1000", ""}, {"sr0", "11:0", "0", "yes"}, {"nvme0n1", "259:0", "5", "yes"},
	} {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.MkdirAll(dir+"/"+d.name, 0o755))
		must(os.WriteFile(dir+"/"+d.name+"/dev", []byte(d.dev+"\n"), 0o644))
		must(os.WriteFile(dir+"/"+d.name+"/size", []byte(d.size+"\n"), 0o644))
		if d.device != "" {
			must(os.Mkdir(dir+"/"+d.name+"/device", 0o755))
		}
	}
	if got := strings.Join(disks(dir), " "); got != "259:0 8:0" {
		t.Error(got)
	}
}

func init() {
	children["direct-io"] = func(args []string) int {
		fd, err := unix.Open(args[0], unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		buf, err := unix.Mmap(-1, 0, 128<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return 1
		}
		fmt.Println("ready")
		start, total := time.Now(), int64(0)
		for time.Since(start) < 2*time.Second {
			do := unix.Pwrite
			if args[1] == "read" {
				do = unix.Pread
			}
			n, err := do(fd, buf, total%(128<<20))
			if err != nil || n != len(buf) {
				fmt.Println(n, err)
				return 1
			}
			total += int64(n)
		}
		fmt.Println(total, time.Since(start).Nanoseconds())
		forever()
		return 0
	}
	children["memory-hog"] = func(args []string) int { // MiB that it stops at
		for n := 1; ; n++ {
			if len(args) > 0 && strconv.Itoa(n-1) == args[0] {
				forever()
			}
			b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return 3
			}
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			fmt.Println(n)
		}
	}
	children["bomb"] = func([]string) int {
		for {
			c := exec.Command(sleeper, "600")
			c.Stdout = os.Stdout
			if err := c.Start(); err != nil {
				break
			}
		}
		fmt.Println("refused")
		forever()
		return 0
	}
	children["cpu-hog"] = func([]string) int {
		for range 4 {
			go func() {
				for {
					runtime.Gosched()
				}
			}()
		}
		fmt.Println("ready")
		time.Sleep(3 * time.Second)
		fmt.Println("3 s later")
		forever()
		return 0
	}
}
