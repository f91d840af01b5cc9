// Package runs keeps a record of every process of every collector on disk, and a
// report of each kind of crash, and tells of them: what happened, who asked for
// it, and which rule decided what followed. Records outlive the supervisor.
//
// It makes them of what others are told too: the supervisor's events, and what
// collectors' actors say of each process that they launch. Telling it something
// never blocks; all files are read and written by one goroutine, that is there
// while there is something to do.
package runs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// Limits bound what is kept. Zero is the default of each.
type Limits struct {
	PerCollector int           // records of a collector: 50
	Records      int           // of all collectors: 10000
	Bytes        int64         // of all of them: 64 MiB
	Age          time.Duration // of a record, or since a crash has come the last time: 90 days
	Crashes      int           // reports: 200
	Waiting      int           // what may wait to be written down: 16384
}

func (l Limits) withDefaults() Limits {
	l.PerCollector = orDefault(l.PerCollector, 50)
	l.Records = orDefault(l.Records, 10_000)
	l.Bytes = orDefault(l.Bytes, 64<<20)
	l.Age = orDefault(l.Age, 90*24*time.Hour)
	l.Crashes = orDefault(l.Crashes, 200)
	l.Waiting = orDefault(l.Waiting, 16<<10)
	return l
}

func orDefault[T int | int64 | time.Duration](value, otherwise T) T {
	if value <= 0 {
		return otherwise
	}
	return value
}

// Options say where records are kept, and what is needed to make them.
type Options struct {
	// Dir is the directory: records are in runs within it, reports of crashes in
	// crashes. Both are made when there is something to write.
	Dir string

	Limits Limits

	// Output, if set, is the last lines that the process with this incarnation
	// number, which was started at from, has written. It may block.
	Output func(id string, incarnation uint64, from time.Time, lines int) []string

	// Notify, if set, is told when something cannot be written down, once until it
	// can again. It must not block.
	Notify func(error)
}

// A Launch is a process that has just been executed.
type Launch struct {
	ID          string
	Incarnation uint64
	PID         int
	At          time.Time
	Binary      string
	Config      config.Collector // with all defaults
}

// A Store keeps records. Its methods may be called from any goroutine.
type Store struct {
	mu      sync.Mutex // between those who tell something and the one who writes it down
	waiting []any      // Launch, messages.Event, or a func() of the worker's
	dropped uint64
	working bool
	closed  bool
	limit   int
	idle    *sync.Cond

	worker
}

// Open returns a store. It reads nothing yet: that happens when there is
// something to do for the first time.
func Open(o Options) *Store {
	o.Limits = o.Limits.withDefaults()
	s := &Store{limit: o.Limits.Waiting, worker: newWorker(o)}
	s.idle = sync.NewCond(&s.mu)
	return s
}

// Launched takes in that a process was executed.
func (s *Store) Launched(l Launch) { s.put(l) }

// Happened takes in an event of the supervisor.
func (s *Store) Happened(e messages.Event) {
	switch e.Fact.(type) {
	case messages.StateChanged, messages.Exited, messages.RestartScheduled, messages.ShuttingDown, messages.Begun, messages.Removed, messages.Audited:
		s.put(e)
	}
}

func (s *Store) put(what any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, question := what.(func())
	switch {
	case s.closed:
		return
	case len(s.waiting) >= s.limit && !question:
		s.dropped++
		return
	}
	s.waiting = append(s.waiting, what)
	if !s.working {
		s.working = true
		go s.work()
	}
}

// work writes down what waits until nothing does.
func (s *Store) work() {
	s.mu.Lock()
	for len(s.waiting) > 0 || s.dropped > 0 {
		batch, dropped := s.waiting, s.dropped
		s.waiting, s.dropped = nil, 0
		s.mu.Unlock()
		s.handle(batch, dropped)
		s.mu.Lock()
	}
	s.working = false
	s.idle.Broadcast()
	s.mu.Unlock()
}

// Close writes down what there still is. Runs that have not ended are recorded as
// ended with the supervisor. It may be called more than once.
func (s *Store) Close() {
	s.put(func() { s.abandon() })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.working {
		s.idle.Wait()
	}
}

// Answer answers messages.GetRuns, ListCrashes and GetCrash, with all that has
// been told by then. The error is a *messages.Error.
func (s *Store) Answer(ctx context.Context, command any) (any, error) {
	type answer struct {
		reply any
		err   error
	}
	op, id := messages.Subject(command)
	answered := make(chan answer, 1)
	s.put(func() {
		reply, err := s.answer(command)
		answered <- answer{reply, err}
	})
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.InvalidState, State: messages.Stopping, Text: "the supervisor is ending"}
	}
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, &messages.Error{Op: op, ID: id, Kind: messages.Timeout, Text: "nobody waits for the answer any more", Err: ctx.Err()}
	}
}

// complain says that something cannot be written down.
func (w *worker) complain(err error) {
	if (err != nil) == w.failing {
		return
	}
	w.failing = err != nil
	if err != nil && w.options.Notify != nil {
		w.options.Notify(&messages.Error{Op: "record runs", Kind: messages.IO, Text: "records of runs are missing until this is mended; collectors are not concerned", Err: err})
	}
}

func missed(n uint64) error { return fmt.Errorf("%d events came faster than they could be written", n) }
