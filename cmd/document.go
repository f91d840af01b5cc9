package cmd

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// What is printed for programs has the names of the protocol, in snake_case;
// times are RFC 3339, durations are seconds, states and healths their words. What
// there is not is null, or left out where it is rarely there.

type statusDocument struct {
	ID             string         `json:"id"`
	Type           string         `json:"type"`
	State          messages.State `json:"state"`
	PID            int            `json:"pid"`
	Incarnation    uint64         `json:"incarnation"`
	Since          *time.Time     `json:"since"`
	StartedAt      *time.Time     `json:"started_at"`
	UptimeSeconds  float64        `json:"uptime_seconds"`
	RestartCount   int            `json:"restart_count"`
	NextRestart    *time.Time     `json:"next_restart"`
	LastExit       *exitDocument  `json:"last_exit"`
	Reason         string         `json:"reason"`
	Health         string         `json:"health"`
	HealthReasons  []string       `json:"health_reasons"`
	HealthSince    *time.Time     `json:"health_since"`
	Totals         totalsDocument `json:"totals"`
	*inspectFields                // of inspect only
}

type inspectFields struct {
	Wanted       bool           `json:"wanted"`
	Declared     bool           `json:"declared"`
	RestartsLeft int            `json:"restarts_left"`
	Detail       string         `json:"detail"`
	Config       configDocument `json:"config"`
}

type totalsDocument struct {
	Starts           uint64  `json:"starts"`
	Restarts         uint64  `json:"restarts"`
	SpawnFailures    uint64  `json:"spawn_failures"`
	Clean            uint64  `json:"clean"`
	Failures         uint64  `json:"failures"`
	Signals          uint64  `json:"signals"`
	Forced           uint64  `json:"forced"`
	Unhealthy        uint64  `json:"unhealthy"`
	Faults           uint64  `json:"faults"`
	LastStartSeconds float64 `json:"last_start_seconds"`
}

type exitDocument struct {
	Incarnation       uint64     `json:"incarnation"`
	PID               int        `json:"pid"`
	Code              int        `json:"code"`
	Signal            string     `json:"signal"`
	CoreDumped        bool       `json:"core_dumped"`
	Forced            bool       `json:"forced"`
	At                *time.Time `json:"at"`
	RanSeconds        float64    `json:"ran_seconds"`
	SpawnError        string     `json:"spawn_error,omitempty"`
	Fault             string     `json:"fault,omitempty"`
	Unhealthy         string     `json:"unhealthy,omitempty"`
	Tail              []string   `json:"tail,omitempty"`
	UserTimeSeconds   float64    `json:"user_time_seconds"`
	SystemTimeSeconds float64    `json:"system_time_seconds"`
	MaxRSS            int64      `json:"max_rss_bytes"`
}

// configDocument has the keys of a configuration file.
type configDocument struct {
	Type                 string            `json:"type"`
	Kind                 string            `json:"kind"`
	BinaryPath           string            `json:"binary_path"`
	Args                 []string          `json:"args"`
	Env                  map[string]string `json:"env"`
	ClearEnv             bool              `json:"clear_env"`
	WorkingDir           string            `json:"working_dir"`
	Autostart            bool              `json:"autostart"`
	AutoRestart          bool              `json:"auto_restart"`
	Restart              string            `json:"restart"`
	MaxRestarts          int               `json:"max_restarts"`
	RestartWindowSeconds float64           `json:"restart_window_seconds"`
	BackoffInitial       float64           `json:"backoff_initial_seconds"`
	BackoffMax           float64           `json:"backoff_max_seconds"`
	BackoffReset         float64           `json:"backoff_reset_seconds"`
	GracefulTimeout      float64           `json:"graceful_timeout_seconds"`
	ForceTimeout         float64           `json:"force_timeout_seconds"`
	StopSignal           string            `json:"stop_signal"`
	SuccessExitCodes     []string          `json:"success_exit_codes"`
	NoRestartExitCodes   []string          `json:"no_restart_exit_codes"`
	RetryFailedAfter     float64           `json:"retry_failed_after_seconds"`
	Readiness            string            `json:"readiness"`
	StartupTimeout       float64           `json:"startup_timeout_seconds"`
	Liveness             *probeDocument    `json:"liveness,omitempty"`
	ReadinessProbe       *probeDocument    `json:"readiness_probe,omitempty"`
	StartupProbe         *probeDocument    `json:"startup_probe,omitempty"`
	RestartOnUnhealthy   bool              `json:"restart_on_unhealthy"`
	User                 string            `json:"user"`
	Group                string            `json:"group"`
	SupplementaryGroups  []string          `json:"supplementary_groups"`
	ResourceLimits       limitsDocument    `json:"resource_limits"`
	Output               outputDocument    `json:"output"`
}

type probeDocument struct {
	Exec             []string `json:"exec,omitempty"`
	HTTP             string   `json:"http,omitempty"`
	TCP              string   `json:"tcp,omitempty"`
	GRPC             string   `json:"grpc,omitempty"`
	Unix             string   `json:"unix,omitempty"`
	InitialDelay     float64  `json:"initial_delay_seconds"`
	Period           float64  `json:"period_seconds"`
	Timeout          float64  `json:"timeout_seconds"`
	FailureThreshold int      `json:"failure_threshold"`
	SuccessThreshold int      `json:"success_threshold"`
}

// limitsDocument has null for what is not limited.
type limitsDocument struct {
	CPUPercent     *int  `json:"cpu_percent"`
	CPUWeight      *int  `json:"cpu_weight"`
	MemoryMaxMB    *int  `json:"memory_max_mb"`
	MemoryHighMB   *int  `json:"memory_high_mb"`
	SwapMaxMB      *int  `json:"swap_max_mb"`
	TasksMax       *int  `json:"tasks_max"`
	OpenFiles      *int  `json:"open_files"`
	CoreMB         *int  `json:"core_mb"`
	Nice           int   `json:"nice"`
	OOMScoreAdjust int   `json:"oom_score_adjust"`
	CPUAffinity    []int `json:"cpu_affinity"`
	Required       bool  `json:"limits_required"`
}

type outputDocument struct {
	Target         string   `json:"target"`
	Path           string   `json:"path"`
	MaxSizeMB      int      `json:"max_size_mb"`
	MaxFiles       int      `json:"max_files"`
	MaxAgeDays     int      `json:"max_age_days"`
	Compress       string   `json:"compress"`
	Format         string   `json:"format"`
	Streams        string   `json:"streams"`
	Timestamps     bool     `json:"timestamps"`
	Lossless       bool     `json:"lossless"`
	MaxLineKB      int      `json:"max_line_kb"`
	RateLimit      int      `json:"rate_limit_lines_per_second"`
	TailLines      int      `json:"tail_lines"`
	Mask           []string `json:"mask"`
	MultilineStart string   `json:"multiline_start"`
	Also           []string `json:"also"`
}

func documentOf(s messages.Status) statusDocument {
	return statusDocument{
		ID: s.ID, Type: s.Type, State: s.State, PID: s.PID, Incarnation: s.Incarnation,
		Since: moment(s.Since), StartedAt: moment(s.StartedAt), UptimeSeconds: s.Uptime.Seconds(),
		RestartCount: s.RestartCount, NextRestart: moment(s.NextRestart), LastExit: exitOf(s.LastExit), Reason: s.Reason,
		Health: s.Health.String(), HealthReasons: list(s.HealthReasons), HealthSince: moment(s.HealthSince),
		Totals: totalsDocument{
			s.Totals.Starts, s.Totals.Restarts, s.Totals.SpawnFailures, s.Totals.Clean, s.Totals.Failures,
			s.Totals.Signals, s.Totals.Forced, s.Totals.Unhealthy, s.Totals.Faults, s.Totals.LastStart.Seconds(),
		},
	}
}

func inspectionOf(i messages.Inspection) statusDocument {
	d := documentOf(i.Status)
	d.inspectFields = &inspectFields{i.Wanted, i.Declared, i.RestartsLeft, i.Detail, configOf(i.Config)}
	return d
}

// configOf writes "none at all" and "for ever" as a file does: 0.
func configOf(c config.Collector) configDocument {
	return configDocument{
		Type: c.Type, Kind: string(c.Kind), BinaryPath: c.BinaryPath, Args: list(c.Args), Env: c.Env, ClearEnv: c.ClearEnv, WorkingDir: c.WorkingDir,
		Autostart: c.Autostart, AutoRestart: c.AutoRestart, Restart: string(c.Restart), MaxRestarts: max(c.MaxRestarts, 0),
		RestartWindowSeconds: setting(c.RestartWindow), BackoffInitial: setting(c.BackoffInitial), BackoffMax: setting(c.BackoffMax),
		BackoffReset: setting(c.BackoffReset), GracefulTimeout: setting(c.GracefulTimeout), ForceTimeout: setting(c.ForceTimeout),
		StopSignal: c.StopSignal, SuccessExitCodes: list(c.SuccessExitCodes), NoRestartExitCodes: list(c.NoRestartExitCodes),
		RetryFailedAfter: setting(c.RetryFailedAfter), Output: outputOf(c.Output.WithDefaults()),
		Readiness: string(c.Readiness), StartupTimeout: setting(c.StartupTimeout), RestartOnUnhealthy: c.RestartOnUnhealthy != config.Off,
		Liveness: probeOf(c.Liveness), ReadinessProbe: probeOf(c.ReadinessProbe), StartupProbe: probeOf(c.StartupProbe),
		User: c.User, Group: c.Group, SupplementaryGroups: list(c.SupplementaryGroups), ResourceLimits: limitsOf(c.ResourceLimits),
	}
}

func probeOf(p config.Probe) *probeDocument {
	if !p.Set() {
		return nil
	}
	return &probeDocument{p.Exec, p.HTTP, p.TCP, p.GRPC, p.Unix, setting(p.InitialDelay), setting(p.Period), setting(p.Timeout), p.FailureThreshold, p.SuccessThreshold}
}

func limitsOf(l config.ResourceLimits) limitsDocument {
	limit := func(n int) *int {
		if n == 0 {
			return nil
		}
		n = max(n, 0) // config.None
		return &n
	}
	return limitsDocument{
		limit(l.CPUPercent), limit(l.CPUWeight), limit(l.MemoryMaxMB), limit(l.MemoryHighMB), limit(l.SwapMaxMB), limit(l.TasksMax),
		limit(l.OpenFiles), limit(l.CoreMB), l.Nice, l.OOMScoreAdjust, list(l.CPUAffinity), l.Required,
	}
}

func outputOf(o config.Output) outputDocument {
	return outputDocument{
		string(o.Target), o.Path, o.MaxSizeMB, o.MaxFiles, max(o.MaxAgeDays, 0), string(o.Compress), string(o.Format), string(o.Streams),
		o.Timestamps == config.On, o.Lossless == config.On, o.MaxLineKB, max(o.RateLimit, 0), o.TailLines, list(o.Mask), o.MultilineStart, list(o.Also),
	}
}

func setting(d time.Duration) float64 { return max(d, 0).Seconds() }

func exitOf(e *messages.Exit) *exitDocument {
	if e == nil {
		return nil
	}
	return &exitDocument{
		Incarnation: e.Incarnation, PID: e.PID, Code: e.Code, Signal: e.Signal, CoreDumped: e.CoreDumped, Forced: e.Forced,
		At: moment(e.At), RanSeconds: e.Ran.Seconds(), SpawnError: e.SpawnError, Fault: e.Fault, Unhealthy: e.Unhealthy, Tail: e.Tail,
		UserTimeSeconds: e.UserTime.Seconds(), SystemTimeSeconds: e.SystemTime.Seconds(), MaxRSS: e.MaxRSS,
	}
}

func moment(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC().Round(0)
	return &at
}

// list is a list that is never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// An errorDocument is what an error is for a program.
type errorDocument struct {
	Code      string `json:"code"`
	Category  string `json:"category"`
	Collector string `json:"collector"`
	Message   string `json:"message"`
}

// print writes one document to standard output, in the format of -o.
func (a *app) print(document any) error {
	text, err := encode(document, a.output == "yaml")
	if err != nil {
		return failed{err}
	}
	return a.write(text)
}

func encode(document any, asYAML bool) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(document); err != nil {
		return nil, err
	}
	if asYAML {
		return yaml.JSONToYAML(b.Bytes())
	}
	return b.Bytes(), nil
}

// write writes to standard output. A reader who has gone away ends the command
// quietly.
func (a *app) write(text []byte) error {
	if _, err := a.stdout.Write(text); err != nil {
		if quietPipe(err) == nil {
			return exitError(exitDone)
		}
		return failed{err}
	}
	return nil
}
