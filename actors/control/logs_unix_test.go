//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A keeper is a supervisor of real processes that keeps their output, with a
// server in front of it.
type keeper struct {
	*actors.Supervisor
	server *Server
	kept   *actors.Capture
}

func keep(t *testing.T) *keeper {
	t.Helper()
	server, err := Open(config.Control{Socket: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := actors.OpenCapture(t.TempDir(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	sup, err := actors.New(config.Config{}, actors.WithCapture(kept))
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(sup)
	t.Cleanup(func() { _, _, _ = sup.Close(), kept.Close(), server.Close() })
	return &keeper{sup, server, kept}
}

func (k *keeper) client(t *testing.T, address string) *Client {
	t.Helper()
	if address == "" {
		address = k.server.Address()
	}
	client, err := Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// run has a shell do something as a collector, to its end.
func (k *keeper) run(t *testing.T, id, script string, o config.Output) {
	t.Helper()
	cfg := &config.Collector{BinaryPath: "/bin/sh", Args: []string{"-c", script}, Kind: config.Task, Output: o}
	if _, err := k.Start(t.Context(), id, "", cfg); err != nil {
		t.Fatal(err)
	}
	k.ended(t, id)
}

func (k *keeper) ended(t *testing.T, id string) {
	t.Helper()
	await(t, "end of "+id, func() bool {
		status, err := k.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return status.State == messages.Stopped || status.State == messages.Failed
	})
}

// await waits until what must come has come.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no " + what)
		}
	}
}

// lines is a shell's way to write numbered lines: some 100 bytes each, the first
// of which is its number.
func lines(from, to int) string {
	return fmt.Sprintf(`i=%d; while [ $i -lt %d ]; do echo "$i %s"; i=$((i+1)); done`, from, to, strings.Repeat("x", 90))
}

func TestLogsOverTheSocketAreThoseOfTheSupervisor(t *testing.T) {
	k := keep(t)
	client := k.client(t, "")
	k.run(t, "web-1", `echo one; echo two >&2; printf '\377\376 three'; exit 3`, config.Output{})
	k.run(t, "web-1", `echo four`, config.Output{})
	k.run(t, "web-2", `echo five; echo six`, config.Output{Target: config.OutputMemory})
	k.run(t, "db", `i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done`, config.Output{RateLimit: 10})

	read := func(b actors.Backend, ids []string, q capture.Query) (got []string) {
		begun := 0
		q.Begin = func(capture.Cursor) { begun++ }
		for r, err := range b.Logs(t.Context(), ids, q) {
			got = append(got, fmt.Sprintf("%s %v %s %d %q %v %+v %v %v", r.ID, r.Time.UTC(), r.Stream, r.Incarnation, r.Text, r.Partial, r.Gap, r.Position, err))
		}
		if begun > 1 {
			t.Errorf("it began %d times", begun)
		}
		return got
	}
	all := read(k, nil, capture.Query{})
	if len(all) < 17 {
		t.Fatalf("%q", all)
	}
	for name, c := range map[string]struct {
		ids  []string
		q    capture.Query
		want int // -1: some
	}{
		"all":         {nil, capture.Query{}, len(all)},
		"one":         {[]string{"web-1"}, capture.Query{}, 4},
		"a pattern":   {[]string{"web-*", "web-1"}, capture.Query{}, 6},
		"last":        {nil, capture.Query{Last: 3}, 3},
		"stderr":      {nil, capture.Query{Stream: capture.Stderr}, -1}, // gaps are of no stream
		"grep":        {nil, capture.Query{Grep: regexp.MustCompile("^f(our|ive)$")}, 2},
		"run":         {[]string{"web-1"}, capture.Query{Run: 2}, 1},
		"previous":    {[]string{"web-1"}, capture.Query{Previous: true}, 3},
		"since":       {nil, capture.Query{Since: time.Now().Add(time.Hour)}, 0},
		"until":       {nil, capture.Query{Until: time.Now().Add(-time.Hour)}, 0},
		"new":         {nil, capture.Query{New: true}, 0},
		"after":       {[]string{"web-2"}, capture.Query{After: capture.Cursor{"web-2": {File: 1, Offset: 1}}}, -1},
		"unknown":     {[]string{"nobody", "web-2"}, capture.Query{}, 3},
		"no pattern":  {[]string{"x*"}, capture.Query{}, 1},
		"bad pattern": {[]string{"[web"}, capture.Query{}, 1},
	} {
		here, there := read(k, c.ids, c.q), read(client, c.ids, c.q)
		if name == "bad pattern" { // the protocol's own refusal
			if len(there) != 1 || !strings.Contains(there[0], "is no pattern") {
				t.Errorf("%s: %q", name, there)
			}
			continue
		}
		if strings.Join(here, "\n") != strings.Join(there, "\n") {
			t.Errorf("%s: here\n%s\nover the socket\n%s", name, strings.Join(here, "\n"), strings.Join(there, "\n"))
		}
		if c.want >= 0 && len(there) != c.want {
			t.Errorf("%s: %d records, want %d", name, len(there), c.want)
		}
	}
	for r, err := range client.Logs(t.Context(), []string{"nobody"}, capture.Query{}) {
		var e *messages.Error
		if !errors.Is(err, messages.ProcessNotFound) || !errors.As(err, &e) || e.ID != "nobody" || e.Op != "logs" || r.ID != "nobody" {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// A cutter is a proxy of a socket whose connections break after so many bytes.
func cutter(t *testing.T, to string, after int64) (address string, cuts *atomic.Int32) {
	t.Helper()
	address, cuts = filepath.Join(t.TempDir(), "cut"), new(atomic.Int32)
	l, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("unix", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			go func() { _, _ = io.Copy(s, c) }()
			go func() {
				if n, _ := io.CopyN(c, s, after); n == after {
					cuts.Add(1)
				}
				_, _ = c.Close(), s.Close()
			}()
		}
	}()
	return address, cuts
}

// Files of 1 MB, each process writes more than two of them, and the connection
// breaks every 300 kB.
func TestAFollowerOverTheSocketSeesEveryLineOnce(t *testing.T) {
	k := keep(t)
	address, cuts := cutter(t, k.server.Address(), 300<<10)
	client := k.client(t, address)
	k.run(t, "web", "echo first", config.Output{})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	const runs, count = 3, 8000
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		<-begun
		for range runs {
			k.run(t, "web", lines(0, count), config.Output{MaxSizeMB: 1, MaxFiles: 100, Lossless: config.On})
		}
	}()
	next, run := 0, uint64(2)
	q := capture.Query{Follow: true, New: true, Begin: func(capture.Cursor) { close(begun) }}
	for r, err := range client.Logs(ctx, []string{"web"}, q) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Incarnation != run || !strings.HasPrefix(string(r.Text), strconv.Itoa(next)+" ") {
			t.Fatalf("run %d, line %.40q; want run %d, line %d", r.Incarnation, r.Text, run, next)
		}
		if next++; next == count {
			next, run = 0, run+1
			if run == runs+2 {
				break
			}
		}
	}
	<-done
	if ctx.Err() != nil {
		t.Errorf("it has seen run %d, line %d, and no more", run, next)
	}
	if cuts.Load() < 5 {
		t.Errorf("the connection broke only %d times", cuts.Load())
	}
	rotated, _ := filepath.Glob(filepath.Join(filepath.Dir(k.logPath(t, "web")), "web.log.0*"))
	if len(rotated) < 2 {
		t.Errorf("no rotations: %q", rotated)
	}
	await(t, "place that is free again", func() bool { return len(k.server.readers) == 0 })
}

func (k *keeper) logPath(t *testing.T, id string) string {
	t.Helper()
	got, err := k.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return got.Config.Output.PathOf(id, k.kept.StateDir())
}

// One takes a record and then nothing for longer than the server waits: the
// writer, and another reader, do not notice, nothing piles up, and in the end he
// has every line once.
func TestASlowReaderHurtsNobodyAndMissesNothing(t *testing.T) {
	k := keep(t)
	k.server.patience.Store(int64(200 * time.Millisecond))
	client := k.client(t, "")
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // what a finalizer or a pool has let go of, too
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()      // what other tests have left is not his
	const count = 250_000 // some 50 MB as JSON
	script := `exec awk 'BEGIN { for (i = 0; i < 250000; i++) print i " ` + strings.Repeat("x", 120) + `" }'`
	k.run(t, "web", "echo first", config.Output{MaxSizeMB: 5, MaxFiles: 100, Compress: config.CompressNone})

	next := 0
	expect := func(who string, next int, r capture.Record, err error) {
		if err != nil || !strings.HasPrefix(string(r.Text), strconv.Itoa(next)+" ") {
			t.Fatalf("%s: %.40q, %v; want line %d", who, r.Text, err, next)
		}
	}
	for r, err := range client.Logs(t.Context(), nil, capture.Query{Follow: true, New: true, Begin: func(capture.Cursor) {
		if _, err := k.Start(t.Context(), "web", "", &config.Collector{BinaryPath: "/bin/sh", Args: []string{"-c", script}, Kind: config.Task,
			Output: config.Output{MaxSizeMB: 5, MaxFiles: 100, Compress: config.CompressNone, Lossless: config.On}}); err != nil {
			t.Fatal(err)
		}
	}}) {
		expect("slow", next, r, err)
		if next++; next == 1 {
			k.ended(t, "web")
			if held := heap() - before; held > 40<<20 { // the log is 50 MB; the client's window of the connection is among it
				t.Errorf("%d MB are held", held>>20)
			}
			await(t, "end of his stream", func() bool { return len(k.server.readers) == 0 })
			other := 0
			for r, err := range k.client(t, "").Logs(t.Context(), []string{"web"}, capture.Query{Run: 2}) {
				expect("another", other, r, err)
				other++
			}
			if other != count {
				t.Errorf("another has read %d lines", other)
			}
		}
		if next == count {
			break
		}
	}
}

func TestWhoeverGoesAwayOrHasADeadlineIsLetGoOf(t *testing.T) {
	k := keep(t)
	client := k.client(t, "")
	k.run(t, "web", lines(0, 3000), config.Output{})
	free := func() bool { return len(k.server.readers) == 0 }

	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	for range client.Logs(ctx, nil, capture.Query{Follow: true}) {
		if n++; n == 100 {
			cancel() // in the middle of what is there
		}
	}
	if n != 100 {
		t.Errorf("%d records after he went away", n-100)
	}
	await(t, "place that is free again", free)

	n = 0
	for range client.Logs(t.Context(), nil, capture.Query{Follow: true}) {
		if n++; n == 3000 {
			break // when there is no more
		}
	}
	await(t, "place that is free again", free)

	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, err := range client.Logs(ctx, nil, capture.Query{Follow: true, New: true}) {
		t.Error(err) // nothing comes, and then it ends
	}
	if ctx.Err() == nil {
		t.Error("it ended before its time")
	}
	await(t, "place that is free again", free)

	// A caller of the bare protocol is told.
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	stream, err := client.rpc.ReadLogs(ctx, &pb.ReadLogsRequest{Follow: true, NewOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for stream.Receive() {
		if m := stream.Msg(); len(m.Records) > 0 {
			t.Errorf("%v", m)
		}
	}
	if code := connect.CodeOf(stream.Err()); code != connect.CodeDeadlineExceeded {
		t.Errorf("%v", stream.Err())
	}
	_ = stream.Close()
	await(t, "place that is free again", free)
}

func TestTooManyReadersOfLogsAreRefused(t *testing.T) {
	k := keep(t)
	k.server.readers = make(places, 2)
	client := k.client(t, "")
	k.run(t, "web", "echo first", config.Output{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		begun := make(chan struct{})
		go func() {
			for range client.Logs(ctx, nil, capture.Query{Follow: true, Begin: func(capture.Cursor) { close(begun) }}) {
			}
		}()
		<-begun
	}
	refused := 0
	for _, err := range client.Logs(t.Context(), nil, capture.Query{}) {
		if !errors.Is(err, messages.Timeout) || !strings.Contains(err.Error(), "ask again later") {
			t.Errorf("%v", err)
		}
		refused++
	}
	if refused != 1 {
		t.Errorf("%d errors", refused)
	}
}

func TestFollowingEndsWithTheSupervisorAfterItsLastWord(t *testing.T) {
	k := keep(t)
	client := k.client(t, "")
	if _, err := k.Start(t.Context(), "web", "", &config.Collector{BinaryPath: "/bin/sh", Args: []string{"-c", `exec 2>/dev/null; trap 'echo last; exit' TERM; echo first; while :; do sleep 0.05; done`}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r, err := range client.Logs(t.Context(), nil, capture.Query{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(r.Text)); len(got) == 1 {
			go func() {
				_, _ = k.Stop(t.Context(), "web", 0)
				_, _ = k.Close(), k.kept.Close()
			}()
		}
	}
	if strings.Join(got, ",") != "first,last" {
		t.Errorf("%q", got)
	}
	await(t, "place that is free again", func() bool { return len(k.server.readers) == 0 }) // the server has nobody to wait for
}

func TestWithoutACaptureLogsSayThatNothingIsKept(t *testing.T) {
	server, err := Open(config.Control{Socket: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	sup, err := actors.New(config.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(sup)
	defer func() { _, _ = sup.Close(), server.Close() }()
	client, err := Dial(t.Context(), server.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	n := 0
	for _, err := range client.Logs(t.Context(), nil, capture.Query{}) {
		n++
		if !errors.Is(err, messages.InvalidState) {
			t.Errorf("%v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
}
