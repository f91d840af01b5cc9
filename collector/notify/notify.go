// Package notify hears what processes tell of themselves, in the protocol of
// systemd's sd_notify: datagrams of assignments, a line each, to the socket that
// NOTIFY_SOCKET names. It knows nothing of collectors and actors.
//
// Each process has a socket of its own, and only its tree is heard: the kernel
// says who has sent a datagram, and whoever made the socket whether that one is
// of the tree. One goroutine reads all sockets there are; without any there is
// none.
//
// # Never in the way
//
// A process that sends more than [Rate] datagrams a second waits in its own
// send, as its socket is left unread: nobody else is slowed down. What others
// send costs no more than to be thrown away. Files that are attached are closed
// at once, but for the one of a barrier, which is closed when all that was said
// before it has been taken in.
package notify

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// The environment variables of the protocol.
const (
	SocketVariable      = "NOTIFY_SOCKET"
	WatchdogVariable    = "WATCHDOG_USEC"
	WatchdogPIDVariable = "WATCHDOG_PID"
)

// Without is env without what the protocol says: it is for one process, and not
// for those that this one starts.
func Without(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == SocketVariable || name == WatchdogVariable || name == WatchdogPIDVariable
	})
}

// MaxSize is the size of the largest datagram that is heard, in bytes: as
// systemd has it.
const MaxSize = 4096

// Rate is how many datagrams of one process are heard in a second; it may send
// as many at once.
const Rate = 500

// strangerRate is how many datagrams of others are thrown away in a second
// before they have to wait, too.
const strangerRate = 10_000

// ErrNotSupported is what opening a socket fails with where the system does not
// say who has sent a datagram.
var ErrNotSupported = errors.New("sd_notify needs Linux: elsewhere it is not known who has sent a message")

// A Socket is where one process tells of itself. Its methods may be called from
// any goroutine; only Open may block.
type Socket interface {
	// Address is the value of NOTIFY_SOCKET. It is known before Open.
	Address() string

	// Open makes the socket: what is sent to it from then on is kept, as far as
	// there is room, until somebody attends to it.
	Open() error

	// Attend begins to hear. Holds says whether the process with that number is
	// one that may be heard.
	Attend(holds func(pid int) bool)

	// Close ends that. It may be called more than once, and before Open.
	Close()
}

// A Message is what one datagram says, or what is wrong with it.
type Message struct {
	Ready     bool
	Reloading bool
	Stopping  bool
	Monotonic time.Duration // when it says so, on the monotonic clock of the system; 0: it does not tell

	Status    string // if HasStatus
	HasStatus bool

	Errno      int    // what went wrong, as the system numbers it
	BusError   string // the same as a name of D-Bus or Varlink
	ExitStatus string

	MainPID int // which process the main one is; 0: it does not tell

	Watchdog    Watchdog
	WatchdogIn  time.Duration // from when on a reset has to come in this time; if WatchdogSet
	WatchdogSet bool
	Extend      time.Duration // it needs at least so much more time
	Heartbeat   bool          // HEARTBEAT=1, which is not systemd's

	// Barrier is called when all that was said before has been taken in; nil: it
	// is not asked for. It does not block.
	Barrier func()

	// Refused is what is not done, and why. Each kind of that is told once a socket.
	Refused string
}

// Watchdog is what a message says to a watchdog.
type Watchdog uint8

// What it can say.
const (
	WatchdogSilent  Watchdog = iota // nothing
	WatchdogReset                   // it is alive
	WatchdogTrigger                 // it has found out by itself that it does not work
)
