package toml

import (
	"slices"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
)

// fileKeys is everything that a file may contain.
var fileKeys = keyTable[config.Config]{
	title: "a file",
	keys: []key[config.Config]{
		nested("process_manager", processManagerKeys, func(c *config.Config) *config.ProcessManager { return &c.ProcessManager }).
			also("process-manager", "processmanager", "manager", "supervisor", "supervisord", "proctor"),
		word("state_dir", "where what has to outlive Proctor is kept; default: PROCTOR_STATE_DIR, else /var/lib/proctor for root, ~/.local/state/proctor for others",
			func(c *config.Config) *string { return &c.ProcessManager.StateDir }).also("statedir", "state_directory", "data_dir", "datadir"),
		nested("output", outputKeys("[output]"), func(c *config.Config) *config.Output { return &c.ProcessManager.Output }).also("outputs", "logging", "logs"),
		nested("log", logKeys, func(c *config.Config) *pm { return &c.ProcessManager }),
		nested("runs", runsKeys, func(c *config.Config) *config.Runs { return &c.ProcessManager.Runs }).also("records", "history", "crashes"),
		nested("control", controlKeys, func(c *config.Config) *config.Control { return &c.Control }).
			also("api", "rpc", "server", "unix_http_server", "inet_http_server"),
		each("groups", "<name>", groupKeys, func() config.Group { return config.Group{} }, func(c *config.Config) *map[string]config.Group { return &c.Groups }).
			also("group", "supervisors", "supervision"),
		each("collectors", "<id>", collectorKeys, freshCollector, func(c *config.Config) *map[string]config.Collector { return &c.Collectors }).
			also("collector", "programs", "program", "services", "service", "processes", "process"),
	},
}

// freshCollector is a collector that the file says nothing about but its id.
func freshCollector() config.Collector { return config.Collector{Autostart: true} }

// The two kinds of zero: one that is an answer, and one that cannot work.
var (
	zeroRestarts = zero[int]{means: config.None}
	zeroTime     = zero[time.Duration]{means: config.None}
	everyRestart = zero[time.Duration]{means: config.Forever}

	neverGraceful = zero[time.Duration]{refuse: "use more than 0, or leave it out; a stop without grace is a forced one"}
	neverForced   = zero[time.Duration]{refuse: "use more than 0, or leave it out; the system needs some time to kill"}
	neverChecked  = zero[time.Duration]{refuse: "use more than 0, or leave it out for 60"}
	noLongestWait = zero[time.Duration]{refuse: "use more than 0; to have no delay, set backoff_initial_seconds = 0"}
	neverReady    = zero[time.Duration]{refuse: "use more than 0, or leave it out for 60"}
	neverProbed   = zero[time.Duration]{refuse: "use more than 0, or leave it out for its default"}
	neverCounts   = zero[int]{refuse: "use 1 or more, or leave it out for its default"}
	neverHooks    = zero[time.Duration]{refuse: "use more than 0, or leave it out for 30"}
	neverFD       = zero[int]{refuse: "use a number from 3 on, or leave it out for 3"}
	neverBeats    = zero[int]{refuse: "use 1 or more, or leave it out for 3"}
)

type pm = config.ProcessManager

var processManagerKeys = keyTable[pm]{
	title: "[process_manager]",
	keys: []key[pm]{
		wordMap("collector_binaries", "type", "path of the binary of this collector type",
			func(m *pm) *map[string]string { return &m.CollectorBinaries }).also("binaries"),
		seconds("default_graceful_timeout_seconds", "time a graceful stop has before it is forced; default 30", neverGraceful,
			func(m *pm) *time.Duration { return &m.DefaultGracefulTimeout }).also("graceful_timeout_seconds", "graceful_timeout", "default_graceful_timeout"),
		seconds("default_force_timeout_seconds", "time a forced kill has before it is reported as failed; default 5", neverForced,
			func(m *pm) *time.Duration { return &m.DefaultForceTimeout }).also("force_timeout_seconds", "force_timeout", "default_force_timeout"),
		seconds("health_check_interval_seconds", "interval of health checks, and of expected heartbeats; default 60", neverChecked,
			func(m *pm) *time.Duration { return &m.HealthCheckInterval }),
		count("heartbeat_timeout_multiplier", "heartbeats that may be missed before a collector that sends them is unhealthy; default 3", neverBeats,
			func(m *pm) *int { return &m.HeartbeatTimeoutMultiplier }),
		count("max_spawns_per_second", "automatic restarts of all collectors together in a second, more wait for their turn; 0, the default, sets no limit", zero[int]{},
			func(m *pm) *int { return &m.MaxSpawnsPerSecond }),
		count("start_concurrency", "collectors that may be on their way up at once, more wait for their turn; 0, the default, sets no limit", zero[int]{},
			func(m *pm) *int { return &m.StartConcurrency }),
		word("exit_with", "the collector whose end is the supervisor's, which exits with its code; default: none",
			func(m *pm) *string { return &m.ExitWith }),
		word("cgroup_parent", `directory of a cgroup v2 hierarchy in which the groups of collectors are made; "none" for no groups; default: the group that Proctor is in, if that is its to divide`,
			func(m *pm) *string { return &m.CgroupParent }).also("cgroup", "slice"),
		word("on_supervisor_death", `what becomes of collectors when the supervisor dies without having ended them: "kill" (the default)`,
			func(m *pm) *config.OnDeath { return &m.OnSupervisorDeath }),
		flag("enable_auto_restart", "master switch of automatic restarts; default false",
			func(m *pm) *bool { return &m.EnableAutoRestart }).also("auto_restart", "autorestart"),
	},
}

type col = config.Collector

var collectorKeys = keyTable[col]{
	title: "[collectors.<id>]",
	keys: []key[col]{
		word("type", `collector type, which names the binary; default: the id without a trailing -<number>`,
			func(c *col) *string { return &c.Type }).also("collector_type"),
		word("binary_path", "the executable; default: found by type",
			func(c *col) *string { return &c.BinaryPath }).also("command", "cmd", "exec", "execstart", "exec_start", "executable", "program", "path", "binary"),
		words("args", "arguments",
			func(c *col) *[]string { return &c.Args }).also("arguments", "argv"),
		wordMap("env", "NAME", "an environment variable, in addition to the supervisor's own",
			func(c *col) *map[string]string { return &c.Env }).also("environment", "environ", "environment_variables", "envs"),
		flag("clear_env", "env is the whole environment; default false",
			func(c *col) *bool { return &c.ClearEnv }).also("env_clear"),
		word("working_dir", "working directory; default: the supervisor's own",
			func(c *col) *string { return &c.WorkingDir }).also("cwd", "dir", "directory", "chdir", "workdir", "workingdirectory"),
		flag("auto_restart", "restart after an unexpected exit, if enable_auto_restart is on too; default false",
			func(c *col) *bool { return &c.AutoRestart }).also("enable_auto_restart"),
		word("restart", `which exits are answered by a restart: "on-failure" (the default), "always" or "never"`,
			func(c *col) *config.Restart { return &c.Restart }).also("restart_policy", "restart_mode"),
		count("max_restarts", "automatic restarts allowed within the window; 0 allows none; default 3", zeroRestarts,
			func(c *col) *int { return &c.MaxRestarts }).also("startlimitburst", "startretries", "max_retries"),
		seconds("restart_window_seconds", "what counts against max_restarts; 0 counts for ever; default 300", everyRestart,
			func(c *col) *time.Duration { return &c.RestartWindow }).also("startlimitintervalsec", "restart_period"),
		seconds("backoff_initial_seconds", "delay before the second restart in a row; each further one doubles it; 0 is no delay ever; default 0.1", zeroTime,
			func(c *col) *time.Duration { return &c.BackoffInitial }).also("restartsec", "restart_sec", "restart_delay", "restart_delay_seconds"),
		seconds("backoff_max_seconds", "the longest delay before a restart; default 30", noLongestWait,
			func(c *col) *time.Duration { return &c.BackoffMax }),
		seconds("backoff_reset_seconds", "time of running after which a restart is immediate again; 0 is at once; default 10", zeroTime,
			func(c *col) *time.Duration { return &c.BackoffReset }),
		seconds("graceful_timeout_seconds", "time a graceful stop has before it is forced; default: default_graceful_timeout_seconds", neverGraceful,
			func(c *col) *time.Duration { return &c.GracefulTimeout }).
			also("default_graceful_timeout_seconds", "stopwaitsecs", "timeoutstopsec", "stop_timeout", "stop_timeout_seconds", "kill_timeout"),
		seconds("force_timeout_seconds", "time a forced kill has before it is reported as failed; default: default_force_timeout_seconds", neverForced,
			func(c *col) *time.Duration { return &c.ForceTimeout }).also("default_force_timeout_seconds"),
		word("stop_signal", `signal that asks the collector to end, by name or number; default "SIGTERM"; on Windows always CTRL_BREAK`,
			func(c *col) *string { return &c.StopSignal }).also("stopsignal", "killsignal", "kill_signal"),
		stopSequence("stop_sequence", `signals that ask it to end, and the seconds from one to the next, as in ["SIGINT", 10, "SIGTERM"]; default: stop_signal alone`,
			func(c *col) *[]config.StopStep { return &c.StopSequence }).also("stop_signals", "kill_sequence"),
		words("stop_command", "command that is run in place of the signal that asks it to end, which follows if it fails: a program's path, and arguments",
			func(c *col) *[]string { return &c.StopCommand }).also("execstop", "exec_stop"),
		word("reload_signal", "signal that has it read its configuration again",
			func(c *col) *string { return &c.ReloadSignal }).also("reloadsignal"),
		words("reload_command", "command that has it read its configuration again, in place of a signal",
			func(c *col) *[]string { return &c.ReloadCommand }).also("execreload", "exec_reload"),
		flag("reload_notify", "it says itself when it has, by RELOADING=1 and then READY=1 (sd_notify); default false",
			func(c *col) *bool { return &c.ReloadNotify }),
		words("pre_start", "command that is run before it is started; if it fails, the start has",
			func(c *col) *[]string { return &c.PreStart }).also("execstartpre", "exec_start_pre", "prestart"),
		words("post_start", "command that is run when it is ready, and after which it is up; if it fails, that counts as a crash",
			func(c *col) *[]string { return &c.PostStart }).also("execstartpost", "exec_start_post", "poststart"),
		words("pre_stop", "command that is run before it is asked to end",
			func(c *col) *[]string { return &c.PreStop }).also("prestop"),
		words("post_exit", "command that is run when nothing is left of it, however it ended",
			func(c *col) *[]string { return &c.PostExit }).also("execstoppost", "exec_stop_post", "post_stop", "poststop"),
		seconds("hook_timeout_seconds", "time that each of these commands may take, and a reload; default 30", neverHooks,
			func(c *col) *time.Duration { return &c.HookTimeout }).also("hook_timeout"),
		word("readiness", `when a collector that was started counts as up: "exec" (the default) as soon as it is executed, "probe" when its readiness_probe succeeds, "notify" when it says READY=1 (sd_notify), "fd" when it has written a line feed to readiness_fd, "log" when a line of its output matches readiness_pattern`,
			func(c *col) *config.Readiness { return &c.Readiness }),
		count("readiness_fd", `descriptor that readiness = "fd" is about; default 3`, neverFD,
			func(c *col) *int { return &c.ReadinessFD }).also("notification_fd", "notification-fd", "ready_fd"),
		word("readiness_pattern", `expression that readiness = "log" is about`,
			func(c *col) *string { return &c.ReadinessPattern }).also("ready_log_line", "readiness_log", "ready_pattern"),
		toggle("notify", "give it a socket to tell of itself (NOTIFY_SOCKET, sd_notify); default: where readiness, watchdog_seconds or activity need one",
			func(c *col) *config.Switch { return &c.Notify }).also("notifyaccess", "sd_notify"),
		seconds("watchdog_seconds", "time within which it has to say WATCHDOG=1 again and again; 0, the default, is none", zero[time.Duration]{},
			func(c *col) *time.Duration { return &c.Watchdog }).also("watchdogsec", "watchdog"),
		word("watchdog_signal", `signal for one that does not, before it is ended; default "SIGABRT"`,
			func(c *col) *string { return &c.WatchdogSignal }).also("watchdogsignal"),
		seconds("startup_timeout_seconds", "time that it may take to be ready; default 60", neverReady,
			func(c *col) *time.Duration { return &c.StartupTimeout }).also("startsecs", "timeoutstartsec", "start_timeout"),
		word("group", "the [groups.<name>] that it is a child of; default: none, but the supervisor itself",
			func(c *col) *string { return &c.Group }).also("parent", "supervisor"),
		dependencies("requires", "collectors that it needs: they are started before it and stopped after it",
			func(c *col) *[]config.Dependency { return &c.Requires }).also("depends_on", "depends-on", "bindsto", "binds_to"),
		words("wants", "collectors that are started along with it, no more",
			func(c *col) *[]string { return &c.Wants }),
		dependencies("after", "collectors that it waits for, if they are on their way",
			func(c *col) *[]config.Dependency { return &c.After }).also("start_after", "waits-for"),
		flag("significant", "its end counts for its group's auto_shutdown; default false",
			func(c *col) *bool { return &c.Significant }),
		nested("liveness", probeKeys("liveness"), func(c *col) *config.Probe { return &c.Liveness }).also("liveness_probe", "livenessprobe", "healthcheck", "health_check"),
		nested("readiness_probe", probeKeys("readiness_probe"), func(c *col) *config.Probe { return &c.ReadinessProbe }).also("readinessprobe"),
		nested("startup_probe", probeKeys("startup_probe"), func(c *col) *config.Probe { return &c.StartupProbe }).also("startupprobe", "startup"),
		nested("activity", activityKeys, func(c *col) *config.Activity { return &c.Activity }).also("silence", "heartbeat"),
		toggle("restart_on_unhealthy", "end one whose liveness probe fails, which counts as a crash; default true",
			func(c *col) *config.Switch { return &c.RestartOnUnhealthy }),
		word("user", "whom it runs as, a name or a number; default: the supervisor's own user",
			func(c *col) *string { return &c.User }).also("uid", "run_as", "username"),
		word("unix_group", "the Unix group it runs as, a name or a number; default: the user's",
			func(c *col) *string { return &c.UnixGroup }).also("gid", "user_group"),
		words("supplementary_groups", "other groups that it is in, names or numbers; default: the user's",
			func(c *col) *[]string { return &c.SupplementaryGroups }).also("supplementarygroups", "groups"),
		word("umask", `mask of modes of new files, in octal: "0027"; default: the supervisor's`,
			func(c *col) *string { return &c.Umask }),
		words("capabilities", `all capabilities that it may have, and has: "net_raw"; [] is none; default: those of its user`,
			func(c *col) *[]string { return &c.Capabilities }).also("capabilityboundingset", "ambientcapabilities", "ambient_capabilities", "caps", "cap_add"),
		toggle("no_new_privileges", "what it executes gains no privileges (setuid); default: true if root starts it as another user, or if seccomp or paths are set",
			func(c *col) *config.Switch { return &c.NoNewPrivileges }).also("nonewprivileges", "no_new_privs"),
		word("root_directory", "directory that is / to it; its other paths, and binary_path, are paths in that; needs root",
			func(c *col) *string { return &c.RootDirectory }).also("rootdirectory", "chroot"),
		words("read_only_paths", "paths below which it may read and execute, and write nothing",
			func(c *col) *[]string { return &c.ReadOnlyPaths }).also("readonlypaths"),
		words("read_write_paths", "paths below which it may read and write, within others where it may not",
			func(c *col) *[]string { return &c.ReadWritePaths }).also("readwritepaths"),
		words("inaccessible_paths", "paths below which it may neither read nor write",
			func(c *col) *[]string { return &c.InaccessiblePaths }).also("inaccessiblepaths"),
		flag("private_tmp", "it has an empty /tmp and /var/tmp of its own; needs root; default false",
			func(c *col) *bool { return &c.PrivateTmp }).also("privatetmp"),
		word("seccomp", `system calls that it may use: "default" (none that administer the system, or look into other processes) or "strict" (only those that an ordinary service needs); default: all`,
			func(c *col) *string { return &c.Seccomp }).also("systemcallfilter", "system_calls", "seccomp_profile"),
		word("binary_sha256", "SHA-256 digest that its binary has to have, in hexadecimal; default: any",
			func(c *col) *string { return &c.BinarySHA256 }).also("sha256", "checksum", "digest"),
		toggle("confinement_required", "do not start it where one of these cannot be had; default true; false: that is a warning",
			func(c *col) *config.Switch { return &c.ConfinementRequired }),
		numbers("keep_fds", "descriptors, from 3 on, that the supervisor was started with and that it has too; default: none",
			func(c *col) *[]int { return &c.KeepFds }).also("fds", "pass_fds"),
		wordMap("secrets", "name", `absolute path of a file with a secret, or "env:NAME"; it reads it from memory, at the path in PROCTOR_SECRET_<NAME>`,
			func(c *col) *map[string]string { return &c.Secrets }).also("credentials", "loadcredential", "secret"),
		nested("resource_limits", limitKeys, func(c *col) *config.ResourceLimits { return &c.ResourceLimits }).also("limits", "resources", "resource_limit"),
		nested("warn", warnKeys, func(c *col) *config.Warnings { return &c.Warn }).also("warnings", "thresholds", "alerts", "usage_warnings"),
		word("kind", `"service" (the default) is to run on, "task" to run once, to its end`,
			func(c *col) *config.Kind { return &c.Kind }),
		exitCodes("success_exit_codes", "exit codes, and signals by name, that count as success beside 0",
			func(c *col) *[]string { return &c.SuccessExitCodes }).also("successexitstatus", "exitcodes"),
		exitCodes("no_restart_exit_codes", "exit codes, and signals by name, after which the collector is not started again",
			func(c *col) *[]string { return &c.NoRestartExitCodes }).also("restartpreventexitstatus", "stop_exit_codes"),
		seconds("retry_failed_after_seconds", "time after which one that has failed is started again, with nothing counted; 0 is never; default 0", zero[time.Duration]{},
			func(c *col) *time.Duration { return &c.RetryFailedAfter }),
		flag("autostart", "start with the supervisor; default true",
			func(c *col) *bool { return &c.Autostart }).also("auto_start", "enabled"),
		nested("output", ownOutputKeys, func(c *col) *config.Output { return &c.Output }).also("log", "logs", "logging", "stdout", "stderr", "stdout_logfile", "standardoutput"),
	},
}

type warning = config.Warnings

var warnKeys = keyTable[warning]{
	title: "[collectors.<id>.warn]",
	keys: []key[warning]{
		count("memory_percent", "part of its memory limit, in percent, above which an event tells of it", noWarning,
			func(w *warning) *int { return &w.MemoryPercent }).also("memory_warn_percent", "memory"),
		count("cpu_percent", "processor time, in percent of one processor, above which an event tells of it", noWarning,
			func(w *warning) *int { return &w.CPUPercent }).also("cpu_warn_percent", "cpu"),
		count("tasks_percent", "part of tasks_max, in percent, above which an event tells of it", noWarning,
			func(w *warning) *int { return &w.TasksPercent }).also("tasks_warn_percent", "tasks"),
		seconds("for_seconds", "time that it has to last; 0 is at once; default 60", zeroTime,
			func(w *warning) *time.Duration { return &w.For }).also("for", "memory_warn_seconds", "seconds"),
	},
}

type act = config.Activity

var neverActive = zero[int]{refuse: "use 1 or more, or leave it out"}

var activityKeys = keyTable[act]{
	title: "[collectors.<id>.activity]",
	keys: []key[act]{
		word("source", `where it is counted what the collector yields: "stdout" (the lines it writes), "notify" (the first number in its STATUS) or "metrics" (a counter that it serves)`,
			func(a *act) *config.ActivitySource { return &a.Source }),
		word("url", `page with Prometheus metrics, for source = "metrics"`,
			func(a *act) *string { return &a.URL }).also("http"),
		word("metric", `name of the counter, for source = "metrics"; its series are taken together`,
			func(a *act) *string { return &a.Metric }).also("counter", "name"),
		seconds("max_silence_seconds", "time that it may yield nothing; more, and it is degraded; 0, the default, is not looked at", zero[time.Duration]{},
			func(a *act) *time.Duration { return &a.MaxSilence }).also("max_silence", "timeout_seconds"),
		count("min_per_minute", "what it has to yield in a minute; less, and it is degraded", neverActive,
			func(a *act) *int { return &a.MinPerMinute }),
		flag("restart_on_silence", "end one that is degraded for that, which counts as a crash; default false",
			func(a *act) *bool { return &a.RestartOnSilence }).also("restart"),
	},
}

type grp = config.Group

var groupKeys = keyTable[grp]{
	title: "[groups.<name>]",
	keys: []key[grp]{
		word("parent", "the group that it is a child of; default: none, but the supervisor itself",
			func(g *grp) *string { return &g.Parent }).also("group"),
		word("strategy", `which children are restarted when one of them is: "one_for_one" (the default), "one_for_all" or "rest_for_one"`,
			func(g *grp) *config.Strategy { return &g.Strategy }).also("restart_strategy"),
		count("max_restarts", "restarts of its children allowed within the window; one more, and the group has failed; 0 allows none; default 3", zeroRestarts,
			func(g *grp) *int { return &g.MaxRestarts }).also("intensity"),
		seconds("restart_window_seconds", "what counts against max_restarts; 0 counts for ever; default 300", everyRestart,
			func(g *grp) *time.Duration { return &g.RestartWindow }).also("period"),
		word("on_escalation", `what follows when it has failed: "stay" (the default) down, "escalate" to its parent, or "shutdown" of everything`,
			func(g *grp) *config.Escalation { return &g.OnEscalation }),
		word("auto_shutdown", `whether it ends with its significant children: "never" (the default), "any_significant" or "all_significant"`,
			func(g *grp) *config.AutoShutdown { return &g.AutoShutdown }),
		flag("significant", "its own end counts for its parent's auto_shutdown; default false",
			func(g *grp) *bool { return &g.Significant }),
		nested("resource_limits", groupLimitKeys, func(g *grp) *config.ResourceLimits { return &g.ResourceLimits }).also("limits", "resources", "resource_limit"),
	},
}

// dependencies is an array of collectors that are waited for: ids, or tables that
// name a condition too.
func dependencies[T any](name, doc string, field func(*T) *[]config.Dependency) key[T] {
	return key[T]{name: name, doc: doc, form: formDependencies, read: func(d *document, at string, n *node, into *T) {
		if n.kind != array {
			hint := ""
			if n.kind == text {
				hint = "write [" + strings.Join(quoteAll(strings.Fields(shown(n))), ", ") + "]"
			}
			d.wrong(at, n, formDependencies, hint)
			return
		}
		list := make([]config.Dependency, 0, len(n.elements))
		for i, element := range n.elements {
			at := config.Element(at, i)
			d.values[at] = element
			var one config.Dependency
			switch element.kind {
			case text:
				one.ID = element.text
			case table:
				dependencyKeys.read(d, at, element, &one)
			default:
				d.wrong(at, element, "an id, or a table with id and condition", `for example "db", or { id = "db", condition = "healthy" }`)
			}
			list = append(list, one)
		}
		*field(into) = list
	}}
}

var dependencyKeys = keyTable[config.Dependency]{
	title: "a dependency",
	keys: []key[config.Dependency]{
		word("id", "the collector that is waited for",
			func(d *config.Dependency) *string { return &d.ID }).also("name"),
		word("condition", `what it has to be: "started", "ready", "healthy" or "exited"; default: "exited" of a task, else "ready"`,
			func(d *config.Dependency) *config.Condition { return &d.Condition }),
	},
}

type lim = config.ResourceLimits

var (
	noLimit  = zero[int]{refuse: "leave it out for no limit"}
	zeroSize = zero[int]{means: config.None}

	noWarning = zero[int]{refuse: "use 1 or more, or leave it out for no warning"}
)

var limitKeys = keyTable[lim]{
	title: "[collectors.<id>.resource_limits]",
	keys: []key[lim]{
		count("cpu_percent", "processor time of all its processes, in percent of one processor", noLimit,
			func(l *lim) *int { return &l.CPUPercent }).also("cpu_quota", "cpuquota", "cpu", "cpus", "max_cpu_percent"),
		count("cpu_weight", "its share beside others that want the processor too, 1 to 10000; the system's default is 100", noLimit,
			func(l *lim) *int { return &l.CPUWeight }).also("cpuweight", "cpu_shares"),
		count("memory_max_mb", "memory of all its processes in MiB; what needs more is killed", noLimit,
			func(l *lim) *int { return &l.MemoryMaxMB }).also("memory_max", "memorymax", "memory_mb", "memory", "memory_limit", "max_memory_mb", "mem_limit"),
		count("memory_high_mb", "memory in MiB above which it is taken back, and the collector slowed down", noLimit,
			func(l *lim) *int { return &l.MemoryHighMB }).also("memory_high", "memoryhigh"),
		count("swap_max_mb", "swapped memory in MiB; 0 is none", zeroSize,
			func(l *lim) *int { return &l.SwapMaxMB }).also("memoryswapmax", "memory_swap_max_mb", "swap_max"),
		count("memory_soft_mb", "memory in MiB; more than that for memory_soft_seconds, and the collector is ended, which counts as a crash", noLimit,
			func(l *lim) *int { return &l.MemorySoftMB }).also("memory_soft", "max_memory_restart", "memory_restart_mb"),
		seconds("memory_soft_seconds", "for how long; 0 is one look; default 60", zeroTime,
			func(l *lim) *time.Duration { return &l.MemorySoft }),
		count("io_read_mb_per_second", "what is read from each disk in a second, in MiB", noLimit,
			func(l *lim) *int { return &l.IOReadMBPerSecond }).also("ioreadbandwidthmax", "io_read_mb", "io_read_bandwidth_max", "blkio_read_bps"),
		count("io_write_mb_per_second", "what is written to each disk in a second, in MiB", noLimit,
			func(l *lim) *int { return &l.IOWriteMBPerSecond }).also("iowritebandwidthmax", "io_write_mb", "io_write_bandwidth_max", "blkio_write_bps"),
		count("io_weight", "its share beside others that want the disks too, 1 to 10000; the system's default is 100", noLimit,
			func(l *lim) *int { return &l.IOWeight }).also("ioweight", "blkio_weight"),
		count("tasks_max", "processes and threads", noLimit,
			func(l *lim) *int { return &l.TasksMax }).also("tasksmax", "max_tasks", "pids_max", "pids_limit", "max_processes"),
		count("open_files", "descriptors of each process", noLimit,
			func(l *lim) *int { return &l.OpenFiles }).also("limitnofile", "nofile", "max_open_files", "max_file_descriptors"),
		count("core_mb", "size of a core dump in MiB; 0 is none", zeroSize,
			func(l *lim) *int { return &l.CoreMB }).also("limitcore", "core"),
		signed("nice", "scheduling priority, -20 to 19; the system's default is 0",
			func(l *lim) *int { return &l.Nice }).also("priority"),
		signed("oom_score_adjust", "-1000 (never killed for lack of memory) to 1000 (the first to be)",
			func(l *lim) *int { return &l.OOMScoreAdjust }).also("oomscoreadjust", "oom_score_adj"),
		numbers("cpu_affinity", "the processors it runs on, counted from 0",
			func(l *lim) *[]int { return &l.CPUAffinity }).also("cpuaffinity", "cpuset", "cpus_allowed"),
		flag("limits_required", "do not start it where one of the limits cannot be had; default false: that is a warning",
			func(l *lim) *bool { return &l.Required }).also("required"),
	},
}

// groupLimitKeys are those that a group can have too.
var groupLimitKeys = func() keyTable[lim] {
	t := keyTable[lim]{title: "[groups.<name>.resource_limits]"}
	for _, k := range limitKeys.keys {
		if slices.Contains(config.GroupLimitKeys(), k.name) {
			t.keys = append(t.keys, k)
		}
	}
	return t
}()

var logKeys = keyTable[pm]{
	title: "[log]",
	keys: []key[pm]{
		word("path", "file that Proctor's own log is written to, rotated as output is; default: standard error",
			func(m *pm) *string { return &m.LogPath }).also("file", "logfile", "filename"),
	},
}

var noRuns = zero[int]{refuse: "use 1 or more, or leave it out for its default"}

var runsKeys = keyTable[config.Runs]{
	title: "[runs]",
	keys: []key[config.Runs]{
		count("max_per_collector", "records of runs that are kept of each collector; default 50", noRuns,
			func(r *config.Runs) *int { return &r.MaxPerCollector }),
		count("max_size_mb", "size of the records of all collectors, in MiB; default 64", noRuns,
			func(r *config.Runs) *int { return &r.MaxSizeMB }),
		count("max_age_days", "age of a record, and of a report of a crash that has not come again; default 90", noRuns,
			func(r *config.Runs) *int { return &r.MaxAgeDays }),
		count("max_crashes", "reports of crashes that are kept; default 200", noRuns,
			func(r *config.Runs) *int { return &r.MaxCrashes }),
	},
}

type output = config.Output

var (
	noSize        = zero[int]{refuse: "use 1 or more, or leave it out for 50"}
	noFiles       = zero[int]{refuse: "use 2 or more, or leave it out for 5"}
	noLine        = zero[int]{refuse: "use 1 or more, or leave it out for 256"}
	noTail        = zero[int]{refuse: "use 1 or more, or leave it out for 20"}
	unlimited     = zero[int]{means: config.None}
	ownOutputKeys = func() keyTable[output] {
		t := outputKeys("[collectors.<id>.output]")
		t.keys = append(t.keys, word("path", "the file; default: logs/<id>.log in the state directory",
			func(o *output) *string { return &o.Path }).also("file", "logfile", "filename", "stdout_logfile"))
		return t
	}()
)

// outputKeys is what both tables of outputs may contain.
func outputKeys(title string) keyTable[output] {
	return keyTable[output]{
		title: title,
		keys: []key[output]{
			word("target", `where output is kept: "file" (the default), "memory", "inherit" (Proctor's own output) or "discard"`,
				func(o *output) *config.OutputTarget { return &o.Target }).also("to", "destination", "driver"),
			count("max_size_mb", "size at which a file is rotated, in MiB; of a memory, its size; default 50, of a memory 1", noSize,
				func(o *output) *int { return &o.MaxSizeMB }).also("max_size", "maxsize", "stdout_logfile_maxbytes", "max-size"),
			count("max_files", "files in all, the one that is written included; default 5", noFiles,
				func(o *output) *int { return &o.MaxFiles }).also("max_backups", "stdout_logfile_backups", "max-file", "maxbackups"),
			count("max_age_days", "age at which a rotated file is removed; 0, the default, is never", unlimited,
				func(o *output) *int { return &o.MaxAgeDays }).also("max_age", "maxage", "maxagedays"),
			word("compress", `what becomes of rotated files: "gzip" (the default), "zstd" or "none"`,
				func(o *output) *config.Compression { return &o.Compress }).also("compression"),
			word("format", `how lines are written: "json" (the default: time, stream, id, incarnation, text) or "raw"`,
				func(o *output) *config.OutputFormat { return &o.Format }),
			word("streams", `standard output and errors "apart" (the default) or "together", in the order in which they were written`,
				func(o *output) *config.OutputStreams { return &o.Streams }).also("redirect_stderr"),
			toggle("timestamps", "raw lines begin with their time; default false",
				func(o *output) *config.Switch { return &o.Timestamps }).also("timestamp"),
			toggle("lossless", "the collector waits for the disk, rather than that lines are dropped and counted; default false",
				func(o *output) *config.Switch { return &o.Lossless }).also("blocking"),
			count("max_line_kb", "longer lines are cut into several records, in KiB; default 256", noLine,
				func(o *output) *int { return &o.MaxLineKB }).also("max_line"),
			count("rate_limit_lines_per_second", "more lines are dropped and counted; 0, the default, is no limit", unlimited,
				func(o *output) *int { return &o.RateLimit }).also("rate_limit", "ratelimit"),
			words("mask", "expressions whose matches are replaced by *** before anything is stored or passed on",
				func(o *output) *[]string { return &o.Mask }).also("masks", "redact"),
			word("multiline_start", "expression: lines that it does not match belong to the record before them",
				func(o *output) *string { return &o.MultilineStart }).also("multiline"),
			count("tail_lines", "last lines that are kept for a collector's exit; default 20", noTail,
				func(o *output) *int { return &o.TailLines }).also("tail"),
			words("also", "who is given a copy: "+config.AlsoForms+`; default ["inherit"]`,
				func(o *output) *[]string { return &o.Also }).also("forward", "copy_to"),
		},
	}
}

type prb = config.Probe

// probeKeys are the keys of the probe that a collector has under that name.
func probeKeys(name string) keyTable[prb] {
	return keyTable[prb]{
		title: "[collectors.<id>." + name + "]",
		keys: []key[prb]{
			words("exec", "a program, by its whole path, and its arguments: well if it exits with 0",
				func(p *prb) *[]string { return &p.Exec }).also("command", "cmd"),
			word("http", "a URL that is answered with a status from 200 to 399",
				func(p *prb) *string { return &p.HTTP }).also("httpget", "http_get", "url"),
			word("tcp", "host:port that accepts a connection",
				func(p *prb) *string { return &p.TCP }).also("tcpsocket", "tcp_socket"),
			word("grpc", "host:port, or host:port/service, of a gRPC health service that says it is serving",
				func(p *prb) *string { return &p.GRPC }),
			word("unix", "a Unix socket that accepts a connection",
				func(p *prb) *string { return &p.Unix }).also("socket"),
			seconds("initial_delay_seconds", "time before the first probe; default 0", zero[time.Duration]{},
				func(p *prb) *time.Duration { return &p.InitialDelay }).also("initialdelayseconds", "start_period"),
			seconds("period_seconds", "time from one probe to the next; default 10", neverProbed,
				func(p *prb) *time.Duration { return &p.Period }).also("periodseconds", "interval"),
			seconds("timeout_seconds", "time that one probe may take; default 1", neverProbed,
				func(p *prb) *time.Duration { return &p.Timeout }).also("timeoutseconds", "timeout"),
			count("failure_threshold", "failures in a row that mean something; default 3", neverCounts,
				func(p *prb) *int { return &p.FailureThreshold }).also("failurethreshold", "retries"),
			count("success_threshold", "successes in a row that end that; default 1", neverCounts,
				func(p *prb) *int { return &p.SuccessThreshold }).also("successthreshold"),
		},
	}
}

type control = config.Control

var controlKeys = keyTable[control]{
	title: "[control]",
	keys: []key[control]{
		word("socket", "path of the socket, or of the named pipe, that commands come through; default: PROCTOR_SOCKET, else in the runtime directory of the platform",
			func(c *control) *string { return &c.Socket }).also("socket_path", "unix_socket"),
		word("socket_mode", `mode of the socket in octal; default "0600"`,
			func(c *control) *string { return &c.SocketMode }).also("chmod", "mode"),
		word("socket_group", "group that the socket belongs to; default: the supervisor's own",
			func(c *control) *string { return &c.SocketGroup }).also("chown", "group"),
		word("listen", "TCP address that commands come through too, with mutual TLS only; default: none",
			func(c *control) *string { return &c.Listen }).also("address", "bind"),
		word("tls_cert", "certificate for listen, a PEM file that is read again when it changes",
			func(c *control) *string { return &c.TLSCert }).also("cert", "certificate", "cert_file"),
		word("tls_key", "its key",
			func(c *control) *string { return &c.TLSKey }).also("key", "key_file"),
		word("tls_client_ca", "certificates of those who certify clients, or of the clients themselves",
			func(c *control) *string { return &c.TLSClientCA }).also("client_ca", "ca", "ca_file"),
		word("metrics_listen", "TCP address where anybody may read /metrics, /livez and /readyz; default: none",
			func(c *control) *string { return &c.MetricsListen }).also("metrics", "metrics_address"),
		nested("roles", roleKeys, func(c *control) *config.Roles { return &c.Roles }),
	},
}

var roleKeys = keyTable[config.Roles]{
	title: "[control.roles]",
	keys: []key[config.Roles]{
		words("viewer", `who may look: "uid:1000", "user:alice" or "cert:ops.example.org"`,
			func(r *config.Roles) *[]string { return &r.Viewer }).also("viewers"),
		words("operator", "who may start, stop, restart, pause, resume, signal, reset and remove what is known, too",
			func(r *config.Roles) *[]string { return &r.Operator }).also("operators"),
		words("admin", "who may do anything; root and the supervisor's own user always may",
			func(r *config.Roles) *[]string { return &r.Admin }).also("admins"),
	},
}

// A KeyDoc describes one key that a file may contain.
type KeyDoc struct {
	Key  string `json:"key"`  // "collectors.<id>.args"
	Form string `json:"form"` // what its value is: "an array of strings"
	Doc  string `json:"doc"`  // what it means, with unit and default
}

// Keys are all keys that a file may contain, in the order of their description.
func Keys() []KeyDoc { return fileKeys.list("") }

// homes is the table that each key belongs in, for hints at one that stands in
// another.
func homes() map[string]string {
	homes := map[string]string{}
	for _, doc := range Keys() {
		around, name, _ := cutLast(doc.Key)
		if strings.HasSuffix(name, ">") { // of the user's choice
			around, name, _ = cutLast(around)
		}
		homes[name] = "[" + around + "]"
	}
	return homes
}

func cutLast(key string) (before, after string, found bool) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return "", key, false
	}
	return key[:i], key[i+1:], true
}
