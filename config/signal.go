package config

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// signals are the names that a stop_signal may have. They are known here too, so
// that a file can be checked before anything is started from it; what number
// each has is the platform's business. The first ones are what is meant most often.
var signals = []string{
	"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL", "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "ILL", "IO", "PIPE",
	"PROF", "SEGV", "STOP", "SYS", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "VTALRM", "WINCH", "XCPU", "XFSZ",
}

// systemSignals are those that only some systems have.
var systemSignals = map[string][]string{
	"linux":   {"PWR", "STKFLT"},
	"darwin":  {"EMT", "INFO"},
	"freebsd": {"EMT", "INFO"},
	"windows": {"BREAK"},
}

// stopNumber is the number of SIGSTOP, where it is not Linux's 19.
var stopNumber = map[string]int{"darwin": 17, "freebsd": 17}

const maxSignal = 64

// signalName finds the signal that word means: a name with or without SIG in any
// case, or a number. The name is without SIG; what has only a number keeps it.
func signalName(word, system string) (name string, ok bool) {
	if n, err := strconv.ParseUint(word, 10, 16); err == nil {
		stop := stopNumber[system]
		if stop == 0 {
			stop = 19
		}
		switch {
		case n == 9:
			return "KILL", true
		case int(n) == stop:
			return "STOP", true
		}
		return word, 1 <= n && n <= maxSignal
	}
	name = strings.TrimPrefix(strings.ToUpper(word), "SIG")
	return name, slices.Contains(signals, name) || slices.Contains(systemSignals[system], name)
}

// signalName checks the name of a signal, if there is one.
func (f *findings) signalName(key, word string) {
	if word != "" {
		if message, hint := signalProblem(word); message != "" {
			f.add(key, word, message, hint)
		}
	}
}

// stopSignalProblem says why a stop_signal cannot work, or nothing.
func stopSignalProblem(word string) (message, hint string) {
	if message, hint := signalProblem(word); message != "" {
		return message, hint
	}
	if name, _ := signalName(word, runtime.GOOS); name == "STOP" {
		return "SIGSTOP suspends a process and never ends it", `use "SIGTERM", or "SIGINT", "SIGQUIT", "SIGHUP"`
	}
	return "", ""
}

// signalProblem says why a word names no signal, or nothing.
func signalProblem(word string) (message, hint string) {
	if name, ok := signalName(word, runtime.GOOS); !ok {
		var names []string
		for _, name := range slices.Concat(signals, systemSignals[runtime.GOOS]) {
			names = append(names, "SIG"+name)
		}
		if near := Nearest("SIG"+name, names); near != "" {
			return "no signal has the name " + quote(word), `did you mean "` + near + `"?`
		}
		return "no signal has the name " + quote(word), `use a name like "SIGTERM", "SIGINT", "SIGQUIT" or "SIGHUP"`
	}
	return "", ""
}
