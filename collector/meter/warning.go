package meter

import (
	"fmt"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A resource is something that can be warned of.
type resource uint8

const (
	memory resource = iota
	processor
	tasks

	numResources = iota
)

var resourceNames = [numResources]string{"memory", "cpu", "tasks"}

// A condition is whether a collector uses too much of something.
type condition struct {
	threshold int   // percent; 0: that is not looked at
	limit     int64 // what they are of
	since     time.Time
	told      bool // others were told that it does
}

// soft is the memory that a collector may not use for long.
type soft struct {
	mib   int // 0: any
	lasts time.Duration
	end   func(incarnation uint64, reason string)
	since time.Time // when it began to use more
}

// A watch is what a collector is looked at for without being asked.
type watch struct {
	lasts      time.Duration // how long it has to last
	tell       func(incarnation uint64, fact messages.Fact)
	conditions [numResources]condition
	soft       soft
	next       time.Time        // when it is to be looked at
	recent     []messages.Usage // of the last minute, the oldest first
}

// newWatch is nil where there is nothing to warn of.
func newWatch(c config.Collector, tell func(incarnation uint64, fact messages.Fact), end func(incarnation uint64, reason string)) *watch {
	l := c.ResourceLimits
	if !watches(c) {
		return nil
	}
	return &watch{soft: soft{mib: l.MemorySoftMB, lasts: max(l.MemorySoft, 0), end: end}, lasts: max(c.Warn.For, 0), tell: tell, conditions: [numResources]condition{
		memory:    {threshold: c.Warn.MemoryPercent, limit: c.ResourceLimits.MemoryLimit()},
		processor: {threshold: c.Warn.CPUPercent, limit: 1000},
		tasks:     {threshold: c.Warn.TasksPercent, limit: int64(c.ResourceLimits.TasksMax)},
	}}
}

// same reports whether both watch for the same.
func (w *watch) same(v *watch) bool {
	if w == nil || v == nil {
		return w == v
	}
	for i := range w.conditions {
		if a, b := &w.conditions[i], &v.conditions[i]; a.threshold != b.threshold || a.limit != b.limit {
			return false
		}
	}
	return w.lasts == v.lasts && w.soft.mib == v.soft.mib && w.soft.lasts == v.soft.lasts
}

// watches reports whether there is something to look at without being asked.
func watches(c config.Collector) bool { return c.Warn.Set() || c.ResourceLimits.MemorySoftMB > 0 }

func (w *watch) interval() time.Duration {
	between := latest
	for i := range w.conditions {
		if w.conditions[i].threshold != 0 {
			between = min(between, intervalOf(w.lasts))
		}
	}
	if w.soft.mib > 0 {
		between = min(between, intervalOf(w.soft.lasts))
	}
	return between
}

func intervalOf(lasts time.Duration) time.Duration {
	if lasts == 0 {
		return everyOne
	}
	return min(max(lasts/perTime, soonest), latest)
}

// watched reports whether it is looked at without being asked.
func (s *subject) watched() bool { return s.process != nil && s.watch != nil }

// later has a subject looked at next.
func (s *subject) later(now time.Time) { s.watch.next = now.Add(s.watch.interval()) }

// due reports whether a subject is to be looked at now: a little too early, so that
// many are looked at together.
func (s *subject) due(now time.Time) bool {
	return s.watched() && !s.watch.next.After(now.Add(soonest/2))
}

// The looks that are kept, for whoever asks how a process came to its end.
const (
	kept  = time.Minute
	apart = 5 * time.Second // at least, but for the last one
)

// remember keeps what was seen.
func (s *subject) remember(u messages.Usage) {
	if s.watch == nil {
		return
	}
	recent := trimmed(s.watch.recent, u.At)
	if n := len(recent); n > 1 && recent[n-1].At.Sub(recent[n-2].At) < apart {
		recent = recent[:n-1]
	}
	s.watch.recent = append(recent, u)
}

// trimmed is what there is of the last minute.
func trimmed(recent []messages.Usage, now time.Time) []messages.Usage {
	for len(recent) > 0 && now.Sub(recent[0].At) > kept {
		recent = recent[1:]
	}
	return recent
}

// judge looks whether what is used is too much, and tells when that begins and ends.
func (s *subject) judge(u *messages.Usage) {
	w := s.watch
	if w == nil {
		return
	}
	w.soft.judge(s.incarnation, u)
	for i, used := range [numResources]struct {
		known messages.Metric
		n     int64
	}{
		memory:    {messages.HasMemory, u.Memory},
		processor: {messages.HasCPUPercent, int64(u.CPUPercent * 10)},
		tasks:     {messages.HasTasks, int64(u.Tasks)},
	} {
		c := &w.conditions[i]
		if c.threshold == 0 || c.limit == 0 || !u.Has(used.known) {
			continue
		}
		percent := 100 * float64(used.n) / float64(c.limit)
		if percent <= float64(c.threshold) {
			s.finish(resource(i), percent, false)
			continue
		}
		if c.since.IsZero() {
			c.since = u.At
		}
		if !c.told && u.At.Sub(c.since) >= w.lasts {
			c.told = true
			w.tell(s.incarnation, messages.UsageHigh{
				Resource: resourceNames[i], Percent: percent, Threshold: c.threshold, Used: used.n, Limit: c.limit, For: w.lasts,
			})
		}
	}
}

// judge has a process ended that has used too much memory for too long. One that
// cannot be ended just now, being paused, has as much time again.
func (s *soft) judge(incarnation uint64, u *messages.Usage) {
	switch {
	case s.mib == 0 || !u.Has(messages.HasMemory):
	case u.Memory <= int64(s.mib)<<20:
		s.since = time.Time{}
	default:
		if s.since.IsZero() {
			s.since = u.At
		}
		if u.At.Sub(s.since) < s.lasts {
			return
		}
		s.since = u.At
		reason := fmt.Sprintf("it used more than %d MB", s.mib)
		if s.lasts > 0 {
			reason += " for " + config.Seconds(s.lasts) + " s"
		}
		s.end(incarnation, reason)
	}
}

// finish says that a condition is not there any more, if it was told of.
func (s *subject) finish(r resource, percent float64, ended bool) {
	c := &s.watch.conditions[r]
	if c.told {
		s.watch.tell(s.incarnation, messages.UsageNormal{
			Resource: resourceNames[r], Percent: percent, Threshold: c.threshold, Lasted: time.Since(c.since), Ended: ended,
		})
	}
	c.since, c.told = time.Time{}, false
}

// over ends all that is said of a process: it has ended, or is looked at for
// something else.
func (s *subject) over(ended bool) {
	if s.watch == nil {
		return
	}
	s.watch.soft.since = time.Time{}
	for i := range s.watch.conditions {
		s.finish(resource(i), 0, ended)
	}
}
