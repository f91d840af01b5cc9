package netmond

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proctord/proctor/cmd/internal/jsonlines"
)

const patience = 30 * time.Second

// line is every field of every event.
type line struct {
	Time      time.Time
	Collector string
	Event     string
	socketFields
	Total       int
	Connections int
	Sockets     []socketFields
	LifetimeMS  *int64 `json:"lifetime_ms"`
	Error       string
}

// session is a running collector.
type session struct {
	t     *testing.T
	lines chan line
}

func start(t *testing.T) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	s := &session{t: t, lines: make(chan line)}
	result := make(chan error, 1)
	go func() { result <- Run(ctx, w, Options{Interval: 10 * time.Millisecond}) }()

	done := make(chan struct{})
	go func() {
		defer close(s.lines)
		for text := bufio.NewReader(r); ; {
			b, err := text.ReadBytes('\n')
			if err != nil {
				return
			}
			var l line
			if err := json.Unmarshal(b, &l); err != nil {
				t.Errorf("not JSON: %q: %v", b, err)
			}
			if l.Collector != Name || l.Time.IsZero() || l.Event == "" {
				t.Errorf("a line without its head: %q", b)
			}
			select {
			case s.lines <- l:
			case <-done:
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-result; err != nil {
			t.Errorf("Run returned %v", err)
		}
		close(done)
		_ = r.Close()
		for range s.lines { // until the reader ended
		}
	})
	return s
}

func (s *session) await(what string, is func(line) bool) line {
	s.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case l := <-s.lines:
			if is(l) {
				return l
			}
		case <-limit:
			s.t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func (s *session) first() line {
	s.t.Helper()
	return s.await("line", func(line) bool { return true })
}

// awaitSocket waits for an event about a socket. A remote address is that of a connection.
func (s *session) awaitSocket(event, proto, local, remote string) line {
	s.t.Helper()
	return s.await(fmt.Sprintf("%s %s %s %s", event, proto, local, remote), func(l line) bool {
		return l.Event == event && l.Proto == proto && l.Local == local && l.Remote == remote
	})
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestTheFirstLineHasWhatListensAlready(t *testing.T) {
	address := listen(t, "tcp4", "127.0.0.1:0").Addr().String()
	l := start(t).first()
	if l.Event != "listening" || l.Total != len(l.Sockets) {
		t.Fatalf("first line %+v, want a listening with all sockets", l)
	}
	for _, s := range l.Sockets {
		if s.Kind != "listener" {
			t.Errorf("%+v is not a listener", s)
		}
		if s.Local == address {
			checkOurs(t, s, "tcp", "ipv4", "LISTEN")
			return
		}
	}
	t.Errorf("%s is not among %+v", address, l.Sockets)
}

func TestAListenerAndItsConnectionAreSeenToOpenAndClose(t *testing.T) {
	s := start(t)
	s.first()
	listener := listen(t, "tcp4", "127.0.0.1:0")
	at := listener.Addr().String()
	l := s.awaitSocket("opened", "tcp", at, "")
	if l.Kind != "listener" {
		t.Errorf("kind %q, want listener", l.Kind)
	}
	checkOurs(t, l.socketFields, "tcp", "ipv4", "LISTEN")

	client, err := net.Dial("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	from := client.LocalAddr().String()
	// Both ends are here, and come in the order of their addresses.
	ends := map[string]string{from: at, at: from}
	for range 2 {
		l := s.await("end of the connection", func(l line) bool {
			return l.Event == "opened" && l.Remote != "" && ends[l.Local] == l.Remote
		})
		checkOurs(t, l.socketFields, "tcp", "ipv4", "ESTABLISHED")
		delete(ends, l.Local)
	}

	_ = client.Close()
	l = s.awaitSocket("closed", "tcp", from, at)
	if l.Kind != "connection" || l.PID != int32(os.Getpid()) || l.LifetimeMS == nil {
		t.Errorf("%+v, want a connection of process %d and how long it was open", l, os.Getpid())
	}
	_ = server.Close()
	s.awaitSocket("closed", "tcp", at, from)
	_ = listener.Close()
	s.awaitSocket("closed", "tcp", at, "")
}

func TestUDPSocketsAreSeenToOpenAndClose(t *testing.T) {
	s := start(t)
	s.first()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	at := conn.LocalAddr().String()
	l := s.awaitSocket("opened", "udp", at, "")
	checkOurs(t, l.socketFields, "udp", "ipv4", "")

	peer, err := net.Dial("udp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	from := peer.LocalAddr().String()
	if l := s.awaitSocket("opened", "udp", from, at); l.Kind != "connection" {
		t.Errorf("kind %q, want connection: it has a peer", l.Kind)
	}
	_ = peer.Close()
	s.awaitSocket("closed", "udp", from, at)
	_ = conn.Close()
	s.awaitSocket("closed", "udp", at, "")
}

func TestIPv6SocketsAreSeenToo(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 on the loopback interface: %v", err)
	}
	s := start(t)
	s.first()
	at := listener.Addr().String()
	_ = listener.Close()
	s.awaitSocket("closed", "tcp", at, "")
	listener = listen(t, "tcp6", "[::1]:0")
	l := s.awaitSocket("opened", "tcp", listener.Addr().String(), "")
	checkOurs(t, l.socketFields, "tcp", "ipv6", "LISTEN")
}

func checkOurs(t *testing.T, s socketFields, proto, family, state string) {
	t.Helper()
	if s.Proto != proto || s.Family != family || s.State != state || s.PID != int32(os.Getpid()) || s.Process == "" {
		t.Errorf("%+v, want %s, %s, state %q, pid %d and its name", s, proto, family, state, os.Getpid())
	}
}

// scripted answers each poll with what a function says.
type scripted struct {
	answer func(n int) ([]string, error)
	n      int
	torn   bool
}

func (s *scripted) list(context.Context) (map[socket]details, error) {
	s.n++
	names, err := s.answer(s.n)
	all := make(map[socket]details)
	for _, local := range names {
		all[socket{proto: "tcp", local: netip.MustParseAddrPort(local), listener: true}] = details{}
	}
	return all, err
}
func (*scripted) owners(context.Context, map[socket]details) error { return nil }
func (s *scripted) atomic() bool                                   { return !s.torn }

// polls returns the events and addresses that so many polls make.
func polls(t *testing.T, n int, tables tables) string {
	t.Helper()
	var out bytes.Buffer
	m := &monitor{out: jsonlines.New(&out, Name), tables: tables}
	for range n {
		if err := m.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var events []string
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		events = append(events, strings.TrimSpace(l.Event+" "+l.Local))
	}
	return strings.Join(events, ", ")
}

func TestAnUnreadableTableIsOneErrorLineAndNothingIsTakenForClosed(t *testing.T) {
	got := polls(t, 10, &scripted{answer: func(n int) ([]string, error) {
		if n > 1 && n < 10 {
			return nil, errors.New("no table today")
		}
		return []string{"127.0.0.1:80"}, nil
	}})
	if want := "listening, error"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestASocketThatATornTableMissedIsNotTakenForClosed(t *testing.T) {
	got := polls(t, 3, &scripted{torn: true, answer: func(n int) ([]string, error) {
		switch n {
		case 2:
			return []string{"127.0.0.1:81"}, nil // misses the other one; what is asked to make sure is 3
		case 4, 5:
			return []string{"127.0.0.1:81"}, nil
		}
		return []string{"127.0.0.1:80", "127.0.0.1:81"}, nil
	}})
	if want := "listening, closed 127.0.0.1:80"; got != want {
		t.Errorf("events %q, want %q: closed only once it is missing twice", got, want)
	}
}

func TestWhatClosesComesBeforeWhatOpens(t *testing.T) {
	got := polls(t, 2, &scripted{answer: func(n int) ([]string, error) {
		return [][]string{1: {"127.0.0.1:80"}, 2: {"127.0.0.1:22", "[::1]:22"}}[n], nil
	}})
	if want := "listening, closed 127.0.0.1:80, opened 127.0.0.1:22, opened [::1]:22"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestManyListenersMakeSeveralFirstLines(t *testing.T) {
	got := polls(t, 1, &scripted{answer: func(int) ([]string, error) {
		var many []string
		for port := range 2*perLine + 1 {
			many = append(many, fmt.Sprintf("127.0.0.1:%d", port+1))
		}
		return many, nil
	}})
	if want := "listening, listening, listening"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestTheEndOfItsContextEndsRunWithin100MillisecondsAndIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polling, stuck := make(chan struct{}), make(chan struct{})
		defer close(stuck)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- run(ctx, io.Discard, Options{Interval: time.Second}, &scripted{answer: func(int) ([]string, error) {
				close(polling)
				<-stuck
				return nil, nil
			}})
		}()
		<-polling
		begin := time.Now()
		cancel()
		if err, took := <-result, time.Since(begin); err != nil || took > 100*time.Millisecond {
			t.Errorf("Run returned %v after %v, want nil within 100ms", err, took)
		}
	})
}

func TestAWriterThatFailsEndsRunWithItsError(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = r.Close()
	var cause *os.PathError
	if err := Run(t.Context(), w, Options{}); !errors.As(err, &cause) {
		t.Errorf("error %v, want that of the pipe", err)
	}
}

func TestANegativeIntervalIsRefused(t *testing.T) {
	if err := Run(t.Context(), io.Discard, Options{Interval: -time.Second}); err == nil {
		t.Error("it was accepted")
	}
}
