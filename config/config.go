// Package config is what can be asked of Proctor: settings as plain data, their
// defaults (WithDefaults) and their validity (Validate, Warnings). What they need
// from the host is looked up by Resolve and Missing. Package config/toml reads
// them from a file.
package config

import "time"

// Explicit zeroes. In a Config made by a program the zero value of a field
// means its default, so that only what differs has to be said; where a setting
// is really meant to be nothing, one of these says so.
const (
	// None is "none at all" for Collector.MaxRestarts, BackoffInitial and BackoffReset.
	None = -1
	// Forever is the Collector.RestartWindow in which every restart counts for ever.
	Forever time.Duration = -1
)

// A Config is everything a supervisor is started with.
type Config struct {
	ProcessManager ProcessManager

	// Collectors are those the supervisor knows from the beginning, by id.
	Collectors map[string]Collector

	// Groups are the supervisors within the supervision tree, by name.
	Groups map[string]Group

	// Order is the order of the children within their groups: ids of collectors,
	// and names of groups with GroupMark before them. A file's is that of its
	// tables. What it does not name comes last, by name.
	Order []string

	// Control is how the supervisor is commanded from outside. It is in force
	// from the program's start to its end.
	Control Control
}

// ProcessManager holds what applies to all collectors ([process_manager]).
type ProcessManager struct {
	// CollectorBinaries maps a collector type to the path of its binary.
	CollectorBinaries map[string]string

	// DefaultGracefulTimeout is the time a graceful stop has before it is forced. Zero: 30 s.
	DefaultGracefulTimeout time.Duration

	// DefaultForceTimeout is the time a forced kill has before it is reported as failed. Zero: 5 s.
	DefaultForceTimeout time.Duration

	// HealthCheckInterval is the interval of health checks, and of expected heartbeats. Zero: 60 s.
	HealthCheckInterval time.Duration

	// HeartbeatTimeoutMultiplier is how many heartbeats may be missed. Zero: 3.
	HeartbeatTimeoutMultiplier int

	// MaxSpawnsPerSecond is how many automatic restarts there may be in a second,
	// of all collectors together: more wait for their turn. Zero: any number.
	MaxSpawnsPerSecond int

	// StartConcurrency is how many collectors may be on their way up at once: more
	// wait for their turn. Zero: any number.
	StartConcurrency int

	// ExitWith is the id of the collector whose end is the supervisor's: when it
	// has ended and is not started again, the supervisor shuts down, and the
	// program exits with its code. Empty: none.
	ExitWith string

	// EnableAutoRestart is the master switch of automatic restarts.
	EnableAutoRestart bool

	// StateDir is where Proctor keeps what has to outlive it (state_dir, at the
	// top of a file). Empty: DefaultStateDir.
	StateDir string

	// CgroupParent is the directory of a cgroup v2 hierarchy in which Proctor makes
	// the groups of its collectors, on Linux. Empty: the group that it is in itself,
	// if that is its to divide. NoCgroup: it makes none.
	CgroupParent string

	// OnSupervisorDeath says what becomes of collectors when the supervisor dies
	// without having ended them. Empty: Kill, the only thing there is.
	OnSupervisorDeath OnDeath

	// Output is what becomes of what collectors write, where they do not say
	// otherwise ([output]).
	Output Output

	// LogPath is the file that Proctor's own log is written to ([log] path),
	// rotated as output is. Empty: standard error.
	LogPath string

	// Runs bounds the records of runs and the reports of crashes ([runs]).
	Runs Runs
}

// NoCgroup is the ProcessManager.CgroupParent of a supervisor that uses no cgroups.
const NoCgroup = "none"

// OnDeath says what becomes of collectors whose supervisor has died.
type OnDeath string

// Kill is the only OnDeath there is: they and all that they have started are ended.
const Kill OnDeath = "kill"

// EndsWithSupervisor reports whether collectors are ended when the supervisor dies.
func (pm ProcessManager) EndsWithSupervisor() bool {
	return pm.OnSupervisorDeath == "" || pm.OnSupervisorDeath == Kill
}

// Runs bounds what is kept of what has been. Zero is the default of each.
type Runs struct {
	MaxPerCollector int // records of each collector: 50
	MaxSizeMB       int // of the records of all collectors: 64
	MaxAgeDays      int // of a record, or since a crash has come the last time: 90
	MaxCrashes      int // reports of crashes: 200
}

// The defaults of Runs.
const (
	DefaultRunsPerCollector = 50
	DefaultRunsSizeMB       = 64
	DefaultRunsAgeDays      = 90
	DefaultCrashes          = 200
)

// Restart says after which exits a collector is started again.
type Restart string

// The restart modes, in the words of the configuration file.
const (
	RestartOnFailure Restart = "on-failure" // a non-zero exit code, a signal, a spawn that failed
	RestartAlways    Restart = "always"     // every exit that was not asked for
	RestartNever     Restart = "never"
)

// Kind says what the end of a process means.
type Kind string

// The kinds, in the words of the configuration file.
const (
	Service Kind = "service" // it is to run on
	Task    Kind = "task"    // it is to run once, to its end
)

// A Collector is how one collector is run ([collectors.<id>]).
type Collector struct {
	// Type is the collector type, e.g. "procmond"; it names the binary where
	// BinaryPath is empty. Empty: the id without a trailing -<number>.
	Type string

	// BinaryPath is the executable. A relative path is relative to the
	// supervisor's own working directory. Empty: found by Type, see Resolve.
	BinaryPath string

	Args       []string
	Env        map[string]string // added to the supervisor's own environment
	ClearEnv   bool              // Env is the whole environment
	WorkingDir string            // empty: the supervisor's own; a relative one is relative to that

	// AutoRestart has the collector restarted after an unexpected exit, if the
	// master switch is on too and Restart asks for it.
	AutoRestart bool

	// Restart is which exits that concerns. Empty: RestartOnFailure.
	Restart Restart

	// MaxRestarts is how many automatic restarts are allowed within
	// RestartWindow; one more, and the collector has failed. Zero: 3. None: none.
	MaxRestarts int

	// RestartWindow is what counts against MaxRestarts. Zero: 300 s. Forever: all of them.
	RestartWindow time.Duration

	// The first restart is immediate. The second comes after BackoffInitial
	// (zero: 0.1 s; None: no delay ever), and each one after it doubles that,
	// up to BackoffMax (zero: 30 s). After BackoffReset of running (zero: 10 s;
	// None: as soon as it ran at all) a restart is immediate again.
	BackoffInitial time.Duration
	BackoffMax     time.Duration
	BackoffReset   time.Duration

	// GracefulTimeout and ForceTimeout override the process manager's
	// defaults for this collector. Zero: the defaults.
	GracefulTimeout time.Duration
	ForceTimeout    time.Duration

	// StopSignal is the name of the signal that asks the collector to end
	// ("SIGINT", "hup"). Empty: SIGTERM. On Windows it is always CTRL_BREAK.
	StopSignal string

	// StopSequence are the signals that ask it to end, one after the other while it
	// is still there, in place of StopSignal. Not for Windows.
	StopSequence []StopStep

	// ReloadSignal has the collector read its configuration again. Empty:
	// ReloadCommand does, or nothing. With ReloadNotify it says itself when it has, by
	// RELOADING=1 and then READY=1 (sd_notify), and a reload is answered then.
	ReloadSignal string
	ReloadNotify bool

	// The hooks are commands, each a program by its absolute path and its arguments,
	// that are run around the life of a process: as whom the collector runs, with
	// its limits, its environment and what the occasion tells (see README). What they
	// write is output of the collector. Each may take HookTimeout (zero: 30 s), and
	// what it leaves behind is ended with it. Empty: there is none.
	PreStart      []string // before the process; if it fails there will be none, which counts as a failed start
	PostStart     []string // when the process is ready: only then is it up; if it fails, that counts as a crash
	PreStop       []string // before the process is asked to end
	PostExit      []string // when nothing is left of the process, however it ended
	StopCommand   []string // in place of the signals that ask it to end, which follow if it fails
	ReloadCommand []string // in place of ReloadSignal
	HookTimeout   time.Duration

	// Group is the group that it is a child of. Empty: the supervisor itself.
	Group string

	// Significant makes its end count for its group's AutoShutdown.
	Significant bool

	// Requires are those that it needs: it is started when they are what it waits
	// for, and started along they are; it is stopped before they are stopped or
	// restarted, or when they have ended, and comes back with them. Wants are
	// started along, no more. After are those that it waits for if they are on
	// their way anyway.
	Requires []Dependency
	Wants    []string
	After    []Dependency

	// User and UnixGroup, names or numbers, are whom it runs as. Empty: the
	// supervisor's own; a User brings its groups along, if SupplementaryGroups
	// does not say others. Only root can start one as somebody else.
	User, UnixGroup     string
	SupplementaryGroups []string

	// ResourceLimits are what its processes may use at most.
	ResourceLimits ResourceLimits

	// What it is kept from, on Linux. Where one of these cannot be had it is not
	// started, unless ConfinementRequired is Off: then that is a warning, but for
	// RootDirectory, KeepFds, BinarySHA256 and Secrets.

	// Umask is the mask of modes of new files, in octal: "0027". Empty: the
	// supervisor's.
	Umask string

	// Capabilities are all that it may ever have, and has, as "net_raw" or
	// "CAP_NET_RAW". Nil: as without; an empty list: none.
	Capabilities []string

	// NoNewPrivileges keeps it from gaining privileges by what it executes. Unsaid:
	// where root starts it as another user, and where Seccomp or paths are set.
	NoNewPrivileges Switch

	// RootDirectory is the root directory to it; BinaryPath, WorkingDir and the paths
	// below are paths in that. It needs root.
	RootDirectory string

	// What it may read and execute only, what it may read and write, and what it
	// may do neither with, with all below. The longest path counts; what none
	// stands for is as it is without.
	ReadOnlyPaths, ReadWritePaths, InaccessiblePaths []string

	// PrivateTmp gives it an empty /tmp and /var/tmp of its own. It needs root.
	PrivateTmp bool

	// Seccomp is the profile of the system calls that it may use. Empty: all.
	Seccomp string

	// BinarySHA256 is the digest that its binary has to have, in hexadecimal. Empty:
	// any.
	BinarySHA256 string

	ConfinementRequired Switch

	// KeepFds are descriptors that the supervisor was started with, and that it has
	// under the same numbers.
	KeepFds []int

	// Secrets are what it is told by files in memory: by name, the absolute path of
	// the file that the secret is in, or "env:NAME". The path in memory is in the
	// variable that SecretVariable names. They are read at each start.
	Secrets map[string]string

	// Warn is what use of resources is told of.
	Warn Warnings

	// Output is what becomes of what it writes.
	Output Output

	// Readiness says when a collector that has been started counts as up: a start
	// is answered then. Empty: ReadyExec. It has StartupTimeout for that (zero:
	// 60 s); one that takes longer is ended, which counts as a crash.
	Readiness      Readiness
	StartupTimeout time.Duration

	// ReadinessFD is the descriptor that ReadyFD is about. Zero: 3.
	// ReadinessPattern is the expression that ReadyLog is about.
	ReadinessFD      int
	ReadinessPattern string

	// Notify gives it a socket to tell of itself (sd_notify). Unsaid: where
	// Readiness, Watchdog or Activity need one.
	Notify Switch

	// Watchdog is the time within which a collector that is up has to say again
	// and again, by WATCHDOG=1, that it is alive. Zero: it need not. One that does
	// not is unhealthy and, unless RestartOnUnhealthy is Off, ended, which counts
	// as a crash: first by WatchdogSignal (empty: SIGABRT), then as in a stop.
	Watchdog       time.Duration
	WatchdogSignal string

	// The probes ask a collector that runs how it is. While StartupProbe has not
	// succeeded the others wait; if it fails too often, the collector is ended,
	// which counts as a crash. One whose ReadinessProbe fails is degraded; one
	// whose Liveness fails is unhealthy and, unless RestartOnUnhealthy is Off,
	// ended, which counts as a crash.
	Liveness           Probe
	ReadinessProbe     Probe
	StartupProbe       Probe
	RestartOnUnhealthy Switch

	// Activity is what it has to yield.
	Activity Activity

	// Kind says whether the collector is to run on, or to its end. Empty: Service.
	Kind Kind

	// SuccessExitCodes are exit codes ("3") and signals ("SIGTERM", "hup") that
	// count as success, beside code 0.
	SuccessExitCodes []string

	// NoRestartExitCodes are exit codes and signals after which the collector is
	// not started again: it has failed.
	NoRestartExitCodes []string

	// RetryFailedAfter is the time after which one that has failed is started
	// again, with nothing counted. Zero: never.
	RetryFailedAfter time.Duration

	// Autostart starts the collector with the supervisor. A file's default is true.
	Autostart bool
}
