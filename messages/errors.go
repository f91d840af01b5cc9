package messages

import (
	"fmt"
	"strings"
)

// Kind is the class of an error: errors.Is(err, messages.ProcessNotFound) asks
// for it. Kinds travel between processes: add at the end, never reorder.
type Kind uint8

// The kinds of errors.
const (
	Internal             Kind = iota // something that should not happen; the text says what
	ProcessNotFound                  // the id is not known
	AlreadyRunning                   // start of what already runs
	SpawnFailed                      // the process could not be started
	TerminateFailed                  // it was still alive after the force timeout
	InvalidState                     // not valid in the state that the collector is in
	InvalidConfig                    // a setting that cannot work
	PlatformNotSupported             // the system cannot do it
	Timeout                          // not done in the caller's time
	PermissionDenied                 // the caller may not do it
	IO                               // an error of the system beneath

	NumKinds = iota
)

var kinds = [NumKinds]struct{ text, code, category string }{
	Internal:             {"internal error", "INTERNAL", "internal"},
	ProcessNotFound:      {"not known", "PROCESS_NOT_FOUND", "resource"},
	AlreadyRunning:       {"already running", "ALREADY_RUNNING", "resource"},
	SpawnFailed:          {"could not be started", "SPAWN_FAILED", "internal"},
	TerminateFailed:      {"could not be ended", "TERMINATE_FAILED", "internal"},
	InvalidState:         {"not possible", "INVALID_STATE", "configuration"},
	InvalidConfig:        {"the configuration cannot work", "INVALID_CONFIG", "configuration"},
	PlatformNotSupported: {"not supported on this system", "PLATFORM_NOT_SUPPORTED", "configuration"},
	Timeout:              {"not done in time", "TIMEOUT", "timeout"},
	PermissionDenied:     {"not permitted", "PERMISSION_DENIED", "security"},
	IO:                   {"system error", "IO_ERROR", "internal"},
}

func (k Kind) known() Kind {
	if int(k) >= len(kinds) {
		return Internal
	}
	return k
}

// Error makes a Kind a target for errors.Is.
func (k Kind) Error() string { return kinds[k.known()].text }

// Code is the kind's name in protocols and JSON: "PROCESS_NOT_FOUND".
func (k Kind) Code() string { return kinds[k.known()].code }

// Category is the group of errors that the kind belongs to: "resource",
// "configuration", "internal", "timeout" or "security".
func (k Kind) Category() string { return kinds[k.known()].category }

// An Error says what was tried on which collector, why it did not work, and
// what to do about it. Its cause stays reachable for errors.Is and errors.As.
type Error struct {
	Op    string // what was tried: "start", "stop", …
	ID    string // the collector; empty for what concerns no single one
	Kind  Kind
	State State  // the state that stood in the way, where Kind is InvalidState or AlreadyRunning
	Text  string // why, and what to do
	Err   error  // the cause, or nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.ID != "" {
		fmt.Fprintf(&b, " %s", e.ID)
	}
	fmt.Fprintf(&b, ": %s", e.Kind.Error())
	if e.Kind == InvalidState {
		fmt.Fprintf(&b, " while it is %s", e.State)
	}
	if e.Text != "" {
		fmt.Fprintf(&b, ": %s", e.Text)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Is makes the error match its Kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

func (e *Error) Unwrap() error { return e.Err }
