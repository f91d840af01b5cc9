package config

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// maxExitCode is the largest exit code that a process can have: Windows has 32 bits.
const maxExitCode = 1<<32 - 1

// ListsExit reports whether list, of exit codes and signals as in
// SuccessExitCodes, has the end of a process: its code, or, if it is not empty,
// the signal that ended it.
func ListsExit(list []string, code int, signal string) bool {
	want := strconv.Itoa(code)
	if signal != "" {
		want, _ = signalName(signal, runtime.GOOS)
	}
	return slices.ContainsFunc(list, func(word string) bool {
		if signal == "" {
			return word == want
		}
		name, ok := signalName(word, runtime.GOOS)
		return ok && !digits(word) && name == want
	})
}

func digits(word string) bool {
	return word != "" && strings.Trim(word, "0123456789") == ""
}

// exitCodes checks a list of exit codes and signals.
func (f *findings) exitCodes(key string, list []string) {
	for i, word := range list {
		at := Element(key, i)
		if digits(word) {
			if n, err := strconv.ParseUint(word, 10, 64); err != nil || n > maxExitCode {
				f.add(at, word, word+" is no exit code", fmt.Sprintf("use a number from 0 to %d", uint64(maxExitCode)))
			}
			continue
		}
		if _, ok := signalName(word, runtime.GOOS); !ok {
			f.add(at, word, quote(word)+" is neither an exit code nor a signal", `use a number like 3, or a name like "SIGTERM"`)
		}
	}
}
