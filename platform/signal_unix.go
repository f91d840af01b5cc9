//go:build unix

package platform

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSignal is more than any signal number that a unix system has (FreeBSD: 128).
const maxSignal = 128

func signalName(s Signal) string {
	if name := unix.SignalName(syscall.Signal(s)); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(s))
}

func parseSignal(name string) (Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > maxSignal {
			return 0, fmt.Errorf("signal %d: numbers go from 1 to %d", n, maxSignal)
		}
		return Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if n := unix.SignalNum(upper); n != 0 {
		return Signal(n), nil
	}
	return 0, fmt.Errorf("%q is not the name of a signal here: give one like SIGTERM, TERM or 15", name)
}
