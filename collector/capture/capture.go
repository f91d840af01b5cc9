// Package capture keeps what processes write, and passes it on, without ever
// blocking them. It knows nothing of collectors, actors or settings files.
//
// # The way of a line
//
// A process writes to a FIFO that it holds open for reading and writing itself:
// so it gets no SIGPIPE, and loses nothing, when the program that reads is
// replaced. One loop waits for all FIFOs at once (epoll, kqueue). One that has
// something to read gets a goroutine, which reads until there is no more, splits
// lines, and gives records to the sink of the collector; a sink that has
// something to write gets a goroutine too. Whoever is silent has neither, and
// costs a descriptor a stream. Raw output in bulk, with Settings.Lossless and on
// Linux, is moved from the FIFO to the file by the kernel. On Windows, named pipes take the place of FIFOs,
// and each has a goroutine that waits for the completion port.
//
// # Never in the way
//
// Between reader and sink there is a bounded buffer. When it is full, as the disk
// is slow or full, what comes then is dropped: counted, marked in the log at the
// very place, and told by a [Notice]. With Settings.Lossless the FIFO is left
// unread instead, so that the process waits. A sink whose write fails keeps what
// it could not write, and tries again.
//
// # Files
//
// The file that is written has the name it was given. When it is full it is
// renamed to <name>.<number>, in one step, and later compressed to <name>.<number>.gz
// or .zst. The number of a file never changes and is never used again, so that a
// reader who knows a number and an offset can always go on from there.
package capture

import (
	"fmt"
	"regexp"
	"time"
)

// A Stream is one of the two that a process writes to.
type Stream uint8

// The streams. A process whose streams are captured together writes to Stdout.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	}
	return ""
}

// A Record is one line that a process wrote, or a gap where lines are missing.
type Record struct {
	Time        time.Time // when it was read; zero where a raw file does not say
	ID          string    // who wrote it
	Stream      Stream    // 0 where a raw file does not say, and for a gap
	Incarnation uint64    // which process of it; 0 where a raw file does not say
	Text        []byte    // without the line feed; valid until the next record is asked for
	Partial     bool      // no line feed followed: the line was too long, or its writer's end came first
	Gap         *Gap      // set: lines are missing here, and there is no Text
	Position    Position  // where in the log it ends
}

// A Gap is what was not stored, and why.
type Gap struct {
	Lines  uint64 // 0: nobody knows how many
	Bytes  uint64 // of text, without line feeds
	Reason string
}

func (g Gap) String() string {
	lines := "lines are"
	switch g.Lines {
	case 0:
		return "lines are missing here: " + g.Reason
	case 1:
		lines = "line is"
	}
	return fmt.Sprintf("%d %s missing here (%d bytes): %s", g.Lines, lines, g.Bytes, g.Reason)
}

// A Target is where output is kept.
type Target string

// The targets.
const (
	File    Target = "file"
	Memory  Target = "memory"  // the newest, as long as this program lives
	Discard Target = "discard" // nowhere; it is still passed on
)

// A Format is how records are written into a file.
type Format string

// The formats.
const (
	JSON Format = "json" // an object a line: time, stream, id, incarnation, text
	Raw  Format = "raw"  // the line itself
)

// A Compression is what becomes of a file that is full.
type Compression string

// The compressions.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Settings say how the output of one collector is kept. What is zero has a
// default, but for MaxAge, RateLimit, Masks and Multiline, which are off.
type Settings struct {
	Target     Target // File
	Path       string // the file that is written; must be set for File
	MaxSize    int64  // bytes a file; of Memory: bytes in all. 50 MB; for Memory 1 MB
	MaxFiles   int    // files in all, at least 2. 5
	MaxAge     time.Duration
	Compress   Compression // Gzip
	Format     Format      // JSON
	Timestamps bool        // Raw: each line begins with its time
	Together   bool        // stdout and stderr are one stream
	Lossless   bool        // the process waits rather than that anything is dropped
	MaxLine    int         // bytes of a line; a longer one is cut into several records. 256 KiB
	RateLimit  int         // lines a second; more are dropped, even with Lossless
	Masks      []*regexp.Regexp
	Multiline  *regexp.Regexp // a line that it does not match belongs to the record before it
	TailLines  int            // lines that are kept for Tail. 20
	Notify     func(Notice)   // is told when records cannot be stored, and when they can again; it must not block
	Also       []Forwarder    // who is given every record, too
}

// The defaults.
const (
	DefaultMaxSize       = 50 << 20
	DefaultMaxMemory     = 1 << 20
	DefaultMaxFiles      = 5
	DefaultMaxLine       = 256 << 10
	DefaultTailLines     = 20
	maxTailLine          = 256     // bytes of a line of the tail
	bufferLimit          = 4 << 20 // bytes of records that wait for a disk
	retryAfter           = time.Second
	multilinePatience    = 500 * time.Millisecond // an open record is closed when nothing has come for so long
	storePatience        = 2 * time.Second        // the longest that a Finish waits for a disk that does not write
	mask                 = "***"
	maxOpenFiles         = 128
	ageCheck             = time.Hour
	maxMultiline         = 1 << 20
	followerCoalesces    = 50 * time.Millisecond
	readChunk            = 64 << 10
	maxPositionComponent = 1 << 62
)

func (s Settings) withDefaults() Settings {
	fill(&s.Target, File)
	if s.Target == Memory {
		fill(&s.MaxSize, DefaultMaxMemory)
		s.Format = JSON
	}
	fill(&s.MaxSize, DefaultMaxSize)
	fill(&s.MaxFiles, DefaultMaxFiles)
	s.MaxFiles = max(s.MaxFiles, 2)
	fill(&s.Compress, Gzip)
	fill(&s.Format, JSON)
	fill(&s.MaxLine, DefaultMaxLine)
	fill(&s.TailLines, DefaultTailLines)
	return s
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Forwarder is given every record that is captured, masked, in order, on the
// goroutine that reads: it must not block, and must copy what it keeps.
type Forwarder interface {
	Forward(r Record)
}

// A Notice is what a store tells of its own accord.
type Notice struct {
	ID  string
	Err error // why records cannot be stored; nil: they can again

	// Gap is what was dropped meanwhile, when they can again. Its Lines are 0
	// where nothing was.
	Gap Gap
}
