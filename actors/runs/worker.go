package runs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A worker is what only the goroutine that writes may touch.
type worker struct {
	options  Options
	loaded   bool
	failing  bool
	instance string
	closing  bool // the supervisor ends
	byID     map[string]*history
	records  int
	bytes    int64
	dirty    map[*entry]*history // whose files are not as they are to be
	emptied  []*history          // that have had records, and may have none any more
	crashes  crashes
	hashes   map[string]hashed
	trimmed  time.Time // when ages were looked at last
}

// A history is what is known of one collector.
type history struct {
	id      string
	entries []*entry // the oldest first
	journal

	current *entry // the process that is there
	last    *entry // the one that ended last, until it is known what follows
	restart bool   // an automatic restart is to come
	config  *config.Collector
	hash    string // of it

	signalled   string // who had a signal sent to it last
	signalledAt time.Time
}

// An entry is one record.
type entry struct {
	name    string
	at      int64  // in the file
	size    int64  // 0: it is in no file yet
	fault   string // why what is in the file cannot be read
	start   time.Time
	end     time.Time
	failure string        // how it ended, if that was not expected
	run     *messages.Run // where it can still change; else it is in its file
}

func newWorker(o Options) worker {
	return worker{options: o, byID: map[string]*history{}, dirty: map[*entry]*history{}, hashes: map[string]hashed{}, crashes: newCrashes(o)}
}

// handle takes in a batch, and writes once what it has changed.
func (w *worker) handle(batch []any, dropped uint64) {
	if !w.loaded {
		w.loaded = true
		w.load()
	}
	for _, item := range batch {
		switch m := item.(type) {
		case Launch:
			w.launched(m)
		case messages.Event:
			w.happened(m)
		case func():
			w.flush()
			m()
		}
	}
	w.flush()
	if dropped > 0 {
		w.complain(missed(dropped))
	}
}

func (w *worker) of(id string) *history {
	h := w.byID[id]
	if h == nil {
		h = &history{id: id}
		w.byID[id] = h
	}
	return h
}

// begin makes the record of a run.
func (w *worker) begin(h *history, r messages.Run) *entry {
	r.ID, r.Instance = h.id, w.instance
	if h.restart {
		r.Trigger = messages.TriggerRestart
	}
	h.restart = false
	e := &entry{name: h.name(r.StartedAt, r.Incarnation), start: r.StartedAt, run: &r}
	h.entries = append(h.entries, e)
	w.records++
	w.dirty[e] = h
	w.bound(h)
	return e
}

// bound forgets what a collector has too many of.
func (w *worker) bound(h *history) {
	for len(h.entries) > w.options.Limits.PerCollector {
		w.drop(h)
	}
}

// name finds a name that no record has. Incarnations are counted anew in each
// life of the supervisor, and clocks are set back, so that time and incarnation
// alone could name a run of an earlier life, which would be lost.
func (h *history) name(start time.Time, incarnation uint64) string {
	for ms := start.UnixMilli(); ; ms++ {
		name := fmt.Sprintf("%013d-%d", ms, incarnation)
		if !slices.ContainsFunc(h.entries, func(e *entry) bool { return e.name == name }) {
			return name
		}
	}
}

func (w *worker) launched(l Launch) {
	h := w.of(l.ID)
	w.lose(h)
	if h.config == nil || !reflect.DeepEqual(*h.config, l.Config) { // hashing takes ten times as long as seeing that they are the same
		h.config, h.hash = &l.Config, hashConfig(l.Config)
	}
	h.current = w.begin(h, messages.Run{
		Incarnation: l.Incarnation, PID: l.PID, StartedAt: l.At,
		Binary: l.Binary, BinarySHA256: w.hashOf(l.Binary), ConfigSHA256: h.hash,
	})
}

// lose ends a run whose end nobody has told of.
func (w *worker) lose(h *history) {
	if e := h.current; e != nil {
		e.run.End = messages.EndUnknown
		w.dirty[e] = h
		h.current = nil
	}
}

func (w *worker) happened(e messages.Event) {
	switch f := e.Fact.(type) {
	case messages.Begun:
		w.instance, w.closing = f.Instance, false
	case messages.ShuttingDown:
		w.closing = true
	case messages.Audited:
		if f.Op == "signal" && f.Err == nil && !f.Denied {
			h := w.of(e.ID)
			h.signalled, h.signalledAt = e.Origin.By, e.At
		}
	case messages.StateChanged:
		w.stateChanged(w.of(e.ID), e, f)
	case messages.Exited:
		w.exited(w.of(e.ID), e, f)
	case messages.RestartScheduled:
		h := w.of(e.ID)
		h.restart = true
		rule := "by the restart policy"
		if h.config != nil {
			rule = fmt.Sprintf("by restart = %q", h.config.Restart)
		}
		text := "started again at once, " + rule
		if f.After > 0 {
			text = fmt.Sprintf("started again after %v, %s", f.After.Round(time.Millisecond), rule)
		}
		text += fmt.Sprintf("; %d more allowed", f.Left)
		if f.Window > 0 {
			text += fmt.Sprintf(" within %v", f.Window)
		}
		w.decide(h, text, f.At)
	case messages.Removed:
		h := w.of(e.ID)
		w.lose(h)
		before := h.last
		h.last, h.config, h.restart = nil, nil, false
		w.release(h, before)
		if len(h.entries) == 0 {
			delete(w.byID, e.ID)
		}
	}
}

func (w *worker) stateChanged(h *history, e messages.Event, f messages.StateChanged) {
	if r := h.current; r != nil && f.PID != 0 && r.run.Incarnation == e.Incarnation && f.PID == r.run.PID {
		if f.From != messages.Paused && f.To == messages.Running && e.Origin.By != "" && r.run.Trigger == messages.TriggerStart {
			r.run.Trigger, r.run.StartedBy = messages.TriggerCommand, e.Origin.By
			w.dirty[r] = h
		}
		return
	}
	switch f.To {
	case messages.Failed:
		w.decide(h, "failed: "+f.Reason, f.NextRestart)
		h.restart = false
	case messages.Stopped:
		text := "stopped, as was asked for"
		if f.Reason != "" {
			text = "stopped: " + f.Reason
		}
		if w.closing {
			text = "stopped, as the supervisor was ending"
		}
		w.decide(h, text, time.Time{})
		h.restart = false
	case messages.Starting:
		if h.last != nil && h.last.run.End == messages.EndDependency {
			w.decide(h, "started again, as soon as it may be", f.NextRestart)
		}
		if f.NextRestart.IsZero() && h.last != nil && (h.last.run.End == messages.EndOperator) {
			w.decide(h, "started again, as was asked for", time.Time{})
		}
	}
}

// decide writes down what follows the run that ended last.
func (w *worker) decide(h *history, what string, at time.Time) {
	if h.last == nil || h.last.run.Decision != "" {
		return
	}
	h.last.run.Decision, h.last.run.NextAt = what, at
	w.dirty[h.last] = h
}

func (w *worker) exited(h *history, e messages.Event, f messages.Exited) {
	exit := f.Exit
	r := h.current
	if r == nil || r.run.Incarnation != exit.Incarnation {
		w.lose(h)
		r = w.begin(h, messages.Run{Incarnation: exit.Incarnation, PID: exit.PID, StartedAt: exit.At.Add(-exit.Ran)})
		if e.Origin.By != "" && !f.Expected {
			r.run.Trigger, r.run.StartedBy = messages.TriggerCommand, e.Origin.By
		}
	}
	before := h.last
	h.current, h.last = nil, r
	w.release(h, before)
	run := r.run
	run.Exit, run.End = &exit, messages.EndOf(exit, f.Expected, f.Because, w.closing)
	r.end = exit.At
	if f.Because != "" {
		h.restart = true // unless it is said otherwise
	}
	if f.Expected {
		run.EndedBy, run.Because = e.Origin.By, f.Because
	}
	if h.signalled != "" && exit.At.Sub(h.signalledAt) < justBefore && h.signalledAt.After(run.StartedAt) {
		run.SignalledBy = h.signalled
	}
	h.signalled = ""
	if !f.Expected && !succeeded(h.config, exit) {
		r.failure = exit.String()
		if exit.SpawnError == "" {
			run.Crash = w.crash(h, run)
		}
	}
	exit.LastMinute = nil // that is for the crash report
	w.dirty[r] = h
}

// justBefore is how long before its end a signal may have led to it.
const justBefore = 10 * time.Second

func succeeded(c *config.Collector, e messages.Exit) bool {
	if c == nil || e.SpawnError != "" || e.Fault != "" || e.Unhealthy != "" {
		return e.Success()
	}
	return e.Success() || config.ListsExit(c.SuccessExitCodes, e.Code, e.Signal)
}

// crash adds a run to the report of its kind.
func (w *worker) crash(h *history, run *messages.Run) uint64 {
	dir := ""
	if h.config != nil {
		dir = h.config.WorkingDir
	}
	var lines []string
	if w.options.Output != nil && run.PID != 0 {
		lines = w.options.Output(run.ID, run.Incarnation, run.StartedAt, outputLines)
	}
	if len(lines) == 0 {
		lines = run.Exit.Tail
	}
	return w.crashes.add(run, dir, lines)
}

// outputLines is how many of its last lines a trace is looked for in.
const outputLines = 400

// abandon ends what has not ended: nobody will tell of it any more.
func (w *worker) abandon() {
	for _, h := range w.byID {
		if e := h.current; e != nil {
			e.run.End = messages.EndSupervisor
			w.dirty[e] = h
			h.current = nil
		}
	}
	w.flush()
}

// load finds what has been written before.
func (w *worker) load() {
	w.loadAll()
	for w.records > w.options.Limits.Records && w.dropOldest() != nil { // no more than were told before
	}
	w.crashes.load()
	w.complain(w.trim())
}

// flush writes what has changed, and keeps all within its bounds.
func (w *worker) flush() {
	if len(w.dirty) == 0 {
		return
	}
	failure := w.trim()
	changed := map[*history][]*entry{}
	for e, h := range w.dirty {
		changed[h] = append(changed[h], e)
	}
	for h, entries := range changed {
		if err := w.save(h, entries); err != nil {
			failure = err // it is tried again when there is something else to write
			continue
		}
		for _, e := range entries {
			delete(w.dirty, e)
			w.release(h, e)
		}
	}
	w.complain(cmp.Or(failure, w.crashes.flush(), w.trim()))
}

// release lets go of what is in a file, and cannot change any more.
func (w *worker) release(h *history, e *entry) {
	if e != nil && e != h.current && e != h.last && w.dirty[e] == nil {
		e.run = nil
	}
}

// trim forgets the oldest records where there are too many. Their lines go with
// what else does not count in the file, but for those that are too old, or where
// all files together are too large.
func (w *worker) trim() (failure error) {
	l := w.options.Limits
	now := time.Now()
	aging := now.Sub(w.trimmed) > time.Hour
	if aging {
		for _, h := range w.byID {
			for len(h.entries) > 0 && now.Sub(h.entries[0].start) > l.Age && h.entries[0] != h.current {
				w.drop(h)
			}
		}
	}
	if w.records > l.Records { // and some more, since looking for the oldest of all takes its time
		for w.records > l.Records-l.Records/16 && w.dropOldest() != nil {
		}
	}
	if aging {
		w.trimmed = now
		w.crashes.trim(now)
		failure = w.compact(func(h *history) bool { return h.dropped })
	}
	if w.bytes > l.Bytes {
		failure = cmp.Or(w.compact(func(h *history) bool { return h.live < h.size }), failure)
	}
	if w.bytes > l.Bytes && failure == nil { // a part more, that not every run has a file written anew
		for live := w.bytes; live > l.Bytes-l.Bytes/8; {
			e := w.dropOldest()
			if e == nil {
				break
			}
			live -= e.size
		}
		failure = w.compact(func(h *history) bool { return h.dropped })
	}
	for _, h := range w.emptied {
		if h.dropped && len(h.entries) == 0 {
			failure = cmp.Or(w.rewrite(h, nil), failure)
		}
	}
	w.emptied = nil
	return failure
}

// compact writes files anew.
func (w *worker) compact(which func(*history) bool) (failure error) {
	for _, h := range w.byID {
		if which(h) {
			failure = cmp.Or(w.rewrite(h, nil), failure)
		}
	}
	return failure
}

// dropOldest forgets the oldest record of all; nil: there is none.
func (w *worker) dropOldest() *entry {
	var oldest *history
	for _, h := range w.byID {
		if len(h.entries) > 0 && h.entries[0] != h.current && (oldest == nil || h.entries[0].start.Before(oldest.entries[0].start)) {
			oldest = h
		}
	}
	if oldest == nil {
		return nil
	}
	return w.drop(oldest)
}

// drop forgets the oldest record of a collector.
func (w *worker) drop(h *history) *entry {
	e := h.entries[0]
	h.entries = slices.Delete(h.entries, 0, 1)
	h.live -= e.size
	h.dropped = h.dropped || e.size > 0
	w.records--
	delete(w.dirty, e)
	if e == h.last {
		h.last = nil
	}
	if len(h.entries) == 0 {
		w.emptied = append(w.emptied, h)
	}
	return e
}

// answer answers a question.
func (w *worker) answer(command any) (any, error) {
	switch q := command.(type) {
	case messages.GetRuns:
		return w.runs(q), nil
	case messages.ListCrashes:
		return messages.CrashesReply{Crashes: w.crashes.list(q.ID)}, nil
	case messages.GetCrash:
		c, err := w.crashes.get(q.Number)
		if err != nil {
			return nil, err
		}
		c.Others = w.othersAt(c.ID, c.Last)
		return c, nil
	}
	op, id := messages.Subject(command)
	return nil, &messages.Error{Op: op, ID: id, Kind: messages.Internal, Text: "this is no question about what has been"}
}

func (w *worker) runs(q messages.GetRuns) messages.RunsReply {
	reply := messages.RunsReply{ID: q.ID}
	h := w.byID[q.ID]
	if h == nil {
		return reply
	}
	reply.Runs = w.recorded(h, q.Last)
	return reply
}

// near is how far apart failures may be that have to do with each other, and
// maxOthers how many of them are told.
const (
	near      = time.Minute
	maxOthers = 50
)

// othersAt is what else failed at a time.
func (w *worker) othersAt(id string, at time.Time) []messages.OtherFailure {
	var all []messages.OtherFailure
	for _, h := range w.byID {
		if h.id == id {
			continue
		}
		for _, e := range slices.Backward(h.entries) {
			if apart := e.end.Sub(at).Abs(); e.failure != "" && apart <= near {
				all = append(all, messages.OtherFailure{ID: h.id, At: e.end, What: e.failure})
				break // the last one of each says enough
			}
		}
	}
	slices.SortFunc(all, func(a, b messages.OtherFailure) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
	})
	return all[:min(len(all), maxOthers)]
}

// hashConfig is the hash of settings: of the same ones it is always the same.
func hashConfig(c config.Collector) string {
	text, err := json.Marshal(config.Settings(c))
	if err != nil {
		return ""
	}
	return hashText(text)
}
