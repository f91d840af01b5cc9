package collector

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// activity is what one incarnation has yielded. Who counts what it writes only
// counts; the actor looks from time to time.
type activity struct {
	config config.Activity
	lines  atomic.Uint64

	said    float64 // the number in what it said last
	count   float64 // at the last look
	counted bool    // there was one
	fault   error   // why the last look found nothing

	since   time.Time // when it has yielded something, or has begun to be to
	minute  []sample  // of the last minute, the oldest first
	looking bool
	round   uint64 // tells the looks from those before a pause
	disarm  func()
	missed  string // that it has not yielded enough, in words
}

// sample is how much there was at a time.
type sample struct {
	at    time.Time
	count float64
}

// What a collector tells itself about the activity of its process.
type (
	look struct {
		incarnation, round uint64
	}
	counted struct {
		look
		count float64
		err   error
	}
)

func (look) IgnoreDeadLetterLogging()    {}
func (counted) IgnoreDeadLetterLogging() {}

// Forward counts what is written. It is called by whoever reads it.
func (a *activity) Forward(capture.Record) { a.lines.Add(1) }

// watchers are all that are given every record.
type watchers []capture.Forwarder

func (w watchers) Forward(r capture.Record) {
	for _, one := range w {
		one.Forward(r)
	}
}

// watch is who is given what the process writes; nil: nobody needs it.
func (c *collector) watch(ctx actor.Context, cfg config.Collector) capture.Forwarder {
	c.activity = nil
	if cfg.Activity.Source != "" {
		c.activity = &activity{config: cfg.Activity, disarm: func() {}}
	}
	line := c.lineWatch(ctx, cfg)
	counts := c.activity != nil && cfg.Activity.Source == config.ActivityStdout
	switch {
	case line != nil && counts:
		return watchers{line, c.activity}
	case counts:
		return c.activity
	}
	return line
}

// period is the time from one look to the next: often enough that what is found is
// at most a quarter late, and never a burden.
func (a *activity) period() time.Duration {
	period := 15 * time.Second
	if silence := a.config.MaxSilence; silence > 0 {
		period = min(period, max(silence/4, 100*time.Millisecond))
	}
	return period
}

// observe has somebody look at the activity while the process is up, and only then.
func (c *collector) observe(ctx actor.Context) {
	a := c.activity
	if a == nil {
		return
	}
	switch up := c.state == lifecycle.Running && !c.said.Stopping; {
	case up && !a.looking:
		// What it has not done while it was paused is not held against it.
		a.looking, a.since, a.minute, a.missed = true, time.Now(), nil, ""
		a.again(ctx, c.incarnation)
	case !up && a.looking:
		a.looking = false
		a.round++
		a.disarm()
	}
}

func (a *activity) again(ctx actor.Context, incarnation uint64) {
	a.disarm = scheduler.NewTimerScheduler(ctx.ActorSystem().Root).SendOnce(a.period(), ctx.Self(), look{incarnation, a.round})
}

func (c *collector) observed(l look) bool {
	return l.incarnation == c.incarnation && c.activity != nil && c.activity.looking && l.round == c.activity.round
}

// look finds out how much there is. Asking the process takes time: that answer is
// a message.
func (c *collector) look(ctx actor.Context, l look) {
	if !c.observed(l) {
		return
	}
	a := c.activity
	switch a.config.Source {
	case config.ActivityStdout:
		c.measure(ctx, counted{l, float64(a.lines.Load()), nil})
	case config.ActivityNotify:
		c.measure(ctx, counted{l, a.said, nil})
	default:
		if c.options.Count == nil {
			return
		}
		root, self, count, cfg := ctx.ActorSystem().Root, ctx.Self(), c.options.Count, a.config
		go func() {
			n, err := count(context.Background(), cfg.URL, cfg.Metric) //nolint:forbidigo // an actor has no caller; it ends by its own time limit
			root.Send(self, counted{l, n, err})
		}()
	}
}

// measure draws the conclusions.
func (c *collector) measure(ctx actor.Context, m counted) {
	if !c.observed(m.look) {
		return
	}
	a, now := c.activity, time.Now()
	a.fault = m.err
	if m.err == nil {
		if a.counted && m.count != a.count {
			a.since = now
		}
		if m.count < a.count { // it counts from the beginning again
			a.minute = nil
		}
		a.count, a.counted = m.count, true
		a.minute = append(a.minute, sample{now, m.count})
		for len(a.minute) > 1 && now.Sub(a.minute[1].at) >= time.Minute {
			a.minute = a.minute[1:]
		}
	}
	before := a.missed
	a.missed = a.tooLittle(now)
	if a.missed != before {
		c.flush(ctx) // whoever follows the health sees why it is ended
	}
	if a.missed != "" && a.config.RestartOnSilence {
		c.unhealthy, c.illness = a.missed, messages.IllSilence
		c.handle(ctx, lifecycle.Unhealthy)
		return
	}
	a.again(ctx, c.incarnation)
}

// tooLittle says in words why it is not enough; empty: it is.
func (a *activity) tooLittle(now time.Time) string {
	why := ""
	if a.fault != nil {
		why = ": " + a.fault.Error()
	}
	if silent := now.Sub(a.since); a.config.MaxSilence > 0 && silent >= a.config.MaxSilence {
		return fmt.Sprintf("it has yielded nothing for %v (%s)%s", silent.Round(time.Second), a.what(), why)
	}
	if least := a.config.MinPerMinute; least > 0 && len(a.minute) > 0 && now.Sub(a.minute[0].at) >= time.Minute {
		if n := a.count - a.minute[0].count; n < float64(least) {
			return fmt.Sprintf("it has yielded %v in the last minute, and %d is the least (%s)%s", n, least, a.what(), why)
		}
	}
	return ""
}

// what is counted, in words.
func (a *activity) what() string {
	switch a.config.Source {
	case config.ActivityStdout:
		return "lines of output"
	case config.ActivityNotify:
		return "the number in its status"
	}
	return a.config.Metric
}

var firstNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// hearStatus takes in the number that a status has, if it has one.
func (a *activity) hearStatus(status string) {
	if n, err := strconv.ParseFloat(firstNumber.FindString(status), 64); err == nil {
		a.said = n
	}
}
