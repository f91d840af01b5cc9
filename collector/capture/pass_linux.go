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
	bulkReads   = 4                     // so many times in a row
	heldBack    = 32 << 10              // bytes that a pass leaves to be read. Where no line ends in them, the line may be cut
	leastFile   = 1 << 20               // bytes of a file for which a pass is worth while
	patience    = 1                     // ms that a pass waits for more
	longestPass = 10 * time.Millisecond // then it is the turn of others
)

// A bulk is what a goroutine that reads knows of a process that writes in bulk.
type bulk struct {
	reads int // that found much, in a row
	conduit
}

// saw is told of each read.
func (b *bulk) saw(st *stream, n int) {
	if n < bulkRead {
		b.reads = 0
		return
	}
	if b.reads++; b.reads == bulkReads {
		st.widen()
	}
}

// pass moves what is in the FIFO into the file, if much is to be expected there,
// and reports whether anything was taken out of the FIFO.
func (b *bulk) pass(st *stream) bool {
	set := st.recording.settings
	if b.reads < bulkReads || !st.raw() || !set.Lossless || set.MaxSize < leastFile || set.TailLines*maxTailLine > heldBack || !b.open() {
		return false
	}
	sink := st.recording.sink
	f := sink.claim(st.recording.incarnation)
	if f == nil {
		b.reads = 0
		return false
	}
	b.fill(st.fd)
	taken, writer := b.n > 0, true
	if b.n < 2*heldBack {
		b.reads = 0
	}
	switch {
	case b.n >= 2*heldBack && f.ready(len(st.split.rest)):
		writer = st.move(f, &b.conduit)
	case taken:
		st.consume(b.drain())
	}
	if writer {
		sink.release()
	}
	return taken
}

// move is a pass. It reports whether the caller still is the writer.
func (st *stream) move(f *file, c *conduit) bool {
	r := st.recording
	sink := r.sink
	if len(st.split.rest) > 0 { // the beginning of the line that goes on in the conduit
		writer := sink.ahead(f, st.split.rest)
		st.split.empty()
		if !writer {
			st.consume(c.drain())
			return false
		}
	}
	lost := st.pour(f, c)
	data := c.drain()
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
		if n, lost = f.complete(lines); lost == nil {
			sink.moved(n)
		}
		lines = lines[n:]
	}
	if lost != nil {
		lines = append(lost, lines...)
	}
	writer := sink.ahead(f, lines)
	st.keep(data[whole:])
	return writer
}

// pour moves what comes into the file, until little comes. It returns what has to
// be written again.
func (st *stream) pour(f *file, c *conduit) (lost []byte) {
	sink := st.recording.sink
	until := time.Now().Add(longestPass)
	for more := true; more && c.n >= 2*heldBack; {
		var n int
		n, lost, more = f.take(c, c.n-heldBack)
		sink.moved(n)
		turn := time.Now().After(until)
		for more && !turn && (c.fill(st.fd) || c.n < 2*heldBack && c.wait(st.fd) && c.fill(st.fd)) {
			turn = time.Now().After(until)
		}
		more = more && !turn
	}
	return lost
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

// ready reports whether there is room for a pass, after so many bytes of a line
// that has begun.
func (l *file) ready(begun int) bool {
	return l.open() == nil && l.openDirect() && l.room() >= int64(begun)+heldBack
}

// room is how much may be moved into the file: what is held back has to go in, too.
func (l *file) room() int64 { return l.settings.MaxSize - l.size - heldBack }

// take moves up to n bytes out of a conduit into the file, and reports how many of
// them are in it for good. Lost is what somebody has deleted together with the
// file, from the beginning of a line on: it is to be written again. More says that
// take may be called again; else it goes on in the ordinary way, which sees for
// itself what is wrong.
func (l *file) take(c *conduit, n int) (taken int, lost []byte, more bool) {
	if l.open() != nil || !l.openDirect() {
		return 0, nil, false
	}
	info, err := l.direct.Stat()
	if err != nil {
		return 0, nil, false
	}
	// splice does not append. Who empties the file in the middle of a pass finds in
	// it the end of a line, or, in the very moment, a hole at its beginning.
	l.size = info.Size()
	more = true
	if room := l.room(); int64(n) > room {
		n, more = int(room), false
	}
	if n <= 0 {
		return 0, nil, false
	}
	offset := l.size
	w, err := unix.Splice(c.r, nil, int(l.direct.Fd()), &offset, n, 0)
	if errors.Is(err, unix.EINTR) {
		return 0, nil, more
	}
	if w <= 0 {
		l.indirect = l.indirect || errors.Is(err, unix.EINVAL)
		return 0, nil, false
	}
	c.n -= int(w)
	taken, lost, named := l.named(int(w))
	return taken, lost, more && named
}

// complete writes the end of the line that begins at the end of the file. It
// returns how many bytes of the piece that was. Lost is as take says, with them.
func (l *file) complete(piece []byte) (n int, lost []byte) {
	if l.f == nil || l.direct == nil {
		return 0, nil
	}
	end := bytes.IndexByte(piece, '\n') + 1
	if end == 0 {
		end = len(piece)
	}
	if l.size+int64(end) > l.settings.MaxSize {
		return 0, nil
	}
	n, err := l.f.Write(piece[:end])
	if n > 0 {
		var named bool
		if _, lost, named = l.named(n); lost == nil && !named && err == nil {
			l.movedAway()
		}
	}
	return n, lost // an error comes again
}

// named looks what has become of n bytes at the end of the file: whether it is
// still the one that has the name.
func (l *file) named(n int) (kept int, lost []byte, named bool) {
	now, err := os.Stat(l.log)
	switch {
	case err == nil && os.SameFile(now, l.id):
		l.size = now.Size()
		return n, nil, true
	case unlinked(l.f):
		lost = l.lost(l.size, n)
		l.close()
		return 0, lost, false
	}
	// It was moved away: the line that has begun ends there.
	l.size += int64(n)
	return n, nil, false
}

// openDirect opens the file once more, as splice takes none that is appended to.
func (l *file) openDirect() bool {
	if l.direct != nil || l.indirect {
		return !l.indirect
	}
	f, err := os.OpenFile(l.log, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(info, l.id) {
		_ = f.Close()
		return false
	}
	l.direct = f
	return true
}

// lost reads n bytes at an offset, and what is before them of their first line.
func (l *file) lost(offset int64, n int) []byte {
	before := min(offset, heldBack)
	data := make([]byte, int(before)+n)
	got, _ := l.direct.ReadAt(data, offset-before)
	data = data[:got]
	if got < int(before) {
		return data // somebody has emptied it as well
	}
	return data[lastLine(data[:before]):]
}

// claim makes the caller the writer of a file, as soon as whoever writes is done
// with what he has in hand, and what was put in before is written. It returns nil
// where there is no file, or something is wrong with it. It blocks as long as the
// disk does.
func (s *sink) claim(incarnation uint64) *file {
	s.mu.Lock()
	if s.running {
		turn := make(chan bool, 1)
		s.claims = append(s.claims, turn)
		s.mu.Unlock()
		if !<-turn {
			return nil
		}
		s.mu.Lock()
	} else if s.retry != nil {
		s.mu.Unlock()
		return nil
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
