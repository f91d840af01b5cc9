// Package meter finds out what collectors use: when somebody asks, and from time to
// time as long as there is something to warn of. With neither it does nothing at
// all.
//
// It measures on a goroutine of its own, that is there while there is something to
// measure: all that is asked for at that moment, and all that is due, at once.
package meter

import (
	"sync"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// The times between which a use of the processor is told from: what is shorter is
// mere chance, what is longer tells of the past.
const (
	minOver = 200 * time.Millisecond
	maxOver = time.Minute
	wait    = 250 * time.Millisecond // between the two looks of one who cannot be told at once
)

// The times between two looks at what is warned of.
const (
	soonest  = 250 * time.Millisecond
	latest   = 15 * time.Second
	perTime  = 4           // looks in the time that it has to last
	everyOne = time.Second // where one look is enough
)

// A Meter measures the processes of collectors. Its methods may be called from any
// goroutine; none of them blocks.
type Meter struct {
	host platform.Host

	// Held for moments, never while anything is measured. Facts are told under it,
	// so that they come in order.
	mu        sync.Mutex
	subjects  map[string]*subject
	questions []*question
	working   bool        // there is a goroutine
	alarm     *time.Timer // wakes it; nil: nothing is due
	rings     time.Time   // when it does
}

// A subject is one collector.
type subject struct {
	incarnation  uint64
	process      platform.Process // nil: there is none
	older, newer mark             // of its use of the processor
	watch        *watch           // nil: there is nothing to warn of
}

// A mark is how much of the processor had been used at a time.
type mark struct {
	at   time.Time
	used time.Duration
}

// A question is one of somebody's.
type question struct {
	ids    []string
	full   bool
	first  bool // it is only the first of two looks
	answer func([]messages.CollectorUsage)
}

// New returns a Meter of processes on host.
func New(host platform.Host) *Meter { return &Meter{host: host, subjects: map[string]*subject{}} }

func (m *Meter) subject(id string) *subject {
	s := m.subjects[id]
	if s == nil {
		s = &subject{}
		m.subjects[id] = s
	}
	return s
}

// Began says that a collector has a process since at.
func (m *Meter) Began(id string, incarnation uint64, p platform.Process, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.subject(id)
	s.over(true)
	s.incarnation, s.process = incarnation, p
	s.older, s.newer = mark{}, mark{at: at}
	m.schedule(s)
}

// Ended says that p is over. It returns what it used in its last minute, the oldest
// first, if there was something to warn of.
func (m *Meter) Ended(id string, p platform.Process) (lastMinute []messages.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.subjects[id]
	if s == nil || s.process != p {
		return nil
	}
	if s.watch != nil {
		lastMinute = trimmed(s.watch.recent, time.Now())
		s.watch.recent = nil
	}
	s.over(true)
	s.process = nil
	m.dropIdle(id, s)
	return lastMinute
}

// Warn has what a collector uses looked at, as long as it has a process, if its
// settings say what to warn of, or have a soft limit. Tell is told when what is
// warned of begins and when it is over, end when a process is to be ended, and why:
// they must not block, nor call the Meter. Settings with neither end it.
func (m *Meter) Warn(id string, c config.Collector, tell func(incarnation uint64, fact messages.Fact), end func(incarnation uint64, reason string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.subjects[id]
	if s == nil && !watches(c) {
		return
	}
	if s == nil {
		s = m.subject(id)
	}
	w := newWatch(c, tell, end)
	if s.watch.same(w) {
		return
	}
	s.over(false)
	s.watch = w
	m.schedule(s)
	m.dropIdle(id, s)
}

func (m *Meter) dropIdle(id string, s *subject) {
	if s.process == nil && s.watch == nil {
		delete(m.subjects, id)
	}
}

// Ask has answer called with what collectors use, in the order of ids, on a
// goroutine of the Meter's.
func (m *Meter) Ask(ids []string, full, rate bool, answer func([]messages.CollectorUsage)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := &question{ids: ids, full: full, answer: answer}
	if now := time.Now(); rate {
		for _, id := range ids {
			if s := m.subjects[id]; s != nil && s.process != nil && s.base(now) == (mark{}) {
				q.first = true
			}
		}
	}
	m.questions = append(m.questions, q)
	m.rouse()
}

// schedule has a subject looked at when its time comes.
func (m *Meter) schedule(s *subject) {
	if !s.watched() {
		return
	}
	s.later(time.Now())
	if m.alarm == nil || s.watch.next.Before(m.rings) {
		m.wakeAt(s.watch.next)
	}
}

// rouse sees to it that what there is to do is done when it is time.
func (m *Meter) rouse() {
	if m.working {
		return // it looks again before it ends
	}
	if len(m.questions) > 0 {
		m.working = true
		go m.work()
		return
	}
	var first time.Time
	for _, s := range m.subjects {
		if s.watched() && (first.IsZero() || s.watch.next.Before(first)) {
			first = s.watch.next
		}
	}
	m.wakeAt(first)
}

// wakeAt has the goroutine come back at a time; zero: not at all.
func (m *Meter) wakeAt(at time.Time) {
	if m.working {
		return // it looks when it ends
	}
	if m.alarm != nil {
		m.alarm.Stop()
		m.alarm = nil
	}
	if !at.IsZero() {
		m.rings = at
		m.alarm = time.AfterFunc(time.Until(at), m.ring)
	}
}

func (m *Meter) ring() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alarm = nil
	if !m.working {
		m.working = true
		go m.work()
	}
}

// work measures until there is nothing to measure.
func (m *Meter) work() {
	for {
		round, more := m.begin()
		if !more {
			return
		}
		round.brief.measure(m.host, platform.Brief)
		round.full.measure(m.host, platform.Full)
		m.end(round)
	}
}

// A round is what is measured at once.
type round struct {
	questions   []*question
	brief, full batch
}

// A batch is what is measured at the same level of detail.
type batch struct {
	ids       []string
	at        map[string]int // where they are
	processes []platform.Process
	usages    []platform.Usage
}

func (b *batch) add(id string, p platform.Process) {
	if _, there := b.at[id]; there {
		return
	}
	if b.at == nil {
		b.at = map[string]int{}
	}
	b.at[id] = len(b.ids)
	b.ids, b.processes = append(b.ids, id), append(b.processes, p)
}

func (b *batch) measure(host platform.Host, d platform.Detail) {
	if len(b.processes) > 0 {
		b.usages = make([]platform.Usage, len(b.processes))
		host.Usage(b.processes, d, b.usages)
	}
}

// begin collects what there is to do now; false: nothing, and the goroutine ends.
func (m *Meter) begin() (r round, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.questions, m.questions = m.questions, nil
	for _, q := range r.questions {
		b := &r.brief
		if q.full && !q.first {
			b = &r.full
		}
		for _, id := range q.ids {
			if s := m.subjects[id]; s != nil && s.process != nil {
				b.add(id, s.process)
			}
		}
	}
	now := time.Now()
	for id, s := range m.subjects {
		if _, there := r.full.at[id]; !there && s.due(now) {
			r.brief.add(id, s.process)
		}
	}
	if len(r.questions) == 0 && len(r.brief.ids) == 0 {
		m.working = false
		m.rouse()
		return r, false
	}
	return r, true
}

// end takes in what was measured, and answers.
func (m *Meter) end(r round) {
	m.mu.Lock()
	found := make(map[string]messages.CollectorUsage, len(r.brief.ids)+len(r.full.ids))
	for _, b := range []*batch{&r.brief, &r.full} {
		for i, id := range b.ids {
			s := m.subjects[id]
			if s == nil || s.process != b.processes[i] {
				continue // it has ended meanwhile
			}
			u := usageOf(&b.usages[i])
			if now := time.Now(); s.due(now) {
				s.later(now)
			}
			if u.At.IsZero() {
				continue // it ends just now, or the system does not tell
			}
			s.rate(&u)
			s.judge(&u)
			s.remember(u)
			found[id] = messages.CollectorUsage{ID: id, Incarnation: s.incarnation, Usage: u}
		}
	}
	m.mu.Unlock()
	for _, q := range r.questions {
		if q.first {
			q.first = false
			time.AfterFunc(wait, func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.questions = append(m.questions, q)
				m.rouse()
			})
			continue
		}
		all := make([]messages.CollectorUsage, len(q.ids))
		for i, id := range q.ids {
			all[i] = found[id]
			all[i].ID = id
		}
		q.answer(all)
	}
}

// base is what a use of the processor can be told from at a time; zero: nothing.
func (s *subject) base(now time.Time) mark {
	for _, m := range []mark{s.newer, s.older} {
		if over := now.Sub(m.at); !m.at.IsZero() && over >= minOver && over <= maxOver {
			return m
		}
	}
	return mark{}
}

// rate fills in the use of the processor since a look before this one.
func (s *subject) rate(u *messages.Usage) {
	if !u.Has(messages.HasCPU) {
		return
	}
	used := u.UserTime + u.SystemTime
	if base := s.base(u.At); base != (mark{}) {
		u.CPUOver = u.At.Sub(base.at)
		u.CPUPercent = 100 * float64(max(used-base.used, 0)) / float64(u.CPUOver)
		u.Known |= messages.HasCPUPercent
	}
	if u.At.Sub(s.newer.at) >= minOver {
		s.older, s.newer = s.newer, mark{u.At, used}
	}
}

// metrics are those of the platform, and what they are called in messages.
var metrics = []struct {
	from platform.Metric
	to   messages.Metric
}{
	{platform.HasCPU, messages.HasCPU}, {platform.HasThrottled, messages.HasThrottled}, {platform.HasMemory, messages.HasMemory},
	{platform.HasMemoryPeak, messages.HasMemoryPeak}, {platform.HasSwap, messages.HasSwap}, {platform.HasProcesses, messages.HasProcesses},
	{platform.HasTasks, messages.HasTasks}, {platform.HasIO, messages.HasIO}, {platform.HasIOOps, messages.HasIOOps},
	{platform.HasDescriptors, messages.HasDescriptors}, {platform.HasSwitches, messages.HasSwitches},
	{platform.HasCPUPressure, messages.HasCPUPressure}, {platform.HasMemoryPressure, messages.HasMemoryPressure},
	{platform.HasIOPressure, messages.HasIOPressure}, {platform.HasOOMKills, messages.HasOOMKills},
}

// usageOf is what a host tells, as others are told it.
func usageOf(u *platform.Usage) messages.Usage {
	w := messages.Usage{
		At: u.At, Source: u.Source, UserTime: u.UserTime, SystemTime: u.SystemTime, Throttled: u.Throttled,
		Memory: u.Memory, MemoryPeak: u.MemoryPeak, MemoryLimit: u.MemoryLimit, Swap: u.Swap,
		Processes: u.Processes, Tasks: u.Tasks, TasksLimit: u.TasksLimit,
		ReadBytes: u.ReadBytes, WriteBytes: u.WriteBytes, ReadOps: u.ReadOps, WriteOps: u.WriteOps, Descriptors: u.Descriptors,
		VoluntarySwitches: u.VoluntarySwitches, InvoluntarySwitches: u.InvoluntarySwitches, OOMKills: u.OOMKills,
		CPUPressure: messages.Pressure(u.CPUPressure), MemoryPressure: messages.Pressure(u.MemoryPressure), IOPressure: messages.Pressure(u.IOPressure),
	}
	for _, m := range metrics {
		if u.Has(m.from) {
			w.Known |= m.to
		}
	}
	return w
}
