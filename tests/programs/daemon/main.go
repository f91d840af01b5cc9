// Daemon is a service as others write them, with the library of systemd for Go:
// it says when it is ready, keeps its watchdog content, and reloads on SIGHUP.
// Hung says whether it goes on doing so: SIGUSR1 makes it hang.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	say := func(state string) {
		if sent, err := daemon.SdNotify(false, state); err != nil || !sent {
			fmt.Fprintln(os.Stderr, "it cannot be said:", state, err)
			os.Exit(1)
		}
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		fmt.Fprintln(os.Stderr, "there is no watchdog:", err)
		os.Exit(1)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM)
	say(daemon.SdNotifyReady + "\nSTATUS=serving the first configuration")
	reloads := 0
	alive := time.NewTicker(interval / 3)
	for {
		select {
		case <-alive.C:
			say(daemon.SdNotifyWatchdog)
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				say(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
				time.Sleep(300 * time.Millisecond)
				reloads++
				say(daemon.SdNotifyReady + fmt.Sprintf("\nSTATUS=reloaded %d times", reloads))
			case syscall.SIGUSR1:
				alive.Stop()
			default:
				say(daemon.SdNotifyStopping)
				return
			}
		}
	}
}
