package control

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/config/toml"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// encode is a command or a reply of package messages as it travels; nil if it is
// none that does. decode is the reverse.
func encode(message any) proto.Message {
	switch m := message.(type) {
	case messages.StartCollector:
		q := &pb.StartCollectorRequest{Id: m.ID, Type: m.Type}
		if m.Config != nil {
			q.Config = encodeCollector(*m.Config)
		}
		return q
	case messages.StopCollector:
		return &pb.StopCollectorRequest{Id: m.ID, Force: m.Force, TimeoutSeconds: m.Timeout.Seconds()}
	case messages.RestartCollector:
		return &pb.RestartCollectorRequest{Id: m.ID, TimeoutSeconds: m.Timeout.Seconds()}
	case messages.PauseCollector:
		return &pb.PauseCollectorRequest{Id: m.ID}
	case messages.ResumeCollector:
		return &pb.ResumeCollectorRequest{Id: m.ID}
	case messages.ReloadCollector:
		return &pb.ReloadCollectorRequest{Id: m.ID}
	case messages.LimitCollector:
		return &pb.LimitCollectorRequest{Id: m.ID, Limits: textMap(m.Limits)}
	case messages.SendHeartbeat:
		return &pb.SendHeartbeatRequest{Id: m.ID, Status: m.Status}
	case messages.SignalCollector:
		return &pb.SignalCollectorRequest{Id: m.ID, Signal: m.Signal, Group: m.Group}
	case messages.RemoveCollector:
		return &pb.RemoveCollectorRequest{Id: m.ID}
	case messages.ResetCollector:
		return &pb.ResetCollectorRequest{Id: m.ID}
	case messages.Shutdown:
		return &pb.ShutdownRequest{Force: m.Force, TimeoutSeconds: m.Timeout.Seconds()}
	case messages.GetStatus:
		return &pb.GetStatusRequest{Id: m.ID}
	case messages.ListCollectors:
		return &pb.ListCollectorsRequest{}
	case messages.CheckHealth:
		return &pb.CheckHealthRequest{Id: m.ID}
	case messages.InspectCollector:
		return &pb.InspectCollectorRequest{Id: m.ID}
	case messages.GetUsage:
		return &pb.GetUsageRequest{Ids: texts(m.IDs), Full: m.Full, Rate: m.Rate}
	case messages.UsageReply:
		return encodeUsageReply(m)
	case messages.GetSupervisor:
		return &pb.GetSupervisorRequest{}
	case messages.GetGraph:
		return &pb.GetGraphRequest{}
	case messages.DescribeActors:
		return &pb.DescribeActorsRequest{}
	case messages.ApplyConfig:
		return &pb.ApplyConfigRequest{Config: encodeConfig(m.Config), DryRun: m.DryRun}
	case messages.ReloadConfig:
		return &pb.ReloadConfigRequest{DryRun: m.DryRun}

	case messages.StartReply:
		return &pb.StartCollectorResponse{Id: text(m.ID), Pid: uint32(m.PID), Incarnation: m.Incarnation}
	case messages.StopReply:
		return &pb.StopCollectorResponse{Id: text(m.ID), Exit: encodeExit(&m.Exit)}
	case messages.RestartReply:
		return &pb.RestartCollectorResponse{Id: text(m.ID), Pid: uint32(m.PID), Incarnation: m.Incarnation}
	case messages.PauseReply:
		return &pb.PauseCollectorResponse{Id: text(m.ID)}
	case messages.ResumeReply:
		return &pb.ResumeCollectorResponse{Id: text(m.ID)}
	case messages.ReloadReply:
		return &pb.ReloadCollectorResponse{Id: text(m.ID)}
	case messages.LimitReply:
		return &pb.LimitCollectorResponse{Id: m.ID, Limits: encodeLimits(m.Limits), Unmet: texts(m.Unmet)}
	case messages.HeartbeatReply:
		return &pb.SendHeartbeatResponse{Id: text(m.ID)}
	case messages.SignalReply:
		return &pb.SignalCollectorResponse{Id: text(m.ID)}
	case messages.RemoveReply:
		return &pb.RemoveCollectorResponse{Id: text(m.ID)}
	case messages.ResetReply:
		return &pb.ResetCollectorResponse{Id: text(m.ID)}
	case messages.ShutdownReply:
		r := &pb.ShutdownResponse{Stopped: texts(m.Stopped), Forced: texts(m.Forced), Code: int32(m.Code), Reason: text(m.Reason)}
		for _, left := range m.Left {
			r.Left = append(r.Left, &pb.Remainder{Id: text(left.ID), Pid: uint32(left.PID), Reason: text(left.Reason)})
		}
		return r
	case messages.Status:
		return &pb.GetStatusResponse{Status: encodeStatus(m)}
	case messages.ListReply:
		r := &pb.ListCollectorsResponse{Collectors: make([]*pb.CollectorStatus, len(m.Collectors))}
		for i, status := range m.Collectors {
			r.Collectors[i] = encodeStatus(status)
		}
		for _, g := range m.Groups {
			r.Groups = append(r.Groups, encodeGroupStatus(g))
		}
		return r
	case messages.Graph:
		r := &pb.GetGraphResponse{}
		for _, n := range m.Nodes {
			r.Nodes = append(r.Nodes, &pb.Node{
				Id: text(n.ID), Group: text(n.Group), State: pb.State(n.State + 1), Requires: encodeDependencies(n.Requires), Wants: texts(n.Wants),
				After: encodeDependencies(n.After), Previous: text(n.Previous), Asked: encodeTime(n.Asked), Ordered: encodeTime(n.Ordered), Up: encodeTime(n.Up),
			})
		}
		return r
	case messages.HealthReply:
		return &pb.CheckHealthResponse{Id: text(m.ID), Health: pb.Health(m.Health + 1), Reasons: texts(m.Reasons)}
	case messages.Inspection:
		return &pb.InspectCollectorResponse{
			Status: encodeStatus(m.Status), Config: encodeCollector(m.Config), Wanted: m.Wanted, Declared: m.Declared,
			RestartsLeft: int32(m.RestartsLeft), Detail: text(m.Detail),
		}
	case messages.SupervisorInfo:
		return encodeInfo(m)
	case messages.DescribeReply:
		return &pb.DescribeActorsResponse{Actors: texts(m.Actors)}
	case messages.GetRuns:
		return &pb.GetRunsRequest{Id: m.ID, Last: int32(m.Last)}
	case messages.ListCrashes:
		return &pb.ListCrashesRequest{Id: m.ID}
	case messages.GetCrash:
		return &pb.GetCrashRequest{Number: m.Number}
	case messages.RunsReply:
		r := &pb.GetRunsResponse{Id: text(m.ID)}
		for i := range m.Runs {
			r.Runs = append(r.Runs, encodeRun(&m.Runs[i]))
		}
		return r
	case messages.CrashesReply:
		r := &pb.ListCrashesResponse{}
		for i := range m.Crashes {
			r.Crashes = append(r.Crashes, encodeCrash(&m.Crashes[i]))
		}
		return r
	case messages.Crash:
		return &pb.GetCrashResponse{Crash: encodeCrash(&m)}
	case messages.ApplyReply:
		return &pb.ApplyConfigResponse{Plan: encodePlan(m)}
	}
	return nil
}

// text is what the protocol can carry of a text from the system beneath: a
// program's output, a file's name.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func texts(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = text(s)
	}
	return out
}

func textMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for key, value := range m {
		out[text(key)] = text(value)
	}
	return out
}

func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// optional is a setting whose zero value is its default, and that has another
// value for a real zero.
func optional[N int | time.Duration, W int32 | float64](value, none N, as func(N) W) *W {
	var w W
	switch value {
	case 0:
		return nil
	case none:
	default:
		w = as(value)
	}
	return &w
}

func count32(n int) int32               { return int32(n) }
func inSeconds(d time.Duration) float64 { return d.Seconds() }

func count32s(list []int) []int32 {
	var out []int32
	for _, n := range list {
		out = append(out, count32(n))
	}
	return out
}

func encodeSwitch(s config.Switch) *bool {
	if s == config.Unsaid {
		return nil
	}
	return proto.Bool(s == config.On)
}

func encodeList(list []string) *pb.StringList {
	if list == nil {
		return nil
	}
	return &pb.StringList{Values: texts(list)}
}

func encodeOutput(o config.Output) *pb.OutputConfig {
	w := &pb.OutputConfig{
		Target: text(string(o.Target)), Path: text(o.Path), MaxSizeMb: int32(o.MaxSizeMB), MaxFiles: int32(o.MaxFiles),
		MaxAgeDays: optional(o.MaxAgeDays, config.None, count32), Compress: text(string(o.Compress)), Format: text(string(o.Format)),
		Streams: text(string(o.Streams)), Timestamps: encodeSwitch(o.Timestamps), Lossless: encodeSwitch(o.Lossless),
		MaxLineKb: int32(o.MaxLineKB), RateLimitLinesPerSecond: optional(o.RateLimit, config.None, count32), TailLines: int32(o.TailLines),
		Mask: encodeList(o.Mask), MultilineStart: text(o.MultilineStart), Also: encodeList(o.Also),
	}
	if proto.Size(w) == 0 {
		return nil
	}
	return w
}

func encodeCollector(c config.Collector) *pb.CollectorConfig {
	return &pb.CollectorConfig{
		Type: text(c.Type), BinaryPath: text(c.BinaryPath), Args: texts(c.Args), Env: textMap(c.Env), ClearEnv: c.ClearEnv,
		WorkingDir: text(c.WorkingDir), AutoRestart: c.AutoRestart, Restart: text(string(c.Restart)),
		MaxRestarts:            optional(c.MaxRestarts, config.None, count32),
		RestartWindowSeconds:   optional(c.RestartWindow, config.Forever, inSeconds),
		BackoffInitialSeconds:  optional(c.BackoffInitial, config.None, inSeconds),
		BackoffMaxSeconds:      c.BackoffMax.Seconds(),
		BackoffResetSeconds:    optional(c.BackoffReset, config.None, inSeconds),
		GracefulTimeoutSeconds: c.GracefulTimeout.Seconds(), ForceTimeoutSeconds: c.ForceTimeout.Seconds(),
		StopSignal: text(c.StopSignal), Output: encodeOutput(c.Output), Kind: text(string(c.Kind)),
		SuccessExitCodes: texts(c.SuccessExitCodes), NoRestartExitCodes: texts(c.NoRestartExitCodes),
		RetryFailedAfterSeconds: c.RetryFailedAfter.Seconds(), Autostart: c.Autostart,
		User: text(c.User), UnixGroup: text(c.UnixGroup), SupplementaryGroups: encodeList(c.SupplementaryGroups), ResourceLimits: encodeLimits(c.ResourceLimits),
		Readiness: text(string(c.Readiness)), StartupTimeoutSeconds: c.StartupTimeout.Seconds(),
		Activity: encodeActivity(c.Activity), Warn: encodeWarnings(c.Warn),
		Liveness: encodeProbe(c.Liveness), ReadinessProbe: encodeProbe(c.ReadinessProbe), StartupProbe: encodeProbe(c.StartupProbe),
		RestartOnUnhealthy: encodeSwitch(c.RestartOnUnhealthy),
		ReadinessFd:        int32(c.ReadinessFD), ReadinessPattern: text(c.ReadinessPattern), Notify: encodeSwitch(c.Notify),
		WatchdogSeconds: c.Watchdog.Seconds(), WatchdogSignal: text(c.WatchdogSignal),
		Group: text(c.Group), Significant: c.Significant,
		StopSequence: encodeSequence(c.StopSequence), ReloadSignal: text(c.ReloadSignal), ReloadNotify: c.ReloadNotify,
		PreStart: texts(c.PreStart), PostStart: texts(c.PostStart), PreStop: texts(c.PreStop), PostExit: texts(c.PostExit),
		StopCommand: texts(c.StopCommand), ReloadCommand: texts(c.ReloadCommand), HookTimeoutSeconds: c.HookTimeout.Seconds(),
		Requires: encodeDependencies(c.Requires), Wants: texts(c.Wants), After: encodeDependencies(c.After),
		Umask: text(c.Umask), Capabilities: encodeList(c.Capabilities), NoNewPrivileges: encodeSwitch(c.NoNewPrivileges), RootDirectory: text(c.RootDirectory),
		ReadOnlyPaths: texts(c.ReadOnlyPaths), ReadWritePaths: texts(c.ReadWritePaths), InaccessiblePaths: texts(c.InaccessiblePaths),
		PrivateTmp: c.PrivateTmp, Seccomp: text(c.Seccomp), BinarySha256: text(c.BinarySHA256), ConfinementRequired: encodeSwitch(c.ConfinementRequired),
		KeepFds: count32s(c.KeepFds), Secrets: textMap(c.Secrets),
	}
}

func encodeSequence(steps []config.StopStep) []*pb.StopStep {
	var out []*pb.StopStep
	for _, s := range steps {
		out = append(out, &pb.StopStep{Signal: text(s.Signal), AfterSeconds: s.After.Seconds()})
	}
	return out
}

func encodeDependencies(list []config.Dependency) []*pb.Dependency {
	var out []*pb.Dependency
	for _, d := range list {
		out = append(out, &pb.Dependency{Id: text(d.ID), Condition: text(string(d.Condition))})
	}
	return out
}

func encodeGroupStatus(g messages.GroupStatus) *pb.GroupStatus {
	return &pb.GroupStatus{
		Name: text(g.Name), Parent: text(g.Parent), Strategy: text(string(g.Strategy)), Children: texts(g.Children), State: pb.State(g.State + 1),
		Reason: text(g.Reason), RestartCount: int32(g.RestartCount), RestartsLeft: int32(g.RestartsLeft), NextRestart: encodeTime(g.NextRestart),
	}
}

func encodeGroup(g config.Group) *pb.GroupConfig {
	return &pb.GroupConfig{
		Parent: text(g.Parent), Strategy: text(string(g.Strategy)),
		MaxRestarts:          optional(g.MaxRestarts, config.None, count32),
		RestartWindowSeconds: optional(g.RestartWindow, config.Forever, inSeconds),
		OnEscalation:         text(string(g.OnEscalation)), AutoShutdown: text(string(g.AutoShutdown)), Significant: g.Significant,
		ResourceLimits: encodeLimits(g.ResourceLimits),
	}
}

func encodeLimits(l config.ResourceLimits) *pb.ResourceLimits {
	w := &pb.ResourceLimits{
		CpuPercent: int32(l.CPUPercent), CpuWeight: int32(l.CPUWeight), MemoryMaxMb: int32(l.MemoryMaxMB), MemoryHighMb: int32(l.MemoryHighMB),
		SwapMaxMb: optional(l.SwapMaxMB, config.None, count32), TasksMax: int32(l.TasksMax), OpenFiles: int32(l.OpenFiles),
		CoreMb: optional(l.CoreMB, config.None, count32), Nice: int32(l.Nice), OomScoreAdjust: int32(l.OOMScoreAdjust), Required: l.Required,
		IoReadMbPerSecond: int32(l.IOReadMBPerSecond), IoWriteMbPerSecond: int32(l.IOWriteMBPerSecond), IoWeight: int32(l.IOWeight),
		MemorySoftMb: int32(l.MemorySoftMB), MemorySoftSeconds: optional(l.MemorySoft, config.None, inSeconds),
	}
	w.CpuAffinity = count32s(l.CPUAffinity)
	if proto.Size(w) == 0 {
		return nil
	}
	return w
}

func encodeActivity(a config.Activity) *pb.Activity {
	if a == (config.Activity{}) {
		return nil
	}
	return &pb.Activity{
		Source: text(string(a.Source)), Url: text(a.URL), Metric: text(a.Metric), MaxSilenceSeconds: a.MaxSilence.Seconds(),
		MinPerMinute: int32(a.MinPerMinute), RestartOnSilence: a.RestartOnSilence,
	}
}

func encodeWarnings(w config.Warnings) *pb.UsageWarnings {
	if w == (config.Warnings{}) {
		return nil
	}
	return &pb.UsageWarnings{
		MemoryPercent: int32(w.MemoryPercent), CpuPercent: int32(w.CPUPercent), TasksPercent: int32(w.TasksPercent), ForSeconds: optional(w.For, config.None, inSeconds),
	}
}

func encodeProbe(p config.Probe) *pb.Probe {
	w := &pb.Probe{
		Exec: encodeList(p.Exec), Http: text(p.HTTP), Tcp: text(p.TCP), Grpc: text(p.GRPC), Unix: text(p.Unix),
		InitialDelaySeconds: p.InitialDelay.Seconds(), PeriodSeconds: p.Period.Seconds(), TimeoutSeconds: p.Timeout.Seconds(),
		FailureThreshold: int32(p.FailureThreshold), SuccessThreshold: int32(p.SuccessThreshold),
	}
	if proto.Size(w) == 0 {
		return nil
	}
	return w
}

func encodeRuns(r config.Runs) *pb.RunsConfig {
	if r == (config.Runs{}) {
		return nil
	}
	return &pb.RunsConfig{MaxPerCollector: int32(r.MaxPerCollector), MaxSizeMb: int32(r.MaxSizeMB), MaxAgeDays: int32(r.MaxAgeDays), MaxCrashes: int32(r.MaxCrashes)}
}

func encodeConfig(c config.Config) *pb.Config {
	pm := c.ProcessManager
	w := &pb.Config{ProcessManager: &pb.ProcessManagerConfig{
		CollectorBinaries:             textMap(pm.CollectorBinaries),
		DefaultGracefulTimeoutSeconds: pm.DefaultGracefulTimeout.Seconds(), DefaultForceTimeoutSeconds: pm.DefaultForceTimeout.Seconds(),
		HealthCheckIntervalSeconds: pm.HealthCheckInterval.Seconds(), HeartbeatTimeoutMultiplier: int32(pm.HeartbeatTimeoutMultiplier),
		MaxSpawnsPerSecond: int32(pm.MaxSpawnsPerSecond), StartConcurrency: int32(pm.StartConcurrency), ExitWith: text(pm.ExitWith), EnableAutoRestart: pm.EnableAutoRestart,
		StateDir: text(pm.StateDir), Output: encodeOutput(pm.Output), LogPath: text(pm.LogPath), Runs: encodeRuns(pm.Runs),
		CgroupParent: text(pm.CgroupParent), OnSupervisorDeath: text(string(pm.OnSupervisorDeath)),
	}}
	if len(c.Collectors) > 0 {
		w.Collectors = make(map[string]*pb.CollectorConfig, len(c.Collectors))
		for id, collector := range c.Collectors {
			w.Collectors[text(id)] = encodeCollector(collector)
		}
	}
	if len(c.Groups) > 0 {
		w.Groups = make(map[string]*pb.GroupConfig, len(c.Groups))
		for name, group := range c.Groups {
			w.Groups[text(name)] = encodeGroup(group)
		}
	}
	w.Order = texts(c.Order)
	return w
}

func encodeExit(e *messages.Exit) *pb.Exit {
	if e == nil {
		return nil
	}
	return &pb.Exit{
		// Windows has exit codes up to 32 bits without a sign.
		Incarnation: e.Incarnation, Pid: uint32(e.PID), Code: int32(uint32(e.Code)), Signal: text(e.Signal), CoreDumped: e.CoreDumped,
		Forced: e.Forced, At: encodeTime(e.At), RanSeconds: e.Ran.Seconds(), SpawnError: text(e.SpawnError), Fault: text(e.Fault),
		Tail: texts(e.Tail), UserTimeSeconds: e.UserTime.Seconds(), SystemTimeSeconds: e.SystemTime.Seconds(), MaxRssBytes: e.MaxRSS, MemoryPeakBytes: e.MemoryPeak,
		OomKills: int32(e.OOMKills), Unhealthy: text(e.Unhealthy), Illness: pb.Illness(e.Illness),
	}
}

func encodeStatus(s messages.Status) *pb.CollectorStatus {
	t := s.Totals
	return &pb.CollectorStatus{
		Id: text(s.ID), Type: text(s.Type), Group: text(s.Group), State: pb.State(s.State + 1), Pid: uint32(s.PID), Incarnation: s.Incarnation,
		Since: encodeTime(s.Since), StartedAt: encodeTime(s.StartedAt), UptimeSeconds: s.Uptime.Seconds(),
		RestartCount: int32(s.RestartCount), NextRestart: encodeTime(s.NextRestart), LastExit: encodeExit(s.LastExit),
		Reason: text(s.Reason), Health: pb.Health(s.Health + 1), HealthReasons: texts(s.HealthReasons), HealthSince: encodeTime(s.HealthSince),
		Totals: &pb.Totals{
			Starts: t.Starts, Restarts: t.Restarts, SpawnFailures: t.SpawnFailures, Clean: t.Clean, Failures: t.Failures,
			Signals: t.Signals, Forced: t.Forced, Faults: t.Faults, LastStartSeconds: t.LastStart.Seconds(), Unhealthy: t.Unhealthy,
		},
		Said: encodeSaid(s.Said), Confinement: texts(s.Confinement), Unmet: texts(s.Unmet),
	}
}

func encodeSaid(s messages.Said) *pb.Said {
	if s == (messages.Said{}) {
		return nil
	}
	return &pb.Said{
		Status: text(s.Status), Reloading: s.Reloading, Stopping: s.Stopping, Errno: int32(s.Errno), Error: text(s.Error),
		ExitStatus: text(s.ExitStatus), MainPid: uint32(s.MainPID), Heartbeat: encodeTime(s.Heartbeat),
	}
}

func encodeInfo(m messages.SupervisorInfo) *pb.GetSupervisorResponse {
	r := &pb.GetSupervisorResponse{
		Instance: text(m.Instance), Pid: uint32(m.PID), StartedAt: encodeTime(m.StartedAt), Closing: m.Closing,
		LastEvent: m.LastEvent, Mailbox: int32(m.Mailbox),
		Spawns: &pb.Histogram{Count: m.Spawns.Count, SumSeconds: m.Spawns.Sum.Seconds()},
	}
	for state, n := range m.States {
		r.States = append(r.States, &pb.StateCount{State: pb.State(state + 1), Count: int32(n)})
	}
	for _, op := range slices.Sorted(maps.Keys(m.Commands)) {
		for _, result := range slices.Sorted(maps.Keys(m.Commands[op])) {
			r.Commands = append(r.Commands, &pb.CommandCount{Operation: text(op), Result: text(result), Count: m.Commands[op][result]})
		}
	}
	for i, n := range m.Spawns.Counts {
		r.Spawns.Buckets = append(r.Spawns.Buckets, &pb.Bucket{BoundSeconds: messages.Buckets[i].Seconds(), Count: n})
	}
	return r
}

func encodePlan(m messages.ApplyReply) *pb.Plan {
	p := &pb.Plan{DryRun: m.DryRun, Kept: int32(m.Kept)}
	for _, c := range m.Changes {
		p.Changes = append(p.Changes, &pb.Change{
			Id: text(c.ID), Action: pb.Action(c.Action + 1), Reasons: texts(c.Reasons), Error: encodeError(c.Err), RolledBack: c.RolledBack,
		})
	}
	return p
}

func encodeError(e *messages.Error) *pb.Error {
	if e == nil {
		return nil
	}
	w := &pb.Error{
		Code: e.Kind.Code(), Category: e.Kind.Category(), Collector: text(e.ID), Operation: text(e.Op), State: pb.State(e.State + 1),
		Message: text(e.Error()), Text: text(e.Text), SupervisorEnded: errors.Is(e, actors.ErrNoSupervisor),
	}
	if e.Err != nil {
		w.Cause = text(e.Err.Error())
	}
	var inFile toml.Problems
	var found config.Problems
	switch {
	case errors.As(e.Err, &inFile):
		for i := range inFile {
			p := encodeProblem(inFile[i].Problem)
			p.File, p.Line, p.Column = text(inFile[i].File), int32(inFile[i].Line), int32(inFile[i].Column)
			w.Problems = append(w.Problems, p)
		}
	case errors.As(e.Err, &found):
		for i := range found {
			w.Problems = append(w.Problems, encodeProblem(found[i]))
		}
	}
	return w
}

func encodeProblem(p config.Problem) *pb.Problem {
	return &pb.Problem{Key: text(p.Key), Value: text(p.Value), Message: text(p.Message), Hint: text(p.Hint), Related: texts(p.Related)}
}

func encodeEvent(e messages.Event) *pb.Event {
	w := &pb.Event{
		Sequence: e.Seq, At: encodeTime(e.At), Collector: text(e.ID), Incarnation: e.Incarnation,
		By: text(e.Origin.By), CorrelationId: text(e.Origin.Correlation),
	}
	switch f := e.Fact.(type) {
	case messages.Added:
		w.Fact = &pb.Event_Added{Added: &pb.Added{Type: text(f.Type)}}
	case messages.Removed:
		w.Fact = &pb.Event_Removed{Removed: &pb.Removed{}}
	case messages.StateChanged:
		w.Fact = &pb.Event_StateChanged{StateChanged: &pb.StateChanged{
			From: pb.State(f.From + 1), To: pb.State(f.To + 1), Pid: uint32(f.PID), Reason: text(f.Reason), NextRestart: encodeTime(f.NextRestart)}}
	case messages.Exited:
		w.Fact = &pb.Event_Exited{Exited: &pb.Exited{Exit: encodeExit(&f.Exit), Expected: f.Expected, Because: text(f.Because)}}
	case messages.RestartScheduled:
		w.Fact = &pb.Event_RestartScheduled{RestartScheduled: &pb.RestartScheduled{
			Cause: text(f.Cause), AfterSeconds: f.After.Seconds(), At: encodeTime(f.At), Count: int32(f.Count), Left: int32(f.Left), WindowSeconds: f.Window.Seconds()}}
	case messages.StopForced:
		w.Fact = &pb.Event_StopForced{StopForced: &pb.StopForced{Pid: uint32(f.PID), AfterSeconds: f.After.Seconds(), Exited: f.Exited}}
	case messages.TerminateFailure:
		w.Fact = &pb.Event_TerminateFailure{TerminateFailure: &pb.TerminateFailure{Pid: uint32(f.PID), AfterSeconds: f.After.Seconds()}}
	case messages.Crashed:
		w.Fact = &pb.Event_Crashed{Crashed: &pb.Crashed{Reason: text(f.Reason)}}
	case messages.ShuttingDown:
		w.Fact = &pb.Event_ShuttingDown{ShuttingDown: &pb.ShuttingDown{}}
	case messages.Begun:
		w.Fact = &pb.Event_Begun{Begun: &pb.Begun{Instance: text(f.Instance), Pid: uint32(f.PID)}}
	case messages.ConfigApplied:
		w.Fact = &pb.Event_ConfigApplied{ConfigApplied: &pb.ConfigApplied{
			Added: int32(f.Added), Removed: int32(f.Removed), Changed: int32(f.Changed), Failed: texts(f.Failed)}}
	case messages.Audited:
		w.Fact = &pb.Event_Audited{Audited: &pb.Audited{Operation: text(f.Op), Error: encodeError(f.Err), Denied: f.Denied}}
	case messages.OutputLost:
		w.Fact = &pb.Event_OutputLost{OutputLost: &pb.OutputLost{Reason: text(f.Reason)}}
	case messages.OutputStored:
		w.Fact = &pb.Event_OutputStored{OutputStored: &pb.OutputStored{Lines: f.Lines, Bytes: f.Bytes}}
	case messages.HealthChanged:
		w.Fact = &pb.Event_HealthChanged{HealthChanged: &pb.HealthChanged{From: pb.Health(f.From + 1), To: pb.Health(f.To + 1), Reason: text(f.Reason)}}
	case messages.Reloaded:
		w.Fact = &pb.Event_Reloaded{Reloaded: &pb.Reloaded{}}
	case messages.HookFailed:
		w.Fact = &pb.Event_HookFailed{HookFailed: &pb.HookFailed{Hook: text(f.Hook), Reason: text(f.Reason)}}
	case messages.NotifyRefused:
		w.Fact = &pb.Event_NotifyRefused{NotifyRefused: &pb.NotifyRefused{Reason: text(f.Reason)}}
	case messages.UsageHigh:
		w.Fact = &pb.Event_UsageHigh{UsageHigh: &pb.UsageHigh{
			Resource: text(f.Resource), Percent: f.Percent, Threshold: int32(f.Threshold), Used: f.Used, Limit: f.Limit, ForSeconds: f.For.Seconds(),
		}}
	case messages.UsageNormal:
		w.Fact = &pb.Event_UsageNormal{UsageNormal: &pb.UsageNormal{
			Resource: text(f.Resource), Percent: f.Percent, Threshold: int32(f.Threshold), LastedSeconds: f.Lasted.Seconds(), Ended: f.Ended,
		}}
	case messages.GroupRestarting:
		w.Fact = &pb.Event_GroupRestarting{GroupRestarting: &pb.GroupRestarting{
			Child: text(f.Child), Cause: text(f.Cause), Collectors: texts(f.Collectors), AfterSeconds: f.After.Seconds(), Left: int32(f.Left),
		}}
	case messages.GroupEnded:
		w.Fact = &pb.Event_GroupEnded{GroupEnded: &pb.GroupEnded{Failed: f.Failed, Reason: text(f.Reason)}}
	case messages.Lost:
		w.Fact = &pb.Event_Lost{Lost: &pb.Lost{Count: f.Count}}
	default:
		panic(fmt.Sprintf("a %T has no place in the protocol", e.Fact)) // the round-trip test has them all
	}
	return w
}

// encodeQuery is what is to be read of logs as it travels. decodeQuery is the reverse.
func encodeQuery(ids []string, q capture.Query) *pb.ReadLogsRequest {
	w := &pb.ReadLogsRequest{
		Ids: texts(ids), Since: encodeTime(q.Since), Until: encodeTime(q.Until), Stream: pb.Stream(q.Stream), Run: q.Run, Previous: q.Previous,
		Last: uint32(max(q.Last, 0)), NewOnly: q.New, Follow: q.Follow, After: encodeCursor(q.After),
	}
	if q.Grep != nil {
		w.Grep = q.Grep.String()
	}
	return w
}

func encodeCursor(c capture.Cursor) map[string]*pb.LogPosition {
	if len(c) == 0 {
		return nil
	}
	w := make(map[string]*pb.LogPosition, len(c))
	for id, position := range c {
		w[text(id)] = encodePosition(position)
	}
	return w
}

func encodePosition(p capture.Position) *pb.LogPosition {
	return &pb.LogPosition{File: p.File, Offset: p.Offset}
}

// encodeRecord is a record, or why there is none, as it travels.
func encodeRecord(r capture.Record, err error) *pb.LogRecord {
	w := &pb.LogRecord{
		Id: text(r.ID), Time: encodeTime(r.Time), Stream: pb.Stream(r.Stream), Incarnation: r.Incarnation, Partial: r.Partial,
		Position: encodePosition(r.Position),
	}
	switch {
	case err != nil:
		var e *messages.Error
		if !errors.As(err, &e) {
			e = &messages.Error{Op: "logs", ID: r.ID, Kind: messages.IO, Err: err}
		}
		w.Content = &pb.LogRecord_Error{Error: encodeError(e)}
	case r.Gap != nil:
		w.Content = &pb.LogRecord_Gap{Gap: &pb.LogGap{Lines: r.Gap.Lines, Bytes: r.Gap.Bytes, Reason: text(r.Gap.Reason)}}
	case utf8.Valid(r.Text):
		w.Content = &pb.LogRecord_Text{Text: string(r.Text)}
	default:
		w.Content = &pb.LogRecord_Bytes{Bytes: bytes.Clone(r.Text)}
	}
	return w
}
