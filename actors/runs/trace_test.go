package runs

import (
	"slices"
	"strings"
	"testing"
)

// Each is what a real runtime wrote, with the addresses that it had that time.
var traces = []struct {
	name, text, language, reason string
	frames                       []string
}{
	{"go panic", `2026/01/02 starting
panic: runtime error: index out of range [5] with length 3 [recovered]

goroutine 7 [running]:
panic({0x47f1c0?, 0xc0000140f0?})
	/usr/local/go/src/runtime/panic.go:792 +0x132
main.(*reader).next(0xc000012345, {0x0, 0x1})
	/src/main.go:12 +0x1d
main.main()
	/src/main.go:6 +0x1a

goroutine 8 [chan receive]:
main.other()
	/src/main.go:99 +0x1a
exit status 2`, "go", "panic: runtime error: index out of range [5] with length 3 [recovered]", []string{"main.(*reader).next", "main.main"}},
	{"go fatal error", `fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive]:
main.main()
	/src/main.go:4 +0x1d`, "go", "fatal error: all goroutines are asleep - deadlock!", []string{"main.main"}},
	{"go signal", `SIGQUIT: quit
PC=0x46b4a1 m=0 sigcode=0

goroutine 0 gp=0x5 m=0 mp=0x5 [idle]:
runtime.futex(0x5, 0x80, 0x0, 0x0, 0x0, 0x0)
	/usr/local/go/src/runtime/sys_linux_amd64.s:557 +0x21`, "go", "SIGQUIT: quit", nil},
	{"python", `Traceback (most recent call last):
  File "/usr/lib/agent/main.py", line 10, in <module>
    main()
    ~~~~^^
  File "/usr/lib/agent/main.py", line 6, in main
    return load(None)
  File "/usr/lib/agent/load.py", line 3, in load
    raise ValueError("no such table: x")
ValueError: no such table: x`, "python", "ValueError: no such table: x", []string{"load (load.py)", "main (main.py)", "<module> (main.py)"}},
	{"python, the last of a chain", `Traceback (most recent call last):
  File "a.py", line 2, in f
    1/0
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 6, in <module>
    g()
  File "a.py", line 4, in g
    raise KeyError(1)
KeyError: 1`, "python", "KeyError: 1", []string{"g (a.py)", "<module> (a.py)"}},
	{"java with a cause", `Exception in thread "main" java.lang.IllegalStateException: cannot start
	at org.example.Main.start(Main.java:20)
	at org.example.Main.main(Main.java:8)
Caused by: java.io.FileNotFoundException: /etc/x (No such file)
	at java.base/java.io.FileInputStream.open0(Native Method)
	at org.example.Config.read(Config.java:33)
	... 1 more`, "java", "java.io.FileNotFoundException: /etc/x (No such file)", []string{"java.io.FileInputStream.open0", "org.example.Config.read"}},
	{"rust with a backtrace", `thread 'main' panicked at src/main.rs:4:5:
index out of bounds: the len is 3 but the index is 9
stack backtrace:
   0: rust_begin_unwind
             at /rustc/x/library/std/src/panicking.rs:645:5
   1: core::panicking::panic_fmt
             at /rustc/x/library/core/src/panicking.rs:72:14
   2: agent::parse::h0123456789abcdef
             at ./src/main.rs:4:5
   3: agent::main
             at ./src/main.rs:9:5
   4: core::ops::function::FnOnce::call_once
note: Some details are omitted`, "rust", "index out of bounds: the len is 3 but the index is 9", []string{"agent::parse", "agent::main"}},
	{"rust without", `thread 'worker-1' (4711) panicked at src/pool.rs:40:9:
called Option::unwrap() on a None value
note: run with RUST_BACKTRACE=1`, "rust", "called Option::unwrap() on a None value", []string{"src/pool.rs:40"}},
	{"rust of old", `thread 'main' panicked at 'boom', src/main.rs:2:5`, "rust", `thread 'main' panicked at 'boom', src/main.rs:2:5`, []string{"src/main.rs:2"}},
	{"no trace", "cannot open the database\nexiting\n", "", "", nil},
	{"half a traceback", "Traceback (most recent call last):\n  File \"a.py\", line 2, in f\n", "", "", nil},
}

func TestTracesOfFourLanguagesAreFound(t *testing.T) {
	for _, test := range traces {
		got := findTrace(strings.Split(test.text, "\n"))
		if got.language != test.language || got.reason != test.reason || !slices.Equal(got.frames, test.frames) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestTheSameCrashHasTheSameFingerprintWhateverItsNumbersAre(t *testing.T) {
	of := func(text string) string {
		return fingerprint("agent", "exit code 2", findTrace(strings.Split(text, "\n")))
	}
	first := traces[0].text
	again := strings.NewReplacer("[5] with length 3", "[77] with length 76", "0xc000012345", "0xc000099999", "main.go:12", "main.go:14", "goroutine 7", "goroutine 21").Replace(first)
	if of(first) != of(again) {
		t.Error("the same crash has two fingerprints")
	}
	if of(first) == of(strings.Replace(first, "(*reader).next", "(*writer).next", 1)) {
		t.Error("two crashes have the same fingerprint")
	}
	if of(traces[3].text) == of(strings.ReplaceAll(traces[3].text, "ValueError", "TypeError")) {
		t.Error("two errors of Python have the same fingerprint")
	}
}

func FuzzTracesAreFoundInAnything(f *testing.F) {
	for _, test := range traces {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := findTrace(strings.Split(text, "\n")); len(got.frames) > maxFrames || got.language == "" && got.reason != "" {
			t.Errorf("%+v", got)
		}
	})
}
