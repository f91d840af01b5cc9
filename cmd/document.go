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
	Group          string         `json:"group,omitempty"`
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
	HealthSince    *time.Time     `json:"health_since"`
	Health         string         `json:"health"`
	HealthReasons  []string       `json:"health_reasons"`
	Totals         totalsDocument `json:"totals"`
	Said           *saidDocument  `json:"said"`
	Confinement    []string       `json:"confinement,omitempty"`
	Unmet          []string       `json:"unmet,omitempty"`
	Usage          *usageDocument `json:"usage,omitempty"` // where it was asked for
	*inspectFields                // of inspect only
}

type inspectFields struct {
	Wanted       bool           `json:"wanted"`
	Declared     bool           `json:"declared"`
	RestartsLeft int            `json:"restarts_left"`
	Detail       string         `json:"detail"`
	Config       map[string]any `json:"config"`
}

type totalsDocument struct {
	Starts           uint64  `json:"starts"`
	Restarts         uint64  `json:"restarts"`
	SpawnFailures    uint64  `json:"spawn_failures"`
	Clean            uint64  `json:"clean"`
	Failures         uint64  `json:"failures"`
	Signals          uint64  `json:"signals"`
	Forced           uint64  `json:"forced"`
	Faults           uint64  `json:"faults"`
	Unhealthy        uint64  `json:"unhealthy"`
	LastStartSeconds float64 `json:"last_start_seconds"`
}

// A saidDocument is what a process has told of itself; what it has not said
// anything about is left out.
type saidDocument struct {
	Status     string     `json:"status,omitempty"`
	Reloading  bool       `json:"reloading,omitempty"`
	Stopping   bool       `json:"stopping,omitempty"`
	Errno      int        `json:"errno,omitempty"`
	Error      string     `json:"error,omitempty"`
	ExitStatus string     `json:"exit_status,omitempty"`
	MainPID    int        `json:"main_pid,omitempty"`
	Heartbeat  *time.Time `json:"heartbeat,omitempty"`
}

func saidOf(s messages.Said) *saidDocument {
	if s == (messages.Said{}) {
		return nil
	}
	return &saidDocument{s.Status, s.Reloading, s.Stopping, s.Errno, s.Error, s.ExitStatus, s.MainPID, moment(s.Heartbeat)}
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
	OOMKills          int        `json:"oom_kills,omitempty"`
	Unhealthy         string     `json:"unhealthy,omitempty"`
	Illness           string     `json:"illness,omitempty"`
	Tail              []string   `json:"tail,omitempty"`
	UserTimeSeconds   float64    `json:"user_time_seconds"`
	SystemTimeSeconds float64    `json:"system_time_seconds"`
	MaxRSS            int64      `json:"max_rss_bytes"`
	MemoryPeak        int64      `json:"memory_peak_bytes,omitempty"`
}

func documentOf(s messages.Status) statusDocument {
	return statusDocument{
		ID: s.ID, Type: s.Type, Group: s.Group, State: s.State, PID: s.PID, Incarnation: s.Incarnation,
		Since: moment(s.Since), StartedAt: moment(s.StartedAt), UptimeSeconds: s.Uptime.Seconds(),
		RestartCount: s.RestartCount, NextRestart: moment(s.NextRestart), LastExit: exitOf(s.LastExit), Reason: s.Reason,
		HealthSince: moment(s.HealthSince), Health: s.Health.String(), HealthReasons: list(s.HealthReasons),
		Totals: totalsDocument{
			s.Totals.Starts, s.Totals.Restarts, s.Totals.SpawnFailures, s.Totals.Clean, s.Totals.Failures,
			s.Totals.Signals, s.Totals.Forced, s.Totals.Faults, s.Totals.Unhealthy, s.Totals.LastStart.Seconds(),
		},
		Said: saidOf(s.Said), Confinement: s.Confinement, Unmet: s.Unmet,
	}
}

type groupDocument struct {
	Name         string         `json:"name"`
	Parent       string         `json:"parent"`
	Strategy     string         `json:"strategy"`
	State        messages.State `json:"state"`
	Reason       string         `json:"reason"`
	RestartCount int            `json:"restart_count"`
	RestartsLeft int            `json:"restarts_left"`
	NextRestart  *time.Time     `json:"next_restart"`
	Children     []string       `json:"children"`
	Usage        *usageDocument `json:"usage,omitempty"` // where it was asked for
}

func groupsOf(groups []messages.GroupStatus) []groupDocument {
	documents := make([]groupDocument, len(groups))
	for i, g := range groups {
		documents[i] = groupDocument{g.Name, g.Parent, string(g.Strategy), g.State, g.Reason, g.RestartCount, g.RestartsLeft, moment(g.NextRestart), list(g.Children), nil}
	}
	return documents
}

func inspectionOf(i messages.Inspection) statusDocument {
	d := documentOf(i.Status)
	d.inspectFields = &inspectFields{i.Wanted, i.Declared, i.RestartsLeft, i.Detail, config.Settings(i.Config)}
	return d
}

func exitOf(e *messages.Exit) *exitDocument {
	if e == nil {
		return nil
	}
	return &exitDocument{
		Incarnation: e.Incarnation, PID: e.PID, Code: e.Code, Signal: e.Signal, CoreDumped: e.CoreDumped, Forced: e.Forced,
		At: moment(e.At), RanSeconds: e.Ran.Seconds(), SpawnError: e.SpawnError, Fault: e.Fault, OOMKills: e.OOMKills, Unhealthy: e.Unhealthy, Illness: e.Illness.String(), Tail: e.Tail,
		UserTimeSeconds: e.UserTime.Seconds(), SystemTimeSeconds: e.SystemTime.Seconds(), MaxRSS: e.MaxRSS, MemoryPeak: e.MemoryPeak,
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
