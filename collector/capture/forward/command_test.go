//go:build unix

package forward

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/platform"
)

// The test binary is also the program that is given records: it copies lines to a
// file, dies after so many, or does not read.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "take" {
		take(os.Args[2], os.Args[3])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func take(file, most string) {
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if most == "stopped" {
		_, _ = out.WriteString("stopped\n")
		for { // until somebody says that it may go on
			if _, err := os.Stat(file + ".go"); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		most = "0"
	}
	n, _ := strconv.Atoi(most)
	if n == 0 {
		_, _ = io.Copy(out, os.Stdin)
		return
	}
	// A byte at a time, so that it has read nothing that it does not write.
	in := bufio.NewReaderSize(oneByte{os.Stdin}, 16)
	for range n {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		_, _ = out.Write(line)
	}
	os.Exit(3)
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

func host(t *testing.T) platform.Host {
	t.Helper()
	h, err := platform.New(platform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func taker(t *testing.T, file, how string) *Forwarder {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return Command([]string{self, "take", file, how}, host(t))
}

// numbers are those of the records in a file, and the lines that gaps in it tell.
func numbers(t *testing.T, file string) (got []int, gaps uint64) {
	t.Helper()
	data, _ := os.ReadFile(file)
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is still being written: a pipe ends where it ends
		}
		var r struct {
			Text      string
			LostLines uint64 `json:"lost_lines"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			if string(line) == "stopped\n" {
				continue
			}
			t.Fatalf("%q: %v", line, err)
		}
		if gaps += r.LostLines; r.LostLines == 0 {
			n, _ := strconv.Atoi(r.Text)
			got = append(got, n)
		}
	}
	return got, gaps
}

func numbered(n int) capture.Record {
	return capture.Record{Time: time.Unix(1.7e9, 0), ID: "web", Stream: capture.Stdout, Incarnation: 1, Text: []byte(strconv.Itoa(n))}
}

func TestAProgramGetsEveryRecordAndItsLastWordsAtTheEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "taken")
	f := taker(t, file, "0")
	for i := range 3000 {
		f.Forward(numbered(i))
	}
	f.Close()
	if got, _ := numbers(t, file); len(got) != 3000 || got[2999] != 2999 {
		t.Errorf("%d records", len(got))
	}
}

// One that dies after every tenth record is started again, and again; what it has
// left unread the next one gets: each once, in order.
func TestAProgramThatDiesIsStartedAgainAndNothingIsLostOrDoubled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "taken")
	f := taker(t, file, "10")
	for i := range 40 {
		f.Forward(numbered(i))
	}
	began := time.Now()
	await(t, "all records", func() bool { got, _ := numbers(t, file); return len(got) == 40 })
	if took := time.Since(began); took < 3*time.Second { // 0.5 s, 1 s, 2 s
		t.Errorf("it was started again without growing pauses: all in %v", took)
	}
	got, _ := numbers(t, file)
	for i, n := range got {
		if n != i {
			t.Fatalf("%v", got)
		}
	}
	f.Close()
}

// One that does not read is in nobody's way; when it goes on it is told how many
// lines it has missed, exactly.
func TestAProgramThatDoesNotReadIsInNobodysWayAndEveryGapIsMarked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "taken")
	f := taker(t, file, "stopped")
	defer f.Close()
	f.Forward(numbered(0))
	await(t, "start", func() bool { _, err := os.Stat(file); return err == nil })
	const count = 50_000
	began := time.Now()
	for i := 1; i < count; i++ {
		f.Forward(numbered(i))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	missed := f.Missed()
	if missed == 0 {
		t.Fatal("nothing was missed: this shows nothing")
	}
	if err := os.WriteFile(file+".go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Whatever comes next comes behind the gap.
	next := count
	await(t, "the gap", func() bool {
		f.Forward(numbered(next))
		next++
		got, gaps := numbers(t, file)
		return gaps > 0 && got[len(got)-1] >= count
	})
	f.Close()
	got, gaps := numbers(t, file)
	if uint64(len(got))+gaps != uint64(next) || gaps != f.Missed() {
		t.Errorf("%d records and a gap of %d are not %d; %d were missed", len(got), gaps, next, f.Missed())
	}
}

func TestAProgramThatCannotBeStartedIsInNobodysWay(t *testing.T) {
	f := Command([]string{"/nowhere/at/all"}, host(t))
	for i := range 3 * backlog {
		f.Forward(numbered(i))
	}
	if f.Missed() < backlog {
		t.Errorf("%d are missed", f.Missed())
	}
	began := time.Now()
	f.Close()
	if took := time.Since(began); took > last+time.Second {
		t.Errorf("its end took %v", took)
	}
}

func Example() {
	fmt.Println(Of("carrier pigeon", nil))
	// Output: <nil> "carrier pigeon" is nobody who could be given output
}
