// Package forward gives copies of records to others: syslog (RFC 5424), the
// systemd journal, an OpenTelemetry collector, the standard input of a program.
// Each forwarder has a bounded queue and a goroutine: who does not take records in
// fast enough misses some, is told how many, and nobody waits for him.
package forward

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/platform"
)

const (
	backlog   = 4096            // records that may wait
	batchSize = 512             // records that are given out at once
	patience  = time.Second     // for some records to be taken in
	last      = 3 * time.Second // for those that still wait at the end
	firstWait = 500 * time.Millisecond
	longWait  = 30 * time.Second // between two tries
	tries     = 20               // for a batch of which nothing is taken
)

// A receiver is somebody who takes records in. Its methods are called on the
// forwarder's goroutine, one at a time.
type receiver interface {
	// send gives out some records. It reports how many of them are dealt with, and
	// how many of those were lost on the way. The rest is sent again, after a pause
	// if there is an error.
	send(batch []capture.Record) (done, lost int, err error)

	// close lets go of it.
	close()
}

// A Forwarder is a capture.Forwarder with a queue. Close gives out what waits, if
// that does not take long.
type Forwarder struct {
	to      receiver
	records chan capture.Record
	poke    chan struct{} // the receiver wants to be asked, although nothing has come
	closing chan struct{}
	done    chan struct{}

	mu     sync.Mutex        // leaf: between those who read and the goroutine
	missed map[string]uint64 // by collector: lines that he has not been told of yet
	total  uint64
	closed bool
}

func newForwarder(to receiver) *Forwarder {
	f := &Forwarder{to: to, records: make(chan capture.Record, backlog), poke: make(chan struct{}, 1), closing: make(chan struct{}),
		done: make(chan struct{}), missed: map[string]uint64{}}
	go f.run()
	return f
}

// Forward takes a copy of a record in. It never waits.
func (f *Forwarder) Forward(r capture.Record) {
	r.Text = append([]byte(nil), r.Text...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if n := f.missed[r.ID]; n > 0 {
		gap := capture.Record{Time: r.Time, ID: r.ID, Incarnation: r.Incarnation,
			Gap: &capture.Gap{Lines: n, Reason: "they were not taken in fast enough"}}
		select {
		case f.records <- gap:
			delete(f.missed, r.ID)
		default:
		}
	}
	select {
	case f.records <- r:
	default:
		f.miss(r)
	}
}

// miss counts what a record was. The lock is held.
func (f *Forwarder) miss(r capture.Record) {
	n := uint64(1)
	if r.Gap != nil {
		n = r.Gap.Lines
	} else {
		f.total++
	}
	f.missed[r.ID] += n
}

// Missed is how many lines have not been taken in, ever.
func (f *Forwarder) Missed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

func (f *Forwarder) run() {
	defer close(f.done)
	defer f.to.close()
	batch := make([]capture.Record, 0, batchSize)
	for {
		select {
		case <-f.poke:
			_, _, _ = f.to.send(nil) // what is wrong comes again with the next record
			continue
		case r, more := <-f.records:
			if !more {
				return
			}
			batch = append(batch[:0], r)
		}
		for len(batch) < batchSize {
			select {
			case r, more := <-f.records:
				if more {
					batch = append(batch, r)
					continue
				}
			default:
			}
			break
		}
		f.deliver(batch)
	}
}

// deliver gives out a batch, with pauses where that does not work.
func (f *Forwarder) deliver(batch []capture.Record) {
	wait, left := firstWait, tries
	for {
		done, lost, err := f.to.send(batch)
		f.mu.Lock()
		for _, r := range batch[done-lost : done] {
			f.miss(r)
		}
		f.mu.Unlock()
		if batch = batch[done:]; len(batch) == 0 && err == nil {
			return
		}
		if done > 0 {
			wait, left = firstWait, tries
		}
		if err == nil {
			continue
		}
		if left--; left == 0 || !f.pause(wait) {
			break
		}
		if len(batch) == 0 {
			return
		}
		wait = min(2*wait, longWait)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range batch {
		f.miss(r)
	}
}

// pause waits, and reports whether there is time for that.
func (f *Forwarder) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.closing:
		return false
	}
}

// Close ends it.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.records)
		close(f.closing)
	}
	f.mu.Unlock()
	timer := time.NewTimer(last)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	}
	return nil
}

// Of is the forwarder that an address names: "journald", "syslog",
// "syslog+udp://HOST:PORT", "syslog+tcp://HOST:PORT", "otlp",
// "otlp+http://HOST:PORT", "otlp+https://…", "otlp+grpc://HOST:PORT" or
// "command:PATH ARGUMENT…". Programs are started by host.
func Of(address string, host platform.Host) (*Forwarder, error) {
	switch kind, rest, _ := strings.Cut(address, ":"); {
	case address == "journald":
		return Journal(), nil
	case address == "syslog", strings.HasPrefix(address, "syslog+"):
		return Syslog(address), nil
	case kind == "otlp", strings.HasPrefix(address, "otlp+"):
		return OTLP(address)
	case kind == "command":
		return Command(strings.Fields(rest), host), nil
	}
	return nil, fmt.Errorf("%q is nobody who could be given output", address)
}

func text(r capture.Record) string {
	if r.Gap != nil {
		return r.Gap.String()
	}
	return strings.ToValidUTF8(string(r.Text), "\ufffd")
}

// severity is notice for a gap, and info for what was written, whatever the
// stream: what is written to standard error is not always an error.
func severity(r capture.Record) int {
	if r.Gap != nil {
		return int(journal.PriNotice)
	}
	return int(journal.PriInfo)
}
