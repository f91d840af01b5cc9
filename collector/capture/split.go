package capture

import "bytes"

// A splitter makes lines of what is read in pieces. A line longer than limit is cut.
type splitter struct {
	limit int
	rest  []byte // of a line that is not complete
}

// feed gives each line in chunk to emit, without its line feed. Partial says that
// there was none. The text is valid only during the call.
func (s *splitter) feed(chunk []byte, emit func(text []byte, partial bool)) {
	for len(chunk) > 0 {
		end := bytes.IndexByte(chunk, '\n')
		line := chunk
		if end >= 0 {
			line = chunk[:end]
		}
		if room := s.limit - len(s.rest); len(line) > room {
			if len(s.rest) == 0 {
				emit(line[:room], true)
			} else {
				s.rest = append(s.rest, line[:room]...)
				s.flush(emit)
			}
			chunk = chunk[room:]
			continue
		}
		switch {
		case end < 0:
			s.rest = append(s.rest, line...)
			return
		case len(s.rest) == 0:
			emit(line, false)
		default:
			s.rest = append(s.rest, line...)
			emit(s.rest, false)
			s.empty()
		}
		chunk = chunk[end+1:]
	}
}

// flush emits the line that is not complete, if there is one.
func (s *splitter) flush(emit func(text []byte, partial bool)) {
	if len(s.rest) > 0 {
		emit(s.rest, true)
		s.empty()
	}
}

// empty lets go of a large buffer: most lines are short.
func (s *splitter) empty() {
	if cap(s.rest) > 4<<10 {
		s.rest = nil
	}
	s.rest = s.rest[:0]
}

// A tail is the last lines that were written.
type tail struct {
	lines [][]byte
	next  int
	limit int
	raw   []byte // instead of lines, where output is not split
}

func (t *tail) add(line []byte) {
	line = line[:min(len(line), maxTailLine)]
	if len(t.lines) < t.limit {
		t.lines = append(t.lines, append([]byte(nil), line...))
		return
	}
	t.lines[t.next] = append(t.lines[t.next][:0], line...)
	t.next = (t.next + 1) % t.limit
}

// addRaw adds a piece of output that is not split.
func (t *tail) addRaw(chunk []byte) {
	room := t.limit * maxTailLine
	if len(chunk) >= room {
		t.raw = append(t.raw[:0], chunk[len(chunk)-room:]...)
		return
	}
	if over := len(t.raw) + len(chunk) - room; over > 0 {
		t.raw = append(t.raw[:0], t.raw[over:]...)
	}
	t.raw = append(t.raw, chunk...)
}

// strings are the lines, the oldest first.
func (t *tail) strings() []string {
	lines := make([][]byte, 0, t.limit)
	for i := range t.lines {
		lines = append(lines, t.lines[(t.next+i)%len(t.lines)])
	}
	if len(t.raw) > 0 {
		lines = bytes.Split(bytes.TrimSuffix(t.raw, []byte("\n")), []byte("\n"))
		lines = lines[max(0, len(lines)-t.limit):]
	}
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		out = append(out, string(bytes.ToValidUTF8(bytes.TrimSuffix(line[:min(len(line), maxTailLine)], []byte("\r")), []byte("\ufffd"))))
	}
	return out
}
