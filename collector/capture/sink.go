package capture

import (
	"bytes"
	"sync"
	"time"
)

// A storage is where a sink's records go: a file, or memory. One goroutine at a
// time writes.
type storage interface {
	// write reports how many bytes are stored for good; it may stop anywhere
	// between two records. Rotated says that there is something to tidy.
	write(batch []byte) (n int, rotated bool, err error)
	close()
}

// A sink is the buffer between those who read and the disk of one collector.
type sink struct {
	store *Store
	id    string

	// Leaf I/O: readers put records in while a writer takes them out.
	mu          sync.Mutex
	settings    *Settings // never changed, but exchanged
	to          storage
	buffer      []byte // records that nobody is writing yet
	spare       []byte
	writing     int    // bytes that are being written, or could not be
	unsaved     []byte // what could not be written: it comes before the buffer
	running     bool   // there is a writer
	closed      bool
	claim       chan<- bool // of one who wants to be the writer
	retry       *time.Timer
	err         error  // why the last write failed
	*drops             // nil as long as nothing was dropped
	incarnation uint64 // of the last record

	accepted, stored uint64 // bytes, ever
	waiting          []waiting
	full             []func() // whoever waits for room
}

// drops are what was dropped.
type drops struct {
	gap  Gap // and is not yet marked
	lost Gap // since the last notice
}

// A waiting is told when so many bytes have been stored.
type waiting struct {
	until uint64
	tell  func()
}

// limit is how many bytes may wait.
func (s *sink) limit() int {
	if s.settings.Lossless {
		return bufferLimit / 4
	}
	return bufferLimit
}

// room reports whether there is room; if not, later is called when there is.
func (s *sink) room(later func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.buffer)+s.writing < s.limit() {
		return true
	}
	s.full = append(s.full, later)
	return false
}

// put takes records in, which may be in two pieces, or drops all of them.
func (s *sink) put(records, more []byte, lines, size uint64, incarnation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation = incarnation
	if s.to == nil {
		return
	}
	if !s.settings.Lossless && len(s.buffer)+s.writing+len(records)+len(more) > s.limit() || s.closed {
		reason := "they came faster than they could be stored"
		if s.err != nil {
			reason = s.err.Error()
		}
		s.drop(lines, size, reason)
		return
	}
	s.mark()
	s.buffer = append(append(s.buffer, records...), more...)
	s.accepted += uint64(len(records) + len(more))
	s.wake()
}

// dropped counts what was not even offered, as there was too much of it.
func (s *sink) dropped(lines, size uint64, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to != nil {
		s.drop(lines, size, reason)
		s.wake()
	}
}

func (s *sink) drop(lines, size uint64, reason string) {
	if s.drops == nil {
		s.drops = &drops{}
	}
	for _, g := range []*Gap{&s.gap, &s.lost} {
		g.Lines += lines
		g.Bytes += size
		g.Reason = reason
	}
}

// unmarked reports whether something was dropped that the log does not say yet.
func (s *sink) unmarked() bool { return s.drops != nil && s.gap.Lines > 0 }

// mark writes down a gap where it is.
func (s *sink) mark() {
	if !s.unmarked() {
		return
	}
	before := len(s.buffer)
	if s.settings.Format == Raw {
		if s.settings.Timestamps {
			s.buffer = append(time.Now().UTC().AppendFormat(s.buffer, timeLayout), ' ')
		}
		s.buffer = append(append(append(s.buffer, "proctor: "...), s.gap.String()...), '\n')
	} else {
		s.buffer = appendGap(s.buffer, jsonHead(nil, time.Now(), 0, s.id, s.incarnation), s.gap)
	}
	s.accepted += uint64(len(s.buffer) - before)
	s.gap = Gap{}
}

// wake makes sure that somebody writes, unless a failed write is to be tried again later.
func (s *sink) wake() {
	if !s.running && s.retry == nil {
		s.running = true
		s.store.workers.Add(1)
		go s.write()
	}
}

// whenStored calls tell when everything that was put in before is stored.
func (s *sink) whenStored(tell func()) {
	s.mu.Lock()
	if s.stored >= s.accepted {
		s.mu.Unlock()
		tell()
		return
	}
	s.waiting = append(s.waiting, waiting{s.accepted, tell})
	s.mu.Unlock()
}

// write is the writer: it ends when there is nothing to be written.
func (s *sink) write() {
	defer s.store.workers.Done()
	s.store.opened(s)
	for s.writeSome() {
	}
}

// writeSome writes what has gathered, and reports whether the caller still is the
// writer.
func (s *sink) writeSome() bool {
	s.mu.Lock()
	if s.unmarked() && s.err == nil && len(s.unsaved)+len(s.buffer) == 0 {
		s.mark() // nothing has come since
	}
	var batch []byte
	switch {
	case len(s.unsaved) > 0:
		batch, s.unsaved = s.unsaved, nil
	case s.claim != nil && s.err == nil:
		s.claim <- true // it has room for one
		s.claim = nil
		s.mu.Unlock()
		return false
	case len(s.buffer) > 0:
		batch = s.buffer
		s.buffer, s.spare = s.spare[:0], nil
		s.writing = len(batch)
	default:
		s.stop()
		told := s.relieve()
		s.mu.Unlock()
		for _, tell := range told {
			tell()
		}
		return false
	}
	to := s.to
	s.mu.Unlock()
	n, rotated, err := to.write(batch)
	running := s.wrote(batch, n, rotated, err)
	if err == nil && cap(batch) <= 1<<20 {
		s.mu.Lock()
		s.spare = batch[:0]
		s.mu.Unlock()
	}
	return running
}

// stop says that there is no writer any more. The lock is held.
func (s *sink) stop() {
	s.running = false
	if s.claim != nil {
		s.claim <- false
		s.claim = nil
	}
}

// wrote is what the writer says of a batch, of which n bytes are stored. It
// reports whether he still is the writer.
func (s *sink) wrote(batch []byte, n int, rotated bool, err error) bool {
	if rotated {
		s.store.tidyLater(s)
	}
	s.store.changed()
	s.mu.Lock()
	s.stored += uint64(n)
	s.writing -= n
	var notice *Notice
	if err != nil {
		s.unsaved = batch[n:]
		if s.err == nil {
			notice = &Notice{ID: s.id, Err: err}
		}
		s.err = err
		if len(s.unsaved) > 0 {
			s.stop()
			s.retry = time.AfterFunc(retryAfter, s.again)
		}
	} else if s.err != nil || s.drops != nil && s.lost.Lines > 0 {
		s.err = nil
		notice = &Notice{ID: s.id}
		if s.drops != nil {
			notice.Gap, s.lost = s.lost, Gap{}
		}
	}
	told := s.relieve()
	running, notify := s.running, s.settings.Notify
	s.mu.Unlock()
	if notice != nil && notify != nil {
		notify(*notice)
	}
	for _, tell := range told {
		tell()
	}
	return running
}

// again is the next try after a failed write.
func (s *sink) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retry = nil
	if !s.closed {
		s.wake()
	}
}

// relieve is whom to tell that things are stored, and that there is room.
func (s *sink) relieve() (told []func()) {
	kept := s.waiting[:0]
	for _, w := range s.waiting {
		if w.until <= s.stored {
			told = append(told, w.tell)
		} else {
			kept = append(kept, w)
		}
	}
	s.waiting = kept
	if len(s.full) > 0 && len(s.buffer)+s.writing < s.limit()/2 {
		told = append(told, s.full...)
		s.full = nil
	}
	return told
}

// rest lets go of the open file, if nobody is writing.
func (s *sink) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return false
	}
	if s.to != nil {
		s.to.close()
	}
	s.spare = nil
	return true
}

// shut is the end: what is not stored now will not be.
func (s *sink) shut() {
	s.mu.Lock()
	s.closed = true
	if s.retry != nil && s.retry.Stop() {
		s.retry = nil
	}
	told := s.full
	s.full = nil
	s.mu.Unlock()
	for _, tell := range told {
		tell()
	}
}

// lossless reports whether the process waits rather than that output is dropped.
func (s *sink) lossless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings.Lossless && s.to != nil
}

// memory keeps the newest records in memory.
type memory struct {
	limit int64

	mu    sync.Mutex // leaf I/O: readers look while it is written
	data  []byte
	start uint64 // how many bytes there were before data
}

func (m *memory) write(batch []byte) (int, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = append(m.data, batch...)
	if over := int64(len(m.data)) - m.limit; over > 0 {
		cut := len(m.data)
		if end := bytes.IndexByte(m.data[over-1:], '\n'); end >= 0 {
			cut = int(over) + end
		}
		m.start += uint64(cut)
		m.data = append(m.data[:0:0], m.data[cut:]...)
	}
	return len(batch), false, nil
}

func (m *memory) close() {}

// from copies what there is after an offset.
func (m *memory) from(offset uint64) (data []byte, at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset < m.start || offset > m.start+uint64(len(m.data)) {
		offset = m.start
	}
	return append([]byte(nil), m.data[offset-m.start:]...), offset
}
