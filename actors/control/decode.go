package control

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"time"

	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// decode is the command or the reply of package messages that has travelled as
// message. The error says everything that is not possible in it; it is one of
// config.Problems.
func decode(message proto.Message) (any, error) {
	var d decoder
	m := d.message(message)
	if len(d.problems) > 0 {
		return m, d.problems
	}
	return m, nil
}

// A decoder collects what cannot be.
type decoder struct{ problems config.Problems }

func (d *decoder) message(message proto.Message) any {
	switch m := message.(type) {
	case *pb.StartCollectorRequest:
		q := messages.StartCollector{ID: m.Id, Type: m.Type}
		if m.Config != nil {
			c := d.collector(m.Id, m.Config)
			q.Config = &c
		}
		return q
	case *pb.StopCollectorRequest:
		return messages.StopCollector{ID: m.Id, Force: m.Force, Timeout: d.seconds("timeout_seconds", m.TimeoutSeconds)}
	case *pb.RestartCollectorRequest:
		return messages.RestartCollector{ID: m.Id, Timeout: d.seconds("timeout_seconds", m.TimeoutSeconds)}
	case *pb.PauseCollectorRequest:
		return messages.PauseCollector{ID: m.Id}
	case *pb.ResumeCollectorRequest:
		return messages.ResumeCollector{ID: m.Id}
	case *pb.ReloadCollectorRequest:
		return messages.ReloadCollector{ID: m.Id}
	case *pb.LimitCollectorRequest:
		return messages.LimitCollector{ID: m.Id, Limits: m.Limits}
	case *pb.SendHeartbeatRequest:
		return messages.SendHeartbeat{ID: m.Id, Status: m.Status}
	case *pb.SignalCollectorRequest:
		return messages.SignalCollector{ID: m.Id, Signal: m.Signal, Group: m.Group}
	case *pb.RemoveCollectorRequest:
		return messages.RemoveCollector{ID: m.Id}
	case *pb.ResetCollectorRequest:
		return messages.ResetCollector{ID: m.Id}
	case *pb.ShutdownRequest:
		return messages.Shutdown{Force: m.Force, Timeout: d.seconds("timeout_seconds", m.TimeoutSeconds)}
	case *pb.GetStatusRequest:
		return messages.GetStatus{ID: m.Id}
	case *pb.ListCollectorsRequest:
		return messages.ListCollectors{}
	case *pb.CheckHealthRequest:
		return messages.CheckHealth{ID: m.Id}
	case *pb.InspectCollectorRequest:
		return messages.InspectCollector{ID: m.Id}
	case *pb.GetUsageRequest:
		for i, id := range m.Ids {
			if len(id) > maxID {
				d.problem(config.Element("ids", i), short(id), fmt.Sprintf("it has %d bytes; an id has 1 to 64", len(id)), "")
			}
		}
		return messages.GetUsage{IDs: m.Ids, Full: m.Full, Rate: m.Rate}
	case *pb.GetUsageResponse:
		return decodeUsageReply(m)
	case *pb.GetSupervisorRequest:
		return messages.GetSupervisor{}
	case *pb.GetGraphRequest:
		return messages.GetGraph{}
	case *pb.DescribeActorsRequest:
		return messages.DescribeActors{}
	case *pb.ApplyConfigRequest:
		if m.Config == nil {
			d.problem("config", "", "it is missing", "say the whole configuration")
		}
		return messages.ApplyConfig{Config: d.config(m.GetConfig()), DryRun: m.DryRun}
	case *pb.GetRunsRequest:
		return messages.GetRuns{ID: m.Id, Last: d.count("last", m.Last)}
	case *pb.ListCrashesRequest:
		return messages.ListCrashes{ID: m.Id}
	case *pb.GetCrashRequest:
		return messages.GetCrash{Number: m.Number}
	case *pb.GetRunsResponse:
		r := messages.RunsReply{ID: m.Id}
		for _, run := range m.Runs {
			r.Runs = append(r.Runs, d.run(run))
		}
		return r
	case *pb.ListCrashesResponse:
		r := messages.CrashesReply{}
		for _, c := range m.Crashes {
			r.Crashes = append(r.Crashes, d.crash(c))
		}
		return r
	case *pb.GetCrashResponse:
		return d.crash(m.GetCrash())
	case *pb.ReloadConfigRequest:
		return messages.ReloadConfig{DryRun: m.DryRun}

	case *pb.StartCollectorResponse:
		return messages.StartReply{ID: m.Id, PID: int(m.Pid), Incarnation: m.Incarnation}
	case *pb.StopCollectorResponse:
		r := messages.StopReply{ID: m.Id}
		if exit := d.exit(m.Exit); exit != nil {
			r.Exit = *exit
		}
		return r
	case *pb.RestartCollectorResponse:
		return messages.RestartReply{ID: m.Id, PID: int(m.Pid), Incarnation: m.Incarnation}
	case *pb.PauseCollectorResponse:
		return messages.PauseReply{ID: m.Id}
	case *pb.ResumeCollectorResponse:
		return messages.ResumeReply{ID: m.Id}
	case *pb.ReloadCollectorResponse:
		return messages.ReloadReply{ID: m.Id}
	case *pb.LimitCollectorResponse:
		return messages.LimitReply{ID: m.Id, Limits: d.limits("limits", m.Limits), Unmet: m.Unmet}
	case *pb.SendHeartbeatResponse:
		return messages.HeartbeatReply{ID: m.Id}
	case *pb.SignalCollectorResponse:
		return messages.SignalReply{ID: m.Id}
	case *pb.RemoveCollectorResponse:
		return messages.RemoveReply{ID: m.Id}
	case *pb.ResetCollectorResponse:
		return messages.ResetReply{ID: m.Id}
	case *pb.ShutdownResponse:
		r := messages.ShutdownReply{Stopped: m.Stopped, Forced: m.Forced, Code: int(m.Code), Reason: m.Reason}
		for _, left := range m.Left {
			r.Left = append(r.Left, messages.Remainder{ID: left.Id, PID: int(left.Pid), Reason: left.Reason})
		}
		return r
	case *pb.GetStatusResponse:
		return d.status(m.GetStatus())
	case *pb.ListCollectorsResponse:
		r := messages.ListReply{}
		for _, status := range m.Collectors {
			r.Collectors = append(r.Collectors, d.status(status))
		}
		for _, g := range m.Groups {
			r.Groups = append(r.Groups, messages.GroupStatus{
				Name: g.Name, Parent: g.Parent, Strategy: config.Strategy(g.Strategy), Children: g.Children, State: state(g.State), Reason: g.Reason,
				RestartCount: int(g.RestartCount), RestartsLeft: int(g.RestartsLeft), NextRestart: decodeTime(g.NextRestart),
			})
		}
		return r
	case *pb.GetGraphResponse:
		r := messages.Graph{}
		for _, n := range m.Nodes {
			r.Nodes = append(r.Nodes, messages.Node{
				ID: n.Id, Group: n.Group, State: state(n.State), Requires: decodeDependencies(n.Requires), Wants: n.Wants, After: decodeDependencies(n.After),
				Previous: n.Previous, Asked: decodeTime(n.Asked), Ordered: decodeTime(n.Ordered), Up: decodeTime(n.Up),
			})
		}
		return r
	case *pb.CheckHealthResponse:
		return messages.HealthReply{ID: m.Id, Health: health(m.Health), Reasons: m.Reasons}
	case *pb.InspectCollectorResponse:
		return messages.Inspection{
			Status: d.status(m.Status), Config: d.collector(m.GetStatus().GetId(), m.Config), Wanted: m.Wanted, Declared: m.Declared,
			RestartsLeft: int(m.RestartsLeft), Detail: m.Detail,
		}
	case *pb.GetSupervisorResponse:
		return d.info(m)
	case *pb.DescribeActorsResponse:
		return messages.DescribeReply{Actors: m.Actors}
	case *pb.ApplyConfigResponse:
		return d.plan(m.GetPlan())
	case *pb.ReloadConfigResponse:
		return d.plan(m.GetPlan())
	}
	d.problem("", "", fmt.Sprintf("a %T is no command and no reply", message), "")
	return nil
}

func (d *decoder) problem(key, value, message, hint string) {
	d.problems = append(d.problems, config.Problem{Key: key, Value: value, Message: message, Hint: hint})
}

// seconds is a time. What is not a time is a problem; whether it is a sensible
// one is for others to say.
func (d *decoder) seconds(key string, s float64) time.Duration {
	switch {
	case math.IsNaN(s):
		d.problem(key, "nan", "nan is not a time", "use a number of seconds")
	case s < 0:
		d.problem(key, fmt.Sprint(s), fmt.Sprintf("a time cannot be negative: %v s", s), "leave it out for its default")
	case s > config.MaxTime.Seconds():
		d.problem(key, fmt.Sprint(s), fmt.Sprintf("%v s is more than 100 years", s), "use at most "+config.Seconds(config.MaxTime))
	default:
		return fromSeconds(s)
	}
	return 0
}

// fromSeconds is a time that a supervisor tells.
func fromSeconds(s float64) time.Duration {
	const exact = 26 * 24 * 3600 // a float64 has the nanoseconds of what is shorter
	switch {
	case math.IsNaN(s) || math.Abs(s) > math.MaxInt64/1e9:
		return 0
	case math.Abs(s) > exact:
		return time.Duration(math.Round(s*1e6)) * time.Microsecond
	}
	return time.Duration(math.Round(s * 1e9))
}

func (d *decoder) optionalSeconds(key string, s *float64, none time.Duration) time.Duration {
	switch {
	case s == nil:
		return 0
	case *s == 0:
		return none
	}
	return d.seconds(key, *s)
}

func (d *decoder) optionalCount(key string, n *int32) int {
	switch {
	case n == nil:
		return 0
	case *n == 0:
		return config.None
	}
	return d.count(key, *n)
}

func (d *decoder) count(key string, n int32) int {
	if n < 0 {
		d.problem(key, fmt.Sprint(n), fmt.Sprintf("%d is negative", n), "leave it out for its default")
		return 0
	}
	return int(n)
}

func decodeTime(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}

func decodeSwitch(b *bool) config.Switch {
	switch {
	case b == nil:
		return config.Unsaid
	case *b:
		return config.On
	}
	return config.Off
}

func decodeList(list *pb.StringList) []string {
	if list == nil {
		return nil
	}
	return append([]string{}, list.Values...)
}

func (d *decoder) output(at string, o *pb.OutputConfig) config.Output {
	if o == nil {
		return config.Output{}
	}
	return config.Output{
		Target: config.OutputTarget(o.Target), Path: o.Path,
		MaxSizeMB: d.count(at+".max_size_mb", o.MaxSizeMb), MaxFiles: d.count(at+".max_files", o.MaxFiles),
		MaxAgeDays: d.optionalCount(at+".max_age_days", o.MaxAgeDays), Compress: config.Compression(o.Compress),
		Format: config.OutputFormat(o.Format), Streams: config.OutputStreams(o.Streams),
		Timestamps: decodeSwitch(o.Timestamps), Lossless: decodeSwitch(o.Lossless), MaxLineKB: d.count(at+".max_line_kb", o.MaxLineKb),
		RateLimit: d.optionalCount(at+".rate_limit_lines_per_second", o.RateLimitLinesPerSecond),
		TailLines: d.count(at+".tail_lines", o.TailLines), Mask: decodeList(o.Mask), MultilineStart: o.MultilineStart, Also: decodeList(o.Also),
	}
}

func (d *decoder) collector(id string, c *pb.CollectorConfig) config.Collector {
	if c == nil {
		return config.Collector{}
	}
	key := func(name string) string { return config.Key("collectors", id, name) }
	return config.Collector{
		Type: c.Type, BinaryPath: c.BinaryPath, Args: c.Args, Env: c.Env, ClearEnv: c.ClearEnv, WorkingDir: c.WorkingDir,
		AutoRestart: c.AutoRestart, Restart: config.Restart(c.Restart),
		MaxRestarts:      d.optionalCount(key("max_restarts"), c.MaxRestarts),
		RestartWindow:    d.optionalSeconds(key("restart_window_seconds"), c.RestartWindowSeconds, config.Forever),
		BackoffInitial:   d.optionalSeconds(key("backoff_initial_seconds"), c.BackoffInitialSeconds, config.None),
		BackoffMax:       d.seconds(key("backoff_max_seconds"), c.BackoffMaxSeconds),
		BackoffReset:     d.optionalSeconds(key("backoff_reset_seconds"), c.BackoffResetSeconds, config.None),
		GracefulTimeout:  d.seconds(key("graceful_timeout_seconds"), c.GracefulTimeoutSeconds),
		ForceTimeout:     d.seconds(key("force_timeout_seconds"), c.ForceTimeoutSeconds),
		StopSignal:       c.StopSignal,
		Output:           d.output(key("output"), c.Output),
		Kind:             config.Kind(c.Kind),
		SuccessExitCodes: c.SuccessExitCodes, NoRestartExitCodes: c.NoRestartExitCodes,
		RetryFailedAfter: d.seconds(key("retry_failed_after_seconds"), c.RetryFailedAfterSeconds),
		Autostart:        c.Autostart,
		User:             c.User, UnixGroup: c.UnixGroup, SupplementaryGroups: decodeList(c.SupplementaryGroups), ResourceLimits: d.limits(key("resource_limits"), c.ResourceLimits),
		Readiness: config.Readiness(c.Readiness), StartupTimeout: d.seconds(key("startup_timeout_seconds"), c.StartupTimeoutSeconds),
		Activity: d.activity(key("activity"), c.Activity), Warn: d.warnings(key("warn"), c.Warn),
		Liveness: d.probe(key("liveness"), c.Liveness), ReadinessProbe: d.probe(key("readiness_probe"), c.ReadinessProbe),
		StartupProbe: d.probe(key("startup_probe"), c.StartupProbe), RestartOnUnhealthy: decodeSwitch(c.RestartOnUnhealthy),
		ReadinessFD: d.count(key("readiness_fd"), c.ReadinessFd), ReadinessPattern: c.ReadinessPattern, Notify: decodeSwitch(c.Notify),
		Watchdog: d.seconds(key("watchdog_seconds"), c.WatchdogSeconds), WatchdogSignal: c.WatchdogSignal,
		Group: c.Group, Significant: c.Significant,
		StopSequence: d.sequence(key("stop_sequence"), c.StopSequence), ReloadSignal: c.ReloadSignal, ReloadNotify: c.ReloadNotify,
		PreStart: c.PreStart, PostStart: c.PostStart, PreStop: c.PreStop, PostExit: c.PostExit,
		StopCommand: c.StopCommand, ReloadCommand: c.ReloadCommand, HookTimeout: d.seconds(key("hook_timeout_seconds"), c.HookTimeoutSeconds),
		Requires: decodeDependencies(c.Requires), Wants: c.Wants, After: decodeDependencies(c.After),
		Umask: c.Umask, Capabilities: decodeList(c.Capabilities), NoNewPrivileges: decodeSwitch(c.NoNewPrivileges), RootDirectory: c.RootDirectory,
		ReadOnlyPaths: c.ReadOnlyPaths, ReadWritePaths: c.ReadWritePaths, InaccessiblePaths: c.InaccessiblePaths,
		PrivateTmp: c.PrivateTmp, Seccomp: c.Seccomp, BinarySHA256: c.BinarySha256, ConfinementRequired: decodeSwitch(c.ConfinementRequired),
		KeepFds: counts(c.KeepFds), Secrets: c.Secrets,
	}
}

func (d *decoder) sequence(key string, steps []*pb.StopStep) []config.StopStep {
	var out []config.StopStep
	for i, s := range steps {
		out = append(out, config.StopStep{Signal: s.GetSignal(), After: d.seconds(config.Element(key, i), s.GetAfterSeconds())})
	}
	return out
}

func decodeDependencies(list []*pb.Dependency) []config.Dependency {
	var out []config.Dependency
	for _, d := range list {
		out = append(out, config.Dependency{ID: d.GetId(), Condition: config.Condition(d.GetCondition())})
	}
	return out
}

func (d *decoder) group(name string, g *pb.GroupConfig) config.Group {
	key := func(part string) string { return config.Key("groups", name, part) }
	return config.Group{
		Parent: g.GetParent(), Strategy: config.Strategy(g.GetStrategy()),
		MaxRestarts:   d.optionalCount(key("max_restarts"), g.MaxRestarts),
		RestartWindow: d.optionalSeconds(key("restart_window_seconds"), g.RestartWindowSeconds, config.Forever),
		OnEscalation:  config.Escalation(g.GetOnEscalation()), AutoShutdown: config.AutoShutdown(g.GetAutoShutdown()), Significant: g.GetSignificant(),
		ResourceLimits: d.limits(key("resource_limits"), g.GetResourceLimits()),
	}
}

func (d *decoder) limits(at string, l *pb.ResourceLimits) config.ResourceLimits {
	if l == nil {
		return config.ResourceLimits{}
	}
	out := config.ResourceLimits{ // whether they are in range is for their validation to say
		CPUPercent: int(l.CpuPercent), CPUWeight: int(l.CpuWeight), MemoryMaxMB: int(l.MemoryMaxMb), MemoryHighMB: int(l.MemoryHighMb),
		SwapMaxMB: d.optionalCount(at+".swap_max_mb", l.SwapMaxMb), TasksMax: int(l.TasksMax), OpenFiles: int(l.OpenFiles),
		CoreMB: d.optionalCount(at+".core_mb", l.CoreMb), Nice: int(l.Nice), OOMScoreAdjust: int(l.OomScoreAdjust), Required: l.Required,
		IOReadMBPerSecond: int(l.IoReadMbPerSecond), IOWriteMBPerSecond: int(l.IoWriteMbPerSecond), IOWeight: int(l.IoWeight),
		MemorySoftMB: int(l.MemorySoftMb), MemorySoft: d.optionalSeconds(at+".memory_soft_seconds", l.MemorySoftSeconds, config.None),
	}
	out.CPUAffinity = counts(l.CpuAffinity)
	return out
}

func counts(list []int32) []int {
	var out []int
	for _, n := range list {
		out = append(out, int(n))
	}
	return out
}

func (d *decoder) activity(at string, a *pb.Activity) config.Activity {
	return config.Activity{
		Source: config.ActivitySource(a.GetSource()), URL: a.GetUrl(), Metric: a.GetMetric(),
		MaxSilence: d.seconds(at+".max_silence_seconds", a.GetMaxSilenceSeconds()), MinPerMinute: d.count(at+".min_per_minute", a.GetMinPerMinute()),
		RestartOnSilence: a.GetRestartOnSilence(),
	}
}

func (d *decoder) warnings(at string, w *pb.UsageWarnings) config.Warnings {
	if w == nil {
		return config.Warnings{}
	}
	return config.Warnings{
		MemoryPercent: d.count(at+".memory_percent", w.MemoryPercent), CPUPercent: d.count(at+".cpu_percent", w.CpuPercent),
		TasksPercent: d.count(at+".tasks_percent", w.TasksPercent), For: d.optionalSeconds(at+".for_seconds", w.ForSeconds, config.None),
	}
}

func (d *decoder) probe(at string, p *pb.Probe) config.Probe {
	if p == nil {
		return config.Probe{}
	}
	return config.Probe{
		Exec: decodeList(p.Exec), HTTP: p.Http, TCP: p.Tcp, GRPC: p.Grpc, Unix: p.Unix,
		InitialDelay: d.seconds(at+".initial_delay_seconds", p.InitialDelaySeconds), Period: d.seconds(at+".period_seconds", p.PeriodSeconds),
		Timeout:          d.seconds(at+".timeout_seconds", p.TimeoutSeconds),
		FailureThreshold: d.count(at+".failure_threshold", p.FailureThreshold), SuccessThreshold: d.count(at+".success_threshold", p.SuccessThreshold),
	}
}

func (d *decoder) config(c *pb.Config) config.Config {
	key := func(name string) string { return "process_manager." + name }
	pm := c.GetProcessManager()
	out := config.Config{ProcessManager: config.ProcessManager{
		CollectorBinaries:          pm.GetCollectorBinaries(),
		DefaultGracefulTimeout:     d.seconds(key("default_graceful_timeout_seconds"), pm.GetDefaultGracefulTimeoutSeconds()),
		DefaultForceTimeout:        d.seconds(key("default_force_timeout_seconds"), pm.GetDefaultForceTimeoutSeconds()),
		HealthCheckInterval:        d.seconds(key("health_check_interval_seconds"), pm.GetHealthCheckIntervalSeconds()),
		HeartbeatTimeoutMultiplier: d.count(key("heartbeat_timeout_multiplier"), pm.GetHeartbeatTimeoutMultiplier()),
		StartConcurrency:           d.count(key("start_concurrency"), pm.GetStartConcurrency()),
		ExitWith:                   pm.GetExitWith(),
		MaxSpawnsPerSecond:         d.count(key("max_spawns_per_second"), pm.GetMaxSpawnsPerSecond()),
		EnableAutoRestart:          pm.GetEnableAutoRestart(),
		StateDir:                   pm.GetStateDir(),
		Output:                     d.output("output", pm.GetOutput()),
		LogPath:                    pm.GetLogPath(),
		CgroupParent:               pm.GetCgroupParent(),
		OnSupervisorDeath:          config.OnDeath(pm.GetOnSupervisorDeath()),
		Runs: config.Runs{ // whether they are in range is for their validation to say
			MaxPerCollector: int(pm.GetRuns().GetMaxPerCollector()), MaxSizeMB: int(pm.GetRuns().GetMaxSizeMb()),
			MaxAgeDays: int(pm.GetRuns().GetMaxAgeDays()), MaxCrashes: int(pm.GetRuns().GetMaxCrashes()),
		},
	}}
	if len(c.GetCollectors()) > 0 {
		out.Collectors = make(map[string]config.Collector, len(c.Collectors))
		for id, collector := range c.Collectors {
			out.Collectors[id] = d.collector(id, collector)
		}
	}
	if len(c.GetGroups()) > 0 {
		out.Groups = make(map[string]config.Group, len(c.Groups))
		for name, group := range c.Groups {
			out.Groups[name] = d.group(name, group)
		}
	}
	out.Order = c.GetOrder()
	return out
}

// state, health and action take what a later version may say, and this one does
// not know, as the first of theirs.
func state(s pb.State) messages.State {
	if s < 1 || s > messages.NumStates {
		return 0
	}
	return messages.State(s - 1)
}

func health(h pb.Health) messages.Health {
	if h < 1 || h > pb.Health_HEALTH_UNHEALTHY {
		return 0
	}
	return messages.Health(h - 1)
}

func action(a pb.Action) messages.Action {
	if a < 1 || a > messages.NumActions {
		return 0
	}
	return messages.Action(a - 1)
}

func (d *decoder) exit(e *pb.Exit) *messages.Exit {
	if e == nil {
		return nil
	}
	code := int(e.Code)
	if code < -1 {
		code = int(uint32(e.Code))
	}
	return &messages.Exit{
		Incarnation: e.Incarnation, PID: int(e.Pid), Code: code, Signal: e.Signal, CoreDumped: e.CoreDumped, Forced: e.Forced,
		At: decodeTime(e.At), Ran: fromSeconds(e.RanSeconds), SpawnError: e.SpawnError, Fault: e.Fault, Tail: e.Tail,
		UserTime: fromSeconds(e.UserTimeSeconds), SystemTime: fromSeconds(e.SystemTimeSeconds), MaxRSS: e.MaxRssBytes, MemoryPeak: e.MemoryPeakBytes,
		OOMKills: int(e.OomKills), Unhealthy: e.Unhealthy, Illness: messages.Illness(max(0, min(e.Illness, messages.NumIllnesses-1))),
	}
}

func (d *decoder) status(s *pb.CollectorStatus) messages.Status {
	t := s.GetTotals()
	return messages.Status{
		ID: s.GetId(), Type: s.GetType(), Group: s.GetGroup(), State: state(s.GetState()), PID: int(s.GetPid()), Incarnation: s.GetIncarnation(),
		Since: decodeTime(s.GetSince()), StartedAt: decodeTime(s.GetStartedAt()), Uptime: fromSeconds(s.GetUptimeSeconds()),
		RestartCount: int(s.GetRestartCount()), NextRestart: decodeTime(s.GetNextRestart()), LastExit: d.exit(s.GetLastExit()),
		Reason: s.GetReason(), Health: health(s.GetHealth()), HealthReasons: s.GetHealthReasons(), HealthSince: decodeTime(s.GetHealthSince()),
		Totals: messages.Totals{
			Starts: t.GetStarts(), Restarts: t.GetRestarts(), SpawnFailures: t.GetSpawnFailures(), Clean: t.GetClean(), Failures: t.GetFailures(),
			Signals: t.GetSignals(), Forced: t.GetForced(), Faults: t.GetFaults(), LastStart: fromSeconds(t.GetLastStartSeconds()), Unhealthy: t.GetUnhealthy(),
		},
		Said: decodeSaid(s.GetSaid()), Confinement: s.GetConfinement(), Unmet: s.GetUnmet(),
	}
}

func decodeSaid(s *pb.Said) messages.Said {
	return messages.Said{
		Status: s.GetStatus(), Reloading: s.GetReloading(), Stopping: s.GetStopping(), Errno: int(s.GetErrno()), Error: s.GetError(),
		ExitStatus: s.GetExitStatus(), MainPID: int(s.GetMainPid()), Heartbeat: decodeTime(s.GetHeartbeat()),
	}
}

func (d *decoder) info(m *pb.GetSupervisorResponse) messages.SupervisorInfo {
	info := messages.SupervisorInfo{
		Instance: m.Instance, PID: int(m.Pid), StartedAt: decodeTime(m.StartedAt), Closing: m.Closing, LastEvent: m.LastEvent, Mailbox: int(m.Mailbox),
		Spawns: messages.Histogram{Count: m.GetSpawns().GetCount(), Sum: fromSeconds(m.GetSpawns().GetSumSeconds())},
	}
	for _, s := range m.States {
		info.States[state(s.State)] += int(s.Count)
	}
	for _, c := range m.Commands {
		if info.Commands == nil {
			info.Commands = map[string]map[string]uint64{}
		}
		if info.Commands[c.Operation] == nil {
			info.Commands[c.Operation] = map[string]uint64{}
		}
		info.Commands[c.Operation][c.Result] += c.Count
	}
	for i, b := range m.GetSpawns().GetBuckets() {
		if i < messages.NumBuckets {
			info.Spawns.Counts[i] = b.Count
		}
	}
	return info
}

func (d *decoder) plan(p *pb.Plan) messages.ApplyReply {
	r := messages.ApplyReply{DryRun: p.GetDryRun(), Kept: int(p.GetKept())}
	for _, c := range p.GetChanges() {
		r.Changes = append(r.Changes, messages.Change{
			ID: c.Id, Action: action(c.Action), Reasons: c.Reasons, Err: decodeError(c.Error), RolledBack: c.RolledBack,
		})
	}
	return r
}

func decodeError(w *pb.Error) *messages.Error {
	if w == nil {
		return nil
	}
	e := &messages.Error{Op: w.Operation, ID: w.Collector, State: state(w.State), Text: w.Text}
	for kind := range messages.Kind(messages.NumKinds) {
		if kind.Code() == w.Code {
			e.Kind = kind
		}
	}
	switch {
	case w.SupervisorEnded:
		e.Err = actors.ErrNoSupervisor
	case len(w.Problems) > 0 && w.Problems[0].File != "":
		var problems toml.Problems
		for _, p := range w.Problems {
			problems = append(problems, toml.Problem{File: p.File, Line: int(p.Line), Column: int(p.Column), Problem: decodeProblem(p)})
		}
		e.Err = problems
	case len(w.Problems) > 0:
		var problems config.Problems
		for _, p := range w.Problems {
			problems = append(problems, decodeProblem(p))
		}
		e.Err = problems
	case w.Cause != "":
		e.Err = errors.New(w.Cause)
	}
	return e
}

func decodeProblem(p *pb.Problem) config.Problem {
	return config.Problem{Key: p.Key, Value: p.Value, Message: p.Message, Hint: p.Hint, Related: p.Related}
}

// decodeEvent is an event, or false if it says something that only later versions
// know.
func decodeEvent(w *pb.Event) (messages.Event, bool) {
	var d decoder
	e := messages.Event{
		Seq: w.Sequence, At: decodeTime(w.At), ID: w.Collector, Incarnation: w.Incarnation,
		Origin: messages.Origin{By: w.By, Correlation: w.CorrelationId},
	}
	switch f := w.Fact.(type) {
	case *pb.Event_Added:
		e.Fact = messages.Added{Type: f.Added.GetType()}
	case *pb.Event_Removed:
		e.Fact = messages.Removed{}
	case *pb.Event_StateChanged:
		s := f.StateChanged
		e.Fact = messages.StateChanged{From: state(s.GetFrom()), To: state(s.GetTo()), PID: int(s.GetPid()), Reason: s.GetReason(), NextRestart: decodeTime(s.GetNextRestart())}
	case *pb.Event_Exited:
		exit := cmp.Or(d.exit(f.Exited.GetExit()), &messages.Exit{})
		e.Fact = messages.Exited{Exit: *exit, Expected: f.Exited.GetExpected(), Because: f.Exited.GetBecause()}
	case *pb.Event_RestartScheduled:
		r := f.RestartScheduled
		e.Fact = messages.RestartScheduled{Cause: r.GetCause(), After: fromSeconds(r.GetAfterSeconds()), At: decodeTime(r.GetAt()),
			Count: int(r.GetCount()), Left: int(r.GetLeft()), Window: fromSeconds(r.GetWindowSeconds())}
	case *pb.Event_StopForced:
		e.Fact = messages.StopForced{PID: int(f.StopForced.GetPid()), After: fromSeconds(f.StopForced.GetAfterSeconds()), Exited: f.StopForced.GetExited()}
	case *pb.Event_TerminateFailure:
		e.Fact = messages.TerminateFailure{PID: int(f.TerminateFailure.GetPid()), After: fromSeconds(f.TerminateFailure.GetAfterSeconds())}
	case *pb.Event_Crashed:
		e.Fact = messages.Crashed{Reason: f.Crashed.GetReason()}
	case *pb.Event_ShuttingDown:
		e.Fact = messages.ShuttingDown{}
	case *pb.Event_Begun:
		e.Fact = messages.Begun{Instance: f.Begun.GetInstance(), PID: int(f.Begun.GetPid())}
	case *pb.Event_ConfigApplied:
		c := f.ConfigApplied
		e.Fact = messages.ConfigApplied{Added: int(c.GetAdded()), Removed: int(c.GetRemoved()), Changed: int(c.GetChanged()), Failed: c.GetFailed()}
	case *pb.Event_Audited:
		e.Fact = messages.Audited{Op: f.Audited.GetOperation(), Err: decodeError(f.Audited.GetError()), Denied: f.Audited.GetDenied()}
	case *pb.Event_OutputLost:
		e.Fact = messages.OutputLost{Reason: f.OutputLost.GetReason()}
	case *pb.Event_OutputStored:
		e.Fact = messages.OutputStored{Lines: f.OutputStored.GetLines(), Bytes: f.OutputStored.GetBytes()}
	case *pb.Event_HealthChanged:
		h := f.HealthChanged
		e.Fact = messages.HealthChanged{From: health(h.GetFrom()), To: health(h.GetTo()), Reason: h.GetReason()}
	case *pb.Event_Reloaded:
		e.Fact = messages.Reloaded{}
	case *pb.Event_HookFailed:
		e.Fact = messages.HookFailed{Hook: f.HookFailed.GetHook(), Reason: f.HookFailed.GetReason()}
	case *pb.Event_NotifyRefused:
		e.Fact = messages.NotifyRefused{Reason: f.NotifyRefused.GetReason()}
	case *pb.Event_UsageHigh:
		u := f.UsageHigh
		e.Fact = messages.UsageHigh{
			Resource: u.GetResource(), Percent: u.GetPercent(), Threshold: int(u.GetThreshold()), Used: u.GetUsed(), Limit: u.GetLimit(), For: fromSeconds(u.GetForSeconds()),
		}
	case *pb.Event_UsageNormal:
		u := f.UsageNormal
		e.Fact = messages.UsageNormal{
			Resource: u.GetResource(), Percent: u.GetPercent(), Threshold: int(u.GetThreshold()), Lasted: fromSeconds(u.GetLastedSeconds()), Ended: u.GetEnded(),
		}
	case *pb.Event_GroupRestarting:
		g := f.GroupRestarting
		e.Fact = messages.GroupRestarting{
			Child: g.GetChild(), Cause: g.GetCause(), Collectors: g.GetCollectors(), After: fromSeconds(g.GetAfterSeconds()), Left: int(g.GetLeft()),
		}
	case *pb.Event_GroupEnded:
		e.Fact = messages.GroupEnded{Failed: f.GroupEnded.GetFailed(), Reason: f.GroupEnded.GetReason()}
	case *pb.Event_Lost:
		e.Fact = messages.Lost{Count: f.Lost.GetCount()}
	default:
		return e, false
	}
	return e, true
}

// maxExpression is the length of the longest expression that is searched for, in bytes.
const maxExpression = 4 << 10

// decodeQuery is what a caller wants to read of logs.
func decodeQuery(w *pb.ReadLogsRequest) (ids []string, q capture.Query, err error) {
	refuse := func(key, format string, args ...any) error {
		return &messages.Error{Op: "logs", Kind: messages.InvalidConfig, Text: key + ": " + fmt.Sprintf(format, args...)}
	}
	for _, id := range w.Ids {
		if len(id) > maxID {
			return nil, q, refuse("ids", "%s has %d bytes; an id has 1 to 64", short(id), len(id))
		}
		if _, err := path.Match(id, ""); err != nil {
			return nil, q, refuse("ids", "%s is no pattern: * is any characters, ? is one, [a-c] is one of those", id)
		}
	}
	q = capture.Query{
		Since: decodeTime(w.Since), Until: decodeTime(w.Until), Stream: capture.Stream(w.Stream), Run: w.Run, Previous: w.Previous,
		Last: int(min(w.Last, math.MaxInt32)), New: w.NewOnly, Follow: w.Follow, After: decodeCursor(w.After),
	}
	if w.Stream < pb.Stream_STREAM_UNSPECIFIED || w.Stream > pb.Stream_STREAM_STDERR {
		return nil, q, refuse("stream", "%d is none of them", w.Stream)
	}
	if len(w.Grep) > maxExpression {
		return nil, q, refuse("grep", "the expression has %d bytes; it may have %d", len(w.Grep), maxExpression)
	}
	if w.Grep != "" {
		if q.Grep, err = regexp.Compile(w.Grep); err != nil {
			return nil, q, refuse("grep", "%v", err)
		}
	}
	return w.Ids, q, nil
}

func decodeCursor(w map[string]*pb.LogPosition) capture.Cursor {
	if len(w) == 0 {
		return nil
	}
	c := make(capture.Cursor, len(w))
	for id, position := range w {
		c[id] = decodePosition(position)
	}
	return c
}

func decodePosition(p *pb.LogPosition) capture.Position {
	return capture.Position{File: p.GetFile(), Offset: max(p.GetOffset(), 0)}
}

// decodeRecord is a record, or why there is none.
func decodeRecord(w *pb.LogRecord) (capture.Record, error) {
	r := capture.Record{
		ID: w.Id, Time: decodeTime(w.Time), Stream: capture.Stream(w.Stream), Incarnation: w.Incarnation, Partial: w.Partial,
		Position: decodePosition(w.Position),
	}
	switch c := w.Content.(type) {
	case *pb.LogRecord_Text:
		r.Text = []byte(c.Text)
	case *pb.LogRecord_Bytes:
		r.Text = c.Bytes
	case *pb.LogRecord_Gap:
		r.Gap = &capture.Gap{Lines: c.Gap.GetLines(), Bytes: c.Gap.GetBytes(), Reason: c.Gap.GetReason()}
	case *pb.LogRecord_Error:
		return r, decodeError(c.Error)
	}
	return r, nil
}
