package cmd

import (
	"os"
	"testing"

	"golang.org/x/sys/windows/svc"
)

func TestTheServiceManagerIsToldOfTheRunAndOfTheEndThatItWants(t *testing.T) {
	signals := make(chan os.Signal, 1)
	s := &service{signals: signals, done: make(chan struct{})}
	requests, status := make(chan svc.ChangeRequest), make(chan svc.Status)
	ended := make(chan uint32, 1)
	go func() {
		_, code := s.Execute(nil, requests, status)
		ended <- code
	}()
	if now := <-status; now.State != svc.Running || now.Accepts&svc.AcceptStop == 0 || now.Accepts&svc.AcceptShutdown == 0 {
		t.Errorf("%+v", now)
	}
	requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running}}
	if now := <-status; now.State != svc.Running {
		t.Errorf("%+v", now)
	}
	for range 3 { // none is lost that matters, and none blocks
		requests <- svc.ChangeRequest{Cmd: svc.Stop}
		if now := <-status; now.State != svc.StopPending || now.WaitHint == 0 {
			t.Errorf("%+v", now)
		}
	}
	if got := <-signals; got != os.Interrupt {
		t.Errorf("got %v", got)
	}
	if now := <-status; now.State != svc.StopPending || now.CheckPoint != 1 {
		t.Errorf("while it goes on: %+v", now)
	}
	close(s.done)
	if code := <-ended; code != 0 {
		t.Errorf("code %d", code)
	}
}
