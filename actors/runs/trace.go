package runs

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// maxFrames is how many functions of a trace are kept, and topFrames how many of
// them tell one crash from another.
const (
	maxFrames = 16
	topFrames = 5
)

// A trace is what a program wrote about its own crash.
type trace struct {
	language string
	reason   string   // the line that says what went wrong
	frames   []string // functions, the innermost first
}

// findTrace looks for the last trace in what a program wrote.
func findTrace(lines []string) trace {
	for i := len(lines) - 1; i >= 0; i-- {
		for _, t := range tracers {
			if t.begins(lines[i]) {
				if found := t.read(lines[i:]); found.reason != "" {
					found.language = t.language
					found.frames = found.frames[:min(len(found.frames), maxFrames)]
					return found
				}
			}
		}
	}
	return trace{}
}

// tracers know how a language's runtime tells of a crash: the line that begins
// it, and what follows.
var tracers = []struct {
	language string
	begins   func(line string) bool
	read     func(lines []string) trace
}{
	{"go", func(l string) bool {
		return strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") || strings.HasPrefix(l, "SIG") && goSignal.MatchString(l)
	}, readGo},
	{"python", func(l string) bool { return l == "Traceback (most recent call last):" }, readPython},
	{"java", func(l string) bool { return strings.HasPrefix(l, `Exception in thread "`) }, readJava},
	{"rust", func(l string) bool { return rustPanic.MatchString(l) }, readRust},
}

var (
	goSignal   = regexp.MustCompile(`^SIG[A-Z]+: .`)
	goFunction = regexp.MustCompile(`^([^\s(]\S*)\((?:[^()]*|.*\{.*\}.*)\)$`)
	pythonLine = regexp.MustCompile(`^\s+File "([^"]*)", line \d+, in (.+)$`)
	javaFrame  = regexp.MustCompile(`^\s+at (?:[^/(\s]+/)*([^\s(]+)\(`)
	rustPanic  = regexp.MustCompile(`^thread '.*' (?:\(\d+\) )?panicked at `)
	rustPlace  = regexp.MustCompile(`panicked at (?:'.*', )?([^\s']+?):(\d+)(?::\d+)?:?$`)
	rustFrame  = regexp.MustCompile(`^\s+\d+: (?:0x[0-9a-f]+ - )?(\S.*)$`)
	rustHash   = regexp.MustCompile(`::h[0-9a-f]{16}$`)
)

// readGo reads the goroutine that has crashed, which comes first.
func readGo(lines []string) trace {
	t := trace{reason: lines[0]}
	goroutine := false
	for _, l := range lines[1:] {
		switch {
		case strings.HasPrefix(l, "goroutine "):
			if goroutine {
				return t
			}
			goroutine = true
		case goroutine && strings.TrimSpace(l) == "":
			if len(t.frames) > 0 {
				return t
			}
		case goroutine && strings.HasPrefix(l, "created by "):
			return t
		case goroutine:
			if m := goFunction.FindStringSubmatch(l); m != nil && m[1] != "panic" && !strings.HasPrefix(m[1], "runtime.") {
				t.frames = append(t.frames, m[1])
			}
		}
	}
	return t
}

// readPython reads a traceback, whose last line says what went wrong.
func readPython(lines []string) trace {
	var t trace
	for _, l := range lines[1:] {
		if m := pythonLine.FindStringSubmatch(l); m != nil {
			t.frames = append([]string{m[2] + " (" + m[1][strings.LastIndexAny(m[1], `/\`)+1:] + ")"}, t.frames...)
		} else if l != "" && l[0] != ' ' && l[0] != '\t' {
			t.reason = l
			return t
		}
	}
	return trace{}
}

// readJava reads an exception; the last cause is where it came from.
func readJava(lines []string) trace {
	_, reason, _ := strings.Cut(strings.TrimPrefix(lines[0], `Exception in thread "`), `" `)
	t := trace{reason: reason}
	for _, l := range lines[1:] {
		trimmed := strings.TrimSpace(l)
		if cause, ok := strings.CutPrefix(trimmed, "Caused by: "); ok {
			t = trace{reason: cause}
		} else if m := javaFrame.FindStringSubmatch(l); m != nil {
			t.frames = append(t.frames, m[1])
		} else if !strings.HasPrefix(trimmed, "... ") && !strings.HasPrefix(trimmed, "Suppressed: ") {
			break
		}
	}
	return t
}

// readRust reads a panic. Without a backtrace its place stands for the function.
func readRust(lines []string) trace {
	t := trace{reason: lines[0]}
	place := ""
	if m := rustPlace.FindStringSubmatch(lines[0]); m != nil {
		place = m[1] + ":" + m[2]
	}
	if strings.HasSuffix(lines[0], ":") && len(lines) > 1 { // the message stands on a line of its own
		t.reason = lines[1]
	}
	for _, l := range lines[1:] {
		m := rustFrame.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		name := rustHash.ReplaceAllString(m[1], "")
		internal := false
		for _, of := range []string{"std::", "core::", "<std::", "<core::", "alloc::", "rust_begin_unwind", "__rust", "_rust", "_start", "__libc", "main"} {
			internal = internal || name == of || strings.HasSuffix(of, "::") && strings.HasPrefix(name, of) || of == "__rust" && strings.HasPrefix(name, of)
		}
		if !internal {
			t.frames = append(t.frames, name)
		}
	}
	if len(t.frames) == 0 && place != "" {
		t.frames = []string{place}
	}
	return t
}

// kind is what a reason says without what differs from one time to the next: the
// name of the error.
func (t trace) kind() string {
	kind, _, _ := strings.Cut(t.reason, ":")
	if t.language == "go" && kind == "panic" { // the rest may have anything in it
		return kind
	}
	if t.language == "rust" {
		return "panic"
	}
	return kind
}

// fingerprint tells crashes apart: by the program, how it ended, and the top of
// its trace. Line numbers and addresses are left out.
func fingerprint(program, what string, t trace) string {
	h := sha256.New()
	for _, part := range append([]string{program, what, t.language, t.kind()}, t.frames[:min(len(t.frames), topFrames)]...) {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}
