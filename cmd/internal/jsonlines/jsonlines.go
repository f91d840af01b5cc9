// Package jsonlines is what the collectors inside the proctor binary have in common: one JSON object a line, and a
// collector that ends when it is told to.
//
// A line begins with the same three fields whoever wrote it:
//
//	{"time":"2026-01-02T15:04:05.999999999Z","collector":"procmond","event":"exit", …}
package jsonlines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Head opens every line. Embed it first in the struct of an event, so that the fields that everyone looks for stand
// where everyone looks.
type Head struct {
	Time      time.Time `json:"time"`
	Collector string    `json:"collector"`
	Event     string    `json:"event"`
}

// Failure is the line of something that went wrong and was not fatal.
type Failure struct {
	Head
	Error string `json:"error"`
}

// Writer writes the lines of one collector. Each line leaves in one Write, and none is held back: whoever reads them
// may be waiting for this one.
type Writer struct {
	collector string
	now       func() time.Time
	ended     atomic.Bool

	mu       sync.Mutex
	w        io.Writer
	broken   error
	reported map[string]time.Time // error text -> when it was last written
}

const (
	// repeatAfter is how long one and the same error is kept to one line: what fails at every poll would drown the
	// events that still arrive.
	repeatAfter = time.Minute

	// maxReported bounds the memory of errors: a text with a pid or a port in it is a new one each time.
	maxReported = 256
)

var errEnded = errors.New("the collector has ended")

// New returns the writer of the collector of that name.
func New(w io.Writer, collector string) *Writer {
	return &Writer{collector: collector, now: time.Now, w: w, reported: make(map[string]time.Time)}
}

// Head returns the beginning of a line about something that happens now.
func (w *Writer) Head(event string) Head { return w.HeadAt(event, w.now()) }

// HeadAt returns the beginning of a line about something that happened at t.
func (w *Writer) HeadAt(event string, t time.Time) Head {
	// Round strips the monotonic reading, which does not belong to what is reported.
	return Head{Time: t.Round(0).UTC(), Collector: w.collector, Event: event}
}

// Write writes v as one line. After the first error it writes nothing more and returns that error again: half a line
// may be out, and the reader, if there still is one, could not tell where the next begins.
func (w *Writer) Write(v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false) // paths and command lines are read by people too
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode %T: %w", v, err)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended.Load():
		return errEnded
	case w.broken != nil:
		return w.broken
	}
	if _, err := w.w.Write(line.Bytes()); err != nil {
		w.broken = fmt.Errorf("write event: %w", err)
		return w.broken
	}
	return nil
}

// Failure writes err as an "error" line, unless the same text was written less than a minute ago.
func (w *Writer) Failure(err error) error {
	if !w.due(err.Error()) {
		return nil
	}
	return w.Write(Failure{Head: w.Head("error"), Error: err.Error()})
}

func (w *Writer) due(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if last, known := w.reported[text]; known && now.Sub(last) < repeatAfter {
		return false
	}
	if len(w.reported) >= maxReported {
		// Forgetting everything costs at worst one repetition of each error.
		clear(w.reported)
	}
	w.reported[text] = now
	return true
}

// end lets no further line begin. It takes no lock: one may be held by a write that is stuck in a full pipe.
func (w *Writer) end() { w.ended.Store(true) }

// settle is how long a collector that was told to end may take to put down what it holds. Together with scheduling
// it has to stay well below the 100 ms that a collector has for ending.
const settle = 50 * time.Millisecond

// Serve runs collect until it fails or ctx ends, which is no failure: then Serve returns nil.
//
// It returns soon after ctx ends whatever collect is doing: a poll that walks ten thousand processes, or a write to a
// pipe that nobody reads, cannot be interrupted, but need not be waited for either, as the process is about to end.
// Nothing that collect does later is written.
func Serve(ctx context.Context, w io.Writer, collector string, collect func(context.Context, *Writer) error) error {
	out := New(w, collector)
	result := make(chan error, 1)
	go func() { result <- collect(ctx, out) }()

	select {
	case err := <-result:
		if ctx.Err() != nil {
			return nil
		}
		return err
	case <-ctx.Done():
	}

	limit := time.NewTimer(settle)
	defer limit.Stop()
	select {
	case <-result: //nolint:errcheck // it ended because it was told to
	case <-limit.C:
		out.end()
	}
	return nil
}

// Every calls f at once and then each interval, until f returns an error or ctx ends. An f that takes longer than the
// interval is called again with the next tick, never twice in a row to make up for it.
func Every(ctx context.Context, interval time.Duration, f func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := f(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
