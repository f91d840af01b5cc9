//go:build unix

package cmd

import (
	"os"
	"os/signal"
	"syscall"
)

// watched are the signals that run obeys.
var watched = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// isHangup is whether a signal asks a daemon to read its configuration again.
func isHangup(s os.Signal) bool { return s == syscall.SIGHUP }

func isDump(s os.Signal) bool { return s == syscall.SIGQUIT }

// survivePipes keeps a reader of our output, or of the log, who goes away from
// taking everything with him. Notify, not Ignore: what is ignored is so in the
// collectors too.
func survivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
