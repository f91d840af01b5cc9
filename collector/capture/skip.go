package capture

import "bytes"

// A skipper passes over lines that cannot be wanted, without looking at each: it
// is what makes a search in a large log fast.
type skipper struct {
	sampled bool
	rare    int  // where in the literal its rarest byte is
	key     int  // where in a line its text began the last time
	plain   bool // lines are what was written, and not JSON
}

// sample is how much is looked at in order to know which bytes are rare.
const sample = 4 << 10

// skip is how many bytes of whole lines at the beginning of data do not have
// literal in them, nor text in base 64, in which it could not be seen.
func (s *skipper) skip(data, literal []byte) int {
	end := bytes.LastIndexByte(data, '\n') + 1
	found := end
	if i := s.index(data[:end], literal); i >= 0 {
		found = bytes.LastIndexByte(data[:i], '\n') + 1
	}
	if s.plain {
		return found
	}
	return s.encoded(data[:found])
}

// index is where literal begins, or -1. It looks for the byte of it that is the
// rarest in what came first: the usual search looks for the first byte, which in
// text is a frequent one.
func (s *skipper) index(data, literal []byte) int {
	if !s.sampled && len(data) > 0 {
		s.sampled = true
		var count [256]int
		for _, b := range data[:min(len(data), sample)] {
			count[b]++
		}
		for i, b := range literal {
			if count[b] < count[literal[s.rare]] {
				s.rare = i
			}
		}
	}
	b := literal[s.rare]
	for at, misses := s.rare, 0; at < len(data); misses++ {
		if misses > 16+at/16 { // it is not rare here
			from := at - s.rare
			if i := bytes.Index(data[from:], literal); i >= 0 {
				return from + i
			}
			return -1
		}
		i := bytes.IndexByte(data[at:], b)
		if i < 0 {
			return -1
		}
		if begin := at + i - s.rare; bytes.HasPrefix(data[begin:], literal) {
			return begin
		}
		at += i + 1
	}
	return -1
}

var (
	textKey   = []byte(`,"text":"`)
	base64Key = []byte(`,"base64":"`)
)

// encoded is where the first line begins that has its text in base 64, or the
// length of data, which is whole lines. Text mostly begins where that of the line
// before did.
func (s *skipper) encoded(data []byte) int {
	for at := 0; at < len(data); {
		line := data[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		if s.key >= len(line) || !bytes.HasPrefix(line[s.key:], textKey) {
			if i := bytes.Index(line, textKey); i >= 0 {
				s.key = i
			} else if bytes.Contains(line, base64Key) {
				return at
			}
		}
		at += len(line)
	}
	return len(data)
}
