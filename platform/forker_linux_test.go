package platform

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What is open in the program is not there in the thread that forks: so it costs
// a start nothing, and no child can inherit it, whatever its flags are.
func TestWhatTheProgramOpensIsNotThereInAChild(t *testing.T) {
	h := newTestHost(t, Options{})
	var lines [2]int // a pipe without close-on-exec
	if err := unix.Pipe2(lines[:], 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lines[0])
	_, w := run(t, h, Spec{Label: "true", Path: "/bin/sleep", Args: []string{"600"}})
	_ = w
	unix.Close(lines[1])
	// It would wait for the child, if that had the other end.
	if n, err := unix.Read(lines[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Go's runtime looks at its poller from any thread, those that fork among them.
func TestGarbageCollectionsGoOnWhileProcessesAreStarted(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	h := newTestHost(t, Options{Spawners: 4})
	stop := make(chan struct{})
	var collectors sync.WaitGroup
	for range 2 {
		collectors.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
				}
			}
		})
	}
	var all sync.WaitGroup
	for range 200 {
		all.Add(1)
		h.Start(Spec{Label: "true", Path: "/bin/true", Env: make([]string, 1000)[:0], Limits: Limits{OpenFiles: 64}}, func(n Notice) {
			switch n.Kind {
			case SpawnFailed:
				t.Error(n.Err)
				all.Done()
			case Emptied:
				all.Done()
			}
		})
	}
	all.Wait()
	close(stop)
	collectors.Wait()
}

// Where a thread cannot have a table of its own, it starts processes from the
// program's.
func TestAForkerDoesWithoutATableOfItsOwn(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &forker{ours: ends[0], theirs: ends[1], done: make(chan struct{}, 1)}
	var thread sync.WaitGroup
	thread.Go(func() {
		f.wake.park()
		f.pid, f.err = f.obey()
		f.done <- struct{}{}
	})
	var stat, other unix.Stat_t
	if err := unix.Fstat(0, &stat); err != nil {
		t.Fatal(err)
	}
	if _, err := f.do([]int{0}, func(received []int) (int, error) { return 0, unix.Fstat(received[0], &other) }); err != nil || other.Ino != stat.Ino {
		t.Errorf("%v, inode %d, want %d", err, other.Ino, stat.Ino)
	}
	thread.Wait()
	f.end()
	unix.Close(f.theirs)
}
