//go:build linux || darwin || freebsd

package platform

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func exitOf(ws unix.WaitStatus, use *unix.Rusage) Exit {
	e := Exit{
		Code:       -1,
		At:         time.Now(),
		UserTime:   time.Duration(use.Utime.Nano()),
		SystemTime: time.Duration(use.Stime.Nano()),
		MaxRSS:     int64(use.Maxrss),
	}
	if runtime.GOOS != "darwin" { // which counts in bytes, where the others count in KiB
		e.MaxRSS *= 1024
	}
	if ws.Signaled() {
		e.Signal = Signal(ws.Signal())
		e.Core = ws.CoreDump()
	} else {
		e.Code = ws.ExitStatus()
	}
	return e
}

// signalFault is what is said of a signal that could not be sent: nil if err is.
func signalFault(err error, sig Signal, group bool, label string, pid int) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ESRCH) {
		err = ErrNotRunning
	}
	whom := "process"
	if group {
		whom = "the process group of"
	}
	return fmt.Errorf("send %s to %s %s (pid %d): %w", sig.Name(), whom, label, pid, err)
}
