package cmd

import (
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/windows/svc"
)

// underServiceManager tells the service manager, if the program is a service, that it
// runs, and passes its wish for an end on as a signal. The function that it returns
// tells it that the end has come.
func underServiceManager(log zerolog.Logger, signals chan<- os.Signal) (ended func()) {
	if service, err := svc.IsWindowsService(); err != nil || !service {
		return func() {}
	}
	s := &service{signals: signals, done: make(chan struct{})}
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := svc.Run("", s); err != nil {
			log.Error().Err(err).Msg("the service manager is not reached")
		}
	}()
	return func() {
		close(s.done)
		<-over
	}
}

// A service is the program as the service manager sees it.
type service struct {
	signals chan<- os.Signal
	done    chan struct{}
}

// stillStopping is how often the service manager is told that an orderly end goes on.
const stillStopping = 2 * time.Second

// Execute implements svc.Handler.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	const accepts = svc.AcceptStop | svc.AcceptShutdown
	status <- svc.Status{State: svc.Running, Accepts: accepts}
	stopping := time.NewTicker(stillStopping)
	defer stopping.Stop()
	now := svc.Status{State: svc.StopPending, WaitHint: uint32(2 * stillStopping / time.Millisecond)}
	asked := false
	for {
		select {
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				asked = true
				status <- now
				select {
				case s.signals <- os.Interrupt:
				default: // it has been told often enough
				}
			}
		case <-stopping.C:
			if asked {
				now.CheckPoint++
				status <- now
			}
		case <-s.done:
			return false, 0
		}
	}
}
