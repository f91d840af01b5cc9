package cmd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a reader of the log who reads nothing before it is released.
type stuck struct {
	release chan struct{}
	bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.Buffer.Write(p)
}

func TestTheLogNeverWaitsForItsReaderAndSaysWhatItDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{release: make(chan struct{})}
		l := newLogWriter(s)
		for i := range 2 * backlog {
			_, _ = fmt.Fprintf(l, "line %d\n", i)
			synctest.Wait()
		}
		began := time.Now()
		l.flush(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("the end waited %v for somebody who does not read", took)
		}
		close(s.release)
		synctest.Wait()
		_, _ = l.Write([]byte("the last line\n"))
		l.flush(time.Second)
		lines := strings.Split(strings.TrimSpace(s.String()), "\n")
		if lines[0] != "line 0" || lines[backlog] != fmt.Sprintf("line %d", backlog) {
			t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
		}
		if want := fmt.Sprintf("%d lines of the log are missing here", backlog-1); !strings.Contains(s.String(), want) {
			t.Errorf("it does not say %q: %q", want, lines[max(0, len(lines)-3):])
		}
		if lines[len(lines)-1] != "the last line" {
			t.Errorf("the last line is %q", lines[len(lines)-1])
		}
	})
}

func TestTheLogKeepsTheOrderOfItsLines(t *testing.T) {
	var out bytes.Buffer
	l := newLogWriter(&out)
	var want strings.Builder
	for i := range 1000 {
		_, _ = fmt.Fprintf(l, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	l.flush(time.Minute)
	if out.String() != want.String() {
		t.Errorf("%d bytes, want %d", out.Len(), want.Len())
	}
}
