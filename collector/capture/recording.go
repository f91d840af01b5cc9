package capture

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
)

// A Recording is the output of one process. Its methods may be called from any
// goroutine; Begin and Finish never block.
type Recording struct {
	store       *Store
	id          string
	incarnation uint64
	settings    *Settings
	sink        *sink

	mu       sync.Mutex // two streams, and who ends the recording
	streams  []*stream
	tail     *tail // nil before anything has come
	draining int   // streams that have not been read to their end since Finish
	finish   []func()
	tokens   float64 // of the rate limit
	filled   time.Time
}

// An Ending is what there is to say of the output of a process that has ended.
type Ending struct {
	Tail   []string // its last lines, cut at 256 bytes, the oldest first
	Stored bool     // all that it wrote is stored; false: the disk does not write
}

// Begin makes the recording of one process of a collector. It opens nothing;
// Open does. Settings are those of the whole collector from now on.
func (s *Store) Begin(id string, incarnation uint64, set Settings) *Recording {
	set = set.withDefaults()
	return &Recording{store: s, id: id, incarnation: incarnation, settings: &set}
}

// Open makes what the process is to have as its standard output and errors. The
// caller closes both (they may be the same) when the process has them. Open may
// block.
func (r *Recording) Open() (stdout, stderr *os.File, err error) {
	s := r.store
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, ErrClosed
	}
	s.recordings[r] = true
	waiting := s.left[r.id]
	delete(s.left, r.id)
	s.mu.Unlock()
	k := s.sink(r.id, r.settings)
	r.mu.Lock()
	r.sink = k
	r.mu.Unlock()
	for _, l := range waiting {
		before := &Recording{store: s, id: r.id, incarnation: l.incarnation, settings: r.settings, sink: r.sink}
		before.adopt(l)
	}
	if stdout, err = r.add(Stdout); err == nil {
		stderr = stdout
		if !r.settings.Together {
			stderr, err = r.add(Stderr)
		}
	}
	if err != nil {
		if stdout != nil {
			_ = stdout.Close()
		}
		r.abandon()
		return nil, nil, fmt.Errorf("its output cannot be captured: %w", err)
	}
	return stdout, stderr, nil
}

func (r *Recording) add(kind Stream) (*os.File, error) {
	st := &stream{recording: r, kind: kind}
	f, err := st.open()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.streams = append(r.streams, st)
	r.mu.Unlock()
	return f, nil
}

// Finish says that the process has ended, with all that it started. Done is
// called once, on any goroutine, when what they wrote is stored, or when that
// cannot be done in some seconds; it must not block. What somebody else still
// writes is recorded further on.
func (r *Recording) Finish(done func(Ending)) {
	var once sync.Once
	end := func(stored bool) {
		once.Do(func() {
			r.mu.Lock()
			lines := r.lastLines().strings()
			r.mu.Unlock()
			done(Ending{Tail: lines, Stored: stored})
		})
	}
	patience := time.AfterFunc(storePatience, func() { end(false) })
	stored := func() {
		patience.Stop()
		end(true)
	}
	r.mu.Lock()
	streams := r.streams
	r.draining = len(streams)
	switch {
	case r.sink == nil: // it was never opened
		r.mu.Unlock()
		stored()
		return
	case len(streams) == 0: // all has been read
		r.mu.Unlock()
		r.sink.whenStored(stored)
		return
	}
	r.finish = append(r.finish, func() { r.sink.whenStored(stored) })
	r.mu.Unlock()
	for _, st := range streams {
		st.drain()
	}
}

// lastLines is the tail. The lock is held.
func (r *Recording) lastLines() *tail {
	if r.tail == nil {
		r.tail = &tail{limit: r.settings.TailLines}
	}
	return r.tail
}

// drained is told by each stream that has been read to its end since Finish.
func (r *Recording) drained() {
	r.mu.Lock()
	r.draining--
	var told []func()
	if r.draining <= 0 {
		told, r.finish = r.finish, nil
	}
	r.mu.Unlock()
	for _, tell := range told {
		tell()
	}
}

// over forgets a stream that nobody will write to any more.
func (r *Recording) over(st *stream) {
	r.mu.Lock()
	for i := range r.streams {
		if r.streams[i] == st {
			r.streams = append(r.streams[:i:i], r.streams[i+1:]...)
			break
		}
	}
	last := len(r.streams) == 0
	r.mu.Unlock()
	if last {
		r.store.mu.Lock()
		delete(r.store.recordings, r)
		r.store.mu.Unlock()
	}
}

// abandon closes what is still open, and leaves what somebody writes to.
func (r *Recording) abandon() {
	r.mu.Lock()
	streams := r.streams
	r.mu.Unlock()
	for _, st := range streams {
		st.abandon()
	}
}

// allow takes one line's worth from the rate limit. The lock is held.
func (r *Recording) allow(now time.Time) bool {
	limit := float64(r.settings.RateLimit)
	if limit == 0 {
		return true
	}
	if r.filled.IsZero() {
		r.tokens = limit
	} else {
		r.tokens = min(limit, r.tokens+now.Sub(r.filled).Seconds()*limit)
	}
	r.filled = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}

// work is what a stream that is not silent needs.
type work struct {
	split    splitter
	out      []byte // encoded records of one piece
	head     []byte
	joined   []byte // the record that following lines may belong to
	inRecord bool   // there is one
	noPass   bool   // its file takes none
}

// A stream is one of the FIFOs of a process.
type stream struct {
	recording *Recording
	pipe

	// Of the goroutine that reads; there is one at most.
	*work // nil before anything has come: most are silent
	idle  *time.Timer

	mu       sync.Mutex // between those who have news and the goroutine that reads
	kind     Stream     // never changes; it stands where it takes no room
	running  bool
	again    bool
	blocked  bool // it waits for room
	draining bool
	expired  bool // a joined record is to be closed
	ended    bool
}

var chunks = sync.Pool{New: func() any { b := make([]byte, readChunk); return &b }}

// consume takes in a piece of output.
func (st *stream) consume(chunk []byte) {
	r := st.recording
	now := time.Now()
	if st.raw() {
		st.consumeRaw(chunk)
		return
	}
	st.begin()
	st.head = jsonHead(st.head[:0], now, st.kind, r.id, r.incarnation)
	b := batch{st: st, now: now}
	r.mu.Lock()
	st.split.feed(chunk, b.line)
	r.mu.Unlock()
	b.put()
}

// begin has what a stream needs that is not silent.
func (st *stream) begin() {
	if st.work == nil {
		st.work = &work{split: splitter{limit: st.recording.settings.MaxLine}}
	}
}

// consumeRaw passes output on as it is, in whole lines.
func (st *stream) consumeRaw(chunk []byte) {
	r := st.recording
	r.mu.Lock()
	r.lastLines().addRaw(chunk)
	r.mu.Unlock()
	st.begin()
	whole := lastLine(chunk)
	if whole > 0 {
		st.putRaw(st.split.rest, chunk[:whole], 0)
		st.split.empty()
	}
	st.keep(chunk[whole:])
}

// keep holds back what belongs to a line that is not complete.
func (st *stream) keep(piece []byte) {
	st.split.rest = append(st.split.rest, piece...)
	if len(st.split.rest) >= st.split.limit {
		st.putRaw(st.split.rest, nil, 1)
		st.split.empty()
	}
}

// putRaw gives two pieces that belong together to the sink. More is the number of
// lines in them that have no line feed.
func (st *stream) putRaw(a, b []byte, more uint64) {
	feeds := countLines(a) + countLines(b)
	st.recording.sink.put(a, b, feeds+more, uint64(len(a)+len(b))-feeds, st.recording.incarnation)
}

// flush closes a record that is open. Last says that no more is to come for now.
func (st *stream) flush(last bool) {
	r := st.recording
	if st.work == nil {
		return // nothing has come
	}
	if len(st.split.rest) > 0 && last && st.raw() {
		st.putRaw(st.split.rest, nil, 1)
		st.split.empty()
		return
	}
	now := time.Now()
	st.head = jsonHead(st.head[:0], now, st.kind, r.id, r.incarnation)
	b := batch{st: st, now: now}
	r.mu.Lock()
	if last {
		st.split.flush(b.line)
	}
	b.close(false)
	r.mu.Unlock()
	b.put()
}

func (st *stream) raw() bool {
	set := st.recording.settings
	return set.Format == Raw && !set.Timestamps && set.RateLimit == 0 && len(set.Masks) == 0 && set.Multiline == nil && len(set.Also) == 0
}

// A batch is what becomes of one piece of output.
type batch struct {
	st             *stream
	now            time.Time
	lines, size    uint64 // in st.out
	over, oversize uint64
}

// line takes in one line. The recording's lock is held.
func (b *batch) line(text []byte, partial bool) {
	st := b.st
	r := st.recording
	set := r.settings
	if !r.allow(b.now) {
		b.over++
		b.oversize += uint64(len(text))
		return
	}
	for _, m := range set.Masks {
		if m.Match(text) {
			text = m.ReplaceAllLiteral(text, []byte(mask))
		}
	}
	r.lastLines().add(text)
	if set.Multiline == nil {
		b.record(text, partial)
		return
	}
	if st.inRecord && (set.Multiline.Match(text) || len(st.joined)+len(text) > maxMultiline) {
		b.close(false)
	}
	if st.inRecord {
		st.joined = append(st.joined, '\n')
	}
	st.joined = append(st.joined, text...)
	st.inRecord = true
	if partial {
		b.close(true)
		return
	}
	if st.idle == nil {
		st.idle = time.AfterFunc(multilinePatience, st.expire)
	} else {
		st.idle.Reset(multilinePatience)
	}
}

// close makes a record of lines that belong together.
func (b *batch) close(partial bool) {
	if b.st.inRecord {
		b.st.inRecord = false
		b.record(b.st.joined, partial)
		b.st.joined = b.st.joined[:0]
	}
}

func (b *batch) record(text []byte, partial bool) {
	st := b.st
	r := st.recording
	set := r.settings
	switch {
	case set.Target == Discard:
	case set.Format == Raw:
		if set.Timestamps {
			st.out = append(b.now.UTC().AppendFormat(st.out, timeLayout), ' ')
		}
		st.out = append(st.out, text...)
		if !partial || set.Timestamps {
			st.out = append(st.out, '\n')
		}
	default:
		st.out = appendJSON(st.out, st.head, text, partial)
	}
	b.lines++
	b.size += uint64(len(text))
	for _, f := range set.Also {
		f.Forward(Record{Time: b.now, ID: r.id, Stream: st.kind, Incarnation: r.incarnation, Text: text, Partial: partial})
	}
}

func (b *batch) put() {
	st := b.st
	if b.lines > 0 {
		st.recording.sink.put(st.out, nil, b.lines, b.size, st.recording.incarnation)
		if cap(st.out) > 256<<10 {
			st.out = nil
		}
		st.out = st.out[:0]
	}
	if b.over > 0 {
		st.recording.sink.dropped(b.over, b.oversize, fmt.Sprintf("more than %d lines a second", st.recording.settings.RateLimit))
	}
}

func countLines(p []byte) uint64 { return uint64(bytes.Count(p, []byte{'\n'})) }

// lastLine is where the last whole line in p ends.
func lastLine(p []byte) int { return bytes.LastIndexByte(p, '\n') + 1 }
