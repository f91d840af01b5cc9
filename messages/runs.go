package messages

import (
	"fmt"
	"time"
)

// End is the class of how a run came to its end.
type End uint8

// The classes of ends.
const (
	EndNone       End = iota // it goes on
	EndExit                  // it exited by itself
	EndSignal                // a signal ended it that Proctor has not sent
	EndOOM                   // it was killed for lack of memory
	EndLimit                 // it was killed at a limit of processor time or of a file's size, or ended at one of memory
	EndUnhealthy             // it was ended because it was not ready in time, or did not work otherwise
	EndSpawn                 // there never was a process
	EndFault                 // Proctor itself had a fault
	EndOperator              // it was asked to end: by a command, a reload, or the program that Proctor is part of
	EndSupervisor            // it was asked to end since the supervisor did, or ended with it
	EndUnknown               // it is over, and how is not known
	EndProbe                 // it was ended because a probe failed
	EndHang                  // it was ended because it gave no sign of life
	EndSilence               // it was ended because it yielded nothing
	EndDependency            // it was ended with what it requires, or with its group

	NumEnds = iota
)

var endNames = [NumEnds]string{"running", "exit", "signal", "oom", "limit", "unhealthy", "spawn", "fault", "operator", "supervisor", "unknown", "probe", "hang", "silence", "dependency"}

// String is the class's word in outputs and protocols.
func (e End) String() string {
	if int(e) < len(endNames) {
		return endNames[e]
	}
	return fmt.Sprintf("end(%d)", uint8(e))
}

// MarshalText and UnmarshalText use the same words.
func (e End) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (e *End) UnmarshalText(text []byte) error {
	return unmarshalWord(e, endNames[:], string(text), "class of ends")
}

// An Illness is what a process was ended for that did not work.
type Illness uint8

// The illnesses.
const (
	IllOtherwise Illness = iota // or it is not ill at all
	IllStart                    // it was not ready in time
	IllProbe                    // a probe failed
	IllHang                     // it gave no sign of life
	IllSilence                  // it yielded nothing
	IllMemory                   // it used more memory than it may for so long

	NumIllnesses = iota
)

var illnessNames = [NumIllnesses]string{"", "start", "probe", "hang", "silence", "memory"}

// String is the illness's word in outputs and protocols; empty: there is none
// that has a name.
func (i Illness) String() string {
	if int(i) < len(illnessNames) {
		return illnessNames[i]
	}
	return fmt.Sprintf("illness(%d)", uint8(i))
}

// MarshalText and UnmarshalText use the same words.
func (i Illness) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (i *Illness) UnmarshalText(text []byte) error {
	return unmarshalWord(i, illnessNames[:], string(text), "kind of illness")
}

// EndOf is the class of an exit. Expected is whether the process was asked to
// end, because is why where nobody has asked for it, closing whether the
// supervisor is ending itself.
func EndOf(e Exit, expected bool, because string, closing bool) End {
	switch {
	case e.SpawnError != "":
		return EndSpawn
	case expected && closing:
		return EndSupervisor
	case expected && because != "":
		return EndDependency
	case expected:
		return EndOperator
	case e.Fault != "":
		return EndFault
	case e.Unhealthy != "":
		return [NumIllnesses]End{EndUnhealthy, EndUnhealthy, EndProbe, EndHang, EndSilence, EndLimit}[min(e.Illness, NumIllnesses-1)]
	case e.OutOfMemory():
		return EndOOM
	case e.Signal == "SIGXCPU", e.Signal == "SIGXFSZ":
		return EndLimit
	case e.Signal != "":
		return EndSignal
	}
	return EndExit
}

// OutOfMemory reports whether the process itself was killed for lack of memory.
func (e Exit) OutOfMemory() bool { return e.Signal == "SIGKILL" && e.OOMKills > 0 && !e.Forced }

// Trigger is what has led to a run.
type Trigger uint8

// The triggers.
const (
	TriggerStart   Trigger = iota // it started with the supervisor, or the program that Proctor is part of asked for it
	TriggerCommand                // somebody asked for it, Run.StartedBy
	TriggerRestart                // the run before it had ended, and the restart policy asked for another

	NumTriggers = iota
)

var triggerNames = [NumTriggers]string{"start", "command", "restart"}

// String is the trigger's word in outputs and protocols.
func (t Trigger) String() string {
	if int(t) < len(triggerNames) {
		return triggerNames[t]
	}
	return fmt.Sprintf("trigger(%d)", uint8(t))
}

// MarshalText and UnmarshalText use the same words.
func (t Trigger) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (t *Trigger) UnmarshalText(text []byte) error {
	return unmarshalWord(t, triggerNames[:], string(text), "trigger")
}

// A Run is the record of one process of a collector, from its start to its end,
// or of the attempt to start one. It outlives the supervisor.
type Run struct {
	ID          string
	Instance    string // the life of the supervisor that it was part of
	Incarnation uint64 // its number within that
	PID         int    // 0: there was no process

	StartedAt time.Time
	Trigger   Trigger
	StartedBy string // of TriggerCommand: who asked

	Binary       string // the path that was executed; empty where that is not known
	BinarySHA256 string // of that file at the start, in hex; empty where it could not be read
	ConfigSHA256 string // of the collector's settings in force, in hex

	End     End
	EndedBy string // who asked for it, where somebody outside did
	Because string // of EndDependency: what came to what it belongs to
	Exit    *Exit  // how the process ended; nil while it runs, and where nobody saw it

	// SignalledBy is who had a signal sent to it through Proctor shortly before it
	// ended, Exit.Signal or another one.
	SignalledBy string

	// Decision is what followed, with the rule that led to it; NextAt when that is
	// due, if it is another start.
	Decision string
	NextAt   time.Time

	// Crash is the number of the crash report; 0: there is none.
	Crash uint64

	// Unreadable says why the record cannot be read. Nothing else is known then but
	// ID and, perhaps, StartedAt.
	Unreadable string
}

// A Crash is what is known about an unexpected end that has come once or more
// often: ends with the same Fingerprint are counted, not repeated.
type Crash struct {
	Number      uint64
	Fingerprint string   // of the program, how it ended, and the top of its trace
	ID          string   // the collector, at the last time
	Program     string   // the name of its binary
	What        string   // "signal SIGSEGV", "exit code 2"
	Language    string   // of the trace in its output: "go", "python", "java", "rust"; empty: there is none
	Reason      string   // the line that says what went wrong
	Trace       []string // the functions that it was in, the innermost first

	Count       uint64
	First, Last time.Time
	Recent      []CrashedRun // the last ones, the newest first

	// Of the last time.
	Exit   Exit
	Core   CoreDump
	Output []string       // its last lines, of both streams
	Usage  []Usage        // what it used in its last minute, the oldest first, if that was looked at
	Others []OtherFailure // what else failed within a minute of it
}

// A CrashedRun is one run that ended in a crash.
type CrashedRun struct {
	ID          string
	Instance    string
	Incarnation uint64
	PID         int
	At          time.Time
}

// A CoreDump is where the memory of a process that crashed was written to.
type CoreDump struct {
	Path string // empty: no file was found
	Size int64  // bytes
	Note string // who takes care of dumps here, or why there is none
}

// An OtherFailure is the unexpected end of another collector.
type OtherFailure struct {
	ID   string
	At   time.Time
	What string
}

// The questions about what has been. They are answered by the façade: reading
// files is not an actor's to do. A supervisor that keeps no records answers
// InvalidState.
type (
	// GetRuns asks for the last runs of a collector, the newest first. Last is how
	// many; 0: all that there are.
	GetRuns struct {
		ID   string
		Last int
	}

	// ListCrashes asks for the crash reports, the last crash first: those of one
	// collector, or with an empty ID all.
	ListCrashes struct{ ID string }

	// GetCrash asks for one crash report.
	GetCrash struct{ Number uint64 }
)

// RunsReply is the last runs of a collector, the newest first.
type RunsReply struct {
	ID   string
	Runs []Run
}

// CrashesReply is the crash reports, the last crash first.
type CrashesReply struct{ Crashes []Crash }

func (GetRuns) answeredBy(RunsReply)        {}
func (ListCrashes) answeredBy(CrashesReply) {}
func (GetCrash) answeredBy(Crash)           {}
