//go:build !unix

package cmd

import (
	"os"
	"syscall"
)

// watched are the signals that run obeys: Ctrl-C and Ctrl-Break, the end of the
// session.
var watched = []os.Signal{os.Interrupt, syscall.SIGTERM}

func isHangup(os.Signal) bool { return false }

func isDump(os.Signal) bool { return false }

func survivePipes() {}
