package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// An Output is what becomes of what a collector writes ([output] for all,
// [collectors.<id>.output] for one). What is zero, or nil, is as for all, and
// there it is the default.
type Output struct {
	// Target is where it is kept. Empty: OutputFile.
	Target OutputTarget

	// Path is the file. Empty: logs/<id>.log in the state directory. It is a
	// collector's own: two cannot have the same.
	Path string

	MaxSizeMB  int // of a file, in MiB; of OutputMemory, of all. Zero: 50; of OutputMemory: 1
	MaxFiles   int // files in all. Zero: 5
	MaxAgeDays int // how old a file may get. Zero and None: as old as it likes

	Compress   Compression // Empty: CompressGzip
	Format     OutputFormat
	Streams    OutputStreams
	Timestamps Switch // OutputRaw: each line begins with its time. Default: Off
	Lossless   Switch // the collector waits rather than that anything is dropped. Default: Off

	MaxLineKB int // longer lines are cut, in KiB. Zero: 256
	RateLimit int // lines a second; more are dropped. Zero and None: no limit
	TailLines int // last lines that are kept for its exit. Zero: 20

	Mask           []string // expressions whose matches are replaced before anything is stored
	MultilineStart string   // an expression: a line that it does not match belongs to the record before it

	// Also is who is given a copy: AlsoForms has the forms. Nil: "inherit" where
	// it is kept in a file or in memory. Empty: nobody.
	Also []string
}

// An OutputTarget is where output is kept.
type OutputTarget string

// The targets.
const (
	OutputFile    OutputTarget = "file"
	OutputInherit OutputTarget = "inherit" // nowhere: the collector has Proctor's own output
	OutputDiscard OutputTarget = "discard"
	OutputMemory  OutputTarget = "memory"
)

// A Compression is what becomes of a file that is full.
type Compression string

// The compressions.
const (
	CompressNone Compression = "none"
	CompressGzip Compression = "gzip"
	CompressZstd Compression = "zstd"
)

// An OutputFormat is how lines are written into a file.
type OutputFormat string

// The formats.
const (
	OutputJSON OutputFormat = "json" // time, stream, id, incarnation, text
	OutputRaw  OutputFormat = "raw"  // the line itself
)

// OutputStreams says whether standard output and errors are told apart.
type OutputStreams string

// The ways to have two streams.
const (
	StreamsApart    OutputStreams = "apart"    // each line says which; the order between the two is that in which they are read
	StreamsTogether OutputStreams = "together" // one stream, in the order in which it was written
)

// A Switch is on or off, or not said.
type Switch int8

// What a switch can be.
const (
	Unsaid Switch = iota
	On
	Off
)

// The defaults of an Output.
const (
	DefaultMaxSizeMB    = 50
	DefaultMaxMemoryMB  = 1
	DefaultMaxFiles     = 5
	DefaultMaxLineKB    = 256
	DefaultTailLines    = 20
	DefaultOutputFormat = OutputJSON
)

// AlsoInherit has what a collector writes shown on Proctor's own output, too.
const AlsoInherit = "inherit"

// AlsoForms says what Output.Also can be.
const AlsoForms = `"inherit", "journald", "syslog", "syslog+udp://HOST:PORT", "syslog+tcp://HOST:PORT", "otlp", "otlp+http://HOST:PORT", "otlp+https://HOST:PORT", "otlp+grpc://HOST:PORT", "command:/PATH ARGUMENT…"`

// under fills in what is zero from the settings for all.
func (o Output) under(all Output) Output {
	fill(&o.Target, all.Target)
	fill(&o.MaxSizeMB, all.MaxSizeMB)
	fill(&o.MaxFiles, all.MaxFiles)
	fill(&o.MaxAgeDays, all.MaxAgeDays)
	fill(&o.Compress, all.Compress)
	fill(&o.Format, all.Format)
	fill(&o.Streams, all.Streams)
	fill(&o.Timestamps, all.Timestamps)
	fill(&o.Lossless, all.Lossless)
	fill(&o.MaxLineKB, all.MaxLineKB)
	fill(&o.RateLimit, all.RateLimit)
	fill(&o.TailLines, all.TailLines)
	fill(&o.MultilineStart, all.MultilineStart)
	if o.Mask == nil {
		o.Mask = all.Mask
	}
	if o.Also == nil {
		o.Also = all.Also
	}
	return o
}

// WithDefaults fills in what is zero. Path stays as it is: see PathOf.
func (o Output) WithDefaults() Output {
	fill(&o.Target, OutputFile)
	if o.Target == OutputMemory {
		fill(&o.MaxSizeMB, DefaultMaxMemoryMB)
	}
	o = o.under(Output{
		MaxSizeMB: DefaultMaxSizeMB, MaxFiles: DefaultMaxFiles, MaxAgeDays: None,
		Compress: CompressGzip, Format: DefaultOutputFormat, Streams: StreamsApart, Timestamps: Off, Lossless: Off,
		MaxLineKB: DefaultMaxLineKB, RateLimit: None, TailLines: DefaultTailLines,
	})
	if o.Also == nil && (o.Target == OutputFile || o.Target == OutputMemory) {
		o.Also = []string{AlsoInherit}
	}
	return o
}

// PathOf is the file in which the output of the collector with this id is kept.
func (o Output) PathOf(id, stateDir string) string {
	if o.Path != "" {
		return o.Path
	}
	return filepath.Join(stateDir, "logs", id+".log")
}

// StateDirVariable is the environment variable that names another default.
const StateDirVariable = "PROCTOR_STATE_DIR"

// DefaultStateDir is where Proctor keeps what has to outlive it, unless it is
// told otherwise: the place that the system has for that. Empty: it has none for
// this user.
func DefaultStateDir() string {
	if dir := os.Getenv(StateDirVariable); dir != "" {
		return dir
	}
	switch runtime.GOOS {
	case "windows":
		if dir := os.Getenv("ProgramData"); dir != "" {
			return filepath.Join(dir, "proctor")
		}
	case "darwin":
		if os.Geteuid() == 0 {
			return "/Library/Application Support/proctor"
		}
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, "Library", "Application Support", "proctor")
		}
	default:
		if os.Geteuid() == 0 {
			return "/var/lib/proctor"
		}
		if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "proctor")
		}
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, ".local", "state", "proctor")
		}
	}
	return ""
}

// output checks the settings of an output, whose table is at the key.
func (f *findings) output(key func(...string) string, o Output) {
	word := func(name, what, value string, known ...string) {
		if value != "" && !slices.Contains(known, value) {
			f.add(key(name), value, quote(value)+" is no "+what, didYouMean(value, known))
		}
	}
	word("target", "place to keep output", string(o.Target), string(OutputFile), string(OutputInherit), string(OutputDiscard), string(OutputMemory))
	word("compress", "compression", string(o.Compress), string(CompressNone), string(CompressGzip), string(CompressZstd))
	word("format", "format of output", string(o.Format), string(OutputJSON), string(OutputRaw))
	word("streams", "way to have two streams", string(o.Streams), string(StreamsApart), string(StreamsTogether))

	number := func(name string, n, least, most int, except int) {
		if n != 0 && n != except && (n < least || n > most) {
			f.add(key(name), strconv.Itoa(n), fmt.Sprintf("%d cannot work", n), fmt.Sprintf("use a number from %d to %d", least, most))
		}
	}
	number("max_size_mb", o.MaxSizeMB, 1, 1<<20, 0)
	number("max_files", o.MaxFiles, 2, 100_000, 0)
	number("max_age_days", o.MaxAgeDays, 1, 36_500, None)
	number("max_line_kb", o.MaxLineKB, 1, 16<<10, 0)
	number("rate_limit_lines_per_second", o.RateLimit, 1, 1_000_000_000, None)
	number("tail_lines", o.TailLines, 1, 1000, 0)

	for i, expression := range o.Mask {
		f.expression(Element(key("mask"), i), expression)
	}
	if o.MultilineStart != "" {
		f.expression(key("multiline_start"), o.MultilineStart)
	}
	for i, also := range o.Also {
		if fault := alsoFault(also); fault != "" {
			f.add(Element(key("also"), i), also, fault, "it is one of "+AlsoForms)
		}
	}
	f.noNUL(key("path"), o.Path)
	if o.Path != "" && (o.Target == OutputInherit || o.Target == OutputDiscard || o.Target == OutputMemory) {
		f.add(key("path"), o.Path, "contradicts target = "+quote(string(o.Target)), "remove one of them", key("target"))
	}
}

func (f *findings) expression(key, expression string) {
	if expression == "" {
		f.add(key, "", "an empty expression matches everywhere", "remove it")
	} else if _, err := regexp.Compile(expression); err != nil {
		f.add(key, expression, strings.TrimPrefix(err.Error(), "error parsing regexp: "), "the syntax is that of https://golang.org/s/re2syntax; quote it with ' in TOML")
	}
}

// alsoFault says what is wrong with a form of Output.Also.
func alsoFault(also string) string {
	kind, rest, _ := strings.Cut(also, ":")
	switch kind {
	case AlsoInherit, "journald", "syslog", "otlp":
		if kind == also {
			return ""
		}
	case "syslog+udp", "syslog+tcp", "otlp+http", "otlp+https", "otlp+grpc":
		address, ok := strings.CutPrefix(rest, "//")
		if strings.HasPrefix(kind, "otlp+http") {
			address, _, _ = strings.Cut(address, "/")
		}
		if host, port, err := net.SplitHostPort(address); ok && err == nil && host != "" && port != "" {
			return ""
		}
		return quote(also) + " names no host and port"
	case "command":
		words := strings.Fields(rest)
		if len(words) > 0 && filepath.IsAbs(words[0]) {
			return ""
		}
		return quote(also) + " does not begin with the whole path of a program"
	}
	return quote(also) + " is nobody who could be given output"
}

// paths finds collectors that would write into the same file.
func (f *findings) paths(c Config) {
	owner := map[string]string{}
	for _, id := range sorted(c.Collectors) {
		o := c.Collectors[id].Output
		if o.Path == "" {
			continue
		}
		path := filepath.Clean(o.Path)
		if first, taken := owner[path]; taken {
			f.add(Key("collectors", id, "output", "path"), o.Path, "is the file of "+first+" already", "give each its own", Key("collectors", first, "output", "path"))
			continue
		}
		owner[path] = id
	}
}
