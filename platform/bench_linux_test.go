package platform

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The benchmarks with "bare" in their names are the least that any supervisor in
// Go has to do: ForkExec, an epoll set of pidfds, wait4. The ones of the host
// should not take more than 1.3 times as long.

const sleeper = "/bin/sleep"

type bareLoop struct {
	epfd   int
	events [128]unix.EpollEvent
	null   int
	files  []uintptr
}

func newBareLoop(b *testing.B) *bareLoop {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(epfd); unix.Close(null) })
	return &bareLoop{epfd: epfd, null: null, files: []uintptr{uintptr(null), uintptr(null), uintptr(null)}}
}

func (l *bareLoop) start(b *testing.B, argv, env []string) (pid, pidfd int) {
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: env, Files: l.files, Sys: &syscall.SysProcAttr{PidFD: &pidfd},
	})
	if err != nil {
		b.Fatal(err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pidfd), Pad: int32(pid)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, pidfd, &ev); err != nil {
		b.Fatal(err)
	}
	return pid, pidfd
}

// reap waits until n more have been reaped.
func (l *bareLoop) reap(b *testing.B, n int) {
	for n > 0 {
		k, err := unix.EpollWait(l.epfd, l.events[:], -1)
		if err == unix.EINTR {
			continue
		}
		for _, ev := range l.events[:k] {
			if pid, err := unix.Wait4(int(ev.Pad), nil, unix.WNOHANG, nil); err != nil || pid == 0 {
				b.Fatal("not dead: ", err)
			}
			unix.Close(int(ev.Fd))
			n--
		}
	}
}

func BenchmarkStart1000Bare(b *testing.B) {
	l := newBareLoop(b)
	argv, env := []string{sleeper, "600"}, os.Environ()
	for b.Loop() {
		pids := make([]int, 1000)
		for i := range pids {
			pids[i], _ = l.start(b, argv, env)
		}
		b.StopTimer()
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		l.reap(b, len(pids))
		b.StartTimer()
	}
}

func BenchmarkStart1000(b *testing.B) {
	h := newTestHost(b, Options{})
	spec := Spec{Label: "sleeper", Path: sleeper, Args: []string{"600"}, Env: os.Environ()}
	spawned := make(chan Notice, 4000)
	emptied := make(chan struct{}, 4000)
	notify := func(n Notice) {
		switch n.Kind {
		case Spawned, SpawnFailed:
			spawned <- n
		case Emptied:
			emptied <- struct{}{}
		}
	}
	for b.Loop() {
		ps := make([]Process, 1000)
		for i := range ps {
			ps[i] = h.Start(spec, notify)
		}
		for range ps {
			if n := <-spawned; n.Err != nil {
				b.Fatal(n.Err)
			}
		}
		b.StopTimer()
		for _, p := range ps {
			p.Kill()
		}
		for range ps {
			<-emptied
		}
		b.StartTimer()
	}
}

// The replacement benchmarks measure from the SIGKILL of a process, by somebody
// else, until the next one says that it is there.

var speaker = []string{"/bin/sh", "-c", "echo; exec " + sleeper + " 600"}

func newSpeech(b *testing.B) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(); w.Close() })
	w.Fd() // makes it blocking, as a standard output should be
	return r, w
}

func hear(b *testing.B, r *os.File) {
	var line [1]byte
	if _, err := r.Read(line[:]); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkReplaceBare(b *testing.B) {
	l := newBareLoop(b)
	r, w := newSpeech(b)
	l.files[1] = w.Fd()
	pids := make(chan int, 1)
	stop := make(chan struct{})
	var stopping atomic.Bool
	go func() {
		runtime.LockOSThread()
		for !stopping.Load() {
			pid, _ := l.start(b, speaker, os.Environ())
			pids <- pid
			l.reap(b, 1)
		}
		close(stop)
	}()
	pid := <-pids
	hear(b, r)
	for b.Loop() {
		unix.Kill(pid, unix.SIGKILL)
		pid = <-pids
		hear(b, r)
	}
	stopping.Store(true)
	unix.Kill(pid, unix.SIGKILL)
	<-stop
}

func BenchmarkReplace(b *testing.B) {
	h := newTestHost(b, Options{})
	r, w := newSpeech(b)
	spec := Spec{Label: "speaker", Path: speaker[0], Args: speaker[1:], Env: os.Environ(), Stdout: w}
	pids := make(chan int, 1)
	stop := make(chan struct{})
	var stopping atomic.Bool
	var notify func(Notice)
	notify = func(n Notice) {
		switch n.Kind {
		case Spawned:
			pids <- n.PID
		case Emptied:
			if stopping.Load() {
				close(stop)
			} else {
				h.Start(spec, notify)
			}
		}
	}
	h.Start(spec, notify)
	pid := <-pids
	hear(b, r)
	for b.Loop() {
		unix.Kill(pid, unix.SIGKILL)
		pid = <-pids
		hear(b, r)
	}
	stopping.Store(true)
	unix.Kill(pid, unix.SIGKILL)
	<-stop
}
