package cmd

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// backlog is how many lines of the log wait for somebody who reads them slowly.
const backlog = 4096

// logWriter writes lines from a goroutine of its own, so that nobody who logs
// waits for a terminal that was stopped, or a pipe that is full. What there is
// no room for is dropped, and the log says how many lines that were.
type logWriter struct {
	w      io.Writer
	lines  chan []byte // nil is the last one
	missed atomic.Uint64
	done   chan struct{}
}

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{w: w, lines: make(chan []byte, backlog), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *logWriter) run() {
	defer close(l.done)
	for line := range l.lines {
		if line == nil {
			if n := l.missed.Swap(0); n > 0 {
				_, _ = l.w.Write(gap(n))
			}
			return
		}
		_, _ = l.w.Write(line) // there is nowhere to complain to
	}
}

func gap(lines uint64) []byte {
	return fmt.Appendf(nil, "proctor: %d lines of the log are missing here\n", lines)
}

// Write takes a line in. It never waits and never fails.
func (l *logWriter) Write(line []byte) (int, error) {
	if n := l.missed.Swap(0); n > 0 && !l.put(gap(n)) {
		l.missed.Add(n + 1)
		return len(line), nil
	}
	if !l.put(bytes.Clone(line)) { // the logger uses its buffer again
		l.missed.Add(1)
	}
	return len(line), nil
}

func (l *logWriter) put(line []byte) bool {
	select {
	case l.lines <- line:
		return true
	default:
		return false
	}
}

// flush waits until what was written before is out, but not for ever: whoever
// should read it may never do.
func (l *logWriter) flush(patience time.Duration) {
	enough := time.After(patience)
	select {
	case l.lines <- nil:
	case <-enough:
		return
	}
	select {
	case <-l.done:
	case <-enough:
	}
}
