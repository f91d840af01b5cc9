package capture

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a store works.
type Options struct {
	// Dir is a directory of this store's own, for FIFOs; it is made if need be.
	Dir string
}

// A Store captures the output of any number of processes. Its methods may be
// called from any goroutine.
type Store struct {
	dir     string
	poller  *poller
	workers sync.WaitGroup // goroutines that end by themselves
	tidying sync.WaitGroup
	epoch   string
	serial  atomic.Uint64

	generation atomic.Uint64 // of the logs
	passed     atomic.Uint64 // bytes that were moved in passes
	turns      turnstile     // of those who read

	// Leaf I/O: recordings begin and end on goroutines of their own.
	mu         sync.Mutex
	sinks      map[string]*sink
	open       []*sink             // those that have a file open, the one used last at the end
	untidy     map[*sink]struct{}  // those that have rotated
	tidier     bool                // there is a goroutine for them
	recordings map[*Recording]bool // those that are not over
	left       map[string][]left   // FIFOs of a program before this one, by id
	ager       *time.Timer
	watchers   map[chan struct{}]struct{}
	watched    atomic.Int32
	over       chan struct{} // closed when nothing more will be stored
	ending     sync.Once
	closed     bool
}

// left is a FIFO that was left by a program before this one.
type left struct {
	path        string
	stream      Stream
	incarnation uint64
}

// Open makes a store. FIFOs that a program before this one has left, and that
// somebody still writes to, are taken over by the first recording of their id.
func Open(o Options) (*Store, error) {
	s := &Store{
		dir: o.Dir, epoch: strconv.FormatInt(time.Now().UnixNano(), 36),
		sinks: map[string]*sink{}, untidy: map[*sink]struct{}{}, recordings: map[*Recording]bool{}, left: map[string][]left{},
		watchers: map[chan struct{}]struct{}{}, turns: newTurnstile(), over: make(chan struct{}),
	}
	_ = os.MkdirAll(o.Dir, 0o700) // without it there are pipes without names
	names, err := filepath.Glob(filepath.Join(o.Dir, "*", "*.std*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, path := range names {
		if id, l, ok := parsePipeName(path); ok {
			s.left[id] = append(s.left[id], l)
		}
	}
	if s.poller, err = newPoller(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.ager = time.AfterFunc(ageCheck, s.age)
	s.mu.Unlock()
	return s, nil
}

// pipeName is the name of the FIFO of one stream of one process. Serial tells it
// from others of this life of the program.
func (s *Store) pipeName(id string, incarnation, serial uint64, stream Stream) string {
	return filepath.Join(s.dir, shard(id), id+"@"+strconv.FormatUint(incarnation, 10)+"-"+s.epoch+"-"+strconv.FormatUint(serial, 36)+"."+stream.String())
}

// shard is the directory of an id's FIFOs. A directory of thousands, which some
// file systems search from its beginning, would make each new one slow.
func shard(id string) string { return fmt.Sprintf("%02x", crc32.ChecksumIEEE([]byte(id))&0xff) }

func parsePipeName(path string) (id string, l left, ok bool) {
	l.path = path
	name := filepath.Base(path)
	switch filepath.Ext(name) {
	case ".stdout":
		l.stream = Stdout
	case ".stderr":
		l.stream = Stderr
	default:
		return "", l, false
	}
	at := strings.LastIndexByte(name, '@')
	if at < 1 {
		return "", l, false
	}
	number, _, _ := strings.Cut(name[at+1:], "-")
	incarnation, err := strconv.ParseUint(number, 10, 64)
	l.incarnation = incarnation
	return name[:at], l, err == nil
}

// sink is the one of a collector, with these settings from now on.
func (s *Store) sink(id string, set *Settings) *sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sinks[id]
	if k == nil {
		k = &sink{store: s, id: id}
		s.sinks[id] = k
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.to != nil && k.settings.Target == set.Target && k.settings.Path == set.Path {
		k.settings = set
		if f, ok := k.to.(*file); ok && !k.running {
			f.settings = set
		}
		return k
	}
	if k.to != nil && !k.running {
		k.to.close()
	}
	k.settings = set
	s.generation.Add(1)
	switch set.Target {
	case File:
		k.to = &file{log: set.Path, settings: set}
	case Memory:
		k.to = &memory{limit: set.MaxSize}
	default:
		k.to = nil
	}
	return k
}

// Writer is a log that this program writes itself, kept as raw lines. What is
// written to it is whole lines; Write never blocks and never fails. Its name is
// none of a collector, and Logs does not list it.
func (s *Store) Writer(name string, set Settings) io.Writer {
	set = set.withDefaults()
	set.Format = Raw
	return writer{s.sink("["+name+"]", &set)}
}

type writer struct{ sink *sink }

func (w writer) Write(p []byte) (int, error) {
	feeds := countLines(p)
	w.sink.put(p, nil, feeds, uint64(len(p))-feeds, 0)
	return len(p), nil
}

// opened keeps the number of open files within bounds.
func (s *Store) opened(k *sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.open); n > 0 && s.open[n-1] == k {
		return
	}
	if i := slices.Index(s.open, k); i >= 0 {
		s.open = slices.Delete(s.open, i, i+1)
	}
	s.open = append(s.open, k)
	for i := 0; len(s.open) > maxOpenFiles && i < len(s.open)-1; {
		if s.open[i].rest() {
			s.open = slices.Delete(s.open, i, i+1)
		} else {
			i++
		}
	}
}

// tidyLater has what k rotated away compressed and pruned, in the background.
func (s *Store) tidyLater(k *sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.untidy[k] = struct{}{}
	if !s.tidier && !s.closed {
		s.tidier = true
		s.tidying.Go(s.tidyAll)
	}
}

func (s *Store) tidyAll() {
	for {
		s.mu.Lock()
		var next *sink
		for k := range s.untidy {
			next = k
			break
		}
		if next == nil || s.closed {
			s.tidier = false
			s.mu.Unlock()
			return
		}
		delete(s.untidy, next)
		s.mu.Unlock()
		next.mu.Lock()
		set := next.settings
		next.mu.Unlock()
		if set.Target == File {
			_ = tidy(set.Path, *set, time.Now()) // what is left is tried again after the next rotation
		}
	}
}

// age looks for files that are too old.
func (s *Store) age() {
	s.mu.Lock()
	sinks := make([]*sink, 0, len(s.sinks))
	for _, k := range s.sinks {
		sinks = append(sinks, k)
	}
	if !s.closed {
		s.ager.Reset(ageCheck)
	}
	s.mu.Unlock()
	for _, k := range sinks {
		s.tidyLater(k)
	}
}

// changed tells those who wait that something has been stored. Each has to wait
// again to be told again.
func (s *Store) changed() {
	if s.watched.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.watchers {
		c <- struct{}{} // it has room for one
	}
	clear(s.watchers)
	s.watched.Store(0)
}

// ErrClosed is returned by what comes after Close.
var ErrClosed = errors.New("the capture of output has been closed")

// Close reads what there is to be read, stores it, waiting for a disk that does
// not write for as long as Recording.Finish does, and releases everything. FIFOs
// that somebody still writes to are left for the program that comes next.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	recordings := make([]*Recording, 0, len(s.recordings))
	for r := range s.recordings {
		recordings = append(recordings, r)
	}
	s.mu.Unlock()

	// All at once: they share one patience.
	var finished sync.WaitGroup
	for _, r := range recordings {
		finished.Add(1)
		r.Finish(func(Ending) { finished.Done() })
	}
	finished.Wait()
	s.mu.Lock()
	s.closed = true
	s.ager.Stop()
	sinks := make([]*sink, 0, len(s.sinks))
	for _, k := range s.sinks {
		sinks = append(sinks, k)
	}
	s.mu.Unlock()
	var stored sync.WaitGroup
	for _, k := range sinks {
		stored.Add(1)
		k.whenStored(sync.OnceFunc(stored.Done))
	}
	waitFor(&stored, storePatience)
	for _, k := range sinks {
		k.shut()
	}
	err := s.poller.close()
	for _, r := range recordings {
		r.abandon()
	}
	waitFor(&s.workers, storePatience) // a disk that never answers must not keep a program from ending
	s.tidying.Wait()
	s.ending.Do(func() { close(s.over) })
	shards, _ := filepath.Glob(filepath.Join(s.dir, "*"))
	for _, shard := range shards {
		_ = os.Remove(shard) // if there is nothing in it
	}
	_ = os.Remove(s.dir)
	var unsaved []error
	for _, k := range sinks {
		if !k.rest() {
			unsaved = append(unsaved, errors.New(k.id+": output is still being written"))
			continue
		}
		k.mu.Lock()
		var dropped uint64
		if k.drops != nil {
			dropped = k.gap.Lines
		}
		if n := len(k.unsaved) + len(k.buffer); n > 0 || dropped > 0 {
			unsaved = append(unsaved, errors.New(k.id+": output could not be stored: "+strconv.Itoa(n)+" bytes of records, and "+
				strconv.FormatUint(dropped, 10)+" lines that were dropped before"))
		}
		k.mu.Unlock()
	}
	return errors.Join(append(unsaved, err)...)
}

func waitFor(g *sync.WaitGroup, patience time.Duration) {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
