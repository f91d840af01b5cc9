package platform

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// jobOf says what the system has in force for the job of a process.
func jobOf(t *testing.T, p Process) string {
	t.Helper()
	job := p.(*process).job
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	if err := windows.QueryInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)), nil); err != nil {
		t.Fatal(err)
	}
	var rate cpuRate
	if err := windows.QueryInformationJobObject(job, windows.JobObjectCpuRateControlInformation, uintptr(unsafe.Pointer(&rate)), uint32(unsafe.Sizeof(rate)), nil); err != nil {
		t.Log("rate of the processor:", err)
	}
	basic := info.BasicLimitInformation
	text := []string{fmt.Sprintf("rate %d/%d", rate.flags, rate.rate)}
	for _, l := range []struct {
		name  string
		flag  uint32
		value any
	}{
		{"memory", windows.JOB_OBJECT_LIMIT_JOB_MEMORY, info.JobMemoryLimit}, {"tasks", windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS, basic.ActiveProcessLimit},
		{"class", windows.JOB_OBJECT_LIMIT_PRIORITY_CLASS, basic.PriorityClass}, {"processors", windows.JOB_OBJECT_LIMIT_AFFINITY, basic.Affinity},
	} {
		if basic.LimitFlags&l.flag != 0 {
			text = append(text, fmt.Sprintf("%s %v", l.name, l.value))
		}
	}
	return strings.Join(text, ", ")
}

func tryLimit(p Process, l Limits, within ...Group) (unmet []string, err error) {
	answered := make(chan bool)
	p.Limit(l, within, func(u []string, e error) {
		unmet, err = u, e
		close(answered)
	})
	<-answered
	return unmet, err
}

func TestTheLimitsOfAJobAreInForceAndChange(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "stay")
	spec.Limits = Limits{MemoryMax: 256 << 20, TasksMax: 9, Nice: 5, CPUs: []int{0}, CPUPercent: 50}
	w := newWatcher(t)
	p := h.Start(spec, w.notify)
	n := w.next(Spawned)
	t.Logf("at the start: %s; not in force: %q", jobOf(t, p), n.Unmet)
	unmet, err := tryLimit(p, Limits{TasksMax: 5, OpenFiles: 10})
	t.Logf("after a change: %s; not in force: %q", jobOf(t, p), unmet)
	if underWine() { // wine 8.0 does not know of the rate
		unmet = slices.DeleteFunc(unmet, func(m string) bool { return strings.HasPrefix(m, "cpu percent: ") })
		n.Unmet = slices.DeleteFunc(n.Unmet, func(m string) bool { return strings.HasPrefix(m, "cpu percent: ") })
	}
	if err != nil || len(n.Unmet) > 0 || len(unmet) != 1 || !strings.HasPrefix(unmet[0], "open files: ") {
		t.Errorf("%q, then %q, %v", n.Unmet, unmet, err)
	}
	if _, err := tryLimit(p, Limits{OpenFiles: 10, Required: true}); !errors.Is(err, ErrNotSupported) {
		t.Error(err)
	}
	if !underWine() { // which takes limits of a job, but neither keeps them to nor tells of them
		if got, want := jobOf(t, p), "rate 0/0, tasks 5"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	p.Kill()
	w.end()
	if _, err := tryLimit(p, Limits{}); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestABombStaysWithinTheProcessesOfItsJob(t *testing.T) {
	h := newTestHost(t, Options{})
	spec := childSpec(t, "bomb")
	spec.Limits = Limits{TasksMax: 4, Required: true}
	out := listen(t, &spec)
	p, w := run(t, h, spec)
	line := out.line()
	p.Kill()
	w.end()
	if line != "3 more" {
		if underWine() {
			t.Skip("this wine does not limit the processes of a job: " + line)
		}
		t.Errorf("%s, want 3 more", line)
	}
}

func TestNiceValuesHaveClasses(t *testing.T) {
	for nice, want := range map[int]uint32{-20: windows.HIGH_PRIORITY_CLASS, -5: windows.ABOVE_NORMAL_PRIORITY_CLASS, 5: windows.BELOW_NORMAL_PRIORITY_CLASS, 19: windows.IDLE_PRIORITY_CLASS} {
		if got := classOf(nice); got != want {
			t.Errorf("%d: %#x, want %#x", nice, got, want)
		}
	}
	if got := rateOf(50, 4); got != 1250 {
		t.Error(got)
	}
	if got := rateOf(1, 1000); got != 1 {
		t.Error(got)
	}
}

func init() {
	children["bomb"] = func([]string) int {
		n := 0
		for ; n < 10; n++ {
			c := exec.Command(os.Args[0])
			c.Env = childEnv("stay")
			if err := c.Start(); err != nil {
				break
			}
		}
		fmt.Println(n, "more")
		forever()
		return 0
	}
}
