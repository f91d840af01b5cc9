package meter

import (
	"time"

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

func (s *subject) limits() (limits [numResources]int64) {
	for i := range s.conditions {
		limits[i] = s.conditions[i].limit
	}
	return limits
}

// judge looks whether what is used is too much, and tells when that begins and ends.
func (s *subject) judge(u *messages.Usage) {
	for i, used := range [numResources]struct {
		known messages.Metric
		n     int64
	}{
		memory:    {messages.HasMemory, u.Memory},
		processor: {messages.HasCPUPercent, int64(u.CPUPercent * 10)},
		tasks:     {messages.HasTasks, int64(u.Tasks)},
	} {
		c := &s.conditions[i]
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
		if lasted := u.At.Sub(c.since); !c.told && lasted >= s.warn.For {
			c.told = true
			s.tell(s.incarnation, messages.UsageHigh{
				Resource: resourceNames[i], Percent: percent, Threshold: c.threshold, Used: used.n, Limit: c.limit, For: max(s.warn.For, 0),
			})
		}
	}
}

// finish says that a condition is not there any more, if it was told of.
func (s *subject) finish(r resource, percent float64, ended bool) {
	c := &s.conditions[r]
	if c.told {
		s.tell(s.incarnation, messages.UsageNormal{
			Resource: resourceNames[r], Percent: percent, Threshold: c.threshold, Lasted: time.Since(c.since), Ended: ended,
		})
	}
	c.since, c.told = time.Time{}, false
}

// over ends all that is said of a process.
func (s *subject) over() {
	for i := range s.conditions {
		s.finish(resource(i), 0, true)
	}
}
