package capture

import (
	"bytes"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What a process writes in bulk, and what is kept as it is, is not copied by this
// program: splice(2) moves its pages from the FIFO into a pipe of our own, and
// the kernel writes them from there into the file. That is a pass. The reader
// makes it, who is the writer of the sink for so long.
//
// The pipe between the two has three reasons. While the file is written, nobody
// holds the lock of the FIFO, so that the process writes on. What the file does
// not take is still in it, and is read and stored in the ordinary way, which
// knows what to do about errors. And the last of what came stays in it until the
// pass ends, and is then read, so that a pass ends with a whole line, and the tail
// is known.
//
// Passes are only for Lossless: who waits for a disk does not read meanwhile, and
// a process that is not to wait would.

const (
	bulkRead    = readChunk / 2         // a process writes in bulk if a read finds so much,
	bulkReads   = 4                     // so many times in a row;
	straight    = 2 * bulkReads         // one that writes line by line, so many times without a pause: more than waits in a FIFO
	heldBack    = 32 << 10              // bytes that a pass leaves to be read. Where no line ends in them, the line may be cut
	leastFile   = 1 << 20               // bytes of a file for which a pass is worth while
	patience    = 1                     // ms that a pass waits for more
	longestPass = 10 * time.Millisecond // then it is the turn of others
)

// A bulk is what a goroutine that reads knows of a process that writes in bulk.
type bulk struct {
	reads    int  // that found much, in a row
	straight int  // and without a pause
	byLine   bool // it was found writing little at a time
	conduit
}

// woke is told how much there was when the process was found writing.
func (b *bulk) woke(n int) { b.byLine = n < smallWrite }

// paused is told that there was nothing more to read.
func (b *bulk) paused() { b.straight = 0 }

// saw is told of each read.
func (b *bulk) saw(st *stream, n int) {
	if n < bulkRead {
		b.reads, b.straight = 0, 0
		return
	}
	b.straight++
	if b.reads++; b.reads == bulkReads {
		st.widen()
	}
}

// pass moves what is in the FIFO into the file, if much is to be expected there,
// and reports whether anything was taken out of the FIFO.
func (b *bulk) pass(st *stream) bool {
	set := st.recording.settings
	if b.reads < bulkReads || b.byLine && b.straight < straight || st.noPass || !st.raw() || !set.Lossless || set.MaxSize < leastFile || set.TailLines*maxTailLine > heldBack || !b.open() {
		return false
	}
	sink := st.recording.sink
	f := sink.claimFile(st.recording.incarnation)
	if f == nil {
		b.reads = 0
		return false
	}
	b.fill(st.fd)
	taken, much, writer := b.n > 0, b.n >= 2*heldBack, true
	if p := (passage{st: st, file: f, conduit: &b.conduit}); much && p.open() {
		writer = p.move()
		p.close()
	} else if taken {
		st.consume(b.drain())
	}
	if !much {
		b.reads = 0
	}
	if writer {
		sink.release()
	}
	return taken
}

// A passage is one pass. The file belongs to who makes it.
type passage struct {
	st *stream
	*file
	*conduit
	appended *os.File // what the file had open when the pass began
	direct   *os.File // the same once more: splice takes none that is appended to
}

// open makes ready, and reports whether there is room for a pass, after the line
// that has begun.
func (p *passage) open() bool {
	if p.file.open() != nil || p.room() < int64(len(p.st.split.rest))+heldBack {
		return false
	}
	direct, err := os.OpenFile(p.log, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	if info, err := direct.Stat(); err != nil || !os.SameFile(info, p.id) {
		_ = direct.Close()
		return false
	}
	p.appended, p.direct = p.f, direct
	return true
}

func (p *passage) close() { _ = p.direct.Close() }

// current reports whether the file is still the one of this pass.
func (p *passage) current() bool { return p.f != nil && p.f == p.appended }

// room is how much may be moved into the file: what is held back has to go in, too.
func (p *passage) room() int64 { return p.settings.MaxSize - p.size - heldBack }

// move is the pass. It reports whether the caller still is the writer.
func (p *passage) move() bool {
	st, r := p.st, p.st.recording
	if len(st.split.rest) > 0 { // the beginning of the line that goes on in the conduit
		writer := r.sink.ahead(p.file, st.split.rest)
		st.split.empty()
		if !writer {
			st.consume(p.drain())
			return false
		}
	}
	lost := p.pour()
	data := p.drain()
	r.mu.Lock()
	r.lastLines().addRaw(data) // it is all of the tail: what was moved is missing before it
	r.mu.Unlock()
	whole := lastLine(data)
	if whole == 0 {
		whole = len(data)
	}
	lines := data[:whole]
	if lost == nil {
		var n int
		if n, lost = p.complete(lines); lost == nil {
			r.sink.moved(n)
		}
		lines = lines[n:]
	}
	if lost != nil {
		lines = append(lost, lines...)
	}
	st.keep(data[whole:])
	return len(lines) == 0 || r.sink.ahead(p.file, lines)
}

// pour moves what comes into the file, until little comes. It returns what has to
// be written again.
func (p *passage) pour() (lost []byte) {
	until := time.Now().Add(longestPass)
	for more := p.current(); more && p.n >= 2*heldBack; {
		var n int
		n, lost, more = p.take(p.n - heldBack)
		p.st.recording.sink.moved(n)
		turn := time.Now().After(until)
		for more && !turn && (p.fill(p.st.fd) || p.n < 2*heldBack && p.wait(p.st.fd) && p.fill(p.st.fd)) {
			turn = time.Now().After(until)
		}
		more = more && !turn
	}
	return lost
}

// take moves up to n bytes out of the conduit into the file, and reports how many
// of them are in it for good. Lost is what somebody has deleted together with the
// file, from the beginning of a line on: it is to be written again. More says that
// take may be called again; else it goes on in the ordinary way, which sees for
// itself what is wrong.
func (p *passage) take(n int) (taken int, lost []byte, more bool) {
	info, err := p.direct.Stat()
	if err != nil {
		return 0, nil, false
	}
	// splice does not append. Who empties the file in the middle of a pass finds in
	// it the end of a line, or, in the very moment, a hole at its beginning.
	p.size = info.Size()
	more = true
	if room := p.room(); int64(n) > room {
		n, more = int(room), false
	}
	if n <= 0 {
		return 0, nil, false
	}
	offset := p.size
	w, err := unix.Splice(p.r, nil, int(p.direct.Fd()), &offset, n, 0)
	if errors.Is(err, unix.EINTR) {
		return 0, nil, more
	}
	if w <= 0 {
		p.st.noPass = p.st.noPass || errors.Is(err, unix.EINVAL) // the file system cannot
		return 0, nil, false
	}
	p.n -= int(w)
	lost, named := p.look(int(w))
	if lost != nil {
		return 0, lost, false
	}
	return int(w), nil, more && named
}

// complete writes the end of the line that begins at the end of the file. It
// returns how many bytes of the piece that was. Lost is as take says, with them.
func (p *passage) complete(piece []byte) (n int, lost []byte) {
	end := bytes.IndexByte(piece, '\n') + 1
	if end == 0 {
		end = len(piece)
	}
	if !p.current() || p.size+int64(end) > p.settings.MaxSize {
		return 0, nil
	}
	n, err := p.f.Write(piece[:end]) // an error comes again
	if n > 0 {
		var named bool
		if lost, named = p.look(n); lost == nil && !named && err == nil {
			p.movedAway()
		}
	}
	return n, lost
}

// look sees what has become of the file that n bytes were just added to: whether
// it is still the one that has the name, or what has to be written again.
func (p *passage) look(n int) (lost []byte, named bool) {
	switch {
	case p.named():
		return nil, true
	case unlinked(p.f):
		lost = p.lost(p.size, n)
		p.file.close()
		return lost, false
	}
	// It was moved away: the line that has begun ends there.
	p.size += int64(n)
	return nil, false
}

// lost reads n bytes at an offset, and what is before them of their first line.
func (p *passage) lost(offset int64, n int) []byte {
	before := min(offset, heldBack)
	data := make([]byte, int(before)+n)
	got, _ := p.direct.ReadAt(data, offset-before)
	data = data[:got]
	if got < int(before) {
		return data // somebody has emptied it as well
	}
	return data[lastLine(data[:before]):]
}

// A conduit is the pipe between a FIFO and a file. What is zero is not open.
type conduit struct {
	r, w int
	n    int // bytes in it
	data []byte
}

func (c *conduit) open() bool {
	if c.w > 0 {
		return true
	}
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return false
	}
	c.r, c.w = ends[0], ends[1]
	_, _ = unix.FcntlInt(uintptr(c.r), unix.F_SETPIPE_SZ, wideBuffer)
	return true
}

func (c *conduit) close() {
	if c.w > 0 {
		_ = unix.Close(c.r)
		_ = unix.Close(c.w)
	}
}

// fill takes in what is in the FIFO, as far as there is room, and reports whether
// that was anything.
func (c *conduit) fill(fifo int32) bool {
	for {
		n, err := unix.Splice(int(fifo), nil, c.w, nil, wideBuffer, unix.SPLICE_F_NONBLOCK)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		c.n += max(int(n), 0)
		return n > 0
	}
}

// wait waits a moment for something in the FIFO.
func (c *conduit) wait(fifo int32) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: fifo, Events: unix.POLLIN}}, patience)
	return n > 0 && err == nil
}

// drain reads all that is in it. The caller must not keep it.
func (c *conduit) drain() []byte {
	if len(c.data) < c.n {
		c.data = make([]byte, max(c.n, wideBuffer))
	}
	got := 0
	for got < c.n {
		n, err := unix.Read(c.r, c.data[got:c.n])
		if n <= 0 && !errors.Is(err, unix.EINTR) {
			break // never: it is our own
		}
		got += max(n, 0)
	}
	c.n = 0
	return c.data[:got]
}

// claimFile makes the caller the writer of a file, as soon as whoever writes is
// done with what he has in hand, and what was put in before is written. It returns
// nil where there is no file, something is wrong with it, or somebody else has
// claimed it. It blocks as long as the disk does.
func (s *sink) claimFile(incarnation uint64) *file {
	s.mu.Lock()
	switch {
	case s.retry != nil || s.claim != nil:
		s.mu.Unlock()
		return nil
	case s.running:
		turn := make(chan bool, 1)
		s.claim = turn
		s.mu.Unlock()
		if !<-turn {
			return nil
		}
		s.mu.Lock()
	}
	s.running = true
	s.incarnation = incarnation
	f, _ := s.to.(*file)
	ok := f != nil && s.settings.Lossless && s.err == nil && !s.closed && !s.unmarked()
	waiting := len(s.buffer) > 0
	s.mu.Unlock()
	if !ok {
		s.release()
		return nil
	}
	s.store.opened(s)
	if waiting && !s.writeSome() {
		return nil
	}
	return f
}

// release is the end of a claim. What others have put in meanwhile is written.
func (s *sink) release() {
	for range 3 {
		if !s.writeSome() {
			return
		}
	}
	s.store.workers.Add(1) // the caller is one, too
	go s.write()
}

// ahead has the writer write something that comes before what is in the buffer,
// and reports whether he still is the writer.
func (s *sink) ahead(f *file, batch []byte) bool {
	s.mu.Lock()
	s.writing = len(batch)
	s.inserted(len(batch))
	s.mu.Unlock()
	n, rotated, err := f.write(batch)
	if err != nil {
		batch = bytes.Clone(batch) // it is kept
	}
	return s.wrote(batch, n, rotated, err)
}

// moved is told of what the writer has stored without us.
func (s *sink) moved(n int) {
	s.mu.Lock()
	s.inserted(n)
	s.stored += uint64(n)
	s.mu.Unlock()
	s.store.passed.Add(uint64(n))
	s.store.changed()
}

// inserted counts what comes before the buffer. Whoever waits for something in
// the buffer has to wait for that, too. The lock is held.
func (s *sink) inserted(n int) {
	s.accepted += uint64(n)
	for i := range s.waiting {
		s.waiting[i].until += uint64(n)
	}
}
