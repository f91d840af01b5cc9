package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/supervisor/restart"
)

// child is one collector as its supervisor sees it.
type child struct {
	id     string
	props  *actor.Props
	config config.Collector // with all defaults

	group      *group   // that it is a child of
	place      int      // which of its units it is
	needs      []link   // what it waits for
	feeds      []*child // who waits for it
	dependents []*child // who of those is ended with it

	declared *config.Collector // what the configuration says of it; nil: it was started by a command
	totals   messages.Totals

	wanted  bool            // up, or down
	started uint64          // which of the supervisor's starts was its last
	report  messages.Report // the last word of its actor
	rest    messages.State  // what it is while there is no process and none is coming

	ended   uint64 // the last incarnation whose end is known
	history restart.History
	count   int    // automatic restarts since the last start that was asked for
	cause   string // of the last one
	done    bool   // it has ended by itself, with success
	fate    string // why it is stopped, where nobody has asked for that

	asked, up time.Time // when its last start was asked for, and when it was up
	reason    string    // why it is what it is, where that is not plain

	shown    messages.State // the state that others were told of last
	shownPID int
	well     messages.Health // what probes told last
	wellAt   time.Time       // since when
	since    time.Time       // when that began

	volatile
}

// volatile is what ends with the supervisor's actor, or with the child's.
type volatile struct {
	pid    *actor.PID
	heir   bool // it has not yet said what the actor before it has left
	revive bool // it is to be started whatever its policy says: the fault was the supervisor's

	origin  messages.Origin // of the command under way
	run     uint64          // the token of the RunProcess under way; 0: none
	ordered time.Time       // when it was given
	failed  *messages.Exit  // how that went wrong, until its outcome is here
	ends    map[uint64]messages.EndProcess
	unsent  []messages.EndProcess // those of them that wait for others to be gone
	reborn  uint64                // the token of the EndProcess that a restart waits for; 0: none
	auto    bool                  // nobody has asked for that restart

	waiting  bool           // it is to be started when nothing stands in its way
	obstacle string         // what does
	standing messages.State // what it is meanwhile

	// Who waits for the process to be up, to be gone, to be another; and for
	// other orders.
	starts, stops, restarts []one
	others                  map[uint64]one

	limits  map[uint64]config.ResourceLimits // of the LimitProcess under way, by its token
	inForce config.ResourceLimits            // what its process has, as far as its child has said
	within  []messages.GroupLimits           // what that was told last of its groups

	change *change // what a reload under way waits for; nil: nothing

	next   time.Time // when the restart is due; zero: none is
	cancel func()    // its timer

	retry  time.Time // when one that has failed is tried again; zero: it is not
	unwait func()    // its timer
}

// inherit prepares for another actor in the place of the child's. Until that
// has said what it found, there is a process if there may have been one.
func (c *child) inherit() {
	c.report.Alive = c.report.Alive || c.run != 0
	c.volatile = volatile{heir: true, inForce: c.inForce}
}

// forget drops a restart that is due, or a start that waits, and reports whether
// there was one.
func (c *child) forget() bool {
	waited := c.waiting
	c.waiting = false
	if c.next.IsZero() {
		return waited
	}
	c.cancel()
	c.next, c.cancel = time.Time{}, nil
	return true
}

// giveUp drops the next try after a failure, and reports whether there was one.
func (c *child) giveUp() bool {
	if c.retry.IsZero() {
		return false
	}
	c.unwait()
	c.retry, c.unwait = time.Time{}, nil
	return true
}

// settled forgets whose command it was that is done.
func (c *child) settled() {
	if c.run == 0 && len(c.ends) == 0 && len(c.others) == 0 && c.reborn == 0 {
		c.origin = messages.Origin{}
	}
}

// tally counts the end of a process, or that there was none.
func (c *child) tally(e messages.Exit) {
	t := &c.totals
	switch {
	case e.Fault != "":
		t.Faults++
	case e.Unhealthy != "":
		t.Unhealthy++
	case e.SpawnError != "":
		t.SpawnFailures++
	case e.Signal != "":
		t.Signals++
	case e.Code != 0:
		t.Failures++
	default:
		t.Clean++
	}
	if e.Forced {
		t.Forced++
	}
}

// callers is everybody who waits for an answer about the child.
func (c *child) callers() (all []one) {
	all = append(all, c.starts...)
	all = append(all, c.stops...)
	all = append(all, c.restarts...)
	return slices.AppendSeq(all, maps.Values(c.others))
}

// state is the collector's state as everybody sees it.
func (c *child) state() messages.State {
	switch {
	case c.report.Alive:
		return c.report.State
	case c.run != 0 || c.reborn != 0 || !c.next.IsZero():
		return messages.Starting
	case c.waiting:
		return c.standing
	}
	return c.rest
}

// busy reports whether there is a process, or one is coming at this moment. A
// restart is between the two when its process has ended, and the outcome of the
// order that ended it is still on its way.
func (c *child) busy() bool { return c.report.Alive || c.run != 0 || c.reborn != 0 }

// stuck reports whether something of it has survived being killed.
func (c *child) stuck() bool { return c.report.Alive && c.report.State == messages.Failed }

func (c *child) status(pm config.ProcessManager, now time.Time) messages.Status {
	status := messages.Status{
		ID: c.id, Type: c.config.Type, Group: c.config.Group, State: c.state(),
		PID: c.report.PID, Incarnation: c.report.Incarnation,
		Since: c.since, StartedAt: c.report.StartedAt,
		RestartCount: c.count, NextRestart: c.next, LastExit: c.report.Exit, Reason: c.reason, Totals: c.totals, Said: c.report.Said,
		Confinement: c.report.Confinement, Unmet: c.report.Unmet,
	}
	if status.NextRestart.IsZero() {
		status.NextRestart = c.retry
	}
	for g, place := c.group, c.place; g != nil && c.waiting; g, place = g.up, g.place {
		if h := g.hold; h != nil && h.first <= place && place < h.end {
			status.NextRestart = h.at
		}
	}
	if !status.StartedAt.IsZero() {
		status.Uptime = now.Sub(status.StartedAt)
	}
	health, reason := c.health(status, now)
	status.Health, status.HealthSince = health, c.since
	if status.State == messages.Running && c.report.Checked {
		status.HealthSince = c.wellAt
	}
	if reason != "" {
		status.HealthReasons = []string{reason}
	}
	return status
}

// health is what the state alone tells of how well the collector works.
func (c *child) health(s messages.Status, now time.Time) (messages.Health, string) {
	switch s.State {
	case messages.Running:
		if c.report.Checked && c.report.Health != messages.HealthHealthy {
			return c.report.Health, c.report.HealthReason
		}
		if c.count > 0 && s.Uptime < c.config.BackoffReset {
			return messages.HealthDegraded, fmt.Sprintf("restarted %v ago after %s", s.Uptime.Round(time.Millisecond), c.cause)
		}
		return messages.HealthHealthy, ""
	case messages.Starting:
		if !c.next.IsZero() {
			return messages.HealthUnhealthy, fmt.Sprintf("%s; next start in %v", c.cause, c.next.Sub(now).Round(time.Millisecond))
		}
		if c.report.Checked && c.report.HealthReason != "" {
			return messages.HealthUnknown, c.report.HealthReason
		}
		if c.waiting {
			return messages.HealthUnknown, c.reason
		}
		return messages.HealthUnknown, "it is being started"
	case messages.Paused:
		return messages.HealthUnknown, "it is paused; nothing is checked meanwhile"
	case messages.Failed:
		return messages.HealthUnhealthy, c.reason
	}
	return messages.HealthUnknown, "it is " + s.State.String()
}

func (c *child) describe() string {
	wanted := "down"
	if c.wanted {
		wanted = "up"
	}
	line := fmt.Sprintf("%s: %v, wanted %s; its actor: %s, incarnation %d, pid %d", c.pid.GetId(), c.state(), wanted, c.report.Detail, c.report.Incarnation, c.report.PID)
	if c.run != 0 {
		line += ", RunProcess under way"
	}
	if len(c.ends) > 0 {
		line += fmt.Sprintf(", %d EndProcess under way", len(c.ends))
	}
	if c.waiting {
		line += ", waits for " + c.obstacle
	}
	if n := len(c.unsent); n > 0 {
		line += fmt.Sprintf(", %d EndProcess wait for others", n)
	}
	if !c.next.IsZero() {
		line += ", restart due " + c.next.Format(time.RFC3339Nano)
	}
	if n := len(c.callers()); n > 0 {
		line += fmt.Sprintf(", %d callers wait", n)
	}
	return line
}
