package messages

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"testing"
)

// The table of the specification: kinds travel between programs, so their
// numbers, codes and categories stay what they are.
func TestKindsHaveTheirNumbersCodesAndCategories(t *testing.T) {
	want := []struct {
		kind           Kind
		code, category string
	}{
		{Internal, "INTERNAL", "internal"},
		{ProcessNotFound, "PROCESS_NOT_FOUND", "resource"},
		{AlreadyRunning, "ALREADY_RUNNING", "resource"},
		{SpawnFailed, "SPAWN_FAILED", "internal"},
		{TerminateFailed, "TERMINATE_FAILED", "internal"},
		{InvalidState, "INVALID_STATE", "configuration"},
		{InvalidConfig, "INVALID_CONFIG", "configuration"},
		{PlatformNotSupported, "PLATFORM_NOT_SUPPORTED", "configuration"},
		{Timeout, "TIMEOUT", "timeout"},
		{PermissionDenied, "PERMISSION_DENIED", "security"},
		{IO, "IO_ERROR", "internal"},
	}
	if len(want) != NumKinds {
		t.Errorf("%d kinds, %d here", NumKinds, len(want))
	}
	for i, w := range want {
		if int(w.kind) != i || w.kind.Code() != w.code || w.kind.Category() != w.category {
			t.Errorf("kind %d is %s (%s), want %s (%s)", w.kind, w.kind.Code(), w.kind.Category(), w.code, w.category)
		}
	}
	if unknown := Kind(200); unknown.Code() != "INTERNAL" {
		t.Errorf("a kind of a later version is %s", unknown.Code())
	}
}

func TestAnErrorKeepsItsKindAndItsCauseReachable(t *testing.T) {
	err := fmt.Errorf("while updating: %w", &Error{Op: "start", ID: "web", Kind: SpawnFailed, Text: "no binary", Err: fs.ErrNotExist})
	var e *Error
	if !errors.Is(err, SpawnFailed) || errors.Is(err, Timeout) || !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	if want := "start web: could not be started: no binary: file does not exist"; e.Error() != want {
		t.Errorf("%q, want %q", e.Error(), want)
	}
	e = &Error{Op: "pause", ID: "web", Kind: InvalidState, State: Stopping}
	if want := "pause web: not possible while it is stopping"; e.Error() != want {
		t.Errorf("%q, want %q", e.Error(), want)
	}
}

func TestStatesAndHealthsAreTheirWords(t *testing.T) {
	for s := range State(NumStates) {
		text, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%v: %s, %v, %v", s, text, back, err)
		}
	}
	for h := HealthUnknown; h <= HealthUnhealthy; h++ {
		text, _ := h.MarshalText()
		var back Health
		if err := back.UnmarshalText(text); err != nil || back != h {
			t.Errorf("%v: %s, %v, %v", h, text, back, err)
		}
	}
	var s State
	if err := s.UnmarshalText([]byte("sleeping")); err == nil {
		t.Error("sleeping is a state")
	}
	if State(99).String() != "state(99)" || Health(99).String() != "health(99)" {
		t.Error("what a later version knows cannot be shown")
	}
}

func TestEveryCommandHasASubject(t *testing.T) {
	for _, command := range []any{
		StartCollector{}, StopCollector{}, RestartCollector{}, PauseCollector{}, ResumeCollector{}, SignalCollector{}, ReloadCollector{}, LimitCollector{}, SendHeartbeat{}, RemoveCollector{}, ResetCollector{},
		Shutdown{}, GetStatus{}, ListCollectors{}, CheckHealth{}, InspectCollector{}, GetSupervisor{}, DescribeActors{},
		ApplyConfig{}, ReloadConfig{}, RecordDenial{}, Subscribe{}, Unsubscribe{},
	} {
		v := reflect.New(reflect.TypeOf(command)).Elem()
		hasID := v.FieldByName("ID").IsValid()
		if hasID {
			v.FieldByName("ID").SetString("web")
		}
		op, id := Subject(v.Interface())
		if op == fmt.Sprintf("%T", command) || hasID != (id == "web") {
			t.Errorf("%T: %q, %q", command, op, id)
		}
	}
}

func TestAnExitSaysHowItWas(t *testing.T) {
	for want, e := range map[string]Exit{
		"exit code 3": {Code: 3},
		"out of memory: killed at its memory limit": {Code: -1, Signal: "SIGKILL", OOMKills: 1},
		"signal SIGKILL":                {Code: -1, Signal: "SIGKILL"},
		"signal SIGSEGV, core dumped":   {Code: -1, Signal: "SIGSEGV", CoreDumped: true},
		"could not be started: no file": {Code: -1, SpawnError: "no file"},
		"its liveness probe failed":     {Unhealthy: "its liveness probe failed"},
		"its actor had a fault":         {Code: -1, Fault: "its actor had a fault"},
	} {
		if e.String() != want || e.Success() {
			t.Errorf("%q, success %v, want %q", e.String(), e.Success(), want)
		}
	}
	if !(Exit{}).Success() {
		t.Error("code 0 is no success")
	}
}
