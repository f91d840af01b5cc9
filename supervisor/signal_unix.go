//go:build unix

package supervisor

import "golang.org/x/sys/unix"

// signalNumber is the number of a signal: a shell says 128 and that of a program
// that a signal has ended.
func signalNumber(name string) int { return int(unix.SignalNum(name)) }
