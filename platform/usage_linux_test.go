package platform

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	// family has some children that hold memory, one of them in a session of its own
	// and without a parent.
	children["family"] = func(args []string) int {
		n, _ := strconv.Atoi(args[0])
		for range n {
			if err := again("holder", args[1], "1").Start(); err != nil {
				return 1
			}
		}
		between := again("family-orphan", args[1])
		between.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := between.Run(); err != nil {
			return 1
		}
		forever()
		return 0
	}
	children["family-orphan"] = func(args []string) int {
		if err := again("holder", args[0], "1").Start(); err != nil {
			return 1
		}
		return 0
	}
	// writer writes some MiB to a file, and has them stored.
	children["writer"] = func(args []string) int {
		mib, _ := strconv.Atoi(args[1])
		f, err := os.Create(args[0])
		if err != nil {
			return 1
		}
		for range mib {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				return 1
			}
		}
		if err := f.Sync(); err != nil {
			return 1
		}
		fmt.Println("ready")
		forever()
		return 0
	}
}

func TestWhatATreeUsesIsTheSumOfItsProcessesOrphansIncluded(t *testing.T) {
	for _, parent := range []string{"", NoCgroup} {
		t.Run("cgroup "+parent, func(t *testing.T) {
			h := newTestHost(t, Options{CgroupParent: parent})
			const members, mib = 3, 20
			spec := childSpec(t, "family", strconv.Itoa(members), strconv.Itoa(mib))
			c := listen(t, &spec)
			p, _ := run(t, h, spec)
			for range members + 1 {
				c.expect("ready")
			}
			// Itself, its children, and the orphan; what is between ends just now.
			var u Usage
			for range 100 {
				if u = usageOf(h, p, Full); u.Processes == members+2 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if u.Processes != members+2 {
				t.Errorf("%d processes, want %d: %+v", u.Processes, members+2, u)
			}
			if u.Memory < (members+1)*mib<<20 {
				t.Errorf("%d MiB, want at least %d", u.Memory>>20, (members+1)*mib)
			}
			if brief := usageOf(h, p, Brief); brief.Memory < (members+1)*mib<<20 || brief.Tasks < members+2 {
				t.Errorf("brief: %+v", brief)
			}
		})
	}
}

func TestWithoutListsOfChildrenATreeIsMeasuredToo(t *testing.T) {
	withoutChildrenLists.Store(true)
	defer withoutChildrenLists.Store(false)
	h := newTestHost(t, Options{CgroupParent: NoCgroup})
	spec := childSpec(t, "family", "2", "10")
	c := listen(t, &spec)
	p, _ := run(t, h, spec)
	for range 3 {
		c.expect("ready")
	}
	if u := usageOf(h, p, Full); u.Processes < 4 {
		t.Errorf("%+v", u)
	}
}

func TestPressureAndProcessorTimeAreTheKernels(t *testing.T) {
	h := newTestHost(t, Options{}).(*host)
	if h.cgroups == nil {
		t.Skip(h.noCgroups)
	}
	p := started(t, h, "busy", "200")
	u := usageOf(h, p, Full)
	text, err := os.ReadFile(h.cgroups.path() + "/" + p.(*process).leaf + "/cpu.stat")
	if err != nil {
		t.Fatal(err)
	}
	var us int64
	fmt.Sscanf(string(text), "usage_usec %d", &us)
	if diff := time.Duration(us)*time.Microsecond - u.UserTime - u.SystemTime; diff < -10*time.Millisecond || diff > 100*time.Millisecond {
		t.Errorf("the kernel says %d µs, and %v and %v are told", us, u.UserTime, u.SystemTime)
	}
	if _, err := os.ReadFile(h.cgroups.path() + "/" + p.(*process).leaf + "/cpu.pressure"); err == nil && !u.Has(HasCPUPressure|HasMemoryPressure|HasIOPressure) {
		t.Errorf("no pressure: %+v", u)
	}
}

func TestALookAtManyLeavesMakesNoMoreGarbageThanALookAtOne(t *testing.T) {
	h := newTestHost(t, Options{}).(*host)
	if h.cgroups == nil {
		t.Skip(h.noCgroups)
	}
	all := make([]Process, 16)
	for i := range all {
		all[i], _ = run(t, h, Spec{Label: "sleeper", Path: sleeper, Args: []string{"600"}})
	}
	into := make([]Usage, len(all))
	garbage := func(n int) float64 {
		return testing.AllocsPerRun(100, func() { h.Usage(all[:n], Brief, into[:n]) })
	}
	if one, many := garbage(1), garbage(len(all)); many > one+2 { // some are other goroutines'
		t.Errorf("a look at %d makes %v allocations, a look at one %v", len(all), many, one)
	}
	for i, u := range into {
		if !u.Has(HasCPU|HasMemory|HasTasks) || u.Memory == 0 || u.Tasks != 1 {
			t.Errorf("process %d: %+v", i, u)
		}
	}
}

func TestPressureIsReadAsTheKernelWritesIt(t *testing.T) {
	const text = "some avg10=1.25 avg60=30.07 avg300=0.00 total=1234567\nfull avg10=0.50 avg60=100.00 avg300=0.00 total=7\n"
	want := Pressure{Some10: 1.25, Some60: 30.07, Full10: 0.5, Full60: 100, Some: 1234567 * time.Microsecond, Full: 7 * time.Microsecond}
	if got := parsePressure([]byte(text)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestContextSwitchesAndStorageAreTold(t *testing.T) {
	h := newTestHost(t, Options{})
	const mib = 8
	path := tempDir(t) + "/file"
	p := started(t, h, "writer", path, strconv.Itoa(mib))
	u := usageOf(h, p, Full)
	if !u.Has(HasSwitches) || u.VoluntarySwitches+u.InvoluntarySwitches == 0 {
		t.Errorf("context switches: %+v", u)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		t.Skip("what is written here is not stored")
	}
	if !u.Has(HasIO) || u.WriteBytes < mib<<20 {
		t.Errorf("it has written %d MiB, and is told to have written %d bytes: %+v", mib, u.WriteBytes, u)
	}
}

// The numbers of the controllers are the kernel's, and the limits those that were
// asked for. It is for the virtual machine.
func TestWhatTheControllersTellOfALeafIsTold(t *testing.T) {
	h := controlled(t, "memory", "pids", "cpu", "io")
	const mib = 24
	spec := childSpec(t, "holder", strconv.Itoa(mib), "10")
	spec.Limits = Limits{MemoryMax: 96 << 20, TasksMax: 50, CPUPercent: 50}
	c := listen(t, &spec)
	p, w := limited(t, h, spec)
	c.expect("ready")
	u := usageOf(h, p, Full)
	const all = HasCPU | HasThrottled | HasMemory | HasMemoryPeak | HasProcesses | HasTasks | HasIO | HasIOOps | HasDescriptors | HasSwitches | HasOOMKills
	if !u.Has(all) {
		t.Errorf("missing %b of %b: %+v", all&^u.Known, all, u)
	}
	if u.Source != sourceCgroup || u.Memory < mib<<20 || u.Memory > 96<<20 || u.MemoryPeak < u.Memory-1<<20 || u.MemoryPeak > 96<<20 || u.MemoryLimit != 96<<20 || u.TasksLimit != 50 || u.Processes != 1 {
		t.Errorf("%+v", u)
	}
	if u.Tasks < 1 || u.Tasks > 50 || u.Descriptors < 10 {
		t.Errorf("%+v", u)
	}
	t.Logf("%+v", u)
	brief := usageOf(h, p, Brief)
	if !brief.Has(HasCPU|HasMemory|HasTasks) || brief.Memory < mib<<20 || brief.Source != sourceCgroup {
		t.Errorf("%+v", brief)
	}
	p.Kill()
	if exit := w.end(); exit.MemoryPeak < mib<<20 || exit.MemoryPeak > 96<<20 {
		t.Errorf("the peak at its end is %d MiB", exit.MemoryPeak>>20)
	}
}

// Of processes that are just ending and starting nothing is told that is not theirs.
func TestALookInTheMiddleOfManyEndsTellsOfNobodyElse(t *testing.T) {
	for _, parent := range []string{"", NoCgroup} {
		h := newTestHost(t, Options{CgroupParent: parent})
		var all []Process
		spawned, emptied := make(chan Notice, 400), make(chan Notice, 400)
		for range 100 {
			all = append(all, h.Start(Spec{Label: "sleeper", Path: sleeper, Args: []string{"600"}}, func(n Notice) {
				switch n.Kind {
				case Spawned, SpawnFailed:
					spawned <- n
				case Emptied:
					emptied <- n
				}
			}))
		}
		for range all {
			<-spawned
		}
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			into := make([]Usage, len(all))
			for range 20 {
				h.Usage(all, Full, into)
				for _, u := range into {
					if u.Processes > 1 || u.Memory > 64<<20 {
						t.Errorf("%+v", u)
					}
				}
			}
		}()
		for _, p := range all {
			p.Kill()
		}
		for range all {
			<-emptied
		}
		<-looked
	}
}

func BenchmarkUsage1000(b *testing.B) {
	for _, parent := range []string{"", NoCgroup} {
		for _, d := range []Detail{Brief, Full} {
			b.Run(strings.TrimSpace(fmt.Sprintf("cgroup_%s/detail_%d", parent, d)), func(b *testing.B) {
				h := newTestHost(b, Options{CgroupParent: parent})
				all := make([]Process, 1000)
				spawned := make(chan Notice, 4000)
				for i := range all {
					all[i] = h.Start(Spec{Label: "sleeper", Path: sleeper, Args: []string{"600"}}, func(n Notice) {
						if n.Kind == Spawned || n.Kind == SpawnFailed {
							spawned <- n
						}
					})
				}
				for range all {
					if n := <-spawned; n.Err != nil {
						b.Fatal(n.Err)
					}
				}
				into := make([]Usage, len(all))
				b.ReportAllocs()
				var before, after unix.Rusage
				_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
				for b.Loop() {
					h.Usage(all, d, into)
				}
				_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
				used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
				b.ReportMetric(float64(used)/float64(b.N)/1e6, "cpu-ms/op")
			})
		}
	}
}
