package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Log says where the output of a collector is.
type Log struct {
	ID     string
	Path   string
	Format Format

	memory *memory
}

// suffixes are what a file that has been rotated away may end in.
var suffixes = []string{"", ".gz", ".zst"}

// A source reads the log of one collector, from file to file. It may be read
// while it is written, rotated, compressed and pruned.
type source struct {
	log      Log
	position Position

	f       *os.File
	release func()
	lines   lineReader
	current bool // f is, or was when it was opened, the file that is written
	final   bool // f is not written any more
	waits   bool // for more: what has no line feed yet may still get one
	scratch []byte

	head     Record // the next one, if there is one
	has      bool
	after    time.Time // the time of the last one
	finished bool      // nothing that is wanted can come any more
}

// errNothing says that there is nothing more to be read, for now.
var errNothing = errors.New("nothing more, for now")

// errPause says that much has been looked at and nothing found: whoever reads can
// see whether anybody still waits for it.
var errPause = errors.New("nothing yet")

// errMissed says that files were removed before they were read.
var errMissed = errors.New("they were removed before they were read")

// pauseAfter is how much is looked at, in bytes.
const pauseAfter = 1 << 20

// Find is the logs in a directory of logs that have the name they get by default,
// <id>.log, ordered by id.
func Find(dir string) ([]Log, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	logs := make([]Log, 0, len(paths))
	for _, path := range paths {
		logs = append(logs, Log{ID: strings.TrimSuffix(filepath.Base(path), ".log"), Path: path, Format: JSON})
	}
	return logs, nil
}

// open opens the file that position names, or, if that is not there any more, goes
// to the first after it and says errMissed. It returns errNothing if nothing has
// been written yet.
func (s *source) open() error {
	for {
		for _, suffix := range suffixes {
			f, err := openRead(numbered(s.log.Path, s.position.File) + suffix)
			if err == nil {
				return s.begin(f, suffix, false)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		all, err := segments(s.log.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return errNothing
		} else if err != nil {
			return err
		}
		last := lastNumber(all)
		if s.position.File > last+1 && exists(s.log.Path, s.position.File-1) {
			continue // the list was old when it was complete
		}
		if s.position.File <= last || s.position.File > last+1 {
			// It was pruned; or the numbers began anew, as everything was removed.
			next := last + 1
			for i := len(all) - 1; i >= 0 && (all[i].number >= s.position.File || s.position.File > last+1); i-- {
				next = all[i].number
			}
			if missed := s.position.File > 0 && s.position.File <= last; next != s.position.File {
				s.position = Position{File: next}
				if missed {
					return errMissed
				}
			}
			continue
		}
		f, err := openRead(s.log.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return errNothing
		} else if err != nil {
			return err
		}
		if s.numbered() { // it may have been rotated before it was opened
			_ = f.Close()
			continue
		}
		return s.begin(f, "", true)
	}
}

// numbered reports whether the file that position names has been rotated away.
func (s *source) numbered() bool { return exists(s.log.Path, s.position.File) }

func (s *source) begin(f *os.File, suffix string, current bool) error {
	r, release, err := decompress(f, suffix)
	if err != nil {
		_ = f.Close()
		if errors.Is(err, io.EOF) { // nothing is in it
			s.position = Position{File: s.position.File + 1}
			return s.open()
		}
		return err
	}
	if s.position.Offset > 0 {
		if suffix == "" {
			if info, statErr := f.Stat(); statErr == nil && info.Size() < s.position.Offset {
				s.position.Offset = 0 // somebody has emptied it
			}
			_, err = f.Seek(s.position.Offset, io.SeekStart)
		} else {
			_, err = io.CopyN(io.Discard, r, s.position.Offset)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			release()
			_ = f.Close()
			return err
		}
	}
	s.f, s.release, s.current, s.final = f, release, current, !current
	s.lines.reset(r)
	s.lines.plain = s.log.Format == Raw
	return nil
}

func (s *source) close() {
	if s.f != nil {
		s.release()
		_ = s.f.Close()
		s.f = nil
	}
}

// next reads the next record that is wanted into head. It returns errNothing at
// the end of what there is.
func (s *source) next(w *wanted) error {
	s.has = false
	for looked := 0; !s.finished; {
		line, partial, err := s.line(w.literal)
		if errors.Is(err, errMissed) {
			r := Record{Time: s.after, ID: s.log.ID, Position: s.position, Gap: &Gap{Reason: err.Error()}}
			if w.match(&r) {
				s.head, s.has = r, true
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		var r Record
		r, s.scratch = parseRecord(line, s.log.Format, s.scratch)
		r.ID, r.Position, r.Partial = s.log.ID, s.position, r.Partial || partial
		if !r.Time.IsZero() {
			s.after = r.Time
		}
		if !w.until.IsZero() && r.Time.After(w.until) {
			s.finished = true
			break
		}
		if w.match(&r) {
			s.head, s.has = r, true
			return nil
		}
		if looked += len(line); looked > pauseAfter {
			return errPause
		}
	}
	return errNothing
}

// line reads the next line. Partial: it is the last of a raw file, without a line feed.
func (s *source) line(literal []byte) (line []byte, partial bool, err error) {
	if s.log.memory != nil {
		return s.remembered(literal)
	}
	for {
		if s.f == nil {
			if err := s.open(); err != nil {
				return nil, false, err
			}
		}
		skipped, line, err := s.lines.next(literal)
		s.position.Offset += skipped
		if err == nil {
			s.position.Offset += int64(len(line)) + 1
			return line, false, nil
		}
		if !errors.Is(err, io.EOF) { // errPause among them
			return nil, false, err
		}
		if !s.final {
			again, err := s.look()
			if err != nil {
				return nil, false, err
			}
			if again {
				continue
			}
			if rest := s.lines.rest(); s.waits || len(rest) == 0 || s.log.Format != Raw {
				return nil, false, errNothing
			}
		}
		rest := s.lines.rest()
		s.position.Offset += int64(len(rest))
		s.lines.drop()
		if len(rest) > 0 && s.log.Format == Raw && (literal == nil || bytes.Contains(rest, literal)) {
			return rest, true, nil
		}
		if !s.final {
			return nil, false, errNothing
		}
		s.close()
		s.position = Position{File: s.position.File + 1}
	}
}

// look sees, at the end of the file that is written, whether it still is. Again
// says that there may be more to be read.
func (s *source) look() (again bool, err error) {
	now, err := os.Stat(s.log.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	mine, mineErr := s.f.Stat()
	if mineErr != nil {
		return false, mineErr
	}
	if err == nil && os.SameFile(now, mine) {
		if now.Size() < s.position.Offset { // somebody has emptied it
			s.close()
			s.position.Offset = 0
			return true, nil
		}
		return false, nil
	}
	if s.numbered() {
		s.final = true // what came between the last look and the rotation is read now
		return true, nil
	}
	if err == nil { // it was deleted, and another is in its place
		s.close()
		s.position.Offset = 0
		return true, nil
	}
	return false, nil
}

// remembered reads a line of what is kept in memory.
func (s *source) remembered(literal []byte) ([]byte, bool, error) {
	for {
		skipped, line, err := s.lines.next(literal)
		s.position.Offset += skipped
		if err == nil {
			s.position.Offset += int64(len(line)) + 1
			return line, false, nil
		}
		if errors.Is(err, errPause) {
			return nil, false, err
		}
		data, at := s.log.memory.from(uint64(s.position.Offset))
		s.position = Position{File: 1, Offset: int64(at)}
		if len(data) == 0 {
			return nil, false, errNothing
		}
		s.lines.reset(bytes.NewReader(data))
	}
}

// back goes through the records before the end, the last one first, until visit
// returns false or ctx is done. It leaves the source at the beginning of the last one that was visited.
func (s *source) back(ctx context.Context, visitor func(r *Record) bool) error {
	n := 0
	visit := func(r *Record) bool {
		n++
		return (n%256 > 0 || ctx.Err() == nil) && visitor(r)
	}
	if s.log.memory != nil {
		data, at := s.log.memory.from(0)
		s.position = Position{File: 1}
		_, err := s.backThrough(bytes.NewReader(data), int64(len(data)), int64(at), visit)
		return err
	}
	all, err := segments(s.log.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer s.close()
	for number, i := lastNumber(all)+1, len(all)-1; ; i-- {
		s.position = Position{File: number}
		switch err := s.open(); {
		case errors.Is(err, errNothing), errors.Is(err, errMissed):
		case err != nil:
			return err
		case s.position.File == number: // else it was pruned meanwhile
			var content io.ReaderAt = s.f
			var size int64
			if s.lines.r == io.Reader(s.f) {
				info, err := s.f.Stat()
				if err != nil {
					return err
				}
				size = info.Size()
			} else {
				data, err := io.ReadAll(s.lines.r)
				if err != nil {
					return err
				}
				content, size = bytes.NewReader(data), int64(len(data))
			}
			more, err := s.backThrough(content, size, 0, visit)
			if err != nil || !more {
				return err
			}
		}
		s.close()
		for i >= 0 && all[i].number >= number {
			i--
		}
		if i < 0 {
			s.position = Position{}
			if len(all) > 0 {
				s.position.File = all[0].number
			}
			return nil
		}
		number = all[i].number
		i++
	}
}

// backThrough is back within one file, whose first byte has offset base.
func (s *source) backThrough(content io.ReaderAt, size, base int64, visit func(r *Record) bool) (more bool, err error) {
	block := int64(64 << 10)
	var buf []byte // what has been read and not been visited yet: it begins at pos
	pos := size
	first := true
	for {
		// A line is whole when the line feed before it has been seen.
		for {
			end := len(buf)
			if end == 0 {
				break
			}
			line := buf
			if buf[end-1] == '\n' {
				line = buf[:end-1]
			} else if first && s.log.Format == JSON {
				line = nil // it is just being written
			}
			start := bytes.LastIndexByte(buf[:max(end-1, 0)], '\n') + 1
			if start == 0 && pos > 0 {
				break
			}
			unfinished := line == nil
			if !unfinished {
				line = line[start:]
			}
			first = false
			buf = buf[:start]
			s.position.Offset = base + pos + int64(start)
			if unfinished {
				continue
			}
			var r Record
			r, s.scratch = parseRecord(line, s.log.Format, s.scratch)
			r.ID, r.Position = s.log.ID, Position{s.position.File, s.position.Offset + int64(len(line)) + 1}
			if !visit(&r) {
				return false, nil
			}
		}
		if pos == 0 {
			s.position.Offset = base
			return true, nil
		}
		n := min(block, pos)
		if len(buf) > 0 {
			block = min(2*block, 16<<20) // a long line
		}
		grown := make([]byte, n+int64(len(buf)))
		copy(grown[n:], buf)
		if _, err := content.ReadAt(grown[:n], pos-n); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		buf, pos = grown, pos-n
	}
}

// seek goes to the first record that is not before a time, or somewhat before that.
func (s *source) seek(since time.Time) error {
	all, err := segments(s.log.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	s.position = Position{File: lastNumber(all) + 1}
	for i := len(all) - 1; i >= 0 && !all[i].mtime.Before(since); i-- {
		s.position = Position{File: all[i].number}
	}
	number := s.position.File
	if err := s.open(); errors.Is(err, errNothing) || errors.Is(err, errMissed) {
		return nil
	} else if err != nil {
		return err
	}
	defer s.close()
	info, err := s.f.Stat()
	if err != nil || s.position.File != number || s.lines.r != io.Reader(s.f) {
		return err // compressed: it has to be read from the beginning
	}
	low, high := int64(0), info.Size() // what is before low is too early
	buf := make([]byte, 64<<10)
	for high-low > int64(len(buf)) {
		middle := (low + high) / 2
		n, err := s.f.ReadAt(buf, middle)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		start := bytes.IndexByte(buf[:n], '\n') + 1
		stop := start + max(bytes.IndexByte(buf[start:n], '\n'), 0)
		var r Record
		if r, s.scratch = parseRecord(buf[start:stop], s.log.Format, s.scratch); start == 0 || r.Time.IsZero() {
			break // very long lines, or none that say when
		}
		if r.Time.Before(since) {
			low = middle + int64(start)
		} else {
			high = middle
		}
	}
	s.position.Offset = low
	return nil
}

// A lineReader reads lines, however long they are.
type lineReader struct {
	r          io.Reader
	buf        []byte
	start, end int // of what has been read and not been taken

	skipper
}

func (l *lineReader) reset(r io.Reader) { l.r, l.start, l.end = r, 0, 0 }

// next returns the next line that has literal in it, without its line feed, and
// how many bytes of lines were skipped before it. It returns io.EOF where no
// line feed has come yet, and errPause where very much was skipped; it may be
// called again.
func (l *lineReader) next(literal []byte) (skipped int64, line []byte, err error) {
	for {
		data := l.buf[l.start:l.end]
		if literal != nil {
			n := l.skip(data, literal)
			skipped += int64(n)
			l.start += n
			data = data[n:]
			if skipped > pauseAfter {
				return skipped, nil, errPause
			}
		}
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			l.start += i + 1
			return skipped, data[:i], nil
		}
		if l.start > 0 {
			copy(l.buf, data)
			l.start, l.end = 0, len(data)
		}
		if l.end == len(l.buf) {
			l.buf = append(l.buf, make([]byte, max(len(l.buf), 256<<10))...)
		}
		if l.r == nil {
			return skipped, nil, io.EOF
		}
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		if n == 0 && err != nil {
			return skipped, nil, err
		}
	}
}

// rest is what comes after the last line feed.
func (l *lineReader) rest() []byte { return l.buf[l.start:l.end] }

func (l *lineReader) drop() { l.start = l.end }
