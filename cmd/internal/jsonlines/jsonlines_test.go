package jsonlines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type sample struct {
	Head
	Path string `json:"path"`
}

func TestALineBeginsWithTimeCollectorAndEventAndIsOneWrite(t *testing.T) {
	var w countingWriter
	out := New(&w, "procmond")
	at := time.Date(2026, 3, 4, 5, 6, 7, 89, time.FixedZone("east", 3600))
	if err := out.Write(sample{Head: out.HeadAt("exec", at), Path: "/a<b>\nc"}); err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-03-04T04:06:07.000000089Z","collector":"procmond","event":"exec","path":"/a<b>\nc"}` + "\n"
	if got := w.String(); got != want || w.writes != 1 {
		t.Errorf("%d writes of\n%swant one of\n%s", w.writes, got, want)
	}
}

func TestTheSameErrorIsWrittenAtMostOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w countingWriter
		out := New(&w, "netmond")
		for range 120 { // two minutes, one poll a second
			if err := out.Failure(errors.New("no table")); err != nil {
				t.Fatal(err)
			}
			if err := out.Failure(errors.New("no names")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // virtual
		}
		if w.writes != 4 {
			t.Errorf("%d lines, want 2 of each error:\n%s", w.writes, w.String())
		}
	})
}

func TestErrorsThatAreAllDifferentDoNotFillTheMemory(t *testing.T) {
	out := New(io.Discard, "netmond")
	for i := range 10 * maxReported {
		if err := out.Failure(fmt.Errorf("process %d is gone", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(out.reported); n > maxReported {
		t.Errorf("%d error texts are kept, want at most %d", n, maxReported)
	}
}

func TestAfterAFailedWriteNothingMoreIsWritten(t *testing.T) {
	w := &countingWriter{err: io.ErrClosedPipe}
	out := New(w, "procmond")
	for range 3 {
		if err := out.Write(out.Head("exit")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v, want %v", err, io.ErrClosedPipe)
		}
	}
	if w.writes != 1 {
		t.Errorf("%d writes, want 1", w.writes)
	}
}

func TestServeReturnsTheErrorOfTheCollector(t *testing.T) {
	boom := errors.New("boom")
	err := Serve(t.Context(), io.Discard, "x", func(context.Context, *Writer) error { return boom })
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

func TestServeDoesNotWaitForACollectorThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w countingWriter
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		begin := time.Now()
		err := Serve(ctx, &w, "x", func(_ context.Context, out *Writer) error {
			<-release
			return out.Write(out.Head("late"))
		})
		if took := time.Since(begin) - time.Second; err != nil || took > 100*time.Millisecond {
			t.Errorf("Serve returned %v %v after the end of its context, want nil within 100ms", err, took)
		}
		close(release)
		synctest.Wait()
		if w.writes != 0 {
			t.Errorf("written after the end: %s", w.String())
		}
	})
}

func TestEveryDoesNotCatchUpOnTicksThatASlowPollMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		calls := 0
		err := Every(ctx, time.Second, func() error {
			calls++
			if calls == 1 {
				time.Sleep(5500 * time.Millisecond)
			}
			return nil
		})
		// At 0 s, at once at 5.5 s, then at 6, 7, 8, 9 s; whether the tick at 10 s or the end comes first is open.
		if err != nil || calls < 6 || calls > 7 {
			t.Errorf("%d calls and %v, want 6 or 7 and nil", calls, err)
		}
	})
}

func FuzzALineIsAlwaysOneLineOfJSON(f *testing.F) {
	f.Add("plain")
	f.Add("two\nlines\r\u2028")
	f.Add("\xff\xfe not UTF-8")
	f.Fuzz(func(t *testing.T, path string) {
		var w countingWriter
		out := New(&w, "procmond")
		if err := out.Write(sample{Head: out.Head("exec"), Path: path}); err != nil {
			t.Fatal(err)
		}
		text := w.String()
		if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || !json.Valid([]byte(text)) {
			t.Errorf("not one line of JSON: %q", text)
		}
	})
}

type countingWriter struct {
	bytes.Buffer
	writes int
	err    error
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	if w.err != nil {
		return 0, w.err
	}
	return w.Buffer.Write(p)
}
