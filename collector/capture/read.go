package capture

import (
	"context"
	"errors"
	"iter"
	"maps"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A Query says which records to read. The zero value is all there are.
type Query struct {
	Since, Until time.Time      // not before, not after
	Grep         *regexp.Regexp // matches the text
	Stream       Stream
	Run          uint64 // of the process with this incarnation number
	Previous     bool   // of the process before the last
	Last         int    // only the last so many of all collectors together; 0: all
	New          bool   // nothing of what is there already: for Follow
	Follow       bool   // wait for more
	After        Cursor // go on where another reader has stopped; collectors that it does not name are read from the beginning

	// Begin is called once, before the first record, with where the reading of
	// each log begins: a reader that ends before it has had a record of one can
	// still go on, by After. Nil: nobody needs it.
	Begin func(Cursor)

	// More is called now and then, with Follow, for the logs that there are by then:
	// those that are new are read, too, from their beginning. Nil: there are none.
	More func() []Log

	// Idle is called whenever all that there is has been given out: with Follow,
	// it may be a while before the next record. Nil: nobody needs it.
	Idle func()
}

// wanted is what a record has to be.
type wanted struct {
	since, until time.Time
	grep         *regexp.Regexp
	literal      []byte // that every line which grep matches contains
	stream       Stream
	run          uint64
}

func (w *wanted) match(r *Record) bool {
	switch {
	case !w.since.IsZero() && r.Time.Before(w.since) && !r.Time.IsZero(),
		!w.until.IsZero() && r.Time.After(w.until),
		w.run != 0 && r.Incarnation != w.run,
		w.stream != 0 && r.Stream != w.stream && r.Gap == nil,
		w.grep != nil && (r.Gap != nil || !w.grep.Match(r.Text)):
		return false
	}
	return true
}

// Read reads logs, several merged by time. Records are valid until the next one.
// An error of one log does not end the reading of the others; the record that
// comes with it has the ID only. With Follow it ends with ctx.
func Read(ctx context.Context, logs []Log, q Query) iter.Seq2[Record, error] {
	return read(ctx, logs, q, nil, func() (waiter, error) { return watchFiles(logs) })
}

// Generation changes when Logs does.
func (s *Store) Generation() uint64 { return s.generation.Load() }

// Logs are the logs that are known, ordered by id.
func (s *Store) Logs() []Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	var logs []Log
	for _, id := range slices.Sorted(maps.Keys(s.sinks)) {
		k := s.sinks[id]
		if strings.HasPrefix(id, "[") {
			continue
		}
		k.mu.Lock()
		switch to := k.to.(type) {
		case *file:
			logs = append(logs, Log{ID: id, Path: k.settings.Path, Format: k.settings.Format})
		case *memory:
			logs = append(logs, Log{ID: id, Format: JSON, memory: to})
		}
		k.mu.Unlock()
	}
	return logs
}

// Read reads the logs of this store. With Follow it ends with ctx, or when the
// store has been closed and what came last has been read. However slowly the
// records are taken, nobody else has to wait for that.
func (s *Store) Read(ctx context.Context, logs []Log, q Query) iter.Seq2[Record, error] {
	return read(ctx, logs, q, &s.turns, func() (waiter, error) { return s.watchStore(), nil })
}

// A waiter waits until there may be something new, or ctx is done.
type waiter interface {
	wait(ctx context.Context) error
	close()
}

func read(ctx context.Context, logs []Log, q Query, turns *turnstile, watch func() (waiter, error)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		m := merger{turns: turns}
		defer m.close()
		var news waiter
		if q.Follow { // before anything is looked at: nothing is missed
			var err error
			if news, err = watch(); err != nil {
				yield(Record{}, err)
				return
			}
			defer news.close()
		}
		for _, log := range logs {
			s, err := m.position(ctx, log, q)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				if !yield(Record{ID: log.ID}, err) {
					return
				}
				continue
			}
			m.sources = append(m.sources, s)
		}
		if !m.history(ctx, q, yield) {
			return
		}
		known := map[string]bool{}
		for _, log := range logs {
			known[log.ID] = true
		}
		for q.Follow {
			if q.Idle != nil {
				q.Idle()
			}
			err := news.wait(ctx)
			if err != nil && !errors.Is(err, errOver) {
				return
			}
			if q.More != nil {
				for _, log := range q.More() {
					if !known[log.ID] {
						known[log.ID] = true
						m.sources = append(m.sources, begin(log, q))
					}
				}
			}
			if !m.drain(ctx, yield) || err != nil {
				return
			}
		}
	}
}

// position goes to where the reading of a log begins. One reader at a time does
// that in a program: a compressed file is read backwards in memory.
func (m *merger) position(ctx context.Context, log Log, q Query) (*following, error) {
	if m.turns != nil {
		select {
		case m.turns.positioning <- struct{}{}:
			defer func() { <-m.turns.positioning }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return position(ctx, log, q)
}

// begin reads a log from its beginning.
func begin(log Log, q Query) *following {
	return &following{source: source{log: log, waits: q.Follow}, wanted: wanted{
		since: q.Since, until: q.Until, grep: q.Grep, literal: literalOf(q.Grep), stream: q.Stream, run: q.Run}}
}

func position(ctx context.Context, log Log, q Query) (*following, error) {
	s := begin(log, q)
	w := &s.wanted
	if q.Previous {
		var last uint64
		err := s.back(ctx, func(r *Record) bool {
			if last == 0 {
				last = r.Incarnation
			}
			if r.Incarnation != last && r.Incarnation != 0 {
				w.run = r.Incarnation
				return false
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if w.run == 0 {
			s.finished = true // there is none
			return s, nil
		}
		s.finished = false
		s.source.position = Position{}
	}
	after, resumed := q.After[log.ID]
	switch {
	case resumed:
		s.source.position = after
		return s, nil
	case q.New:
		end := Position{}
		err := s.back(ctx, func(r *Record) bool {
			end = r.Position
			return false
		})
		s.source.position = end
		return s, err
	case q.Last > 0:
		n := 0
		return s, s.back(ctx, func(r *Record) bool {
			if !w.since.IsZero() && !r.Time.IsZero() && r.Time.Before(w.since) {
				return false
			}
			if w.match(r) {
				n++
			}
			return n < q.Last
		})
	case !q.Since.IsZero() && log.memory == nil:
		return s, s.seek(q.Since)
	}
	return s, nil
}

type following struct {
	source
	wanted wanted
	failed bool
}

// A merger reads several logs in the order of time.
type merger struct {
	sources []*following
	turns   *turnstile // nil: nobody else is disturbed
}

func (m *merger) close() {
	for _, s := range m.sources {
		s.close()
	}
}

// A step is what came of an attempt to read the next record of all.
type step int

const (
	refused step = iota // whoever reads wants no more
	drained             // there is none, for now
	paused              // much was looked at, and none found yet
	found
)

// fill reads the next record of each source that has none.
func (m *merger) fill(yield func(Record, error) bool) step {
	for _, s := range m.sources {
		if s.has || s.failed {
			continue
		}
		switch err := s.next(&s.wanted); {
		case err == nil, errors.Is(err, errNothing):
		case errors.Is(err, errPause):
			return paused
		default:
			s.failed = true
			if !yield(Record{ID: s.log.ID}, err) {
				return refused
			}
		}
	}
	return found
}

// drain gives out all there is now. It reports whether more is wanted.
func (m *merger) drain(ctx context.Context, yield func(Record, error) bool) bool {
	for _, s := range m.sources {
		s.failed = false
	}
	if m.turns != nil {
		return m.takeTurns(ctx, yield)
	}
	for n := 0; ; n++ {
		if n%64 == 0 && ctx.Err() != nil {
			return false
		}
		r, what := m.next(yield)
		switch what {
		case refused:
			return false
		case drained:
			return true
		case paused:
			n = -1
		case found:
			if !yield(r, nil) {
				return false
			}
		}
	}
}

// next is the next record of all.
func (m *merger) next(yield func(Record, error) bool) (r Record, what step) {
	if what := m.fill(yield); what != found {
		return r, what
	}
	var first *following
	var at time.Time
	for _, s := range m.sources {
		if t := s.after; s.has && (first == nil || t.Before(at)) {
			first, at = s, t
		}
	}
	if first == nil {
		return r, drained
	}
	first.has = false
	return first.head, found
}

// A turnstile lets one of many readers in a program work at a time: those who
// write must not have to wait for a processor because many read.
type turnstile struct {
	turn        chan struct{}
	positioning chan struct{}
	waiting     atomic.Int32
}

func newTurnstile() turnstile {
	return turnstile{turn: make(chan struct{}, 1), positioning: make(chan struct{}, 1)}
}

// What a reader may do in one turn, and keep for whom it reads.
const (
	turnRecords = 512
	turnBytes   = 256 << 10
	fewReaders  = 4 // may work without a pause
	manyRest    = 3 // times as long as they have worked is the pause of more
)

// takeTurns is drain, some records at a time. Whoever they are given to is waited
// for in his own time.
func (m *merger) takeTurns(ctx context.Context, yield func(Record, error) bool) bool {
	type given struct {
		r   Record
		err error
	}
	var batch []given
	var text []byte
	for what := found; what != drained; {
		batch, text = batch[:0], text[:0]
		m.turns.waiting.Add(1)
		select {
		case m.turns.turn <- struct{}{}:
			m.turns.waiting.Add(-1)
		case <-ctx.Done():
			m.turns.waiting.Add(-1)
			return false
		}
		began := time.Now()
		for len(batch) < turnRecords && len(text) < turnBytes {
			var r Record
			if r, what = m.next(func(r Record, err error) bool {
				batch = append(batch, given{r, err})
				return true
			}); what != found {
				break
			}
			begin := len(text)
			text = append(text, r.Text...)
			r.Text = text[begin:len(text):len(text)]
			batch = append(batch, given{r, nil})
		}
		if m.turns.waiting.Load() > fewReaders {
			pause := time.NewTimer(manyRest * time.Since(began))
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
		<-m.turns.turn
		for _, g := range batch {
			if !yield(g.r, g.err) {
				return false
			}
		}
		if ctx.Err() != nil {
			return false
		}
		if cap(text) > 4*turnBytes { // one was very long
			text = nil
		}
	}
	return true
}

// history gives out what there is already: of several logs that each have been
// positioned at their last records, the last of all.
func (m *merger) history(ctx context.Context, q Query, yield func(Record, error) bool) bool {
	begin := Cursor{}
	if q.Begin != nil {
		for _, s := range m.sources {
			begin[s.log.ID] = s.source.position
		}
	}
	if q.Last <= 0 || len(m.sources) < 2 {
		if q.Begin != nil {
			q.Begin(begin)
		}
		return m.drain(ctx, yield)
	}
	var kept []Record
	next := 0
	if !m.drain(ctx, func(r Record, err error) bool {
		if err != nil {
			return yield(r, err)
		}
		r.Text = append([]byte(nil), r.Text...)
		if len(kept) < q.Last {
			kept = append(kept, r)
		} else {
			begin[kept[next].ID] = kept[next].Position
			kept[next] = r
			next = (next + 1) % q.Last
		}
		return true
	}) {
		return false
	}
	if q.Begin != nil {
		q.Begin(begin)
	}
	for i := range kept {
		if !yield(kept[(next+i)%len(kept)], nil) {
			return false
		}
	}
	return true
}

// literalOf is the longest text that everything contains which re matches, and
// that looks the same in a file; nil if there is none.
func literalOf(re *regexp.Regexp) []byte {
	if re == nil {
		return nil
	}
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	return literalIn(parsed.Simplify())
}

func literalIn(re *syntax.Regexp) []byte {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return nil
		}
		text := []byte(string(re.Rune))
		if n := clean(text); n < len(text) {
			text = text[:n] // from there on it is escaped in a file
		}
		if len(text) == 0 {
			return nil
		}
		return text
	case syntax.OpCapture, syntax.OpPlus:
		return literalIn(re.Sub[0])
	case syntax.OpConcat:
		var longest []byte
		for _, sub := range re.Sub {
			if l := literalIn(sub); len(l) > len(longest) {
				longest = l
			}
		}
		return longest
	}
	return nil
}

// errOver says that nothing more will come.
var errOver = errors.New("the store has been closed")

// A storeWaiter is told by a store in this program.
type storeWaiter struct {
	store *Store
	news  chan struct{}
}

func (s *Store) watchStore() waiter {
	w := &storeWaiter{s, make(chan struct{}, 1)}
	w.arm()
	return w
}

func (w *storeWaiter) arm() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if _, armed := w.store.watchers[w.news]; !armed {
		w.store.watchers[w.news] = struct{}{}
		w.store.watched.Add(1)
	}
}

func (w *storeWaiter) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.store.over:
		return errOver
	case <-w.news:
	}
	if err := coalesce(ctx); err != nil {
		return err
	}
	w.arm()
	return nil
}

func (w *storeWaiter) close() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if _, armed := w.store.watchers[w.news]; armed {
		delete(w.store.watchers, w.news)
		w.store.watched.Add(-1)
	}
}

// coalesce lets more come: many followers must not be in a busy writer's way.
func coalesce(ctx context.Context) error {
	timer := time.NewTimer(followerCoalesces)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// A fileWaiter watches the directories of logs that another program writes.
type fileWaiter struct{ w *fsnotify.Watcher }

func watchFiles(logs []Log) (waiter, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		if err := w.Add(filepath.Dir(log.Path)); err != nil {
			_ = w.Close()
			return nil, err
		}
	}
	return &fileWaiter{w}, nil
}

func (w *fileWaiter) close() { _ = w.w.Close() }

func (w *fileWaiter) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.w.Events:
	case err := <-w.w.Errors:
		if !errors.Is(err, fsnotify.ErrEventOverflow) {
			return err
		}
	}
	if err := coalesce(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-w.w.Events:
		default:
			return nil
		}
	}
}
