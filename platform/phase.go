//go:build linux || darwin || freebsd || windows

package platform

import (
	"os"
	"time"
)

// What the hosts of all systems agree on.

// closeWithin is how long Close waits for what it has killed.
const closeWithin = 5 * time.Second

// phase is how far a process has come.
type phase uint8

const (
	waiting phase = iota // there is no process yet
	running              // there is, and its end has not been taken in
	exited               // its end has; something that it started may be left
	over                 // nothing is left, or nothing came of it, or it was given up
)

func closedError(spec *Spec) *SpawnError {
	return &SpawnError{Path: spec.Path, Why: "not started any more: the supervisor is closing down", Err: os.ErrClosed}
}
