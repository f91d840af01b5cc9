package platform

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

func init() {
	// busy uses the processor for some milliseconds, says so, and stays.
	children["busy"] = func(args []string) int {
		ms, _ := strconv.Atoi(args[0])
		for began, n := time.Now(), 0; time.Since(began) < time.Duration(ms)*time.Millisecond; n++ {
		}
		fmt.Println("ready")
		forever()
		return 0
	}
	// holder holds some MiB of memory and some open files, says so, and stays.
	children["holder"] = func(args []string) int {
		mib, _ := strconv.Atoi(args[0])
		files, _ := strconv.Atoi(args[1])
		memory := make([]byte, mib<<20)
		for i := 0; i < len(memory); i += 1024 {
			memory[i] = 1
		}
		var open []*os.File
		for range files {
			f, err := os.Open(os.DevNull)
			if err != nil {
				return 1
			}
			open = append(open, f)
		}
		fmt.Println("ready")
		forever()
		runtime.KeepAlive(memory)
		runtime.KeepAlive(open)
		return 0
	}
}

// started runs a child until it says that it is ready.
func started(t *testing.T, h Host, name string, args ...string) Process {
	t.Helper()
	spec := childSpec(t, name, args...)
	c := listen(t, &spec)
	p, _ := run(t, h, spec)
	c.expect("ready")
	return p
}

func usageOf(h Host, p Process, d Detail) Usage {
	var u [1]Usage
	h.Usage([]Process{p}, d, u[:])
	return u[0]
}

func TestProcessorTimeThatAProcessUsesIsTold(t *testing.T) {
	h := newTestHost(t, Options{})
	const work = 300 * time.Millisecond
	p := started(t, h, "busy", strconv.Itoa(int(work/time.Millisecond)))
	for _, d := range []Detail{Brief, Full} {
		u := usageOf(h, p, d)
		if !u.Has(HasCPU) {
			t.Fatalf("detail %d: %+v", d, u)
		}
		// The machine may be busy itself: then it had less than it had time for.
		if used := u.UserTime + u.SystemTime; used < work/10 || used > 20*work {
			t.Errorf("detail %d: it has worked for about %v, and is told to have used %v", d, work, used)
		}
	}
}

func TestMemoryAndDescriptorsThatAProcessHoldsAreTold(t *testing.T) {
	h := newTestHost(t, Options{})
	const mib, files = 64, 40
	p := started(t, h, "holder", strconv.Itoa(mib), strconv.Itoa(files))
	brief, u := usageOf(h, p, Brief), usageOf(h, p, Full)
	for _, u := range []Usage{brief, u} {
		if !u.Has(HasMemory) || u.Memory < mib<<20 || u.Memory > (mib+200)<<20 {
			t.Errorf("it holds %d MiB, and is told to hold %d", mib, u.Memory>>20)
		}
		if !u.Has(HasTasks) || u.Tasks < 1 || u.Tasks > 100 {
			t.Errorf("its tasks: %d", u.Tasks)
		}
	}
	if u.Has(HasMemoryPeak) && u.MemoryPeak < mib<<20 {
		t.Errorf("it holds %d MiB, and its peak is told to be %d", mib, u.MemoryPeak>>20)
	}
	if !u.Has(HasProcesses) || u.Processes != 1 {
		t.Errorf("its processes: %d", u.Processes)
	}
	if u.Has(HasDescriptors) && (u.Descriptors < files || runtime.GOOS != "windows" && u.Descriptors > files+30) {
		t.Errorf("it has %d files open beside a few, and is told to have %d", files, u.Descriptors)
	}
	if u.Source == "" || u.At.IsZero() {
		t.Errorf("%+v", u)
	}
}

func TestWhatAProcessHasStartedCountsToo(t *testing.T) {
	h := newTestHost(t, Options{})
	p := started(t, h, "parent") // its child says that it is ready
	u := usageOf(h, p, Full)
	if u.Processes != 2 || u.Tasks < 2 {
		t.Errorf("%+v", u)
	}
}

func TestNothingIsKnownOfAProcessThatIsNotThere(t *testing.T) {
	h := newTestHost(t, Options{})
	p, w := run(t, h, childSpec(t, "holder", "1", "1"))
	p.Kill()
	w.end()
	if u := usageOf(h, p, Full); u != (Usage{}) {
		t.Errorf("%+v", u)
	}
	other := newTestHost(t, Options{})
	q := started(t, other, "holder", "1", "1")
	if u := usageOf(h, q, Full); u != (Usage{}) {
		t.Errorf("a process of another host: %+v", u)
	}
}
