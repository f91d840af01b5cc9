package actors

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A Backend brings commands to a supervisor: one in this program, or one at the
// other end of a connection.
type Backend interface {
	// Ask brings one command of package messages to the supervisor, and returns
	// its one answer. The error is a *messages.Error; its kind is Timeout if ctx
	// was done before there was an answer.
	Ask(ctx context.Context, command any) (reply any, err error)

	// EventsSince returns what happens, in order, from since on, until ctx is
	// done or the supervisor has ended. See [Commands.EventsSince].
	EventsSince(ctx context.Context, since messages.Since) (iter.Seq[messages.Event], error)

	// Logs reads what collectors have written, that of several in the order of
	// time: range over it. Ids may be patterns ("web-*"); none: all collectors of
	// which there is something. A record is valid until the next one. An error is
	// about the collector that the record beside it names, or about all where it
	// names none; it does not end the reading of others. With q.Follow it goes on
	// with what comes, until ctx is done or the supervisor's end. However slowly
	// the records are taken, no collector and nobody else waits for that.
	Logs(ctx context.Context, ids []string, q capture.Query) iter.Seq2[capture.Record, error]
}

// Commands are the commands of package messages as methods: each is one message
// and its one reply. A [Supervisor] has them, and so has the client of one that
// runs elsewhere (package actors/control): a program is written against either.
//
// They may be called from any goroutine, but never in an actor's Receive. Each
// waits for the answer, until ctx is done; what was begun then goes on. Errors
// are *messages.Error, to be asked with errors.Is for their messages.Kind.
type Commands struct{ Backend }

// request asks q, and gives the answer its type.
func request[R any](ctx context.Context, ask func(ctx context.Context, command any) (any, error), q messages.Request[R]) (R, error) {
	reply, err := ask(ctx, q)
	if err != nil {
		var none R
		return none, err
	}
	answer, ok := reply.(R)
	if !ok {
		op, id := messages.Subject(q)
		return answer, &messages.Error{Op: op, ID: id, Kind: messages.Internal, Text: fmt.Sprintf("the answer was a %T", reply)}
	}
	return answer, nil
}

// Start starts a collector and returns its process id once it has been exec'ed.
// Cfg is how to run it from now on; nil: as it is known. A collector that is
// not known needs a type or a configuration.
func (c Commands) Start(ctx context.Context, id, collectorType string, cfg *config.Collector) (pid int, err error) {
	reply, err := request(ctx, c.Ask, messages.StartCollector{ID: id, Type: collectorType, Config: cfg})
	return reply.PID, err
}

// Stop ends a collector: it is asked to, and killed when timeout has passed
// (zero: what is configured). It returns how the process ended.
func (c Commands) Stop(ctx context.Context, id string, timeout time.Duration) (messages.Exit, error) {
	reply, err := request(ctx, c.Ask, messages.StopCollector{ID: id, Timeout: timeout})
	return reply.Exit, err
}

// Kill ends a collector at once.
func (c Commands) Kill(ctx context.Context, id string) (messages.Exit, error) {
	reply, err := request(ctx, c.Ask, messages.StopCollector{ID: id, Force: true})
	return reply.Exit, err
}

// Restart stops a collector where needed, with timeout as in Stop, starts it,
// and returns its new process id.
func (c Commands) Restart(ctx context.Context, id string, timeout time.Duration) (pid int, err error) {
	reply, err := request(ctx, c.Ask, messages.RestartCollector{ID: id, Timeout: timeout})
	return reply.PID, err
}

// Pause suspends a running collector.
func (c Commands) Pause(ctx context.Context, id string) error {
	_, err := request(ctx, c.Ask, messages.PauseCollector{ID: id})
	return err
}

// Resume lets a paused collector go on.
func (c Commands) Resume(ctx context.Context, id string) error {
	_, err := request(ctx, c.Ask, messages.ResumeCollector{ID: id})
	return err
}

// Signal sends one signal ("SIGHUP", "hup") to a collector's process, or to its
// whole group.
func (c Commands) Signal(ctx context.Context, id, signal string, group bool) error {
	_, err := request(ctx, c.Ask, messages.SignalCollector{ID: id, Signal: signal, Group: group})
	return err
}

// ReloadCollector has a running collector read its own configuration again, by
// its reload_signal or reload_command.
func (c Commands) ReloadCollector(ctx context.Context, id string) error {
	_, err := request(ctx, c.Ask, messages.ReloadCollector{ID: id})
	return err
}

// Limit changes limits of a collector, or of all in a group, also while it runs:
// values by the names that they have in a file, config.NoLimit to lift one. They
// last until its configuration is changed by a reload. The reply says which are not
// in force.
func (c Commands) Limit(ctx context.Context, id string, limits map[string]string) (messages.LimitReply, error) {
	return request(ctx, c.Ask, messages.LimitCollector{ID: id, Limits: limits})
}

// Heartbeat is a sign of life of a running collector, with what it does in its
// own words, or "". After the first one more are expected, as often as the
// interval of health checks says.
func (c Commands) Heartbeat(ctx context.Context, id, status string) error {
	_, err := request(ctx, c.Ask, messages.SendHeartbeat{ID: id, Status: status})
	return err
}

// Status says what is known about a collector.
func (c Commands) Status(ctx context.Context, id string) (messages.Status, error) {
	return request(ctx, c.Ask, messages.GetStatus{ID: id})
}

// List is the status of all collectors, ordered by id.
func (c Commands) List(ctx context.Context) ([]messages.Status, error) {
	reply, err := request(ctx, c.Ask, messages.ListCollectors{})
	return reply.Collectors, err
}

// Groups are the groups of the supervision tree, ordered by name.
func (c Commands) Groups(ctx context.Context) ([]messages.GroupStatus, error) {
	reply, err := c.Tree(ctx)
	return reply.Groups, err
}

// Tree is the status of all collectors and all groups, of one moment.
func (c Commands) Tree(ctx context.Context) (messages.ListReply, error) {
	return request(ctx, c.Ask, messages.ListCollectors{})
}

// Graph is who waits for whom, each collector after those that it waits for, and
// how their last start went.
func (c Commands) Graph(ctx context.Context) (messages.Graph, error) {
	return request(ctx, c.Ask, messages.GetGraph{})
}

// Health is how well a collector does its work, and why that is thought.
func (c Commands) Health(ctx context.Context, id string) (messages.Health, []string, error) {
	reply, err := request(ctx, c.Ask, messages.CheckHealth{ID: id})
	return reply.Health, reply.Reasons, err
}

// Remove makes the supervisor forget a stopped or failed collector.
func (c Commands) Remove(ctx context.Context, id string) error {
	_, err := request(ctx, c.Ask, messages.RemoveCollector{ID: id})
	return err
}

// Reset forgets the restarts that are counted against a collector's limit. One
// that has failed is stopped then.
func (c Commands) Reset(ctx context.Context, id string) error {
	_, err := request(ctx, c.Ask, messages.ResetCollector{ID: id})
	return err
}

// Shutdown stops all collectors, in reverse order of their start, each with
// timeout as in Stop, and returns when nothing is left: the reply says what had
// to be forced and what would not go. No collector can be started afterwards.
func (c Commands) Shutdown(ctx context.Context, timeout time.Duration) (messages.ShutdownReply, error) {
	return request(ctx, c.Ask, messages.Shutdown{Timeout: timeout})
}

// ForceShutdown is a Shutdown that kills; it hurries one that is under way.
func (c Commands) ForceShutdown(ctx context.Context) (messages.ShutdownReply, error) {
	return request(ctx, c.Ask, messages.Shutdown{Force: true})
}

// Describe writes what the actors are doing to w, one a line, for people who
// look for a fault.
func (c Commands) Describe(ctx context.Context, w io.Writer) error {
	reply, err := request(ctx, c.Ask, messages.DescribeActors{})
	for _, line := range reply.Actors {
		_, _ = io.WriteString(w, line+"\n")
	}
	return err
}

// Inspect is everything that is known about a collector.
func (c Commands) Inspect(ctx context.Context, id string) (messages.Inspection, error) {
	return request(ctx, c.Ask, messages.InspectCollector{ID: id})
}

// Usage is what collectors use, and groups together: those that are named (a group
// with config.GroupMark before it), or all. Full asks for all that the system tells;
// rate for the use of the processor in percent, which may take a quarter of a second.
func (c Commands) Usage(ctx context.Context, full, rate bool, ids ...string) (messages.UsageReply, error) {
	return request(ctx, c.Ask, messages.GetUsage{IDs: ids, Full: full, Rate: rate})
}

// Info is what is known about the supervisor itself. That it comes says that the
// supervisor is well.
func (c Commands) Info(ctx context.Context) (messages.SupervisorInfo, error) {
	return request(ctx, c.Ask, messages.GetSupervisor{})
}

// Runs are the last runs of a collector, the newest first, also of one that was
// removed, and of earlier lives of the supervisor: at most last of them, or with 0
// all that there are records of.
func (c Commands) Runs(ctx context.Context, id string, last int) ([]messages.Run, error) {
	reply, err := request(ctx, c.Ask, messages.GetRuns{ID: id, Last: last})
	return reply.Runs, err
}

// Crashes are the crash reports, the last crash first: those of one collector, or
// with an empty id all.
func (c Commands) Crashes(ctx context.Context, id string) ([]messages.Crash, error) {
	reply, err := request(ctx, c.Ask, messages.ListCrashes{ID: id})
	return reply.Crashes, err
}

// Crash is one crash report.
func (c Commands) Crash(ctx context.Context, number uint64) (messages.Crash, error) {
	return request(ctx, c.Ask, messages.GetCrash{Number: number})
}

// Apply puts another configuration in force (a reload), and returns when that
// is done: what was changed and why, and what could not be. With dryRun it only
// says what would be done.
func (c Commands) Apply(ctx context.Context, cfg config.Config, dryRun bool) (messages.ApplyReply, error) {
	return request(ctx, c.Ask, messages.ApplyConfig{Config: cfg, DryRun: dryRun})
}

// Reload has the configuration read again from where it came from
// ([WithConfigSource]) and put in force. If it cannot be read or cannot work, the
// error says everything that is wrong with it, and nothing changes.
func (c Commands) Reload(ctx context.Context, dryRun bool) (messages.ApplyReply, error) {
	return request(ctx, c.Ask, messages.ReloadConfig{DryRun: dryRun})
}

// Events returns what happens from now on, in order, until ctx is done or the
// supervisor has ended: range over it. The subscription begins before Events
// returns. A subscriber that is too slow loses the oldest events and finds a
// messages.Lost in their place; it never slows anybody else. Whoever stops
// early lets go of the subscription by ending ctx.
func (c Commands) Events(ctx context.Context) (iter.Seq[messages.Event], error) {
	return c.EventsSince(ctx, messages.Since{})
}
