// Package restart decides whether a collector whose process has ended is
// started again, and when. It is arithmetic on times: it reads no clock, rolls
// no dice and starts nothing.
package restart

import (
	"fmt"
	"time"

	"github.com/proctord/proctor/config"
)

// A Policy says which exits are answered by a restart, how soon and how often.
type Policy struct {
	Enabled bool           // the collector's switch and the master switch
	Mode    config.Restart // after which exits
	Max     int            // restarts allowed within Window
	Window  time.Duration  // not positive: all restarts count, for ever

	Initial time.Duration // before the second restart in a row; not positive: no delay ever
	Limit   time.Duration // no delay is longer
	Reset   time.Duration // having run for so long begins a new row
}

// PolicyOf takes the policy from settings in which the defaults are filled in.
func PolicyOf(c config.Collector, pm config.ProcessManager) Policy {
	return Policy{
		Enabled: c.AutoRestart && pm.EnableAutoRestart,
		Mode:    c.Restart,
		Max:     max(c.MaxRestarts, 0),
		Window:  c.RestartWindow,
		Initial: c.BackoffInitial,
		Limit:   c.BackoffMax,
		Reset:   c.BackoffReset,
	}
}

// An Exit is what the decision needs to know of the end of a process.
type Exit struct {
	At        time.Time
	Ran       time.Duration
	Success   bool
	Permanent bool   // starting the same again would fail the same way
	Final     bool   // the settings say that there is no restart after such an end
	Cause     string // in words: "exit code 3"
}

// A History is what is remembered of a collector's restarts since the last start
// that was asked for. Its zero value is that of a collector which has just been
// started. It may be continued only once: what Next returns takes its place.
type History struct {
	restarts []time.Time // oldest first; those that have left the window are gone
	row      int         // restarts without a long enough run between them
	last     string      // cause of the last exit that was answered by a restart
	same     bool        // all of them had that cause
}

// A Decision is what to do about an exit.
type Decision struct {
	Restart bool
	After   time.Duration // until the restart
	Left    int           // further restarts that are allowed

	// Failed tells, where there is no restart, a collector that has failed
	// from one that is done. Reason says why, in words.
	Failed bool
	Reason string

	// Exhausted is set where it would have been started again, if that were still
	// allowed, or could work.
	Exhausted bool
}

// Next decides about exit e of a collector with history h. The history to go on
// with is the second result; it counts the restart that was decided on. Jitter is a random number in [0, 1): it shortens a delay
// by up to a fifth, so that what failed together does not return together.
func (p Policy) Next(h History, e Exit, jitter float64) (Decision, History) {
	switch {
	case e.Permanent:
		return Decision{Failed: true, Exhausted: true, Reason: e.Cause}, h
	case e.Success && (!p.Enabled || p.Mode != config.RestartAlways):
		return Decision{Reason: "it ended by itself with " + e.Cause}, h
	case e.Final:
		return Decision{Failed: !e.Success, Reason: e.Cause + ", which is in no_restart_exit_codes"}, h
	case !p.Enabled:
		return Decision{Failed: true, Reason: e.Cause + "; automatic restarts are off"}, h
	case p.Mode == config.RestartNever:
		return Decision{Failed: true, Reason: e.Cause + `; restart = "never"`}, h
	}

	recent := p.recent(h.restarts, e.At)
	if len(recent) >= p.Max {
		return Decision{Failed: true, Exhausted: true, Reason: p.exhausted(h, e, len(recent)+1)}, h
	}

	row := h.row
	if e.Ran > 0 && e.Ran >= p.Reset {
		row = 0
	}
	after := time.Duration(float64(p.delay(row)) * (1 - jitter/5))
	next := History{
		restarts: append(recent, e.At.Add(after)),
		row:      row + 1,
		last:     e.Cause,
		same:     len(recent) == 0 || h.same && h.last == e.Cause,
	}
	return Decision{Restart: true, After: after, Left: p.Max - len(next.restarts)}, next
}

// Recent is how many restarts count against the limit at a time.
func (p Policy) Recent(h History, now time.Time) int { return len(p.recent(h.restarts, now)) }

// Left is how many restarts are allowed at a time; -1 if none ever happen.
func (p Policy) Left(h History, now time.Time) int {
	if !p.Enabled || p.Mode == config.RestartNever {
		return -1
	}
	return max(p.Max-p.Recent(h, now), 0)
}

func (p Policy) recent(restarts []time.Time, now time.Time) []time.Time {
	if p.Window <= 0 {
		return restarts
	}
	for i, at := range restarts {
		if now.Sub(at) < p.Window {
			return restarts[i:]
		}
	}
	return nil
}

// delay is the time before the restart that has row others in a row before it.
func (p Policy) delay(row int) time.Duration {
	if row == 0 || p.Initial <= 0 {
		return 0
	}
	after := p.Initial
	for range row - 1 {
		if after >= p.Limit/2 {
			return p.Limit
		}
		after *= 2
	}
	return min(after, p.Limit)
}

// exhausted says why there is no other restart, in words that a person can act on.
func (p Policy) exhausted(h History, e Exit, exits int) string {
	what := fmt.Sprintf("%s exits%s, the last: %s", number(exits), p.within(), e.Cause)
	if exits == 1 || h.same && h.last == e.Cause {
		what = e.Cause + " " + times(exits) + p.within()
	}
	return fmt.Sprintf("%s, and max_restarts = %d", what, p.Max)
}

func (p Policy) within() string {
	if p.Window <= 0 {
		return " since its start"
	}
	return fmt.Sprintf(" within %g s", p.Window.Seconds())
}

var numbers = [...]string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}

func number(n int) string {
	if n < len(numbers) {
		return numbers[n]
	}
	return fmt.Sprint(n)
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return number(n) + " times"
}
