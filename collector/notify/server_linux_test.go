package notify

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary impersonates senders: with SENDER set it sends the text of
// that variable to NOTIFY_SOCKET until it is ended.
func TestMain(m *testing.M) {
	if text := os.Getenv("SENDER"); text != "" {
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv(SocketVariable), Net: "unixgram"})
		for err == nil {
			_, err = c.Write([]byte(text))
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// everybody is of the tree.
func everybody(int) bool { return true }

func open(t *testing.T, s *Server, holds func(pid int) bool) (mouth, Socket, chan Message) {
	t.Helper()
	heard := make(chan Message, 100_000)
	k := s.Socket(func(m Message) { heard <- m })
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	c := dial(t, k)
	k.Attend(holds)
	return c, k, heard
}

// A mouth is the end of a socket that a process writes to.
type mouth int

func dial(t *testing.T, k Socket) mouth {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: k.Address()})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return mouth(fd)
}

func send(t *testing.T, c mouth, text string, files ...int) {
	t.Helper()
	var control []byte
	if len(files) > 0 {
		control = unix.UnixRights(files...)
	}
	if err := unix.Sendmsg(int(c), []byte(text), control, nil, 0); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, heard chan Message) Message {
	t.Helper()
	select {
	case m := <-heard:
		return m
	case <-time.After(patience):
		t.Fatal("nothing was heard")
	}
	panic("not reached")
}

func TestWhatIsSentIsHeardInOrderAlsoWhatWasSentBeforeAnybodyAttended(t *testing.T) {
	s := NewServer()
	heard := make(chan Message, 10)
	k := s.Socket(func(m Message) { heard <- m })
	defer k.Close()
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, k)
	send(t, c, "STATUS=first")
	k.Attend(everybody)
	send(t, c, "STATUS=second")
	for _, want := range []string{"first", "second"} {
		if m := next(t, heard); m.Status != want {
			t.Errorf("heard %+v, want %q", m, want)
		}
	}
}

func TestABadMessageIsToldOfOnceAndTheNextOneIsHeard(t *testing.T) {
	c, _, heard := open(t, NewServer(), everybody)
	for _, bad := range []string{strings.Repeat("x", MaxSize+1), "", "STATUS=\xff", "hello"} {
		for range 3 {
			send(t, c, bad)
		}
	}
	send(t, c, "READY=1")
	var refused []string
	for {
		m := next(t, heard)
		if m.Ready {
			break
		}
		if m.Refused != "" {
			refused = append(refused, m.Refused)
		}
	}
	if len(refused) != 3 { // malformed in two ways
		t.Errorf("%q", refused)
	}
	if text := "STATUS=" + strings.Repeat("y", MaxSize-7); true {
		send(t, c, text)
		if m := next(t, heard); len(m.Status) != MaxSize-7 {
			t.Errorf("one of %d bytes: %+v", MaxSize, m.Refused)
		}
	}
}

func TestWhoIsNotOfTheTreeIsNotHeard(t *testing.T) {
	ours := atomic.Bool{}
	c, _, heard := open(t, NewServer(), func(pid int) bool { return pid == os.Getpid() && ours.Load() })
	send(t, c, "READY=1")
	m := next(t, heard)
	if m.Ready || !strings.Contains(m.Refused, fmt.Sprintf("process %d (uid %d)", os.Getpid(), os.Getuid())) {
		t.Errorf("%+v", m)
	}
	ours.Store(true)
	deadline := time.Now().Add(patience) // that one is a stranger is remembered for a moment
	for ready := false; !ready; {
		send(t, c, "READY=1")
		select {
		case m := <-heard:
			ready = m.Ready
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("it is never heard")
		}
	}
}

// As root, another user really sends; he may not name a pid that is not his.
func TestAnotherUserIsNotHeard(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	_, k, heard := open(t, NewServer(), func(pid int) bool { return pid == os.Getpid() })
	cmd := sender(t, k, "READY=1")
	dir, err := os.MkdirTemp("", "notify") // where the test binary is nobody else may look
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o755)
	binary, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(dir, "sender")
	if err := os.WriteFile(cmd.Path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer end(cmd)
	m := next(t, heard)
	if m.Ready || !strings.Contains(m.Refused, "uid 65534") {
		t.Errorf("%+v", m)
	}
}

func sender(t *testing.T, k Socket, text string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "SENDER="+text, SocketVariable+"="+k.Address())
	return cmd
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestAMainProcessThatIsNotOfTheTreeIsRefused(t *testing.T) {
	c, _, heard := open(t, NewServer(), func(pid int) bool { return pid == os.Getpid() })
	send(t, c, "MAINPID=1\nREADY=1")
	if m := next(t, heard); !strings.Contains(m.Refused, "MAINPID=1 is not of the collector's tree") {
		t.Errorf("%+v", m)
	}
	if m := next(t, heard); !m.Ready || m.MainPID != 0 {
		t.Errorf("%+v", m)
	}
	send(t, c, fmt.Sprintf("MAINPID=%d", os.Getpid()))
	if m := next(t, heard); m.MainPID != os.Getpid() {
		t.Errorf("%+v", m)
	}
}

// closed waits until the other end of a pipe is held by nobody any more.
func closed(t *testing.T, r *os.File) {
	t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	if _, err := r.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("a descriptor was kept: %v", err)
	}
}

func TestFilesThatAreSentAreClosedAndNotKept(t *testing.T) {
	c, _, heard := open(t, NewServer(), everybody)
	for _, text := range []string{"FDSTORE=1\nFDNAME=db", "READY=1", "", strings.Repeat("x", MaxSize+1)} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		many := make([]int, 200)
		for i := range many {
			many[i] = int(w.Fd())
		}
		send(t, c, text, many...)
		_ = w.Close()
		closed(t, r)
		_ = r.Close()
	}
	told := 0
	for range 5 { // two messages, three complaints
		if m := next(t, heard); strings.Contains(m.Refused, "FDSTORE") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("that descriptors are not kept is told %d times", told)
	}
}

func TestABarrierIsClosedWhenAllBeforeItIsTakenInAndWithTheSocket(t *testing.T) {
	c, k, heard := open(t, NewServer(), everybody)
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		return r, w
	}
	r, w := pipe()
	send(t, c, "STATUS=before")
	send(t, c, "BARRIER=1", int(w.Fd()))
	_ = w.Close()
	if m := next(t, heard); m.Status != "before" {
		t.Errorf("%+v", m)
	}
	m := next(t, heard)
	if m.Barrier == nil {
		t.Fatalf("%+v", m)
	}
	_ = r.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := r.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("it was closed before: %v", err)
	}
	m.Barrier()
	m.Barrier()
	closed(t, r)

	// One that nobody takes in ends with the socket; and there are not too many.
	var rs []*os.File
	for range maxBarriers + 1 {
		r, w := pipe()
		send(t, c, "BARRIER=1", int(w.Fd()))
		_ = w.Close()
		rs = append(rs, r)
		next(t, heard)
	}
	closed(t, rs[maxBarriers])
	k.Close()
	for _, r := range rs {
		closed(t, r)
	}
}

// A flood has its sender wait, and nobody else.
func TestAFloodSlowsDownNobodyButWhoMakesIt(t *testing.T) {
	for name, holds := range map[string]func(int) bool{"of the tree": everybody, "of strangers": func(pid int) bool { return pid == os.Getpid() }} {
		t.Run(name, func(t *testing.T) {
			s := NewServer()
			heard := atomic.Int64{}
			flooded := s.Socket(func(Message) { heard.Add(1) })
			if err := flooded.Open(); err != nil {
				t.Fatal(err)
			}
			defer flooded.Close()
			flooded.Attend(holds)
			cmd := sender(t, flooded, "STATUS=again")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer end(cmd)
			other, _, calm := open(t, s, everybody)
			begin := time.Now()
			for i := range 50 {
				send(t, other, fmt.Sprintf("STATUS=%d", i))
				next(t, calm)
			}
			took := time.Since(begin)
			if most := int64(Rate * (2 + took.Seconds())); heard.Load() > most {
				t.Errorf("%d messages of the flood were heard in %v", heard.Load(), took)
			}
		})
	}
}

func TestASocketMayBeClosedAtAnyTime(t *testing.T) {
	s := NewServer()
	s.Socket(nil).Close()
	k := s.Socket(nil)
	k.Close()
	if err := k.Open(); err != nil {
		t.Error(err)
	}
	k.Attend(everybody)
	k.Close()
	for range 100 {
		k := s.Socket(func(Message) {})
		if err := k.Open(); err != nil {
			t.Fatal(err)
		}
		go k.Attend(everybody)
		c := dial(t, k)
		_ = unix.Sendmsg(int(c), []byte("READY=1"), nil, nil, unix.MSG_DONTWAIT)
		k.Close()
	}
	if s.loop != nil || len(s.sockets) > 0 {
		t.Error("it waits for sockets that are gone")
	}
}
