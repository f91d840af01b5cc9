package toml

import (
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
		flag("enable_auto_restart", "master switch of automatic restarts; default false",
			func(m *pm) *bool { return &m.EnableAutoRestart }).also("auto_restart", "autorestart"),
	},
}

type col = config.Collector

var collectorKeys = keyTable[col]{
	title: "[collectors.<id>]",
	keys: []key[col]{
		word("type", `collector type, which names the binary; default: the id without a trailing -<number>`,
			func(c *col) *string { return &c.Type }).also("collector_type", "kind"),
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
		nested("resource_limits", limitKeys, func(c *col) *config.ResourceLimits { return &c.ResourceLimits }).also("limits", "resources", "resource_limit"),
		flag("autostart", "start with the supervisor; default true",
			func(c *col) *bool { return &c.Autostart }).also("auto_start", "enabled"),
	},
}

type lim = config.ResourceLimits

var (
	noLimit  = zero[int]{refuse: "leave it out for no limit"}
	zeroSize = zero[int]{means: config.None}
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
